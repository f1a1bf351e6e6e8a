// What the reference car keeps across reboots, and its form on disk:
//   "LKCAR1\n" SHA-256(payload) payload      payload = latchkey.car.stored.Memory (memory.proto)
// Broken bytes are an error and never an empty ring: a car that forgot its ring would let the next
// best phone in, and would publish a version that everybody else refuses.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proto/keyring.h"
#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::car {

// A command the car has begun, or that was taken back before (CANCELLED). `state` is DELIVERED
// while it runs, then final.
struct Remembered {
  KeyId key;
  CommandId id;
  Timestamp issued_at;
  std::optional<Timestamp> expires_at;
  v1::ReceiptState state = v1::RECEIPT_STATE_DELIVERED;
  Reason reason = v1::REASON_UNSPECIFIED;
  Timestamp at;
  bool told = false;  // the broker has the final receipt
  bool operator==(const Remembered&) const = default;
};

// A command the car refused and that could otherwise be obeyed when its bytes come again: after its
// key was added, its hours began, the clock was set. What was said of it was final.
struct RefusedCommand {
  KeyId key;
  CommandId id;
  std::string digest;  // first 16 bytes of the SHA-256 of the signed bytes
  Timestamp forget_at;
  Reason reason = v1::REASON_UNSPECIFIED;
  Timestamp at;
  bool operator==(const RefusedCommand&) const = default;
};

// A signal that a command has set; yes is 1.
struct Setting {
  double value = 0;
  Timestamp observed_at;
  bool operator==(const Setting&) const = default;
};

struct InstalledApp {
  std::string version;
  Timestamp observed_at;
  bool operator==(const InstalledApp&) const = default;
};

// What the car does by its charging windows.
enum class ChargePlan : uint8_t {
  kFree,    // there are none
  kCharge,  // it is plugged, inside a window
  kWait,    // it is not
};

// A pairing offer that was printed for the car's owner before anybody sat in the car. It works
// once, and the person in the car is asked as ever.
struct Invitation {
  PairingOffer offer;
  v1::Role role = v1::ROLE_OWNER;
  Timestamp ends_at;
  int tries = 0;  // wrong proofs
  bool operator==(const Invitation&) const = default;
};

struct Memory {
  KeyRing ring;
  Timestamp time_floor;
  std::vector<Remembered> commands;
  std::map<int, Timestamp> slots;  // v1::Slot -> issued_at of the last executed
  Timestamp unlimited_floor;       // commands without expiry issued up to here are forgotten
  uint64_t sequence_ceiling = 1;   // no state message has carried this or more
  bool privacy = false;
  std::map<std::string, Setting> settings;   // by signal
  std::map<std::string, InstalledApp> apps;  // by app id
  std::string departures;                    // v1::DepartureSchedule
  std::string charge_windows;                // v1::ChargeSchedule
  std::string destination;                   // v1::SendDestination
  std::vector<RefusedCommand> refused;
  std::set<KeyId> to_tell;  // keys whose place on the ring others changed, and who were not told
  Timestamp last_wake;      // of the last wake SMS that was taken; an older one is a repeat
  Timestamp departures_set_at;                 // when the departures were replaced
  Timestamp departures_handled;                // departures up to here were preconditioned for
  ChargePlan charge_plan = ChargePlan::kFree;  // last acted on
  std::optional<Timestamp> climate_ends_at;    // climate runs until then
  std::optional<Invitation> invitation;        // nullopt: none, or it was used
  bool operator==(const Memory&) const = default;
};

// Memory of a car that leaves the factory: ring version 1, no key.
Memory NewMemory(const CarRef& ref, Timestamp now);

// What a factory reset leaves: an empty ring of the next version, no settings, apps, schedules,
// destination, privacy or invitation; all former keys are to be told. Time floor, remembered
// commands, slots and sequences stay, so that nothing recorded before can be played back after.
// Ring versions only grow.
void ResetMemory(Memory& memory, Timestamp now);

std::string SerializeMemory(const Memory& memory);

// Errors: REASON_MALFORMED (not of the form above, checksum wrong, a value that cannot be),
// REASON_WRONG_CAR (memory of another car).
Result<Memory> LoadMemory(std::string_view bytes, const CarRef& ref);

}  // namespace latchkey::car
