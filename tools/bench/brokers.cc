// See brokers.h.
#include "tools/bench/brokers.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kBroker = "/usr/sbin/mosquitto";
constexpr const char* kDynamicSecurityPlugin =
    "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so";
// Of all clients of the baselines: what a sign-in costs is no part of what is compared there.
constexpr const char* kPassword = "password of the bench";
constexpr const char* kTapUser = "tap";
constexpr Duration kServePatience = std::chrono::minutes(10);
constexpr Duration kLook = Duration(5);
constexpr const char* kOpenRate = "1000000:1000000";

// One client of the baselines and its topics, which are those of Latchkey's table.
struct Listed {
  std::string user;
  std::vector<std::string> writes;
  std::vector<std::string> reads;
};

// `phone` is its key id, as user name and lane.
Listed CarRow(const CarRef& ref) {
  const std::string base = "lk/1/" + ref.ToText() + "/";
  return {ref.ToText(),
          {base + "state/+", base + "presence", base + "keyring", base + "pairing/+/answer",
           base + "receipt/+", base + "certificate/request"},
          {base + "command/+", base + "keyring", base + "pairing/+", base + "certificate"}};
}

Listed PhoneRow(const CarRef& ref, const std::string& phone) {
  const std::string base = "lk/1/" + ref.ToText() + "/";
  return {phone,
          {base + "command/" + phone, base + "pairing/" + phone},
          {base + "state/+", base + "presence", base + "keyring", base + "receipt/" + phone,
           base + "pairing/" + phone + "/answer"}};
}

// Cars and phones by turns, at least all of the crowd, and the tap.
std::vector<Listed> ListedClients(const Crowd& crowd, size_t count) {
  std::vector<Listed> all;
  for (size_t i = 0; i < std::max(crowd.cars(), count / 2); ++i) {
    const CarRef ref = crowd.RefOf(i);
    all.push_back(CarRow(ref));
    all.push_back(
        PhoneRow(ref, i < crowd.cars() ? crowd.phone(i).id.str() : "phone-of-" + ref.car.str()));
  }
  all.push_back({kTapUser, {}, {"lk/1/#"}});
  return all;
}

// As mosquitto_passwd makes it: "$7$iterations$salt$hash".
Result<std::string> HashedPassword(const fs::path& folder) {
  const fs::path file = folder / "one_password";
  LK_CHECK(cli::WriteFile(file, std::string("one:") + kPassword + "\n", cli::Secrecy::kSecret));
  LK_CHECK(RunToEnd({"mosquitto_passwd", "-U", file.string()}, folder / "mosquitto_passwd.log",
                    std::chrono::seconds(20)));
  LK_TRY(std::string line, cli::ReadFile(file));
  line = line.substr(std::min(line.size(), size_t{4}));
  return line.substr(0, line.find('\n'));
}

Result<void> WriteAclFiles(const fs::path& folder, const std::vector<Listed>& clients) {
  LK_TRY(const std::string hashed, HashedPassword(folder));
  std::string passwords;
  std::string rules;
  for (const Listed& client : clients) {
    passwords += client.user + ":" + hashed + "\n";
    rules += "user " + client.user + "\n";
    for (const std::string& topic : client.writes) {
      rules += "topic write " + topic + "\n";
    }
    for (const std::string& topic : client.reads) {
      rules += "topic read " + topic + "\n";
    }
  }
  LK_CHECK(cli::WriteFile(folder / "passwords", passwords, cli::Secrecy::kSecret));
  return cli::WriteFile(folder / "acl", rules, cli::Secrecy::kSecret);
}

ordered_json RuleJson(const char* kind, const std::string& topic) {
  return {{"acltype", kind}, {"topic", topic}, {"allow", true}};
}

Result<void> WriteDynamicSecurity(const fs::path& folder, std::vector<Listed> clients) {
  LK_TRY(const std::string hashed, HashedPassword(folder));
  // "$7$101$salt$hash": the same function as the plugin's own.
  std::vector<std::string> parts;
  std::istringstream stream(hashed);
  for (std::string part; std::getline(stream, part, '$');) {
    parts.push_back(part);
  }
  if (parts.size() != 5 || parts[1] != "7") {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "mosquitto_passwd writes passwords in another form: " + hashed);
  }
  const std::string control = "$CONTROL/dynamic-security/";
  clients.push_back({std::string(kDynamicAdministrator), {control + "v1"}, {control + "#"}});
  ordered_json listed = ordered_json::array();
  ordered_json roles = ordered_json::array();
  for (const Listed& client : clients) {
    const std::string role = "role-" + client.user;
    listed.push_back({{"username", client.user},
                      {"password", parts[4]},
                      {"salt", parts[3]},
                      {"iterations", std::stoi(parts[2])},
                      {"roles", {{{"rolename", role}}}}});
    ordered_json rules = ordered_json::array();
    for (const std::string& topic : client.writes) {
      rules.push_back(RuleJson("publishClientSend", topic));
    }
    for (const std::string& topic : client.reads) {
      rules.push_back(RuleJson("publishClientReceive", topic));
      rules.push_back(RuleJson("subscribePattern", topic));
    }
    roles.push_back({{"rolename", role}, {"acls", std::move(rules)}});
  }
  const ordered_json all = {{"clients", std::move(listed)},
                            {"roles", std::move(roles)},
                            {"defaultACLAccess",
                             {{"publishClientSend", false},
                              {"publishClientReceive", false},
                              {"subscribe", false},
                              {"unsubscribe", true}}}};
  return cli::WriteFile(folder / "dynamic_security.json", all.dump(), cli::Secrecy::kSecret);
}

std::string DressingLines(const BrokerWish& wish, const fs::path& folder) {
  switch (wish.dressing) {
    case Dressing::kBare:
    case Dressing::kLatchkey:
      return "";
    case Dressing::kAclFile:
      return "password_file " + (folder / "passwords").string() + "\nacl_file " +
             (folder / "acl").string() + "\n";
    case Dressing::kDynamicSecurity:
      return std::string("plugin ") + kDynamicSecurityPlugin + "\nplugin_opt_config_file " +
             (folder / "dynamic_security.json").string() + "\n";
  }
  return "";
}

bool StartsWith(const std::string& text, std::string_view prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// What `fleet init` would write, in another dressing.
std::string ConfigurationOf(const BrokerWish& wish, const std::string& latchkey,
                            const fs::path& folder) {
  static constexpr auto kTlsLines = std::to_array<std::string_view>(
      {"cafile ", "certfile ", "keyfile ", "tls_version ", "require_certificate "});
  const bool dressed = wish.dressing == Dressing::kLatchkey;
  std::istringstream stream(latchkey);
  std::string text;
  for (std::string line; std::getline(stream, line);) {
    const bool tls = std::any_of(kTlsLines.begin(), kTlsLines.end(),
                                 [&](std::string_view word) { return StartsWith(line, word); });
    const bool plugin = StartsWith(line, "plugin");
    const bool admission = StartsWith(line, "plugin_opt_admit_rate");
    if ((tls && !wish.tls) || (plugin && !dressed) || (admission && !wish.admission)) {
      continue;
    }
    if (StartsWith(line, "allow_anonymous") && wish.dressing == Dressing::kBare) {
      line = "allow_anonymous true";
    }
    text += line + "\n";
    if (dressed && !wish.shipped_rates && StartsWith(line, "plugin ") &&
        line.find("latchkey_guard") != std::string::npos) {
      text += std::string("plugin_opt_rate_message ") + kOpenRate + "\nplugin_opt_rate_command " +
              kOpenRate + "\n";
    }
  }
  return text + DressingLines(wish, folder);
}

bool TakesConnections(int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool taken =
      ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(socket);
  return taken;
}

}  // namespace

std::string_view ToText(Dressing dressing) {
  switch (dressing) {
    case Dressing::kBare:
      return "bare";
    case Dressing::kAclFile:
      return "acl_file";
    case Dressing::kDynamicSecurity:
      return "dynamic_security";
    case Dressing::kLatchkey:
      return "latchkey";
  }
  return "";
}

Result<std::unique_ptr<BenchBroker>> BenchBroker::Start(const BrokerWish& wish) {
  std::unique_ptr<BenchBroker> broker(new BenchBroker(wish));
  LK_CHECK(broker->WriteFiles());
  LK_CHECK(broker->Serve());
  return broker;
}

BenchBroker::~BenchBroker() = default;

Result<void> BenchBroker::WriteFiles() {
  const Place& place = *wish_.place;
  LK_TRY(folder_, place.NewFolder("broker-" + std::string(ToText(wish_.dressing))));
  LK_TRY(std::tie(car_port_, phone_port_), FreePorts());
  switch (wish_.dressing) {
    case Dressing::kBare:
      break;
    case Dressing::kAclFile:
      LK_CHECK(WriteAclFiles(folder_, ListedClients(*wish_.crowd, wish_.listed_clients)));
      break;
    case Dressing::kDynamicSecurity:
      LK_CHECK(WriteDynamicSecurity(folder_, ListedClients(*wish_.crowd, wish_.listed_clients)));
      break;
    case Dressing::kLatchkey:
      if (wish_.rings_from.empty()) {
        LK_CHECK(wish_.crowd->WriteRingFile(folder_ / "rings.log", wish_.listed_clients));
      } else {
        std::error_code error;
        if (!fs::copy_file(wish_.rings_from / "rings.log", folder_ / "rings.log", error)) {
          return Fail(
              v1::REASON_STORE_UNAVAILABLE,
              "cannot copy " + (wish_.rings_from / "rings.log").string() + ": " + error.message());
        }
      }
      break;
  }
  cli::Cell cell = place.cell();
  cell.car_port = car_port_;
  cell.phone_port = phone_port_;
  const cli::BrokerWish own{folder_, place.plugins(), cli::UserName(), "", ""};
  const std::string latchkey = cli::BrokerConfiguration(place.folder(), cell, own);
  return cli::WriteFile(folder_ / "mosquitto.conf", ConfigurationOf(wish_, latchkey, folder_),
                        cli::Secrecy::kPublic);
}

Result<void> BenchBroker::Serve() {
  const double began = MonotonicSeconds();
  LK_TRY(process_, Process::Start({kBroker, "-c", (folder_ / "mosquitto.conf").string()},
                                  folder_ / "mosquitto.log"));
  const double until = began + static_cast<double>(kServePatience.count()) / 1000;
  while (!TakesConnections(phone_port_) || !TakesConnections(car_port_)) {
    if (!process_->Running() || MonotonicSeconds() > until) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "the broker (" + std::string(ToText(wish_.dressing)) +
                      (process_->Running() ? ") does not serve: " : ") has ended: ") +
                      process_->Tail());
    }
    Pause(kLook);
  }
  took_to_serve_ = Duration(static_cast<int64_t>((MonotonicSeconds() - began) * 1000));
  return {};
}

Usage BenchBroker::Used() const {
  return UsageOf(process_->pid()).value_or(Usage{});
}

SignIn BenchBroker::CarSignIn(size_t car) const {
  SignIn in = wish_.crowd->CarSignIn(car);
  if (wish_.dressing != Dressing::kLatchkey) {
    in.user_name = in.client_id;
    in.password = kPassword;
  }
  return in;
}

SignIn BenchBroker::PhoneSignIn(size_t phone) const {
  SignIn in = wish_.crowd->PhoneSignIn(phone, cli::ReadClocks().wall);
  if (wish_.dressing != Dressing::kLatchkey) {
    in.password = kPassword;
  }
  return in;
}

SignIn BenchBroker::TapSignIn() const {
  SignIn in = wish_.crowd->TapSignIn();
  if (wish_.dressing != Dressing::kLatchkey) {
    in.user_name = kTapUser;
    in.password = kPassword;
  }
  return in;
}

SignIn BenchBroker::AdministratorSignIn() const {
  SignIn in = wish_.crowd->TapSignIn();
  in.client_id = kDynamicAdministrator;
  in.user_name = kDynamicAdministrator;
  in.password = kPassword;
  return in;
}

void BenchBroker::Stop() {
  process_->Stop();
}

Result<void> BenchBroker::Restart() {
  process_->Kill();
  return Serve();
}

}  // namespace latchkey::bench
