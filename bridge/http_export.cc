// See http_export.h.
#include "bridge/http_export.h"

#include <array>
#include <string>
#include <utility>
#include <variant>

#include <google/protobuf/util/json_util.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/command.pb.h"
#include "latchkey/v1/history.pb.h"
#include "latchkey/v1/keyring.pb.h"
#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/session.pb.h"
#include "proto/keyring.h"
#include "proto/reason.h"
#include "proto/receipt.h"
#include "proto/state.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;

HttpAnswer AnswerOf(int status, const Json& json) {
  return {status, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

Json MessageJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) {
    return nullptr;
  }
  return Json::parse(text, nullptr, false);
}

// The message that `bytes` are; null: they are none.
template <class Message>
Json Carried(const std::string& bytes) {
  Message message;
  return message.ParseFromString(bytes) ? MessageJson(message) : Json(nullptr);
}

Json ToJson(const storage::StateRecord& record) {
  Json json = {{"group", ToText(record.group)}, {"received_at_ms", record.received_at.ms}};
  v1::StateGroup state;
  if (!state.ParseFromString(record.payload)) {
    return json;
  }
  json["observed_at_ms"] = VersionOf(state).observed_at_ms;
  json["sequence"] = state.sequence();
  json["source"] = state.source();
  json["signals"] = Json::array();
  for (const SignalRow& row : SignalsOf(state)) {
    Json signal = {{"signal", row.name}, {"vss", row.vss}, {"unit", row.unit}};
    std::visit([&signal](const auto& value) { signal["value"] = value; }, row.value);
    signal["observed_at_ms"] = row.observed_at.ms;
    json["signals"].push_back(std::move(signal));
  }
  return json;
}

Json ToJson(const storage::RingRecord& record) {
  Json json = {{"version", record.version}, {"received_at_ms", record.received_at.ms}};
  v1::SignedKeyRing ring;
  if (ring.ParseFromString(record.payload)) {
    json["key_ring"] = Carried<v1::KeyRing>(ring.key_ring());
    json["carried"] = MessageJson(ring);
  }
  return json;
}

Json ToJson(const storage::PresenceRecord& record) {
  return {{"received_at_ms", record.received_at.ms},
          {"presence", Carried<v1::Presence>(record.payload)}};
}

Json ToJson(const storage::CommandRecord& record) {
  Json json = {{"fleet", record.ref.fleet.str()},         {"car", record.ref.car.str()},
               {"command_id", record.id.ToText()},        {"key_id", record.lane.str()},
               {"state", ToText(record.state)},           {"reason", FactsOf(record.reason).word},
               {"received_at_ms", record.received_at.ms}, {"changed_at_ms", record.changed_at.ms}};
  v1::SignedCommand carried;
  if (!record.payload.empty() && carried.ParseFromString(record.payload)) {
    json["command"] = Carried<v1::Command>(carried.command());
  }
  return json;
}

Json ToJson(const storage::BlockRecord& record) {
  return MessageJson(BlockToWire(record.block));
}

Json ToJson(const storage::WakeRecord& record) {
  return {{"day_ms", record.day.ms}, {"count", record.count}, {"last_at_ms", record.last_at.ms}};
}

Json ToJson(const storage::HistoryRecord& record) {
  return {{"group", ToText(record.group)},
          {"begins_at_ms", record.begins_at.ms},
          {"chunk", Carried<v1::HistoryChunk>(record.payload)}};
}

Json ToJson(const storage::SessionRecord& record) {
  return {{"began_at_ms", record.began_at.ms}, {"session", Carried<v1::Session>(record.payload)}};
}

// Not asked for: the log has pages of its own.
Json ToJson(const storage::LogRecord& /*record*/) {
  return nullptr;
}

struct Part {
  storage::Kind kind;
  const char* name;
};

// Of a car, as the export names them.
constexpr std::array<Part, 8> kParts = {{{storage::Kind::kState, "state"},
                                         {storage::Kind::kRing, "ring"},
                                         {storage::Kind::kPresence, "presence"},
                                         {storage::Kind::kCommand, "commands"},
                                         {storage::Kind::kBlock, "blocks"},
                                         {storage::Kind::kWake, "wakes"},
                                         {storage::Kind::kHistory, "history"},
                                         {storage::Kind::kSession, "sessions"}}};

// What a ring says of a key; null: it does not name it.
Json KeyOf(const storage::RingRecord& record, const KeyId& key) {
  v1::SignedKeyRing outer;
  v1::KeyRing ring;
  if (!outer.ParseFromString(record.payload) || !ring.ParseFromString(outer.key_ring())) {
    return nullptr;
  }
  for (const v1::Key& one : ring.keys()) {
    const Result<RingKey> checked = KeyFromWire(one);
    if (checked && checked->id == key) {
      return {{"fleet", record.ref.fleet.str()},
              {"car", record.ref.car.str()},
              {"version", record.version},
              {"key", MessageJson(one)}};
    }
  }
  return nullptr;
}

}  // namespace

HttpAnswer ExportCar(const storage::Reader& reader, const CarRef& ref, Timestamp now) {
  Json json = {{"now_ms", now.ms}, {"fleet", ref.fleet.str()}, {"car", ref.car.str()}};
  size_t records = 0;
  uint64_t damaged = 0;
  for (const Part& part : kParts) {
    Json& list = json[part.name] = Json::array();
    const Result<void> read = reader.Scan(
        part.kind, ref,
        [&](const storage::Record& record) {
          ++records;
          list.push_back(std::visit([](const auto& one) { return ToJson(one); }, record));
        },
        [&](std::string_view, const Error&) { ++damaged; });
    if (!read) {
      return AnswerOf(503, Json{{"error", read.error().text}});
    }
  }
  json["damaged"] = damaged;
  if (records == 0 && damaged == 0) {
    return AnswerOf(404, Json{{"error", "nothing is kept of car " + ref.ToText()}});
  }
  return AnswerOf(200, json);
}

HttpAnswer ExportKey(const storage::Reader& reader, const KeyId& key, Timestamp now) {
  Json json = {{"now_ms", now.ms},
               {"key_id", key.str()},
               {"rings", Json::array()},
               {"commands", Json::array()},
               {"blocks", Json::array()}};
  uint64_t damaged = 0;
  const auto visit = [&](const storage::Record& record) {
    if (const auto* ring = std::get_if<storage::RingRecord>(&record)) {
      if (Json found = KeyOf(*ring, key); !found.is_null()) {
        json["rings"].push_back(std::move(found));
      }
    } else if (const auto* command = std::get_if<storage::CommandRecord>(&record)) {
      if (command->lane == key) {
        json["commands"].push_back(ToJson(*command));
      }
    } else if (const auto* block = std::get_if<storage::BlockRecord>(&record)) {
      if (block->block.scope.key == key) {
        json["blocks"].push_back(ToJson(*block));
      }
    }
  };
  for (const storage::Kind kind :
       {storage::Kind::kRing, storage::Kind::kCommand, storage::Kind::kBlock}) {
    const Result<void> read =
        reader.Scan(kind, std::nullopt, visit, [&](std::string_view, const Error&) { ++damaged; });
    if (!read) {
      return AnswerOf(503, Json{{"error", read.error().text}});
    }
  }
  json["damaged"] = damaged;
  return AnswerOf(200, json);
}

}  // namespace latchkey::bridge
