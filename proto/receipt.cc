// Receipts: who may say what, sealing and opening; checks in the order receipt.h lists their
// errors.
#include "proto/receipt.h"

#include <algorithm>
#include <array>
#include <utility>

#include "proto/reason.h"
#include "proto/wire.h"

namespace latchkey {
namespace {

constexpr std::string_view kDomain = "latchkey.v1.receipt";
constexpr size_t kTextBytesMax = 256;

struct StateFacts {
  v1::ReceiptState state;
  std::string_view text;
  bool is_final;
  bool by_car;
  bool by_bridge;
};

constexpr std::array<StateFacts, 8> kStates = {{
    {v1::RECEIPT_STATE_HELD, "HELD", false, false, true},
    {v1::RECEIPT_STATE_DELIVERED, "DELIVERED", false, true, false},
    {v1::RECEIPT_STATE_DONE, "DONE", true, true, false},
    {v1::RECEIPT_STATE_FAILED, "FAILED", true, true, false},
    {v1::RECEIPT_STATE_REFUSED, "REFUSED", true, true, true},
    {v1::RECEIPT_STATE_EXPIRED, "EXPIRED", true, true, true},
    {v1::RECEIPT_STATE_SUPERSEDED, "SUPERSEDED", true, true, true},
    {v1::RECEIPT_STATE_CANCELLED, "CANCELLED", true, true, true},
}};

// nullptr: not a state anybody may say.
const StateFacts* FactsOfState(v1::ReceiptState state) {
  const auto* found =
      std::find_if(kStates.begin(), kStates.end(),
                   [state](const StateFacts& facts) { return facts.state == state; });
  return found == kStates.end() ? nullptr : found;
}

v1::Outcome ToWire(const Outcome& outcome) {
  v1::Outcome wire;
  wire.set_fleet(outcome.ref.fleet.str());
  wire.set_car(outcome.ref.car.str());
  wire.set_command_id(outcome.command_id.ToBytes());
  wire.set_state(outcome.state);
  wire.set_reason(outcome.reason);
  wire.set_at_ms(static_cast<uint64_t>(outcome.at.ms));
  wire.set_source(outcome.source);
  wire.set_may_have_acted(outcome.may_have_acted);
  wire.set_retry_can_help(outcome.retry_can_help);
  wire.set_text(outcome.text);
  return wire;
}

std::optional<Outcome> FromWireOutcome(const v1::Outcome& wire) {
  const std::optional<FleetId> fleet = FleetId::Parse(wire.fleet());
  const std::optional<CarId> car = CarId::Parse(wire.car());
  const std::optional<CommandId> id = CommandId::FromBytes(wire.command_id());
  const std::optional<Timestamp> at = TimeFromWire(wire.at_ms());
  if (!fleet || !car || !id || !at || FactsOfState(wire.state()) == nullptr ||
      !v1::Reason_IsValid(wire.reason()) || !v1::ReceiptSource_IsValid(wire.source()) ||
      wire.source() == v1::RECEIPT_SOURCE_UNSPECIFIED || wire.text().size() > kTextBytesMax) {
    return std::nullopt;
  }
  return Outcome{{*fleet, *car},
                 *id,
                 wire.state(),
                 wire.reason(),
                 *at,
                 wire.source(),
                 wire.may_have_acted(),
                 wire.retry_can_help(),
                 wire.text()};
}

}  // namespace

bool IsFinal(v1::ReceiptState state) {
  const StateFacts* facts = FactsOfState(state);
  return facts != nullptr && facts->is_final;
}

bool MaySay(v1::ReceiptSource source, v1::ReceiptState state) {
  const StateFacts* facts = FactsOfState(state);
  return facts != nullptr && ((source == v1::RECEIPT_SOURCE_CAR && facts->by_car) ||
                              (source == v1::RECEIPT_SOURCE_BRIDGE && facts->by_bridge));
}

std::string_view ToText(v1::ReceiptState state) {
  const StateFacts* facts = FactsOfState(state);
  return facts == nullptr ? "UNKNOWN" : facts->text;
}

Outcome MakeOutcome(const CarRef& ref, const CommandId& id, v1::ReceiptState state, Reason reason,
                    Timestamp at, v1::ReceiptSource source) {
  const ReasonFacts& facts = FactsOf(reason);
  Outcome outcome{ref, id, state, reason, at, source, false, false, {}};
  if (reason != v1::REASON_UNSPECIFIED) {
    outcome.may_have_acted = facts.may_have_acted;
    outcome.retry_can_help = facts.retry_can_help;
    outcome.text = std::string(facts.text.substr(0, kTextBytesMax));
  }
  if (state == v1::RECEIPT_STATE_DONE) {
    outcome.may_have_acted = true;
  }
  return outcome;
}

std::string SealCarReceipt(const Outcome& outcome, const PrivateKey& car_key) {
  LK_ASSERT(MaySay(v1::RECEIPT_SOURCE_CAR, outcome.state));
  LK_ASSERT(outcome.source == v1::RECEIPT_SOURCE_CAR);
  v1::Receipt receipt;
  receipt.set_outcome(ToWire(outcome).SerializeAsString());
  receipt.set_signature(car_key.Sign(WithDomain(kDomain, receipt.outcome())));
  return receipt.SerializeAsString();
}

std::string SealBridgeReceipt(const Outcome& outcome) {
  LK_ASSERT(MaySay(v1::RECEIPT_SOURCE_BRIDGE, outcome.state));
  LK_ASSERT(outcome.source == v1::RECEIPT_SOURCE_BRIDGE);
  v1::Receipt receipt;
  receipt.set_outcome(ToWire(outcome).SerializeAsString());
  return receipt.SerializeAsString();
}

Result<Outcome> OpenReceipt(std::string_view bytes, const CarRef& ref,
                            const std::optional<PublicKey>& car_key) {
  if (bytes.size() > kReceiptBytesMax) {
    return Fail(v1::REASON_TOO_LARGE, "a receipt is larger than 1024 bytes: ignored");
  }
  const std::optional<v1::Receipt> receipt = FromWire<v1::Receipt>(bytes, kReceiptBytesMax);
  const std::optional<v1::Outcome> wire =
      receipt ? FromWire<v1::Outcome>(receipt->outcome(), kReceiptBytesMax) : std::nullopt;
  std::optional<Outcome> outcome = wire ? FromWireOutcome(*wire) : std::nullopt;
  if (!outcome) {
    return Fail(v1::REASON_MALFORMED,
                "a receipt on a topic of car " + ref.ToText() + " does not parse: ignored");
  }
  if (outcome->ref != ref) {
    return Fail(v1::REASON_WRONG_CAR,
                "a receipt on a topic of car " + ref.ToText() + " speaks of another car: ignored");
  }
  if (!MaySay(outcome->source, outcome->state)) {
    return Fail(v1::REASON_NOT_ALLOWED, "a receipt says " + std::string(ToText(outcome->state)) +
                                            ", which its source may not say: ignored");
  }
  const bool by_car = outcome->source == v1::RECEIPT_SOURCE_CAR;
  bool good = receipt->signature().size() == (by_car ? kSignatureBytes : 0);
  if (good && by_car && car_key) {
    good = car_key->Verify(WithDomain(kDomain, receipt->outcome()), receipt->signature());
  }
  if (!good) {
    return Fail(v1::REASON_BAD_SIGNATURE,
                "a receipt of car " + ref.ToText() + " is not signed by the car's key: ignored");
  }
  return std::move(*outcome);
}

}  // namespace latchkey
