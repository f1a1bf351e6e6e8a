// Endings by what a script may conclude from them.
#include "tools/latchkey/exit_codes.h"

namespace latchkey::cli {

int ExitCode(const Outcome& outcome) {
  switch (outcome.state) {
    case v1::RECEIPT_STATE_DONE:
    case v1::RECEIPT_STATE_HELD:
    case v1::RECEIPT_STATE_DELIVERED:
      return kExitDone;
    case v1::RECEIPT_STATE_EXPIRED:
    case v1::RECEIPT_STATE_SUPERSEDED:
    case v1::RECEIPT_STATE_CANCELLED:
      return outcome.may_have_acted ? kExitUnknown : kExitUnused;
    case v1::RECEIPT_STATE_FAILED:
      return outcome.reason == v1::REASON_OUTCOME_UNKNOWN ? kExitUnknown : kExitRefused;
    case v1::RECEIPT_STATE_REFUSED:
      return outcome.may_have_acted ? kExitUnknown : kExitRefused;
    case v1::RECEIPT_STATE_UNSPECIFIED:
    case v1::ReceiptState_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::ReceiptState_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return kExitRefused;
}

int CancelExitCode(const Outcome& target) {
  if (target.state == v1::RECEIPT_STATE_CANCELLED) {
    return kExitDone;
  }
  const bool acted =
      target.state == v1::RECEIPT_STATE_DONE || target.state == v1::RECEIPT_STATE_FAILED;
  if (acted && target.reason != v1::REASON_OUTCOME_UNKNOWN) {
    return kExitRefused;
  }
  return target.may_have_acted || acted ? kExitUnknown : kExitDone;
}

}  // namespace latchkey::cli
