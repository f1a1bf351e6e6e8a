// Both migrations of a live cell: one undisturbed, to measure, then everything that can be ordered
// with kills in between, then the second one.
#include <algorithm>
#include <chrono>

#include "tests/migration/act.h"
#include "tests/migration/live.h"

namespace latchkey::migration {

namespace {

using load::Expect;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr milliseconds kSweepPatience{1800000};
constexpr milliseconds kVerifyPatience{600000};
constexpr int kRoundsMax = 30;
constexpr int kPausesMax = 20;

class LiveAct {
 public:
  LiveAct(const Options& options, Report& report)
      : options_(options), report_(report), live_(options, 0, report), orders_(live_.orders()) {}

  void Play() {
    live_.Start();
    const auto quiet = steady_clock::now();
    live_.Wait(options_.seconds * 1000);
    before_.push_back({quiet, steady_clock::now()});
    Undisturbed();
    const auto began = steady_clock::now();
    First();
    Second();
    report_.Row(
        "with kills, both migrations took",
        Digits(std::chrono::duration<double>(steady_clock::now() - began).count(), 1) + " s");
    live_.End(3);
    SayLatencies();
  }

 private:
  // The whole of the first migration and back again, until there is enough to measure.
  void Undisturbed() {
    const auto until = steady_clock::now() + seconds(options_.seconds);
    int rounds = 0;
    double first_s = 0;
    while (rounds < kRoundsMax && (rounds == 0 || steady_clock::now() < until)) {
      const auto began = steady_clock::now();
      orders_.Give("start");
      const Standing filled = orders_.Await("filled", kSweepPatience);
      if (rounds == 0) {
        first_s = std::chrono::duration<double>(steady_clock::now() - began).count();
        report_.Row("first sweep, undisturbed",
                    std::to_string(filled.done) + " rows in " + Digits(first_s, 1) + " s");
      }
      orders_.Verify("verified", kVerifyPatience);
      orders_.Give("cutover");
      during_.push_back({began, steady_clock::now()});
      orders_.Give("rollback");
      orders_.Give("rollback");
      ++rounds;
    }
    report_.Row("migrated and rolled back, undisturbed", std::to_string(rounds) + " times");
  }

  // Kills at random moments while it has this phase, or `most` times.
  void KillDuring(const std::string& phase, int most) {
    for (int i = 0; i < most && orders_.Now().phase == phase; ++i) {
      live_.Wait(live_.world().Between(30, 700));
      live_.Kill();
    }
  }

  // Starts and pauses in the midst of the sweep.
  void StartPaused() {
    for (int i = 0; i < kPausesMax; ++i) {
      orders_.Give("start");
      if (orders_.Post("pause").status == 200) {
        return;
      }
      orders_.Await("filled", kSweepPatience);
      orders_.Give("rollback");
    }
    Expect(false, "the sweep was over each time before it could be paused");
  }

  void PauseOverKill() {
    StartPaused();
    live_.Kill();
    const Standing paused = orders_.Now();
    live_.Wait(700);
    const Standing later = orders_.Now();
    Expect(paused.paused && later.paused && later.done == paused.done,
           "a paused sweep goes on: " + later.text);
    report_.Row("paused over a kill", "at " + std::to_string(paused.done) + " of " +
                                          std::to_string(paused.expected) + " rows");
  }

  void First() {
    PauseOverKill();
    orders_.Give("rollback");
    Expect(orders_.Now().phase == "none", "rolled back, it stands " + orders_.Now().text);
    PauseOverKill();
    orders_.Give("resume");
    KillDuring("backfill", std::max(1, options_.kills / 4));
    orders_.Await("filled", kSweepPatience);
    KillVerifying();
    KillOrdering("cutover");
    live_.Kill();
    KillOrdering("rollback");
    Expect(orders_.Now().phase == "verified", "rolled back, it stands " + orders_.Now().text);
    live_.Kill();
    KillOrdering("cutover");
    orders_.Verify("cut over", kVerifyPatience);
    KillOrdering("finish");
    Expect(orders_.Now().schema == 2, "finished, it stands " + orders_.Now().text);
  }

  void Second() {
    const auto began = steady_clock::now();
    orders_.Give("start");
    const int left = std::max(2, options_.kills - live_.kills() - 2);
    KillDuring("backfill", left);
    const Standing filled = orders_.Await("filled", kSweepPatience);
    report_.Row("second sweep, with kills",
                std::to_string(filled.done) + " rows in " +
                    Digits(std::chrono::duration<double>(steady_clock::now() - began).count(), 1) +
                    " s");
    KillVerifying();
    orders_.Give("cutover");
    while (live_.kills() < options_.kills) {
      live_.Wait(live_.world().Between(30, 1500));
      live_.Kill();
    }
    orders_.Verify("cut over", kVerifyPatience);
    KillOrdering("finish");
    Expect(orders_.Now().schema == 3, "finished, it stands " + orders_.Now().text);
  }

  // A comparison is not kept over a kill: it begins anew.
  void KillVerifying() {
    live_.KillWhile([&] { static_cast<void>(orders_.Post("verify")); });
    orders_.Verify("verified", kVerifyPatience);
  }

  // The bridge dies around the order's one write: it was carried out or not, and nothing between.
  void KillOrdering(const std::string& order) {
    const Standing before = orders_.Now();
    live_.KillWhile([&] { static_cast<void>(orders_.Post(order)); });
    Standing now = orders_.Now();
    const bool carried = Orders::Carried(order, before, now);
    Expect(carried || (now.phase == before.phase && now.schema == before.schema),
           "killed over " + order + ", it stood " + before.text + "and then " + now.text);
    if (!carried) {
      orders_.Give(order);
      now = orders_.Now();
      Expect(Orders::Carried(order, before, now), order + " leads to " + now.text);
    }
  }

  void Say(const std::string& what, const Latency& before, const Latency& during) {
    const auto row = [&](const char* part, double then, double now) {
      report_.Row(what + ", " + part + " ms", Digits(then, 2) + " before, " + Digits(now, 2) +
                                                  " during, ratio " + Ratio(now, then));
    };
    row("p50", before.p50_ms, during.p50_ms);
    row("p99", before.p99_ms, during.p99_ms);
    report_.Row(what + ", commands measured", std::to_string(before.commands) + " before, " +
                                                  std::to_string(during.commands) + " during");
  }

  void SayLatencies() {
    const load::Records& records = live_.world().load().records();
    const Latencies before = LatenciesOf(records, before_, {});
    const Latencies during = LatenciesOf(records, during_, live_.outages());
    Say("sent to DONE, cars awake", before.done, during.done);
    Say("sent to HELD, cars asleep", before.held, during.held);
    const Latencies outage = LatenciesOf(records, live_.outages(), {});
    report_.Row("around kills, HELD p50 and p99 ms",
                Digits(outage.held.p50_ms, 2) + ", " + Digits(outage.held.p99_ms, 2));
  }

  Options options_;
  Report& report_;
  Live live_;
  const Orders& orders_;
  Spans before_;
  Spans during_;
};

}  // namespace

void MigrateLive(const Options& options, Report& report) {
  LiveAct(options, report).Play();
}

}  // namespace latchkey::migration
