// One function per family of actions.
#include "tools/car/actions.h"

#include <algorithm>
#include <utility>

#include "proto/state.h"

namespace latchkey::car {
namespace {

// Sets a signal by command: it is remembered, and overrides what was observed before.
void Put(std::string_view signal, double value, Memory& memory, SignalBoard& board, Timestamp now) {
  memory.settings[std::string(signal)] = {value, now};
  board.Set(signal, value, now);
}

bool MayKeepKeys(const RingKey& key, Timestamp now) {
  return (key.permissions & Bit(v1::PERMISSION_KEYS)) != 0 &&
         (key.not_after.ms == 0 || key.not_after > now);
}

// Whose place an add_key or remove_key changes.
KeyId TouchedKey(const Command& command) {
  if (command.body.has_add_key()) {
    const auto added = KeyFromWire(command.body.add_key().key());
    LK_ASSERT(added.has_value());
    return added->id;
  }
  return KeyId::Parse(command.body.remove_key().key_id()).value_or(KeyId());
}

// The ring as it would be after an add_key or remove_key.
std::vector<RingKey> KeysAfter(const Command& command, const KeyRing& ring) {
  std::vector<RingKey> keys = ring.keys;
  if (command.body.has_add_key()) {
    auto added = KeyFromWire(command.body.add_key().key());
    LK_ASSERT(added.has_value());
    std::erase_if(keys, [&](const RingKey& key) { return key.id == added->id; });
    keys.push_back(std::move(*added));
  } else {
    std::erase_if(keys, [&](const RingKey& key) {
      return key.id.str() == command.body.remove_key().key_id();
    });
  }
  return keys;
}

Verdict CheckKeys(const Command& command, const KeyRing& ring, Timestamp now) {
  const std::vector<RingKey> after = KeysAfter(command, ring);
  if (after.size() > kRingKeysMax) {
    return Verdict::Refuse(v1::REASON_FULL);
  }
  const bool kept = std::any_of(after.begin(), after.end(),
                                [now](const RingKey& key) { return MayKeepKeys(key, now); });
  return kept ? Verdict::Allow() : Verdict::Refuse(v1::REASON_NOT_ALLOWED);
}

void ChangeKeys(const Command& command, Memory& memory, Timestamp now, ActionResult& result) {
  std::vector<RingKey> after = KeysAfter(command, memory.ring);
  if (after == memory.ring.keys) {
    return;
  }
  const KeyId touched = TouchedKey(command);
  if (touched != command.key_id) {
    result.keys_changed.push_back(touched);
  }
  memory.ring.keys = std::move(after);
  memory.ring.version += 1;
  memory.ring.written_at = now;
  result.ring_changed = true;
}

void ChangeApps(const Command& command, Memory& memory, SignalBoard& board, Timestamp now) {
  if (command.body.has_install_app()) {
    const v1::InstallApp& app = command.body.install_app();
    memory.apps[app.app_id()] = {app.version(), now};
  } else {
    memory.apps.erase(command.body.remove_app().app_id());
  }
  std::map<std::string, SignalBoard::App> apps;
  for (const auto& [app_id, app] : memory.apps) {
    apps[app_id] = {app.version, app.observed_at};
  }
  board.SetApps(std::move(apps), now);
}

void Charge(const Command& command, Memory& memory, SignalBoard& board, Timestamp now,
            ActionResult& result) {
  if (command.body.has_charge_limit()) {
    Put("energy.charge_limit", command.body.charge_limit().percent(), memory, board, now);
    return;
  }
  if (command.body.has_charge_stop()) {
    Put("energy.is_charging", 0, memory, board, now);
    return;
  }
  const auto plugged = board.Find("energy.is_plugged");
  if (!plugged || std::get<double>(*plugged) == 0.0) {
    result.reason = v1::REASON_CAR_FAILED;  // no cable
    return;
  }
  Put("energy.is_charging", 1, memory, board, now);
}

void Climate(const Command& command, Memory& memory, SignalBoard& board, Timestamp now) {
  const bool on = command.body.has_climate_on();
  Put("climate.is_active", on ? 1 : 0, memory, board, now);
  if (!on) {
    memory.climate_ends_at.reset();
    return;
  }
  const v1::ClimateOn& climate = command.body.climate_on();
  if (climate.target_temperature() != 0.0F) {
    Put("climate.target_temperature", static_cast<double>(climate.target_temperature()), memory,
        board, now);
  }
  constexpr uint32_t kMinutesDefault = 30;
  const uint32_t minutes = climate.minutes() == 0 ? kMinutesDefault : climate.minutes();
  memory.climate_ends_at = now + std::chrono::minutes(minutes);
}

// Schedules, destination, privacy: kept, and nothing else.
void Keep(const Command& command, Memory& memory, Timestamp now) {
  if (command.body.has_departure_schedule()) {
    memory.departures_set_at = now;
    memory.departures = command.body.departure_schedule().SerializeAsString();
  } else if (command.body.has_charge_schedule()) {
    memory.charge_windows = command.body.charge_schedule().SerializeAsString();
  } else if (command.body.has_send_destination()) {
    memory.destination = command.body.send_destination().SerializeAsString();
  } else if (command.body.has_privacy_mode()) {
    memory.privacy = command.body.privacy_mode().enabled();
  }
}

std::string Describe(const Command& command) {
  std::string text(command.action->name);
  if (command.body.has_send_destination()) {
    text += " " + std::to_string(command.body.send_destination().legs_size()) + " legs";
  } else if (command.body.has_charge_limit()) {
    text += " " + std::to_string(command.body.charge_limit().percent()) + " %";
  } else if (command.body.has_install_app()) {
    text += " " + command.body.install_app().app_id();
  } else if (command.body.has_remove_app()) {
    text += " " + command.body.remove_app().app_id();
  } else if (command.body.has_privacy_mode()) {
    text += command.body.privacy_mode().enabled() ? " on" : " off";
  }
  return text;
}

}  // namespace

Verdict CheckAction(const Command& command, const Memory& memory, Timestamp now) {
  const v1::Command& body = command.body;
  if (body.has_add_key() || body.has_remove_key()) {
    return CheckKeys(command, memory.ring, now);
  }
  const bool more = body.has_install_app() && !memory.apps.contains(body.install_app().app_id());
  if (more && memory.apps.size() >= static_cast<size_t>(kAppsMax)) {
    return Verdict::Refuse(v1::REASON_FULL);
  }
  return Verdict::Allow();
}

ActionResult Perform(const Command& command, Memory& memory, SignalBoard& board, Timestamp now) {
  const v1::Command& body = command.body;
  ActionResult result;
  result.text = Describe(command);
  result.hide_location = body.has_privacy_mode() && body.privacy_mode().enabled();
  if (body.has_lock() || body.has_unlock()) {
    Put("body.is_locked", body.has_lock() ? 1 : 0, memory, board, now);
  } else if (body.has_windows_up() || body.has_windows_down()) {
    Put("body.window_open_max", body.has_windows_up() ? 0 : 100, memory, board, now);
  } else if (body.has_climate_on() || body.has_climate_off()) {
    Climate(command, memory, board, now);
  } else if (body.has_charge_start() || body.has_charge_stop() || body.has_charge_limit()) {
    Charge(command, memory, board, now, result);
  } else if (body.has_install_app() || body.has_remove_app()) {
    ChangeApps(command, memory, board, now);
  } else if (body.has_add_key() || body.has_remove_key()) {
    ChangeKeys(command, memory, now, result);
  } else {
    Keep(command, memory, now);
    result.publish_location = body.has_find();
    result.publish_all = body.has_refresh();
    result.restart = body.has_restart_telematics();
  }
  return result;
}

}  // namespace latchkey::car
