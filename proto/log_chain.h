// The hash chain of the log: appending and verifying, pure. Whoever keeps the hash of a head can
// tell later that nothing before it was changed, left out or put in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "latchkey/v1/log.pb.h"
#include "proto/result.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kLogEntryBytesMax = 1024;
inline constexpr size_t kLogRecordBytesMax = 1280;

// Where a chain ends. Of an empty one: sequence 0 and 32 bytes of 00.
struct LogHead {
  uint64_t sequence = 0;
  std::string hash = std::string(32, '\0');
  bool operator==(const LogHead&) const = default;
};

// The next record, serialized v1.LogRecord, and the head after it. `entry` has its salt; texts that
// are too long are cut.
std::string AppendToLog(LogHead& head, v1::LogEntry entry);

// One record read alone. `entry` is nullopt when its body was erased. Error REASON_MALFORMED: it
// does not parse, or body and body_hash do not fit.
struct LogLink {
  LogHead before;  // sequence and hash it follows
  LogHead head;    // and what it makes of them
  std::optional<v1::LogEntry> entry;
};

Result<LogLink> OpenLogRecord(std::string_view bytes);

// The record without its body: its place in the chain stays. Error REASON_MALFORMED: it does not
// parse.
Result<std::string> EraseLogBody(std::string_view record);

// Does `link` follow `head`? Error REASON_MALFORMED names the sequence where the chain is broken:
// a gap, a repeat, or another record before it.
Result<void> CheckFollows(const LogHead& head, const LogLink& link);

// The cars that an entry names, each once, in order: in its fields, and as "fleet/car" standing
// alone in `who` or `note`. At most as many as its texts have slashes, and one.
std::vector<CarRef> CarsNamed(const v1::LogEntry& entry);

// A head as text: "17:" and 64 of lower-case hex; and back, nullopt: it is none.
std::string ToText(const LogHead& head);
std::optional<LogHead> ParseLogHead(std::string_view text);

// Note of an entry "log" that says that the log was erased up to and with `last`, because it was
// old or large; and which head an entry names so, nullopt: it is no such entry.
std::string ErasedNote(const LogHead& last);
std::optional<LogHead> ErasedThrough(const v1::LogEntry& entry);

}  // namespace latchkey
