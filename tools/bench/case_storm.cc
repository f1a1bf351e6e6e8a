// Storm: a broker with N cars crashes, starts again, and all come back with mutual TLS. How long
// until the last one is in, how many handshakes a second that is, against a bare broker and against
// what `openssl speed` says the arithmetic of them takes, and what becomes of commands meanwhile.
//
// The cars come back on a thread of their own, so that the probes of the commands do not wait for
// the generator's half of the handshakes, which is about as much work as the broker's.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tools/bench/brokers.h"
#include "tools/bench/cases.h"
#include "tools/bench/crowd.h"
#include "tools/bench/entrance.h"
#include "tools/bench/figures.h"
#include "tools/bench/probes.h"
#include "tools/bench/process.h"
#include "tools/bench/report.h"
#include "tools/latchkey/folder.h"

namespace latchkey::bench {

namespace {

using std::chrono::steady_clock;

constexpr std::string_view kCase = "storm";
constexpr size_t kProbes = 8;
constexpr size_t kCarsFull = 19'700;  // with the probes' just below 20,000 descriptors a process
constexpr size_t kCarsQuick = 600;
// On their way in at once: below the broker's backlog of 100, beyond which TCP tries again after a
// second, with room for the probes.
constexpr size_t kConnectingMax = 80;
constexpr Duration kProbeEvery = Duration(10);
constexpr Duration kPatience = std::chrono::minutes(10);
constexpr Duration kConnectPatience = std::chrono::minutes(3);
constexpr double kBackoffMaxS = 60;

// When a car that was not let in tries again.
enum class Retry : uint8_t {
  kSoon,      // within a quarter of a second: what comes in is bounded by the broker alone
  kAsCarsDo,  // anywhere from now to 1, 2, 4 ... 60 s later, as the reference car
};

struct Subject {
  std::string name;
  Dressing dressing = Dressing::kBare;
  bool as_shipped = false;
};

// The cars of a storm; after Begin on their own thread until Join.
class Herd {
 public:
  Herd(Endpoint endpoint, Retry retry) : swarm_(std::move(endpoint)), retry_(retry) {
    swarm_.set_connecting_max(kConnectingMax);
    swarm_.on_lost = [this](size_t car, const Lost&) { PutOff(car); };
    swarm_.on_connected = [this](size_t car, Moment at) {
      tries_[car] = 0;
      last_in_ = at;
    };
  }

  ~Herd() {
    stop_ = true;
    Join();
  }

  Herd(const Herd&) = delete;
  Herd& operator=(const Herd&) = delete;

  void Add(ClientWish car, std::string filter) {
    const size_t index = swarm_.Add(std::move(car));
    swarm_.Subscribe(index, std::move(filter), 1);
    tries_.push_back(0);
  }

  // All in; false: `patience` is over.
  bool Drive(Duration patience) {
    return swarm_.DriveUntil(patience, [this] {
      ReturnDue();
      return swarm_.connected() == swarm_.size() && swarm_.settled();
    });
  }

  // From when all are in until all have come in once more.
  void Begin() {
    entered_before_ = swarm_.counters().entered;
    thread_ = std::thread([this] {
      all_back_ = swarm_.DriveUntil(kPatience, [this] {
        ReturnDue();
        return stop_ || (swarm_.counters().entered >= entered_before_ + swarm_.size() &&
                         swarm_.connected() == swarm_.size());
      });
      over_ = true;
    });
  }

  void Join() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  bool over() const { return over_; }

  // After Join.
  bool all_back() const { return all_back_; }

  Moment last_in() const { return last_in_; }

  const Swarm& swarm() const { return swarm_; }

 private:
  using Due = std::pair<Moment, size_t>;

  void PutOff(size_t car) {
    const double most_s =
        retry_ == Retry::kSoon ? 0.25 : std::min(kBackoffMaxS, std::exp2(tries_[car]));
    ++tries_[car];
    const double wait_s = std::uniform_real_distribution<double>(0, most_s)(random_);
    due_.emplace(steady_clock::now() + Duration(static_cast<int64_t>(wait_s * 1000)), car);
  }

  void ReturnDue() {
    const Moment now = steady_clock::now();
    while (!due_.empty() && due_.top().first <= now) {
      swarm_.Reconnect(due_.top().second);
      due_.pop();
    }
  }

  Swarm swarm_;
  Retry retry_;
  std::mt19937_64 random_{20'240'607};
  std::vector<int> tries_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  uint64_t entered_before_ = 0;
  Moment last_in_{};
  bool all_back_ = false;
  std::atomic<bool> over_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// What one storm came to.
struct Outcome {
  double start_s = 0;  // of the broker, until it took connections again
  double last_in_s = 0;
  double per_second = 0;
  double cpu_us_each = 0;  // of the broker, for one car's way in
  double broker_busy = 0;
  double sent_away = 0;  // tries that ended without being in
  Tail calm_ms;
  Tail storm_ms;
  size_t lost_commands = 0;
};

class Storm {
 public:
  Storm(const Wish& wish, Report& report)
      : wish_(wish),
        report_(report),
        cars_(wish.cars != 0 ? wish.cars
              : wish.quick   ? kCarsQuick
                             : kCarsFull) {
    cars_ = std::min(cars_, kCarsFull);
    subjects_ = {{"bare", Dressing::kBare, false}, {"latchkey", Dressing::kLatchkey, false}};
    if (!wish.quick) {
      subjects_.push_back({"latchkey as shipped", Dressing::kLatchkey, true});
    }
  }

  Result<void> Run() {
    LK_TRY(place_, Place::Make(wish_.place));
    LK_TRY(Crowd crowd, Crowd::Make(*place_, cars_ + kProbes));
    LK_TRY(const double allowed, OpensslAllows());
    outcomes_.resize(subjects_.size());
    const size_t rounds = wish_.RoundsOr(2, 1);
    for (size_t round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < subjects_.size(); ++i) {
        const size_t turn = (i + round) % subjects_.size();
        LK_TRY(const Outcome outcome, Endure(crowd, subjects_[turn]));
        outcomes_[turn].push_back(outcome);
      }
    }
    Tell(allowed);
    return {};
  }

 private:
  Result<Outcome> Endure(const Crowd& crowd, const Subject& subject);
  Result<double> OpensslAllows();
  void Tell(double allowed);
  void TellSubject(size_t index);
  std::vector<double> Each(size_t index, double Outcome::* member) const;

  const Wish& wish_;
  Report& report_;
  size_t cars_;
  std::vector<Subject> subjects_;
  std::unique_ptr<Place> place_;
  std::vector<std::vector<Outcome>> outcomes_;  // by subject, by round
};

double SecondsBetween(Moment from, Moment to) {
  return std::chrono::duration<double>(to - from).count();
}

Result<Outcome> Storm::Endure(const Crowd& crowd, const Subject& subject) {
  BrokerWish wish;
  wish.dressing = subject.dressing;
  wish.place = place_.get();
  wish.crowd = &crowd;
  wish.listed_clients = crowd.cars();
  wish.admission = subject.as_shipped;
  wish.shipped_rates = subject.as_shipped;
  LK_TRY(const std::unique_ptr<BenchBroker> broker, BenchBroker::Start(wish));
  LK_TRY(const Entrance entrance, Entrance::To(*place_, *broker, true));
  Herd herd(entrance.cars(), subject.as_shipped ? Retry::kAsCarsDo : Retry::kSoon);
  for (size_t i = 0; i < cars_; ++i) {
    LK_TRY(ClientWish car, entrance.Car(i));
    herd.Add(std::move(car), "lk/1/" + crowd.car(i).ref.ToText() + "/command/+");
  }
  LK_TRY(const std::unique_ptr<Probes> probes, Probes::Make(crowd, entrance, cars_, kProbes));
  if (!herd.Drive(kPatience) || !probes->Connect(kConnectPatience)) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                subject.name + ": only " + std::to_string(herd.swarm().connected()) + " of " +
                    std::to_string(cars_) + " cars are in: " + herd.swarm().first_trouble());
  }
  Outcome outcome;
  const Moment calm_until = steady_clock::now() + std::chrono::seconds(wish_.quick ? 1 : 5);
  outcome.calm_ms =
      TailOf(probes->Run(kProbeEvery, [&] { return steady_clock::now() >= calm_until; }));

  const uint64_t lost_before = herd.swarm().counters().lost;
  herd.Begin();
  LK_CHECK(broker->Restart());
  const Moment back = steady_clock::now();
  const double cpu_before = broker->Used().cpu_s;
  const double own_before = MonotonicSeconds();
  probes->Connect(kConnectPatience);
  outcome.storm_ms = TailOf(probes->Run(kProbeEvery, [&] { return herd.over(); }));
  const double cpu_s = broker->Used().cpu_s - cpu_before;
  const double wall_s = MonotonicSeconds() - own_before;
  herd.Join();
  if (!herd.all_back()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, subject.name + ": after the storm only " +
                                                  std::to_string(herd.swarm().connected()) +
                                                  " of " + std::to_string(cars_) +
                                                  " cars came back");
  }
  const auto cars = static_cast<double>(cars_);
  outcome.start_s = static_cast<double>(broker->took_to_serve().count()) / 1000;
  outcome.last_in_s = std::max(SecondsBetween(back, herd.last_in()), 0.001);
  outcome.per_second = cars / outcome.last_in_s;
  outcome.cpu_us_each = cpu_s / cars * 1e6;
  outcome.broker_busy = cpu_s / wall_s;
  outcome.sent_away = static_cast<double>(herd.swarm().counters().lost - lost_before) - cars;
  outcome.lost_commands = probes->lost();
  return outcome;
}

// The line of `openssl speed` that has `word`, by words. Empty: there is none.
std::vector<std::string> LineWith(const std::string& text, const std::string& word) {
  std::istringstream lines(text);
  std::vector<std::string> words;
  for (std::string line; std::getline(lines, line);) {
    // Its notes of what it is doing end in "s" of seconds; the table has no colon.
    if (line.find(word) != std::string::npos && line.find(':') == std::string::npos) {
      std::istringstream stream(line);
      words.clear();
      for (std::string each; stream >> each;) {
        words.push_back(each);
      }
    }
  }
  return words;
}

// Handshakes a second that the arithmetic of a server's side alone allows one core, TLS 1.3 with a
// client's certificate: a signature, two checks (the client's signature, and the CA's below its
// certificate), and two steps of X25519 (its own share, and the secret).
Result<double> Storm::OpensslAllows() {
  const std::filesystem::path log = place_->root() / "openssl_speed.txt";
  LK_CHECK(
      RunToEnd({"openssl", "speed", "-seconds", wish_.quick ? "1" : "3", "ecdsap256", "ecdhx25519"},
               log, std::chrono::minutes(1)));
  LK_TRY(const std::string text, cli::ReadFile(log));
  const std::vector<std::string> ecdsa = LineWith(text, "ecdsa (nistp256)");
  const std::vector<std::string> ecdh = LineWith(text, "ecdh (X25519)");
  if (ecdsa.size() < 2 || ecdh.empty()) {
    return Fail(v1::REASON_MALFORMED, "openssl speed says something else than it used to: " + text);
  }
  const double signs = std::strtod(ecdsa[ecdsa.size() - 2].c_str(), nullptr);
  const double checks = std::strtod(ecdsa.back().c_str(), nullptr);
  const double steps = std::strtod(ecdh.back().c_str(), nullptr);
  if (signs <= 0 || checks <= 0 || steps <= 0) {
    return Fail(v1::REASON_MALFORMED, "openssl speed gives no figures: " + text);
  }
  report_.Figure(kCase, "openssl speed", "P-256 signatures", "1/s", SpreadOf({signs}));
  report_.Figure(kCase, "openssl speed", "P-256 checks", "1/s", SpreadOf({checks}));
  report_.Figure(kCase, "openssl speed", "X25519 steps", "1/s", SpreadOf({steps}));
  const double allowed = 1 / (1 / signs + 2 / checks + 2 / steps);
  report_.Figure(kCase, "openssl speed", "handshakes it would allow a core", "1/s",
                 SpreadOf({allowed}));
  return allowed;
}

std::vector<double> Storm::Each(size_t index, double Outcome::* member) const {
  std::vector<double> figures;
  for (const Outcome& outcome : outcomes_[index]) {
    figures.push_back(outcome.*member);
  }
  return figures;
}

void Storm::TellSubject(size_t index) {
  const std::string& name = subjects_[index].name;
  const auto figure = [&](std::string_view what, std::string_view unit,
                          std::vector<double> samples) {
    report_.Figure(kCase, name, what, unit, SpreadOf(std::move(samples)));
  };
  figure("broker's start until it takes connections", "s", Each(index, &Outcome::start_s));
  figure("from then to the last car", "s", Each(index, &Outcome::last_in_s));
  figure("cars let in", "1/s", Each(index, &Outcome::per_second));
  figure("broker CPU for each", "us", Each(index, &Outcome::cpu_us_each));
  figure("broker_busy", "", Each(index, &Outcome::broker_busy));
  figure("tries that came to nothing", "", Each(index, &Outcome::sent_away));
  const auto tail = [&](const char* when, Tail Outcome::* member) {
    std::vector<double> p50;
    std::vector<double> p99;
    for (const Outcome& outcome : outcomes_[index]) {
      p50.push_back((outcome.*member).p50);
      p99.push_back((outcome.*member).p99);
    }
    figure(std::string("command to its car, p50, ") + when, "ms", p50);
    figure(std::string("command to its car, p99, ") + when, "ms", p99);
  };
  tail("before", &Outcome::calm_ms);
  tail("during the storm", &Outcome::storm_ms);
  size_t lost = 0;
  size_t arrived = 0;
  for (const Outcome& outcome : outcomes_[index]) {
    lost += outcome.lost_commands;
    arrived += outcome.storm_ms.count;
  }
  report_.Note(kCase,
               name + ": " + std::to_string(arrived) + " commands arrived during the storm, " +
                   std::to_string(lost) + " were lost with a connection or later than 10 s",
               Validity::kInformation);
}

void Storm::Tell(double allowed) {
  for (size_t i = 0; i < subjects_.size(); ++i) {
    TellSubject(i);
  }
  const std::vector<double> bare = Each(0, &Outcome::per_second);
  const std::vector<double> latchkey = Each(1, &Outcome::per_second);
  report_.Ratio(kCase, "cars let in a second", "latchkey", "bare", RatiosOf(latchkey, bare));
  report_.Ratio(kCase, "broker CPU for each", "latchkey", "bare",
                RatiosOf(Each(1, &Outcome::cpu_us_each), Each(0, &Outcome::cpu_us_each)));
  report_.Ratio(kCase, "cars let in a second", "latchkey", "openssl speed",
                RatiosOf(latchkey, std::vector<double>(latchkey.size(), allowed)));
  report_.Ratio(kCase, "cars let in a second", "bare", "openssl speed",
                RatiosOf(bare, std::vector<double>(bare.size(), allowed)));
  report_.Note(kCase,
               std::to_string(cars_) +
                   " cars, each with its own certificate, a subscription, no resumed sessions; at "
                   "most " +
                   std::to_string(kConnectingMax) +
                   " on their way in at once, for the broker's backlog is 100",
               Validity::kInformation);
}

}  // namespace

Result<void> RunStorm(const Wish& wish, Report& report) {
  return Storm(wish, report).Run();
}

}  // namespace latchkey::bench
