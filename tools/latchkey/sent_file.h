// What a phone has sent, in its folder: sent.json (0600), so that another run of `latchkey phone`
// can ask what became of a command with the same bytes, or take it back. Bounded, and only for as
// long as it can be of use.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "proto/receipt.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

inline constexpr size_t kSentMax = 64;
// After its expiry, or its outcome when it never expires, a command is kept this long to be shown.
inline constexpr Duration kSentKept = std::chrono::hours(1);

struct SentCommand {
  CommandId id;
  CarRef ref;
  std::string action;  // "flash_lights"
  Timestamp sent_at;
  std::optional<Timestamp> expires_at;                     // nullopt: never
  std::string wire;                                        // SignedCommand
  v1::ReceiptState state = v1::RECEIPT_STATE_UNSPECIFIED;  // last step heard of; none yet
  Reason reason = v1::REASON_UNSPECIFIED;
  Timestamp state_at;           // when this phone heard of it
  bool may_have_acted = false;  // by then
  bool operator==(const SentCommand&) const = default;

  bool ended() const { return IsFinal(state); }
};

class SentFile {
 public:
  SentFile(const Folder& folder, const std::string& phone);

  // The first sent first; what is of no use at `now` is left out. No file: none. Errors:
  // REASON_MALFORMED (the text says to remove it), REASON_STORE_UNAVAILABLE.
  Result<std::vector<SentCommand>> Read(Timestamp now) const;

  // Adds it, or replaces the one with its id. Of more than kSentMax those that have ended go first,
  // then the oldest. On disk when it returns. Safe against other processes.
  Result<void> Put(const SentCommand& command, Timestamp now) const;

  // A step of a command; nothing when it is not in the file.
  Result<void> Note(const Outcome& outcome, Timestamp now) const;

 private:
  Result<void> Write(std::vector<SentCommand> commands) const;

  std::filesystem::path path_;
  std::filesystem::path lock_;
};

// The command that `text` names: an id, or the first characters of one that no other has, at least
// four. Error REASON_MALFORMED: none, or several.
Result<SentCommand> FindSent(const std::vector<SentCommand>& commands, const std::string& text);

}  // namespace latchkey::cli
