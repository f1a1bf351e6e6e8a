// See growth_rings.h.
#include "tools/bench/growth_rings.h"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <malloc.h>

#include "plugins/auth/directory.h"
#include "plugins/auth/ring_file.h"
#include "proto/certificate.h"
#include "storage/rocksdb_store.h"
#include "tools/bench/process.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {
namespace {

constexpr size_t kLookUps = 1'000'000;
constexpr size_t kLookUpsApart = 65'536;  // different ones: more than a cache holds
constexpr size_t kBatch = 1000;           // records a commit
constexpr uint64_t kFirstChange = 2;      // version; the file's are 1
constexpr size_t kChanges = 200;
constexpr size_t kRingBytes = 500;  // of one with four keys

// One pairing, as a topic names it.
struct Pairing {
  CarRef ref;
  std::string key;
};

uint64_t HeapInUse() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

Result<auth::Trust> TrustOf(const Place& place) {
  auth::Trust trust;
  trust.cell = place.cell().name;
  LK_TRY(std::string der, PemToDer(place.fleet_ca().certificate_pem));
  trust.fleet_cas.emplace(place.fleet().str(), std::move(der));
  return trust;
}

// The plugin's way with each ring of its file; how many were not taken.
Result<size_t> Load(const std::filesystem::path& folder, const auth::Trust& trust,
                    auth::Directory& directory, std::vector<CarRef>& cars) {
  size_t refused = 0;
  LK_TRY(const std::unique_ptr<auth::RingFile> file,
         auth::RingFile::Open((folder / "rings.log").string(),
                              [&](auth::RecordKind, std::string_view content) -> auth::Judged {
                                const auto applied = directory.Apply(content, trust, std::nullopt);
                                if (!applied) {
                                  ++refused;
                                  return {auth::Fate::kKept, ""};
                                }
                                cars.push_back(applied->ref);
                                return {auth::Fate::kNewest, applied->ref.ToText()};
                              }));
  return refused;
}

// Nanoseconds of one look-up among `pairings`.
double LookUp(const auth::Directory& directory, const std::vector<Pairing>& pairings, bool found,
              size_t& wrong) {
  const double before = ThreadCpuSeconds();
  for (size_t i = 0; i < kLookUps; ++i) {
    const Pairing& pairing = pairings[i % pairings.size()];
    const auth::HeldRing* ring = directory.Find({pairing.ref.fleet.str(), pairing.ref.car.str()});
    const bool known = ring != nullptr && ring->Find(pairing.key) != nullptr;
    wrong += known == found ? 0 : 1;
  }
  return (ThreadCpuSeconds() - before) / static_cast<double>(kLookUps) * 1e9;
}

Result<double> ChangeRings(auth::Directory& directory, const auth::Trust& trust,
                           const Crowd& crowd) {
  std::vector<std::pair<CarRef, std::string>> rings;
  for (size_t i = 0; i < kChanges; ++i) {
    const size_t car = i % crowd.cars();
    rings.emplace_back(crowd.car(car).ref, crowd.SignedRing(car, kFirstChange + i / crowd.cars()));
  }
  const double before = ThreadCpuSeconds();
  for (const auto& [ref, ring] : rings) {
    LK_TRY(const auth::Applied applied,
           directory.Apply(ring, trust, auth::Place{ref.fleet.str(), ref.car.str()}));
    if (!applied.changed) {
      return Fail(v1::REASON_MALFORMED, "a next ring of " + ref.ToText() + " changed nothing");
    }
  }
  return (ThreadCpuSeconds() - before) / static_cast<double>(kChanges) * 1e6;
}

// Microseconds of one check of a signature over as many bytes as a ring has.
double VerifyOne(const Crowd& crowd) {
  const PrivateKey& key = crowd.car(0).key;
  const std::string bytes(kRingBytes, 'r');
  const std::string signature = key.Sign(bytes);
  const PublicKey checker = key.Public();
  size_t good = 0;
  const double before = ThreadCpuSeconds();
  for (size_t i = 0; i < kChanges; ++i) {
    good += checker.Verify(bytes, signature) ? 1 : 0;
  }
  LK_ASSERT(good == kChanges);
  return (ThreadCpuSeconds() - before) / static_cast<double>(kChanges) * 1e6;
}

}  // namespace

Result<DirectoryCost> MeasureDirectory(const std::filesystem::path& folder, const Place& place,
                                       const Crowd& crowd) {
  LK_TRY(const auth::Trust trust, TrustOf(place));
  DirectoryCost cost;
  std::vector<CarRef> cars;
  cars.reserve(size_t{1} << 18);
  ::malloc_trim(0);
  const uint64_t heap_before = HeapInUse();
  const double began = ThreadCpuSeconds();
  auth::Directory directory;
  LK_TRY(const size_t refused, Load(folder, trust, directory, cars));
  cost.load_s = ThreadCpuSeconds() - began;
  if (refused != 0 || cars.empty()) {
    return Fail(v1::REASON_MALFORMED,
                std::to_string(refused) + " rings of the file were not taken");
  }
  uint64_t listed = 0;  // bytes of `cars` itself: short names lie in the strings
  for (const CarRef& ref : cars) {
    listed += ref.car.str().capacity() > sizeof(std::string) ? ref.car.str().capacity() : 0;
  }
  cost.bytes = static_cast<double>(HeapInUse() - heap_before - listed);
  cost.cars = directory.size();
  std::mt19937_64 random(1);
  std::vector<Pairing> pairings;
  for (size_t i = 0; i < kLookUpsApart; ++i) {
    const CarRef& ref = cars[random() % cars.size()];
    const auth::HeldRing* ring = directory.Find({ref.fleet.str(), ref.car.str()});
    pairings.push_back({ref, std::string(ring->Keys()[random() % ring->key_count].Id())});
  }
  for (const CarRef& ref : cars) {
    cost.pairings += directory.Find({ref.fleet.str(), ref.car.str()})->key_count;
  }
  size_t wrong = 0;
  cost.lookup_ns = LookUp(directory, pairings, true, wrong);
  const std::string stranger = PrivateKey::Generate().Public().Id().str();
  for (Pairing& pairing : pairings) {
    pairing.key = stranger;
  }
  cost.stranger_ns = LookUp(directory, pairings, false, wrong);
  if (wrong != 0) {
    return Fail(v1::REASON_MALFORMED, "a look-up among the rings was answered wrongly");
  }
  LK_TRY(cost.ring_change_us, ChangeRings(directory, trust, crowd));
  cost.verify_us = VerifyOne(crowd);
  return cost;
}

Result<StoreCost> MeasureStore(const std::filesystem::path& folder, const Place& place,
                               const Crowd& crowd) {
  LK_TRY(const std::filesystem::path path, place.NewFolder("store"));
  storage::RocksDbOptions options;
  options.path = path;
  StoreCost cost;
  double began = MonotonicSeconds();
  size_t written = 0;
  {
    LK_TRY(const std::unique_ptr<storage::RocksDbStore> store,
           storage::RocksDbStore::Open(options));
    std::vector<storage::Change> batch;
    Result<void> failed;
    const Timestamp now = cli::ReadClocks().wall;
    const auto commit = [&] {
      const Result<void> done = store->Commit(batch, storage::Durability::kSoon);
      failed = failed ? done : failed;
      batch.clear();
    };
    const auto read = [&](auth::RecordKind, std::string_view content) -> auth::Judged {
      batch.emplace_back(storage::RingRecord{crowd.RefOf(written++), 1, now, std::string(content)});
      if (batch.size() >= kBatch) {
        commit();
      }
      return {auth::Fate::kKept, ""};
    };
    LK_TRY(const std::unique_ptr<auth::RingFile> file,
           auth::RingFile::Open((folder / "rings.log").string(), read));
    commit();
    LK_CHECK(failed);
    LK_CHECK(store->Sync());
  }
  cost.write_s = MonotonicSeconds() - began;
  began = MonotonicSeconds();
  LK_TRY(const std::unique_ptr<storage::RocksDbStore> store, storage::RocksDbStore::Open(options));
  cost.open_s = MonotonicSeconds() - began;
  began = MonotonicSeconds();
  size_t found = 0;
  size_t damaged = 0;
  LK_CHECK(store->Snapshot()->Scan(
      storage::Kind::kRing, std::nullopt, [&](const storage::Record&) { ++found; },
      [&](std::string_view, const Error&) { ++damaged; }));
  cost.read_s = MonotonicSeconds() - began;
  if (found != written || damaged != 0) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "of " + std::to_string(written) + " rings the store has " + std::to_string(found));
  }
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    std::error_code error;
    const auto bytes = entry.file_size(error);
    cost.disk_bytes += error ? 0 : bytes;
  }
  return cost;
}

}  // namespace latchkey::bench
