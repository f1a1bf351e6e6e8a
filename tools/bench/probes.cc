// Clients of the swarm: cars 0 to n-1, phones n to 2n-1.
#include "tools/bench/probes.h"

#include <chrono>
#include <utility>

#include "proto/command.h"
#include "proto/crypto.h"
#include "proto/topic.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

constexpr Duration kLifetime = std::chrono::seconds(30);
constexpr Duration kLostAfter = std::chrono::seconds(10);
constexpr Duration kReturnAfter = Duration(50);

double MsBetween(Moment from, Moment to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

std::string Flash(const BenchCar& car, const BenchPhone& phone) {
  v1::Command action;
  action.mutable_flash_lights();
  const Timestamp now = cli::ReadClocks().wall;
  return SealCommand(
             {car.ref, CommandId::Make(now.ms, RandomBytes(10)), now, now + kLifetime, action},
             phone.key)
      .value_or("");
}

}  // namespace

Result<std::unique_ptr<Probes>> Probes::Make(const Crowd& crowd, const Entrance& entrance,
                                             size_t first, size_t count) {
  std::unique_ptr<Probes> probes(new Probes(entrance.cars()));
  for (size_t i = first; i < first + count; ++i) {
    LK_TRY(ClientWish car, entrance.Car(i));
    const size_t client = probes->swarm_.Add(std::move(car));
    probes->swarm_.Subscribe(client, "lk/1/" + crowd.car(i).ref.ToText() + "/command/+", 1);
    probes->pairs_.push_back(
        {&crowd.car(i), &crowd.phone(i), CommandTopic(crowd.car(i).ref, crowd.phone(i).id)});
  }
  for (size_t i = first; i < first + count; ++i) {
    LK_TRY(ClientWish phone, entrance.Phone(i));
    probes->swarm_.Add(std::move(phone));
  }
  Probes* const self = probes.get();
  self->swarm_.on_lost = [self](size_t client, const Lost&) {
    Pair& pair = self->pairs_[client % self->pairs_.size()];
    self->lost_ += pair.waits ? 1 : 0;
    pair.waits = false;
    self->out_.push_back(client);
  };
  return probes;
}

void Probes::Return() {
  const Moment now = std::chrono::steady_clock::now();
  if (now < return_at_) {
    return;
  }
  return_at_ = now + kReturnAfter;
  for (const size_t client : std::exchange(out_, {})) {
    swarm_.Reconnect(client);
  }
}

bool Probes::Connect(Duration patience) {
  return swarm_.DriveUntil(patience, [this] {
    Return();
    return swarm_.connected() == swarm_.size() && swarm_.settled();
  });
}

bool Probes::Send(size_t index) {
  Pair& pair = pairs_[index];
  if (pair.waits || !swarm_.IsConnected(index)) {
    return false;
  }
  const std::string command = Flash(*pair.car, *pair.phone);
  pair.sent_at = std::chrono::steady_clock::now();
  pair.waits = swarm_.Publish(index + pairs_.size(), {pair.topic, command, 1}).has_value();
  return pair.waits;
}

std::vector<double> Probes::Run(Duration every, const std::function<bool()>& done) {
  std::vector<double> took_ms;
  swarm_.on_message = [&](size_t client, const Arrived& arrived) {
    Pair& pair = pairs_[client];
    if (pair.waits) {
      took_ms.push_back(MsBetween(pair.sent_at, arrived.at));
    }
    pair.waits = false;
  };
  Moment next = std::chrono::steady_clock::now();
  size_t index = 0;
  const auto waits = [this] {
    for (const Pair& pair : pairs_) {
      if (pair.waits) {
        return true;
      }
    }
    return false;
  };
  while (!done()) {
    swarm_.DriveUntil(every, [&] { return std::chrono::steady_clock::now() >= next; });
    Return();
    const Moment now = std::chrono::steady_clock::now();
    if (now >= next) {
      next = now + every;
      index = (index + 1) % pairs_.size();
      Send(index);
    }
    for (Pair& pair : pairs_) {
      if (pair.waits && now - pair.sent_at > kLostAfter) {
        pair.waits = false;
        ++lost_;
      }
    }
  }
  if (!swarm_.DriveUntil(kLostAfter, [&] { return !waits(); })) {
    for (Pair& pair : pairs_) {
      lost_ += pair.waits ? 1 : 0;
      pair.waits = false;
    }
  }
  swarm_.on_message = {};
  return took_ms;
}

}  // namespace latchkey::bench
