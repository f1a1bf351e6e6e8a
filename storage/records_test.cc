// Record bytes: one encoding each, any damage found, no key of one car begins another's.
#include "storage/records.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "storage/command_rows.h"
#include "storage/log_rows.h"
#include "tests/support/hex.h"

namespace latchkey::storage {

namespace {

CarRef Ref(std::string_view fleet, std::string_view car) {
  return {FleetId::Parse(fleet).value(), CarId::Parse(car).value()};
}

std::vector<Record> OneOfEach() {
  const CarRef ref = Ref("demo", "car-1");
  const Timestamp time{1'700'000'000'000};
  CommandRecord command;
  command.ref = ref;
  command.lane = KeyId::Parse("abcdefghijklmnopqrstuA").value();
  command.id = CommandId::FromBytes(std::string("\x01\x00\x02 0123456789ab\x00", 16)).value();
  command.order = 7;
  command.received_at = time;
  command.changed_at = time + Duration(5);
  command.state = v1::RECEIPT_STATE_EXPIRED;
  command.reason = v1::REASON_EXPIRED;
  command.payload = "P";
  Block owners;
  owners.scope = {command.lane, ref.fleet, ref.car};
  owners.changed_at = time;
  owners.cause = v1::BLOCK_CAUSE_OWNER;
  owners.note = "n";
  owners.command = command.id;
  Block everywhere;
  everywhere.scope.key = command.lane;
  everywhere.lifted = true;
  everywhere.changed_at = time;
  everywhere.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  WakeRecord wake;
  wake.ref = ref;
  wake.day = time;
  wake.count = 2;
  wake.last_at = time + std::chrono::minutes(1);
  return {StateRecord{ref, Group::kEnergy, time, std::string("ab\0c", 4)},
          RingRecord{ref, 3, time, "ring"},
          PresenceRecord{ref, time, ""},
          command,
          BlockRecord{owners},
          BlockRecord{everywhere},
          LogRecord{1, "r"},
          wake,
          HistoryRecord{ref, Group::kEnergy, time, "h"},
          SessionRecord{ref, time, "s"}};
}

// A block record with a checksum that fits and whatever bytes.
Result<Record> DecodeBlockBytes(std::string key, const std::string& body) {
  // The checksum is taken from a record whose value is this body: the kind, key and body decide it.
  uint32_t crc = ~uint32_t{0};
  std::string all(1, static_cast<char>(Kind::kBlock));
  for (int shift = 24; shift >= 0; shift -= 8) {
    all.push_back(static_cast<char>((key.size() >> static_cast<unsigned>(shift)) & 0xffU));
  }
  all += key + body;
  for (const char byte : all) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? (crc >> 1) ^ 0x82f63b78U : crc >> 1;
    }
  }
  crc = ~crc;
  std::string value = body;
  for (int shift = 24; shift >= 0; shift -= 8) {
    value.push_back(static_cast<char>((crc >> static_cast<unsigned>(shift)) & 0xffU));
  }
  return Decode(Kind::kBlock, key, value);
}

}  // namespace

TEST_CASE("records: what is encoded decodes to the same record") {
  for (const Record& record : OneOfEach()) {
    const KeyValue bytes = Encode(record);
    const Result<Record> back = Decode(bytes.kind, bytes.key, bytes.value);
    REQUIRE(back.has_value());
    CHECK((*back == record));
  }
}

TEST_CASE("records: the bytes are those of storage/README.md") {
  std::string text;
  for (const Record& record : OneOfEach()) {
    const KeyValue bytes = Encode(record);
    text += testing::ToHex(bytes.key) + " " + testing::ToHex(bytes.value) + "\n";
  }
  CHECK(text ==
        "64656d6f006361722d3100656e65726779 010000018bcfe5680061620063153d8237\n"
        "64656d6f006361722d3100 0100000000000000030000018bcfe5680072696e67811a60ae\n"
        "64656d6f006361722d3100 010000018bcfe568000b498414\n"
        "64656d6f006361722d310001000220303132333435363738396162 "
        "016162636465666768696a6b6c6d6e6f70717273747541"
        "00000000000000070000018bcfe568000000018bcfe5680506001050e6c9290f\n"
        "64656d6f006361722d31006162636465666768696a6b6c6d6e6f70717273747541 "
        "010000018bcfe56800000110010002203031323334353637383961626e50cb3000\n"
        "00006162636465666768696a6b6c6d6e6f70717273747541 "
        "010000018bcfe5680001020031639aef\n"
        "0000000000000001 01722529e0db\n"
        "64656d6f006361722d3100 010000018bcfe56800000000020000018bcfe65260a9c173fb\n"
        "64656d6f006361722d3100656e65726779000000018bcfe56800 016812cded16\n"
        "64656d6f006361722d31000000018bcfe56800 017318a920a6\n");
}

TEST_CASE("records: the rows of schema 2 and 3 are those of storage/README.md, and decode") {
  CommandRecord held = std::get<CommandRecord>(OneOfEach()[3]);
  held.state = v1::RECEIPT_STATE_HELD;
  held.reason = v1::REASON_UNSPECIFIED;
  const PutRow step = EncodeStep(held);
  const PutRow message = EncodeMessage(held).value();
  CHECK(testing::ToHex(step.key) == "64656d6f006361722d310001000220303132333435363738396162");
  CHECK(message.key == step.key);
  CHECK(testing::ToHex(step.value) ==
        "016162636465666768696a6b6c6d6e6f70717273747541"
        "00000000000000070000018bcfe568000000018bcfe56805010000000000013313379d");
  CHECK(testing::ToHex(message.value) == "0150b742be67");
  CHECK(testing::ToHex(LogByCarKey({held.ref, 1})) == "64656d6f006361722d31000000000000000001");
  CHECK((DecodeCommandRows(step.key, step.value, message.value).value() == held));
  CHECK(ParseLogByCarKey(LogByCarKey({held.ref, 7})) == LogName{held.ref, 7});
  held.payload = "";
  CHECK((DecodeCommandRows(step.key, EncodeStep(held).value, std::nullopt).value() == held));
  CHECK_FALSE(EncodeMessage(held).has_value());
}

TEST_CASE("records: rows of a command that do not belong together, or are damaged, are refused") {
  CommandRecord held = std::get<CommandRecord>(OneOfEach()[3]);
  const PutRow step = EncodeStep(held);
  const PutRow message = EncodeMessage(held).value();
  CHECK(DecodeCommandRows(step.key, step.value, std::nullopt).error().text ==
        "its signed bytes are missing");
  held.payload = "PP";
  CHECK_FALSE(DecodeCommandRows(step.key, step.value, EncodeMessage(held)->value));
  held.payload = "";
  CHECK_FALSE(DecodeCommandRows(step.key, EncodeStep(held).value, message.value));
  for (const PutRow* row : {&step, &message}) {
    for (size_t at = 0; at < row->value.size(); ++at) {
      std::string damaged = row->value;
      damaged[at] = static_cast<char>(damaged[at] ^ 16);
      CHECK_FALSE(DecodeCommandRows(step.key, row == &step ? damaged : step.value,
                                    row == &step ? message.value : damaged));
      damaged.resize(at);
      CHECK_FALSE(DecodeCommandRows(step.key, row == &step ? damaged : step.value,
                                    row == &step ? message.value : damaged));
    }
  }
  // A value under another's key, and a row of the other family.
  const std::string other = KeyPrefix(Ref("demo", "car-2")) + std::string(16, 'x');
  CHECK_FALSE(DecodeCommandRows(other, step.value, message.value));
  CHECK_FALSE(DecodeCommandRows(step.key, message.value, step.value));
  for (const std::string& key : {std::string(), KeyPrefix(Ref("a", "b")), LogKey(1),
                                 KeyPrefix(Ref("a", "b")) + std::string(8, '\0'),
                                 KeyPrefix(Ref("a", "b")) + std::string(9, '\1')}) {
    CHECK_FALSE(ParseLogByCarKey(key).has_value());
  }
}

TEST_CASE("records: a flipped bit anywhere in key or value, and a value cut short, are found") {
  for (const Record& record : OneOfEach()) {
    const KeyValue bytes = Encode(record);
    for (size_t at = 0; at < bytes.value.size(); ++at) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        std::string damaged = bytes.value;
        damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ (1U << bit));
        const Result<Record> back = Decode(bytes.kind, bytes.key, damaged);
        REQUIRE_FALSE(back.has_value());
        CHECK(back.error().reason == v1::REASON_MALFORMED);
      }
      CHECK_FALSE(Decode(bytes.kind, bytes.key, bytes.value.substr(0, at)).has_value());
    }
    for (size_t at = 0; at < bytes.key.size(); ++at) {
      std::string damaged = bytes.key;
      damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ 1U);
      CHECK_FALSE(Decode(bytes.kind, damaged, bytes.value).has_value());
    }
  }
}

TEST_CASE("records: a value under the key of another car or another kind is refused") {
  const Record record = PresenceRecord{Ref("demo", "car-1"), {1}, "x"};
  const KeyValue bytes = Encode(record);
  CHECK_FALSE(Decode(Kind::kPresence, KeyPrefix(Ref("demo", "car-2")), bytes.value).has_value());
  CHECK_FALSE(Decode(Kind::kRing, bytes.key, bytes.value).has_value());
}

TEST_CASE("records: a block that cannot be is refused though its checksum fits") {
  const std::string key = std::string("f\0a\0", 4) + "abcdefghijklmnopqrstuA";
  const std::string time("\0\0\1\0\0\0\0\0", 8);
  const std::string format(1, '\1');
  const std::string id(16, '\7');
  using namespace std::string_literals;
  CHECK(DecodeBlockBytes(key, format + time + "\0\2\0"s + "note").has_value());
  CHECK(DecodeBlockBytes(key, format + time + "\0\1\x10"s + id).has_value());
  CHECK_FALSE(DecodeBlockBytes(key, format + time + "\2\2\0"s).has_value());   // lifted
  CHECK_FALSE(DecodeBlockBytes(key, format + time + "\0\0\0"s).has_value());   // cause
  CHECK_FALSE(DecodeBlockBytes(key, format + time + "\0\x9\0"s).has_value());  // cause
  CHECK_FALSE(DecodeBlockBytes(key, format + time + "\0\1\x5"s + id).has_value());
  CHECK_FALSE(DecodeBlockBytes(key, format + time + "\0\1\x10"s + "short").has_value());
  CHECK_FALSE(DecodeBlockBytes(key, format + time + "\0\2\0"s + std::string(65, 'x')));
  CHECK_FALSE(DecodeBlockBytes("a", format + time + "\0\2\0"s).has_value());
  // A car without its fleet.
  CHECK_FALSE(DecodeBlockBytes(std::string("\0a\0", 3) + "abcdefghijklmnopqrstuA",
                               format + time + "\0\2\0"s)
                  .has_value());
}

TEST_CASE("records: a key of the log is a sequence from 1, in order of bytes") {
  CHECK(ParseLogKey(LogKey(1)) == 1);
  CHECK(ParseLogKey(LogKey(~uint64_t{0})) == ~uint64_t{0});
  CHECK(LogKey(255) < LogKey(256));
  CHECK_FALSE(ParseLogKey(std::string(8, '\0')).has_value());
  CHECK_FALSE(ParseLogKey(std::string(7, '\1')).has_value());
  CHECK_FALSE(ParseLogKey(std::string(9, '\1')).has_value());
}

TEST_CASE("records: a key of history ends in its group and a time from 1970 on") {
  const CarRef ref = Ref("demo", "car-1");
  const KeyValue bytes = Encode(HistoryRecord{ref, Group::kBody, {5}, "h"});
  const std::string prefix = KeyPrefix(ref);
  const std::string zero(1, '\0');
  for (const std::string& suffix :
       {std::string("body"), "body" + zero, "body" + zero + std::string(7, '\1'),
        "body" + zero + std::string(8, '\xff'), "bodies" + zero + std::string(8, '\1')}) {
    CHECK_FALSE(Decode(Kind::kHistory, prefix + suffix, bytes.value).has_value());
    CHECK_FALSE(Decode(Kind::kSession, prefix + suffix, bytes.value).has_value());
  }
  CHECK(Encode(HistoryRecord{ref, Group::kBody, {255}, ""}).key <
        Encode(HistoryRecord{ref, Group::kBody, {256}, ""}).key);
}

TEST_CASE("records: what a change forgets is of its car, its kind and before its time") {
  const CarRef ref = Ref("a", "b");
  const std::string key = Encode(HistoryRecord{ref, Group::kBody, {5}, ""}).key;
  const auto in = [](const KeyRange& range, const std::string& one) {
    return range.begin <= one && one < range.end;
  };
  CHECK(in(RangesOf(EraseHistory{ref, Group::kBody, {6}}).front(), key));
  CHECK_FALSE(in(RangesOf(EraseHistory{ref, Group::kBody, {5}}).front(), key));
  CHECK_FALSE(in(RangesOf(EraseHistory{ref, Group::kDrive, {6}}).front(), key));
  CHECK_FALSE(in(RangesOf(EraseHistory{Ref("a", "b-1"), Group::kBody, {6}}).front(), key));
  CHECK(in(RangesOf(EraseLog{~uint64_t{0}}).front(), LogKey(~uint64_t{0})));
  const std::vector<KeyRange> all = RangesOf(EraseCar{ref});
  CHECK(all.size() == kKinds.size() - 1);
  for (const KeyRange& range : all) {
    CHECK(range.kind != Kind::kLog);
    CHECK(in(range, key));
    CHECK(in(range, KeyPrefix(ref)));
    CHECK_FALSE(in(range, KeyPrefix(Ref("a", "b-1"))));
    CHECK_FALSE(in(range, KeyPrefix(Ref("a", "bc"))));
  }
}

TEST_CASE("records: no key of one car begins with the prefix of another") {
  const std::vector<CarRef> refs = {Ref("a", "b"), Ref("a", "bc"), Ref("ab", "c"), Ref("a", "b-1"),
                                    Ref("ab", "b")};
  for (const CarRef& one : refs) {
    for (const CarRef& other : refs) {
      const std::string key = Encode(StateRecord{other, Group::kBody, {1}, ""}).key;
      CHECK((key.rfind(KeyPrefix(one), 0) == 0) == (one == other));
    }
  }
}

}  // namespace latchkey::storage
