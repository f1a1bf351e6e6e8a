// What the broker's plugins tell of themselves below $SYS/broker/latchkey/, kept for the metrics
// page. It goes past the core: nothing is decided by it, it must not be stored, and counted twice
// it would only have to be copied out of the core again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "proto/message.h"

namespace latchkey::bridge {

inline constexpr size_t kFiguresMax = 1000;

// Since the broker's start.
struct BrokerFigures {
  // $SYS/broker/latchkey/refused/{at}/{reason}: (at, reason) -> count.
  std::map<std::pair<std::string, std::string>, uint64_t> refused;
  // $SYS/broker/latchkey/{name}: name -> number; levels of a longer name are joined by '_'.
  std::map<std::string, uint64_t> numbers;

  bool operator==(const BrokerFigures&) const = default;
};

// Safe from any thread.
class FigureBoard {
 public:
  // True: it is a figure and goes no further (one that is no number, has another name than a-z 0-9
  // '_' in levels of at most 32 characters, or is beyond kFiguresMax, is dropped).
  // BlocksChanged is no figure.
  bool Take(const Publish& publish);
  // The broker is another: what it retains comes again.
  void Clear();
  BrokerFigures Show() const;

 private:
  mutable std::mutex mutex_;
  BrokerFigures figures_;  // under mutex_
};

}  // namespace latchkey::bridge
