// Broker throughput: the same pairs and the same tap on a bare Mosquitto, on one with password_file
// and acl_file, on one with dynamic security, and on one with Latchkey's plugins and 1,000 to
// 1,000,000 pairings in its ring file.
//
// All brokers stand at once, each with its own clients, and take turns by windows of a fraction of
// a second, so that what the machine does beside meets all of them; who is not at work waits for
// its sockets. Many short windows say more than a few long ones: a machine that is shared is slower
// and faster by a fifth from one second to the next. A second bare broker shows how far two of the
// same are apart. What is compared is messages per second of the broker's processor time, since a
// broker has one thread and the clock also counts who else was at work.
//
// A cell with many cars also retains much: Latchkey's broker a presence of each car of its rings. A
// bare broker that retains as many says what that alone costs.
//
// Over TLS in all dressings, for Latchkey's cars sign in by certificate. How much of the broker's
// time is TLS is said by a bare broker without it.
#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "latchkey/v1/presence.pb.h"
#include "proto/topic.h"
#include "tools/bench/brokers.h"
#include "tools/bench/cases.h"
#include "tools/bench/crowd.h"
#include "tools/bench/entrance.h"
#include "tools/bench/figures.h"
#include "tools/bench/pairs.h"
#include "tools/bench/process.h"
#include "tools/bench/report.h"
#include "tools/bench/sink.h"
#include "tools/bench/swarm.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

constexpr std::string_view kCase = "throughput";
constexpr double kBusyEnough = 0.9;
constexpr double kOfBare = 0.95;
constexpr double kFlat = 0.97;
constexpr size_t kListedMax = 10'000;  // clients that acl_file and dynamic security are given
constexpr const char* kBare = "bare";
constexpr const char* kBareAgain = "bare, another";
constexpr const char* kPlain = "bare, no TLS";
constexpr size_t kRetainedOnTheWay = 200;
constexpr Duration kRetainPatience = std::chrono::minutes(2);

struct Sizes {
  size_t pairs = 0;
  size_t rounds = 0;
  Duration warm_up{0};
  Duration measured{0};
  std::vector<size_t> pairings;
  std::vector<Work> works;
};

Sizes SizesOf(const Wish& wish) {
  Sizes sizes;
  sizes.pairs = wish.cars != 0 ? wish.cars : wish.quick ? 60 : 200;
  sizes.rounds = wish.RoundsOr(240, 10);
  sizes.warm_up = Duration(15);
  sizes.measured = Duration(40);
  const size_t most = wish.pairings != 0 ? wish.pairings : wish.quick ? 4000 : 1'000'000;
  for (size_t size = std::min<size_t>(1000, most); size < most; size *= 10) {
    sizes.pairings.push_back(size);
  }
  sizes.pairings.push_back(most);
  sizes.works = {{Path::kPairs, 0}, {Path::kPairs, 1}, {Path::kTap, 0}, {Path::kTap, 1}};
  return sizes;
}

// What is measured: a server, and the clients that keep it busy.
struct Subject {
  std::string name;
  std::unique_ptr<BenchBroker> broker;  // null: the sink
  std::unique_ptr<Pairs> pairs;
};

std::string LatchkeyName(size_t pairings) {
  return "latchkey, " + std::to_string(pairings) + " pairings";
}

std::string RetainingName(size_t cars) {
  return "bare, retaining " + std::to_string(cars) + " presences";
}

// As after the start of a cell's broker: each car is offline.
Result<void> RetainPresences(const Crowd& crowd, const Entrance& entrance, size_t cars) {
  Swarm swarm({});
  LK_TRY(ClientWish car, entrance.Car(0));
  swarm.Add(std::move(car));
  swarm.Drive(kRetainPatience);
  const Timestamp now = cli::ReadClocks().wall;
  v1::Presence presence;
  presence.set_since_ms(static_cast<uint64_t>(now.ms));
  presence.set_reason(v1::OFFLINE_REASON_BROKER_RESTART);
  presence.set_broker_started_at_ms(static_cast<uint64_t>(now.ms));
  const std::string payload = presence.SerializeAsString();
  size_t next = 0;
  swarm.DriveUntil(kRetainPatience, [&] {
    while (next < cars && swarm.unacknowledged() < kRetainedOnTheWay) {
      const std::string topic = PresenceTopic(crowd.RefOf(next++));
      if (!swarm.Publish(0, {topic, payload, 1, true})) {
        return true;
      }
    }
    return next == cars && swarm.unacknowledged() == 0;
  });
  return swarm.counters().acknowledged == cars
             ? Result<void>()
             : Fail(v1::REASON_STORE_UNAVAILABLE,
                    "of " + std::to_string(cars) + " presences the broker has taken " +
                        std::to_string(swarm.counters().acknowledged) + ": " +
                        swarm.first_trouble());
}

struct Wanted {
  std::string name;
  BrokerWish broker;
  size_t retained_presences = 0;  // beside those that a plugin says
};

Result<Subject> StartSubject(const Place& place, const Crowd& crowd, const Wanted& wanted) {
  Subject subject{wanted.name, nullptr, nullptr};
  LK_TRY(subject.broker, BenchBroker::Start(wanted.broker));
  LK_TRY(const Entrance entrance, Entrance::To(place, *subject.broker, wanted.broker.tls));
  if (wanted.retained_presences > 0) {
    LK_CHECK(RetainPresences(crowd, entrance, wanted.retained_presences));
  }
  PairsWish pairs;
  pairs.server = subject.broker->pid();
  for (size_t i = 0; i < crowd.cars(); ++i) {
    LK_TRY(ClientWish car, entrance.Car(i));
    LK_TRY(ClientWish phone, entrance.Phone(i));
    pairs.cars.push_back(std::move(car));
    pairs.phones.push_back(std::move(phone));
    pairs.car_names.push_back(crowd.car(i).ref.ToText());
  }
  LK_TRY(pairs.tap, entrance.Tap());
  LK_TRY(subject.pairs, Pairs::Connect(std::move(pairs)));
  return subject;
}

// The same clients on the sink: nobody asks them who they are.
Result<std::unique_ptr<Pairs>> PairsOnSink(const Place& place, const Crowd& crowd,
                                           const Sink& sink) {
  LK_TRY(const std::string ca, cli::ReadFile(place.ca_file()));
  LK_TRY(const std::shared_ptr<const Tls> tls, Tls::Client(ca));
  const auto client = [&](const std::string& name) {
    ClientWish wish;
    wish.client_id = name;
    wish.endpoint = Endpoint{"127.0.0.1", sink.port(), tls};
    return wish;
  };
  PairsWish pairs;
  pairs.server = sink.pid();
  for (size_t i = 0; i < crowd.cars(); ++i) {
    pairs.car_names.push_back(crowd.car(i).ref.ToText());
    pairs.cars.push_back(client("car-" + std::to_string(i)));
    pairs.phones.push_back(client("phone-" + std::to_string(i)));
  }
  pairs.tap = client("tap");
  return Pairs::Connect(std::move(pairs));
}

// All windows of all subjects: by work, by subject, by round.
using Windows = std::map<std::string, std::map<std::string, std::vector<Window>>>;

std::vector<double> Each(const std::vector<Window>& windows,
                         const std::function<double(const Window&)>& figure) {
  std::vector<double> figures;
  for (const Window& window : windows) {
    figures.push_back(figure(window));
  }
  return figures;
}

std::vector<double> PerCpu(const std::vector<Window>& windows) {
  return Each(windows, [](const Window& window) { return window.per_server_cpu_s(); });
}

class Throughput {
 public:
  Throughput(const Wish& wish, Report& report) : sizes_(SizesOf(wish)), report_(report) {}

  Result<void> Run(const PlaceWish& place_wish) {
    LK_TRY(place_, Place::Make(place_wish));
    LK_TRY(Crowd crowd, Crowd::Make(*place_, sizes_.pairs));
    LK_CHECK(MeasureCeiling(crowd));
    LK_CHECK(StartAll(crowd));
    for (size_t round = 0; round < sizes_.rounds; ++round) {
      for (const Work& work : sizes_.works) {
        for (size_t i = 0; i < subjects_.size(); ++i) {
          Subject& subject = subjects_[(i + round) % subjects_.size()];
          LK_TRY(const Window window, subject.pairs->Run(work, sizes_.warm_up, sizes_.measured));
          windows_[ToText(work)][subject.name].push_back(window);
        }
      }
    }
    Describe();
    for (const Work& work : sizes_.works) {
      Tell(ToText(work), windows_[ToText(work)]);
    }
    return {};
  }

 private:
  Result<void> MeasureCeiling(const Crowd& crowd);
  Result<void> StartAll(const Crowd& crowd);
  void Describe();
  void Tell(const std::string& work, const std::map<std::string, std::vector<Window>>& windows);
  void TellRatios(const std::string& work,
                  const std::map<std::string, std::vector<Window>>& windows);

  std::string LargestListed() const { return std::to_string(Listed()) + " clients"; }

  // As many clients in the files of the baselines as Latchkey has pairings, up to a bound.
  size_t Listed() const { return std::min(kListedMax, sizes_.pairings.back()); }

  // Presences that the broker with the most pairings retains: one for each ring.
  size_t Retained() const { return (sizes_.pairings.back() + kKeysPerRing - 1) / kKeysPerRing; }

  // The Latchkey that is compared with the baselines: with as many pairings.
  std::string Compared() const {
    const auto found = std::find(sizes_.pairings.begin(), sizes_.pairings.end(), Listed());
    return LatchkeyName(found == sizes_.pairings.end() ? sizes_.pairings.back() : *found);
  }

  Sizes sizes_;
  Report& report_;
  std::unique_ptr<Place> place_;
  std::vector<Subject> subjects_;
  Windows windows_;
};

Result<void> Throughput::MeasureCeiling(const Crowd& crowd) {
  const std::filesystem::path folder = place_->folder().Broker();
  LK_TRY(const std::string certificate, cli::ReadFile(folder / "server.pem"));
  LK_TRY(const std::string key, cli::ReadFile(folder / "server.key"));
  LK_TRY(const std::shared_ptr<const Tls> tls, Tls::Server(certificate, key, ""));
  LK_TRY(const std::unique_ptr<Sink> sink, Sink::Start(tls));
  LK_TRY(const std::unique_ptr<Pairs> pairs, PairsOnSink(*place_, crowd, *sink));
  for (const Work& work : sizes_.works) {
    LK_TRY(const Window window, pairs->Run(work, sizes_.warm_up, sizes_.measured));
    const std::string subject = "generator and sink, " + ToText(work);
    report_.Figure(kCase, subject, "messages a second", "1/s", SpreadOf({window.per_wall_s()}));
    report_.Figure(kCase, subject, "messages per second of the generator's CPU", "1/s",
                   SpreadOf({window.per_own_cpu_s()}));
  }
  return {};
}

// Who reads the most first, and what it reads is written before: a client that is connected and
// kept waiting for minutes is hung up on.
Result<void> Throughput::StartAll(const Crowd& crowd) {
  std::vector<Wanted> wanted;
  const auto want = [&](const std::string& name, Dressing dressing, size_t listed, bool tls) {
    BrokerWish wish;
    wish.dressing = dressing;
    wish.place = place_.get();
    wish.crowd = &crowd;
    wish.tls = tls;
    wish.listed_clients = listed;
    wanted.push_back({name, std::move(wish)});
  };
  want(kBare, Dressing::kBare, 0, true);
  want(kBareAgain, Dressing::kBare, 0, true);
  want("acl_file, " + LargestListed(), Dressing::kAclFile, Listed(), true);
  want("dynamic security, " + LargestListed(), Dressing::kDynamicSecurity, Listed(), true);
  for (const size_t pairings : sizes_.pairings) {
    want(LatchkeyName(pairings), Dressing::kLatchkey, pairings, true);
    LK_TRY(wanted.back().broker.rings_from, place_->NewFolder("rings"));
    LK_CHECK(crowd.WriteRingFile(wanted.back().broker.rings_from / "rings.log", pairings));
  }
  want(RetainingName(Retained()), Dressing::kBare, 0, true);
  wanted.back().retained_presences = Retained();
  want(kPlain, Dressing::kBare, 0, false);
  std::vector<size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t one, size_t other) {
    return wanted[one].broker.listed_clients > wanted[other].broker.listed_clients;
  });
  subjects_.resize(wanted.size());
  for (const size_t i : order) {
    LK_TRY(subjects_[i], StartSubject(*place_, crowd, wanted[i]));
  }
  return {};
}

void Throughput::Describe() {
  const Pairs& pairs = *subjects_[0].pairs;
  report_.Note(kCase,
               std::to_string(sizes_.pairs) +
                   " cars and as many phones connected to each broker; " + pairs.swarm().Cipher(0) +
                   "; payloads of " + std::to_string(pairs.payload_bytes(Path::kPairs)) +
                   " (pairs) and " + std::to_string(pairs.payload_bytes(Path::kTap)) +
                   " bytes (tap), retained; the guard's limits are asked and refuse nobody",
               Validity::kInformation);
}

void Throughput::Tell(const std::string& work,
                      const std::map<std::string, std::vector<Window>>& windows) {
  std::vector<double> generator;
  std::string idle;
  for (const Subject& subject : subjects_) {
    const std::vector<Window>& own = windows.at(subject.name);
    const std::string name = subject.name + ": " + work;
    report_.Figure(kCase, name, "messages per CPU second", "1/s", SpreadOf(PerCpu(own)));
    const Spread busy = SpreadOf(Each(own, [](const Window& w) { return w.server_busy(); }));
    report_.Figure(kCase, name, "broker_busy", "", busy);
    if (busy.median < kBusyEnough) {
      idle += (idle.empty() ? "" : ", ") + subject.name + " " + NumberText(busy.median);
    }
    const std::vector<double> shares = Each(own, [](const Window& w) { return w.own_busy(); });
    generator.insert(generator.end(), shares.begin(), shares.end());
  }
  report_.Figure(kCase, "generator: " + work, "generator_busy, all subjects", "",
                 SpreadOf(generator));
  if (!idle.empty()) {
    report_.Note(kCase,
                 work + ": brokers were at work less than " + NumberText(kBusyEnough) +
                     " of the time, so something else was the bottleneck (other processes, "
                     "or the generator): " +
                     idle,
                 Validity::kInvalid);
  }
  TellRatios(work, windows);
}

void Throughput::TellRatios(const std::string& work,
                            const std::map<std::string, std::vector<Window>>& windows) {
  const auto ratio = [&](const std::string& subject, const std::string& baseline,
                         std::optional<Target> target) {
    report_.Ratio(kCase, "messages per CPU second, " + work, subject, baseline,
                  RatiosOf(PerCpu(windows.at(subject)), PerCpu(windows.at(baseline))), target);
  };
  const std::string acl = "acl_file, " + LargestListed();
  const std::string dynamic = "dynamic security, " + LargestListed();
  ratio(kBareAgain, kBare, {});
  ratio(acl, kBare, {});
  ratio(dynamic, kBare, {});
  for (const size_t pairings : sizes_.pairings) {
    ratio(LatchkeyName(pairings), kBare, Target{Goal::kAtLeast, kOfBare});
  }
  ratio(Compared(), acl, Target{Goal::kAtLeast, 1});
  ratio(Compared(), dynamic, Target{Goal::kAtLeast, 1});
  for (size_t i = 1; i < sizes_.pairings.size(); ++i) {
    ratio(LatchkeyName(sizes_.pairings[i]), LatchkeyName(sizes_.pairings[0]),
          Target{Goal::kAtLeast, kFlat});
  }
  ratio(RetainingName(Retained()), kBare, {});
  ratio(LatchkeyName(sizes_.pairings.back()), RetainingName(Retained()), {});
  ratio(kBare, kPlain, {});
}

}  // namespace

Result<void> RunThroughput(const Wish& wish, Report& report) {
  return Throughput(wish, report).Run(wish.place);
}

}  // namespace latchkey::bench
