// See filling.h.
#include "tests/migration/filling.h"

#include <functional>
#include <optional>
#include <string_view>

#include "latchkey/v1/presence.pb.h"
#include "proto/command.h"
#include "proto/result.h"
#include "proto/topic.h"

namespace latchkey::migration {

namespace {

using storage::Change;
using storage::CommandRecord;
using storage::Kind;
using storage::Record;

constexpr size_t kBatch = 2000;
constexpr Duration kParkedFor = std::chrono::hours(3);
constexpr Duration kBetweenCommands = std::chrono::minutes(20);
constexpr std::string_view kPrefix = "F3-";
constexpr size_t kWordsMax = 10;

// Collects changes and commits them by the batch.
class Writer {
 public:
  explicit Writer(storage::Store& store) : store_(store) {}

  void Put(Change change) {
    changes_.push_back(std::move(change));
    ++written_;
    if (changes_.size() >= kBatch) {
      Flush();
    }
  }

  void Flush() {
    LK_ASSERT(store_.Commit(changes_, storage::Durability::kSoon).has_value());
    changes_.clear();
  }

  size_t written() const { return written_; }

 private:
  storage::Store& store_;
  std::vector<Change> changes_;
  size_t written_ = 0;
};

std::string Bytes(uint64_t number, size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) {
    bytes += static_cast<char>(number >> (8 * (i % 8)) & 0xff);
  }
  return bytes;
}

void PutState(const footprint::Cars& cars, size_t car, Timestamp parked, Writer& writer) {
  const CarRef ref = cars.RefOf(car);
  for (Publish& said : cars.Parks(car, parked)) {
    const Group group = ParseTopic(said.topic)->group;
    writer.Put(storage::StateRecord{ref, group, parked, std::move(said.payload)});
  }
  writer.Put(storage::RingRecord{ref, 5, parked, cars.Ring(car, parked).payload});
  v1::Presence presence;
  presence.set_since_ms(static_cast<uint64_t>(parked.ms));
  presence.set_session(1);
  presence.set_broker_started_at_ms(static_cast<uint64_t>((parked - kParkedFor).ms));
  presence.set_address_kind(v1::ADDRESS_KIND_IPV4);
  presence.set_reason(v1::OFFLINE_REASON_CONNECTION_ENDED);
  writer.Put(storage::PresenceRecord{ref, parked, presence.SerializeAsString()});
}

v1::LogEntry EntryOf(const CommandRecord& command) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(command.changed_at.ms));
  entry.set_event("command");
  entry.set_fleet(command.ref.fleet.str());
  entry.set_car(command.ref.car.str());
  entry.set_key_id(command.lane.str());
  entry.set_command_id(command.id.ToBytes());
  entry.set_state(command.state);
  entry.set_source(command.state == v1::RECEIPT_STATE_HELD ? v1::RECEIPT_SOURCE_BRIDGE
                                                           : v1::RECEIPT_SOURCE_CAR);
  entry.set_action("lock");
  entry.set_salt(Bytes(command.order * 0x9e3779b97f4a7c15, 16));
  return entry;
}

// Commands of one car, and what the log says of each.
class Commands {
 public:
  Commands(const footprint::Cars& cars, Writer& writer) : cars_(cars), writer_(writer) {}

  void Finished(size_t car, Timestamp parked, Filling& filling) {
    const PrivateKey phone = PrivateKey::Generate();
    for (size_t i = 0; i < kFinishedPerCar; ++i) {
      CommandRecord command;
      command.ref = cars_.RefOf(car);
      command.lane = phone.Public().Id();
      command.received_at = parked - kBetweenCommands * static_cast<int64_t>(i + 1);
      command.changed_at = command.received_at + std::chrono::seconds(1);
      command.id = CommandId::Make(command.received_at.ms, Bytes(car, 8) + Bytes(i, 2));
      command.state = i == 0 ? v1::RECEIPT_STATE_EXPIRED : v1::RECEIPT_STATE_DONE;
      command.reason = i == 0 ? v1::REASON_EXPIRED : v1::REASON_UNSPECIFIED;
      Put(std::move(command), filling);
      ++filling.finished;
    }
  }

  void Held(size_t car, Timestamp now, Filling& filling) {
    const Publish sent = cars_.Command(car, now);
    const KeyId lane = KeyId::Parse(ParseTopic(sent.topic)->lane).value();
    CommandRecord command;
    command.ref = cars_.RefOf(car);
    command.lane = lane;
    command.id = ParseCommand(sent.payload, command.ref, lane).value().id;
    command.received_at = now;
    command.changed_at = now;
    command.state = v1::RECEIPT_STATE_HELD;
    command.payload = sent.payload;
    Put(std::move(command), filling);
    ++filling.held;
  }

 private:
  void Put(CommandRecord command, Filling& filling) {
    command.order = next_order_++;
    std::string entry = AppendToLog(filling.log, EntryOf(command));
    writer_.Put(storage::LogRecord{filling.log.sequence, std::move(entry)});
    writer_.Put(std::move(command));
  }

  const footprint::Cars& cars_;
  Writer& writer_;
  uint64_t next_order_ = 1;
};

const CarRef* RefOf(const Record& record) {
  return std::visit(
      [](const auto& one) -> const CarRef* {
        if constexpr (requires { one.ref; }) {
          return &one.ref;
        } else {
          return nullptr;
        }
      },
      record);
}

struct Numbered {
  uint64_t key = 0;
  uint64_t value = 0;
};

Numbered NumberOf(const Record& record) {
  const storage::KeyValue bytes = storage::Encode(record);
  return {std::hash<std::string>()(bytes.key), std::hash<std::string>()(bytes.value)};
}

using Visit = std::function<void(const Record&)>;

// All records of a kind that belong to cars of Fill.
void EachFilled(const storage::Reader& reader, Kind kind, const Visit& visit,
                std::vector<std::string>& damage) {
  const Result<void> read = reader.Scan(
      kind, std::nullopt,
      [&](const Record& record) {
        const CarRef* ref = RefOf(record);
        if (ref != nullptr && IsFilled(*ref)) {
          visit(record);
        }
      },
      [&](std::string_view, const Error& error) { damage.push_back("damaged: " + error.text); });
  LK_ASSERT(read.has_value());
}

// The log up to `through`; that all of it is a chain.
void EachEntry(const storage::Reader& reader, uint64_t through, const Visit& visit,
               std::vector<std::string>& damage) {
  LogHead head;
  const Result<void> read = reader.ScanLog(
      1,
      [&](const storage::LogRecord& record) {
        const Result<LogLink> link = OpenLogRecord(record.payload);
        const Result<void> follows = link ? CheckFollows(head, *link) : Result<void>();
        if (!link || !follows) {
          damage.push_back("the log: " + (link ? follows.error().text : link.error().text));
          return false;
        }
        head = link->head;
        if (record.sequence <= through) {
          visit(record);
        }
        return true;
      },
      [&](std::string_view, const Error& error) {
        damage.push_back("damaged log: " + error.text);
      });
  LK_ASSERT(read.has_value());
  if (head.sequence < through) {
    damage.push_back("the log ends at " + std::to_string(head.sequence));
  }
}

void EachRecord(const storage::Store& store, Kind kind, uint64_t log_through, const Visit& visit,
                std::vector<std::string>& damage) {
  const auto reader = store.Snapshot();
  if (kind == Kind::kLog) {
    EachEntry(*reader, log_through, visit, damage);
  } else if (kind != Kind::kBlock) {
    EachFilled(*reader, kind, visit, damage);
  }
}

std::string NameOf(Kind kind, const Record& record) {
  const CarRef* ref = RefOf(record);
  return "a record of kind " + std::to_string(static_cast<int>(kind)) +
         (ref == nullptr ? "" : " of " + ref->ToText());
}

}  // namespace

Filling Fill(storage::Store& store, const footprint::Cars& cars, size_t count, Timestamp now) {
  Filling filling;
  Writer writer(store);
  Commands commands(cars, writer);
  const Timestamp parked = now - kParkedFor;
  for (size_t car = 0; car < count; ++car) {
    PutState(cars, car, parked, writer);
    commands.Finished(car, parked, filling);
    if (car % footprint::kCommandedEvery == 0) {
      commands.Held(car, now, filling);
    }
  }
  writer.Flush();
  LK_ASSERT(store.Sync().has_value());
  filling.records = writer.written();
  return filling;
}

bool IsFilled(const CarRef& ref) {
  return ref.car.str().substr(0, kPrefix.size()) == kPrefix;
}

Contents::Contents(const storage::Store& store, uint64_t log_through) : log_through_(log_through) {
  std::vector<std::string> damage;
  for (const Kind kind : storage::kKinds) {
    Numbers& numbers = by_kind_.at(static_cast<size_t>(kind));
    EachRecord(
        store, kind, log_through,
        [&](const Record& record) {
          const Numbered number = NumberOf(record);
          numbers[number.key] = number.value;
        },
        damage);
  }
  LK_ASSERT(damage.empty());
}

size_t Contents::records() const {
  size_t records = 0;
  for (const Numbers& numbers : by_kind_) {
    records += numbers.size();
  }
  return records;
}

std::vector<std::string> Contents::WrongsIn(const storage::Store& later) const {
  std::vector<std::string> wrongs;
  for (const Kind kind : storage::kKinds) {
    const Numbers& numbers = by_kind_.at(static_cast<size_t>(kind));
    size_t right = 0;
    size_t wrong = 0;
    EachRecord(
        later, kind, log_through_,
        [&](const Record& record) {
          const Numbered number = NumberOf(record);
          const auto found = numbers.find(number.key);
          if (found != numbers.end() && found->second == number.value) {
            ++right;
          } else if (++wrong <= kWordsMax) {
            wrongs.push_back(NameOf(kind, record) + (found == numbers.end()
                                                         ? " was not there before"
                                                         : " is not what it was"));
          }
        },
        wrongs);
    if (right + wrong < numbers.size() || wrong > 0) {
      wrongs.push_back("of kind " + std::to_string(static_cast<int>(kind)) + " " +
                       std::to_string(numbers.size()) + " records were there, " +
                       std::to_string(right) + " are as they were, " + std::to_string(wrong) +
                       " are not");
    }
  }
  return wrongs;
}

}  // namespace latchkey::migration
