// What HTTP serves of the log: pages, filters, what is damaged, and the same records raw.
#include "bridge/http_log.h"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "bridge/log_book.h"
#include "proto/log_chain.h"
#include "proto/types.h"
#include "storage/memory_store.h"

namespace latchkey::bridge {

namespace {

using nlohmann::json;
using Query = std::map<std::string, std::string>;

constexpr Timestamp kNow{1'700'000'000'000};

v1::LogEntry Entry(const std::string& event, const std::string& car) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(kNow.ms));
  entry.set_event(event);
  entry.set_fleet(car.empty() ? "" : "f");
  entry.set_car(car);
  return entry;
}

// A store with a log in it.
struct Book {
  void Add(const v1::LogEntry& entry) {
    std::vector<storage::Change> changes;
    log.Add(entry, changes);
    REQUIRE(store.Commit(changes, storage::Durability::kSoon).has_value());
    log.Kept();
  }

  json Page(const Query& query, int status = 200) const {
    const LogAnswer answer = LogPage(*store.Snapshot(), ParameterOf(query), kNow);
    CHECK(answer.status == status);
    return json::parse(answer.json);
  }

  json Raw(const Query& query) const {
    const LogAnswer answer = RawLogPage(*store.Snapshot(), ParameterOf(query));
    CHECK(answer.status == 200);
    return json::parse(answer.json);
  }

  // Sequences of the entries of a page.
  std::string Sequences(const Query& query) const {
    std::string text;
    const json page = Page(query);
    for (const json& entry : page["entries"]) {
      text += (text.empty() ? "" : " ") + entry["sequence"].dump();
    }
    return text;
  }

  static Parameter ParameterOf(const Query& query) {
    return [query](const std::string& name) {
      const auto found = query.find(name);
      return found == query.end() ? std::nullopt : std::optional(found->second);
    };
  }

  storage::MemoryStore store;
  LogBook log{LogBounds{}};
};

}  // namespace

TEST_CASE("http log: pages follow each other, newest last, and the newest alone") {
  Book book;
  CHECK(book.Page({}).dump() ==
        "{\"damaged\":[],\"end\":true,\"entries\":[],\"first\":0,\"head\":\"" + ToText(LogHead()) +
            "\",\"next\":1,\"now_ms\":1700000000000,\"unreadable\":0}");
  for (int i = 0; i < 5; ++i) {
    book.Add(Entry("ring", "a"));
  }
  const json first = book.Page({{"limit", "2"}});
  CHECK(first["entries"].size() == 2);
  CHECK(first["next"] == 3);
  CHECK(first["end"] == false);
  CHECK(first["first"] == 1);
  CHECK(first["head"] == ToText(book.log.figures().head));
  CHECK(book.Sequences({{"from", "3"}, {"limit", "2"}}) == "3 4");
  const json last = book.Page({{"from", "5"}, {"limit", "2"}});
  CHECK(last["end"] == true);
  CHECK(last["next"] == 6);
  const json beyond = book.Page({{"from", "6"}});
  CHECK(beyond["entries"].empty());
  CHECK(beyond["next"] == 6);
  CHECK(book.Sequences({{"last", "2"}}) == "4 5");
  CHECK(book.Page({{"from", "4"}, {"limit", "2"}})["end"] == true);
}

TEST_CASE("http log: only what is asked for is shown, also of the newest") {
  Book book;
  v1::LogEntry command = Entry("command", "a");
  const CommandId id = CommandId::FromBytes(std::string(16, 'i')).value();
  command.set_command_id(id.ToBytes());
  command.set_key_id("abcdefghijklmnopqrstuA");
  book.Add(command);
  command.set_state(v1::RECEIPT_STATE_REFUSED);
  command.set_source(v1::RECEIPT_SOURCE_BRIDGE);
  command.set_reason(v1::REASON_FULL);
  command.set_action("lock");
  book.Add(command);
  book.Add(Entry("ring", "b"));
  v1::LogEntry late = Entry("block", "");
  late.set_at_ms(late.at_ms() + 100);
  book.Add(late);
  CHECK(book.Sequences({{"fleet", "f"}}) == "1 2 3");
  CHECK(book.Sequences({{"car", "b"}}) == "3");
  CHECK(book.Sequences({{"key", "abcdefghijklmnopqrstuA"}}) == "1 2");
  CHECK(book.Sequences({{"key", "abcdefghijklmnopqrstuA"}, {"last", "1"}}) == "2");
  CHECK(book.Sequences({{"command", id.ToText()}, {"event", "command"}}) == "1 2");
  CHECK(book.Sequences({{"event", "tap"}}) == "");
  CHECK(book.Sequences({{"since", "1700000000001"}}) == "4");
  CHECK(book.Sequences({{"until", "1700000000001"}}) == "1 2 3");
  const json shown = book.Page({{"event", "command"}})["entries"];
  CHECK(shown[0].dump() ==
        "{\"at_ms\":1700000000000,\"car\":\"a\",\"command_id\":\"" + id.ToText() +
            "\",\"event\":\"command\",\"fleet\":\"f\",\"key_id\":\"abcdefghijklmnopqrstuA\","
            "\"sequence\":1,\"state\":\"ARRIVED\"}");
  CHECK(shown[1]["reason"] == "full");
  CHECK(shown[1]["source"] == "bridge");
  CHECK(shown[1]["action"] == "lock");
}

TEST_CASE("http log: what cannot be is refused in words") {
  const Book book;
  for (const Query& query : {Query{{"from", "x"}},
                             {{"limit", "0"}},
                             {{"limit", "5001"}},
                             {{"last", "0"}},
                             {{"since", "-1"}},
                             {{"command", "c1"}},
                             {{"from", "18446744073709551616"}}}) {
    CHECK(book.Page(query, 400)["error"].is_string());
  }
}

TEST_CASE("http log: a damaged record is named and not shown, raw or not") {
  Book book;
  for (int i = 0; i < 4; ++i) {
    book.Add(Entry("ring", "a"));
  }
  storage::KeyValue raw = storage::Encode(storage::LogRecord{2, "x"});
  raw.value.back() = static_cast<char>(raw.value.back() ^ 1);
  book.store.PutRaw(raw);
  book.store.PutRaw(storage::Encode(storage::LogRecord{3, "no record"}));
  const json page = book.Page({});
  CHECK(page["damaged"].dump() == "[2]");
  CHECK(page["unreadable"] == 1);
  CHECK(book.Sequences({}) == "1 4");
  const json records = book.Raw({});
  CHECK(records["damaged"].dump() == "[2]");
  CHECK(records["records"].size() == 3);
}

TEST_CASE("http log: the raw records are the chain, page by page") {
  Book book;
  for (int i = 0; i < 7; ++i) {
    book.Add(Entry("ring", "a"));
  }
  LogHead head;
  uint64_t from = 0;
  for (int pages = 1;; ++pages) {
    const json page = book.Raw({{"from", std::to_string(from)}, {"limit", "3"}});
    for (const json& text : page["records"]) {
      const Result<LogLink> link = OpenLogRecord(Base64UrlDecode(text.get<std::string>()).value());
      REQUIRE(link.has_value());
      REQUIRE(CheckFollows(head, *link).has_value());
      head = link->head;
    }
    from = page["next"];
    if (page["end"] == true) {
      CHECK(pages == 3);
      break;
    }
  }
  CHECK(head == book.log.figures().head);
}

TEST_CASE("log book: the size of a large log is told from samples, near enough") {
  Book book;
  uint64_t bytes = 0;
  for (int i = 0; i < 3000; ++i) {
    v1::LogEntry entry = Entry("command", "a");
    entry.set_note(std::string(static_cast<size_t>(i % 100), 'n'));
    book.Add(entry);
  }
  bytes = book.log.figures().bytes;
  LogBook other{LogBounds{}};
  REQUIRE(other.Load(*book.store.Snapshot(), {kNow, {0}}, [](auto, const auto&) {}).has_value());
  CHECK(other.figures().head == book.log.figures().head);
  CHECK(other.figures().entries == 3000);
  CHECK(other.figures().bytes > bytes * 9 / 10);
  CHECK(other.figures().bytes < bytes * 11 / 10);
}

TEST_CASE("log book: a clock that is years ahead erases one round at most") {
  LogBounds bounds;
  bounds.erased_max = 10;
  Book book;
  for (int i = 0; i < 30; ++i) {
    book.Add(Entry("ring", "a"));
  }
  LogBook log{bounds};
  const Now ahead{kNow + std::chrono::hours(24 * 5000), {0}};
  REQUIRE(log.Load(*book.store.Snapshot(), ahead, [](auto, const auto&) {}).has_value());
  CHECK(log.Due(ahead.mono));
  const auto changes = log.Prune(*book.store.Snapshot(), ahead);
  REQUIRE(changes.has_value());
  REQUIRE(changes->size() == 2);
  CHECK(std::get<storage::EraseLog>(changes->front()).through == 10);
  // The commit fails: it is as if nothing had been asked.
  log.Lost();
  CHECK(log.figures().entries == 30);
  CHECK_FALSE(log.Due({1}));
}

}  // namespace latchkey::bridge
