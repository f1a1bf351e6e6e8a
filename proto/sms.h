// What the server sends to a car by SMS: a word that wakes it, or a whole signed command. At most
// 140 bytes of 8-bit data (3GPP TS 23.040, TP-UD), so one message of any network. Pure.
//
// No broker checks what comes this way, so the last 16 bytes are an HMAC-SHA256, cut, over
// "latchkey.v1.sms" 00 fleet 00 car 00 and all bytes before it, with the car's relay key, which the
// bridge and the car share. A command carries the phone's signature too: the relay key alone moves
// nothing, a signature alone wakes nobody.
//
//   wake     01 at(6)                                                                    hmac(16)
//   command  02 command_id(16) issued_at(6) lifetime(4) key(8) action signature(64)      hmac(16)
//
// Times are milliseconds since 1970 UTC, lifetime is expires_at - issued_at in milliseconds (0:
// never expires), big-endian; key is the first 8 bytes of what the key id stands for (base64url
// decoded); action is the field of the oneof as it stands in v1.Command, tag included. The car puts
// the Command together again; the phone's signature covers exactly those bytes, so a command fits
// this form only when its bytes are what protobuf's canonical order makes of its fields.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

#include "proto/command.h"
#include "proto/keyring.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kSmsBytesMax = 140;
inline constexpr size_t kRelayKeyBytes = 32;
// A wake older than this, or a command that has expired, wakes nobody.
inline constexpr Duration kWakeAgeMax = std::chrono::hours(24);

struct WakeSms {
  Timestamp at;
};

struct CommandSms {
  KeyId lane;
  std::string wire;  // SignedCommand, as it would stand on command/{lane}
};

std::string MakeWakeSms(const CarRef& ref, Timestamp at, std::string_view relay_key);

// `command` is one that parsed. Error REASON_TOO_LARGE: its arguments do not fit, or its bytes are
// not in canonical order: wake the car instead.
Result<std::string> MakeCommandSms(const Command& command, std::string_view relay_key);

// What came. Errors: REASON_TOO_LARGE, REASON_MALFORMED (neither kind, or short),
// REASON_BAD_SIGNATURE (the HMAC does not fit), REASON_NOT_ON_RING (no key of `ring` begins so).
// The command inside is still to be judged like any other; a wake's age, too.
Result<std::variant<WakeSms, CommandSms>> OpenSms(std::string_view bytes, const CarRef& ref,
                                                  const KeyRing& ring, std::string_view relay_key);

}  // namespace latchkey
