// `latchkey bench --quick --json` runs every case, and what it says can be: it is there, it is a
// number of the right order, and what has an order among itself is in it. How fast something is, is
// no test's business: this machine has other work.
#include <chrono>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/process.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;

constexpr const char* kProgram = LK_BINARY_DIR "/bin/latchkey";
constexpr std::chrono::seconds kMost{180};

// A figure that a case must have: of each subject whose name has `subject` in it, at least one.
struct Wanted {
  std::string name;
  std::string subject;
  double least;
  double most;
};

struct WantedCase {
  std::vector<Wanted> figures;
  size_t ratios;  // at least
};

// Bounds are a factor of a hundred around what any machine does.
const std::map<std::string, WantedCase>& WantedCases() {
  static const std::map<std::string, WantedCase> cases = {
      {"throughput",
       {{{"messages per CPU second", "bare", 1000, 1e7},
         {"messages per CPU second", "latchkey", 1000, 1e7},
         {"messages per CPU second", "acl_file", 1000, 1e7},
         {"messages per CPU second", "dynamic security", 1000, 1e7},
         {"messages a second", "", 1000, 1e7},
         {"generator_busy, all subjects", "generator", 0.001, 1.5},
         {"broker_busy", "bare", 0.001, 1.5}},
        12}},
      {"storm",
       {{{"P-256 signatures", "openssl speed", 100, 1e7},
         {"from then to the last car", "bare", 1e-3, 100},
         {"cars let in", "bare", 1, 1e5},
         {"cars let in", "latchkey", 1, 1e5}},
        4}},
      {"flash",
       {{{"p50", "bare", 0.01, 1000},
         {"p50", "latchkey", 0.01, 1000},
         {"p99", "latchkey and bridge", 0.01, 10000},
         {"p50", "signing", 0.05, 1000},
         {"rested", "3 signs and 3 verifies", 0.01, 100}},
        8}},
      {"ingest",
       {{{"messages", "subscriber that discards", 100, 1e7},
         {"messages stored", "bridge", 100, 1e7},
         {"written for a message", "bridge", 1, 1e5},
         {"messages a commit", "bridge", 1, 1e5},
         {"memory (Pss)", "bridge", 1e6, 1e10}},
        1}},
      {"held",
       {{{"append and fdatasync of 4 KiB", "disk", 5, 1e6},
         {"HELD at saturation", "bridge", 10, 1e6},
         {"HELD for each commit at saturation", "bridge", 1, 1e4},
         {"HELD one at a time, p50", "bridge", 0.05, 10000}},
        3}},
      {"growth",
       {{{"directory's heap per pairing", "10000 pairings", 20, 2000},
         {"broker's memory per pairing", "10000 pairings", 20, 20000},
         {"look-up of a pairing", "latchkey", 1, 1e5},
         {"look-up of a stranger", "latchkey", 1, 1e5},
         {"ring change in the directory", "latchkey", 1, 1e5},
         {"ring change, broker CPU in all", "latchkey", 1, 1e6},
         {"change, broker CPU in all", "dynamic_security", 1, 1e7},
         {"store opens", "latchkey", 1e-4, 100}},
        2}},
      {"car_day",
       {{{"bytes a day", "car", 5e4, 5e7},
         {"bytes a day", "text, changed only", 5e4, 5e7},
         {"bytes an hour, parked", "car", 1e3, 1e7},
         {"CPU a day", "car", 1e-3, 100}},
        7}},
  };
  return cases;
}

const json& Result() {
  static const json result = [] {
    const auto began = std::chrono::steady_clock::now();
    const TempDir folder;
    Process process({"sh", "-c",
                     "exec " + std::string(kProgram) + " --json bench --quick 2>" +
                         (folder.path() / "errors").string()},
                    folder.path() / "output");
    const int code = process.Wait(kMost);
    const std::string errors = ReadAll(folder.path() / "errors");
    INFO("what it said beside: " << errors);
    CHECK_MESSAGE(code == 0, "exit code " << code << " (-1: not within 3 minutes): " << errors);
    MESSAGE(
        "took " << std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count()
                << " s");
    return json::parse(process.Output(), nullptr, false);
  }();
  return result;
}

json FindCase(const std::string& name) {
  if (!Result().is_object()) {
    return nullptr;  // it ended without a word
  }
  for (const json& each : Result()["cases"]) {
    if (each["name"] == name) {
      return each;
    }
  }
  return nullptr;
}

bool Has(const json& value, const std::string& part) {
  return value.get<std::string>().find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("bench --quick: ends within 3 minutes with JSON that names the machine") {
  REQUIRE(Result().is_object());
  CHECK(Has(Result()["machine"]["processor"], "core"));
  CHECK(Has(Result()["machine"]["run"], "quick"));
}

TEST_CASE("bench --quick: every case of the list runs to its end") {
  const Ran listed = Run({kProgram, "--json", "bench", "--list"});
  REQUIRE(listed.exit_code == 0);
  std::istringstream lines(listed.output);
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const std::string name = json::parse(line)["case"];
    INFO("case " << name);
    const json found = FindCase(name);
    REQUIRE(found.is_object());
    CHECK_MESSAGE(WantedCases().count(name) == 1, "no figures of " << name << " are looked at");
    for (const json& note : found["notes"]) {
      CHECK_FALSE_MESSAGE(Has(note["text"], "did not run"), note["text"]);
    }
  }
  CHECK(count == WantedCases().size());
}

TEST_CASE("bench --quick: every figure is a number that can be, between its least and its most") {
  REQUIRE(Result().is_object());
  for (const json& each : Result()["cases"]) {
    for (const char* kind : {"figures", "ratios"}) {
      for (const json& row : each[kind]) {
        INFO(each["name"] << ": " << row.dump());
        CHECK(row["count"] >= 1);
        REQUIRE(row["median"].is_number());  // NaN would be null
        CHECK(row["median"] >= row["least"]);
        CHECK(row["median"] <= row["most"]);
        if (std::string(kind) == "ratios" && !Has(row["name"], "above")) {
          CHECK(row["median"] > 0.0001);
          CHECK(row["median"] < 100000);
        }
      }
    }
  }
}

TEST_CASE("bench --quick: each case measures what it is for") {
  for (const auto& [name, wanted] : WantedCases()) {
    const json found = FindCase(name);
    INFO("case " << name);
    REQUIRE(found.is_object());
    CHECK(found["ratios"].size() >= wanted.ratios);
    for (const Wanted& figure : wanted.figures) {
      INFO(figure.name << " of " << figure.subject);
      size_t count = 0;
      for (const json& row : found["figures"]) {
        if (row["name"] == figure.name && Has(row["subject"], figure.subject)) {
          INFO(row.dump());
          ++count;
          CHECK(row["median"] >= figure.least);
          CHECK(row["median"] <= figure.most);
        }
      }
      CHECK(count >= 1);
    }
  }
}

TEST_CASE("bench --quick: a percentile is not below a smaller one") {
  std::map<std::string, std::map<std::string, double>> by_subject;
  const json flash = FindCase("flash");
  REQUIRE(flash.is_object());
  for (const json& row : flash["figures"]) {
    by_subject[row["subject"]][row["name"]] = row["median"];
  }
  CHECK(by_subject.size() >= 8);
  for (const auto& [subject, figures] : by_subject) {
    if (figures.count("p50") == 1) {
      INFO(subject);
      CHECK(figures.at("p50") <= figures.at("p99"));
      CHECK(figures.at("p99") <= figures.at("p99.9"));
    }
  }
}

TEST_CASE("bench: a case that there is not is refused with code 2") {
  const Ran ran = Run({kProgram, "bench", "no-such-case"});
  CHECK(ran.exit_code == 2);
  CHECK(ran.output.find("no-such-case") != std::string::npos);
}

}  // namespace latchkey::testing
