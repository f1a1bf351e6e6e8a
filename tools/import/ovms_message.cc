// Messages of OVMS protocol v2, by the order of their fields.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/import/ovms.h"

namespace latchkey::legacy {

namespace {

constexpr double kKmPerMile = 1.609344;
constexpr double kKpaPerPsi = 6.894757;
constexpr double kTenth = 0.1;
constexpr size_t kFieldsMax = 256;

// Fields of one message, counted from 1 as the protocol does.
class MessageFields {
 public:
  MessageFields(const OvmsMessage& message, RecordMaker& record)
      : message_(message), record_(record) {
    std::string_view rest = message.text;
    for (bool more = true; more && fields_.size() < kFieldsMax;) {
      const size_t comma = rest.find(',');
      more = comma != std::string_view::npos;
      fields_.emplace_back(rest.substr(0, comma));
      rest = more ? rest.substr(comma + 1) : std::string_view();
    }
    asked_.resize(fields_.size());
  }

  std::string Text(size_t field) {
    if (field == 0 || field > fields_.size()) {
      return "";
    }
    asked_[field - 1] = true;
    return fields_[field - 1];
  }

  std::optional<double> Number(size_t field) { return NumberOf(Text(field)); }

  // Bit `bit` of a whole number; nullopt: there is none.
  std::optional<bool> Bit(size_t field, unsigned bit) {
    const std::optional<double> number = Number(field);
    if (!number || *number < 0 || *number > 255) {
      return std::nullopt;
    }
    return (static_cast<uint32_t>(*number) >> bit & 1U) != 0;
  }

  // In the car's unit of distance, times `factor`.
  void Distance(std::string_view signal, size_t field, double factor) {
    const std::optional<double> value = Number(field);
    if (!value) {
      return;
    }
    if (!message_.units_known) {
      record_.Changed(std::string(signal) + " left out: the car has no message S to say its unit");
    } else if (message_.miles) {
      record_.Scaled(signal, *value * factor, kKmPerMile, "miles to km");
    } else {
      record_.Number(signal, *value * factor);
    }
  }

  void CountRest(std::map<std::string, uint64_t>& not_kept) const {
    for (size_t i = 0; i < fields_.size(); ++i) {
      if (!asked_[i] && !IsNothing(fields_[i])) {
        ++not_kept[std::string(1, message_.code) + "." + std::to_string(i + 1)];
      }
    }
  }

  size_t size() const { return fields_.size(); }

  RecordMaker& record() { return record_; }

 private:
  const OvmsMessage& message_;
  RecordMaker& record_;
  std::vector<std::string> fields_;
  std::vector<bool> asked_;
};

void TakeS(MessageFields& fields) {
  RecordMaker& record = fields.record();
  record.Number("energy.soc", fields.Number(1));
  fields.Text(2);
  const std::string state = fields.Text(5);
  if (state == "charging" || state == "topoff" || state == "done" || state == "prepare" ||
      state == "heating" || state == "stopped" || state == "timerwait") {
    record.Flag("energy.is_charging", state == "charging" || state == "topoff");
  } else if (!IsNothing(state)) {
    record.Changed("energy.is_charging left out: \"" + Shown(state) + "\" is not known");
  }
  fields.Distance("energy.range", 8, 1);
  const std::optional<double> full = fields.Number(20);
  record.Number("energy.time_to_full", full && *full >= 0 ? full : std::nullopt);
  record.Number("energy.voltage", fields.Number(33));
  record.Number("energy.soh", fields.Number(34));
  record.Scaled("energy.current", fields.Number(37), -1, "sign turned, positive charges");
}

void TakeL(MessageFields& fields) {
  RecordMaker& record = fields.record();
  const auto latitude = fields.Number(1);
  const auto longitude = fields.Number(2);
  const auto heading = fields.Number(3);
  const auto altitude = fields.Number(4);
  const bool locked = fields.Bit(5, 0).value_or(false);
  const bool fresh = fields.Number(6).value_or(-1) > 0;
  if (locked && fresh) {
    record.Position(latitude, longitude, record.at());
    record.Number("location.heading", heading);
    record.Number("location.altitude", altitude);
  } else {
    record.Changed("location left out: the receiver had no fix, or an old one");
  }
  fields.Distance("drive.speed", 7, 1);
}

void TakeD(MessageFields& fields) {
  RecordMaker& record = fields.record();
  record.Flag("body.door_front_left_open", fields.Bit(1, 0));
  record.Flag("body.door_front_right_open", fields.Bit(1, 1));
  record.Flag("energy.is_plugged", fields.Bit(1, 3));
  record.Flag("body.hood_open", fields.Bit(2, 6));
  record.Flag("body.trunk_open", fields.Bit(2, 7));
  const std::optional<double> lock = fields.Number(3);
  if (lock == 4 || lock == 5) {
    record.Flag("body.is_locked", lock == 4);
  } else {
    record.Flag("body.is_locked", fields.Bit(2, 3));
  }
  const bool stale = fields.Number(13).value_or(-1) <= 0;
  const auto battery = fields.Number(6);
  if (!stale) {
    record.Number("energy.battery_temperature", battery);
  } else if (battery) {
    record.Changed("energy.battery_temperature left out: it was old");
  }
  fields.Distance("drive.odometer", 8, kTenth);
  fields.Distance("drive.speed", 9, 1);
  // Bit 7 of the first field says that the car is on, which is not that it moves.
  if (const std::optional<double> speed = fields.Number(9)) {
    record.Flag("drive.is_moving", *speed > 0);
    record.Changed("drive.is_moving: as its speed says");
  }
  const auto ambient = fields.Number(11);
  if (fields.Number(14).value_or(-1) > 0) {
    record.Number("climate.outside_temperature", ambient);
  } else if (ambient) {
    record.Changed("climate.outside_temperature left out: it was old");
  }
  record.Number("service.low_voltage", fields.Number(15));
  record.Flag("body.door_rear_left_open", fields.Bit(18, 0));
  record.Flag("body.door_rear_right_open", fields.Bit(18, 1));
  record.Flag("climate.is_active", fields.Bit(18, 7));
  record.Number("climate.cabin_temperature", fields.Number(21));
}

// Pressures of the wheels by their place, psi, with a temperature after each.
void TakeW(MessageFields& fields) {
  RecordMaker& record = fields.record();
  static constexpr std::array<std::string_view, 4> kWheels = {
      "service.tyre_front_right", "service.tyre_rear_right", "service.tyre_front_left",
      "service.tyre_rear_left"};
  const bool fresh = fields.Number(9).value_or(-1) > 0;  // 0: stale, -1: there are none
  for (size_t i = 0; i < kWheels.size(); ++i) {
    const auto pressure = fields.Number(1 + 2 * i);
    if (fresh && pressure && *pressure > 0) {
      record.Scaled(kWheels.at(i), pressure, kKpaPerPsi, "psi to kPa");
    } else if (pressure && *pressure > 0) {
      record.Changed(std::string(kWheels.at(i)) + " left out: it was old");
    }
  }
}

// Names of wheels, then pressures in kPa in their order.
void TakeY(MessageFields& fields) {
  RecordMaker& record = fields.record();
  const std::optional<double> names = fields.Number(1);
  if (!names || *names < 0 || *names > 16) {
    return;
  }
  const auto count = static_cast<size_t>(*names);
  const size_t pressures_at = 2 + count;
  const std::optional<double> pressures = fields.Number(pressures_at);
  if (!pressures || *pressures != *names ||
      fields.Number(pressures_at + 1 + count).value_or(-1) <= 0) {
    record.Changed("service.tyre left out: the car says that they are old, or not valid");
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const std::string name = fields.Text(2 + i);
    const auto pressure = fields.Number(pressures_at + 1 + i);
    const std::string_view signal = name == "fl"   ? "service.tyre_front_left"
                                    : name == "fr" ? "service.tyre_front_right"
                                    : name == "rl" ? "service.tyre_rear_left"
                                    : name == "rr" ? "service.tyre_rear_right"
                                                   : "";
    if (!signal.empty()) {
      record.Number(signal, pressure);
    }
  }
}

void TakeF(MessageFields& fields) {
  RecordMaker& record = fields.record();
  record.Text("link.software", fields.Text(1));
  const std::optional<double> quality = fields.Number(3);
  constexpr double kQualityMax = 31;
  if (quality && *quality >= 0 && *quality <= kQualityMax) {
    record.Number("link.signal", -113 + 2 * *quality);
    record.Changed("link.signal: signal quality to dBm");
  }
  record.Text("link.network", fields.Text(6));
  record.Number("service.service_distance", fields.Number(7));
}

}  // namespace

bool TakeOvmsMessage(const OvmsMessage& message, RecordMaker& record,
                     std::map<std::string, uint64_t>& not_kept) {
  MessageFields fields(message, record);
  bool is_state = true;
  if (message.code == 'S') {
    TakeS(fields);
  } else if (message.code == 'L') {
    TakeL(fields);
  } else if (message.code == 'D') {
    TakeD(fields);
  } else if (message.code == 'W') {
    TakeW(fields);
  } else if (message.code == 'Y') {
    TakeY(fields);
  } else if (message.code == 'F') {
    TakeF(fields);
  } else {
    is_state = false;
  }
  fields.CountRest(not_kept);
  return is_state;
}

}  // namespace latchkey::legacy
