// How fast a migration sweeps beside live traffic, as plain code. The sweep and what is live share
// one thread and one disk, so each slice of the sweep is short by what live commits take, rests
// come between slices, and what live commits take while it sweeps is held against what they take
// while it does not: from time to time it stands still on purpose to measure that. And how long it
// takes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "proto/time.h"

namespace latchkey::bridge {

struct PaceBounds {
  // A slice takes about this share of the p99 of late durable commits and this of their median,
  // whichever is less, within these seconds: what arrives during one waits no longer for it.
  double slice_share = 0.08;
  double slice_median = 0.3;
  double slice_seconds_min = 0.00025;
  double slice_seconds_max = 0.002;
  // Share of time that slices take: beside live commits, and when there are none. Both are made
  // smaller by as much when live commits take longer for it.
  double busy_share = 0.2;
  double idle_share = 1;
  double shrink_most = 0.05;  // never smaller than this of it
  // However deep the intake is: the next slice comes at last after this, once the rest that its
  // share of time asks for is over. The least rate is thus a hundredth of the time (busy_share
  // times shrink_most), in slices at most a fifth of a second apart.
  Duration least_every = std::chrono::milliseconds(200);
  size_t backlog_max = 100;  // words that wait for the network: above this the traffic goes first
  uint64_t rows_max = 5000;
};

// Thread rule: one thread.
class MigrationPace {
 public:
  explicit MigrationPace(const PaceBounds& bounds = {}) : bounds_(bounds) {}

  // What live traffic has waiting.
  struct Load {
    size_t intake = 0;   // inputs
    size_t backlog = 0;  // words
  };

  // Rows that may be swept now; 0: not before `wait` is over.
  struct Slice {
    uint64_t rows = 0;
    Duration wait{0};
  };

  // A commit of live traffic took so long. Those that are not durable say only that there is some.
  void Committed(double seconds, bool durable, Instant now);
  // A slice took so long, from `Next` on.
  void Swept(uint64_t rows, double seconds, Instant now);
  Slice Next(const Load& load, Instant now);

  // Share of time that slices take at most now.
  double share(Instant now) const;
  // Seconds that the next slice is to take.
  double slice_seconds() const;

 private:
  // The last of a kind of commits, in seconds.
  class Sample {
   public:
    void Add(double seconds);

    void Clear() { count_ = 0; }

    size_t size() const;
    // 0: there are none. `part` from 0 to 1.
    double Quantile(double part) const;
    // Without the longest part in twenty.
    double Mean() const;

   private:
    static constexpr size_t kMost = 256;
    std::array<double, kMost> seconds_{};
    size_t count_ = 0;  // since ever
  };

  bool Busy(Instant now) const;
  void Judge();

  const PaceBounds bounds_;
  Sample while_sweeping_;
  Sample while_still_;
  size_t unjudged_sweeping_ = 0;
  size_t unjudged_still_ = 0;
  double shrink_ = 1;  // of the shares
  double seconds_per_row_ = 0;
  double owed_seconds_ = 0;  // of rest, that was too short to be waited for
  std::optional<Instant> committed_at_;
  std::optional<Instant> swept_at_;
  std::optional<Instant> wanted_since_;  // the next slice
  Instant rests_until_;
  std::optional<Instant> cycle_at_;  // when the last time of standing still began
};

// Rows over time: what was done within the last minute, and how long the rest takes.
// Thread rule: one thread.
class MigrationRate {
 public:
  // `rows` are done in all; those before the first call count for nothing.
  void Note(uint64_t rows, Instant now);

  // From here on anew: it stood still, or counts something else.
  void Forget() { noted_.clear(); }

  // Rows a second. nullopt: it is not known yet, after less than kRateKnownAfter.
  std::optional<double> PerSecond() const;
  // nullopt: not known, or never at this rate, or there is more than was expected.
  std::optional<Duration> Left(uint64_t rows_done, uint64_t rows_expected) const;

 private:
  struct Noted {
    uint64_t rows = 0;
    Instant at;
  };

  std::deque<Noted> noted_;  // at most one a second
  Noted last_;
};

inline constexpr Duration kRateKnownAfter = std::chrono::seconds(3);
inline constexpr Duration kRateOver = std::chrono::minutes(1);

}  // namespace latchkey::bridge
