// Wrong clocks of cars: counted, told in the log within a bound, kept by name within another.
#include "bridge/core/car_clock.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bridge/core/last_known.h"
#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

// What the log says of clocks.
std::string LogOf(const Effects& effects) {
  std::string text;
  for (const Effect& effect : effects) {
    if (const auto* event = std::get_if<LogEvent>(&effect)) {
      text += (text.empty() ? "" : " | ") + event->event;
      for (const auto& [name, value] : event->fields) {
        text += " " + name + "=" + value;
      }
    }
  }
  return text;
}

// A core that hears one group of one car.
struct Listener {
  std::string Hears(const std::string& car, Duration observed_ago, Retain retain = Retain::kNo) {
    now.wall = now.wall + 1s;
    now.mono = now.mono + 1s;
    Effects out;
    last_known.Arrived(
        RefOf(car), Group::kBody,
        Publish{"", StateBytes(Group::kBody, now.wall - observed_ago, ++sequence), 1, retain, 0},
        now, out);
    last_known.CheckInvariants();
    return LogOf(out);
  }

  Limits limits;
  Counters counters;
  LastKnown last_known{limits, counters};
  Now now{kStoryStart, Instant{1000}};
  uint64_t sequence = 0;
};

}  // namespace

TEST_CASE("car clock: a clock that is ahead is told, counted and kept by name until it is right") {
  Listener it;
  CHECK(it.Hears("car1", 1s) == "");
  CHECK(it.Hears("car1", -180s) == "car_clock car=f/car1 clock=ahead by_s=180");
  CHECK(it.Hears("car1", -180s) == "");
  CHECK(it.last_known.clocks().ahead() == 1);
  const auto wrong = it.last_known.clocks().wrong();
  REQUIRE(wrong->size() == 1);
  CHECK(wrong->at(RefOf("car1")).state == ClockState{ClockWord::kAhead, 180s});
  CHECK(it.Hears("car1", 0s).find("jump=back jump_s=179") != std::string::npos);
  std::string said;
  for (int i = 0; i < 5; ++i) {
    said += it.Hears("car1", 0s);
  }
  CHECK(said == "car_clock car=f/car1 clock=right");
  CHECK(it.last_known.clocks().ahead() == 0);
  CHECK(it.last_known.clocks().wrong()->empty());
  CHECK(wrong->size() == 1);  // who asked before keeps what it was shown
  CHECK(it.counters.clocks_jumped_back == 1);
}

TEST_CASE("car clock: one that is too far ahead to be stored is told all the same") {
  Listener it;
  CHECK(it.Hears("car1", -3h) == "car_clock car=f/car1 clock=ahead by_s=10800");
  CHECK(it.counters.refused[v1::REASON_CLOCK_AHEAD] == 1);
  CHECK(it.counters.state_stored == 0);
}

TEST_CASE("car clock: a clock behind is told after some messages, a jump forward when it is set") {
  Listener it;
  std::string said;
  for (int i = 0; i < 6; ++i) {
    said += it.Hears("car1", 1h);
  }
  CHECK(said == "car_clock car=f/car1 clock=behind by_s=3600");
  CHECK(it.last_known.clocks().behind() == 1);
  CHECK(it.Hears("car1", 0s).find("clock=right jump=forward") != std::string::npos);
  CHECK(it.counters.clocks_jumped_forward == 1);
}

TEST_CASE("car clock: what the store holds of the future is known after a restart, and not told") {
  Listener it;
  it.last_known.Load(storage::StateRecord{RefOf("car1"), Group::kBody, kStoryStart,
                                          StateBytes(Group::kBody, kStoryStart + 60s, 1)});
  CHECK(it.last_known.clocks().ahead() == 1);
  it.last_known.Forget(RefOf("car1"));
  CHECK(it.last_known.clocks().ahead() == 0);
  CHECK(it.last_known.clocks().wrong()->empty());
  it.last_known.CheckInvariants();
}

TEST_CASE("car clock: when all clocks seem wrong the log is not flooded, and names are bounded") {
  Listener it;
  size_t lines = 0;
  for (size_t i = 0; i < kWrongClocksMax + 100; ++i) {
    lines += it.Hears("car" + std::to_string(i), -60s).empty() ? 0 : 1;
    it.now.wall = it.now.wall - 990ms;
    it.now.mono = it.now.mono + -990ms;
  }
  CHECK(lines == kClockLinesPerMinute);
  CHECK(it.last_known.clocks().ahead() == kWrongClocksMax + 100);
  CHECK(it.last_known.clocks().wrong()->size() == kWrongClocksMax);
  it.now.wall = it.now.wall + 60s;
  CHECK(it.Hears("other", -60s).find("car_clock_left_out lines=1070 | car_clock") == 0);
}

}  // namespace latchkey::bridge
