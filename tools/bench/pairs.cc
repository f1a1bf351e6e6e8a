// Clients of the swarm: cars 0 to n-1, phones n to 2n-1, the tap 2n.
#include "tools/bench/pairs.h"

#include <utility>

#include "latchkey/v1/state.pb.h"
#include "proto/state.h"
#include "tools/bench/process.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

// Messages on their way at once: of each car to its phone, and of all cars to the tap. The tap's is
// below the broker's max_inflight_messages (200), so that none is kept waiting for an
// acknowledgement.
constexpr size_t kWindowOfPair = 4;
constexpr size_t kWindowOfTap = 150;
constexpr Duration kConnectPatience = std::chrono::seconds(180);
constexpr Duration kDrainPatience = std::chrono::seconds(30);

tl::unexpected<Error> Unavailable(std::string text) {
  return Fail(v1::REASON_STORE_UNAVAILABLE, std::move(text));
}

double By(uint64_t messages, double seconds) {
  return seconds > 0 ? static_cast<double>(messages) / seconds : 0;
}

}  // namespace

std::string ToText(const Work& work) {
  return std::string(work.path == Path::kPairs ? "pairs" : "tap") + ", QoS " +
         std::to_string(work.qos);
}

double Window::per_server_cpu_s() const {
  return By(messages, server_cpu_s);
}

double Window::per_own_cpu_s() const {
  return By(messages, own_cpu_s);
}

double Window::per_wall_s() const {
  return By(messages, wall_s);
}

std::string EnergyState(Timestamp now) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(now.ms));
  state.set_sequence(4711);
  v1::Energy& energy = *state.mutable_energy();
  energy.mutable_soc()->set_value(71.5F);
  energy.mutable_range()->set_value(243);
  energy.mutable_is_plugged()->set_value(true);
  energy.mutable_is_charging()->set_value(true);
  energy.mutable_charge_limit()->set_value(80);
  energy.mutable_time_to_full()->set_value(42);
  energy.mutable_voltage()->set_value(372.4F);
  energy.mutable_current()->set_value(-18.25F);
  energy.mutable_battery_temperature()->set_value(24.5F);
  energy.mutable_soh()->set_value(91);
  return state.SerializeAsString();
}

std::string DriveState(Timestamp now) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(now.ms));
  state.set_sequence(4711);
  v1::Drive& drive = *state.mutable_drive();
  drive.mutable_speed()->set_value(48.5F);
  drive.mutable_odometer()->set_value(81234.5);
  drive.mutable_gear()->set_value(1);
  drive.mutable_is_moving()->set_value(true);
  drive.mutable_throttle()->set_value(23);
  drive.mutable_torque()->set_value(61);
  drive.mutable_acceleration()->set_value(0.4F);
  return state.SerializeAsString();
}

Result<std::unique_ptr<Pairs>> Pairs::Connect(PairsWish wish) {
  std::unique_ptr<Pairs> made(new Pairs());
  LK_ASSERT(wish.cars.size() == wish.phones.size() && wish.cars.size() == wish.car_names.size());
  made->server_ = wish.server;
  made->swarm_ = std::make_unique<Swarm>(Endpoint{});
  made->car_names_ = std::move(wish.car_names);
  const Timestamp now = cli::ReadClocks().wall;
  made->energy_ = EnergyState(now);
  made->drive_ = DriveState(now);
  for (ClientWish& car : wish.cars) {
    made->swarm_->Add(std::move(car));
  }
  for (size_t i = 0; i < wish.phones.size(); ++i) {
    made->energy_topics_.push_back("lk/1/" + made->car_names_[i] + "/state/energy");
    made->drive_topics_.push_back("lk/1/" + made->car_names_[i] + "/state/drive");
    const size_t phone = made->swarm_->Add(std::move(wish.phones[i]));
    made->swarm_->Subscribe(phone, made->energy_topics_[i], 1, RetainHandling::kDoNotSend);
  }
  const std::string fleet = made->car_names_[0].substr(0, made->car_names_[0].find('/'));
  const size_t tap = made->swarm_->Add(std::move(wish.tap));
  made->swarm_->Subscribe(tap, "lk/1/" + fleet + "/+/state/drive", 1, RetainHandling::kDoNotSend);
  const Swarm& swarm = *made->swarm_;
  if (!made->swarm_->Drive(kConnectPatience) || swarm.connected() != swarm.size() ||
      swarm.counters().refused_subscriptions != 0) {
    return Unavailable("of " + std::to_string(swarm.size()) + " clients " +
                       std::to_string(swarm.connected()) + " are in: " + swarm.first_trouble());
  }
  return made;
}

void Pairs::Send(const Work& work, size_t car) {
  const bool to_tap = work.path == Path::kTap;
  swarm_->Publish(car, {to_tap ? drive_topics_[car] : energy_topics_[car],
                        to_tap ? drive_ : energy_, work.qos, true});
}

Result<Window> Pairs::Run(const Work& work, Duration warm_up, Duration measured) {
  const size_t cars = pairs();
  bool going = true;
  swarm_->on_message = [&](size_t client, const Arrived&) {
    if (going) {
      next_car_ = work.path == Path::kPairs ? client - cars : (next_car_ + 1) % cars;
      Send(work, next_car_);
    }
  };
  const size_t window = work.path == Path::kPairs ? kWindowOfPair * cars : kWindowOfTap;
  for (size_t i = 0; i < window; ++i) {
    Send(work, i % cars);
  }
  const Counters& counters = swarm_->counters();
  const auto run_for = [&](Duration time) {
    const uint64_t before = counters.received;
    const double cpu_before = CpuSecondsOf(server_).value_or(0);
    const double own_before = swarm_->cpu_seconds();
    const double began = MonotonicSeconds();
    swarm_->DriveUntil(time, [] { return false; });
    return Window{counters.received - before, MonotonicSeconds() - began,
                  CpuSecondsOf(server_).value_or(0) - cpu_before,
                  swarm_->cpu_seconds() - own_before};
  };
  run_for(warm_up);
  const Window result = run_for(measured);
  going = false;
  swarm_->DriveUntil(kDrainPatience, [&] {
    const bool all =
        counters.received + counters.refused >= counters.sent && swarm_->unacknowledged() == 0;
    return all || counters.lost > 0;
  });
  swarm_->on_message = {};
  LK_CHECK(Check(work));
  return result;
}

Result<void> Pairs::Check(const Work& work) const {
  const Counters& counters = swarm_->counters();
  if (counters.received == counters.sent && counters.refused == 0 && counters.lost == 0) {
    return {};
  }
  return Unavailable(ToText(work) + ": of " + std::to_string(counters.sent) + " messages " +
                     std::to_string(counters.received) + " came, " +
                     std::to_string(counters.refused) + " were refused, " +
                     std::to_string(counters.lost) + " clients lost: " + swarm_->first_trouble());
}

size_t Pairs::payload_bytes(Path path) const {
  return path == Path::kPairs ? energy_.size() : drive_.size();
}

}  // namespace latchkey::bench
