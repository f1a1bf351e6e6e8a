// The loop body of simulated cars.
#include "tools/fleet/fleet.h"

#include <algorithm>
#include <array>
#include <utility>

namespace latchkey::fleet {
namespace {

constexpr Duration kRefreshEvery = std::chrono::seconds(60);
constexpr Duration kWaitMax = std::chrono::seconds(1);
constexpr std::string_view kSimulated = "simulated";

struct Sensor {
  std::string_view signal;
  double value;
};

// The body of any simulated car: what a drive does not record.
constexpr auto kBody = std::to_array<Sensor>({
    {"body.is_locked", 1},
    {"body.door_front_left_open", 0},
    {"body.door_front_right_open", 0},
    {"body.door_rear_left_open", 0},
    {"body.door_rear_right_open", 0},
    {"body.trunk_open", 0},
    {"body.hood_open", 0},
    {"body.window_open_max", 0},
    {"body.lights_on", 0},
    {"service.warnings", 0},
});

// A parked car at its cable, beside the Marienplatz in Munich.
constexpr auto kParked = std::to_array<Sensor>({
    {"energy.soc", 74},
    {"energy.range", 148},
    {"energy.is_plugged", 1},
    {"energy.is_charging", 0},
    {"energy.charge_limit", 80},
    {"location.latitude", 48.13715},
    {"location.longitude", 11.57540},
    {"location.altitude", 519},
    {"climate.is_active", 0},
    {"climate.cabin_temperature", 19.5},
    {"climate.outside_temperature", 14},
    {"climate.target_temperature", 21},
    {"drive.speed", 0},
    {"drive.odometer", 41207},
    {"drive.gear", 126},
    {"drive.is_moving", 0},
    {"service.tyre_front_left", 250},
    {"service.tyre_front_right", 250},
    {"service.tyre_rear_left", 260},
    {"service.tyre_rear_right", 260},
    {"service.low_voltage", 12.6},
});

}  // namespace

void Fleet::Add(std::unique_ptr<car::CarClient> client, std::optional<Replay> replay, At at) {
  client->OnShown([this, index = members_.size()](const car::Effect& effect) {
    listener_({index, effect}, now_);
  });
  members_.push_back({std::move(client), std::move(replay), {}, at});
}

void Fleet::Step(size_t car, const car::Input& input, const Now& now) {
  now_ = now;
  car::CarClient& client = *members_.at(car).client;
  client.Step(input, now);
  if (failure_.empty()) {
    failure_ = client.failure();
  }
}

void Fleet::Begin(size_t index, const Now& now) {
  Member& member = members_[index];
  const auto observe = [&](const Sensor& sensor) {
    // What a command has set in an earlier run stands.
    if (!member.client->car().board().Find(sensor.signal)) {
      Step(index, car::Observe{sensor.signal, sensor.value, now.wall, kSimulated}, now);
    }
  };
  std::for_each(kBody.begin(), kBody.end(), observe);
  if (!member.replay) {
    std::for_each(kParked.begin(), kParked.end(), observe);
  }
  member.refresh_at = now.mono + kRefreshEvery;
  if (member.at == At::kAwake) {
    Step(index, car::Start{}, now);
  }
  if (member.replay) {
    Step(index, car::ValuesRefused{member.replay->drive().RefusedCount()}, now);
  }
}

void Fleet::Start(const Now& now) {
  for (size_t i = 0; i < members_.size(); ++i) {
    Begin(i, now);
  }
}

void Fleet::Handle(const tools::LinkEvent& event, const Now& now) {
  if (event.link >= members_.size()) {
    return;
  }
  now_ = now;
  car::CarClient& client = *members_[event.link].client;
  client.Handle(event, now, random_());
  if (failure_.empty()) {
    failure_ = client.failure();
  }
}

void Fleet::Run(const Now& now) {
  for (size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    if (member.replay) {
      due_.clear();
      member.replay->Due(now, due_);
      for (const car::Observe& observe : due_) {
        Step(i, observe, now);
      }
    } else if (now.mono >= member.refresh_at) {
      member.refresh_at = now.mono + kRefreshEvery;
      Step(i, car::StillSo{}, now);
    }
    const auto deadline = member.client->car().NextDeadline();
    if (deadline && *deadline <= now.mono) {
      Step(i, car::Tick{}, now);
    }
  }
}

Instant Fleet::NextAt(const Now& now) const {
  Instant next = now.mono + kWaitMax;
  for (const Member& member : members_) {
    if (!member.replay) {
      next = std::min(next, member.refresh_at);
    } else if (const auto at = member.replay->NextAt()) {
      next = std::min(next, *at);
    }
    if (const auto deadline = member.client->car().NextDeadline()) {
      next = std::min(next, *deadline);
    }
  }
  return std::max(next, now.mono);
}

}  // namespace latchkey::fleet
