// Where paho's threads and the one loop of a program meet: the only place of the tools where
// threads do. Bounded for messages; the few other events always fit.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "tools/mqtt/link.h"

namespace latchkey::tools {

class Queue {
 public:
  explicit Queue(size_t capacity) : capacity_(capacity) {}

  void Put(LinkEvent event) {
    {
      const std::scoped_lock lock(mutex_);
      events_.push_back(std::move(event));
    }
    filled_.notify_one();
  }

  // False: full for longer than `wait`.
  bool PutWithin(std::chrono::milliseconds wait, LinkEvent event) {
    {
      std::unique_lock lock(mutex_);
      if (!emptied_.wait_for(lock, wait, [this] { return events_.size() < capacity_; })) {
        return false;
      }
      events_.push_back(std::move(event));
    }
    filled_.notify_one();
    return true;
  }

  // nullopt: nothing came in time, or Wake was called.
  std::optional<LinkEvent> Take(std::chrono::milliseconds timeout) {
    std::optional<LinkEvent> event;
    {
      std::unique_lock lock(mutex_);
      filled_.wait_for(lock, timeout, [this] { return woken_ || !events_.empty(); });
      if (woken_ || events_.empty()) {
        woken_ = false;
        return std::nullopt;
      }
      event = std::move(events_.front());
      events_.pop_front();
    }
    emptied_.notify_one();
    return event;
  }

  void Wake() {
    {
      const std::scoped_lock lock(mutex_);
      woken_ = true;
    }
    filled_.notify_one();
  }

 private:
  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable emptied_;
  std::deque<LinkEvent> events_;
  bool woken_ = false;
};

}  // namespace latchkey::tools
