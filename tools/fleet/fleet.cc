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

void Append(size_t index, car::Effects effects, std::vector<Said>& said) {
  for (car::Effect& effect : effects) {
    said.push_back({index, std::move(effect)});
  }
}

}  // namespace

void Fleet::Add(std::unique_ptr<car::CarClient> client, std::optional<Replay> replay) {
  members_.push_back({std::move(client), std::move(replay), {}});
}

void Fleet::Begin(size_t index, const Now& now, std::vector<Said>& said) {
  Member& member = members_[index];
  const auto observe = [&](const Sensor& sensor) {
    // What a command has set in an earlier run stands.
    if (!member.client->car().board().Find(sensor.signal)) {
      Append(
          index,
          member.client->Step(car::Observe{sensor.signal, sensor.value, now.wall, kSimulated}, now),
          said);
    }
  };
  std::for_each(kBody.begin(), kBody.end(), observe);
  if (!member.replay) {
    std::for_each(kParked.begin(), kParked.end(), observe);
  }
  member.refresh_at = now.mono + kRefreshEvery;
  Append(index, member.client->Step(car::Start{}, now), said);
  if (member.replay) {
    const Drive& drive = member.replay->drive();
    Append(index, member.client->Step(car::ValuesRefused{drive.RefusedCount()}, now), said);
  }
}

std::vector<Said> Fleet::Start(const Now& now) {
  std::vector<Said> said;
  for (size_t i = 0; i < members_.size(); ++i) {
    Begin(i, now, said);
  }
  return said;
}

std::vector<Said> Fleet::Handle(const tools::LinkEvent& event, const Now& now) {
  std::vector<Said> said;
  if (event.link < members_.size()) {
    Append(event.link, members_[event.link].client->Handle(event, now, random_()), said);
  }
  return said;
}

std::vector<Said> Fleet::Step(size_t car, const car::Input& input, const Now& now) {
  std::vector<Said> said;
  Append(car, members_.at(car).client->Step(input, now), said);
  return said;
}

std::vector<Said> Fleet::Run(const Now& now) {
  std::vector<Said> said;
  for (size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    if (member.replay) {
      due_.clear();
      member.replay->Due(now, due_);
      for (const car::Observe& observe : due_) {
        Append(i, member.client->Step(observe, now), said);
      }
    } else if (now.mono >= member.refresh_at) {
      member.refresh_at = now.mono + kRefreshEvery;
      Append(i, member.client->Step(car::StillSo{}, now), said);
    }
    const auto deadline = member.client->car().NextDeadline();
    if (deadline && *deadline <= now.mono) {
      Append(i, member.client->Step(car::Tick{}, now), said);
    }
  }
  return said;
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
