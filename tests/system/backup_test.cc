// Backups of a cell that works, and what becomes of the cell that is restored from one: nothing is
// done twice although its memory went back in time.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/rocksdb_store.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kProgram = LK_BINARY_DIR "/bin/latchkey";
constexpr const char* kBridge = LK_BINARY_DIR "/bin/latchkey-bridge";
constexpr const char* kPlugins = LK_BINARY_DIR "/plugins";
constexpr const char* kBroker = "/usr/sbin/mosquitto";

std::vector<json> JsonLines(const std::string& output) {
  std::vector<json> lines;
  std::istringstream stream(output);
  for (std::string line; std::getline(stream, line);) {
    json object = json::parse(line, nullptr, false);
    if (object.is_object()) {
      lines.push_back(std::move(object));
    }
  }
  return lines;
}

json One(const Ran& ran) {
  REQUIRE_MESSAGE(ran.exit_code == 0, ran.output);
  const std::vector<json> lines = JsonLines(ran.output);
  REQUIRE_MESSAGE(lines.size() == 1, ran.output);
  return lines.front();
}

// Bytes that do not compress, as history of cars that never speak, before the bridge runs.
void Fatten(const Cell& cell, int megabytes) {
  storage::RocksDbOptions options;
  options.path = cell.path() / "bridge" / "store";
  const auto store = std::move(storage::RocksDbStore::Open(options).value());
  uint64_t state = 1;
  for (int i = 0; i < megabytes * 8; ++i) {
    std::string payload(1U << 17U, '\0');
    for (char& byte : payload) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      byte = static_cast<char>(state >> 56U);
    }
    REQUIRE(store->Commit(
        std::vector<storage::Change>{storage::HistoryRecord{
            Ref("demo", "silent-" + std::to_string(i)), Group::kDrive, {UnixMs()}, payload}},
        storage::Durability::kSoon));
  }
}

uint64_t BytesBelow(const fs::path& folder) {
  uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    bytes += entry.is_regular_file() ? entry.file_size() : 0;
  }
  return bytes;
}

void Flip(const fs::path& path) {
  const auto at = static_cast<std::streamoff>(fs::file_size(path) / 2);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(at);
  const int byte = file.get();
  file.seekp(at);
  file.put(static_cast<char>(byte ^ 4));
}

fs::path LargestBelow(const fs::path& folder) {
  fs::path largest;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() &&
        (largest.empty() || entry.file_size() > fs::file_size(largest))) {
      largest = entry.path();
    }
  }
  return largest;
}

json LastRun(const Cell& cell) {
  return json::parse(HttpGet(cell.http_port(), "/v1/backup").body, nullptr, false)["last"];
}

// A car that says its speed again and again on a thread of its own.
class Driver {
 public:
  explicit Driver(const Cell& cell)
      : car_(cell, "demo", "driver"), thread_([this] {
          while (!over_) {
            said_ += car_.PublishSpeed(static_cast<float>(said_ % 200)) == 0 ? 1 : 0;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));  // its pace
          }
        }) {}

  ~Driver() {
    over_ = true;
    thread_.join();
  }

  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  int said() const { return said_; }

 private:
  RawCar car_;
  std::atomic<bool> over_ = false;
  std::atomic<int> said_ = 0;
  std::thread thread_;
};

void Send(const Cell& cell, const std::string& phone, const std::string& action) {
  const Ran sent = cell.Latchkey({"phone", "send", phone, "car-1", action, "--wait"});
  CHECK_MESSAGE(sent.exit_code == 0, sent.output);
}

// For a car that is away: until it is held.
std::string Hold(const Cell& cell, const std::string& action, const std::string& lives) {
  const Ran held = cell.Latchkey(
      {"--json", "phone", "send", "anna", "car-1", action, "--lives", lives, "--timeout", "15s"});
  CHECK_MESSAGE(held.exit_code == 0, held.output);
  CHECK_MESSAGE(CountLines(held.output, "HELD") >= 1, held.output);
  return JsonLines(held.output).front().value("command_id", "");
}

bool CarIs(int http_port, bool online) {
  return Eventually([&] {
    const json car = json::parse(HttpGet(http_port, "/v1/cars/demo/car-1").body, nullptr, false);
    return car.is_object() && car.value("online", !online) == online;
  });
}

// state and reason of a command, as the bridge says
std::string Outcome(int http_port, const std::string& id) {
  const json page =
      json::parse(HttpGet(http_port, "/v1/commands?fleet=demo&car=car-1").body, nullptr, false);
  for (const json& command : page.value("commands", json::array())) {
    if (command["command_id"] == id) {
      return command["state"].get<std::string>() + " " + command["reason"].get<std::string>();
    }
  }
  return "";
}

int FreePort() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&address), length) == 0);
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

}  // namespace

TEST_CASE("backups of a cell at work: each is whole or not there, and each flipped byte is found") {
  Cell cell;
  Fatten(cell, 16);
  std::ofstream(cell.path() / "bridge" / "latchkey.toml", std::ios::app)
      << "\n[backup]\nbytes_per_second = 8388608\nkeep = 3\n";
  const fs::path dir = cell.path() / "bridge" / "backup";
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const Driver driver(cell);

  // The bridge dies in the middle of the first one.
  const auto dying = cell.StartLatchkey({"backup", "make"}, "dying");
  REQUIRE(Eventually([&] {
    const json last = LastRun(cell);
    return last.is_object() && last.value("bytes", 0) > 0;
  }));
  CHECK(LastRun(cell)["done"] == false);
  cell.bridge().Kill();
  CHECK(dying->Wait() == 1);
  cell.StartBridge();
  CHECK(JsonLines(cell.Latchkey({"--json", "backup", "list"}).output).empty());

  // Three while commands run.
  const auto first = cell.StartLatchkey({"--json", "backup", "make"}, "first");
  int commands = 0;
  while (first->Running()) {
    Send(cell, "anna", "flash");
    ++commands;
  }
  CHECK(first->Wait() == 0);
  CHECK(commands >= 2);
  const uint64_t bytes = BytesBelow(dir);
  CHECK(bytes > (uint64_t{16} << 20U));
  for (int i = 0; i < 2; ++i) {
    Send(cell, "anna", "flash");
    const json made = One(cell.Latchkey({"--json", "backup", "make"}));
    CHECK(made["keys"] == true);
    CHECK(made["dir"] == dir.string());
  }
  MESSAGE("first backup ", bytes, " bytes, two more ", BytesBelow(dir) - bytes, ", ", commands,
          " commands during the first, ", driver.said(), " states");
  CHECK(BytesBelow(dir) < bytes + bytes / 5);
  const std::vector<json> list = JsonLines(cell.Latchkey({"--json", "backup", "list"}).output);
  REQUIRE(list.size() == 3);
  for (const json& one : list) {
    CHECK(one["kind"] == "whole");
  }
  CHECK(cell.Latchkey({"backup", "verify"}).exit_code == 0);
  struct stat facts = {};
  REQUIRE(::stat((dir / "cells" / std::to_string(list[2]["backup"].get<int>()) / "files" / "ca" /
                  "cell.key")
                     .c_str(),
                 &facts) == 0);
  CHECK((facts.st_mode & 0777U) == 0600U);
  REQUIRE(::stat(dir.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0077U) == 0U);

  // A fourth: the first goes. Without keys there is none in it.
  const json fourth = One(cell.Latchkey({"--json", "backup", "make", "--without-keys"}));
  CHECK(fourth["backups"] == 3);
  const std::string id = std::to_string(fourth["backup"].get<int>());
  CHECK_FALSE(fs::exists(dir / "cells" / id / "files" / "ca" / "cell.key"));
  CHECK_FALSE(fs::exists(dir / "cells" / id / "files" / "bridge" / "admin.token"));
  CHECK(fs::exists(dir / "cells" / id / "files" / "broker" / "rings.log"));
  CHECK_FALSE(fs::exists(dir / "cells" / "1"));
  // The log says who made copies.
  CHECK(CountLines(cell.Latchkey({"log", "--event", "backup"}).output, "is made") == 4);

  // One bit, anywhere: verify finds it, and nothing is restored.
  const std::string whole = std::to_string(list[2]["backup"].get<int>());
  for (const fs::path& file :
       {LargestBelow(dir / "store" / "shared_checksum"),
        LargestBelow(dir / "store" / "private" / whole), dir / "store" / "meta" / whole,
        dir / "cells" / whole / "files" / "cell.json", dir / "cells" / whole / "manifest.json"}) {
    CAPTURE(file.string());
    Flip(file);
    const Ran verified = cell.Latchkey({"backup", "verify", "--backup", whole});
    CHECK(verified.exit_code == 1);
    const Ran restored = cell.Latchkey({"restore", "--from", dir.string(), "--backup", whole,
                                        "--to", (cell.path() / "restored").string()});
    CHECK(restored.exit_code == 1);
    CHECK_FALSE(fs::exists(cell.path() / "restored"));
    Flip(file);
  }
  CHECK(cell.Latchkey({"backup", "verify", "--backup", whole}).exit_code == 0);
}

TEST_CASE("a store that went back in time: nothing is done twice, nobody gets access again") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  cell.Pair("mallory", "car-1");
  cell.StartCar("car-1").Stop();
  REQUIRE(CarIs(cell.http_port(), false));
  const std::string lock = Hold(cell, "lock", "10m");
  const std::string climate = Hold(cell, "climate-on", "20m");
  const std::string brief = Hold(cell, "windows-up", "6s");
  const json made = One(cell.Latchkey({"--json", "backup", "make"}));
  const std::string dir = made["dir"];

  // What the backup does not know: one is taken back, one is done, a key is blocked, one is added.
  CHECK(cell.Latchkey({"phone", "cancel", "anna", "car-1", climate}).exit_code == 0);
  cell.StartCar("car-1", {"--offer"});
  REQUIRE(Eventually([&] { return Outcome(cell.http_port(), lock).rfind("DONE", 0) == 0; }));
  cell.Pair("bob", "car-1");
  const std::string mallory = cell.PhoneKey("mallory").Public().Id().str();
  CHECK(cell.Latchkey({"block", "add", mallory}).exit_code == 0);
  cell.StartCar("car-1").Stop();
  REQUIRE(CarIs(cell.http_port(), false));
  const int acted = CountLines(cell.CarOutput("car-1"), "act climate");

  // While the bridge runs nothing is restored; nor over what is there without a word.
  const std::vector<std::string> restore = {
      "--json",       "restore",  "--from", dir, "--to", cell.path().string(),
      "--store-only", "--replace"};
  CHECK(cell.Latchkey(restore).exit_code == 1);
  cell.bridge().Kill();
  CHECK(cell.Latchkey({"restore", "--from", dir, "--to", cell.path().string(), "--store-only"})
            .exit_code == 1);
  const json restored = One(cell.Latchkey(restore));
  CHECK(restored["commands_held"] == 3);
  CHECK(restored["rings"] == 1);
  CHECK(restored["at_ms"] == made["at_ms"]);
  CHECK(restored["last_record_at_ms"].get<int64_t>() <= made["at_ms"].get<int64_t>() + 1000);
  CHECK(fs::exists(restored["aside"].get<std::string>()));
  cell.StartBridge();

  // What could not be taken back safely ends; what makes safe is given to the car, which has done
  // it.
  CHECK(Outcome(cell.http_port(), climate) == "REFUSED outcome_unknown");
  CHECK(Eventually([&] { return Outcome(cell.http_port(), brief) == "EXPIRED expired"; }));
  CHECK(Outcome(cell.http_port(), lock).rfind("HELD", 0) == 0);
  cell.StartCar("car-1");
  CHECK(Eventually([&] { return Outcome(cell.http_port(), lock).rfind("DONE", 0) == 0; }));
  Send(cell, "anna", "flash");
  CHECK(CountLines(cell.CarOutput("car-1"), "act lock") == 1);
  CHECK(CountLines(cell.CarOutput("car-1"), "act climate") == acted);
  // The broker's plugin had the block, the broker the ring: both are back.
  CHECK(Eventually([&] {
    return HttpGet(cell.http_port(), "/v1/blocks").body.find(mallory) != std::string::npos;
  }));
  CHECK(cell.Latchkey({"phone", "send", "mallory", "car-1", "flash", "--wait", "--timeout", "5s"})
            .exit_code != 0);
  Send(cell, "bob", "flash");
  // The log goes on, says so, and is one chain.
  CHECK(CountLines(cell.Latchkey({"log", "--event", "restored"}).output, "backup 1") == 1);
  const Ran verified = cell.Latchkey({"log", "--verify"});
  CHECK_MESSAGE(verified.exit_code == 0, verified.output);
  // A bridge that starts once more ends nothing again.
  cell.bridge().Kill();
  cell.StartBridge();
  Send(cell, "anna", "flash");
  CHECK(One(cell.Latchkey({"--json", "backup", "make"}))["backups"] == 2);
}

TEST_CASE("a cell on another machine: who was paired is, what was held is delivered once") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  cell.StartCar("car-1").Stop();
  REQUIRE(CarIs(cell.http_port(), false));
  const std::string climate = Hold(cell, "climate-on", "20m");
  const json made = One(cell.Latchkey({"--json", "backup", "make"}));
  // Bob is added after it: the car's ring is newer than any the other machine will have.
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("bob", "car-1");
  REQUIRE(Eventually([&] { return Outcome(cell.http_port(), climate).rfind("DONE", 0) == 0; }));
  const int acted = CountLines(cell.CarOutput("car-1"), "act climate");
  cell.StartCar("car-1").Stop();
  cell.bridge().Stop();
  cell.broker().Stop();

  const TempDir machine;
  const fs::path data = machine.path() / "cell";
  const auto run = [&](std::vector<std::string> arguments) {
    std::vector<std::string> all = {kProgram, "--data", data.string()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Run(all);
  };
  const json restored = One(run({"--json", "restore", "--from", made["dir"].get<std::string>(),
                                 "--to", data.string(), "--deliver-held"}));
  CHECK(restored["cars"] == 1);
  CHECK(restored["commands_held"] == 1);
  CHECK(restored["to_do"].size() == 1);
  CHECK(ReadAll(data / "bridge" / "latchkey.toml").find(cell.path().string()) == std::string::npos);
  CHECK(ReadAll(data / "broker" / "mosquitto.conf").find(cell.path().string()) ==
        std::string::npos);
  const Ran moved = run({"fleet", "init", "demo", "--phone-port", std::to_string(FreePort()),
                         "--car-port", std::to_string(FreePort()), "--http-port",
                         std::to_string(FreePort()), "--plugin-dir", kPlugins});
  REQUIRE_MESSAGE(moved.exit_code == 0, moved.output);
  const json ports = json::parse(ReadAll(data / "cell.json"));
  const int http = ports["http_port"];
  CHECK(http != cell.http_port());
  // Car and phones have folders of their own; here they move to where the cell is now.
  fs::copy(cell.path() / "cars", data / "cars", fs::copy_options::recursive);
  fs::copy(cell.path() / "phones", data / "phones", fs::copy_options::recursive);

  Process broker({kBroker, "-c", (data / "broker" / "mosquitto.conf").string()},
                 machine.path() / "broker.log");
  Process bridge({kBridge, "--config", (data / "bridge" / "latchkey.toml").string()},
                 machine.path() / "bridge.log");
  REQUIRE(Eventually([&] { return HttpGet(http, "/readyz").status == 200; }));
  CHECK(Outcome(http, climate).rfind("HELD", 0) == 0);
  Process car({kProgram, "--data", data.string(), "car", "run", "car-1", "--fleet", "demo",
               "--confirm", "yes"},
              machine.path() / "car.log");
  // The car did it before the move: it says so and does it no second time.
  CHECK(Eventually([&] { return Outcome(http, climate).rfind("DONE", 0) == 0; }));
  CHECK(acted == 1);
  CHECK(CountLines(car.Output(), "act climate") == 0);
  for (const char* phone : {"anna", "bob"}) {
    const Ran sent = run({"phone", "send", phone, "car-1", "lock", "--wait"});
    CHECK_MESSAGE(sent.exit_code == 0, sent.output);
  }
  const Ran verified = run({"log", "--verify"});
  CHECK_MESSAGE(verified.exit_code == 0, verified.output);
}

}  // namespace latchkey::testing
