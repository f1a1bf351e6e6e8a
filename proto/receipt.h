// Receipts: who may say what, what is final, sealing and opening.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "latchkey/v1/receipt.pb.h"
#include "proto/crypto.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kReceiptBytesMax = 1024;

struct Outcome {
  CarRef ref;
  CommandId command_id;
  v1::ReceiptState state = v1::RECEIPT_STATE_UNSPECIFIED;
  Reason reason = v1::REASON_UNSPECIFIED;
  Timestamp at;
  v1::ReceiptSource source = v1::RECEIPT_SOURCE_UNSPECIFIED;
  bool may_have_acted = false;
  bool retry_can_help = false;
  std::string text;
  bool operator==(const Outcome&) const = default;
};

// True for DONE, FAILED, REFUSED, EXPIRED, SUPERSEDED, CANCELLED.
bool IsFinal(v1::ReceiptState state);
// May `source` say `state`? DESIGN section 3, "Receipts".
bool MaySay(v1::ReceiptSource source, v1::ReceiptState state);
// "HELD", "DONE", ...
std::string_view ToText(v1::ReceiptState state);

// An outcome with the texts and flags that FactsOf(reason) gives.
Outcome MakeOutcome(const CarRef& ref, const CommandId& id, v1::ReceiptState state, Reason reason,
                    Timestamp at, v1::ReceiptSource source);

// Serialized Receipt, signed by the car.
std::string SealCarReceipt(const Outcome& outcome, const PrivateKey& car_key);
// Serialized Receipt of the bridge, unsigned.
std::string SealBridgeReceipt(const Outcome& outcome);

// Opens Receipt bytes from the topic of `ref`. A receipt whose source is the car must verify
// against `car_key` when given (a phone, the bridge with the ring's certificate); without it the
// signature is not checked and the caller must not believe final states. Errors: REASON_TOO_LARGE,
// REASON_MALFORMED, REASON_WRONG_CAR, REASON_NOT_ALLOWED (source may not say state),
// REASON_BAD_SIGNATURE.
Result<Outcome> OpenReceipt(std::string_view bytes, const CarRef& ref,
                            const std::optional<PublicKey>& car_key);

}  // namespace latchkey
