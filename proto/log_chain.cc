// The hash chain of the log: what a record covers, and reading one that came from a disk.
#include "proto/log_chain.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "proto/crypto.h"
#include "proto/types.h"
#include "proto/wire.h"

namespace latchkey {
namespace {

constexpr std::string_view kDomain = "latchkey.v1.log";
constexpr size_t kSaltBytes = 16;
constexpr size_t kNameBytesMax = 64;
constexpr size_t kWhoBytesMax = 128;
constexpr size_t kNoteBytesMax = 256;
constexpr std::string_view kErased = "erased because of age or size through ";

// SHA-256("latchkey.v1.log" 00 sequence previous body_hash).
std::string HashOf(uint64_t sequence, std::string_view previous, std::string_view body_hash) {
  std::string covered;
  for (int shift = 56; shift >= 0; shift -= 8) {
    covered += static_cast<char>(sequence >> shift & 0xff);
  }
  covered.append(previous).append(body_hash);
  return Sha256(WithDomain(kDomain, covered));
}

// Length of the UTF-8 sequence that `text` begins with; 0: none (RFC 3629).
size_t SequenceLength(std::string_view text) {
  const auto byte = [text](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned first = byte(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                                       : 4;
  if (length == 0 || first > 0xf4 || length > text.size()) {
    return 0;
  }
  for (size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0U) != 0x80) {
      return 0;
    }
  }
  const unsigned second = length > 1 ? byte(1) : 0;
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool beyond = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
  return overlong || beyond ? 0 : length;
}

// One line of UTF-8 of at most `bytes_max`: what is neither becomes '?', and the rest is cut off.
std::string Line(std::string_view text, size_t bytes_max) {
  std::string line;
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    const auto first = static_cast<unsigned char>(text.front());
    const bool plain = length > 0 && first >= 0x20 && first != 0x7f;
    const std::string_view piece = plain ? text.substr(0, length) : std::string_view("?");
    if (line.size() + piece.size() > bytes_max) {
      break;
    }
    line.append(piece);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return line;
}

// Characters of names of any kind.
bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

void AddCar(std::string_view fleet_text, std::string_view car_text, std::set<CarRef>& cars) {
  const std::optional<FleetId> fleet = FleetId::Parse(fleet_text);
  const std::optional<CarId> car = CarId::Parse(car_text);
  if (fleet && car) {
    cars.insert({*fleet, *car});
  }
}

// Every slash between two whole names.
void AddCarsOf(std::string_view text, std::set<CarRef>& cars) {
  for (size_t slash = text.find('/'); slash != std::string_view::npos;
       slash = text.find('/', slash + 1)) {
    size_t begin = slash;
    while (begin > 0 && IsNameCharacter(text[begin - 1])) {
      --begin;
    }
    size_t end = slash + 1;
    while (end < text.size() && IsNameCharacter(text[end])) {
      ++end;
    }
    AddCar(text.substr(begin, slash - begin), text.substr(slash + 1, end - slash - 1), cars);
  }
}

tl::unexpected<Error> Broken(const LogLink& link, const std::string& what) {
  return Fail(v1::REASON_MALFORMED,
              "the log is broken at record " + std::to_string(link.head.sequence) + ": " + what +
                  "; compare it with an older export or the head that was written down");
}

}  // namespace

std::string AppendToLog(LogHead& head, v1::LogEntry entry) {
  LK_ASSERT(head.hash.size() == kDigestBytes);
  LK_ASSERT(entry.salt().size() == kSaltBytes);
  LK_ASSERT(entry.command_id().empty() || CommandId::FromBytes(entry.command_id()));
  entry.set_event(Line(entry.event(), kNameBytesMax));
  entry.set_fleet(Line(entry.fleet(), kNameBytesMax));
  entry.set_car(Line(entry.car(), kNameBytesMax));
  entry.set_key_id(Line(entry.key_id(), kNameBytesMax));
  entry.set_action(Line(entry.action(), kNameBytesMax));
  entry.set_who(Line(entry.who(), kWhoBytesMax));
  entry.set_note(Line(entry.note(), kNoteBytesMax));
  entry.DiscardUnknownFields();
  v1::LogRecord record;
  record.set_sequence(head.sequence + 1);
  record.set_previous(head.hash);
  record.set_body(entry.SerializeAsString());
  record.set_body_hash(Sha256(record.body()));
  std::string bytes = record.SerializeAsString();
  LK_ASSERT(record.body().size() <= kLogEntryBytesMax && bytes.size() <= kLogRecordBytesMax);
  head = {record.sequence(), HashOf(record.sequence(), record.previous(), record.body_hash())};
  return bytes;
}

Result<LogLink> OpenLogRecord(std::string_view bytes) {
  std::optional<v1::LogRecord> record = FromWire<v1::LogRecord>(bytes, kLogRecordBytesMax);
  if (!record || record->sequence() == 0 || record->previous().size() != kDigestBytes ||
      record->body_hash().size() != kDigestBytes) {
    return Fail(v1::REASON_MALFORMED,
                "a record of the log does not parse: it was damaged; compare with an older export");
  }
  const std::string name = "record " + std::to_string(record->sequence()) + " of the log";
  std::optional<v1::LogEntry> entry;
  if (!record->body().empty()) {
    if (Sha256(record->body()) != record->body_hash()) {
      return Fail(v1::REASON_MALFORMED,
                  name +
                      " is not what was written: its hash does not fit; compare with an older "
                      "export");
    }
    entry = FromWire<v1::LogEntry>(record->body(), kLogEntryBytesMax);
    if (!entry || !TimeFromWire(entry->at_ms())) {
      return Fail(v1::REASON_MALFORMED, name + " holds no entry this software can read: update it");
    }
  }
  std::string hash = HashOf(record->sequence(), record->previous(), record->body_hash());
  return LogLink{{record->sequence() - 1, std::move(*record->mutable_previous())},
                 {record->sequence(), std::move(hash)},
                 std::move(entry)};
}

Result<std::string> EraseLogBody(std::string_view record) {
  std::optional<v1::LogRecord> kept = FromWire<v1::LogRecord>(record, kLogRecordBytesMax);
  if (!kept) {
    return Fail(v1::REASON_MALFORMED, "a record of the log does not parse: left as it is");
  }
  kept->clear_body();
  return kept->SerializeAsString();
}

Result<void> CheckFollows(const LogHead& head, const LogLink& link) {
  const uint64_t want = head.sequence + 1;
  if (link.head.sequence > want) {
    return Broken(link, "records " + std::to_string(want) + " to " +
                            std::to_string(link.before.sequence) + " are missing");
  }
  if (link.head.sequence < want) {
    return Broken(link, "it comes a second time");
  }
  if (link.before.hash != head.hash) {
    return Broken(link, "the record before it is not the one it was written after");
  }
  return {};
}

std::string ToText(const LogHead& head) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = std::to_string(head.sequence) + ":";
  for (const char c : head.hash) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0x0f];
  }
  return text;
}

std::optional<LogHead> ParseLogHead(std::string_view text) {
  constexpr size_t kHexBase = 16;
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || text.size() - colon - 1 != 2 * kDigestBytes) {
    return std::nullopt;
  }
  LogHead head;
  const std::string_view number = text.substr(0, colon);
  const auto parsed = std::from_chars(number.data(), number.data() + number.size(), head.sequence);
  if (parsed.ec != std::errc() || parsed.ptr != number.data() + number.size()) {
    return std::nullopt;
  }
  for (size_t i = 0; i < kDigestBytes; ++i) {
    unsigned byte = 0;
    const char* at = text.data() + colon + 1 + 2 * i;
    const auto digits = std::from_chars(at, at + 2, byte, kHexBase);
    if (digits.ec != std::errc() || digits.ptr != at + 2) {
      return std::nullopt;
    }
    head.hash[i] = static_cast<char>(byte);
  }
  return head;
}

std::string ErasedNote(const LogHead& last) {
  return std::string(kErased) + ToText(last);
}

std::optional<LogHead> ErasedThrough(const v1::LogEntry& entry) {
  const std::string_view note = entry.note();
  return entry.event() == "log" && note.substr(0, kErased.size()) == kErased
             ? ParseLogHead(note.substr(kErased.size()))
             : std::nullopt;
}

std::vector<CarRef> CarsNamed(const v1::LogEntry& entry) {
  std::set<CarRef> cars;
  AddCar(entry.fleet(), entry.car(), cars);
  AddCarsOf(entry.who(), cars);
  AddCarsOf(entry.note(), cars);
  return {cars.begin(), cars.end()};
}

}  // namespace latchkey
