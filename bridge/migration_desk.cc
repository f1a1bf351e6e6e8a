// See migration_desk.h.
#include "bridge/migration_desk.h"

#include <utility>

#include <sys/resource.h>

namespace latchkey::bridge {

namespace {

constexpr int kNice = 10;  // the comparing thread gives way to all others

}  // namespace

MigrationDesk::MigrationDesk(uint64_t first_id, const storage::Store& store, Intake& intake)
    : store_(store), intake_(intake), last_id_(first_id) {}

MigrationDesk::~MigrationDesk() {
  Close();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void MigrationDesk::Close() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    stop_ = true;
  }
  told_.notify_all();
}

std::optional<MigrationAnswer> MigrationDesk::Order(storage::MigrationOrder order, std::string who,
                                                    Duration wait) {
  uint64_t id = 0;
  {
    const std::scoped_lock lock(mutex_);
    id = ++last_id_;
    awaited_.insert(id);
  }
  const bool put = intake_.Put(MigrationRequest{id, order, std::move(who)}, wait).has_value();
  std::unique_lock lock(mutex_);
  if (put) {
    told_.wait_for(lock, wait, [&] { return closed_ || answers_.count(id) > 0; });
  }
  awaited_.erase(id);
  const auto answer = answers_.extract(id);
  return answer.empty() ? std::nullopt : std::optional(std::move(answer.mapped()));
}

void MigrationDesk::Answered(const MigrationAnswer& answer) {
  {
    const std::scoped_lock lock(mutex_);
    if (awaited_.count(answer.id) == 0) {
      return;
    }
    answers_.emplace(answer.id, answer);
  }
  told_.notify_all();
}

ComparisonFigures MigrationDesk::comparison() const {
  const std::scoped_lock lock(mutex_);
  ComparisonFigures figures = figures_;
  figures.records_per_second = figures.running ? rate_.PerSecond() : std::nullopt;
  return figures;
}

MigrationDoor MigrationDesk::door() {
  return {[this](const MigrationAnswer& answer) { Answered(answer); }, [this] { return Compare(); },
          [this] { StopComparing(); },
          [this](uint64_t id, const Result<void>& kept) { Compared(id, kept); }};
}

Result<uint64_t> MigrationDesk::Compare() {
  const std::scoped_lock lock(mutex_);
  if (figures_.running && !stop_) {
    return figures_.id;
  }
  if (runs_ || closed_) {
    return Fail(v1::REASON_NOT_ALLOWED, "the comparison before is about to end: ask again");
  }
  if (thread_.joinable()) {
    thread_.join();  // it has ended
  }
  stop_ = false;
  runs_ = true;
  figures_ = {++last_id_, true, 0, std::nullopt, ""};
  rate_.Forget();
  thread_ = std::thread([this, id = last_id_] { RunComparison(id); });
  return last_id_;
}

void MigrationDesk::StopComparing() {
  stop_ = true;
}

// On the thread of its own.
void MigrationDesk::RunComparison(uint64_t id) {
  static_cast<void>(::setpriority(PRIO_PROCESS, 0, kNice));  // of this thread, on Linux
  Result<storage::Comparison> found =
      store_.Compare([this](uint64_t compared) { return GoesOn(compared); });
  runs_ = false;
  intake_.PutAlways(ComparisonEnd{id, std::move(found)});
}

bool MigrationDesk::GoesOn(uint64_t compared) {
  if (stop_) {
    return false;
  }
  const std::scoped_lock lock(mutex_);
  figures_.compared = compared;
  rate_.Note(compared, SystemNow().mono);
  return true;
}

void MigrationDesk::Compared(uint64_t id, const Result<void>& kept) {
  const std::scoped_lock lock(mutex_);
  if (figures_.id == id) {
    figures_.running = false;
    figures_.error = kept ? "" : kept.error().text;
  }
}

}  // namespace latchkey::bridge
