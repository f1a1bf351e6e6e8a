// The parts of a tap: conditions, patterns, counting what is missing, and files that are put aside.
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tools/latchkey/missed.h"
#include "tools/latchkey/rotating_file.h"
#include "tools/latchkey/tap_clocks.h"
#include "tools/latchkey/tap_filter.h"

namespace latchkey::cli {
namespace {

namespace fs = std::filesystem;

SignalRow Row(std::string name, std::variant<bool, double, int64_t, std::string> value) {
  return {std::move(name), "", "", std::move(value), {}};
}

bool Says(const std::string& text, const SignalRow& row) {
  const Result<Condition> condition = ParseCondition(text);
  REQUIRE_MESSAGE(condition, text);
  return Holds(*condition, row);
}

TEST_CASE("tap: a condition compares numbers, yes and no, and texts") {
  const SignalRow soc = Row("energy.soc", 19.5);
  for (const char* text :
       {"energy.soc<20", "energy.soc <= 19.5", "energy.soc=19.5", "energy.soc==19.5",
        "energy.soc!=20", "energy.soc>=19", "energy.soc>0"}) {
    CHECK_MESSAGE(Says(text, soc), text);
  }
  for (const char* text :
       {"energy.soc<19.5", "energy.soc>20", "energy.soc=yes", "energy.soc=low"}) {
    CHECK_FALSE_MESSAGE(Says(text, soc), text);
  }
  CHECK(Says("drive.gear=-1", Row("drive.gear", int64_t{-1})));
  CHECK(Says("body.is_locked=no", Row("body.is_locked", false)));
  CHECK(Says("body.is_locked!=yes", Row("body.is_locked", false)));
  CHECK_FALSE(Says("body.is_locked=0", Row("body.is_locked", false)));
  CHECK(Says("link.radio=LTE", Row("link.radio", std::string("LTE"))));
  CHECK(Says("link.radio!=GSM", Row("link.radio", std::string("LTE"))));
}

TEST_CASE("tap: what is no condition is refused with what there is") {
  for (const char* text :
       {"", "energy.soc", "<20", "energy<20", "body.is_locked<yes", "link.radio>LTE"}) {
    CHECK_FALSE_MESSAGE(ParseCondition(text), text);
  }
  CHECK(ParseCondition("energy.sok<20").error().text.find("soc") != std::string::npos);
  CHECK(ParseCondition("Vehicle.Cabin.Seat=1"));
}

TEST_CASE("tap: conditions hold by the last that was heard of each car") {
  CarConditions conditions(
      {ParseCondition("energy.soc<20").value(), ParseCondition("drive.speed>0").value()});
  CHECK(conditions.groups() == std::set<Group>{Group::kEnergy, Group::kDrive});
  CHECK_FALSE(conditions.Hold("a"));
  conditions.Take("a", Group::kEnergy, {Row("energy.soc", 10.0)});
  CHECK_FALSE(conditions.Hold("a"));
  conditions.Take("a", Group::kDrive, {Row("drive.speed", 50.0)});
  CHECK(conditions.Hold("a"));
  CHECK_FALSE(conditions.Hold("b"));
  conditions.Take("a", Group::kEnergy, {Row("energy.range", 50.0)});
  CHECK_FALSE_MESSAGE(conditions.Hold("a"), "what a group no longer says is not known");
  CHECK(CarConditions({}).Hold("a"));
}

TEST_CASE("tap: a pattern with stars and question marks") {
  struct Case {
    const char* glob;
    const char* name;
    bool matches;
  };

  for (const Case& c : {Case{"*", "F3-17", true},
                        {"F3-*", "F3-17", true},
                        {"F3-*", "F4-17", false},
                        {"*17", "F3-17", true},
                        {"*-*7", "F3-17", true},
                        {"F?-17", "F3-17", true},
                        {"F?-17", "F-17", false},
                        {"F3-17", "F3-17", true},
                        {"F3-17", "F3-171", false},
                        {"F3-17?", "F3-17", false},
                        {"**a*", "bab", true},
                        {"", "a", false}}) {
    CAPTURE(c.glob);
    CAPTURE(c.name);
    CHECK(MatchesGlob(c.glob, c.name) == c.matches);
  }
}

v1::Presence Session(uint64_t number) {
  v1::Presence presence;
  presence.set_broker_started_at_ms(1);
  presence.set_session(number);
  return presence;
}

TEST_CASE("missed: numbers that are left out are counted, repeats and restarts of a car are not") {
  Missed missed;
  missed.Take("a", Session(1));
  CHECK(missed.Take("a", Group::kBody, 7) == 0);
  CHECK(missed.Take("a", Group::kBody, 8) == 0);
  CHECK(missed.Take("a", Group::kBody, 8) == 0);
  CHECK(missed.Take("a", Group::kBody, 12) == 3);
  CHECK(missed.Take("a", Group::kBody, 9) == 0);
  CHECK(missed.Take("a", Group::kDrive, 100) == 0);
  CHECK(missed.Take("b", Group::kBody, 100) == 0);
  missed.Take("a", Session(1));
  CHECK(missed.Take("a", Group::kBody, 14) == 1);
  missed.Take("a", Session(2));
  CHECK(missed.Take("a", Group::kBody, 1024) == 0);
  CHECK(missed.Take("b", Group::kBody, 102) == 1);
  CHECK(missed.messages() == 5);
  CHECK(missed.cars() == 2);
}

TEST_CASE("missed: whatever a lossy way drops is counted, if something follows it") {
  std::mt19937_64 random(11);
  Missed missed;
  uint64_t dropped = 0;
  for (int car = 0; car < 50; ++car) {
    for (uint64_t sequence = 1; sequence <= 400; ++sequence) {
      const bool edge = sequence == 1 || sequence == 400;
      if (!edge && random() % 3 == 0) {
        ++dropped;
      } else {
        missed.Take("car-" + std::to_string(car), Group::kDrive, sequence);
      }
    }
  }
  CHECK(missed.messages() == dropped);
  CHECK(missed.cars() == 50);
}

TapClocks::Heard ClockHeard(uint64_t sequence, int64_t observed_at, int64_t at) {
  return {Group::kDrive, {observed_at, sequence}, Retain::kNo, Timestamp{at}, Instant{at}};
}

TEST_CASE("tap clocks: a clock that is ahead and its jump back are told once each, per car") {
  constexpr int64_t kStart = 1'760'000'000'000;
  TapClocks clocks(2);
  CHECK_FALSE(clocks.Take("a", ClockHeard(1, kStart, kStart + 50)));
  const auto ahead = clocks.Take("a", ClockHeard(2, kStart + 190'000, kStart + 10'000));
  REQUIRE(ahead);
  CHECK(ahead->now == ClockState{ClockWord::kAhead, std::chrono::minutes(3)});
  CHECK(ClockNewsText("f/a", *ahead, Timestamp{kStart}).find("3 min ahead") != std::string::npos);
  CHECK_FALSE(clocks.Take("a", ClockHeard(3, kStart + 191'000, kStart + 11'000)));
  CHECK_FALSE(clocks.Take("b", ClockHeard(1, kStart + 11'900, kStart + 12'000)));
  const auto back = clocks.Take("a", ClockHeard(4, kStart + 20'000, kStart + 20'050));
  REQUIRE(back);
  CHECK(back->found.jump == ClockJump::kBack);
  CHECK(ClockNewsText("f/a", *back, Timestamp{kStart}).find("jumped back by 2 min") !=
        std::string::npos);
  const auto json = nlohmann::json::parse(ClockNewsJson("f/a", *back, Timestamp{kStart}));
  CHECK(json["event"] == "clock");
  CHECK(json["jump"] == "back");
  CHECK(json["jump_ms"] == 171'000);
  // What the broker kept shows a clock that is ahead, and no jump.
  TapClocks::Heard kept = ClockHeard(5, kStart + 1000, kStart + 30'000);
  kept.retained = Retain::kYes;
  CHECK_FALSE(clocks.Take("b", kept));
  // No more cars than it may: of others nothing is known.
  CHECK_FALSE(clocks.Take("c", ClockHeard(1, kStart + 190'000, kStart)));
}

std::string Text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("rotating file: lines go into the next file when one is full, and the oldest goes") {
  const fs::path folder = fs::temp_directory_path() / ("tap-" + std::to_string(::getpid()));
  fs::create_directory(folder);
  const fs::path path = folder / "out.jsonl";
  {
    const auto file = RotatingFile::Open(path, 10, 2);
    REQUIRE(file);
    for (const char* line : {"aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff", "gggg"}) {
      CHECK((*file)->Add(line));
    }
  }
  CHECK(Text(path) == "gggg\n");
  CHECK(Text(path.string() + ".1") == "eeee\nffff\n");
  CHECK(Text(path.string() + ".2") == "cccc\ndddd\n");
  CHECK_FALSE(fs::exists(path.string() + ".3"));
  CHECK((fs::status(path).permissions() & fs::perms::all) ==
        (fs::perms::owner_read | fs::perms::owner_write));
  {
    const auto file = RotatingFile::Open(path, 10, 2);
    REQUIRE(file);
    CHECK((*file)->Add("hhhh"));
    CHECK_MESSAGE((*file)->Add("a line that is longer than a file may be"), "it gets its own");
  }
  CHECK(Text(path.string() + ".1") == "gggg\nhhhh\n");
  CHECK_FALSE(RotatingFile::Open(folder, 10, 2));
  fs::remove_all(folder);
}

TEST_CASE("rotating file: sizes as people write them") {
  CHECK(ParseBytes("10MB").value() == 10'000'000);
  CHECK(ParseBytes("500kB").value() == 500'000);
  CHECK(ParseBytes("1GB").value() == 1'000'000'000);
  CHECK(ParseBytes("123").value() == 123);
  for (const char* text : {"", "MB", "0", "-1", "10mb", "10 MB", "1TB"}) {
    CHECK_FALSE_MESSAGE(ParseBytes(text), text);
  }
}

}  // namespace
}  // namespace latchkey::cli
