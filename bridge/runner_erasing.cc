// The runner takes out of the log what an erasure names, a part in each turn, so that nothing waits
// long for it.
#include <algorithm>
#include <memory>
#include <utility>
#include <variant>

#include "bridge/core/erasure.h"
#include "bridge/runner.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kErasuresTold = 16;

// The part of the log that names a car, as if it were all of it: what an erasure of the car has to
// look at.
class LogOfCar final : public storage::Reader {
 public:
  using Visit = std::function<bool(const storage::LogRecord&)>;
  using Damaged = std::function<void(std::string_view key, const Error&)>;

  LogOfCar(const storage::Reader& all, const CarRef& ref) : all_(all), ref_(ref) {}

  Result<void> Scan(storage::Kind kind, const std::optional<CarRef>& ref,
                    const std::function<void(const storage::Record&)>& visit,
                    const Damaged& damaged) const override {
    return all_.Scan(kind, ref, visit, damaged);
  }

  Result<void> ScanLog(uint64_t from, const Visit& visit, const Damaged& damaged) const override {
    return all_.ScanLogOf(ref_, from, visit, damaged);
  }

  Result<std::optional<storage::LogRecord>> LastLog(uint64_t through,
                                                    const Damaged& damaged) const override {
    return all_.LastLog(through, damaged);
  }

 private:
  const storage::Reader& all_;
  const CarRef& ref_;
};

}  // namespace

// An input that is stepped once more after a failure of the store begins nothing twice.
void Runner::Begin(const Erasure& erasure) {
  const auto known = [&](const Blanking& one) { return one.erasure.id == erasure.id; };
  if (std::none_of(blankings_.begin(), blankings_.end(), known)) {
    blankings_.push_back({erasure, 0, {erasure.id, false, false, 0, 0}});
    Tell(blankings_.back().progress);
  }
}

void Runner::Tell(const ErasureProgress& progress) {
  const std::scoped_lock lock(mutex_);
  std::vector<ErasureProgress>& told = status_.erasures;
  std::erase_if(told, [&](const ErasureProgress& one) { return one.id == progress.id; });
  if (told.size() == kErasuresTold) {
    told.erase(told.begin());
  }
  told.push_back(progress);
}

void Runner::BlankLog() {
  if (blankings_.empty() || failure_) {
    return;
  }
  Blanking& blanking = blankings_.front();
  const std::unique_ptr<storage::Reader> log = parts_.store.Snapshot();
  const auto* ref = std::get_if<CarRef>(&blanking.erasure.of);
  const std::unique_ptr<storage::Reader> of_car =
      ref != nullptr ? std::make_unique<LogOfCar>(*log, *ref) : nullptr;
  Result<LogBook::Blanked> part =
      log_book_.Blank(of_car ? *of_car : *log, blanking.next, runner_limits_.blanked_per_turn_max,
                      [&](const v1::LogEntry& entry) { return Names(blanking.erasure, entry); });
  if (!part) {
    Say(LogEvent::Level::kWarning, "log_not_read", {{"why", part.error().text}});
    blanking.progress.failed = true;
    Tell(blanking.progress);
    blankings_.pop_front();
    return;
  }
  ErasureProgress progress = blanking.progress;
  progress.log_entries += part->entries;
  progress.unreadable += part->unreadable;
  progress.done = part->end;
  if (part->end) {
    log_book_.Add(ErasedEntry(blanking.erasure, progress.log_entries, parts_.clock().wall),
                  part->changes);
  }
  if (!part->changes.empty()) {
    const Result<void> committed = Commit(
        part->changes, part->end ? storage::Durability::kDurable : storage::Durability::kSoon);
    if (!committed) {
      Failed({}, committed.error());
      return;
    }
  }
  blanking.next = part->next;
  blanking.progress = progress;
  Tell(progress);
  if (progress.done) {
    Say(LogEvent::Level::kInfo, "erased", {{"log_entries", std::to_string(progress.log_entries)}});
    blankings_.pop_front();
  }
}

}  // namespace latchkey::bridge
