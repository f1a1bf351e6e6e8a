// See migration_pace.h.
#include "bridge/core/migration_pace.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace latchkey::bridge {

namespace {

constexpr Duration kBusyFor = std::chrono::milliseconds(200);  // after a live commit
// Every so often it stands still so long, to see what live commits take without it.
constexpr Duration kCycle = std::chrono::milliseconds(1000);
constexpr Duration kStill = std::chrono::milliseconds(150);
constexpr Duration kAfterSlice = std::chrono::milliseconds(50);
constexpr size_t kJudgeSweeping = 32;  // new samples that it takes for another judgement
constexpr size_t kJudgeStill = 8;
constexpr size_t kSampleKnown = 32;
constexpr double kTooSlow = 1.12;  // of what commits take without it
constexpr double kFine = 1.05;
constexpr double kShrink = 0.5;
constexpr double kGrow = 1.25;
constexpr double kTailPart = 0.9;
constexpr double kSliceUnknown = 0.001;    // beside live traffic of which little is known
constexpr double kRowsGrow = 2;            // from slice to slice, at most
constexpr double kOldPart = 0.7;           // of the average time a row takes
constexpr double kSecondsPerRow = 0.0001;  // as long as nothing is known
constexpr double kMsPerSecond = 1000;

}  // namespace

void MigrationPace::Sample::Add(double seconds) {
  seconds_.at(count_ % kMost) = seconds;
  ++count_;
}

size_t MigrationPace::Sample::size() const {
  return std::min(count_, kMost);
}

double MigrationPace::Sample::Quantile(double part) const {
  const size_t n = size();
  if (n == 0) {
    return 0;
  }
  std::vector<double> sorted(seconds_.begin(), seconds_.begin() + static_cast<ptrdiff_t>(n));
  const auto at = std::min(n - 1, static_cast<size_t>(part * static_cast<double>(n)));
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(at), sorted.end());
  return sorted[at];
}

double MigrationPace::Sample::Mean() const {
  constexpr size_t kLeftOut = 20;
  const size_t n = size();
  if (n == 0) {
    return 0;
  }
  std::vector<double> sorted(seconds_.begin(), seconds_.begin() + static_cast<ptrdiff_t>(n));
  std::sort(sorted.begin(), sorted.end());
  const size_t kept = n - n / kLeftOut;
  return std::accumulate(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(kept), 0.0) /
         static_cast<double>(kept);
}

bool MigrationPace::Busy(Instant now) const {
  return committed_at_ && now < *committed_at_ + kBusyFor;
}

double MigrationPace::share(Instant now) const {
  return (Busy(now) ? bounds_.busy_share : bounds_.idle_share) * shrink_;
}

double MigrationPace::slice_seconds() const {
  if (!committed_at_) {
    return bounds_.slice_seconds_max;
  }
  constexpr double kLate = 0.99;
  const double middle = std::max(while_sweeping_.Quantile(0.5), while_still_.Quantile(0.5));
  const double late = std::max(while_sweeping_.Quantile(kLate), while_still_.Quantile(kLate));
  const double wanted = while_sweeping_.size() + while_still_.size() < kSampleKnown
                            ? kSliceUnknown
                            : std::min(late * bounds_.slice_share, middle * bounds_.slice_median);
  return std::clamp(wanted, bounds_.slice_seconds_min, bounds_.slice_seconds_max);
}

void MigrationPace::Committed(double seconds, bool durable, Instant now) {
  committed_at_ = now;
  if (!durable) {
    return;
  }
  // What is slower soon after a slice is slower for it.
  const bool still = !swept_at_ || now >= *swept_at_ + kAfterSlice;
  if (still) {
    while_still_.Add(seconds);
    ++unjudged_still_;
  } else {
    while_sweeping_.Add(seconds);
    ++unjudged_sweeping_;
  }
  Judge();
}

void MigrationPace::Judge() {
  if (unjudged_sweeping_ < kJudgeSweeping || unjudged_still_ < kJudgeStill ||
      while_still_.size() < kSampleKnown) {
    return;
  }
  unjudged_sweeping_ = 0;
  unjudged_still_ = 0;
  const double ratio = std::max(
      while_sweeping_.Mean() / std::max(while_still_.Mean(), 1e-9),
      while_sweeping_.Quantile(kTailPart) / std::max(while_still_.Quantile(kTailPart), 1e-9));
  if (ratio > kTooSlow) {
    shrink_ = std::max(shrink_ * kShrink, bounds_.shrink_most);
    while_sweeping_.Clear();  // of another share
  } else if (ratio < kFine) {
    shrink_ = std::min(shrink_ * kGrow, 1.0);
  }
}

void MigrationPace::Swept(uint64_t rows, double seconds, Instant now) {
  if (rows > 0) {
    const double each = seconds / static_cast<double>(rows);
    seconds_per_row_ =
        seconds_per_row_ == 0 ? each : seconds_per_row_ * kOldPart + each * (1 - kOldPart);
    // One slice that took far too long counts at once.
    seconds_per_row_ = std::max(seconds_per_row_, each / kRowsGrow);
  }
  swept_at_ = now;
  wanted_since_ = now;
  owed_seconds_ += seconds * (1 / share(now) - 1);
  const double whole_ms = std::floor(owed_seconds_ * kMsPerSecond);
  owed_seconds_ -= whole_ms / kMsPerSecond;
  rests_until_ = now + Duration(static_cast<int64_t>(whole_ms));
}

MigrationPace::Slice MigrationPace::Next(const Load& load, Instant now) {
  if (now < rests_until_) {
    return {0, rests_until_ - now};
  }
  if (Busy(now) && (!cycle_at_ || now >= *cycle_at_ + kCycle)) {
    cycle_at_ = now;
  }
  Instant due = now;
  // Where rests are long, commits are seen without the sweep anyway.
  const double period = slice_seconds() / share(now);
  if (Busy(now) && period * kMsPerSecond <= static_cast<double>(kAfterSlice.count())) {
    due = std::max(due, *cycle_at_ + kStill);
  }
  wanted_since_ = wanted_since_.value_or(now);
  const Instant overdue = *wanted_since_ + bounds_.least_every;
  if (load.intake > 0 || load.backlog > bounds_.backlog_max) {
    due = std::max(due, overdue);
  }
  due = std::min(due, std::max(overdue, now));
  if (due > now) {
    return {0, due - now};
  }
  const double each = seconds_per_row_ == 0 ? kSecondsPerRow : seconds_per_row_;
  const double rows = slice_seconds() / std::max(each, 1e-9);
  return {static_cast<uint64_t>(std::clamp(rows, 1.0, static_cast<double>(bounds_.rows_max))),
          Duration(0)};
}

void MigrationRate::Note(uint64_t rows, Instant now) {
  constexpr Duration kEvery = std::chrono::seconds(1);
  if (!noted_.empty() && rows < last_.rows) {
    noted_.clear();
  }
  last_ = {rows, now};
  if (noted_.empty() || now >= noted_.back().at + kEvery) {
    noted_.push_back(last_);
  }
  while (noted_.size() > 1 && noted_.front().at + kRateOver < now) {
    noted_.pop_front();
  }
}

std::optional<double> MigrationRate::PerSecond() const {
  if (noted_.empty() || last_.at < noted_.front().at + kRateKnownAfter) {
    return std::nullopt;
  }
  return static_cast<double>(last_.rows - noted_.front().rows) * kMsPerSecond /
         static_cast<double>((last_.at - noted_.front().at).count());
}

std::optional<Duration> MigrationRate::Left(uint64_t rows_done, uint64_t rows_expected) const {
  const std::optional<double> rate = PerSecond();
  if (!rate || *rate <= 0 || rows_done > rows_expected) {
    return std::nullopt;
  }
  return Duration(
      static_cast<int64_t>(static_cast<double>(rows_expected - rows_done) * kMsPerSecond / *rate));
}

}  // namespace latchkey::bridge
