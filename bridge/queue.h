// Where the bridge's threads meet: a bounded queue with tickets, so that whoever put something in
// can wait until it has been dealt with (committed).
#pragma once

#include <algorithm>
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

// How long whoever drains waits for more once something is there: until `items` are there, or
// `wait` is over.
struct Gathering {
  size_t items = 1;  // 1: no longer than for the first
  Duration wait{0};
};

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

  // Up to `max` items in order, waiting at most `wait` for the first, and from there on as
  // `gathering` says; Wake and Close end both.
  std::vector<T> Drain(size_t max, Duration wait, Gathering gathering = {}) {
    std::vector<T> out;
    {
      std::unique_lock lock(mutex_);
      WaitForItems(lock, 1, wait);
      if (!items_.empty()) {
        WaitForItems(lock, gathering.items, gathering.wait);
      }
      woken_ = false;
      out.reserve(std::min(max, items_.size()));
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
  void WaitForItems(std::unique_lock<std::mutex>& lock, size_t items, Duration wait) {
    const auto there = [&] {
      return closed_ || woken_ || items_.size() >= std::min(items, capacity_);
    };
    if (wait > Duration(0) && !there()) {
      wanted_ = std::min(items, capacity_);
      filled_.wait_for(lock, wait, there);
      wanted_ = 0;
    }
  }

  uint64_t Add(T item) {
    items_.push_back(std::move(item));
    if (wanted_ != 0 && items_.size() >= wanted_) {
      filled_.notify_one();
    }
    return ++put_;
  }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable room_;
  std::condition_variable done_;
  std::deque<T> items_;
  size_t wanted_ = 0;  // who drains sleeps until so many are there; 0: it does not
  uint64_t put_ = 0;
  uint64_t drained_ = 0;
  uint64_t finished_ = 0;
  bool woken_ = false;
  bool closed_ = false;
  bool abandoned_ = false;
};

}  // namespace latchkey::bridge
