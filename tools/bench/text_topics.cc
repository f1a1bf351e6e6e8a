// Signals as an OVMS module's metrics.
#include "tools/bench/text_topics.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <variant>

namespace latchkey::bench {
namespace {

// Mongoose's unit of writing (MG_TCP_IO_SIZE), a TLS record each.
constexpr size_t kRecordBytesOfModule = 1460;

struct Name {
  std::string_view signal;
  std::string_view metric;
};

// OVMS's metrics.
constexpr auto kNames = std::to_array<Name>({
    {"body.is_locked", "v/e/locked"},
    {"body.door_front_left_open", "v/d/fl"},
    {"body.door_front_right_open", "v/d/fr"},
    {"body.door_rear_left_open", "v/d/rl"},
    {"body.door_rear_right_open", "v/d/rr"},
    {"body.trunk_open", "v/d/trunk"},
    {"body.hood_open", "v/d/hood"},
    {"body.lights_on", "v/e/headlights"},
    {"energy.soc", "v/b/soc"},
    {"energy.range", "v/b/range/est"},
    {"energy.is_plugged", "v/d/cp"},
    {"energy.is_charging", "v/c/charging"},
    {"energy.charge_limit", "v/c/limit/soc"},
    {"energy.time_to_full", "v/c/duration/full"},
    {"energy.voltage", "v/b/voltage"},
    {"energy.current", "v/b/current"},
    {"energy.battery_temperature", "v/b/temp"},
    {"energy.soh", "v/b/soh"},
    {"location.latitude", "v/p/latitude"},
    {"location.longitude", "v/p/longitude"},
    {"location.altitude", "v/p/altitude"},
    {"location.heading", "v/p/direction"},
    {"climate.is_active", "v/e/hvac"},
    {"climate.cabin_temperature", "v/e/cabintemp"},
    {"climate.outside_temperature", "v/e/temp"},
    {"climate.target_temperature", "v/e/cabinsetpoint"},
    {"drive.speed", "v/p/speed"},
    {"drive.odometer", "v/p/odometer"},
    {"drive.gear", "v/e/gear"},
    {"drive.is_moving", "v/e/on"},
    {"drive.throttle", "v/e/throttle"},
    {"drive.acceleration", "v/p/acceleration"},
    {"service.tyre_front_left", "v/t/pressure"},
    {"service.tyre_front_right", "v/t/pressure"},
    {"service.tyre_rear_left", "v/t/pressure"},
    {"service.tyre_rear_right", "v/t/pressure"},
    {"service.low_voltage", "v/b/12v/voltage"},
    {"service.service_distance", "v/e/serv/range"},
    {"link.network", "m/net/provider"},
    {"link.signal", "m/net/sq"},
    {"link.software", "m/version"},
});

constexpr auto kYesOrNo = std::to_array<std::string_view>({
    "_open",
    ".is_locked",
    ".lights_on",
    ".is_plugged",
    ".is_charging",
    ".is_active",
    ".is_moving",
});

std::string Formatted(const char* format, double number) {
  std::array<char, 32> text{};
  const int length = std::snprintf(text.data(), text.size(), format, number);
  return {text.data(), static_cast<size_t>(std::clamp(length, 0, 31))};
}

}  // namespace

std::string TextTopic(std::string_view signal) {
  const auto* const known = std::find_if(
      kNames.begin(), kNames.end(), [signal](const Name& name) { return name.signal == signal; });
  if (known != kNames.end()) {
    return "metric/" + std::string(known->metric);
  }
  std::string own(signal);
  std::replace(own.begin(), own.end(), '.', '/');
  return "metric/x/" + own;
}

std::string TextValue(std::string_view signal, const car::SignalValue& value) {
  if (std::holds_alternative<std::string>(value)) {
    return std::get<std::string>(value);
  }
  const double number = std::get<double>(value);
  if (std::any_of(kYesOrNo.begin(), kYesOrNo.end(),
                  [signal](std::string_view end) { return signal.ends_with(end); })) {
    return number != 0.0 ? "yes" : "no";
  }
  const bool degrees = signal == "location.latitude" || signal == "location.longitude";
  return Formatted(degrees ? "%.6f" : "%g", number);
}

size_t TextTopics::Metric::TextBytes() const {
  size_t bytes = texts.empty() ? 0 : texts.size() - 1;  // the commas between them
  for (const auto& [signal, text] : texts) {
    bytes += text.size();
  }
  return bytes;
}

void TextTopics::Observe(std::string_view signal, const car::SignalValue& value) {
  std::string text = TextValue(signal, value);
  Metric& metric = metrics_[TextTopic(signal)];
  metric.group = std::string(signal.substr(0, signal.find('.')));
  const auto held = metric.texts.find(signal);
  if (held == metric.texts.end()) {
    metric.texts.emplace(std::string(signal), std::move(text));
  } else if (held->second == text) {
    return;
  } else {
    held->second = std::move(text);
  }
  metric.changed = true;
  changed_ = true;
}

LineBytes TextTopics::Say(Instant now, What what) {
  const bool all = what == What::kAll;
  std::vector<PublishSizes> publishes;
  for (const auto& [topic, metric] : metrics_) {
    const auto together = [&metric = metric](const auto& other) {
      return other.second.changed && other.second.group == metric.group;
    };
    const bool goes = all || metric.changed ||
                      (options_.form == TextForm::kWholeGroup &&
                       std::any_of(metrics_.begin(), metrics_.end(), together));
    if (goes) {
      publishes.push_back({options_.prefix.size() + topic.size(), metric.TextBytes(), 0, 0, 4});
    }
  }
  for (auto& [topic, metric] : metrics_) {
    metric.changed = false;
  }
  changed_ = false;
  said_at_ = now;
  spoke_at_ = now;
  all_said_at_ = all ? now : all_said_at_;
  return Flush(publishes, Writer::kOneBuffer, kRecordBytesOfModule);
}

LineBytes TextTopics::Run(Instant now) {
  if (metrics_.empty()) {
    return {};
  }
  if (!std::exchange(begun_, true) || now >= all_said_at_ + options_.all_every) {
    return Say(now, What::kAll);
  }
  if (changed_ && now >= said_at_ + options_.every) {
    return Say(now, What::kChanged);
  }
  if (now >= spoke_at_ + options_.keep_alive) {
    spoke_at_ = now;
    return Ping();
  }
  return {};
}

std::optional<Instant> TextTopics::NextAt() const {
  if (metrics_.empty()) {
    return std::nullopt;
  }
  const Instant next = std::min(all_said_at_ + options_.all_every, spoke_at_ + options_.keep_alive);
  return changed_ ? std::min(next, said_at_ + options_.every) : next;
}

}  // namespace latchkey::bench
