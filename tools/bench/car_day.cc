// One day, twice.
#include "tools/bench/car_day.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <variant>

#include "proto/certificate.h"
#include "proto/state.h"
#include "tools/ca/ca.h"
#include "tools/car/car_mqtt.h"
#include "tools/car/memory.h"
#include "tools/mqtt/aliases.h"

namespace latchkey::bench {
namespace {

constexpr std::string_view kFleet = "demo";
constexpr std::string_view kCar = "F3-17";
constexpr int kCertificateDays = 365;
constexpr int kQosGranted = 1;
constexpr uint16_t kTopicAliasesMax = 10;  // that Mosquitto takes
constexpr Instant kBoot{1000};
constexpr Duration kLeftAfter{1000};  // the last row of a drive

struct Sensor {
  std::string_view signal;
  double value;
};

// What no drive recorded, as a locked car in summer has it.
constexpr auto kStanding = std::to_array<Sensor>({
    {"body.is_locked", 1},
    {"body.door_front_left_open", 0},
    {"body.door_front_right_open", 0},
    {"body.door_rear_left_open", 0},
    {"body.door_rear_right_open", 0},
    {"body.trunk_open", 0},
    {"body.hood_open", 0},
    {"body.lights_on", 0},
    {"energy.range", 62},
    {"energy.is_plugged", 0},
    {"energy.is_charging", 0},
    {"energy.charge_limit", 80},
    {"climate.is_active", 0},
    {"climate.cabin_temperature", 24.5},
    {"climate.target_temperature", 21},
    {"service.tyre_front_left", 250},
    {"service.tyre_front_right", 250},
    {"service.tyre_rear_left", 260},
    {"service.tyre_rear_right", 260},
    {"service.low_voltage", 12.6},
    {"service.warnings", 0},
});

// And how it is left when a drive is over, which recorders do not tell.
constexpr auto kLeft = std::to_array<Sensor>({
    {"drive.speed", 0},
    {"drive.is_moving", 0},
    {"drive.gear", 126},
});

// The day's times and values, told to whoever lives it.
class Hours {
 public:
  explicit Hours(const DayPlan& plan)
      : plan_(plan), sensors_at_(kBoot), ends_at_(kBoot + plan.length) {}

  Now At(Instant at) const { return {plan_.midnight + (at - kBoot), at}; }

  Instant ends_at() const { return ends_at_; }

  // When something is observed next; the end of the day when nothing is.
  Instant NextAt() const {
    Instant next = std::min(sensors_at_, ends_at_);
    if (drives_ < plan_.drives_at.size()) {
      next = std::min(next, kBoot + plan_.drives_at[drives_] + NextOffset());
    }
    return next;
  }

  DayPart PartAt(Instant at) const {
    const bool driving =
        std::any_of(plan_.drives_at.begin(), plan_.drives_at.end(), [&](Duration begins) {
          return at >= kBoot + begins && at <= kBoot + begins + plan_.drive->length;
        });
    return driving ? DayPart::kDriving : DayPart::kParked;
  }

  // Whether all standing sensors say at `at` what they said before.
  bool SensorsAt(Instant at) {
    if (at < sensors_at_) {
      return false;
    }
    sensors_at_ = sensors_at_ + plan_.sensors_every;
    return true;
  }

  // The next value of a drive that is due by `at`; nullopt: none is.
  std::optional<Sensor> DrivenAt(Instant at) {
    if (drives_ >= plan_.drives_at.size() || kBoot + plan_.drives_at[drives_] + NextOffset() > at) {
      return std::nullopt;
    }
    const auto& recorded = plan_.drive->observations;
    const size_t index = observations_++;
    if (index < recorded.size()) {
      return Sensor{recorded[index].signal, recorded[index].value};
    }
    const size_t left = index - recorded.size();
    if (left + 1 == kLeft.size()) {
      observations_ = 0;
      ++drives_;
    }
    return kLeft.at(left);
  }

 private:
  // Of the drive that is driven, or is next.
  Duration NextOffset() const {
    const auto& recorded = plan_.drive->observations;
    return observations_ < recorded.size() ? recorded[observations_].offset
                                           : plan_.drive->length + kLeftAfter;
  }

  const DayPlan& plan_;
  size_t drives_ = 0;        // that are over
  size_t observations_ = 0;  // of its values, those of being left after them
  Instant sensors_at_;
  Instant ends_at_;
};

// Where each moment's bytes go.
class Account {
 public:
  explicit Account(const DayPlan& plan) {
    Duration driven{0};
    for (size_t i = 0; i < plan.drives_at.size(); ++i) {
      driven += plan.drive->length;
    }
    day_.lasted = {plan.length - driven, driven};
  }

  void Add(DayPart part, const LineBytes& bytes) { day_.parts[static_cast<size_t>(part)] += bytes; }

  const DayBytes& day() const { return day_; }

 private:
  DayBytes day_;
};

// A car with its connection: always there, to a broker that takes everything.
class Living {
 public:
  Living(const DayPlan& plan, const DayCar& car, const CarLine& line)
      : line_(line),
        hours_(plan),
        account_(plan),
        car_(OptionsOf(car, line), std::move(PrivateKey::FromPem(car.key.ToPem()).value()),
             car::NewMemory(car.ref, plan.midnight)) {}

  const DayBytes& day() const { return account_.day(); }

  void Run() {
    for (const Sensor& sensor : kStanding) {
      Give(car::Observe{sensor.signal, sensor.value, hours_.At(kBoot).wall, ""});
    }
    Give(car::Start{});
    for (now_ = kBoot; now_ < hours_.ends_at(); now_ = NextAt()) {
      Moment();
    }
  }

 private:
  static car::Options OptionsOf(const DayCar& car, const CarLine& line) {
    car::Limits limits;
    limits.publish_interval_min = line.publish_interval;
    return {.ref = car.ref,
            .certificate_der = car.certificate_der,
            .fleet_ca_der = {},
            .host = "broker.example",
            .phone_port = 8883,
            .cell = "local",
            .limits = limits};
  }

  Instant NextAt() const {
    Instant next = std::min(hours_.NextAt(), spoke_at_ + line_.keep_alive);
    if (const auto deadline = car_.NextDeadline()) {
      next = std::min(next, *deadline);
    }
    return std::max(next, now_ + Duration(1));
  }

  void Moment() {
    if (hours_.SensorsAt(now_)) {
      Give(car::StillSo{});
    }
    while (const auto driven = hours_.DrivenAt(now_)) {
      Give(car::Observe{driven->signal, driven->value, hours_.At(now_).wall, ""});
    }
    const auto deadline = car_.NextDeadline();
    if (deadline && *deadline <= now_) {
      Give(car::Tick{});
    }
    const DayPart part = hours_.PartAt(now_);
    if (!said_.empty()) {
      account_.Add(part, Flush(said_, line_.writer));
      said_.clear();
      spoke_at_ = now_;
    } else if (now_ >= spoke_at_ + line_.keep_alive) {
      account_.Add(part, Ping());
      spoke_at_ = now_;
    }
  }

  void Give(const car::Input& input) {
    std::vector<car::Input> inputs = {input};
    while (!inputs.empty()) {
      car::Effects effects;
      for (const car::Input& each : inputs) {
        car_.Step(each, hours_.At(now_), effects);
      }
      inputs.clear();
      for (const car::Effect& effect : effects) {
        Do(effect, inputs);
      }
    }
  }

  // What the broker answers is added to `answers`.
  void Do(const car::Effect& effect, std::vector<car::Input>& answers) {
    if (const auto* send = std::get_if<car::Send>(&effect)) {
      const tools::TopicName name = aliases_.Name(send->message.topic, send->message.retain);
      said_.push_back({name.topic.size(), send->message.payload.size(),
                       name.alias == 0 ? 0 : tools::kTopicAliasBytes,
                       std::min(send->message.qos, line_.qos_max), 5});
      if (send->tag != 0) {
        answers.emplace_back(car::Published{send->tag, 0});
      }
    } else if (std::holds_alternative<car::Connect>(effect)) {
      answers.emplace_back(car::Connected{});
    } else if (const auto* subscribe = std::get_if<car::Subscribe>(&effect)) {
      answers.emplace_back(
          car::Subscribed{std::vector<int>(subscribe->filters.size(), kQosGranted)});
    }
  }

  CarLine line_;
  Hours hours_;
  Account account_;
  car::Car car_;
  Instant now_ = kBoot;
  Instant spoke_at_ = kBoot;
  std::vector<PublishSizes> said_;
  tools::TopicAliases aliases_{kTopicAliasesMax};
};

}  // namespace

Duration CarKeepAlive() {
  return car::kKeepAlive;
}

LineBytes DayBytes::All() const {
  LineBytes all;
  for (const LineBytes& part : parts) {
    all += part;
  }
  return all;
}

Result<DayCar> MakeDayCar(Timestamp now) {
  const tools::Issued ca = tools::MakeCa(std::string(kFleet), now, kCertificateDays);
  const CarRef ref{*FleetId::Parse(kFleet), *CarId::Parse(kCar)};
  LK_TRY(tools::Issued issued, tools::IssueClient(CarIdentity{ref}, ca, now, kCertificateDays));
  LK_TRY(std::string der, PemToDer(issued.certificate_pem));
  LK_TRY(PrivateKey key, PrivateKey::FromPem(issued.private_key_pem));
  return DayCar{ref, std::move(der), std::move(key)};
}

DayBytes LiveAsCar(const DayPlan& plan, const DayCar& car, const CarLine& line) {
  Living living(plan, car, line);
  living.Run();
  return living.day();
}

DayBytes LiveAsText(const DayPlan& plan, const TextOptions& options) {
  Hours hours(plan);
  Account account(plan);
  TextTopics text(options);
  for (const Sensor& sensor : kStanding) {
    text.Observe(sensor.signal, sensor.value);
  }
  text.Observe("link.radio", std::string("wired"));
  text.Observe("link.software", std::string("latchkey reference car"));
  text.Observe("link.values_refused", 0.0);
  for (Instant now = kBoot; now < hours.ends_at();) {
    while (const auto driven = hours.DrivenAt(now)) {
      text.Observe(driven->signal, driven->value);
    }
    static_cast<void>(hours.SensorsAt(now));
    const LineBytes said = text.Run(now);
    account.Add(hours.PartAt(now), said);
    now = std::max(std::min(hours.NextAt(), text.NextAt().value_or(hours.ends_at())),
                   now + Duration(1));
  }
  return account.day();
}

}  // namespace latchkey::bench
