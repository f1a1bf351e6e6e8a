// What was erased is in no file of the store any more, once the store was rewritten and opened
// again.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include <doctest/doctest.h>
#include <unistd.h>

#include "storage/rocksdb_store.h"

namespace latchkey::storage {

namespace {

namespace fs = std::filesystem;

// Which files below `folder` hold `text`.
std::string FilesWith(const fs::path& folder, const std::string& text) {
  std::string found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    if (bytes.find(text) != std::string::npos) {
      found += entry.path().filename().string() + " ";
    }
  }
  return found;
}

CarRef Ref(const std::string& car) {
  return {FleetId::Parse("demo").value(), CarId::Parse(car).value()};
}

std::unique_ptr<RocksDbStore> Open(const fs::path& folder) {
  RocksDbOptions options;
  options.path = folder;
  options.free_bytes_min = 0;
  return std::move(RocksDbStore::Open(options).value());
}

}  // namespace

TEST_CASE("scrub: no file of the store names what was erased, nor holds what was replaced") {
  const fs::path folder = fs::temp_directory_path() / ("scrub-" + std::to_string(::getpid()));
  const Timestamp now{1'700'000'000'000};
  {
    const auto store = Open(folder);
    for (int i = 0; i < 200; ++i) {
      const CarRef ref = Ref(i % 2 == 0 ? "erasedcar" : "keptcar" + std::to_string(i));
      const std::string payload = (i % 2 == 0 ? "WBA-erased-" : "WBA-kept-") + std::to_string(i);
      REQUIRE(store->Commit(std::vector<Change>{StateRecord{ref, Group::kBody, now, payload},
                                                LogRecord{static_cast<uint64_t>(i + 1), payload},
                                                SessionRecord{ref, now, payload}},
                            Durability::kSoon));
    }
    REQUIRE(store->Scrub());  // so that it is in tables, too
    std::vector<Change> changes = {EraseCar{Ref("erasedcar")}};
    for (int i = 0; i < 200; i += 2) {
      changes.emplace_back(LogRecord{static_cast<uint64_t>(i + 1), "blank"});
    }
    REQUIRE(store->Commit(changes, Durability::kDurable));
    CHECK(!FilesWith(folder, "erasedcar").empty());
    REQUIRE(store->Scrub());
  }
  Open(folder).reset();
  CHECK(FilesWith(folder, "erasedcar") == "");
  CHECK(FilesWith(folder, "WBA-erased-") == "");
  CHECK(!FilesWith(folder, "keptcar").empty());
  size_t kept = 0;
  {
    const auto store = Open(folder);
    REQUIRE(store->Snapshot()->Scan(
        Kind::kState, std::nullopt, [&](const Record&) { ++kept; },
        [](std::string_view, const Error&) { FAIL("damaged"); }));
  }
  CHECK(kept == 100);
  fs::remove_all(folder);
}

}  // namespace latchkey::storage
