// Where the bridge's threads meet: a bounded queue with tickets, so that whoever put something in
// can wait until it has been dealt with (committed).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "proto/time.h"

namespace latchkey::bridge {

// Not copyable. Thread rule: any thread puts and waits for tickets; one thread drains.
template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;

  // Adds `item`, waiting at most `wait` for room. Its ticket; nullopt: still full, or closed.
  std::optional<uint64_t> Put(T item, Duration wait) {
    std::unique_lock lock(mutex_);
    const auto room = [this] { return closed_ || items_.size() < capacity_; };
    if (!room_.wait_for(lock, wait, room) || closed_) {
      return std::nullopt;
    }
    return Add(std::move(item));
  }

  // Adds `item` also above the capacity: for the few things that must not be lost and whose number
  // is bounded elsewhere. nullopt: closed.
  std::optional<uint64_t> PutAlways(T item) {
    const std::scoped_lock lock(mutex_);
    if (closed_) {
      return std::nullopt;
    }
    return Add(std::move(item));
  }

  // Up to `max` items in order, waiting at most `wait` for the first.
  std::vector<T> Drain(size_t max, Duration wait) {
    std::vector<T> out;
    {
      std::unique_lock lock(mutex_);
      if (wait > Duration(0)) {
        filled_.wait_for(lock, wait, [this] { return closed_ || woken_ || !items_.empty(); });
      }
      woken_ = false;
      while (!items_.empty() && out.size() < max) {
        out.push_back(std::move(items_.front()));
        items_.pop_front();
        ++drained_;
      }
    }
    room_.notify_all();
    return out;
  }

  // Waits at most `wait`, or until Wake or Close; leaves the items where they are.
  void Rest(Duration wait) {
    std::unique_lock lock(mutex_);
    filled_.wait_for(lock, wait, [this] { return closed_ || woken_; });
    woken_ = false;
  }

  // Everything drained so far has been dealt with.
  void Finish() {
    {
      const std::scoped_lock lock(mutex_);
      finished_ = drained_;
    }
    done_.notify_all();
  }

  // True: the item of `ticket` has been dealt with, waiting at most `wait` for that.
  bool WaitFinished(uint64_t ticket, Duration wait) {
    std::unique_lock lock(mutex_);
    if (wait > Duration(0)) {
      done_.wait_for(lock, wait, [&] { return abandoned_ || finished_ >= ticket; });
    }
    return finished_ >= ticket;
  }

  // Makes a waiting Drain or Rest return.
  void Wake() {
    {
      const std::scoped_lock lock(mutex_);
      woken_ = true;
    }
    filled_.notify_all();
  }

  // Nothing more gets in; what is in can be drained.
  void Close() {
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
    }
    filled_.notify_all();
    room_.notify_all();
  }

  // Nobody will drain any more: nothing more gets in, and who waits for a ticket stops waiting.
  void Abandon() {
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
      abandoned_ = true;
    }
    filled_.notify_all();
    room_.notify_all();
    done_.notify_all();
  }

  size_t size() const {
    const std::scoped_lock lock(mutex_);
    return items_.size();
  }

 private:
  uint64_t Add(T item) {
    items_.push_back(std::move(item));
    filled_.notify_one();
    return ++put_;
  }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable room_;
  std::condition_variable done_;
  std::deque<T> items_;
  uint64_t put_ = 0;
  uint64_t drained_ = 0;
  uint64_t finished_ = 0;
  bool woken_ = false;
  bool closed_ = false;
  bool abandoned_ = false;
};

}  // namespace latchkey::bridge
