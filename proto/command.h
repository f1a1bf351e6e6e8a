// Commands: the action table read from the schema's options, sealing, opening, checking.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "latchkey/v1/command.pb.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kCommandBytesMax = 4096;
inline constexpr Duration kClockSkewMax =
    std::chrono::minutes(5);  // issued_at may lie this far ahead

// One row of the action table.
struct ActionFacts {
  int field = 0;          // field number in v1.Command
  std::string_view name;  // "flash_lights"
  v1::CommandClass command_class = v1::COMMAND_CLASS_UNSPECIFIED;
  v1::Permission permission = v1::PERMISSION_UNSPECIFIED;
  v1::Slot slot = v1::SLOT_UNSPECIFIED;
  Duration lifetime_max{0};  // 0: no limit (remove_key)
};

// All actions, by field number, read from the options of command.proto.
const std::vector<ActionFacts>& ActionTable();
// nullptr: no such action.
const ActionFacts* FindAction(int field);
const ActionFacts* FindAction(std::string_view name);

// A command that parsed, with its names checked; not yet authorised.
struct Command {
  CarRef ref;
  CommandId id;
  KeyId key_id;
  Timestamp issued_at;
  std::optional<Timestamp> expires_at;  // nullopt: remove_key without limit
  const ActionFacts* action = nullptr;  // never null
  v1::Command body;                     // action's arguments
  std::string wire;                     // the SignedCommand as carried
};

// What a phone asks for; Seal turns it into bytes.
struct CommandRequest {
  CarRef ref;
  CommandId id;
  Timestamp issued_at;
  std::optional<Timestamp> expires_at;
  v1::Command action;  // only the oneof is read
};

// Serialized SignedCommand. Errors: REASON_UNKNOWN_ACTION (no action), REASON_LIFETIME_TOO_LONG,
// REASON_IMPOSSIBLE_VALUE (an argument out of the range the schema states).
Result<std::string> SealCommand(const CommandRequest& request, const PrivateKey& key);

// Parses SignedCommand bytes; checks form, names, action, arguments, and that the command is for
// the car and lane of its topic. Does not check signature, ring or time. Errors: REASON_TOO_LARGE,
// REASON_MALFORMED, REASON_UNKNOWN_ACTION, REASON_IMPOSSIBLE_VALUE, REASON_WRONG_CAR,
// REASON_WRONG_LANE.
Result<Command> ParseCommand(std::string_view bytes, const CarRef& ref, const KeyId& lane);

// Only expires_at of SignedCommand bytes, cheaply, for checks at each delivery. nullopt inside:
// never expires (remove_key). Error REASON_MALFORMED.
Result<std::optional<Timestamp>> ExpiryOf(std::string_view bytes);

// Time alone: REASON_EXPIRED (now >= expires_at), REASON_LIFETIME_TOO_LONG (longer than its class
// may live, or issued more than kClockSkewMax in the future, or no expiry where one is needed).
Verdict CheckTime(const Command& command, Timestamp now);

// Ring, permission, window, signature. `ring` is the checker's copy. Of keys: nobody gives a
// permission they do not have, and nobody replaces or removes a key with a permission they do not
// have. REASON_NOT_ON_RING, REASON_OUTSIDE_WINDOW, REASON_NOT_PERMITTED, REASON_BAD_SIGNATURE.
Verdict CheckAuthority(const Command& command, const KeyRing& ring, Timestamp now);

}  // namespace latchkey
