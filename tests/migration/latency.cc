// See latency.h.
#include "tests/migration/latency.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace latchkey::migration {

namespace {

bool Touches(const Spans& spans, Moment begin, Moment end) {
  return std::any_of(spans.begin(), spans.end(),
                     [&](const Span& span) { return begin < span.end && span.begin < end; });
}

Latency Summed(std::vector<double>& all) {
  if (all.empty()) {
    return {};
  }
  std::sort(all.begin(), all.end());
  return {all.size(), all[all.size() / 2], all[all.size() * 99 / 100]};
}

}  // namespace

Latencies LatenciesOf(const load::Records& records, const Spans& within, const Spans& without) {
  std::vector<double> done;
  std::vector<double> held;
  const auto add = [&](const load::Record& record, Moment answered, std::vector<double>& to) {
    const bool counts = std::any_of(within.begin(), within.end(), [&](const Span& span) {
      return span.begin <= record.sent_at && record.sent_at < span.end;
    });
    if (counts && !Touches(without, record.sent_at, answered)) {
      to.push_back(std::chrono::duration<double, std::milli>(answered - record.sent_at).count());
    }
  };
  for (const auto& [id, record] : records) {
    const load::Habit habit = load::HabitOf(record.car);
    if (habit == load::Habit::kAwake && record.end && record.end->state == v1::RECEIPT_STATE_DONE) {
      add(record, record.ended_at, done);
    } else if ((habit == load::Habit::kSleeps || habit == load::Habit::kGone) && record.held) {
      add(record, record.held_at, held);
    }
  }
  return {Summed(done), Summed(held)};
}

std::string Digits(double number, int digits) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << number;
  return text.str();
}

std::string Ratio(double part, double whole) {
  return whole > 0 ? Digits(part / whole, 2) : "-";
}

}  // namespace latchkey::migration
