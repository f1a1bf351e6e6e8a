// The bridge's place is handed over while people use the cell: from one process to another and
// back, killed at any moment on either side, and to a program that is none.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/state.pb.h"
#include "storage/rocksdb_store.h"
#include "storage/store_lock.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"
#include "tests/upgrade/steady_load.h"

namespace latchkey::testing {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* kBridge = LK_BINARY_DIR "/bin/latchkey-bridge";

// How many cars, hand-overs and kills; more by hand.
size_t Asked(const char* name, size_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<size_t>(std::atoll(text));
}

// A store with cars that were there before.
void FillStore(const Cell& cell, size_t cars) {
  storage::RocksDbOptions options;
  options.path = cell.path() / "bridge" / "store";
  auto store = storage::RocksDbStore::Open(options);
  REQUIRE(store);
  std::vector<storage::Change> changes;
  for (size_t i = 0; i < cars; ++i) {
    const CarRef ref = Ref("demo", "old-" + std::to_string(i));
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(UnixMs()) - 100000);
    state.set_sequence(1);
    state.mutable_drive()->mutable_speed()->set_value(static_cast<float>(i % 100));
    changes.emplace_back(storage::StateRecord{ref, Group::kDrive, Timestamp{UnixMs() - 100000},
                                              state.SerializeAsString()});
    if (changes.size() >= 1000 || i + 1 == cars) {
      REQUIRE((*store)->Commit(changes, storage::Durability::kSoon));
      changes.clear();
    }
  }
}

uint64_t Metric(const Cell& cell, const std::string& name) {
  const std::string body = HttpGet(cell.http_port(), "/metrics").body;
  const size_t at = body.find("\n" + name + " ");
  return at == std::string::npos ? 0
                                 : std::strtoull(body.c_str() + at + name.size() + 2, nullptr, 10);
}

// Which process serves; 0: none does.
pid_t Serving(const Cell& cell) {
  return storage::LockHolder(cell.path() / "bridge" / "store").value_or(0);
}

// A bridge that this test did not start itself ends with the test.
class Strays {
 public:
  explicit Strays(const Cell& cell) : cell_(cell) {}

  ~Strays() {
    for (int i = 0; i < 10 && Serving(cell_) > 0; ++i) {
      const pid_t pid = Serving(cell_);
      ::kill(pid, SIGKILL);
      Eventually([&] { return Serving(cell_) != pid; }, milliseconds(2000));
    }
  }

  Strays(const Strays&) = delete;
  Strays& operator=(const Strays&) = delete;

 private:
  const Cell& cell_;
};

struct Upgraded {
  int exit_code = -1;
  std::string output;
  std::optional<int64_t> gap_ms;
  std::string session;
  pid_t pid = 0;
};

Upgraded UpgradeBridge(const Cell& cell, const std::string& binary = kBridge) {
  const Ran ran = cell.Latchkey({"--json", "upgrade", "bridge", "--binary", binary, "--log",
                                 (cell.path() / "test" / "bridge.log").string()});
  Upgraded upgraded{ran.exit_code, ran.output, std::nullopt, "", 0};
  std::istringstream lines(ran.output);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.value("phase", "") == "serves") {
      upgraded.gap_ms = json.value("gap_ms", int64_t{-1});
      upgraded.pid = json.value("pid", 0);
    } else if (json.is_object() && json.value("phase", "") == "took") {
      upgraded.session = json.value("session", "");
    }
  }
  return upgraded;
}

// How many bridges have said that another one serves in their place.
int HandedOver(const Cell& cell) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(cell.path() / "test")) {
    count += CountLines(ReadAll(entry.path()), "handed_over ");
  }
  return count;
}

void CheckNothingLost(const Cell& cell, const SteadyResult& result) {
  MESSAGE(result.Text());
  CHECK(result.unanswered == 0);
  CHECK(result.refused == 0);
  CHECK(result.awake_missed == 0);
  CHECK(result.pairings_failed == 0);
  CHECK(result.states_refused == 0);
  // The newest state of all is what is shown.
  const bool newest = Eventually([&] {
    const auto car = nlohmann::json::parse(
        HttpGet(cell.http_port(), "/v1/cars/demo/load-awake").body, nullptr, false);
    const auto speed =
        car.is_object() ? car.value("/groups/drive/signals/0/value"_json_pointer, nlohmann::json())
                        : nlohmann::json();
    return speed.is_number() && speed.get<float>() == result.last_speed;
  });
  CHECK(newest);
  const Ran log = cell.Latchkey({"log", "--verify"});
  INFO(log.output);
  CHECK(log.exit_code == 0);
}

}  // namespace

TEST_CASE("the bridge's place goes back and forth under load: nothing is lost, the gap is short") {
  Cell cell;
  const Strays strays(cell);
  const size_t cars = Asked("LK_UPGRADE_CARS", 1000);
  FillStore(cell, cars);
  cell.StartBroker();
  cell.StartBridge();
  // The broker has it all, as the bridge hears of its own words.
  REQUIRE(Eventually([&] { return Metric(cell, "latchkey_messages_total") >= cars; },
                     milliseconds(120000)));
  {  // what is usual here
    SteadyLoad load(cell, "usual", false);
    REQUIRE(Eventually([&] { return load.answered() > 300; }));
    MESSAGE("before: " << load.Stop().Text());
  }
  SteadyLoad load(cell, "load", true);
  std::vector<int64_t> gaps;
  for (size_t i = 0; i < Asked("LK_UPGRADE_TIMES", 4); ++i) {
    const size_t before = load.answered();
    REQUIRE(Eventually([&] { return load.answered() > before + 100; }));
    const pid_t old = Serving(cell);
    const Upgraded upgraded = UpgradeBridge(cell);
    INFO(upgraded.output);
    REQUIRE(upgraded.exit_code == 0);
    REQUIRE(upgraded.gap_ms.has_value());
    CHECK(upgraded.session == "kept");
    CHECK(upgraded.pid != old);
    CHECK(Serving(cell) == upgraded.pid);
    gaps.push_back(*upgraded.gap_ms);
  }
  const size_t before = load.answered();
  REQUIRE(Eventually([&] { return load.answered() > before + 100; }));
  const SteadyResult result = load.Stop();
  std::sort(gaps.begin(), gaps.end());
  MESSAGE("gaps as the new bridge measured them, ms: median "
          << gaps[gaps.size() / 2] << " max " << gaps.back() << " of " << gaps.size() << ", "
          << cars << " cars");
  CheckNothingLost(cell, result);
  CHECK(result.longest_silence_ms < 5000);
  CHECK(result.pairings > 0);
  // The first one, which this test started, has ended well.
  CHECK(cell.bridge().Wait() == 0);
}

TEST_CASE(
    "either side is killed at any moment of a hand-over: one bridge serves, nothing is lost") {
  Cell cell;
  const Strays strays(cell);
  FillStore(cell, 300);
  cell.StartBroker();
  cell.StartBridge();
  SteadyLoad load(cell, "load", false);
  std::mt19937 random(static_cast<unsigned>(Asked("LK_UPGRADE_SEED", 1)));
  int went_over = 0;
  int stayed = 0;
  for (size_t i = 0; i < Asked("LK_UPGRADE_KILLS", 8); ++i) {
    const pid_t old = Serving(cell);
    REQUIRE(old > 0);
    const int over = HandedOver(cell);
    Process taker(
        {kBridge, "--config", (cell.path() / "bridge" / "latchkey.toml").string(), "--take-over"},
        cell.path() / "test" / ("taker-" + std::to_string(i) + ".log"));
    // At a random moment, or as soon as the old one has been asked.
    const bool asked = random() % 2 == 0;
    const auto until = steady_clock::now() + milliseconds(random() % 400);
    Eventually([&] {
      return asked ? taker.Output().find("\nasks") != std::string::npos
                   : steady_clock::now() >= until;
    });
    if (asked) {
      std::this_thread::sleep_for(milliseconds(random() % 60));
    }
    const bool new_one = random() % 3 != 0;
    if (new_one) {
      taker.Kill();
    } else {
      ::kill(old, SIGKILL);
    }
    CAPTURE(i);
    CAPTURE(asked);
    CAPTURE(new_one);
    pid_t now = 0;
    REQUIRE(Eventually([&] {
      now = Serving(cell);
      return now > 0 || HandedOver(cell) > over;
    }));
    if (now == 0) {  // it was killed when its place was sure: as any crash
      cell.StartBridge();
      now = cell.bridge().pid();
    }
    const size_t before = load.answered();
    REQUIRE(Eventually([&] { return load.answered() > before + 20; }));
    now = Serving(cell);
    (now == old ? stayed : went_over) += 1;
    if (now != old) {
      // Goes on without this test's Process: it would end it.
      const Upgraded upgraded = UpgradeBridge(cell);
      INFO(upgraded.output);
      REQUIRE(upgraded.exit_code == 0);
    }
  }
  MESSAGE("killed at " << went_over + stayed << " moments: " << stayed
                       << " times the old one served on, " << went_over << " times the new one");
  CheckNothingLost(cell, load.Stop());
}

TEST_CASE("a program that is no bridge, or cannot serve, changes nothing") {
  Cell cell;
  const Strays strays(cell);
  cell.StartBroker();
  cell.StartBridge();
  const pid_t old = Serving(cell);
  const Upgraded none = UpgradeBridge(cell, "/bin/false");
  CHECK(none.exit_code == 1);
  CHECK(none.output.find("nothing was done") != std::string::npos);
  // Two at once: the second is told, the first goes on.
  Process first(
      {kBridge, "--config", (cell.path() / "bridge" / "latchkey.toml").string(), "--take-over"},
      cell.path() / "test" / "first.log");
  REQUIRE(Eventually([&] { return first.Output().find("\nserves") != std::string::npos; }));
  CHECK(cell.bridge().Wait() == 0);
  CHECK(Serving(cell) == first.pid());
  CHECK(old != first.pid());
  // Without the broker a successor could not show that it works.
  cell.broker().Stop();
  REQUIRE(Eventually([&] { return HttpGet(cell.http_port(), "/readyz").status == 503; }));
  const Upgraded away = UpgradeBridge(cell);
  CHECK(away.exit_code == 1);
  CHECK(away.output.find("the broker is not connected") != std::string::npos);
  CHECK(Serving(cell) == first.pid());
}

TEST_CASE("a service manager is told who serves now") {
  Cell cell;
  const Strays strays(cell);
  cell.StartBroker();
  const std::string name = (cell.path() / "notify").string();
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  name.copy(static_cast<char*>(address.sun_path), sizeof(address.sun_path) - 1);
  REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  const auto heard = [&] {
    const timeval patience{20, 0};
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    std::string text(200, '\0');
    const ssize_t count = ::recv(socket, text.data(), text.size(), 0);
    return text.substr(0, count < 0 ? 0 : static_cast<size_t>(count));
  };
  ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  cell.StartBridge();
  const std::vector<std::string> command = {
      kBridge, "--config", (cell.path() / "bridge" / "latchkey.toml").string(), "--take-over"};
  CHECK(heard() == "READY=1");
  Process next(command, cell.path() / "test" / "next.log");
  ::unsetenv("NOTIFY_SOCKET");
  std::vector<std::string> said = {heard(), heard()};  // of two processes
  std::sort(said.begin(), said.end());
  CHECK(said[0] == "MAINPID=" + std::to_string(next.pid()));
  CHECK(said[1] == "READY=1");
  ::close(socket);
}

}  // namespace latchkey::testing
