// See course.h.
#include "tests/replay/course.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

namespace latchkey::replay {

namespace {

constexpr int64_t kEvery = 1000;
constexpr size_t kComplaintsMax = 3;

// Whether the file had the value at any time from one to the other, both of the recording.
bool Had(const Course& course, const std::string& signal, double value, double from, double to) {
  auto at = std::upper_bound(
      course.values.begin(), course.values.end(), from,
      [](double time, const auto& stretch) { return time < static_cast<double>(stretch.first); });
  if (at != course.values.begin()) {
    --at;
  }
  for (; at != course.values.end() && static_cast<double>(at->first) <= to; ++at) {
    if (SameValue(signal, at->second, value)) {
      return true;
    }
  }
  return false;
}

bool Within(const Times& times, int64_t at) {
  return std::any_of(times.begin(), times.end(),
                     [at](const auto& each) { return each.first <= at && at <= each.second; });
}

}  // namespace

std::vector<Sample> HistoryOf(const testing::Cell& cell, const std::string& car,
                              const std::string& signal) {
  const auto json = nlohmann::json::parse(
      testing::HttpGet(cell.http_port(), "/v1/history?fleet=demo&car=" + car + "&signal=" + signal)
          .body,
      nullptr, false);
  std::vector<Sample> samples;
  if (json.is_object() && json.contains("samples") && !json.value("truncated", false)) {
    for (const auto& each : json["samples"]) {
      samples.push_back({each["observed_at_ms"], each["received_at_ms"], each["value"]});
    }
  }
  return samples;
}

HistoryVerdict JudgeHistory(const Driver& driver, const std::string& signal,
                            const std::vector<Sample>& samples, const Timing& timing,
                            int64_t behind_ms, const Times& excused) {
  HistoryVerdict verdict;
  verdict.samples = samples.size();
  const Course& course = driver.drive->signals.at(signal);
  const auto complain = [&](int64_t at, const std::string& what) {
    if (verdict.wrongs.size() < kComplaintsMax) {
      verdict.wrongs.push_back("history: " + driver.car + " (" + driver.drive->name +
                               "): " + signal + " " + std::to_string(at - driver.started_ms) +
                               " ms after the start: " + what);
    }
  };
  const auto recorded = [&](double at) {
    return (at - static_cast<double>(driver.started_ms)) * timing.speed;
  };
  for (const Sample& sample : samples) {
    const auto at = static_cast<double>(sample.observed_at_ms);
    if (!Had(course, signal, sample.value, recorded(at - timing.tolerance_ms),
             recorded(at + timing.tolerance_ms))) {
      complain(sample.observed_at_ms,
               "the sample " + std::to_string(sample.value) + " is not in the file");
    }
  }
  const auto over = static_cast<int64_t>(std::ceil(timing.At(driver, course.last_at)));
  for (int64_t at = driver.started_ms + behind_ms; at < over + behind_ms + kEvery; at += kEvery) {
    if (Within(excused, at)) {
      ++verdict.excused_s;
      continue;
    }
    ++verdict.judged_s;
    const auto after = std::upper_bound(
        samples.begin(), samples.end(), at,
        [](int64_t time, const Sample& sample) { return time < sample.observed_at_ms; });
    if (after == samples.begin()) {
      complain(at, "there is no sample yet");
      continue;
    }
    const double value = std::prev(after)->value;
    if (!Had(course, signal, value, recorded(static_cast<double>(at - behind_ms)),
             recorded(static_cast<double>(at) + timing.tolerance_ms))) {
      complain(at, std::to_string(value) + " is long past");
    }
  }
  return verdict;
}

}  // namespace latchkey::replay
