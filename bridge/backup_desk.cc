// See backup_desk.h.
#include "bridge/backup_desk.h"

#include <utility>

namespace latchkey::bridge {

BackupDesk::BackupDesk(BackupMaker maker, uint64_t first_run)
    : maker_(std::move(maker)), last_run_(first_run), thread_([this] { Work(); }) {}

BackupDesk::~BackupDesk() {
  Stop();
  thread_.join();
}

void BackupDesk::Stop() {
  {
    const std::scoped_lock lock(mutex_);
    over_ = true;
  }
  wished_.notify_all();
}

Result<uint64_t> BackupDesk::Begin(BackupWish wish) {
  uint64_t run = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (over_) {
      return Fail(v1::REASON_CANCELLED, "the bridge ends: ask the next one");
    }
    if (wish_) {
      return Fail(v1::REASON_FULL, "a backup is being made: wait for it and ask again");
    }
    run = ++last_run_;
    last_ = BackupRun{};
    last_.run = run;
    wish_ = std::move(wish);
  }
  wished_.notify_all();
  return run;
}

BackupRun BackupDesk::Last() const {
  const std::scoped_lock lock(mutex_);
  return last_;
}

void BackupDesk::Work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    wished_.wait(lock, [&] { return over_ || wish_; });
    if (!wish_) {
      return;
    }
    const BackupWish wish = *wish_;  // also when all is over: what was begun is told its end
    const uint64_t run = last_.run;
    lock.unlock();
    Make(wish, run);
  }
}

void BackupDesk::Make(const BackupWish& wish, uint64_t run) {
  const auto go_on = [&](const storage::BackupProgress& progress) {
    const std::scoped_lock lock(mutex_);
    last_.progress = progress;
    return !over_ && maker_.may_go_on();
  };
  const Result<storage::BackupFacts> made = maker_.make(wish, go_on);
  BackupRun ended;
  ended.run = run;
  ended.done = true;
  if (made) {
    ended.made = *made;
  } else {
    ended.error = made.error().text;
  }
  maker_.ended(wish, ended);
  const std::scoped_lock lock(mutex_);
  ended.progress = last_.progress;
  last_ = std::move(ended);
  wish_.reset();
}

}  // namespace latchkey::bridge
