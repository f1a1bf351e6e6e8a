// latchkey doctor: what is the matter with a car's link, in words, with the numbers behind them;
// of a fleet, the worst first.
#include <algorithm>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/state.h"
#include "tools/latchkey/api.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using nlohmann::ordered_json;

constexpr size_t kRowsMax = 100;
constexpr size_t kSharesMax = 5;
constexpr size_t kNameWidth = 24;
constexpr size_t kVerdictWidth = 16;
constexpr size_t kSessionsShown = 10;

struct DoctorOptions {
  std::string car;
  std::string fleet;
  std::string since = "7d";
};

std::string Text(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? Printable(found->get<std::string>()) : "";
}

int64_t Number(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<int64_t>() : 0;
}

std::string Padded(std::string text, size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

Result<ordered_json> Ask(int port, const std::string& path, const char* list) {
  LK_TRY(const Answer answer, AskBridge(port, path));
  ordered_json json = ordered_json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !json.is_object() || !json.contains(list) || !json[list].is_array()) {
    const std::string why = json.is_object() ? Text(json, "error") : "";
    return Fail(answer.status == 503 ? v1::REASON_STORE_UNAVAILABLE : v1::REASON_MALFORMED,
                why.empty() ? "the bridge has no doctor (HTTP " + std::to_string(answer.status) +
                                  "): is it older than this command?"
                            : why);
  }
  return json;
}

void ShowShares(const ordered_json& car, const char* list, const char* name,
                const std::string& title) {
  if (!car.contains(list) || !car[list].is_array() || car[list].empty()) {
    return;
  }
  Say(title + ":");
  for (size_t i = 0; i < std::min(kSharesMax, car[list].size()); ++i) {
    const ordered_json& share = car[list][i];
    Say("  " + Padded(Text(share, name), kVerdictWidth) + " " +
        std::to_string(Number(share, "drops")) + " drops in " +
        AgeText(Duration(Number(share, "online_ms"))) + " online");
  }
  if (car[list].size() > kSharesMax) {
    Say("  ... and " + std::to_string(car[list].size() - kSharesMax) + " more; --json shows all");
  }
}

void ShowSessions(int port, const std::string& place) {
  const Result<ordered_json> page =
      Ask(port, "/v1/sessions?" + place + "&limit=" + std::to_string(kSessionsShown), "sessions");
  if (!page || (*page)["sessions"].empty()) {
    return;
  }
  Say("the last sessions that ended:");
  for (const ordered_json& session : (*page)["sessions"]) {
    const bool ended = session.contains("duration_ms") && session["duration_ms"].is_number();
    const std::string radio = Text(session, "radio") + " " + Text(session, "network");
    Say("  " + DateText(Timestamp{Number(session, "began_at_ms")}) + "  " +
        Padded(ended ? AgeText(Duration(Number(session, "duration_ms"))) : "end not known", 14) +
        " " + Padded(Text(session, "reason"), kVerdictWidth) + " " +
        std::to_string(Number(session, "bytes_from_car") / 1000) + " kB from it, silent for " +
        AgeText(Duration(Number(session, "silence_at_end_ms"))) + " at the end" +
        (radio == " " ? "" : ", " + radio) +
        (Number(session, "signal_dbm_min") == 0
             ? ""
             : " " + std::to_string(Number(session, "signal_dbm_min")) + " dBm"));
  }
}

void ShowCar(const ordered_json& car) {
  Say(Text(car, "fleet") + "/" + Text(car, "car") + ": " + Text(car, "verdict"));
  Say("  " + Text(car, "words"));
  ShowShares(car, "areas", "area", "by place (cells of about 5 km)");
  ShowShares(car, "networks", "network", "by mobile network");
}

void ShowFleet(const ordered_json& page) {
  const ordered_json& cars = page["cars"];
  std::vector<std::pair<std::string, size_t>> counts;
  for (const ordered_json& car : cars) {
    const std::string verdict = Text(car, "verdict");
    if (counts.empty() || counts.back().first != verdict) {
      counts.emplace_back(verdict, 0);
    }
    ++counts.back().second;
  }
  std::string line = "fleet " + Text(page, "fleet") + ":";
  for (const auto& [verdict, count] : counts) {
    line += " " + std::to_string(count) + " " + verdict;
  }
  Say(line);
  size_t rows = 0;
  for (const ordered_json& car : cars) {
    if (rows++ == kRowsMax) {
      Say("  ... and " + std::to_string(cars.size() - kRowsMax) + " more; --json shows all");
      break;
    }
    Say("  " + Padded(Text(car, "car"), kNameWidth) + " " +
        Padded(Text(car, "verdict"), kVerdictWidth) + " " + Text(car, "words"));
  }
}

Result<std::string> PathOf(const DoctorOptions& options) {
  std::string fleet = options.fleet;
  std::string car = options.car;
  if (const size_t slash = car.find('/'); slash != std::string::npos) {
    fleet = car.substr(0, slash);
    car = car.substr(slash + 1);
  }
  if (!FleetId::Parse(fleet) || (!car.empty() && !CarId::Parse(car))) {
    return Fail(v1::REASON_MALFORMED,
                "name a fleet with --fleet, or a car: demo-car --fleet demo, or demo/demo-car");
  }
  return "fleet=" + fleet + (car.empty() ? "" : "&car=" + car);
}

void Doctor(Context& context, const DoctorOptions& options) {
  const Result<Cell> cell = Folder(context.data).LoadCell();
  const Result<std::string> place = PathOf(options);
  const Result<Duration> since = ParseDuration(options.since);
  for (const Error* error : {cell ? nullptr : &cell.error(), place ? nullptr : &place.error(),
                             since ? nullptr : &since.error()}) {
    if (error != nullptr) {
      Complain(context, *error, error->reason == v1::REASON_MALFORMED ? 2 : 1);
      return;
    }
  }
  const int64_t from = std::max<int64_t>((ReadClocks().wall + -*since).ms, 0);
  const Result<ordered_json> page =
      Ask(cell->http_port, "/v1/doctor?" + *place + "&since=" + std::to_string(from), "cars");
  if (!page) {
    Complain(context, page.error());
    return;
  }
  if (context.json) {
    Say(page->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else if (place->find("&car=") == std::string::npos) {
    ShowFleet(*page);
  } else {
    ShowCar((*page)["cars"][0]);
    ShowSessions(cell->http_port, *place);
  }
  if (page->contains("truncated") && (*page)["truncated"] == true) {
    (void)std::fprintf(stderr,
                       "warning: the fleet has more sessions than are looked at: use a "
                       "shorter --since\n");
  }
}

}  // namespace

void AddDoctor(CLI::App& app, Context& context) {
  CLI::App* doctor = app.add_subcommand(
      "doctor",
      "What is the matter with a car's link: its unit, the coverage where it is, its network, the "
      "server, or nothing. Without CAR: every car of the fleet, the worst first");
  auto options = std::make_shared<DoctorOptions>();
  doctor->add_option("CAR", options->car, "the car, or FLEET/CAR");
  doctor->add_option("--fleet", options->fleet, "its fleet");
  doctor->add_option("--since", options->since, "how far to look back, for example 36h or 30d")
      ->capture_default_str();
  doctor->callback([&context, options] { Doctor(context, *options); });
}

}  // namespace latchkey::cli
