// Follower on RocksDB: a secondary instance for what is there, and the write-ahead logs for what
// comes, by sequence number. A log that is gone (its rows went into tables) leaves a gap, which is
// seen by the numbers and said; Flush at the writer before Open makes that unlikely.
#pragma once

#include <filesystem>
#include <memory>

#include "storage/follower.h"

namespace latchkey::storage {

class RocksDbFollower final : public Follower {
 public:
  // Opens the store in `path`; `scratch` is a folder of this instance's own, made when it is not
  // there. Error REASON_STORE_UNAVAILABLE: there is no store, or it cannot be read.
  static Result<std::unique_ptr<RocksDbFollower>> Open(const std::filesystem::path& path,
                                                       const std::filesystem::path& scratch);
  ~RocksDbFollower() override;
  RocksDbFollower(const RocksDbFollower&) = delete;
  RocksDbFollower& operator=(const RocksDbFollower&) = delete;

  uint64_t Expected() const override;
  Result<uint64_t> Load(const Visit& visit) override;
  Result<Caught> CatchUp(const Visit& visit) override;

 private:
  struct Impl;
  explicit RocksDbFollower(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace latchkey::storage
