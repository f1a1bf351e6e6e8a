// All cars come back at once: those above the rate are hung up on and come again, those inside do
// not notice, and people are told what it is.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kCars = 240;
constexpr int kThreads = 4;
constexpr milliseconds kAllInWithin{60'000};

int64_t MsSince(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start).count();
}

// The auth plugin is the last in the file: its options end the plugins' part.
void SetAdmitRate(const Cell& cell, const std::string& rate) {
  const auto path = cell.path() / "broker" / "mosquitto.conf";
  std::string text = ReadAll(path);
  const size_t at = text.find("plugin_opt_admit_rate ");
  REQUIRE(at != std::string::npos);
  text.replace(at, text.find('\n', at) - at, "plugin_opt_admit_rate " + rate);
  std::ofstream(path) << text;
}

// Some cars on one thread that try until they are in, each time anywhere from now to 1, 2, 4, 8 s
// later, as the reference car does.
class Returning {
 public:
  Returning(const Cell& cell, int first, int count, std::atomic<int>& in, std::atomic<int>& refused)
      : random_(static_cast<unsigned>(first)), in_(in), refused_(refused) {
    for (int i = first; i < first + count; ++i) {
      cars_.push_back({cell.AsCar({FleetId::Parse("demo").value(),
                                   CarId::Parse("car-" + std::to_string(i)).value()}),
                       nullptr, steady_clock::now() + milliseconds(random_() % 1000), 0});
    }
  }

  void Run() {
    const auto end = steady_clock::now() + kAllInWithin;
    while (left_ > 0 || !tried_) {
      tried_ = true;
      left_ = 0;
      for (Car& car : cars_) {
        if (car.client != nullptr) {
          continue;
        }
        ++left_;
        if (steady_clock::now() >= car.next) {
          Try(car);
        }
      }
      if (steady_clock::now() > end) {
        return;
      }
      std::this_thread::yield();
    }
  }

 private:
  struct Car {
    RawOptions options;
    std::unique_ptr<RawClient> client;
    steady_clock::time_point next;
    int tries = 0;
  };

  void Try(Car& car) {
    auto client = std::make_unique<RawClient>(car.options);
    const int code = client->Connect();
    if (code == 0) {
      car.client = std::move(client);
      ++in_;
      return;
    }
    refused_ += code == kHungUp ? 1 : 0;
    car.tries = std::min(car.tries + 1, 3);
    car.next = steady_clock::now() + milliseconds(random_() % (1000U << car.tries));
  }

  std::mt19937 random_;
  std::atomic<int>& in_;
  std::atomic<int>& refused_;
  std::vector<Car> cars_;
  int left_ = 0;
  bool tried_ = false;
};

}  // namespace

TEST_CASE("a reconnect storm is let in at the rate, and those inside keep working") {
  Cell cell;
  SetAdmitRate(cell, "20:40");
  cell.StartBroker();
  cell.StartBridge();
  const PrivateKey owner = PrivateKey::Generate();
  RawCar inside(cell, "demo", "inside");
  REQUIRE(inside.PublishRing({{owner.Public(), v1::ROLE_OWNER}}) == 0);
  RawClient phone(cell.AsPhone(owner));
  REQUIRE(phone.Connect() == 0);
  const std::string drive = StateTopic(inside.ref(), Group::kDrive);
  REQUIRE(phone.Subscribe(drive) == 1);

  std::atomic<int> in = 0;
  std::atomic<int> refused = 0;
  std::vector<std::unique_ptr<Returning>> crowds;
  for (int i = 0; i < kThreads; ++i) {
    crowds.push_back(
        std::make_unique<Returning>(cell, i * kCars / kThreads, kCars / kThreads, in, refused));
  }
  const auto start = steady_clock::now();
  std::vector<std::thread> threads;
  for (auto& crowd : crowds) {
    threads.emplace_back([&crowd] { crowd->Run(); });
  }
  std::vector<int64_t> latencies;
  bool told = false;
  while (in < kCars && MsSince(start) < kAllInWithin.count()) {
    const auto sent = steady_clock::now();
    CHECK(inside.PublishSpeed(50) == 0);
    CHECK(phone.NextOn(drive).has_value());
    latencies.push_back(MsSince(sent));
    std::this_thread::sleep_for(milliseconds(20));  // below the guard's rate of one key
    // The bridge is never kept waiting, and status says what this is.
    if (!told && refused > 60) {
      cell.bridge().Kill();
      cell.StartBridge();
      told = Eventually([&] {
        const Ran status = cell.Latchkey({"status"});
        return status.output.find("reconnect storm: ") != std::string::npos;
      });
      CHECK(told);
    }
  }
  const int64_t lasted_ms = MsSince(start);
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::sort(latencies.begin(), latencies.end());
  REQUIRE_FALSE(latencies.empty());
  std::printf(
      "storm: %d cars in after %lld ms, %d tries refused; inside: median %lld ms, "
      "99th %lld ms of %zu\n",
      in.load(), static_cast<long long>(lasted_ms), refused.load(),
      static_cast<long long>(latencies[latencies.size() / 2]),
      static_cast<long long>(latencies[latencies.size() * 99 / 100]), latencies.size());
  CHECK(in == kCars);
  CHECK(told);
  CHECK(refused > 60);
  // 40 at once, then 20 a second.
  CHECK(lasted_ms > 1000 * (kCars - 40) / 20 - 1000);
  CHECK(latencies[latencies.size() / 2] < 100);
  CHECK(CountLines(cell.BrokerLog(), "at=admit reason=full") > 0);
  CHECK(CountLines(cell.BrokerLog(), "latchkey storm text=\"reconnect storm: ") == 1);
  CHECK(Eventually([&] {
    return cell.Latchkey({"log", "--event", "storm"}).output.find("reconnect storm") !=
           std::string::npos;
  }));
  // An owner's phone gets in beside them.
  CHECK(RawClient(cell.AsPhone(PrivateKey::Generate())).Connect() == 0);
}

}  // namespace latchkey::testing
