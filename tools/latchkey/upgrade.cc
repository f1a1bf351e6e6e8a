// latchkey upgrade bridge: another program takes the bridge's place, without an outage when both
// know how, with a short one else; and back in the same way.
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "storage/store_lock.h"
#include "tools/latchkey/api.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/daemon.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr int kTimedOut = 3;
constexpr Duration kLetGoWait = std::chrono::seconds(30);
constexpr Duration kTakeBackWait = std::chrono::seconds(30);
constexpr useconds_t kLookEveryMicroseconds = 5000;
constexpr std::string_view kBridgeProgram = "latchkey-bridge";

struct UpgradeOptions {
  std::string binary;
  std::string config;
  std::string log;
  std::string pid_file;
  std::string timeout = "5m";
  pid_t old_pid = 0;
};

// What the bridge's configuration says of where it lives.
struct Places {
  fs::path config;
  fs::path store;
  int http_port = 0;
};

// What a line of the new bridge says: a word and its fields.
struct Phase {
  std::string name;
  std::map<std::string, std::string> fields;

  std::string Get(const std::string& name_of_field) const {
    const auto found = fields.find(name_of_field);
    return found == fields.end() ? "" : found->second;
  }
};

// The value of `key` in the table `[table]`; the bridge itself judges the file. Empty: not there.
std::string ValueIn(const std::string& toml, const std::string& table, const std::string& key) {
  std::istringstream lines(toml);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("[")) {
      inside = line.starts_with("[" + table + "]");
    } else if (inside && line.starts_with(key)) {
      const size_t equals = line.find('=');
      const size_t begin = line.find_first_not_of(" \t\"", equals + 1);
      const size_t end = line.find_last_not_of(" \t\"\r");
      if (equals != std::string::npos && begin != std::string::npos && end >= begin) {
        return line.substr(begin, end - begin + 1);
      }
    }
  }
  return "";
}

Result<Places> ReadPlaces(const Folder& folder, const std::string& given) {
  Places places;
  places.config = fs::absolute(given.empty() ? folder.Bridge() / "latchkey.toml" : fs::path(given));
  LK_TRY(const std::string text, ReadFile(places.config));
  const std::string store = ValueIn(text, "store", "path");
  places.store = store.empty() ? fs::path() : places.config.parent_path() / store;
  places.http_port = std::atoi(ValueIn(text, "http", "port").c_str());
  if (store.empty() || places.http_port <= 0) {
    return Fail(
        v1::REASON_MALFORMED,
        places.config.string() + " says no store.path or no http.port: is it the bridge's?");
  }
  return places;
}

// `word key=value key="a value"`.
Phase PhaseOf(const std::string& line) {
  Phase phase;
  std::istringstream words(line);
  words >> phase.name;
  for (std::string field; words >> field;) {
    const size_t equals = field.find('=');
    if (equals == std::string::npos) {
      continue;
    }
    std::string value = field.substr(equals + 1);
    while (value.starts_with("\"") && (value.size() < 2 || !value.ends_with("\""))) {
      std::string more;
      if (!(words >> more)) {
        break;
      }
      value += " " + more;
    }
    if (value.starts_with("\"") && value.size() >= 2) {
      value = value.substr(1, value.size() - 2);
    }
    phase.fields[field.substr(0, equals)] = value;
  }
  return phase;
}

class Upgrade {
 public:
  Upgrade(const Context& context, UpgradeOptions options, Places places, Duration patience)
      : context_(context),
        options_(std::move(options)),
        places_(std::move(places)),
        patience_(patience),
        watched_(::isatty(STDERR_FILENO) == 1 && !context.json) {}

  Result<void> Run();

 private:
  Result<bool> CheckBinary() const;
  Result<void> FindOld();
  int OpenLog() const;
  Result<std::unique_ptr<Daemon>> StartBridge(const fs::path& binary,
                                              const std::vector<std::string>& more) const;
  Result<void> TakeOver();
  Result<void> StopAndStart();
  Result<void> AwaitReady(Daemon& bridge, Instant until) const;
  void Show(const Phase& phase);
  std::string WhoServes() const;
  void KeepPid(pid_t pid) const;

  const Context& context_;
  const UpgradeOptions options_;
  const Places places_;
  const Duration patience_;
  const bool watched_;
  pid_t old_ = 0;  // that has the store; 0: nobody
  fs::path old_binary_;
  Instant begun_;
  std::string failed_;  // what the new one said of why
};

// Whether it knows how to take over. Error REASON_MALFORMED: it does not run, or not with this
// configuration.
Result<bool> Upgrade::CheckBinary() const {
  if (::access(options_.binary.c_str(), X_OK) != 0) {
    return Fail(v1::REASON_MALFORMED, options_.binary + ": no program that can be run");
  }
  const Finished checked =
      RunProgram({options_.binary, "--config", places_.config.string(), "--check-config"});
  if (checked.code != 0) {
    return Fail(v1::REASON_MALFORMED, options_.binary + " does not take " +
                                          places_.config.string() +
                                          ", so nothing was done: " + checked.text);
  }
  return RunProgram({options_.binary, "--help"}).text.find("--take-over") != std::string::npos;
}

Result<void> Upgrade::FindOld() {
  const std::optional<pid_t> holder = storage::LockHolder(places_.store);
  old_ = holder.value_or(0);
  if (options_.old_pid != 0 && options_.old_pid != old_) {
    return Fail(v1::REASON_MALFORMED,
                "process " + std::to_string(options_.old_pid) + " does not have the store " +
                    places_.store.string() +
                    (old_ == 0 ? "; nobody has" : "; process " + std::to_string(old_) + " has"));
  }
  old_binary_ = old_ == 0 ? fs::path() : ProgramOf(old_);
  if (old_ != 0 && options_.old_pid == 0 &&
      !old_binary_.filename().string().starts_with(kBridgeProgram)) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "process " + std::to_string(old_) + " (" + old_binary_.string() +
                    ") has the store and is no bridge by its name: wait for its end, or say "
                    "--old-pid " +
                    std::to_string(old_));
  }
  return {};
}

// Where the old one's log goes, the new one's goes.
int Upgrade::OpenLog() const {
  if (options_.log.empty() && old_ != 0) {
    const int log = OpenErrorOf(old_);
    if (log >= 0) {
      return log;
    }
  }
  if (options_.log.empty()) {
    return ::dup(STDERR_FILENO);  // a service manager's socket, as the old one's
  }
  return ::open(options_.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

Result<std::unique_ptr<Daemon>> Upgrade::StartBridge(const fs::path& binary,
                                                     const std::vector<std::string>& more) const {
  std::vector<std::string> arguments = {binary.string(), "--config", places_.config.string()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const int log = OpenLog();
  if (log < 0) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, options_.log + ": the log cannot be written");
  }
  Result<std::unique_ptr<Daemon>> bridge = Daemon::Start(arguments, log);
  ::close(log);
  return bridge;
}

void Upgrade::Show(const Phase& phase) {
  if (context_.json) {
    Json json = {{"phase", phase.name}};
    for (const auto& [key, value] : phase.fields) {
      const bool number =
          !value.empty() && value.find_first_not_of("0123456789") == std::string::npos;
      json[key] = number ? Json(std::strtoull(value.c_str(), nullptr, 10)) : Json(value);
    }
    Say(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    return;
  }
  const auto get = [&phase](const char* name) { return Printable(phase.Get(name)); };
  if (phase.name == "warms_up") {
    if (watched_) {
      SayInPlace(ProgressText(std::strtoull(get("records").c_str(), nullptr, 10),
                              std::strtoull(get("of").c_str(), nullptr, 10),
                              ReadClocks().mono - begun_));
    }
    return;
  }
  if (watched_) {
    SayInPlace("");
  }
  if (phase.name == "found") {
    Say("the bridge that runs is process " + get("old_pid") +
        (get("hands_over") == "yes" ? ""
                                    : "; it is from before hand-overs, so it is stopped when "
                                      "the new one is warm"));
  } else if (phase.name == "nobody_serves") {
    Say("no bridge runs: this one is started");
  } else if (phase.name == "warmed_up") {
    Say("the new one has read " + get("records") + " records in " + get("ms") +
        " ms, while the old one serves");
  } else if (phase.name == "asks") {
    Say("the new one asks for the place");
  } else if (phase.name == "old_one_died") {
    Say("the old one died meanwhile: the new one takes over as after a crash");
  } else if (phase.name == "took") {
    Say("the old one let go after " + get("old_let_go_ms") + " ms; " + get("records") +
        " records had changed since" +
        (get("reloaded") == "yes" ? " and all was read anew (" + get("ms") + " ms)" : "") + ", " +
        get("words") + " words were left to say, the broker's session is " +
        (get("session") == "kept" ? "kept" : "shown again"));
  } else if (phase.name == "serves") {
    Say("the new one serves: process " + get("pid") + "; nobody did for " + get("gap_ms") + " ms" +
        (get("broker") == "away" ? "; the broker is away" : ""));
  }
}

// For who reads that it failed.
std::string Upgrade::WhoServes() const {
  const Instant until = ReadClocks().mono + kTakeBackWait;
  do {
    const Result<Answer> ready = AskBridge(places_.http_port, "/readyz");
    if (ready && ready->status == 200) {
      const std::optional<pid_t> holder = storage::LockHolder(places_.store);
      return "process " + std::to_string(holder.value_or(0)) + " serves" +
             (holder == old_ ? " as before" : "");
    }
    ::usleep(kLookEveryMicroseconds);
  } while (ReadClocks().mono < until);
  return "nobody serves: start a bridge, `latchkey-bridge --config " + places_.config.string() +
         "`";
}

// deploy/up's, and whoever else keeps the process in a file.
void Upgrade::KeepPid(pid_t pid) const {
  fs::path file = options_.pid_file;
  if (file.empty()) {
    file = context_.data / "run" / "bridge.pid";
    const Result<std::string> text = ReadFile(file);
    if (!text || old_ == 0 || std::atoi(text->c_str()) != old_) {
      return;
    }
  }
  const Result<void> kept = WriteFile(file, std::to_string(pid) + "\n", Secrecy::kPublic);
  if (!kept) {
    std::cerr << "latchkey: " << kept.error().text << std::endl;
  }
}

Result<void> Upgrade::TakeOver() {
  std::vector<std::string> how = {"--take-over"};
  if (old_ != 0) {
    how.insert(how.end(), {"--stop-old", std::to_string(old_)});
  }
  LK_TRY(const std::unique_ptr<Daemon> bridge, StartBridge(options_.binary, how));
  const Instant until = begun_ + patience_;
  for (;;) {
    const Duration left = until - ReadClocks().mono;
    const std::optional<std::string> line = bridge->NextLine(std::max(left, Duration(0)));
    if (!line && !bridge->over()) {
      bridge->Kill();  // the old one serves on, or takes its place again
      return Fail(v1::REASON_EXPIRED,
                  "the new bridge did not take over in time and was ended; " + WhoServes());
    }
    if (!line) {
      bridge->Kill();
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "the new bridge ended before it served" +
                      (failed_.empty() ? std::string() : ": " + failed_) + "; " + WhoServes());
    }
    const Phase phase = PhaseOf(*line);
    failed_ = phase.name == "failed" ? Printable(phase.Get("why")) : failed_;
    Show(phase);
    if (phase.name == "serves") {
      KeepPid(bridge->pid());
      return {};
    }
  }
}

Result<void> Upgrade::AwaitReady(Daemon& bridge, Instant until) const {
  for (;;) {
    const Result<Answer> ready = AskBridge(places_.http_port, "/readyz");
    if (ready && ready->status == 200) {
      return {};
    }
    if (!bridge.Lives()) {
      return Fail(v1::REASON_STORE_UNAVAILABLE, "it ended; its log says why");
    }
    if (ReadClocks().mono >= until) {
      return Fail(v1::REASON_EXPIRED, "it is not ready in time");
    }
    ::usleep(kLookEveryMicroseconds);
  }
}

// For a program from before hand-overs: one ends, then the other begins.
Result<void> Upgrade::StopAndStart() {
  if (!context_.json) {
    Say("this program cannot take over: the bridge that runs is stopped, then it is started");
  }
  const Instant stopped = ReadClocks().mono;
  if (old_ != 0) {
    ::kill(old_, SIGTERM);
  }
  while (storage::LockHolder(places_.store)) {
    if (ReadClocks().mono - stopped > kLetGoWait) {
      return Fail(v1::REASON_EXPIRED, "process " + std::to_string(old_) +
                                          " does not end: look what it waits for; nothing else was "
                                          "done");
    }
    ::usleep(kLookEveryMicroseconds);
  }
  LK_TRY(const std::unique_ptr<Daemon> bridge, StartBridge(options_.binary, {}));
  const Result<void> ready = AwaitReady(*bridge, begun_ + patience_);
  if (ready) {
    Show({"serves",
          {{"pid", std::to_string(bridge->pid())},
           {"gap_ms", std::to_string((ReadClocks().mono - stopped).count())}}});
    KeepPid(bridge->pid());
    return {};
  }
  bridge->Kill();
  std::string back = "nobody serves";
  if (!old_binary_.empty()) {
    const Result<std::unique_ptr<Daemon>> again = StartBridge(old_binary_, {});
    if (again && AwaitReady(**again, ReadClocks().mono + kTakeBackWait)) {
      KeepPid((*again)->pid());
      back = old_binary_.string() + " was started again";
    }
  }
  return Fail(ready.error().reason, options_.binary + ": " + ready.error().text + "; " + back);
}

Result<void> Upgrade::Run() {
  begun_ = ReadClocks().mono;
  LK_TRY(const bool takes_over, CheckBinary());
  LK_CHECK(FindOld());
  return takes_over ? TakeOver() : StopAndStart();
}

void AddUpgradeBridge(CLI::App& upgrade, Context& context) {
  const auto options = std::make_shared<UpgradeOptions>();
  CLI::App* command = upgrade.add_subcommand(
      "bridge", "Another program takes the bridge's place, without an outage");
  command->add_option("--binary", options->binary, "The new latchkey-bridge, or the old one again")
      ->required();
  command->add_option("--config", options->config,
                      "Its configuration (default: bridge/latchkey.toml in the data folder)");
  command->add_option("--log", options->log,
                      "Append its log to this file (default: where the old one's goes)");
  command->add_option("--pid-file", options->pid_file,
                      "Keep its process id here (default: run/bridge.pid in the data folder, when "
                      "it names the old one)");
  command->add_option("--old-pid", options->old_pid,
                      "The process that has the store, when its program has another name");
  command->add_option("--timeout", options->timeout, "Give up after this long (exit code 3)")
      ->capture_default_str();
  command->footer(
      "Until it says that the new one asks for the place, nothing has changed; fails it after\n"
      "that, the old one takes its place again. The way back is the same command with the old\n"
      "program.\nExample:\n  latchkey upgrade bridge --binary /opt/latchkey-0.2/latchkey-bridge\n");
  command->callback([&context, options] {
    const auto run = [&]() -> Result<void> {
      LK_TRY(const Duration patience, ParseDuration(options->timeout));
      LK_TRY(Places places, ReadPlaces(Folder(context.data), options->config));
      options->binary = fs::absolute(options->binary).string();
      return Upgrade(context, *options, std::move(places), patience).Run();
    };
    const Result<void> done = run();
    if (!done) {
      Complain(context, done.error(), done.error().reason == v1::REASON_EXPIRED ? kTimedOut : 1);
    }
  });
}

}  // namespace

void AddUpgrade(CLI::App& app, Context& context) {
  CLI::App* upgrade =
      app.add_subcommand("upgrade", "Bring newer software in while people use it, or go back");
  upgrade->require_subcommand(1);
  AddUpgradeBridge(*upgrade, context);
}

}  // namespace latchkey::cli
