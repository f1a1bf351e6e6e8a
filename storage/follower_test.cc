// A store that is followed while it is written: everything that was committed is visited, once as
// it is and then as it changes, and what cannot be told is said to be so.
#include "storage/follower.h"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/rocksdb_follower.h"
#include "storage/rocksdb_store.h"
#include "storage/store_lock.h"

namespace latchkey::storage {

namespace {

namespace fs = std::filesystem;

class Followed {
 public:
  Followed() {
    std::string name = (fs::temp_directory_path() / "lk_follower_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
    RocksDbOptions options;
    options.path = path_ / "store";
    options.free_bytes_min = 0;
    auto opened = RocksDbStore::Open(options);
    REQUIRE(opened);
    store_ = *std::move(opened);
  }

  ~Followed() {
    follower_.reset();
    store_.reset();
    fs::remove_all(path_);
  }

  Followed(const Followed&) = delete;
  Followed& operator=(const Followed&) = delete;

  void Commit(const std::vector<Change>& changes) {
    REQUIRE(store_->Commit(changes, Durability::kSoon));
  }

  void Follow() {
    auto opened = RocksDbFollower::Open(path_ / "store", path_ / "scratch");
    REQUIRE(opened);
    follower_ = *std::move(opened);
    held_.clear();
    REQUIRE(follower_->Load([this](const Record& record) { Take(record); }));
  }

  Follower::Caught CatchUp() {
    const auto caught = follower_->CatchUp([this](const Record& record) { Take(record); });
    REQUIRE(caught);
    return *caught;
  }

  void CloseStore() { store_.reset(); }

  RocksDbStore& store() { return *store_; }

  fs::path path() const { return path_ / "store"; }

  std::string Held(const std::string& car) const {
    const auto found = held_.find(car);
    return found == held_.end() ? "" : found->second;
  }

 private:
  void Take(const Record& record) {
    if (const auto* state = std::get_if<StateRecord>(&record)) {
      held_[state->ref.car.str()] = state->payload;
    }
  }

  fs::path path_;
  std::unique_ptr<RocksDbStore> store_;
  std::unique_ptr<RocksDbFollower> follower_;
  std::map<std::string, std::string> held_;
};

CarRef Car(const std::string& name) {
  return {FleetId::Parse("f").value(), CarId::Parse(name).value()};
}

Change State(const std::string& car, std::string payload) {
  return StateRecord{Car(car), Group::kBody, {1}, std::move(payload)};
}

}  // namespace

TEST_CASE("follower: what was there and what comes is visited, beside the writer and after it") {
  Followed followed;
  followed.Commit({State("a", "1"), State("b", "1")});
  REQUIRE(followed.store().Flush());
  followed.Commit({State("a", "2")});
  followed.Follow();
  CHECK(followed.Held("a") == "2");
  CHECK(followed.Held("b") == "1");
  CHECK(followed.CatchUp().records == 0);

  followed.Commit({State("b", "2"), WakeRecord{Car("b"), {1}, 1, {1}}});
  followed.Commit({State("c", "1"), State("b", "3")});
  const Follower::Caught caught = followed.CatchUp();
  CHECK(caught.whole);
  CHECK(caught.records == 3);
  CHECK(followed.Held("b") == "3");
  CHECK(followed.Held("c") == "1");

  followed.Commit({State("a", "4")});
  followed.CloseStore();
  CHECK(followed.CatchUp().whole);
  CHECK(followed.Held("a") == "4");
}

TEST_CASE("follower: an erased car and a log that is gone are said, not passed over") {
  Followed followed;
  followed.Commit({State("a", "1"), State("b", "1")});
  followed.Follow();
  followed.Commit({EraseCar{Car("a")}});
  CHECK_FALSE(followed.CatchUp().whole);
  followed.Follow();
  CHECK(followed.Held("a").empty());
  CHECK(followed.Held("b") == "1");

  followed.Commit({State("b", "2")});
  REQUIRE(followed.store().Flush());  // its log is deleted
  followed.Commit({State("c", "1")});
  CHECK_FALSE(followed.CatchUp().whole);
  followed.Follow();
  CHECK(followed.Held("b") == "2");
  CHECK(followed.Held("c") == "1");
}

TEST_CASE("follower: of commands and the log nothing is visited, and their erasing is no matter") {
  Followed followed;
  followed.Commit({State("a", "1"), LogRecord{1, "r"}});
  followed.Follow();
  followed.Commit({LogRecord{2, "r"}, EraseLog{1},
                   EraseCommand{Car("a"), CommandId::FromBytes("0123456789abcdef").value()}});
  const Follower::Caught caught = followed.CatchUp();
  CHECK(caught.whole);
  CHECK(caught.records == 0);
}

TEST_CASE("follower: who holds the store is known to others") {
  Followed followed;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    _exit(LockHolder(followed.path()) == getppid() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  followed.CloseStore();
  CHECK_FALSE(LockHolder(followed.path()));
  CHECK_FALSE(LockHolder(followed.path() / "nowhere"));
}

}  // namespace latchkey::storage
