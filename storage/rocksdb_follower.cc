// See rocksdb_follower.h.
#include "storage/rocksdb_follower.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/table.h>
#include <rocksdb/transaction_log.h>
#include <rocksdb/write_batch.h>

#include "storage/rocksdb_log.h"

namespace latchkey::storage {

namespace {

// In the order in which a core is to be given them.
struct Followed {
  Kind kind;
  const char* family;
};

constexpr std::array<Followed, 3> kFollowed = {
    {{Kind::kRing, "ring"}, {Kind::kPresence, "presence"}, {Kind::kState, "state"}}};
constexpr size_t kCacheBytes = size_t{8} << 20;
// The writer may delete a table between our reading of its name and our opening it.
constexpr int kTries = 5;

tl::unexpected<Error> Unavailable(const std::string& path, const rocksdb::Status& status) {
  return Fail(v1::REASON_STORE_UNAVAILABLE,
              "the store in " + path + " cannot be followed: " + status.ToString());
}

}  // namespace

struct RocksDbFollower::Impl {
  std::string path;
  std::vector<rocksdb::ColumnFamilyHandle*> families;  // as kFollowed, then default
  std::unique_ptr<rocksdb::DB> database;
  uint64_t through = 0;  // sequence up to which everything was visited

  ~Impl() {
    for (rocksdb::ColumnFamilyHandle* family : families) {
      static_cast<void>(database->DestroyColumnFamilyHandle(family));
    }
  }

  std::optional<Kind> KindOf(uint32_t family) const {
    for (size_t i = 0; i < kFollowed.size(); ++i) {
      if (families.at(i)->GetID() == family) {
        return kFollowed.at(i).kind;
      }
    }
    return std::nullopt;
  }
};

namespace {

// Gives the records of one batch of the log to `visit`. What is erased of these kinds is a whole
// car: which, a range does not say.
class BatchReader final : public rocksdb::WriteBatch::Handler {
 public:
  using KindOf = std::function<std::optional<Kind>(uint32_t family)>;

  BatchReader(KindOf kind_of, const Follower::Visit& visit)
      : kind_of_(std::move(kind_of)), visit_(visit) {}

  rocksdb::Status PutCF(uint32_t family, const rocksdb::Slice& key,
                        const rocksdb::Slice& value) override {
    const std::optional<Kind> kind = kind_of_(family);
    if (!kind) {
      return rocksdb::Status::OK();
    }
    const Result<Record> record = Decode(*kind, key.ToStringView(), value.ToStringView());
    if (record) {
      visit_(*record);
      ++caught_.records;
    }
    return rocksdb::Status::OK();
  }

  rocksdb::Status DeleteCF(uint32_t family, const rocksdb::Slice& /*key*/) override {
    return Erased(family);
  }

  rocksdb::Status SingleDeleteCF(uint32_t family, const rocksdb::Slice& /*key*/) override {
    return Erased(family);
  }

  rocksdb::Status DeleteRangeCF(uint32_t family, const rocksdb::Slice& /*begin*/,
                                const rocksdb::Slice& /*end*/) override {
    return Erased(family);
  }

  void LogData(const rocksdb::Slice& /*blob*/) override {}

  const Follower::Caught& caught() const { return caught_; }

 private:
  rocksdb::Status Erased(uint32_t family) {
    caught_.whole = caught_.whole && !kind_of_(family);
    return rocksdb::Status::OK();
  }

  KindOf kind_of_;
  const Follower::Visit& visit_;
  Follower::Caught caught_;
};

}  // namespace

RocksDbFollower::RocksDbFollower(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

RocksDbFollower::~RocksDbFollower() = default;

Result<std::unique_ptr<RocksDbFollower>> RocksDbFollower::Open(
    const std::filesystem::path& path, const std::filesystem::path& scratch) {
  std::error_code error;
  std::filesystem::create_directories(scratch, error);
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kCacheBytes);
  rocksdb::ColumnFamilyOptions family;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const Followed& one : kFollowed) {
    descriptors.emplace_back(one.family, family);
  }
  descriptors.emplace_back(rocksdb::kDefaultColumnFamilyName, family);
  rocksdb::DBOptions options;
  options.max_open_files = -1;  // as secondary instances need
  options.info_log = MakeRocksDbLog(scratch);
  auto impl = std::make_unique<Impl>();
  impl->path = path.string();
  rocksdb::Status status;
  for (int i = 0; i < kTries; ++i) {
    rocksdb::DB* raw = nullptr;
    status = rocksdb::DB::OpenAsSecondary(options, impl->path, scratch.string(), descriptors,
                                          &impl->families, &raw);
    impl->database.reset(raw);
    if (status.ok()) {
      impl->through = impl->database->GetLatestSequenceNumber();
      return std::unique_ptr<RocksDbFollower>(new RocksDbFollower(std::move(impl)));
    }
    impl->families.clear();
  }
  return Unavailable(impl->path, status);
}

uint64_t RocksDbFollower::Expected() const {
  uint64_t sum = 0;
  for (size_t i = 0; i < kFollowed.size(); ++i) {
    uint64_t keys = 0;
    impl_->database->GetIntProperty(impl_->families.at(i),
                                    rocksdb::DB::Properties::kEstimateNumKeys, &keys);
    sum += keys;
  }
  return sum;
}

Result<uint64_t> RocksDbFollower::Load(const Visit& visit) {
  uint64_t records = 0;
  impl_->through = impl_->database->GetLatestSequenceNumber();
  for (size_t i = 0; i < kFollowed.size(); ++i) {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    const std::unique_ptr<rocksdb::Iterator> at(
        impl_->database->NewIterator(options, impl_->families.at(i)));
    for (at->SeekToFirst(); at->Valid(); at->Next()) {
      const Result<Record> record =
          Decode(kFollowed.at(i).kind, at->key().ToStringView(), at->value().ToStringView());
      if (record) {
        visit(*record);
        ++records;
      }
    }
    if (!at->status().ok()) {
      return Unavailable(impl_->path, at->status());
    }
  }
  return records;
}

Result<Follower::Caught> RocksDbFollower::CatchUp(const Visit& visit) {
  rocksdb::Status status;
  for (int i = 0; i < kTries; ++i) {
    status = impl_->database->TryCatchUpWithPrimary();
    if (status.ok()) {
      break;
    }
  }
  if (!status.ok()) {
    return Unavailable(impl_->path, status);
  }
  const uint64_t last = impl_->database->GetLatestSequenceNumber();
  if (last <= impl_->through) {
    return Caught{};
  }
  BatchReader reader([impl = impl_.get()](uint32_t family) { return impl->KindOf(family); }, visit);
  std::unique_ptr<rocksdb::TransactionLogIterator> at;
  status = impl_->database->GetUpdatesSince(impl_->through + 1, &at);
  if (!status.ok()) {
    return Caught{0, false};
  }
  for (; at->Valid() && impl_->through < last; at->Next()) {
    const rocksdb::BatchResult batch = at->GetBatch();
    if (batch.sequence > impl_->through + 1) {
      return Caught{reader.caught().records, false};  // what lay between is in tables alone
    }
    status = batch.writeBatchPtr->Iterate(&reader);
    if (!status.ok()) {
      return Unavailable(impl_->path, status);
    }
    const uint64_t end = batch.sequence + batch.writeBatchPtr->Count();
    impl_->through = end - 1;
  }
  Caught caught = reader.caught();
  caught.whole = caught.whole && at->status().ok() && impl_->through >= last;
  return caught;
}

}  // namespace latchkey::storage
