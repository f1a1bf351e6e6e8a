// SignedCommands. The lane is the one the input names, so that its arguments are reached.
#include "latchkey/v1/command.pb.h"
#include "proto/command.h"
#include "proto/wire.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

KeyId LaneOf(std::string_view input) {
  const auto outer = FromWire<v1::SignedCommand>(input, kCommandBytesMax);
  const auto body =
      outer ? FromWire<v1::Command>(outer->command(), kCommandBytesMax) : std::nullopt;
  const auto lane = body ? KeyId::Parse(body->key_id()) : std::nullopt;
  return lane.value_or(KeyId());
}

}  // namespace

void Try(std::string_view input) {
  constexpr Timestamp kNow{1'700'000'000'000};
  static const CarRef ref{FleetId::Parse("f1").value(), CarId::Parse("car1").value()};
  const Result<std::optional<Timestamp>> expiry = ExpiryOf(input);
  const Result<Command> command = ParseCommand(input, ref, LaneOf(input));
  if (!command) {
    return;
  }
  const bool needs_expiry = command->action->lifetime_max.count() != 0;
  if (command->expires_at || !needs_expiry) {
    Require(expiry.has_value() && *expiry == command->expires_at,
            "the cheap expiry is the parsed one");
  } else {
    Require(!expiry.has_value(), "no expiry where one is needed is refused");
  }
  Require(command->wire == input, "the bytes are kept as carried");
  const KeyRing ring{ref, 1, kNow, {}};
  Require(!CheckAuthority(*command, ring, kNow).allowed(), "an empty ring allows nothing");
  if (CheckTime(*command, kNow).allowed() && needs_expiry) {
    Require(*command->expires_at > kNow, "what is in time is not expired");
    Require(*command->expires_at <= kNow + kClockSkewMax + command->action->lifetime_max,
            "and does not live too long");
  }
}

}  // namespace latchkey::fuzz
