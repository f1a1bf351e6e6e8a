// See http_log.h.
#include "bridge/http_log.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "proto/log_chain.h"
#include "proto/reason.h"
#include "proto/receipt.h"
#include "proto/types.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;

struct Query {
  uint64_t from = 0;
  size_t last = 0;  // 0: not asked for
  size_t limit = kLogEntriesDefault;
  std::string fleet;
  std::string car;
  std::string key;
  std::string command;  // as bytes
  std::string event;
  uint64_t since = 0;
  uint64_t until = std::numeric_limits<uint64_t>::max();
};

LogAnswer AnswerOf(int status, const Json& json) {
  return {status, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

LogAnswer Complaint(int status, const std::string& text) {
  return AnswerOf(status, Json{{"error", text}});
}

// False: the parameter is there and no number of min to max.
template <class Number>
bool ReadNumber(const Parameter& parameter, const char* name, uint64_t min, uint64_t max,
                Number& number) {
  const std::optional<std::string> text = parameter(name);
  if (!text) {
    return true;
  }
  uint64_t value = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text->data() + text->size() || value < min ||
      value > max) {
    return false;
  }
  number = static_cast<Number>(value);
  return true;
}

Result<Query> QueryOf(const Parameter& parameter) {
  constexpr uint64_t kNoMax = std::numeric_limits<uint64_t>::max();
  Query query;
  if (!ReadNumber(parameter, "from", 0, kNoMax, query.from) ||
      !ReadNumber(parameter, "since", 0, kNoMax, query.since) ||
      !ReadNumber(parameter, "until", 0, kNoMax, query.until)) {
    return Fail(v1::REASON_MALFORMED,
                "from is a sequence; since and until are milliseconds since 1970");
  }
  if (!ReadNumber(parameter, "limit", 1, kLogEntriesMax, query.limit) ||
      !ReadNumber(parameter, "last", 1, kLogEntriesMax, query.last)) {
    return Fail(v1::REASON_MALFORMED,
                "limit and last must be from 1 to " + std::to_string(kLogEntriesMax));
  }
  query.fleet = parameter("fleet").value_or("");
  query.car = parameter("car").value_or("");
  query.key = parameter("key").value_or("");
  query.event = parameter("event").value_or("");
  if (const std::optional<std::string> text = parameter("command")) {
    const std::optional<CommandId> id = CommandId::FromText(*text);
    if (!id) {
      return Fail(v1::REASON_MALFORMED, "command is not the id of a command: 8-4-4-4-12 of hex");
    }
    query.command = id->ToBytes();
  }
  return query;
}

bool Fits(const Query& query, const LogLink& link) {
  if (!link.entry) {
    return query.fleet.empty() && query.car.empty() && query.key.empty() && query.command.empty() &&
           query.event.empty() && query.since == 0;
  }
  const v1::LogEntry& entry = *link.entry;
  return (query.fleet.empty() || query.fleet == entry.fleet()) &&
         (query.car.empty() || query.car == entry.car()) &&
         (query.key.empty() || query.key == entry.key_id()) &&
         (query.command.empty() || query.command == entry.command_id()) &&
         (query.event.empty() || query.event == entry.event()) && entry.at_ms() >= query.since &&
         entry.at_ms() < query.until;
}

void AddText(Json& json, const char* name, const std::string& text) {
  if (!text.empty()) {
    json[name] = text;
  }
}

Json EntryJson(const LogLink& link) {
  Json json;
  json["sequence"] = link.head.sequence;
  if (!link.entry) {
    json["erased"] = true;
    return json;
  }
  const v1::LogEntry& entry = *link.entry;
  json["at_ms"] = entry.at_ms();
  json["event"] = entry.event();
  AddText(json, "fleet", entry.fleet());
  AddText(json, "car", entry.car());
  AddText(json, "key_id", entry.key_id());
  if (const std::optional<CommandId> id = CommandId::FromBytes(entry.command_id())) {
    json["command_id"] = id->ToText();
  }
  AddText(json, "action", entry.action());
  if (entry.state() != v1::RECEIPT_STATE_UNSPECIFIED) {
    json["state"] = ToText(entry.state());
  } else if (entry.event() == "command") {
    json["state"] = "ARRIVED";
  }
  if (entry.source() != v1::RECEIPT_SOURCE_UNSPECIFIED) {
    json["source"] = entry.source() == v1::RECEIPT_SOURCE_CAR ? "car" : "bridge";
  }
  if (entry.reason() != v1::REASON_UNSPECIFIED) {
    json["reason"] = FactsOf(entry.reason()).word;
  }
  if (entry.ring_version() != 0) {
    json["ring_version"] = entry.ring_version();
  }
  AddText(json, "who", entry.who());
  AddText(json, "note", entry.note());
  return json;
}

// Where the log begins and ends, in one snapshot.
struct Ends {
  LogHead head;
  uint64_t first = 0;  // 0: it is empty
};

Result<Ends> EndsOf(const storage::Reader& reader) {
  const auto skip = [](std::string_view, const Error&) {};
  Ends ends;
  uint64_t through = storage::kWholeLog;
  while (through > 0) {
    LK_TRY(const std::optional<storage::LogRecord> last, reader.LastLog(through, skip));
    if (!last) {
      break;
    }
    if (const Result<LogLink> link = OpenLogRecord(last->payload)) {
      ends.head = link->head;
      break;
    }
    through = last->sequence - 1;
  }
  LK_CHECK(reader.ScanLog(
      0,
      [&](const storage::LogRecord& record) {
        ends.first = record.sequence;
        return false;
      },
      skip));
  return ends;
}

Json EndsJson(const Ends& ends) {
  Json json;
  json["head"] = ToText(ends.head);
  json["first"] = ends.first;
  return json;
}

// What one look at the log gives: `visit` returns false to end the page after this record.
struct Walk {
  uint64_t next = 0;
  bool end = true;  // it came to the end of the log
  Json damaged = Json::array();
};

// `of`: only records that name this car are of interest.
Result<Walk> WalkLog(const storage::Reader& reader, const std::optional<CarRef>& of, uint64_t from,
                     const std::function<bool(const storage::LogRecord&)>& visit) {
  Walk walk;
  walk.next = std::max<uint64_t>(from, 1);
  size_t scanned = 0;
  const auto each = [&](const storage::LogRecord& record) {
    walk.next = record.sequence + 1;
    walk.end = visit(record) && ++scanned < kLogScannedMax;
    return walk.end;
  };
  const auto damaged = [&](std::string_view key, const Error&) {
    const std::optional<uint64_t> sequence = storage::ParseLogKey(key);
    if (sequence && walk.damaged.size() < kLogEntriesMax) {
      walk.damaged.push_back(*sequence);
    }
  };
  LK_CHECK(of ? reader.ScanLogOf(*of, from, each, damaged) : reader.ScanLog(from, each, damaged));
  return walk;
}

// The car that a query asks for; nullopt: it names none, or none that can be.
std::optional<CarRef> CarOf(const Query& query) {
  const std::optional<FleetId> fleet = FleetId::Parse(query.fleet);
  const std::optional<CarId> car = CarId::Parse(query.car);
  return fleet && car ? std::optional(CarRef{*fleet, *car}) : std::nullopt;
}

void AddWalk(const Walk& walk, const Ends& ends, Json& json) {
  json["next"] = walk.next;
  json["end"] = walk.end || walk.next > ends.head.sequence;
  json["damaged"] = walk.damaged;
}

}  // namespace

LogAnswer LogPage(const storage::Reader& reader, const Parameter& parameter, Timestamp now) {
  const Result<Query> query = QueryOf(parameter);
  if (!query) {
    return Complaint(400, query.error().text);
  }
  const Result<Ends> ends = EndsOf(reader);
  if (!ends) {
    return Complaint(503, ends.error().text);
  }
  const bool newest = query->last > 0;
  const uint64_t head = ends->head.sequence;
  const uint64_t from =
      !newest ? query->from : (head > kLogScannedMax ? head - kLogScannedMax + 1 : 1);
  const size_t entries_max = newest ? query->last : query->limit;
  std::deque<Json> entries;
  uint64_t spoilt = 0;
  const Result<Walk> walk =
      WalkLog(reader, CarOf(*query), from, [&](const storage::LogRecord& record) {
        const Result<LogLink> link = OpenLogRecord(record.payload);
        if (!link || !Fits(*query, *link)) {
          spoilt += link ? 0 : 1;
          return true;
        }
        entries.push_back(EntryJson(*link));
        if (newest && entries.size() > entries_max) {
          entries.pop_front();
        }
        return newest || entries.size() < entries_max;
      });
  if (!walk) {
    return Complaint(503, walk.error().text);
  }
  Json json;
  json["now_ms"] = now.ms;
  json.update(EndsJson(*ends));
  AddWalk(*walk, *ends, json);
  json["unreadable"] = spoilt;
  json["entries"] = Json::array();
  for (Json& entry : entries) {
    json["entries"].push_back(std::move(entry));
  }
  return AnswerOf(200, json);
}

LogAnswer RawLogPage(const storage::Reader& reader, const Parameter& parameter) {
  const Result<Query> query = QueryOf(parameter);
  if (!query) {
    return Complaint(400, query.error().text);
  }
  const Result<Ends> ends = EndsOf(reader);
  if (!ends) {
    return Complaint(503, ends.error().text);
  }
  Json records = Json::array();
  const Result<Walk> walk =
      WalkLog(reader, std::nullopt, query->from, [&](const storage::LogRecord& record) {
        records.push_back(Base64UrlEncode(record.payload));
        return records.size() < query->limit;
      });
  if (!walk) {
    return Complaint(503, walk.error().text);
  }
  Json json = EndsJson(*ends);
  AddWalk(*walk, *ends, json);
  json["records"] = std::move(records);
  return AnswerOf(200, json);
}

}  // namespace latchkey::bridge
