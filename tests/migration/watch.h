// Looks at what bridge and broker say of some cars, all the time, and notes whatever is older than
// what they said before, or gone.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/cell.h"

namespace latchkey::migration {

// A thread of its own from Start until Stop.
class Watch {
 public:
  // `still`: cars of Fill, of which nothing may ever change; `moving`: others.
  Watch(const testing::Cell& cell, std::vector<std::string> still, std::vector<std::string> moving);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void Start();
  void Stop();

  // After Stop.
  size_t looks() const { return looks_; }  // answers of the bridge

  size_t retained() const { return retained_; }  // messages of the broker

  const std::vector<std::string>& wrongs() const { return wrongs_; }

 private:
  struct Seen {
    int64_t observed_ms = 0;
    std::string content;  // of a car that stands still
  };

  void Run();
  void LookAtBridge(const std::string& car, bool still);
  void LookAtCommands(const std::string& car);
  void Compare(const std::string& where, int64_t observed_ms, const std::string& content);
  void Complain(const std::string& what);

  const testing::Cell& cell_;
  const std::vector<std::string> still_;
  const std::vector<std::string> moving_;
  std::map<std::string, Seen> seen_;                      // by where, car and group
  std::map<std::string, std::map<std::string, int>> of_;  // groups the bridge has said, by car
  std::map<std::string, std::string> commands_;           // of cars that stand still
  size_t looks_ = 0;
  size_t retained_ = 0;
  std::vector<std::string> wrongs_;
  size_t wrong_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace latchkey::migration
