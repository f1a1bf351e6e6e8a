// Flash the lights: a phone's command to its car and the car's two receipts back, timed at the
// phone, against the same bytes on the same four hops through a bare broker.
#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "latchkey/v1/command.pb.h"
#include "proto/command.h"
#include "proto/receipt.h"
#include "proto/topic.h"
#include "tools/bench/background.h"
#include "tools/bench/bridge.h"
#include "tools/bench/cases.h"
#include "tools/bench/crowd.h"
#include "tools/bench/entrance.h"
#include "tools/bench/flash.h"
#include "tools/bench/process.h"

namespace latchkey::bench {

namespace {

constexpr std::string_view kCase = "flash";
constexpr size_t kBackgroundPairs = 20;
constexpr double kHalf = 0.5;
constexpr double kTrialPerSecond = 4000;
constexpr Target kP50{Goal::kAtMost, 1.10};
constexpr Target kP99{Goal::kAtMost, 1.25};
constexpr Target kSignatures{Goal::kAtMost, 1.2};

struct Sizes {
  size_t rounds;
  size_t commands;  // of each subject in each round
  size_t pairings;  // in Latchkey's rings
  Duration rest;    // between two commands
  Duration trial;   // to learn how much load keeps a bare broker half busy
};

Sizes SizesOf(const Wish& wish) {
  const size_t pairings = wish.pairings != 0 ? wish.pairings : wish.quick ? 1000 : 10000;
  return {wish.RoundsOr(20, 2), wish.quick ? size_t{150} : size_t{500}, pairings,
          Duration(wish.quick ? 2 : 5), Duration(wish.quick ? 500 : 3000)};
}

struct Subject {
  std::string name;
  std::unique_ptr<BenchBroker> broker;
  std::unique_ptr<Entrance> entrance;
  std::unique_ptr<BenchBridge> bridge;  // none: stopped
};

// What one way of measuring found, in ms: a figure a round, and each command.
struct Found {
  std::vector<double> p50;
  std::vector<double> p99;
  std::vector<double> all;
};

// One turn is one subject in one way.
struct Way {
  size_t subject = 0;
  Signatures signatures = Signatures::kBeforehand;
  bool loaded = false;
  Found found = {};
};

class Flash {
 public:
  Flash(const Wish& wish, Report& report) : sizes_(SizesOf(wish)), wish_(wish), report_(report) {}

  Result<void> Run() {
    LK_TRY(place_, Place::Make(wish_.place));
    LK_TRY(Crowd crowd, Crowd::Make(*place_, 1 + kBackgroundPairs));
    crowd_ = std::make_unique<Crowd>(std::move(crowd));
    LK_CHECK(AddSubject("bare", Dressing::kBare, false));
    LK_CHECK(AddSubject("latchkey", Dressing::kLatchkey, false));
    LK_CHECK(AddSubject("latchkey and bridge", Dressing::kLatchkey, true));
    LK_TRY(const double rate, HalfLoad());
    for (const bool loaded : {false, true}) {
      for (size_t subject = 0; subject < subjects_.size(); ++subject) {
        ways_.push_back({subject, Signatures::kBeforehand, loaded});
      }
      ways_.push_back({1, Signatures::kOnTheWay, loaded});
    }
    for (size_t round = 0; round < sizes_.rounds; ++round) {
      for (size_t i = 0; i < ways_.size(); ++i) {
        LK_CHECK(Turn(ways_[(i + round) % ways_.size()], rate));
      }
      const Cost rested = CostOfSignatures(crowd_->car(0), crowd_->phone(0), sizes_.rest, kSigned);
      const Cost hot = CostOfSignatures(crowd_->car(0), crowd_->phone(0), Duration(0), kSigned);
      rested_ms_.push_back(rested.path_s * 1000);
      hot_ms_.push_back(hot.path_s * 1000);
    }
    Say(rate);
    return {};
  }

 private:
  static constexpr size_t kSigned = 100;  // times that the cost of signatures is taken a round

  Result<void> AddSubject(const std::string& name, Dressing dressing, bool bridged) {
    BrokerWish wish;
    wish.dressing = dressing;
    wish.place = place_.get();
    wish.crowd = crowd_.get();
    wish.listed_clients = sizes_.pairings;
    Subject subject;
    subject.name = name;
    LK_TRY(subject.broker, BenchBroker::Start(wish));
    LK_TRY(Entrance entrance, Entrance::To(*place_, *subject.broker, true));
    subject.entrance = std::make_unique<Entrance>(std::move(entrance));
    if (bridged) {
      LK_TRY(subject.bridge, BenchBridge::Start(*place_, *subject.broker));
    }
    subjects_.push_back(std::move(subject));
    return {};
  }

  BackgroundWish LoadOf(const Subject& subject, double per_second) const {
    return {subject.entrance.get(), crowd_.get(), 1, kBackgroundPairs, per_second};
  }

  // Messages a second that keep the bare broker busy half of the time.
  Result<double> HalfLoad() {
    const Subject& bare = subjects_[0];
    LK_TRY(const std::unique_ptr<Background> load,
           Background::Start(LoadOf(bare, kTrialPerSecond)));
    const double cpu = bare.broker->Used().cpu_s;
    const double began = MonotonicSeconds();
    Pause(sizes_.trial);
    const double busy = (bare.broker->Used().cpu_s - cpu) / (MonotonicSeconds() - began);
    if (busy <= 0) {
      return Fail(v1::REASON_STORE_UNAVAILABLE, "the load beside does not reach the broker");
    }
    return kTrialPerSecond * kHalf / busy;
  }

  Result<void> Turn(Way& way, double rate) {
    const Subject& subject = subjects_[way.subject];
    std::unique_ptr<Background> load;
    if (way.loaded) {
      LK_TRY(load, Background::Start(LoadOf(subject, rate)));
    }
    LK_TRY(std::vector<double> seconds,
           FlashSeconds({subject.entrance.get(), &crowd_->car(0), &crowd_->phone(0),
                         crowd_->SignedRing(0, ++ring_version_), sizes_.commands, sizes_.rest,
                         way.signatures}));
    for (double& one : seconds) {
      one *= 1000;
    }
    way.found.all.insert(way.found.all.end(), seconds.begin(), seconds.end());
    const Tail tail = TailOf(std::move(seconds));
    way.found.p50.push_back(tail.p50);
    way.found.p99.push_back(tail.p99);
    if (load) {
      const Background::Counts counts = load->counts();
      late_ = std::max(late_, static_cast<double>(counts.late) /
                                  static_cast<double>(std::max<uint64_t>(counts.sent, 1)));
    }
    return {};
  }

  std::string NameOf(const Way& way) const {
    return subjects_[way.subject].name +
           (way.signatures == Signatures::kOnTheWay ? ", signing" : "") +
           (way.loaded ? ", half load" : ", idle");
  }

  const Way& BareOf(bool loaded) const {
    return *std::find_if(ways_.begin(), ways_.end(),
                         [&](const Way& way) { return way.subject == 0 && way.loaded == loaded; });
  }

  void Say(double rate) {
    for (const Way& way : ways_) {
      const std::string name = NameOf(way);
      report_.Figure(kCase, name, "p50", "ms", SpreadOf(way.found.p50));
      report_.Figure(kCase, name, "p99", "ms", SpreadOf(way.found.p99));
      report_.Figure(kCase, name, "p99.9", "ms", SpreadOf({TailOf(way.found.all).p999}));
    }
    report_.Figure(kCase, "3 signs and 3 verifies", "rested", "ms", SpreadOf(rested_ms_));
    report_.Figure(kCase, "3 signs and 3 verifies", "hot", "ms", SpreadOf(hot_ms_));
    for (const Way& way : ways_) {
      const Way& bare = BareOf(way.loaded);
      if (way.subject == 0) {
        continue;
      }
      if (way.signatures == Signatures::kBeforehand) {
        report_.Ratio(kCase, "p50", NameOf(way), NameOf(bare),
                      RatiosOf(way.found.p50, bare.found.p50), kP50);
        report_.Ratio(kCase, "p99", NameOf(way), NameOf(bare),
                      RatiosOf(way.found.p99, bare.found.p99), kP99);
      } else {
        std::vector<double> more;
        for (size_t i = 0; i < way.found.p50.size(); ++i) {
          more.push_back(way.found.p50[i] - bare.found.p50[i]);
        }
        report_.Ratio(kCase, "p50 above bare, by the rested cost of signatures", NameOf(way),
                      NameOf(bare), RatiosOf(more, rested_ms_), kSignatures);
      }
    }
    report_.Note(kCase,
                 "a command of " + std::to_string(sizes_.commands) +
                     " a turn: phone, broker, car, "
                     "broker, phone; the time is up to the second receipt (DONE), bare: the second "
                     "answer; half load is " +
                     NumberText(rate) +
                     " states a second, which keep the "
                     "bare broker busy half of the time",
                 Validity::kInformation);
    if (late_ > 0.01) {
      report_.Note(kCase,
                   NumberText(late_ * 100) +
                       " % of a turn's load beside left more than 50 ms "
                       "late: the machine could not give it its half",
                   Validity::kInformation);
    }
  }

  const Sizes sizes_;
  const Wish& wish_;
  Report& report_;
  std::unique_ptr<Place> place_;
  std::unique_ptr<Crowd> crowd_;
  std::vector<Subject> subjects_;
  std::vector<Way> ways_;
  uint64_t ring_version_ = 1;  // the ring file's
  std::vector<double> rested_ms_;
  std::vector<double> hot_ms_;
  double late_ = 0;  // the largest share of a turn
};

}  // namespace

Result<void> RunFlash(const Wish& wish, Report& report) {
  return Flash(wish, report).Run();
}

}  // namespace latchkey::bench
