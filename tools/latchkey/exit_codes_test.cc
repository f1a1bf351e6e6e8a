// One row for each ending.
#include "tools/latchkey/exit_codes.h"

#include <vector>

#include <doctest/doctest.h>

namespace latchkey::cli {

TEST_CASE("exit codes: what has acted, what has not, and what nobody knows differ") {
  struct Row {
    v1::ReceiptState state;
    Reason reason;
    bool may_have_acted;
    int sent;
    int cancelled;
  };

  const std::vector<Row> rows = {
      {v1::RECEIPT_STATE_DONE, v1::REASON_UNSPECIFIED, false, 0, 1},
      {v1::RECEIPT_STATE_FAILED, v1::REASON_CAR_FAILED, true, 1, 1},
      {v1::RECEIPT_STATE_FAILED, v1::REASON_OUTCOME_UNKNOWN, true, 5, 5},
      {v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_PERMITTED, false, 1, 0},
      {v1::RECEIPT_STATE_REFUSED, v1::REASON_OUTCOME_UNKNOWN, true, 5, 5},
      {v1::RECEIPT_STATE_EXPIRED, v1::REASON_EXPIRED, false, 4, 0},
      {v1::RECEIPT_STATE_EXPIRED, v1::REASON_EXPIRED, true, 5, 5},
      {v1::RECEIPT_STATE_SUPERSEDED, v1::REASON_SUPERSEDED, false, 4, 0},
      {v1::RECEIPT_STATE_SUPERSEDED, v1::REASON_SUPERSEDED, true, 5, 5},
      {v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED, false, 4, 0},
      {v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED, true, 5, 0},
  };
  for (const Row& row : rows) {
    Outcome outcome;
    outcome.state = row.state;
    outcome.reason = row.reason;
    outcome.may_have_acted = row.may_have_acted;
    CAPTURE(static_cast<int>(row.state));
    CAPTURE(row.may_have_acted);
    CHECK(ExitCode(outcome) == row.sent);
    CHECK(CancelExitCode(outcome) == row.cancelled);
  }
  Outcome outcome;
  for (const v1::ReceiptState heard : {v1::RECEIPT_STATE_HELD, v1::RECEIPT_STATE_DELIVERED}) {
    outcome.state = heard;
    CHECK(ExitCode(outcome) == kExitDone);
  }
}

}  // namespace latchkey::cli
