// Tests of report.h.
#include "tools/bench/report.h"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace latchkey::bench {

namespace {

constexpr Target kAtLeast{Goal::kAtLeast, 0.95};
constexpr Target kAtMost{Goal::kAtMost, 200};

bool Says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("report: a target is met at its bound and missed beyond it") {
  CHECK(kAtLeast.MetBy(0.95));
  CHECK_FALSE(kAtLeast.MetBy(0.9499));
  CHECK(kAtMost.MetBy(200));
  CHECK_FALSE(kAtMost.MetBy(200.1));
}

TEST_CASE("report: what missed its target is named with what was wanted") {
  Report report;
  report.Ratio("throughput", "messages per CPU second", "latchkey", "bare", {0.94, 0.91, 0.97},
               kAtLeast);
  report.Ratio("throughput", "messages per CPU second", "acl_file", "bare", {0.96, 0.97}, kAtLeast);
  report.Figure("growth", "latchkey", "memory of a pairing", "bytes", SpreadOf({150}), kAtMost);
  REQUIRE(report.missed().size() == 1);
  CHECK(report.missed()[0] ==
        "throughput: messages per CPU second of latchkey by bare is 0.94 (0.91..0.97), wanted at "
        "least 0.95");
  CHECK(Says(report.text(), "at least 0.95: MISSED"));
  CHECK(Says(report.text(), "at most 200: met"));
}

TEST_CASE("report: nothing measured is a target missed") {
  Report report;
  report.Ratio("throughput", "x", "latchkey", "bare", {}, kAtLeast);
  report.Figure("throughput", "latchkey", "x", "bytes", {}, kAtMost);
  CHECK(report.missed().size() == 2);
  CHECK(Says(report.text(), "not measured"));
}

TEST_CASE("report: a case that is not valid neither meets nor misses") {
  Report report;
  report.Figure("held", "bridge", "memory", "bytes", SpreadOf({900}), kAtMost);
  CHECK(report.missed().size() == 1);
  report.Note("held", "the generator was the bottleneck", Validity::kInvalid);
  CHECK(report.missed().empty());
  CHECK(Says(report.text(), "INVALID: the generator was the bottleneck"));
  CHECK(Says(report.text(), "at most 200: not judged"));
  const auto json = nlohmann::json::parse(report.json());
  CHECK(json["cases"][0]["valid"] == false);
  CHECK(json["cases"][0]["figures"][0]["target"]["met"].is_null());
}

TEST_CASE("report: JSON says all that was said, and text in the order of saying") {
  Report report;
  report.Machine("cores", "2");
  report.Figure("flash", "bare", "p50", "ms", SpreadOf({1, 2, 4}));
  report.Ratio("flash", "p50", "latchkey", "bare", {1.5}, Target{Goal::kAtMost, 1.1});
  report.Note("flash", "idle", Validity::kInformation);
  report.Figure("held", "bridge", "p99", "ms", SpreadOf({7}));
  const auto json = nlohmann::json::parse(report.json());
  CHECK(json["machine"]["cores"] == "2");
  REQUIRE(json["cases"].size() == 2);
  const auto& flash = json["cases"][0];
  CHECK(flash["name"] == "flash");
  CHECK(flash["valid"] == true);
  CHECK(flash["figures"][0]["median"] == 2);
  CHECK(flash["figures"][0]["least"] == 1);
  CHECK(flash["figures"][0]["most"] == 4);
  CHECK(flash["figures"][0]["count"] == 3);
  CHECK(flash["figures"][0]["unit"] == "ms");
  CHECK(flash["ratios"][0]["baseline"] == "bare");
  CHECK(flash["ratios"][0]["target"]["goal"] == "at_most");
  CHECK(flash["ratios"][0]["target"]["met"] == false);
  CHECK(flash["notes"][0]["text"] == "idle");
  CHECK(flash["notes"][0]["invalid"] == false);
  CHECK(json["missed"].size() == 1);
  CHECK(report.text().find("flash") < report.text().find("held"));
}

TEST_CASE("report: numbers have a few digits, and thousands stand apart") {
  CHECK(NumberText(57512.4) == "57 512");
  CHECK(NumberText(1234567) == "1 234 567");
  CHECK(NumberText(999.94) == "999.9");
  CHECK(NumberText(0.95123) == "0.9512");
  CHECK(NumberText(0.000012345) == "1.23e-05");
  CHECK(NumberText(0) == "0");
  CHECK(NumberText(-12345) == "-12 345");
}

}  // namespace latchkey::bench
