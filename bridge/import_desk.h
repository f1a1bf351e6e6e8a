// Where a thread of HTTP waits for what the loop made of an import.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "bridge/core/step.h"
#include "bridge/runner.h"

namespace latchkey::bridge {

// Not copyable. Thread rule: any thread asks; the loop's answers.
class ImportDesk {
 public:
  // `first_id`: no import before had this id or a higher one.
  explicit ImportDesk(uint64_t first_id) : last_id_(first_id) {}

  ImportDesk(const ImportDesk&) = delete;
  ImportDesk& operator=(const ImportDesk&) = delete;

  // Puts the import into `intake` and waits at most `wait` until it is in the store. nullopt: there
  // is no room, or it was not done in time; it may still be.
  std::optional<ImportAnswer> Run(Intake& intake, Import import, Duration wait) {
    {
      const std::scoped_lock lock(mutex_);
      import.id = ++last_id_;
      awaited_.insert(import.id);
    }
    const uint64_t id = import.id;
    const bool put = intake.Put(std::move(import), wait).has_value();
    std::unique_lock lock(mutex_);
    if (put) {
      told_.wait_for(lock, wait, [&] { return answers_.count(id) > 0; });
    }
    awaited_.erase(id);
    const auto answer = answers_.extract(id);
    return answer.empty() ? std::nullopt : std::optional(std::move(answer.mapped()));
  }

  void Answered(const ImportAnswer& answer) {
    {
      const std::scoped_lock lock(mutex_);
      if (awaited_.count(answer.id) == 0) {
        return;
      }
      answers_[answer.id] = answer;
    }
    told_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  uint64_t last_id_;
  std::set<uint64_t> awaited_;
  std::map<uint64_t, ImportAnswer> answers_;
};

}  // namespace latchkey::bridge
