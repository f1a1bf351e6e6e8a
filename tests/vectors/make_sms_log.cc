// Writes the vectors of SMS and of the log; part of make_vectors.
#include "tests/vectors/make_sms_log.h"

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "proto/log_chain.h"
#include "proto/sms.h"
#include "tests/support/hex.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using Json = nlohmann::ordered_json;
using testing::FromHex;
using testing::kNow;
using testing::Said;
using testing::ToHex;

Command Sealed(const CarRef& ref, const v1::Command& action, const PrivateKey& key, char fill) {
  const CommandRequest request{ref, CommandId::Make(kNow.ms, std::string(10, fill)), kNow,
                               kNow + Duration(60'000), action};
  return ParseCommand(SealCommand(request, key).value(), ref, key.Public().Id()).value();
}

// Where a walk over `records` from the beginning ends, or why it does not.
Result<LogHead> Walk(const std::vector<std::string>& records) {
  LogHead head;
  for (const std::string& record : records) {
    LK_TRY(const LogLink link, OpenLogRecord(record));
    LK_CHECK(CheckFollows(head, link));
    head = link.head;
  }
  return head;
}

Json Hexes(const std::vector<std::string>& records) {
  Json all = Json::array();
  for (const std::string& record : records) {
    all.push_back(ToHex(record));
  }
  return all;
}

}  // namespace

Json SmsVectors(const KeyRing& ring, const PrivateKey& phone, const PrivateKey& stranger) {
  const std::string relay_key =
      FromHex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf");
  Json rows = Json::array();
  const auto add = [&](const char* name, const std::string& bytes) {
    const auto opened = OpenSms(bytes, ring.ref, ring, relay_key);
    Json row = {{"name", name}, {"sms", ToHex(bytes)}, {"result", Said(opened)}};
    const auto* wake = opened ? std::get_if<WakeSms>(&*opened) : nullptr;
    const auto* command = opened ? std::get_if<CommandSms>(&*opened) : nullptr;
    if (wake != nullptr) {
      row["at_ms"] = wake->at.ms;
    } else if (command != nullptr) {
      row["lane"] = command->lane.str();
      row["signed_command"] = ToHex(command->wire);
    }
    rows.push_back(row);
  };
  v1::Command lock;
  lock.mutable_lock();
  v1::Command climate;
  climate.mutable_climate_on()->set_target_temperature(21.5F);
  climate.mutable_climate_on()->set_minutes(20);
  v1::Command cancel;
  cancel.mutable_cancel()->set_command_id(CommandId::Make(kNow.ms, std::string(10, 'a')).ToBytes());
  const CarRef& ref = ring.ref;
  const std::string wake = MakeWakeSms(ref, kNow, relay_key);
  const std::string whole = MakeCommandSms(Sealed(ref, lock, phone, 'a'), relay_key).value();
  add("wake", wake);
  add("lock", whole);
  add("climate_on", MakeCommandSms(Sealed(ref, climate, phone, 'b'), relay_key).value());
  add("cancel", MakeCommandSms(Sealed(ref, cancel, phone, 'c'), relay_key).value());
  add("of a key that is not on the ring",
      MakeCommandSms(Sealed(ref, lock, stranger, 'd'), relay_key).value());
  add("with another relay key", MakeWakeSms(ref, kNow, std::string(kRelayKeyBytes, 'x')));
  add("for another car", MakeWakeSms(testing::Ref("demo", "F3-18"), kNow, relay_key));
  add("cut short", whole.substr(0, whole.size() - 1));
  add("141 bytes", whole + std::string(kSmsBytesMax + 1 - whole.size(), '\0'));
  add("of a kind there is not", "\x03" + wake.substr(1));
  return {{"fleet", ref.fleet.str()},
          {"car", ref.car.str()},
          {"relay_key", ToHex(relay_key)},
          {"messages", rows}};
}

Json LogVectors(const CarRef& ref, const KeyId& key) {
  LogHead head;
  std::vector<std::string> records;
  Json rows = Json::array();
  const auto add = [&](const v1::LogEntry& entry) {
    records.push_back(AppendToLog(head, entry));
    rows.push_back({{"record", ToHex(records.back())},
                    {"sequence", head.sequence},
                    {"hash", ToHex(head.hash)},
                    {"entry", ToHex(entry.SerializeAsString())}});
  };
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(kNow.ms));
  entry.set_event("command");
  entry.set_fleet(ref.fleet.str());
  entry.set_car(ref.car.str());
  entry.set_key_id(key.str());
  entry.set_command_id(CommandId::Make(kNow.ms, std::string(10, 'a')).ToBytes());
  entry.set_action("lock");
  entry.set_salt(std::string(16, 'a'));
  add(entry);
  entry.set_state(v1::RECEIPT_STATE_HELD);
  entry.set_source(v1::RECEIPT_SOURCE_BRIDGE);
  entry.set_salt(std::string(16, 'b'));
  add(entry);
  v1::LogEntry refused;
  refused.set_at_ms(static_cast<uint64_t>(kNow.ms) + 5);
  refused.set_event("sign_in_refused");
  refused.set_reason(v1::REASON_BLOCKED);
  refused.set_who("192.0.2.7");
  refused.set_salt(std::string(16, 'c'));
  add(refused);
  Json chains = Json::array();
  const auto chain = [&](const char* name, const std::vector<std::string>& links) {
    chains.push_back({{"name", name}, {"records", Hexes(links)}, {"result", Said(Walk(links))}});
  };
  v1::LogRecord record;
  record.ParseFromString(records[1]);
  v1::LogRecord erased = record;
  erased.clear_body();
  record.set_body(refused.SerializeAsString());
  const std::string lie = record.SerializeAsString();
  record.set_body_hash(Sha256(record.body()));
  chain("whole", records);
  chain("the second erased", {records[0], erased.SerializeAsString(), records[2]});
  chain("the second missing", {records[0], records[2]});
  chain("the second twice", {records[0], records[1], records[1], records[2]});
  chain("the second changed", {records[0], lie, records[2]});
  chain("the second changed with its hash", {records[0], record.SerializeAsString(), records[2]});
  return {{"records", rows}, {"chains", chains}};
}

}  // namespace latchkey
