// See upgrade_broker.h.
#include <algorithm>
#include <sstream>
#include <system_error>
#include <utility>

#include "tools/latchkey/broker_list.h"
#include "tools/latchkey/ca_inventory.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/upgrade_broker.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr int kPeerDays = 90;
constexpr size_t kNameCharactersMax = 32;

NamedBroker FirstOf(const Cell& cell) {
  return {cell.broker.empty() ? std::string(kMainBroker) : cell.broker, cell.host, cell.phone_port,
          cell.car_port};
}

bool ValidName(const std::string& name) {
  return !name.empty() && name.size() <= kNameCharactersMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_';
         });
}

// Mosquitto's own bridge: it subscribes at the other broker to all that it gives to it, with MQTT
// 5's "no local", so that nothing comes back, and "retain as published".
std::string JoinLines(const Folder& folder, const std::string& name, const NamedBroker& with) {
  const fs::path own = BrokerFolder(folder, name);
  std::ostringstream out;
  out << "\n"
      << kJoinedMark << with.name << " of the same cell, while one hands over to the "
      << "other.\n"
      << "connection " << with.name << "\n"
      << "address " << with.host << ":" << with.car_port << "\n"
      << "bridge_cafile " << folder.CellCa().string() << "\n"
      << "bridge_certfile " << (own / "peer.pem").string() << "\n"
      << "bridge_keyfile " << (own / "peer.key").string() << "\n"
      << "bridge_tls_version tlsv1.2\n"
      << "bridge_protocol_version mqttv50\n"
      << "remote_clientid peer/" << name << "\n"
      << "local_clientid peer/" << name << "/own\n"
      << "local_username peer:" << name << "\n"
      << "cleansession false\n"
      << "notifications false\n"
      << "bridge_attempt_unsubscribe false\n"
      << "keepalive_interval 10\n"
      << "restart_timeout 1 5\n"
      << "topic lk/1/# both 1\n"
      << "topic lk/peer both 1\n";
  return out.str();
}

// Where the first broker's configuration says that the plugins are.
fs::path PluginsOf(const fs::path& configuration) {
  const Result<std::string> text = ReadFile(configuration);
  std::istringstream lines(text ? *text : std::string());
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view kPlugin = "plugin ";
    if (line.starts_with(kPlugin)) {
      return fs::path(line.substr(kPlugin.size())).parent_path();
    }
  }
  return {};
}

Result<void> WriteBroker(const Folder& folder, const Cell& cell, const NamedBroker& broker,
                         const fs::path& plugins, const std::string& more) {
  Cell as = cell;
  as.host = broker.host;
  as.phone_port = broker.phone_port;
  as.car_port = broker.car_port;
  const fs::path own = BrokerFolder(folder, broker.name);
  return WriteFile(own / "mosquitto.conf",
                   BrokerConfiguration(folder, as, {own, plugins, UserName(), broker.name, more}),
                   Secrecy::kPublic);
}

// Rings and blocks, so that it begins with all of them; what comes meanwhile comes over the
// connection.
Result<void> CopyRings(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (fs::exists(to, error) || !fs::exists(from, error)) {
    return {};
  }
  LK_TRY(const std::string rings, ReadFile(from));
  return WriteFile(to, rings, Secrecy::kSecret);
}

}  // namespace

std::vector<NamedBroker> AllBrokers(const Cell& cell) {
  std::vector<NamedBroker> all = {FirstOf(cell)};
  for (const CellBroker& other : cell.others) {
    all.push_back({other.name, other.host, other.phone_port, other.car_port});
  }
  return all;
}

Result<NamedBroker> FindBroker(const Cell& cell, const std::string& text) {
  std::string known;
  for (const NamedBroker& broker : AllBrokers(cell)) {
    if (text == broker.name || text == broker.host + ":" + std::to_string(broker.car_port)) {
      return broker;
    }
    known += (known.empty() ? "" : ", ") + broker.name;
  }
  return Fail(v1::REASON_MALFORMED, "the cell has no broker \"" + text + "\": it has " + known +
                                        "; `latchkey upgrade broker prepare` makes another");
}

Result<NamedBroker> PrepareBroker(const Folder& folder, const SecondBroker& wish, Timestamp now) {
  LK_TRY(Cell cell, folder.LoadCell());
  const NamedBroker first = FirstOf(cell);
  if (!ValidName(wish.name) || wish.name == first.name) {
    return Fail(v1::REASON_MALFORMED, "\"" + wish.name + "\" is no name for a broker beside " +
                                          first.name + ": use 1 to 32 letters, digits, '-' or '_'");
  }
  const auto known = std::find_if(cell.others.begin(), cell.others.end(),
                                  [&](const CellBroker& other) { return other.name == wish.name; });
  NamedBroker broker{wish.name, wish.host.empty() ? cell.host : wish.host, wish.phone_port,
                     wish.car_port};
  if (known != cell.others.end()) {
    broker = {known->name, known->host, known->phone_port, known->car_port};
  } else {
    LK_TRY(const auto ports, TwoPorts(wish.phone_port, wish.car_port));
    broker.phone_port = ports.first;
    broker.car_port = ports.second;
  }
  LK_CHECK(tools::ParseBrokerAddress(broker.host + ":" + std::to_string(broker.car_port)));
  const fs::path own = BrokerFolder(folder, broker.name);
  LK_TRY(const tools::Issued peer, IssueAndKeep(folder, PeerIdentity{broker.name}, now, kPeerDays));
  LK_CHECK(SaveIssued(own, "peer", peer));
  LK_CHECK(CopyRings(FirstBroker(folder, cell) / "rings.log", own / "rings.log"));
  const fs::path plugins =
      wish.plugins.empty() ? PluginsOf(FirstBroker(folder, cell) / "mosquitto.conf") : wish.plugins;
  LK_CHECK(WriteBroker(folder, cell, broker, plugins, JoinLines(folder, broker.name, first)));
  if (known == cell.others.end()) {
    cell.others.push_back({broker.name, broker.host, broker.phone_port, broker.car_port});
    LK_CHECK(folder.SaveCell(cell));
  }
  return broker;
}

Result<Cell> AdoptBroker(const Folder& folder, const std::string& name) {
  LK_TRY(Cell cell, folder.LoadCell());
  LK_TRY(const NamedBroker broker, FindBroker(cell, name));
  const NamedBroker first = FirstOf(cell);
  if (broker.name != first.name) {
    std::erase_if(cell.others, [&](const CellBroker& other) { return other.name == broker.name; });
    cell.others.push_back({first.name, first.host, first.phone_port, first.car_port});
    cell.broker = broker.name;
    cell.host = broker.host;
    cell.phone_port = broker.phone_port;
    cell.car_port = broker.car_port;
  }
  LK_CHECK(WriteFile(folder.Bridge() / "latchkey.toml", BridgeConfiguration(folder, cell),
                     Secrecy::kPublic));
  LK_CHECK(folder.SaveCell(cell));
  return cell;
}

Result<Cell> ForgetBroker(const Folder& folder, const std::string& name) {
  LK_TRY(Cell cell, folder.LoadCell());
  LK_TRY(const NamedBroker broker, FindBroker(cell, name));
  const NamedBroker first = FirstOf(cell);
  if (broker.name == first.name) {
    return Fail(v1::REASON_NOT_ALLOWED, broker.name +
                                            " is the cell's first broker: `latchkey "
                                            "upgrade broker adopt` another one first");
  }
  std::erase_if(cell.others, [&](const CellBroker& other) { return other.name == broker.name; });
  const fs::path configuration = FirstBroker(folder, cell) / "mosquitto.conf";
  LK_CHECK(WriteBroker(folder, cell, first, PluginsOf(configuration), {}));
  LK_CHECK(folder.SaveCell(cell));
  return cell;
}

}  // namespace latchkey::cli
