// The two kinds of SMS, byte by byte; what comes is checked in the order sms.h lists its errors.
#include "proto/sms.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "proto/crypto.h"
#include "proto/wire.h"

namespace latchkey {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr std::string_view kDomain = "latchkey.v1.sms";
constexpr char kWake = 1;
constexpr char kCommand = 2;
constexpr size_t kMacBytes = 16;
constexpr size_t kTimeBytes = 6;
constexpr size_t kLifetimeBytes = 4;
constexpr size_t kKeyBytes = 8;
constexpr size_t kIdBytes = 16;
constexpr size_t kWakeBytes = 1 + kTimeBytes + kMacBytes;
// Everything of a command SMS but its action.
constexpr size_t kFrameBytes =
    1 + kIdBytes + kTimeBytes + kLifetimeBytes + kKeyBytes + kSignatureBytes + kMacBytes;

// The fields of a command SMS that are not carried as they stand.
struct Parts {
  CommandId id;
  uint64_t issued_at_ms = 0;
  uint64_t lifetime_ms = 0;  // 0: never expires
  KeyId key_id;
  std::string_view action;     // the field of the oneof, with its tag
  std::string_view signature;  // of the phone
};

std::string BigEndian(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t at = bytes; at > 0; --at) {
    text += static_cast<char>(value >> (8 * (at - 1)) & 0xff);
  }
  return text;
}

// Takes a number off the front of `rest`.
uint64_t TakeNumber(std::string_view& rest, size_t bytes) {
  uint64_t value = 0;
  for (const char c : rest.substr(0, bytes)) {
    value = value << 8 | static_cast<unsigned char>(c);
  }
  rest.remove_prefix(bytes);
  return value;
}

std::string Mac(const CarRef& ref, std::string_view bytes, std::string_view relay_key) {
  LK_ASSERT(relay_key.size() == kRelayKeyBytes);
  std::string covered = ref.fleet.str() + '\0' + ref.car.str() + '\0';
  covered.append(bytes);
  return HmacSha256(relay_key, WithDomain(kDomain, covered)).substr(0, kMacBytes);
}

// The first 8 bytes of what a key id stands for: of its first 11 characters, less two bits.
std::string KeyPrefix(const KeyId& id) {
  const std::optional<std::string> bytes = Base64UrlDecode(id.str().substr(0, 12));
  LK_ASSERT(bytes && bytes->size() > kKeyBytes);
  return bytes->substr(0, kKeyBytes);
}

// Is this exactly one field, with its tag and all its bytes, and none of those before the oneof?
bool IsOneAction(std::string_view field) {
  CodedInputStream input(reinterpret_cast<const uint8_t*>(field.data()),
                         static_cast<int>(field.size()));
  const uint32_t tag = input.ReadTag();
  uint32_t length = 0;
  return WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED &&
         WireFormatLite::GetTagFieldNumber(tag) > v1::Command::kKeyIdFieldNumber &&
         input.ReadVarint32(&length) &&
         length == field.size() - static_cast<size_t>(input.CurrentPosition());
}

// The SignedCommand that these parts are of, in protobuf's canonical order.
std::string Assemble(const CarRef& ref, const Parts& parts) {
  v1::Command body;
  body.set_fleet(ref.fleet.str());
  body.set_car(ref.car.str());
  body.set_command_id(parts.id.ToBytes());
  body.set_issued_at_ms(parts.issued_at_ms);
  body.set_expires_at_ms(parts.lifetime_ms == 0 ? 0 : parts.issued_at_ms + parts.lifetime_ms);
  body.set_key_id(parts.key_id.str());
  v1::SignedCommand outer;
  outer.set_command(body.SerializeAsString().append(parts.action));
  outer.set_signature(std::string(parts.signature));
  return outer.SerializeAsString();
}

tl::unexpected<Error> TooLarge() {
  return Fail(v1::REASON_TOO_LARGE,
              "the command does not fit into one SMS of 140 bytes: wake the car instead");
}

tl::unexpected<Error> Malformed(std::string_view what) {
  return Fail(v1::REASON_MALFORMED, "an SMS " + std::string(what) + ": ignored");
}

// The command of a message whose HMAC fits.
Result<CommandSms> OpenCommand(std::string_view rest, const CarRef& ref, const KeyRing& ring) {
  Parts parts;
  parts.id = *CommandId::FromBytes(rest.substr(0, kIdBytes));
  rest.remove_prefix(kIdBytes);
  parts.issued_at_ms = TakeNumber(rest, kTimeBytes);
  parts.lifetime_ms = TakeNumber(rest, kLifetimeBytes);
  const std::string_view prefix = rest.substr(0, kKeyBytes);
  rest.remove_prefix(kKeyBytes);
  parts.action = rest.substr(0, rest.size() - kSignatureBytes);
  parts.signature = rest.substr(parts.action.size());
  if (!IsOneAction(parts.action)) {
    return Malformed("holds a command without an action");
  }
  const auto key = std::find_if(ring.keys.begin(), ring.keys.end(), [prefix](const RingKey& each) {
    return KeyPrefix(each.id) == prefix;
  });
  if (key == ring.keys.end()) {
    return Fail(v1::REASON_NOT_ON_RING,
                "an SMS holds a command of a key that is not on the ring of car " + ref.ToText() +
                    ": ignored");
  }
  parts.key_id = key->id;
  return CommandSms{key->id, Assemble(ref, parts)};
}

}  // namespace

std::string MakeWakeSms(const CarRef& ref, Timestamp at, std::string_view relay_key) {
  LK_ASSERT(at.ms >= 0 && static_cast<uint64_t>(at.ms) <= kTimestampMsMax);
  const std::string bytes = kWake + BigEndian(static_cast<uint64_t>(at.ms), kTimeBytes);
  return bytes + Mac(ref, bytes, relay_key);
}

Result<std::string> MakeCommandSms(const Command& command, std::string_view relay_key) {
  const std::optional<v1::SignedCommand> outer =
      FromWire<v1::SignedCommand>(command.wire, kCommandBytesMax);
  LK_ASSERT(outer && outer->signature().size() == kSignatureBytes);
  const Duration life = command.expires_at ? *command.expires_at - command.issued_at : Duration(0);
  if (life.count() < 0 || life.count() > int64_t{std::numeric_limits<uint32_t>::max()}) {
    return TooLarge();
  }
  Parts parts{command.id,
              static_cast<uint64_t>(command.issued_at.ms),
              static_cast<uint64_t>(life.count()),
              command.key_id,
              {},
              outer->signature()};
  // Everything before the action, as long as it would be in canonical order.
  v1::SignedCommand head;
  head.ParseFromString(Assemble(command.ref, parts));
  const std::string_view body = outer->command();
  if (body.size() < head.command().size()) {
    return TooLarge();
  }
  parts.action = body.substr(head.command().size());
  if (parts.action.size() + kFrameBytes > kSmsBytesMax || !IsOneAction(parts.action) ||
      Assemble(command.ref, parts) != command.wire) {
    return TooLarge();
  }
  std::string bytes = kCommand + command.id.ToBytes() + BigEndian(parts.issued_at_ms, kTimeBytes) +
                      BigEndian(parts.lifetime_ms, kLifetimeBytes) + KeyPrefix(command.key_id);
  bytes.append(parts.action).append(parts.signature);
  return bytes + Mac(command.ref, bytes, relay_key);
}

Result<std::variant<WakeSms, CommandSms>> OpenSms(std::string_view bytes, const CarRef& ref,
                                                  const KeyRing& ring, std::string_view relay_key) {
  using Opened = std::variant<WakeSms, CommandSms>;
  if (bytes.size() > kSmsBytesMax) {
    return Fail(v1::REASON_TOO_LARGE, "an SMS is larger than 140 bytes: ignored");
  }
  const bool wake = bytes.size() == kWakeBytes && bytes.front() == kWake;
  const bool command = bytes.size() > kFrameBytes && bytes.front() == kCommand;
  if (!wake && !command) {
    return Malformed("is neither a wake nor a command");
  }
  std::string_view rest = bytes.substr(0, bytes.size() - kMacBytes);
  if (!EqualSecrets(Mac(ref, rest, relay_key), bytes.substr(rest.size()))) {
    return Fail(v1::REASON_BAD_SIGNATURE,
                "an SMS was not written with the relay key of car " + ref.ToText() +
                    ": ignored; give the car its key again if this is repeated");
  }
  rest.remove_prefix(1);
  if (wake) {
    const std::optional<Timestamp> at = TimeFromWire(TakeNumber(rest, kTimeBytes));
    return at ? Result<Opened>(WakeSms{*at}) : Malformed("wakes after the year 9999");
  }
  LK_TRY(CommandSms opened, OpenCommand(rest, ref, ring));
  return Opened(std::move(opened));
}

}  // namespace latchkey
