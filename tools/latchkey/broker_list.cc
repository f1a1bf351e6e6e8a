// See broker_list.h.
#include "tools/latchkey/broker_list.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr size_t kBrokersMax = 16;

struct Kept {
  std::vector<tools::BrokerAddress> brokers;
  std::vector<tools::BrokerAddress> last;  // none or one
};

nlohmann::json ReadJson(const fs::path& file) {
  const Result<std::string> text = ReadFile(file);
  nlohmann::json json = text ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json();
  if (!json.is_object() || !json.contains("cells") || !json["cells"].is_object()) {
    json = {{"cells", nlohmann::json::object()}};
  }
  return json;
}

void Add(const nlohmann::json& text, std::vector<tools::BrokerAddress>& to) {
  if (text.is_string()) {
    if (const auto address = tools::ParseBrokerAddress(text.get<std::string>())) {
      to.push_back(*address);
    }
  }
}

Kept KeptOf(const nlohmann::json& json, const std::string& cell) {
  Kept kept;
  const auto found = json["cells"].find(cell);
  if (found != json["cells"].end() && found->is_object()) {
    for (const nlohmann::json& each : found->value("brokers", nlohmann::json::array())) {
      Add(each, kept.brokers);
    }
    Add(found->value("last", nlohmann::json()), kept.last);
  }
  return kept;
}

Result<void> Keep(const fs::path& file, const std::string& cell, const std::string& key,
                  nlohmann::json value) {
  nlohmann::json json = ReadJson(file);
  nlohmann::json& entry = json["cells"][cell];
  if (!entry.is_object()) {
    entry = nlohmann::json::object();
  }
  if (entry.value(key, nlohmann::json()) == value) {
    return {};
  }
  entry[key] = std::move(value);
  return WriteFile(file, json.dump(2) + "\n", Secrecy::kPublic);
}

}  // namespace

std::vector<tools::BrokerAddress> BrokersOf(const Cell& cell, Port port) {
  std::vector<tools::BrokerAddress> all = {
      {cell.host, port == Port::kCars ? cell.car_port : cell.phone_port}};
  for (const CellBroker& other : cell.others) {
    all.push_back({other.host, port == Port::kCars ? other.car_port : other.phone_port});
  }
  return all;
}

Result<void> UseBrokers(const fs::path& holder, const std::string& cell,
                        const std::vector<tools::BrokerAddress>& known,
                        const std::vector<std::string>& given, tools::LinkOptions& link) {
  const fs::path file = holder / "brokers.json";
  if (!given.empty()) {
    for (const std::string& text : given) {
      LK_TRY(const tools::BrokerAddress checked, tools::ParseBrokerAddress(text));
      static_cast<void>(checked);
    }
    LK_CHECK(Keep(file, cell, "brokers", given));
  }
  const Kept kept = KeptOf(ReadJson(file), cell);
  std::vector<tools::BrokerAddress> wanted = kept.brokers;
  wanted.insert(wanted.end(), known.begin(), known.end());
  std::vector<tools::BrokerAddress> all;
  for (const std::vector<tools::BrokerAddress>* from : {&kept.last, &std::as_const(wanted)}) {
    for (const tools::BrokerAddress& broker : *from) {
      // The last one is forgotten when nobody names it any more.
      const bool named = std::find(wanted.begin(), wanted.end(), broker) != wanted.end();
      if (named && std::find(all.begin(), all.end(), broker) == all.end() &&
          all.size() < kBrokersMax) {
        all.push_back(broker);
      }
    }
  }
  if (all.empty()) {
    return Fail(v1::REASON_MALFORMED, "no broker is known: name one with --broker HOST:PORT");
  }
  link.host = all.front().host;
  link.port = all.front().port;
  link.others.assign(all.begin() + 1, all.end());
  if (all.size() > 1) {
    link.served = [file, cell](const tools::BrokerAddress& broker) {
      // Only where to begin next time: the list is tried anyway.
      static_cast<void>(Keep(file, cell, "last", broker.ToText()));
    };
  }
  return {};
}

}  // namespace latchkey::cli
