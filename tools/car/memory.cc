// The car's memory as bytes and back.
#include "tools/car/memory.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "proto/crypto.h"
#include "proto/wire.h"
#include "tools/car/memory.pb.h"

namespace latchkey::car {
namespace {

constexpr std::string_view kMagic = "LKCAR1\n";
constexpr size_t kMemoryBytesMax = size_t{1} << 20;

uint64_t ToWire(Timestamp at) {
  return static_cast<uint64_t>(at.ms);
}

tl::unexpected<Error> Broken(const CarRef& ref, std::string_view what) {
  return Fail(v1::REASON_MALFORMED, "the memory of car " + ref.ToText() + " " + std::string(what) +
                                        ": the car does not start; restore its memory.bin, or add "
                                        "the car again under another name");
}

Result<KeyRing> LoadRing(const v1::KeyRing& wire, const CarRef& ref) {
  const auto written_at = TimeFromWire(wire.written_at_ms());
  if (wire.version() == 0 || !written_at || wire.keys_size() > static_cast<int>(kRingKeysMax)) {
    return Broken(ref, "has an impossible ring");
  }
  if (wire.fleet() != ref.fleet.str() || wire.car() != ref.car.str()) {
    return Fail(v1::REASON_WRONG_CAR, "the memory of car " + ref.ToText() + " is of " +
                                          wire.fleet() + "/" + wire.car() +
                                          ": the car does not start");
  }
  KeyRing ring{ref, wire.version(), *written_at, {}};
  for (const v1::Key& key : wire.keys()) {
    LK_TRY(RingKey checked, KeyFromWire(key));
    ring.keys.push_back(std::move(checked));
  }
  return ring;
}

std::optional<Remembered> LoadCommand(const stored::Command& wire) {
  const auto key = KeyId::Parse(wire.key_id());
  const auto id = CommandId::FromBytes(wire.command_id());
  const auto issued_at = TimeFromWire(wire.issued_at_ms());
  const auto expires_at = TimeFromWire(wire.expires_at_ms());
  const auto at = TimeFromWire(wire.at_ms());
  if (!key || !id || !issued_at || !expires_at || !at || !v1::ReceiptState_IsValid(wire.state()) ||
      !v1::Reason_IsValid(wire.reason())) {
    return std::nullopt;
  }
  Remembered command{*key, *id, *issued_at, std::nullopt, {}, {}, *at};
  command.state = static_cast<v1::ReceiptState>(wire.state());
  command.reason = static_cast<Reason>(wire.reason());
  command.told = wire.told();
  if (expires_at->ms != 0) {
    command.expires_at = *expires_at;
  }
  return command;
}

std::optional<RefusedCommand> LoadRefused(const stored::Refused& wire) {
  const auto key = KeyId::Parse(wire.key_id());
  const auto id = CommandId::FromBytes(wire.command_id());
  const auto forget_at = TimeFromWire(wire.forget_at_ms());
  const auto at = TimeFromWire(wire.at_ms());
  if (!key || !id || !forget_at || !at || !v1::Reason_IsValid(wire.reason())) {
    return std::nullopt;
  }
  return RefusedCommand{*key, *id, wire.digest(), *forget_at, static_cast<Reason>(wire.reason()),
                        *at};
}

// The parts of a memory that are about what was refused and who is to be told.
void PutRefused(const Memory& memory, stored::Memory& wire) {
  for (const RefusedCommand& command : memory.refused) {
    stored::Refused& out = *wire.add_refused();
    out.set_key_id(command.key.str());
    out.set_command_id(command.id.ToBytes());
    out.set_digest(command.digest);
    out.set_forget_at_ms(ToWire(command.forget_at));
    out.set_reason(command.reason);
    out.set_at_ms(ToWire(command.at));
  }
  for (const KeyId& key : memory.to_tell) {
    wire.add_to_tell(key.str());
  }
}

// Wakes and schedules.
void PutSchedules(const Memory& memory, stored::Memory& wire) {
  wire.set_departures(memory.departures);
  wire.set_charge_windows(memory.charge_windows);
  wire.set_last_wake_ms(ToWire(memory.last_wake));
  wire.set_departures_set_at_ms(ToWire(memory.departures_set_at));
  wire.set_departures_handled_ms(ToWire(memory.departures_handled));
  wire.set_charge_plan(static_cast<uint32_t>(memory.charge_plan));
  wire.set_climate_ends_at_ms(memory.climate_ends_at ? ToWire(*memory.climate_ends_at) : 0);
}

Result<void> TakeSchedules(const stored::Memory& wire, const CarRef& ref, Memory& memory) {
  const auto last_wake = TimeFromWire(wire.last_wake_ms());
  const auto set_at = TimeFromWire(wire.departures_set_at_ms());
  const auto handled = TimeFromWire(wire.departures_handled_ms());
  const auto climate_ends_at = TimeFromWire(wire.climate_ends_at_ms());
  if (!last_wake || !set_at || !handled || !climate_ends_at ||
      wire.charge_plan() > static_cast<uint32_t>(ChargePlan::kWait)) {
    return Broken(ref, "has an impossible schedule");
  }
  memory.departures = wire.departures();
  memory.charge_windows = wire.charge_windows();
  memory.last_wake = *last_wake;
  memory.departures_set_at = *set_at;
  memory.departures_handled = *handled;
  memory.charge_plan = static_cast<ChargePlan>(wire.charge_plan());
  if (climate_ends_at->ms != 0) {
    memory.climate_ends_at = *climate_ends_at;
  }
  return {};
}

void PutInvitation(const Memory& memory, stored::Memory& wire) {
  if (memory.invitation) {
    stored::Invitation& out = *wire.mutable_invitation();
    out.set_offer(ToQrText(memory.invitation->offer));
    out.set_role(memory.invitation->role);
    out.set_ends_at_ms(ToWire(memory.invitation->ends_at));
    out.set_tries(static_cast<uint32_t>(memory.invitation->tries));
  }
}

Result<void> TakeInvitation(const stored::Memory& wire, const CarRef& ref, Memory& memory) {
  if (!wire.has_invitation()) {
    return {};
  }
  const stored::Invitation& stored = wire.invitation();
  const Result<PairingOffer> offer = ParseQrText(stored.offer());
  const auto ends_at = TimeFromWire(stored.ends_at_ms());
  if (!offer || offer->ref != ref || !ends_at || !v1::Role_IsValid(stored.role()) ||
      stored.role() == v1::ROLE_UNSPECIFIED || stored.tries() >= kOfferTriesMax) {
    return Broken(ref, "has an impossible invitation");
  }
  memory.invitation = Invitation{*offer, static_cast<v1::Role>(stored.role()), *ends_at,
                                 static_cast<int>(stored.tries())};
  return {};
}

Result<void> TakeRefused(const stored::Memory& wire, const CarRef& ref, Memory& memory) {
  for (const stored::Refused& each : wire.refused()) {
    const auto command = LoadRefused(each);
    if (!command) {
      return Broken(ref, "has an impossible refusal");
    }
    memory.refused.push_back(*command);
  }
  for (const std::string& each : wire.to_tell()) {
    const auto key = KeyId::Parse(each);
    if (!key) {
      return Broken(ref, "has an impossible key to tell");
    }
    memory.to_tell.insert(*key);
  }
  return {};
}

}  // namespace

Memory NewMemory(const CarRef& ref, Timestamp now) {
  Memory memory;
  memory.ring = {ref, 1, now, {}};
  memory.time_floor = now;
  return memory;
}

void ResetMemory(Memory& memory, Timestamp now) {
  for (const RingKey& key : memory.ring.keys) {
    memory.to_tell.insert(key.id);
  }
  memory.ring.keys.clear();
  memory.ring.version += 1;
  memory.ring.written_at = std::max(now, memory.time_floor);
  memory.privacy = false;
  memory.settings.clear();
  memory.apps.clear();
  memory.departures.clear();
  memory.charge_windows.clear();
  memory.departures_set_at = {};
  memory.charge_plan = ChargePlan::kFree;
  memory.climate_ends_at.reset();
  memory.destination.clear();
  memory.invitation.reset();
}

std::string SerializeMemory(const Memory& memory) {
  stored::Memory wire;
  wire.mutable_ring()->set_fleet(memory.ring.ref.fleet.str());
  wire.mutable_ring()->set_car(memory.ring.ref.car.str());
  wire.mutable_ring()->set_version(memory.ring.version);
  wire.mutable_ring()->set_written_at_ms(ToWire(memory.ring.written_at));
  for (const RingKey& key : memory.ring.keys) {
    *wire.mutable_ring()->add_keys() = KeyToWire(key);
  }
  wire.set_time_floor_ms(ToWire(memory.time_floor));
  for (const Remembered& command : memory.commands) {
    stored::Command& out = *wire.add_commands();
    out.set_key_id(command.key.str());
    out.set_command_id(command.id.ToBytes());
    out.set_issued_at_ms(ToWire(command.issued_at));
    out.set_expires_at_ms(command.expires_at ? ToWire(*command.expires_at) : 0);
    out.set_state(command.state);
    out.set_reason(command.reason);
    out.set_at_ms(ToWire(command.at));
    out.set_told(command.told);
  }
  for (const auto& [slot, issued_at] : memory.slots) {
    stored::SlotUse& out = *wire.add_slots();
    out.set_slot(slot);
    out.set_issued_at_ms(ToWire(issued_at));
  }
  wire.set_unlimited_floor_ms(ToWire(memory.unlimited_floor));
  wire.set_sequence_ceiling(memory.sequence_ceiling);
  wire.set_privacy(memory.privacy);
  for (const auto& [signal, setting] : memory.settings) {
    stored::Setting& out = *wire.add_settings();
    out.set_signal(signal);
    out.set_value(setting.value);
    out.set_observed_at_ms(ToWire(setting.observed_at));
  }
  for (const auto& [app_id, app] : memory.apps) {
    stored::InstalledApp& out = *wire.add_apps();
    out.set_app_id(app_id);
    out.set_version(app.version);
    out.set_observed_at_ms(ToWire(app.observed_at));
  }
  wire.set_destination(memory.destination);
  PutSchedules(memory, wire);
  PutRefused(memory, wire);
  PutInvitation(memory, wire);
  const std::string payload = wire.SerializeAsString();
  return std::string(kMagic) + Sha256(payload) + payload;
}

Result<Memory> LoadMemory(std::string_view bytes, const CarRef& ref) {
  const size_t header = kMagic.size() + kDigestBytes;
  if (bytes.size() < header || !bytes.starts_with(kMagic)) {
    return Broken(ref, "does not begin as one");
  }
  const std::string_view payload = bytes.substr(header);
  if (Sha256(payload) != bytes.substr(kMagic.size(), kDigestBytes)) {
    return Broken(ref, "does not fit its checksum");
  }
  const auto wire = FromWire<stored::Memory>(payload, kMemoryBytesMax);
  const auto time_floor = wire ? TimeFromWire(wire->time_floor_ms()) : std::nullopt;
  const auto unlimited_floor = wire ? TimeFromWire(wire->unlimited_floor_ms()) : std::nullopt;
  if (!time_floor || !unlimited_floor || wire->sequence_ceiling() == 0) {
    return Broken(ref, "does not parse");
  }
  Memory memory;
  LK_TRY(memory.ring, LoadRing(wire->ring(), ref));
  memory.time_floor = *time_floor;
  memory.unlimited_floor = *unlimited_floor;
  memory.sequence_ceiling = wire->sequence_ceiling();
  memory.privacy = wire->privacy();
  for (const stored::Command& each : wire->commands()) {
    const auto command = LoadCommand(each);
    if (!command) {
      return Broken(ref, "has an impossible command");
    }
    memory.commands.push_back(*command);
  }
  for (const stored::SlotUse& each : wire->slots()) {
    memory.slots[each.slot()] = TimeFromWire(each.issued_at_ms()).value_or(Timestamp{});
  }
  for (const stored::Setting& each : wire->settings()) {
    if (!std::isfinite(each.value())) {
      return Broken(ref, "has an impossible setting");
    }
    memory.settings[each.signal()] = {each.value(),
                                      TimeFromWire(each.observed_at_ms()).value_or(Timestamp{1})};
  }
  for (const stored::InstalledApp& each : wire->apps()) {
    memory.apps[each.app_id()] = {each.version(),
                                  TimeFromWire(each.observed_at_ms()).value_or(Timestamp{1})};
  }
  memory.destination = wire->destination();
  LK_CHECK(TakeSchedules(*wire, ref, memory));
  LK_CHECK(TakeRefused(*wire, ref, memory));
  LK_CHECK(TakeInvitation(*wire, ref, memory));
  return memory;
}

}  // namespace latchkey::car
