// The pace of a sweep against a small model of a loop and its disk: what live commits feel, that
// the sweep never starves, that it takes what is idle, and what is said of the time that is left.
#include "bridge/core/migration_pace.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

namespace latchkey::bridge {

namespace {

using std::chrono::milliseconds;

struct LoadModel {
  double arrivals_per_second = 200;
  double commit_seconds = 0.002;  // the typical one; the tail is long
  double row_seconds = 0.00001;   // of the sweep
  double slow_down = 0;           // a commit soon after slices takes longer, by this per share
  size_t intake = 0;              // that always waits
  Duration lasts = std::chrono::seconds(120);
};

struct Felt {
  double p99 = 0;  // seconds from arrival to the end of the commit
  uint64_t rows = 0;
  double swept_seconds = 0;
  double longest_gap = 0;  // seconds between slices
};

// One thread: takes what has arrived, commits, and sweeps a slice when the pace allows it.
class Loop {
 public:
  Loop(const LoadModel& model, bool sweeps) : model_(model), sweeps_(sweeps) {}

  Felt Run() {
    const double end = static_cast<double>(model_.lasts.count()) / 1000;
    double next = Arrival(0);
    double last_slice = 0;
    while (now_ < end) {
      if (next <= now_) {
        next = Serve(next);
      }
      double until = next;
      if (sweeps_) {
        const size_t waiting = model_.intake + (next <= now_ ? 1 : 0);
        const MigrationPace::Slice slice = pace_.Next({waiting, 0}, At());
        if (slice.rows > 0) {
          felt_.longest_gap = std::max(felt_.longest_gap, now_ - last_slice);
          Sweep(slice.rows);
          last_slice = now_;
          continue;
        }
        until = std::min(until, now_ + static_cast<double>(slice.wait.count()) / 1000);
      }
      Pass(std::max(until - now_, 1e-6));
    }
    std::sort(felt_seconds_.begin(), felt_seconds_.end());
    if (!felt_seconds_.empty()) {
      felt_.p99 = felt_seconds_[felt_seconds_.size() * 99 / 100];
    }
    return felt_;
  }

 private:
  static constexpr double kFades = 0.03;  // seconds in which the disk is done with a slice

  Instant At() const { return {static_cast<int64_t>(now_ * 1000)}; }

  double Arrival(double after) {
    if (model_.arrivals_per_second <= 0) {
      return 1e9;
    }
    return after + std::exponential_distribution<>(model_.arrivals_per_second)(random_);
  }

  void Pass(double seconds) {
    busy_ *= std::exp(-seconds / kFades);
    now_ += seconds;
  }

  // What has arrived by now shares a commit. When the next one arrives.
  double Serve(double arrived) {
    std::vector<double> together;
    while (arrived <= now_) {
      together.push_back(arrived);
      arrived = Arrival(arrived);
    }
    const double plain =
        std::lognormal_distribution<>(std::log(model_.commit_seconds), 0.5)(random_);
    const double took = plain * (1 + model_.slow_down * busy_ / kFades);
    Pass(took);
    pace_.Committed(took, true, At());
    for (const double one : together) {
      felt_seconds_.push_back(now_ - one);
    }
    return arrived;
  }

  void Sweep(uint64_t rows) {
    const double took = static_cast<double>(rows) * model_.row_seconds;
    Pass(took);
    busy_ += took;
    felt_.rows += rows;
    felt_.swept_seconds += took;
    pace_.Swept(rows, took, At());
  }

  const LoadModel model_;
  const bool sweeps_;
  MigrationPace pace_;
  std::mt19937 random_{7};
  double now_ = 0;
  double busy_ = 0;  // seconds of slices that the disk still works on
  std::vector<double> felt_seconds_;
  Felt felt_;
};

Felt With(const LoadModel& model) {
  return Loop(model, true).Run();
}

Felt Without(const LoadModel& model) {
  return Loop(model, false).Run();
}

}  // namespace

TEST_CASE("pace: p99 of live commands stays within 1.2 times, at many loads") {
  for (const double per_second : {5.0, 50.0, 200.0}) {
    for (const double commit_ms : {1.0, 3.0, 10.0}) {
      if (per_second * commit_ms > 700) {
        continue;  // more than the loop can do without any sweep
      }
      LoadModel model;
      model.arrivals_per_second = per_second;
      model.commit_seconds = commit_ms / 1000;
      if (per_second < 10) {
        model.lasts = std::chrono::seconds(600);
      }
      CAPTURE(per_second);
      CAPTURE(commit_ms);
      const Felt before = Without(model);
      const Felt during = With(model);
      MESSAGE(per_second << "/s of " << commit_ms << " ms: p99 " << before.p99 * 1000 << " -> "
                         << during.p99 * 1000 << " ms, "
                         << 1000.0 * static_cast<double>(during.rows) /
                                static_cast<double>(model.lasts.count())
                         << " rows/s");
      CHECK(during.p99 <= 1.2 * before.p99);
      CHECK(during.rows > 0);
    }
  }
}

TEST_CASE("pace: where slices slow commits down, fewer come") {
  LoadModel gentle;
  LoadModel harsh;
  harsh.slow_down = 3;
  const Felt before = Without(harsh);
  const Felt slowed = With(harsh);
  CHECK(slowed.p99 <= 1.2 * before.p99);
  CHECK(slowed.swept_seconds < With(gentle).swept_seconds / 2);
  // And never less than the least.
  LoadModel cruel;
  cruel.slow_down = 100;
  const Felt least = With(cruel);
  const double seconds = static_cast<double>(cruel.lasts.count()) / 1000;
  CHECK(least.swept_seconds >= 0.008 * seconds);
}

TEST_CASE("pace: a sweep never starves, however deep the intake is") {
  LoadModel model;
  model.intake = 500;
  const Felt felt = With(model);
  CHECK(felt.longest_gap <= 0.25);
  CHECK(felt.rows > 100);
}

TEST_CASE("pace: time without live traffic is used whole, in slices that stay short") {
  LoadModel model;
  model.arrivals_per_second = 0;
  const Felt felt = With(model);
  CHECK(felt.swept_seconds >= 0.95 * static_cast<double>(model.lasts.count()) / 1000);

  MigrationPace pace;
  CHECK(pace.slice_seconds() == doctest::Approx(0.002));
  // Rows that take ever longer: fewer of them.
  pace.Swept(1000, 0.010, Instant{0});
  const MigrationPace::Slice slice = pace.Next({}, Instant{100});
  CHECK(slice.rows >= 150);
  CHECK(slice.rows <= 400);
}

TEST_CASE("pace: after a slice that took far too long live traffic comes first") {
  MigrationPace pace;
  pace.Committed(0.001, true, Instant{1000});
  CHECK(pace.share(Instant{1001}) == doctest::Approx(0.2));
  pace.Swept(10, 0.1, Instant{1100});
  const MigrationPace::Slice slice = pace.Next({}, Instant{1101});
  CHECK(slice.rows == 0);
  CHECK(slice.wait >= milliseconds(350));
  CHECK(slice.wait <= milliseconds(450));
}

TEST_CASE("rate: what is not known is not said") {
  MigrationRate rate;
  CHECK_FALSE(rate.PerSecond());
  CHECK_FALSE(rate.Left(0, 100));
  rate.Note(0, Instant{0});
  rate.Note(1000, Instant{2000});
  CHECK_FALSE(rate.PerSecond());
  rate.Note(2000, Instant{4000});
  REQUIRE(rate.PerSecond());
  CHECK(*rate.PerSecond() == doctest::Approx(500));
  CHECK(rate.Left(2000, 7000) == Duration(10'000));
  CHECK_FALSE(rate.Left(7001, 7000));  // there is more than was expected
  CHECK(rate.Left(7000, 7000) == Duration(0));
  rate.Forget();
  CHECK_FALSE(rate.PerSecond());
}

TEST_CASE("rate: is of the last minute, and of nothing when nothing was done in it") {
  MigrationRate rate;
  for (int64_t s = 0; s <= 300; ++s) {
    rate.Note(static_cast<uint64_t>(s < 200 ? s * 1000 : 200'000), Instant{s * 1000});
  }
  REQUIRE(rate.PerSecond());
  CHECK(*rate.PerSecond() == doctest::Approx(0));
  CHECK_FALSE(rate.Left(200'000, 300'000));
  // A count that falls begins anew: it is of another migration.
  rate.Note(5, Instant{301'000});
  CHECK_FALSE(rate.PerSecond());
}

}  // namespace latchkey::bridge
