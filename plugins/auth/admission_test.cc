// Who is let in when all come at once, and what is told of it.
#include "plugins/auth/admission.h"

#include <map>

#include <doctest/doctest.h>

namespace latchkey::auth {
namespace {

using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

struct Story {
  Admission admission{Rate{10, 20}};
  Now now{Timestamp{1'760'000'000'000}, Instant{5000}};
  int entered = 0;

  void Passes(Duration by) { now = {now.wall + by, now.mono + by}; }

  // So many of a crowd try at once, and those that may sign in.
  int Try(Crowd crowd, int count) {
    int in = 0;
    for (int i = 0; i < count; ++i) {
      if (admission.Ask(crowd, now)) {
        admission.Entered(crowd, now);
        ++in;
      }
    }
    return in;
  }

  std::map<std::string, std::string> Told() {
    std::map<std::string, std::string> told;
    for (const Publish& publish : admission.TakeChanged(now)) {
      CHECK(publish.retain == Retain::kYes);
      told[publish.topic.substr(publish.topic.rfind('/') + 1)] = publish.payload;
    }
    return told;
  }
};

TEST_CASE("admission: a burst gets in, then the rate, and phones do not use up the cars' share") {
  Story s;
  CHECK(s.Try(Crowd::kPhones, 100) == 20);
  CHECK(s.Try(Crowd::kCars, 100) == 20);
  s.Passes(1s);
  CHECK(s.Try(Crowd::kCars, 100) == 10);
  CHECK(s.admission.entered_in_minute(Crowd::kCars, s.now.mono) == 30);
  CHECK(s.admission.refused_in_minute(Crowd::kCars, s.now.mono) == 170);
}

TEST_CASE("admission: who may try and fails to sign in uses nothing up") {
  Story s;
  for (int i = 0; i < 1000; ++i) {
    CHECK(s.admission.Ask(Crowd::kCars, s.now));
  }
  CHECK(s.Try(Crowd::kCars, 100) == 20);
}

TEST_CASE("admission: without a rate everybody gets in and nothing is told") {
  Story s;
  s.admission = Admission(Rate{});
  CHECK(s.Try(Crowd::kCars, 10000) == 10000);
  CHECK(s.Told().empty());
  CHECK_FALSE(s.admission.TakeWord(s.now));
}

TEST_CASE("admission: a storm is told when it begins and when it is over, with its numbers") {
  Story s;
  s.Try(Crowd::kCars, 20);
  CHECK(s.Told().empty());
  s.Try(Crowd::kCars, 5);
  CHECK(s.admission.TakeWord(s.now).value().rfind("reconnect storm: ", 0) == 0);
  CHECK_FALSE(s.admission.TakeWord(s.now));
  s.Passes(2s);
  s.Try(Crowd::kCars, 27);
  auto told = s.Told();
  CHECK(told["cars_refused"] == "12");
  CHECK(told["cars_refused_minute"] == "12");
  CHECK(told["cars_entered_minute"] == "40");
  CHECK(told.count("phones_refused") == 0);
  CHECK(s.Told().empty());
  s.Passes(59s);
  CHECK(s.Told()["cars_refused_minute"] == "7");
  CHECK_FALSE(s.admission.TakeWord(s.now));
  s.Passes(1s);
  CHECK(s.admission.TakeWord(s.now).value() ==
        "reconnect storm is over: it lasted 2 s; cars: 12 tries refused, 20 signed in");
  told = s.Told();
  CHECK(told["cars_refused_minute"] == "0");
  CHECK(told.count("cars_refused") == 0);
}

TEST_CASE("admission: the bridge, administrators and registrars are never kept waiting") {
  CHECK_FALSE(CrowdOf("bridge/main", true));
  CHECK_FALSE(CrowdOf("administrator/ann", true));
  CHECK_FALSE(CrowdOf("demo/registrar", true));
  CHECK_FALSE(CrowdOf("demo/registrar/2", true));
  CHECK(CrowdOf("demo/registrar2", true) == Crowd::kCars);
  CHECK(CrowdOf("demo/car-1", true) == Crowd::kCars);
  CHECK(CrowdOf("demo/operator/ann", true) == Crowd::kCars);
  CHECK(CrowdOf("bridge/main", false) == Crowd::kPhones);
  CHECK(CrowdOf("", true) == Crowd::kCars);
}

TEST_CASE("admission: two thousand cars that come back with full jitter are all in soon") {
  // As the reference car tries: each time anywhere from now to 1, 2, 4 ... 60 s later.
  Admission admission(Rate{100, 200});

  struct Car {
    int64_t next = 0;
    int tries = 0;
    bool in = false;
  };

  std::vector<Car> cars(2000);
  uint64_t random = 88172645463325252U;
  const auto Below = [&random](int64_t most) {
    random ^= random << 13U;
    random ^= random >> 7U;
    random ^= random << 17U;
    return static_cast<int64_t>(random % static_cast<uint64_t>(most));
  };
  for (Car& car : cars) {
    car.next = Below(1000);
  }
  size_t in = 0;
  int64_t at = 0;
  int busiest = 0;
  int second = 0;
  for (; in < cars.size() && at < 600'000; at += 10) {
    if (at % 1000 == 0) {
      busiest = std::max(busiest, second);
      second = 0;
    }
    const Now now{Timestamp{1'760'000'000'000 + at}, Instant{at}};
    for (Car& car : cars) {
      if (car.in || car.next > at) {
        continue;
      }
      if (admission.Ask(Crowd::kCars, now)) {
        admission.Entered(Crowd::kCars, now);
        car.in = true;
        ++in;
        ++second;
      } else {
        car.next = at + 1 + Below(std::min<int64_t>(60'000, 1000LL << std::min(++car.tries, 10)));
      }
    }
  }
  MESSAGE("all in after ", at, " ms, at most ", busiest, " in a second");
  CHECK(in == cars.size());
  CHECK(at < 90'000);
  CHECK(busiest <= 300);
}

}  // namespace
}  // namespace latchkey::auth
