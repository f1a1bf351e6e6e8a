// See cars.h.
#include "tests/footprint/cars.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "latchkey/v1/command.pb.h"
#include "proto/area.h"
#include "proto/command.h"
#include "proto/keyring.h"
#include "proto/result.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "tools/fleet/file.h"

namespace latchkey::footprint {

namespace {

constexpr size_t kStepsPerMinute = 6;
constexpr size_t kCarKeys = 64;

struct Sensor {
  std::string_view signal;
  double value;
};

// What no drive records, or not every one.
constexpr auto kAlways = std::to_array<Sensor>({
    {"body.is_locked", 1},
    {"body.door_front_left_open", 0},
    {"body.door_front_right_open", 0},
    {"body.door_rear_left_open", 0},
    {"body.door_rear_right_open", 0},
    {"body.trunk_open", 0},
    {"body.hood_open", 0},
    {"body.window_open_max", 0},
    {"body.lights_on", 0},
    {"energy.soc", 74},
    {"energy.range", 148},
    {"energy.is_plugged", 1},
    {"energy.is_charging", 0},
    {"energy.charge_limit", 80},
    {"location.latitude", 48.13715},
    {"location.longitude", 11.57540},
    {"location.altitude", 519},
    {"location.heading", 270},
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
    {"service.warnings", 0},
    {"service.service_distance", 8200},
    {"link.queue", 0},
    {"link.values_refused", 0},
});

bool Whole(std::string_view signal) {
  return signal == "drive.gear" || signal == "service.warnings" || signal == "link.queue" ||
         signal == "link.values_refused" || signal == "body.window_open_max";
}

// Numbers of a car's own, always the same: SplitMix64.
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// From 0 up to 1.
double Share(size_t car, uint64_t salt) {
  return static_cast<double>(Mix(car * 31 + salt) >> 11) * 0x1.0p-53;
}

// Two cars with one drive are not at one place, and of no two all other numbers are the same.
double Own(size_t car, std::string_view signal, double value) {
  if (signal == "location.latitude") {
    return std::clamp(value + (Share(car, 1) - 0.5) * 4, -89.0, 89.0);
  }
  if (signal == "location.longitude") {
    return std::clamp(value + (Share(car, 2) - 0.5) * 6, -179.0, 179.0);
  }
  if (signal == "drive.odometer") {
    return value + std::floor(Share(car, 3) * 1e6) / 10;
  }
  if (signal == "service.service_distance" || signal == "energy.range") {
    return std::floor(value * (0.5 + Share(car, 4)));
  }
  if (value == 0 || value == 1 || Whole(signal)) {
    return value;  // yes or no, and words
  }
  const double changed = value * (0.98 + 0.02 * Share(car, 5 + signal.size()));
  return PlausibleValue(signal, changed) ? changed : value;
}

bool OfGroup(std::string_view signal, Group group) {
  const std::string_view name = ToText(group);
  return signal.size() > name.size() && signal.substr(0, name.size()) == name &&
         signal[name.size()] == '.';
}

RingKey KeyOnRing(const PublicKey& key, v1::Role role, std::string label) {
  return {key.Id(), key.ToPoint(), role, PermissionsOf(role), {}, {}, std::move(label)};
}

}  // namespace

Cars::Cars(const std::filesystem::path& data, tools::Issued fleet_ca)
    : fleet_ca_(std::move(fleet_ca)), commander_(PrivateKey::Generate()) {
  for (size_t i = 0; i < kCarKeys; ++i) {
    PrivateKey key = PrivateKey::Generate();
    std::string pem = key.ToPem();
    keys_.push_back({std::move(key), std::move(pem)});
  }
  for (const char* folder : {"bmw_i3", "renault_twizy", "nissan_leaf_leafspy", "escooter"}) {
    const auto drives = fleet::LoadDrives(data / folder);
    LK_ASSERT(drives.has_value());
    for (const fleet::Drive& drive : *drives) {
      Frames frames;
      std::map<std::string_view, std::pair<double, Duration>> last;
      size_t next = 0;
      for (Duration at = kDriveStep; at <= drive.length; at += kDriveStep) {
        for (; next < drive.observations.size() && drive.observations[next].offset <= at; ++next) {
          last[drive.observations[next].signal] = {drive.observations[next].value,
                                                   drive.observations[next].offset};
        }
        Frame& frame = frames.emplace_back();
        for (const auto& [signal, seen] : last) {
          frame.push_back({signal, seen.first, at - seen.second});
        }
      }
      if (!frames.empty()) {
        drives_.push_back(std::move(frames));
      }
    }
  }
  LK_ASSERT(!drives_.empty());
}

CarRef Cars::RefOf(size_t car) const {
  std::string digits = std::to_string(car);
  digits.insert(0, 7 - std::min<size_t>(digits.size(), 7), '0');
  return {FleetId::Parse("demo").value(), CarId::Parse("F3-" + digits).value()};
}

std::string Cars::CertificateOf(size_t car, Timestamp now) const {
  return tools::CertifyClient(CarIdentity{RefOf(car)}, KeyOf(car).key.Public(), fleet_ca_,
                              {now, 365})
      .value();
}

tools::Issued Cars::Certify(size_t car, Timestamp now) const {
  return {CertificateOf(car, now), KeyOf(car).pem};
}

Publish Cars::Ring(size_t car, Timestamp now) const {
  KeyRing ring{RefOf(car), 5, now, {}};
  for (size_t i = 0; i < kKeysPerRing; ++i) {
    const bool commanding = i == 0 && car % kCommandedEvery == 0;
    const PublicKey key = commanding ? commander_.Public() : PrivateKey::Generate().Public();
    ring.keys.push_back(KeyOnRing(key, i < 2 ? v1::ROLE_OWNER : v1::ROLE_DRIVER,
                                  i == 0 ? "Maria's phone" : "phone " + std::to_string(i)));
  }
  return {KeyRingTopic(RefOf(car)),
          SealKeyRing(ring, KeyOf(car).key, PemToDer(CertificateOf(car, now)).value()), 1,
          Retain::kYes, 0};
}

const Cars::Frame& Cars::FrameOf(size_t car, size_t step) const {
  const Frames& frames = drives_[car % drives_.size()];
  return frames[(Mix(car) + step) % frames.size()];
}

car::SignalBoard Cars::BoardOf(size_t car, size_t step, const std::vector<Group>& groups,
                               Timestamp now) const {
  car::SignalBoard board;
  const auto wanted = [&](std::string_view signal) {
    return std::any_of(groups.begin(), groups.end(),
                       [&](Group group) { return OfGroup(signal, group); });
  };
  const Frame& frame = FrameOf(car, step);
  for (const Last& last : frame) {
    if (wanted(last.signal)) {
      static_cast<void>(board.Set(last.signal, Own(car, last.signal, last.value), now - last.age));
    }
  }
  for (const Sensor& sensor : kAlways) {
    if (wanted(sensor.signal) && !board.Find(sensor.signal)) {
      static_cast<void>(board.Set(sensor.signal, Own(car, sensor.signal, sensor.value), now));
    }
  }
  if (wanted("link.radio")) {
    const auto dbm = static_cast<double>(Mix(car * 7 + step) % 50);
    static_cast<void>(board.Set("link.radio", std::string("LTE"), now));
    static_cast<void>(board.Set("link.network", std::string("Telekom.de"), now));
    static_cast<void>(board.Set("link.software", std::string("2.4.1"), now));
    static_cast<void>(board.Set("link.signal", -110 + dbm, now));
  }
  if (wanted("apps.installed")) {
    board.SetApps({{"com.example.navigation", {"4.2.0", now}},
                   {"com.example.radio", {"1.11.3", now}},
                   {"org.example.charging-map", {"2.0", now}}},
                  now);
  }
  return board;
}

std::vector<Publish> Cars::Say(size_t car, size_t step, const std::vector<Group>& groups,
                               Timestamp now) const {
  car::SignalBoard board = BoardOf(car, step, groups, now);
  const auto latitude = board.Find("location.latitude");
  const auto longitude = board.Find("location.longitude");
  if (latitude && longitude) {
    static_cast<void>(board.Set(
        "area.cell", AreaOf(std::get<double>(*latitude), std::get<double>(*longitude)), now));
  }
  std::vector<Publish> said;
  for (const Group group : groups) {
    const auto state = board.Build(group, 1000 + step);
    LK_ASSERT(state.has_value());
    said.push_back({StateTopic(RefOf(car), group), state->SerializeAsString(), 1, Retain::kYes, 0});
  }
  return said;
}

std::vector<Publish> Cars::Parks(size_t car, Timestamp now) const {
  return Say(car, 0, {kGroups.begin(), kGroups.end()}, now);
}

std::vector<Publish> Cars::Drives(size_t car, size_t step, Timestamp now) const {
  std::vector<Group> groups = {Group::kDrive, Group::kLocation, Group::kEnergy};
  if (step % kStepsPerMinute == 0) {
    groups.insert(groups.end(), {Group::kClimate, Group::kLink, Group::kArea});
  }
  return Say(car, step, groups, now);
}

Publish Cars::Command(size_t car, Timestamp now) const {
  v1::Command action;
  action.mutable_charge_limit()->set_percent(80);
  const CommandId id =
      CommandId::Make(now.ms, std::string(8, 'c') + static_cast<char>(car >> 8 & 0x7f) +
                                  static_cast<char>(car & 0x7f));
  const CommandRequest request{RefOf(car), id, now, now + FindAction("charge_limit")->lifetime_max,
                               action};
  return {CommandTopic(RefOf(car), commander_.Public().Id()),
          SealCommand(request, commander_).value(), 1, Retain::kNo, 0};
}

}  // namespace latchkey::footprint
