// The log's chain: what is appended opens and follows, and no change, gap or repeat stays unseen.
#include "proto/log_chain.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "proto/crypto.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::kNow;
using testing::Said;

v1::LogEntry Entry(const std::string& note) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(kNow.ms));
  entry.set_event("command");
  entry.set_fleet("f1");
  entry.set_car("car1");
  entry.set_key_id(std::string(22, 'k'));
  entry.set_command_id(std::string(16, 'i'));
  entry.set_state(v1::RECEIPT_STATE_HELD);
  entry.set_source(v1::RECEIPT_SOURCE_BRIDGE);
  entry.set_action("lock");
  entry.set_note(note);
  entry.set_salt(std::string(16, 's'));
  return entry;
}

struct Chain {
  LogHead head;
  std::vector<std::string> records;
};

Chain ThreeRecords() {
  Chain chain;
  for (const char* note : {"one", "two", "three"}) {
    chain.records.push_back(AppendToLog(chain.head, Entry(note)));
  }
  return chain;
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

TEST_CASE(
    "log: what was appended opens to the same entry, and each record follows the one before") {
  const Chain chain = ThreeRecords();
  CHECK(Walk(chain.records).value() == chain.head);
  CHECK(chain.head.sequence == 3);
  const LogLink link = OpenLogRecord(chain.records[1]).value();
  CHECK(link.before.sequence == 1);
  CHECK(link.head.sequence == 2);
  REQUIRE(link.entry);
  CHECK(link.entry->SerializeAsString() == Entry("two").SerializeAsString());
}

TEST_CASE(
    "log: the hash of a record covers domain, sequence, the hash before and the body's hash") {
  LogHead head;
  v1::LogRecord record;
  REQUIRE(record.ParseFromString(AppendToLog(head, Entry("one"))));
  CHECK(record.previous() == std::string(32, '\0'));
  CHECK(record.body_hash() == Sha256(record.body()));
  const std::string covered = std::string("latchkey.v1.log") + '\0' +
                              std::string("\0\0\0\0\0\0\0\x01", 8) + std::string(32, '\0') +
                              record.body_hash();
  CHECK(head.hash == Sha256(covered));
}

TEST_CASE("log: an erased body leaves the chain whole, and says nothing of what it was") {
  Chain chain = ThreeRecords();
  v1::LogRecord record;
  REQUIRE(record.ParseFromString(chain.records[1]));
  record.clear_body();
  chain.records[1] = record.SerializeAsString();
  CHECK(Walk(chain.records).value() == chain.head);
  CHECK_FALSE(OpenLogRecord(chain.records[1]).value().entry);
}

TEST_CASE("log: what was left out, repeated, moved, changed or put in between is found") {
  const Chain chain = ThreeRecords();
  const auto& r = chain.records;
  const auto text = [](const Result<LogHead>& result) { return result ? "" : result.error().text; };
  CHECK(Said(Walk({r[0], r[2]})) == "REASON_MALFORMED");
  CHECK(text(Walk({r[0], r[2]})).find("record 3: records 2 to 2 are missing") != std::string::npos);
  CHECK(text(Walk({r[0], r[1], r[1]})).find("record 2: it comes a second time") !=
        std::string::npos);
  CHECK(Said(Walk({r[1], r[0], r[2]})) == "REASON_MALFORMED");
  Chain other;
  other.records = {AppendToLog(other.head, Entry("other"))};
  other.records.push_back(AppendToLog(other.head, Entry("two")));
  CHECK(text(Walk({r[0], other.records[1], r[2]})).find("record 2: the record before it is not") !=
        std::string::npos);
  v1::LogRecord record;
  REQUIRE(record.ParseFromString(r[1]));
  record.set_body(Entry("lie").SerializeAsString());
  CHECK(Said(Walk({r[0], record.SerializeAsString(), r[2]})) == "REASON_MALFORMED");
  record.set_body_hash(Sha256(record.body()));
  CHECK_MESSAGE(Said(Walk({r[0], record.SerializeAsString(), r[2]})) == "REASON_MALFORMED",
                "a body changed with its hash does not fit the next record");
}

TEST_CASE("log: no damaged record reads as the one that was written") {
  const Chain chain = ThreeRecords();
  const LogHead before = OpenLogRecord(chain.records[0]).value().head;
  const LogHead after = OpenLogRecord(chain.records[1]).value().head;
  testing::ForEachDamaged(chain.records[1], [&](const std::string& damaged) {
    const Result<LogLink> link = OpenLogRecord(damaged);
    const bool same = link && CheckFollows(before, *link) && link->head == after && link->entry;
    CHECK_FALSE(same);
  });
}

TEST_CASE("log: what does not open") {
  LogHead head;
  v1::LogRecord good;
  REQUIRE(good.ParseFromString(AppendToLog(head, Entry("one"))));
  const auto said = [&](const auto& change) {
    v1::LogRecord record = good;
    change(record);
    return Said(OpenLogRecord(record.SerializeAsString()));
  };
  CHECK(said([](auto&) {}) == "allowed");
  CHECK(said([](auto& r) { r.set_sequence(0); }) == "REASON_MALFORMED");
  CHECK(said([](auto& r) { r.set_previous("x"); }) == "REASON_MALFORMED");
  CHECK(said([](auto& r) { r.set_body_hash(std::string(31, 'x')); }) == "REASON_MALFORMED");
  CHECK(said([](auto& r) {
          r.set_body("\xff");
          r.set_body_hash(Sha256("\xff"));
        }) == "REASON_MALFORMED");
  CHECK(said([](auto& r) { r.set_body(std::string(kLogRecordBytesMax, 'x')); }) ==
        "REASON_MALFORMED");
  CHECK(Said(OpenLogRecord("")) == "REASON_MALFORMED");
}

TEST_CASE("log: texts are one line of UTF-8 and cut at a whole character") {
  LogHead head;
  v1::LogEntry entry = Entry(
      "a\nb\x7f\xff"
      "c\xc3");
  entry.set_who(std::string(127, 'w') + "\xc3\xa4");
  entry.set_fleet(std::string(1000, 'f'));
  const LogLink link = OpenLogRecord(AppendToLog(head, entry)).value();
  REQUIRE(link.entry);
  CHECK(link.entry->note() == "a?b??c?");
  CHECK(link.entry->who() == std::string(127, 'w'));
  CHECK(link.entry->fleet().size() == 64);
  entry.set_note("\xed\xa0\x80|\xf0\x9f\x9a\x97|\xe0\x80\x80|" + std::string(300, 'n'));
  const LogLink more = OpenLogRecord(AppendToLog(head, entry)).value();
  CHECK(more.entry->note().substr(0, 13) == "???|\xf0\x9f\x9a\x97|???|");
  CHECK(more.entry->note().size() == 256);
}

TEST_CASE("log: the largest entry stays within its bounds") {
  LogHead head{~0ULL - 1, std::string(32, 'h')};
  v1::LogEntry entry = Entry(std::string(5000, 'n'));
  const std::string text(5000, 'x');
  entry.set_at_ms(253402300799999);
  entry.set_event(text);
  entry.set_fleet(text);
  entry.set_car(text);
  entry.set_key_id(text);
  entry.set_action(text);
  entry.set_who(text);
  entry.set_ring_version(~0ULL);
  CHECK(AppendToLog(head, entry).size() <= kLogRecordBytesMax);
}

TEST_CASE("log: an entry without its salt is our own fault") {
  LogHead head;
  v1::LogEntry entry = Entry("x");
  entry.clear_salt();
  CHECK_THROWS_AS(AppendToLog(head, entry), Fault);
}

TEST_CASE("log: an entry names the cars of its fields and of its texts, as whole names") {
  const auto named = [](const v1::LogEntry& entry) {
    std::string text;
    for (const CarRef& ref : CarsNamed(entry)) {
      text += ref.ToText() + " ";
    }
    return text;
  };
  CHECK(named(v1::LogEntry()) == "");
  v1::LogEntry entry;
  entry.set_fleet("f1");
  CHECK(named(entry) == "");
  entry.set_car("car1");
  CHECK(named(entry) == "f1/car1 ");
  entry.set_who("demo/operator/eve");
  CHECK(named(entry) == "demo/operator f1/car1 operator/eve ");
  entry.set_who("f1/car1");
  entry.set_note("topic lk/1/f2/car2/state, (x/Y_z) -/a /b c/ d//e Upper/a");
  CHECK(named(entry) == "1/f2 car2/state f1/car1 f2/car2 lk/1 x/Y_z ");
  entry.set_fleet("no fleet");
  entry.set_note(std::string(40, 'a') + "/b");
  CHECK(named(entry) == "f1/car1 ");
}

TEST_CASE("log: a head is text and back, and an entry names what was erased before it") {
  LogHead head{17, std::string(31, '\xab') + '\x01'};
  CHECK(ToText(head).substr(0, 5) == "17:ab");
  CHECK(ParseLogHead(ToText(head)) == head);
  CHECK_FALSE(ParseLogHead("17").has_value());
  CHECK_FALSE(ParseLogHead(":" + std::string(64, 'a')).has_value());
  CHECK_FALSE(ParseLogHead("17:" + std::string(63, 'a') + "g").has_value());
  CHECK_FALSE(ParseLogHead("17:" + std::string(63, 'a')).has_value());
  v1::LogEntry entry;
  entry.set_event("log");
  entry.set_note(ErasedNote(head));
  CHECK(ErasedThrough(entry) == head);
  entry.set_event("block");  // whose note somebody else wrote
  CHECK_FALSE(ErasedThrough(entry).has_value());
}

}  // namespace
}  // namespace latchkey
