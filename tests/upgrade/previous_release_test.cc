// The release before this one and this one on the same store, back and forth while people use the
// cell: either can follow the other.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "storage/store_lock.h"
#include "tests/support/cell.h"
#include "tests/upgrade/steady_load.h"

namespace latchkey::testing {

namespace {

constexpr const char* kThis = LK_BINARY_DIR "/bin/latchkey-bridge";
constexpr const char* kPrevious = LK_BINARY_DIR "/previous/bin/latchkey-bridge";
constexpr int kSkipped = 77;

// tests/upgrade/previous builds it, and says why when it cannot.
void SkipWithoutPrevious() {
  if (!std::filesystem::exists(kPrevious)) {
    std::fprintf(stderr, "%s is not there: skipped\n", kPrevious);
    std::_Exit(kSkipped);
  }
}

std::string Config(const Cell& cell) {
  return (cell.path() / "bridge" / "latchkey.toml").string();
}

pid_t Serving(const Cell& cell) {
  return storage::LockHolder(cell.path() / "bridge" / "store").value_or(0);
}

void EndAll(const Cell& cell) {
  for (int i = 0; i < 10 && Serving(cell) > 0; ++i) {
    const pid_t pid = Serving(cell);
    ::kill(pid, SIGKILL);
    Eventually([&] { return Serving(cell) != pid; }, std::chrono::milliseconds(2000));
  }
}

uint64_t RingVersion(const Cell& cell) {
  const auto car =
      nlohmann::json::parse(HttpGet(cell.http_port(), "/v1/cars/demo/keeps").body, nullptr, false);
  return car.is_object() && car["ring_version"].is_number() ? car["ring_version"].get<uint64_t>()
                                                            : 0;
}

}  // namespace

TEST_CASE("previous release: it and this one follow each other on one store, and nothing is lost") {
  SkipWithoutPrevious();
  Cell cell;
  cell.StartBroker();
  Process first({kPrevious, "--config", Config(cell)}, cell.path() / "test" / "bridge.log");
  REQUIRE(Eventually([&] {
    REQUIRE(first.Running());
    return HttpGet(cell.http_port(), "/readyz").status == 200;
  }));
  const PrivateKey owner = PrivateKey::Generate();
  const PrivateKey guest = PrivateKey::Generate();
  RawCar keeps(cell, "demo", "keeps");
  REQUIRE(keeps.PublishRing({{owner.Public(), v1::ROLE_OWNER}, {guest.Public(), v1::ROLE_GUEST}}) ==
          0);
  REQUIRE(keeps.PublishRing({{owner.Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(Eventually([&] { return RingVersion(cell) == 2; }));

  SteadyLoad load(cell, "load", false);
  for (const char* binary : {kThis, kPrevious, kThis, kThis, kPrevious, kThis}) {
    const size_t before = load.answered();
    REQUIRE(Eventually([&] { return load.answered() > before + 50; }));
    const pid_t old = Serving(cell);
    const Ran ran = cell.Latchkey({"upgrade", "bridge", "--binary", binary, "--log",
                                   (cell.path() / "test" / "bridge.log").string()});
    MESSAGE(ran.output);
    REQUIRE(ran.exit_code == 0);
    CHECK(Serving(cell) != old);
    CHECK(RingVersion(cell) == 2);
  }
  const size_t before = load.answered();
  REQUIRE(Eventually([&] { return load.answered() > before + 50; }));
  const SteadyResult result = load.Stop();
  MESSAGE(result.Text());
  CHECK(result.unanswered == 0);
  CHECK(result.refused == 0);
  CHECK(result.awake_missed == 0);
  CHECK(result.states_refused == 0);
  CHECK(Eventually([&] {
    return HttpGet(cell.http_port(), "/v1/cars/demo/load-awake")
               .body.find(std::to_string(static_cast<int>(result.last_speed))) != std::string::npos;
  }));
  const Ran log = cell.Latchkey({"log", "--verify"});
  INFO(log.output);
  CHECK(log.exit_code == 0);
  // The guest, whose key fell off the ring before all this, is still out.
  RawClient out(cell.AsPhone(guest));
  REQUIRE(out.Connect() == 0);
  CHECK(out.Subscribe("lk/1/demo/keeps/presence") == 0x87);
  EndAll(cell);
}

TEST_CASE(
    "previous release: a store of a newer schema it refuses by name, and this one serves on") {
  SkipWithoutPrevious();
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();  // makes the store, of the newest schema
  const std::string log = (cell.path() / "test" / "bridge.log").string();
  const Ran back = cell.Latchkey({"upgrade", "bridge", "--binary", kPrevious, "--log", log});
  INFO(back.output);
  CHECK(back.exit_code == 1);
  CHECK(back.output.find("was started again") != std::string::npos);
  CHECK(ReadAll(log).find("was written by newer software") != std::string::npos);
  CHECK(HttpGet(cell.http_port(), "/readyz").status == 200);
  EndAll(cell);
}

}  // namespace latchkey::testing
