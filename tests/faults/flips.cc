// See flips.h. What is right is what the undamaged store says.
#include "tests/faults/flips.h"

#include <fstream>
#include <map>
#include <optional>
#include <vector>

#include "storage/rocksdb_store.h"
#include "tests/load/world.h"

namespace latchkey::faults {

namespace {

using load::Expect;

namespace fs = std::filesystem;

// All records by kind and key, as bytes; nullopt: it does not open or cannot be read to its end.
struct Contents {
  std::map<std::pair<storage::Kind, std::string>, std::string> records;
  size_t damaged = 0;
};

constexpr storage::Kind kKinds[] = {storage::Kind::kState, storage::Kind::kRing,
                                    storage::Kind::kPresence, storage::Kind::kCommand,
                                    storage::Kind::kBlock};

std::optional<Contents> Read(const fs::path& path) {
  const auto store = storage::RocksDbStore::Open({path, 0, {}});
  if (!store) {
    return std::nullopt;
  }
  Contents contents;
  const auto reader = (*store)->Snapshot();
  for (const storage::Kind kind : kKinds) {
    const Result<void> read = reader->Scan(
        kind, std::nullopt,
        [&](const storage::Record& record) {
          const storage::KeyValue bytes =
              std::visit([](const auto& one) { return storage::Encode(one); }, record);
          contents.records[{kind, bytes.key}] = bytes.value;
        },
        [&](std::string_view, const Error&) { ++contents.damaged; });
    if (!read) {
      return std::nullopt;
    }
  }
  return contents;
}

// Of a command, what never changes: whose it is, where to, and the signed bytes while they are
// kept.
bool Credible(const std::string& key, const std::string& value,
              const std::pair<const std::pair<storage::Kind, std::string>, std::string>* right) {
  if (right == nullptr) {
    return false;  // nobody ever wrote such a key
  }
  const storage::Kind kind = right->first.first;
  const Result<storage::Record> now = storage::Decode(kind, key, value);
  const Result<storage::Record> then = storage::Decode(kind, key, right->second);
  const auto* command = now ? std::get_if<storage::CommandRecord>(&*now) : nullptr;
  const auto* sent = then ? std::get_if<storage::CommandRecord>(&*then) : nullptr;
  if (command == nullptr || sent == nullptr) {
    return now.has_value();
  }
  return command->ref == sent->ref && command->id == sent->id && command->lane == sent->lane &&
         command->order == sent->order &&
         (command->payload.empty() || sent->payload.empty() || command->payload == sent->payload);
}

}  // namespace

std::string FlipOneBit(const fs::path& store, std::mt19937_64& random) {
  std::map<std::string, std::vector<fs::path>> kinds;
  for (const auto& entry : fs::directory_iterator(store)) {
    const std::string name = entry.path().filename().string();
    const std::string extension = entry.path().extension().string();
    const bool manifest = name.starts_with("MANIFEST");
    if (entry.file_size() > 0 && (manifest || extension == ".log" || extension == ".sst")) {
      kinds[manifest ? "MANIFEST" : extension].push_back(entry.path());
    }
  }
  Expect(!kinds.empty(), "the store has no files");
  const auto kind = std::next(kinds.begin(), static_cast<long>(random() % kinds.size()));
  const fs::path path = kind->second.at(random() % kind->second.size());
  const uint64_t at = random() % fs::file_size(path);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 1 << random() % 8));
  return path.filename().string() + " byte " + std::to_string(at) + " of " +
         std::to_string(fs::file_size(path));
}

FlipTally FlipAndRead(const fs::path& store, const fs::path& scratch, int flips,
                      std::mt19937_64& random) {
  const auto copy = [&] {
    fs::remove_all(scratch);
    fs::copy(store, scratch, fs::copy_options::recursive);
  };
  copy();
  const std::optional<Contents> right = Read(scratch);
  Expect(right && right->damaged == 0 && !right->records.empty(), "the store is not whole");
  FlipTally tally;
  for (int i = 0; i < flips; ++i) {
    copy();
    const std::string place = FlipOneBit(scratch, random);
    const std::optional<Contents> found = Read(scratch);
    if (!found) {
      ++tally.refused;
      continue;
    }
    bool wrong = false;
    for (const auto& [key, value] : found->records) {
      const auto known = right->records.find(key);
      wrong =
          wrong || !Credible(key.second, value, known == right->records.end() ? nullptr : &*known);
    }
    size_t missing = 0;
    for (const auto& [key, value] : right->records) {
      const auto there = found->records.find(key);
      missing += there == found->records.end() || there->second != value ? 1 : 0;
    }
    tally.wrong += wrong ? 1 : 0;
    tally.where = wrong ? place : tally.where;
    if (missing == 0) {
      ++tally.harmless;
    } else if (missing <= found->damaged) {
      ++tally.told;
    } else if (place.find(".log ") != std::string::npos) {
      ++tally.as_torn;  // the store refuses a log that has a whole record behind the damage
    } else {
      ++tally.silent;
      tally.where = place + ": " + std::to_string(missing) + " of " +
                    std::to_string(right->records.size()) + " records missing or older, " +
                    std::to_string(found->damaged) + " told";
    }
  }
  return tally;
}

}  // namespace latchkey::faults
