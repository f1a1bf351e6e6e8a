// See cell_side.h. State and rings come over one connection with a bridge's identity, which is free
// of the limits that each car has; presence comes from the cars' own connections.
#include "tests/footprint/cell_side.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/resource.h>

#include "latchkey/v1/presence.pb.h"
#include "proto/result.h"
#include "proto/topic.h"
#include "tests/footprint/memory.h"

namespace latchkey::footprint {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::Cell;
using testing::RawClient;
using testing::RawOptions;

constexpr size_t kWarmCars = 200;
constexpr size_t kInFlight = 18;  // Mosquitto takes 20
constexpr size_t kAheadMax = 500;
constexpr size_t kStandingMax = 50;
constexpr size_t kPortsPerAddress = 20'000;
constexpr size_t kFilesOfOurs = 200;
constexpr milliseconds kTakenWithin{600'000};

double Since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

// Value of a line "name value"; -1: there is none.
double Metric(const Cell& cell, const std::string& name) {
  const std::string body = testing::HttpGet(cell.http_port(), "/metrics").body;
  const size_t at = body.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(body.substr(at + name.size() + 2));
}

void NoAdmitRate(const Cell& cell) {
  const auto path = cell.path() / "broker" / "mosquitto.conf";
  std::string text = testing::ReadAll(path);
  const std::string option = "plugin_opt_admit_rate ";
  const size_t at = text.find(option);
  LK_ASSERT(at != std::string::npos);
  text.replace(at, text.find('\n', at) - at, option + "off");
  std::ofstream(path) << text;
}

// Publishes with a bridge's identity, and waits for the bridge, if there is one, to take it.
class Feed {
 public:
  Feed(const Cell& cell, BridgeToo bridge)
      : cell_(cell),
        bridge_(bridge),
        client_(cell.WithCertificate(BridgeIdentity{"feed"}, cell.CellCa(), "bridge/feed")) {
    LK_ASSERT(client_.Connect() == 0);
  }

  void State(const std::vector<Publish>& said) {
    for (const Publish& publish : said) {
      Post(publish);
    }
  }

  void Ring(const Publish& ring) { Post(ring); }

  // All has been handled by the broker and is in the bridge.
  void Settle() {
    Drain();
    Await(0);
  }

  // The broker says that this car is away.
  void AwaitAway(const CarRef& ref) {
    const std::string topic = PresenceTopic(ref);
    LK_ASSERT(client_.Subscribe(topic) == 1);
    v1::Presence presence;
    do {
      const auto said = client_.NextOn(topic, kTakenWithin);
      LK_ASSERT(said && presence.ParseFromString(said->payload));
    } while (presence.online());
    LK_ASSERT(client_.Unsubscribe(topic));
  }

 private:
  void Post(const Publish& publish) {
    LK_ASSERT(client_.Post(publish) != 0);
    ++posted_;
    if (++in_flight_ == kInFlight) {
      Drain();
    }
    // The broker drops what the bridge has not taken above its queue's bound.
    if (posted_ % kAheadMax == 0) {
      Await(kAheadMax);
    }
  }

  void Drain() {
    LK_ASSERT(client_.Ping());
    for (const testing::RawAnswer& answer : client_.TakeAnswers()) {
      LK_ASSERT(answer.code == 0);
    }
    in_flight_ = 0;
  }

  // The bridge lacks at most so many.
  void Await(size_t lacking) {
    const bool taken =
        bridge_ == BridgeToo::kNo || testing::Eventually(
                                         [&] {
                                           return Metric(cell_, "latchkey_state_stored_total") +
                                                      Metric(cell_, "latchkey_rings_stored_total") +
                                                      static_cast<double>(lacking) >=
                                                  static_cast<double>(posted_);
                                         },
                                         kTakenWithin);
    LK_ASSERT(taken);
  }

  const Cell& cell_;
  const BridgeToo bridge_;
  RawClient client_;
  size_t in_flight_ = 0;
  size_t posted_ = 0;
};

std::unique_ptr<RawClient> Connected(const Cell& cell, const Cars& cars,
                                     const tools::Issued& identity, size_t car) {
  RawOptions options;
  options.port = cell.car_port();
  options.client_id = cars.RefOf(car).ToText();
  options.certificate_pem = identity.certificate_pem;
  options.private_key_pem = identity.private_key_pem;
  options.keep_alive_s = 300;
  options.source_address = "127.0.0." + std::to_string(2 + car / kPortsPerAddress);
  auto client = std::make_unique<RawClient>(std::move(options));
  const int code = client->Connect();
  if (code != 0) {
    throw std::runtime_error("car " + std::to_string(car) + " does not get in: " +
                             std::to_string(code) + "\n" + cell.BrokerLog().substr(0, 2000));
  }
  return client;
}

// Cars that each connect and leave again, a few at a time.
void Visit(const Cell& cell, const Cars& cars, size_t first, size_t count, Feed& feed) {
  const Timestamp now{testing::UnixMs()};
  std::vector<std::unique_ptr<RawClient>> standing;
  for (size_t car = first; car < first + count; ++car) {
    standing.push_back(Connected(cell, cars, cars.Certify(car, now), car));
    if (standing.size() == kStandingMax) {
      standing.clear();
    }
  }
  standing.clear();
  feed.AwaitAway(cars.RefOf(first + count - 1));
}

// Memory of the processes between two moments.
class Watch {
 public:
  Watch(Cell& cell, BridgeToo bridge, Report& report)
      : cell_(cell), bridge_too_(bridge), report_(report) {
    Begin();
  }

  void Begin() {
    broker_ = ResidentOf(cell_.broker().pid());
    bridge_ = OfBridge();
  }

  void Put(const std::string& name, size_t cars) {
    report_.Put("broker." + name, PerCar(ResidentOf(cell_.broker().pid()), broker_, cars));
    if (bridge_too_ == BridgeToo::kYes) {
      report_.Put("latchkey_bridge." + name, PerCar(OfBridge(), bridge_, cars));
    }
    Begin();
  }

 private:
  uint64_t OfBridge() {
    return bridge_too_ == BridgeToo::kYes ? ResidentOf(cell_.bridge().pid()) : 0;
  }

  Cell& cell_;
  const BridgeToo bridge_too_;
  Report& report_;
  uint64_t broker_ = 0;
  uint64_t bridge_ = 0;
};

void Connect(Cell& cell, const Cars& cars, const CellWish& wish, Report& report) {
  const size_t files = RaiseFileLimit();
  const size_t count =
      std::min({wish.connections, wish.cars, files - std::min(files, kFilesOfOurs)});
  if (count == 0) {
    return;
  }
  const Timestamp now{testing::UnixMs()};
  const auto began = steady_clock::now();
  Watch watch(cell, wish.bridge, report);
  std::vector<std::unique_ptr<RawClient>> standing;
  for (size_t car = 0; car < count; ++car) {
    standing.push_back(Connected(cell, cars, cars.Certify(car, now), car));
  }
  watch.Put("per_connected_car", count);
  // Each still stands: nothing was counted that had gone.
  for (const auto& client : standing) {
    LK_ASSERT(client->Ping());
  }
  report.Put("broker.connected_cars", static_cast<double>(count), "");
  report.Put("broker.connecting_seconds", Since(began), "s");
}

}  // namespace

size_t RaiseFileLimit() {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  return files.rlim_cur;
}

void MeasureCell(Cell& cell, const Cars& cars, const CellWish& wish, Report& report) {
  const Timestamp now{testing::UnixMs()};
  NoAdmitRate(cell);
  cell.StartBroker();
  if (wish.bridge == BridgeToo::kYes) {
    cell.StartBridge();
  }
  auto feed = std::make_unique<Feed>(cell, wish.bridge);
  for (size_t car = wish.cars; car < wish.cars + kWarmCars; ++car) {
    feed->State(cars.Parks(car, now));
    feed->Ring(cars.Ring(car, now));
  }
  feed->Settle();
  Visit(cell, cars, wish.cars, kWarmCars, *feed);

  const auto began = steady_clock::now();
  Watch all(cell, wish.bridge, report);
  Watch watch(cell, wish.bridge, report);
  for (size_t car = 0; car < wish.cars; ++car) {
    feed->State(cars.Parks(car, now));
  }
  feed->Settle();
  watch.Put("state_per_car", wish.cars);
  for (size_t car = 0; car < wish.cars; ++car) {
    feed->Ring(cars.Ring(car, now));
  }
  feed->Settle();
  watch.Put("ring_per_car", wish.cars);
  all.Put("state_and_ring_per_car", wish.cars);
  const size_t visitors = std::min(wish.visitors, wish.cars);
  if (visitors > 0) {
    Visit(cell, cars, 0, visitors, *feed);
    watch.Put("presence_per_car", visitors);
  }
  report.Put("broker.feeding_seconds", Since(began), "s");
  feed.reset();
  Connect(cell, cars, wish, report);
  if (wish.bridge == BridgeToo::kYes) {
    const auto restart = steady_clock::now();
    LK_ASSERT(cell.bridge().Stop() == 0);
    cell.StartBridge();
    report.Put("latchkey_bridge.restart_seconds", Since(restart), "s");
  }
}

}  // namespace latchkey::footprint
