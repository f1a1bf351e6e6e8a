// A cell on disk. Running it again changes nothing that anybody relies on: keys, certificates and
// ports stay; only the configuration files are written anew.
#include "tools/latchkey/cell.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/latchkey/ca_inventory.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr int kCaDays = 3650;
constexpr int kLeafDays = 825;
constexpr int kConnectionsMax = 100'000;        // of each listener
constexpr const char* kAdmitRate = "200:2000";  // sign-ins a second, and at once
constexpr Duration kRenewBefore = std::chrono::hours(24 * 30);

// Holds free ports open until all are chosen, so that no two are the same.
class PortPicker {
 public:
  PortPicker() = default;

  ~PortPicker() {
    for (const int socket : sockets_) {
      ::close(socket);
    }
  }

  PortPicker(const PortPicker&) = delete;
  PortPicker& operator=(const PortPicker&) = delete;

  Result<int> Pick() {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) {
      return Fail(v1::REASON_FULL, "cannot open a socket to find a free port: " +
                                       std::generic_category().message(errno));
    }
    sockets_.push_back(socket);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
        ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      return Fail(v1::REASON_FULL, "no free port: " + std::generic_category().message(errno) +
                                       "; name ports with --phone-port, --car-port, --http-port");
    }
    return int{ntohs(address.sin_port)};
  }

 private:
  std::vector<int> sockets_;
};

bool ValidWord(const std::string& text, bool dots) {
  return !text.empty() && text.size() <= 253 && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [dots](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || (dots && c == '.');
         });
}

Result<int> Port(int wished, int kept, PortPicker& picker) {
  if (wished < 0 || wished > 65535) {
    return Fail(v1::REASON_MALFORMED,
                "port " + std::to_string(wished) + " does not exist: use 1 to 65535, or 0");
  }
  if (wished != 0 || kept != 0) {
    return wished != 0 ? wished : kept;
  }
  return picker.Pick();
}

Result<Cell> Settle(const Cell& kept, const CellWish& wish) {
  Cell cell;
  cell.broker = kept.broker;
  cell.others = kept.others;
  cell.name = !wish.name.empty() ? wish.name : !kept.name.empty() ? kept.name : "local";
  cell.host = !wish.host.empty() ? wish.host : !kept.host.empty() ? kept.host : "127.0.0.1";
  if (!ValidWord(cell.name, false) || cell.name.size() > 32) {
    return Fail(v1::REASON_MALFORMED,
                "cell name \"" + cell.name + "\" is not 1 to 32 letters, digits or '-'");
  }
  if (!ValidWord(cell.host, true)) {
    return Fail(v1::REASON_MALFORMED,
                "host \"" + cell.host + "\" is neither a DNS name nor an IPv4 address");
  }
  if (!kept.name.empty() && kept.name != cell.name) {
    return Fail(v1::REASON_MALFORMED, "this folder is cell " + kept.name +
                                          " already, and its phones know it by that name: use "
                                          "another --data for cell " +
                                          cell.name);
  }
  PortPicker picker;
  LK_TRY(cell.phone_port, Port(wish.phone_port, kept.phone_port, picker));
  LK_TRY(cell.car_port, Port(wish.car_port, kept.car_port, picker));
  LK_TRY(cell.http_port, Port(wish.http_port, kept.http_port, picker));
  if (cell.phone_port == cell.car_port || cell.phone_port == cell.http_port ||
      cell.car_port == cell.http_port) {
    return Fail(v1::REASON_MALFORMED, "phones, cars and HTTP need three different ports");
  }
  return cell;
}

Result<tools::Issued> LoadOrMakeCa(const fs::path& folder, const std::string& stem,
                                   const std::string& name, Timestamp now) {
  std::error_code ignored;
  if (fs::exists(folder / (stem + ".key"), ignored)) {
    return LoadIssued(folder, stem);
  }
  const tools::Issued made = tools::MakeCa(name, now, kCaDays);
  LK_CHECK(SaveIssued(folder, stem, made));
  return made;
}

// False for a file that cannot be read: who needs it says so.
bool EndsSoon(const fs::path& file, Timestamp now) {
  const Result<std::string> pem = ReadFile(file);
  const Result<std::string> der = pem ? PemToDer(*pem) : pem;
  const Result<Timestamp> end =
      der ? EndOf(*der) : Result<Timestamp>(tl::unexpected<Error>(der.error()));
  return end && *end < now + kRenewBefore;
}

// The broker's certificate and the bridge's; new ones when they end soon, or the host has changed.
Result<void> MakeServerAndBridge(const Folder& folder, const Cell& cell, const Cell& kept,
                                 const tools::Issued& ca, Timestamp now) {
  std::error_code ignored;
  if (!fs::exists(folder.Broker() / "server.key", ignored) || kept.host != cell.host ||
      EndsSoon(folder.Broker() / "server.pem", now)) {
    std::vector<std::string> hosts = {cell.host};
    for (const char* local : {"localhost", "127.0.0.1"}) {
      if (cell.host != local) {
        hosts.emplace_back(local);
      }
    }
    LK_TRY(const tools::Issued server, tools::IssueServer(hosts, ca, now, kLeafDays));
    LK_CHECK(SaveIssued(folder.Broker(), "server", server));
  }
  if (!fs::exists(folder.Bridge() / "bridge.key", ignored) ||
      EndsSoon(folder.Bridge() / "bridge.pem", now)) {
    LK_TRY(const tools::Issued bridge,
           IssueAndKeep(folder, BridgeIdentity{std::string(kBridgeName)}, now, kLeafDays));
    LK_CHECK(SaveIssued(folder.Bridge(), "bridge", bridge));
  }
  return {};
}

// The CAs a client certificate may come from: the cell's and every fleet's. Mosquitto wants them in
// one file, the plugin and the bridge one file per fleet.
Result<void> WriteClientCas(const Folder& folder, const tools::Issued& cell_ca) {
  std::string all = cell_ca.certificate_pem;
  std::vector<fs::path> fleets;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.root() / "fleets", error)) {
    fleets.push_back(entry.path());
  }
  if (error) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "cannot list " + (folder.root() / "fleets").string() + ": " + error.message());
  }
  std::sort(fleets.begin(), fleets.end());
  for (const fs::path& fleet : fleets) {
    LK_TRY(const std::string pem, ReadFile(fleet / "ca.pem"));
    all += pem;
    LK_CHECK(WriteFile(folder.Broker() / "fleets" / (fleet.filename().string() + ".pem"), pem,
                       Secrecy::kPublic));
  }
  return WriteFile(folder.Broker() / "clients_ca.pem", all, Secrecy::kPublic);
}

}  // namespace

std::string UserName() {
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_name : "root";
}

fs::path FirstBroker(const Folder& folder, const Cell& cell) {
  return cell.broker.empty() || cell.broker == kMainBroker ? folder.Broker()
                                                           : BrokerFolder(folder, cell.broker);
}

fs::path BrokerFolder(const Folder& folder, const std::string& name) {
  return name == kMainBroker ? folder.Broker() : folder.root() / "brokers" / name;
}

Result<std::pair<int, int>> TwoPorts(int wished, int wished_too) {
  PortPicker picker;
  LK_TRY(const int first, Port(wished, 0, picker));
  LK_TRY(const int second, Port(wished_too, 0, picker));
  return std::pair(first, second);
}

Result<tools::Issued> LoadIssued(const fs::path& folder, const std::string& stem) {
  LK_TRY(std::string certificate, ReadFile(folder / (stem + ".pem")));
  LK_TRY(std::string key, ReadFile(folder / (stem + ".key")));
  return tools::Issued{std::move(certificate), std::move(key)};
}

Result<void> SaveIssued(const fs::path& folder, const std::string& stem,
                        const tools::Issued& issued) {
  // The key last: what has a key is whole.
  LK_CHECK(WriteFile(folder / (stem + ".pem"), issued.certificate_pem, Secrecy::kPublic));
  return WriteFile(folder / (stem + ".key"), issued.private_key_pem, Secrecy::kSecret);
}

std::string BrokerConfiguration(const Folder& folder, const Cell& cell, const BrokerWish& wish) {
  const std::string broker = folder.Broker().string();
  const std::string own = wish.own.string();
  std::ostringstream out;
  out << "# Written by `latchkey fleet init`; run it again to change ports or host.\n"
      << "per_listener_settings false\n"
      << "allow_anonymous false\n"
      << "user " << wish.user << "\n"
      << "persistence true\n"
      << "persistence_location " << own << "/\n"
      << "# The broker stands still while it writes all it retains: seconds with 100,000 cars. "
         "What\n"
      << "# a crash loses since then, bridge and cars say again; rings have a file of their own.\n"
      << "autosave_interval 300\n"
      << "set_tcp_nodelay true\n"
      << "# Bounds: what one client can make the broker hold.\n"
      << "message_size_limit 65536\n"
      << "max_packet_size 70000\n"
      << "max_keepalive 300\n"
      << "# What a client may have said without an answer: a bridge says all it holds to a broker\n"
      << "# that has lost it.\n"
      << "max_inflight_messages 1000\n"
      << "# A bridge that comes is shown all that is retained of a kind; what does not fit into "
         "its\n"
      << "# queue is dropped, and the bridge would take it for lost and say an older state again.\n"
      << "# (Not 0, which stands for no bound: Mosquitto 2.0 then ends the connection of each "
         "client\n"
      << "# that publishes something that is refused.)\n"
      << "max_queued_messages 10000000\n"
      << "max_queued_bytes 1073741824\n"
      << "log_dest stderr\n"
      << "log_timestamp_format %Y-%m-%dT%H:%M:%S\n";
  for (const char* type : {"notice", "warning", "error"}) {
    out << "log_type " << type << "\n";
  }
  // Guard first: Mosquitto publishes wills at its own end through the ACL check alone, and guard
  // only ever denies there.
  out << "\nplugin " << (wish.plugins / "latchkey_guard.so").string() << "\n"
      << "plugin " << (wish.plugins / "latchkey_auth.so").string() << "\n"
      << "plugin_opt_cell " << cell.name << "\n"
      << "plugin_opt_cell_ca " << folder.CellCa().string() << "\n"
      << "plugin_opt_cell_crl " << CellAuthority(folder).list.string() << "\n"
      << "plugin_opt_fleet_ca_dir " << broker << "/fleets\n"
      << "plugin_opt_ring_file " << own << "/rings.log\n"
      << "plugin_opt_admit_rate " << kAdmitRate << "\n"
      << (wish.name.empty() ? "" : "plugin_opt_broker " + wish.name + "\n")
      << "\n# Phones: TLS, user name and token.\n"
      << "listener " << cell.phone_port << " " << cell.host << "\n"
      << "certfile " << broker << "/server.pem\n"
      << "keyfile " << broker << "/server.key\n"
      << "tls_version tlsv1.2\n"
      << "max_connections " << kConnectionsMax << "\n"
      << "\n# Cars, operators, registrars, administrators and the bridge: TLS with a client "
         "certificate.\n"
      << "listener " << cell.car_port << " " << cell.host << "\n"
      << "cafile " << broker << "/clients_ca.pem\n"
      << "certfile " << broker << "/server.pem\n"
      << "keyfile " << broker << "/server.key\n"
      << "tls_version tlsv1.2\n"
      << "require_certificate true\n"
      << "max_connections " << kConnectionsMax << "\n"
      << wish.more;
  return out.str();
}

std::string BridgeConfiguration(const Folder& folder, const Cell& cell) {
  const auto quoted = [](const fs::path& path) {
    std::string text = "\"";
    for (const char c : path.string()) {
      text += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    }
    return text + "\"";
  };
  const fs::path bridge = folder.Bridge();
  std::ostringstream out;
  out << "# Written by `latchkey fleet init`; run it again to change ports or host.\n"
      << "[broker]\n"
      << "host = " << quoted(cell.host) << "\n"
      << "port = " << cell.car_port << "\n"
      << "ca_file = " << quoted(folder.CellCa()) << "\n"
      << "certificate_file = " << quoted(bridge / "bridge.pem") << "\n"
      << "private_key_file = " << quoted(bridge / "bridge.key") << "\n\n"
      << "[fleets]\n"
      << "ca_dir = " << quoted(folder.Broker() / "fleets") << "\n\n"
      << "[store]\n"
      << "path = " << quoted(bridge / "store") << "\n\n"
      << "[http]\n"
      << "host = \"127.0.0.1\"\n"
      << "port = " << cell.http_port << "\n\n"
      << "[bridge]\n"
      << "name = \"" << kBridgeName << "\"\n\n"
      << "[log]\n"
      << "level = \"info\"\n";
  return out.str();
}

std::string JoinedPart(const fs::path& configuration) {
  const Result<std::string> text = ReadFile(configuration);
  const size_t at =
      text ? text->find(std::string("\n") + std::string(kJoinedMark)) : std::string::npos;
  return at == std::string::npos ? "" : text->substr(at);
}

Result<Cell> MakeCell(const Folder& folder, const FleetId& fleet, const CellWish& wish,
                      Timestamp now) {
  if (fleet.str() == "bridge" || fleet.str() == "administrator" || fleet.str() == "peer") {
    return Fail(v1::REASON_NOT_ALLOWED, "fleet \"" + fleet.str() +
                                            "\" would share client ids with those who serve the "
                                            "cell: choose another name");
  }
  std::error_code ignored;
  Cell kept;
  if (fs::exists(folder.root() / "cell.json", ignored)) {
    LK_TRY(kept, folder.LoadCell());
  }
  LK_TRY(const Cell cell, Settle(kept, wish));
  LK_TRY(const tools::Issued cell_ca,
         LoadOrMakeCa(folder.root() / "ca", "cell", "Latchkey cell " + cell.name, now));
  LK_TRY(const tools::Issued fleet_ca,
         LoadOrMakeCa(folder.Fleet(fleet), "ca", "Latchkey fleet " + fleet.str(), now));
  LK_CHECK(MakeServerAndBridge(folder, cell, kept, cell_ca, now));
  LK_CHECK(WriteClientCas(folder, cell_ca));
  const fs::path own = FirstBroker(folder, cell);
  const BrokerWish broker{own, wish.plugins, UserName(), cell.broker,
                          cell.others.empty() ? "" : JoinedPart(own / "mosquitto.conf")};
  LK_CHECK(WriteFile(own / "mosquitto.conf", BrokerConfiguration(folder, cell, broker),
                     Secrecy::kPublic));
  LK_CHECK(WriteFile(folder.Bridge() / "latchkey.toml", BridgeConfiguration(folder, cell),
                     Secrecy::kPublic));
  LK_CHECK(folder.SaveCell(cell));
  return cell;
}

}  // namespace latchkey::cli
