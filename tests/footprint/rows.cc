// What the two migrations of the store gain and take: bytes that a command's life writes, the time
// to sweep and to compare, and how long it takes to find a car's records in the log.
//   footprint_rows [--cars N] [--log N]
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

#include "proto/log_chain.h"
#include "storage/rocksdb_store.h"

namespace {

using namespace latchkey;
using namespace latchkey::storage;
namespace fs = std::filesystem;

constexpr Timestamp kNow{1'700'000'000'000};
constexpr size_t kMessageBytes = 250;

double MsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("lk_rows_" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
  }

  ~Folder() { fs::remove_all(path_); }

  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const fs::path& path() const { return path_; }

  std::unique_ptr<RocksDbStore> Open(uint32_t schema) const {
    RocksDbOptions options;
    options.path = path_;
    options.fresh_schema = schema;
    return RocksDbStore::Open(options).value();
  }

  // Of what commits appended, as long as little of it has gone into tables.
  uint64_t LogBytes() const {
    uint64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(path_)) {
      bytes += entry.path().extension() == ".log" ? entry.file_size() : 0;
    }
    return bytes;
  }

 private:
  fs::path path_;
};

CarRef Car(uint64_t number) {
  return {FleetId::Parse("demo").value(), CarId::Parse("car-" + std::to_string(number)).value()};
}

CommandRecord Command(uint64_t number) {
  CommandRecord record;
  record.ref = Car(number);
  record.lane = KeyId::Parse("abcdefghijklmnopqrstuA").value();
  record.id = CommandId::Make(static_cast<int64_t>(number) + 1, "0123456789");
  record.order = number;
  record.payload = std::string(kMessageBytes, static_cast<char>('a' + number % 26));
  return record;
}

void Must(const Result<void>& result) {
  if (!result) {
    std::cerr << result.error().text << '\n';
    std::exit(1);
  }
}

// Held, then delivered, then done, each in a commit of its own.
void CommandLives(uint32_t schema) {
  constexpr uint64_t kCommands = 10'000;
  const Folder folder;
  const auto store = folder.Open(schema);
  const uint64_t before = folder.LogBytes();
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t i = 0; i < kCommands; ++i) {
    CommandRecord record = Command(i);
    Must(store->Commit(std::vector<storage::Change>{record}, Durability::kSoon));
    record.state = v1::RECEIPT_STATE_DELIVERED;
    Must(store->Commit(std::vector<storage::Change>{record}, Durability::kSoon));
    Must(store->Commit(std::vector<storage::Change>{record}, Durability::kSoon));  // sent again
    record.state = v1::RECEIPT_STATE_DONE;
    record.payload.clear();
    Must(store->Commit(std::vector<storage::Change>{record}, Durability::kSoon));
  }
  std::cout << "schema " << schema << ": a command's life (held, delivered twice, done) writes "
            << (folder.LogBytes() - before) / kCommands << " bytes, "
            << MsSince(begin) * 1000 / static_cast<double>(kCommands) / 4 << " us a commit\n";
}

// Sweeps and compares what is to be migrated next, to its end.
void Migrate(RocksDbStore& store) {
  Must(store.Migrate(MigrationOrder::kStart, kNow));
  auto begin = std::chrono::steady_clock::now();
  double longest = 0;
  for (bool more = true; more;) {
    const auto slice = std::chrono::steady_clock::now();
    more = store.Sweep(512, kNow).value();
    longest = std::max(longest, MsSince(slice));
  }
  const MigrationStatus status = store.Migration();
  std::cout << status.name << ": " << status.rows_done << " rows swept in " << MsSince(begin)
            << " ms, " << status.bytes_written << " bytes written, longest slice of 512 " << longest
            << " ms\n";
  begin = std::chrono::steady_clock::now();
  const Comparison comparison = store.Compare([](uint64_t) { return true; }).value();
  std::cout << status.name << ": " << comparison.compared << " records compared in "
            << MsSince(begin) << " ms, " << comparison.differences << " differences\n";
  Must(store.Compared(comparison, kNow));
  Must(store.Migrate(MigrationOrder::kCutOver, kNow));
  Must(store.Migrate(MigrationOrder::kFinish, kNow));
}

void SweepCommands(uint64_t cars) {
  const Folder folder;
  const auto store = folder.Open(1);
  std::vector<storage::Change> changes;
  for (uint64_t i = 0; i < cars; ++i) {
    changes.emplace_back(Command(i));
    if (changes.size() == 1000 || i + 1 == cars) {
      Must(store->Commit(changes, Durability::kSoon));
      changes.clear();
    }
  }
  Migrate(*store);
}

void FindInLog(const RocksDbStore& store, const std::string& when) {
  const auto begin = std::chrono::steady_clock::now();
  uint64_t found = 0;
  uint64_t read = 0;
  Must(store.Snapshot()->ScanLogOf(
      Car(7), 0,
      [&](const LogRecord& record) {
        const Result<LogLink> link = OpenLogRecord(record.payload);
        found += link && link->entry && link->entry->car() == Car(7).car.str() ? 1 : 0;
        ++read;
        return true;
      },
      [](std::string_view, const Error&) {}));
  std::cout << "log of one car " << when << ": " << found << " found, " << read << " read, "
            << MsSince(begin) << " ms\n";
}

void SweepLog(uint64_t records) {
  const Folder folder;
  const auto store = folder.Open(2);
  LogHead head;
  std::vector<storage::Change> changes;
  for (uint64_t i = 0; i < records; ++i) {
    v1::LogEntry entry;
    entry.set_at_ms(static_cast<uint64_t>(kNow.ms) + i);
    entry.set_event("command");
    entry.set_fleet("demo");
    entry.set_car(Car(i % 1000).car.str());
    entry.set_key_id(std::string(22, 'k'));
    entry.set_command_id(std::string(16, 'i'));
    entry.set_action("lock");
    entry.set_salt(std::string(16, 's'));
    LogRecord record;
    record.payload = AppendToLog(head, entry);
    record.sequence = head.sequence;
    changes.emplace_back(std::move(record));
    if (changes.size() == 1000 || i + 1 == records) {
      Must(store->Commit(changes, Durability::kSoon));
      changes.clear();
    }
  }
  FindInLog(*store, "before");
  Migrate(*store);
  FindInLog(*store, "after");
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t cars = 100'000;
  uint64_t log = 1'000'000;
  for (int i = 1; i + 1 < argc; i += 2) {
    (std::string(argv[i]) == "--cars" ? cars : log) = std::strtoull(argv[i + 1], nullptr, 10);
  }
  CommandLives(1);
  CommandLives(2);
  SweepCommands(cars);
  SweepLog(log);
  return 0;
}
