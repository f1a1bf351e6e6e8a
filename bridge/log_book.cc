// See log_book.h.
#include "bridge/log_book.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "proto/crypto.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kSaltBytes = 16;
constexpr size_t kDamagedNamed = 100;
constexpr const char* kRestoredEvent = "restored";
// The size of a log is told from so many records at each of so many places.
constexpr uint64_t kPlaces = 16;
constexpr size_t kRecordsPerPlace = 64;
// When it is too large, a little more goes than must, so that it is not looked at all the time.
constexpr uint64_t kSlackPart = 32;

v1::LogEntry EntryOf(Timestamp at, std::string note) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(std::max<int64_t>(at.ms, 0)));
  entry.set_event("log");
  entry.set_note(std::move(note));
  return entry;
}

void Ignore(std::string_view, const Error&) {}

}  // namespace

Result<std::vector<v1::LogEntry>> LogBook::Load(
    const storage::Reader& reader, const Now& now,
    const std::function<void(std::string_view key, const Error&)>& damaged) {
  std::vector<v1::LogEntry> owed;
  const auto name = [&](std::string_view key, const Error& error) {
    damaged(key, error);
    const std::optional<uint64_t> sequence = storage::ParseLogKey(key);
    if (sequence && owed.size() < kDamagedNamed) {
      owed.push_back(EntryOf(now.wall, "record " + std::to_string(*sequence) +
                                           " was damaged on disk; the chain goes on before it"));
    }
  };
  head_ = LogHead();
  restored_.reset();
  uint64_t through = storage::kWholeLog;
  while (through > 0) {
    LK_TRY(const std::optional<storage::LogRecord> last, reader.LastLog(through, name));
    if (!last) {
      break;
    }
    const Result<LogLink> link = OpenLogRecord(last->payload);
    if (link && link->head.sequence == last->sequence) {
      head_ = link->head;
      if (link->entry && link->entry->event() == kRestoredEvent) {
        restored_ = link->entry;
      }
      break;
    }
    name(storage::LogKey(last->sequence),
         link ? Error{v1::REASON_MALFORMED, "it is another record"} : link.error());
    through = last->sequence - 1;
  }
  LK_CHECK(Measure(reader));
  Lost();
  return owed;
}

Result<void> LogBook::Measure(const storage::Reader& reader) {
  first_ = head_.sequence + 1;
  bytes_ = 0;
  LK_CHECK(reader.ScanLog(
      0,
      [&](const storage::LogRecord& record) {
        first_ = std::min(first_, record.sequence);
        return false;
      },
      Ignore));
  const uint64_t count = head_.sequence + 1 - first_;
  uint64_t bytes = 0;
  uint64_t records = 0;
  const uint64_t places = count > kPlaces * kRecordsPerPlace ? kPlaces : 1;
  const size_t at_each = places == 1 ? static_cast<size_t>(count) : kRecordsPerPlace;
  for (uint64_t place = 0; place < places && count > 0; ++place) {
    size_t left = at_each;
    LK_CHECK(reader.ScanLog(
        first_ + count / places * place,
        [&](const storage::LogRecord& record) {
          bytes += record.payload.size();
          ++records;
          return --left > 0;
        },
        Ignore));
  }
  bytes_ = records == 0 ? 0 : bytes / records * count + bytes % records * count / records;
  return {};
}

void LogBook::Add(v1::LogEntry entry, std::vector<storage::Change>& changes) {
  entry.set_salt(RandomBytes(kSaltBytes));
  storage::LogRecord record;
  record.payload = AppendToLog(added_head_, std::move(entry));
  record.sequence = added_head_.sequence;
  added_bytes_ += record.payload.size();
  changes.emplace_back(std::move(record));
}

void LogBook::Kept() {
  head_ = added_head_;
  first_ = added_first_;
  bytes_ = bytes_ - std::min(bytes_, erased_bytes_) + added_bytes_;
  added_bytes_ = 0;
  erased_bytes_ = 0;
}

void LogBook::Lost() {
  added_head_ = head_;
  added_first_ = first_;
  added_bytes_ = 0;
  erased_bytes_ = 0;
}

bool LogBook::Due(Instant now) const {
  return bytes_ > bounds_.keep_bytes || now >= look_at_;
}

Result<LogBook::Oldest> LogBook::FindOldest(const storage::Reader& reader, Timestamp now) const {
  const uint64_t keep_bytes = bounds_.keep_bytes - bounds_.keep_bytes / kSlackPart;
  const uint64_t surplus = bytes_ > bounds_.keep_bytes ? bytes_ - keep_bytes : 0;
  const auto too_old = static_cast<uint64_t>(std::max<int64_t>((now - bounds_.keep).ms, 0));
  Oldest oldest;
  uint64_t bytes = 0;
  size_t count = 0;
  LK_CHECK(reader.ScanLog(
      first_,
      [&](const storage::LogRecord& record) {
        // The last record stays: the chain hangs on it.
        if (record.sequence >= head_.sequence) {
          return false;
        }
        const Result<LogLink> link = OpenLogRecord(record.payload);
        bytes += record.payload.size();
        if (!link) {
          return ++count < bounds_.erased_max;  // goes with the next one that goes
        }
        const bool old = link->entry && link->entry->at_ms() < too_old;
        if (!old && oldest.bytes >= surplus) {
          return false;
        }
        oldest.end = link->head;
        oldest.bytes = bytes;
        return ++count < bounds_.erased_max;
      },
      Ignore));
  return oldest;
}

Result<LogBook::Blanked> LogBook::Blank(const storage::Reader& reader, uint64_t from,
                                        size_t records_max,
                                        const std::function<bool(const v1::LogEntry&)>& names) {
  Blanked blanked{from, true, 0, 0, {}};
  size_t looked_at = 0;
  LK_CHECK(reader.ScanLog(
      from,
      [&](const storage::LogRecord& record) {
        blanked.next = record.sequence + 1;
        const Result<LogLink> link = OpenLogRecord(record.payload);
        blanked.unreadable += link ? 0 : 1;
        if (link && link->entry && names(*link->entry)) {
          if (Result<std::string> kept = EraseLogBody(record.payload)) {
            erased_bytes_ += record.payload.size() - kept->size();
            blanked.changes.emplace_back(storage::LogRecord{record.sequence, std::move(*kept)});
            ++blanked.entries;
          }
        }
        blanked.end = ++looked_at < records_max;
        return blanked.end;
      },
      [&](std::string_view, const Error&) { ++blanked.unreadable; }));
  return blanked;
}

Result<std::vector<storage::Change>> LogBook::Prune(const storage::Reader& reader, const Now& now) {
  std::vector<storage::Change> changes;
  look_at_ = now.mono + bounds_.look_every;
  LK_TRY(const Oldest oldest, FindOldest(reader, now.wall));
  if (oldest.end.sequence == 0) {
    if (bytes_ > bounds_.keep_bytes) {
      LK_CHECK(Measure(reader));  // nothing can go: it is not as large as was thought
      Lost();
    }
    return changes;
  }
  changes.emplace_back(storage::EraseLog{oldest.end.sequence});
  added_first_ = oldest.end.sequence + 1;
  erased_bytes_ = oldest.bytes;
  Add(EntryOf(now.wall, ErasedNote(oldest.end)), changes);
  return changes;
}

}  // namespace latchkey::bridge
