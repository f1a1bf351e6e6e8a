// The bridge's list and the data folder's are taken together: either alone may lack cars.
#include "tools/latchkey/fleet_cars.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <system_error>

#include <nlohmann/json.hpp>

#include "tools/latchkey/api.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kCarsMax = 100'000;

Result<std::set<CarRef>> Named(const FleetId& fleet, const std::string& text) {
  std::string list = text;
  if (!list.empty() && list.front() == '@') {
    LK_TRY(list, ReadFile(list.substr(1)));
  }
  std::replace_if(
      list.begin(), list.end(), [](char c) { return c == ',' || c == '\n' || c == '\r'; }, ' ');
  std::set<CarRef> cars;
  std::istringstream words(list);
  for (std::string word; words >> word;) {
    const std::string prefix = fleet.str() + "/";
    const std::optional<CarId> car =
        CarId::Parse(word.rfind(prefix, 0) == 0 ? word.substr(prefix.size()) : word);
    if (!car) {
      return Fail(v1::REASON_MALFORMED, "\"" + word + "\" is not the name of a car of fleet " +
                                            fleet.str() + ": --cars takes all, @FILE or A,B,C");
    }
    cars.insert({fleet, *car});
  }
  if (cars.empty()) {
    return Fail(v1::REASON_MALFORMED, "no cars in \"" + text +
                                          "\": --cars takes all, @FILE or "
                                          "A,B,C");
  }
  return cars;
}

Result<std::set<CarRef>> Everyone(const Folder& folder, const Cell& cell, const FleetId& fleet) {
  std::set<CarRef> cars;
  std::error_code ignored;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(folder.root() / "cars" / fleet.str(), ignored)) {
    if (const auto car = CarId::Parse(entry.path().filename().string())) {
      cars.insert({fleet, *car});
    }
  }
  const Result<Answer> answer = AskBridge(cell.http_port, "/v1/cars");
  const ordered_json json =
      answer ? ordered_json::parse(answer->body, nullptr, false) : ordered_json();
  if (json.is_object() && json.contains("cars") && json["cars"].is_array()) {
    for (const ordered_json& row : json["cars"]) {
      const auto car = CarId::Parse(row.value("car", ""));
      if (car && row.value("fleet", "") == fleet.str()) {
        cars.insert({fleet, *car});
      }
    }
  }
  if (cars.empty()) {
    return Fail(v1::REASON_NOT_ON_RING,
                "no cars of fleet " + fleet.str() + " are known" +
                    (answer ? "" : ": " + answer.error().text + ", and the data folder has none"));
  }
  return cars;
}

}  // namespace

Result<std::set<CarRef>> ChooseCars(const Folder& folder, const Cell& cell, const FleetId& fleet,
                                    const std::string& text) {
  std::set<CarRef> cars;
  if (text == "all") {
    LK_TRY(cars, Everyone(folder, cell, fleet));
  } else {
    LK_TRY(cars, Named(fleet, text));
  }
  if (cars.size() > kCarsMax) {
    return Fail(v1::REASON_FULL, "at most " + std::to_string(kCarsMax) +
                                     " cars at once: give them in parts with @FILE");
  }
  return cars;
}

}  // namespace latchkey::cli
