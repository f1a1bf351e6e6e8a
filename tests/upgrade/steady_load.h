// People and cars that go on whatever is done to the cell: phones that send commands to sleeping
// cars and time the answers, a car that is awake, state that flows, and phones that pair.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "proto/types.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

inline constexpr size_t kSleepers = 16;

// What was sent and what came back. Times in milliseconds.
struct SteadyResult {
  size_t sent = 0;
  size_t unanswered = 0;  // to sleeping cars: neither HELD nor any other word
  size_t refused = 0;
  size_t resent = 0;  // after 1 s without an answer
  std::vector<int64_t> held_ms;
  int64_t longest_silence_ms = 0;  // between two HELD
  size_t awake_sent = 0;
  size_t awake_missed = 0;  // the car did not get it
  size_t pairings = 0;
  size_t pairings_failed = 0;
  size_t states = 0;
  size_t states_refused = 0;  // the broker said no, or nothing
  float last_speed = 0;       // of car `awake`

  int64_t HeldAt(double part) const;  // 0.5: median
  std::string Text() const;
};

// Not copyable. Threads of its own from the constructor to Stop.
class SteadyLoad {
 public:
  // The cell's broker and bridge serve. With `pairing`, the car `demo/pairs` runs and phones pair
  // with it one after the other. `name` begins its cars' names: another for each load of a cell.
  SteadyLoad(Cell& cell, const std::string& name, bool pairing);
  ~SteadyLoad();
  SteadyLoad(const SteadyLoad&) = delete;
  SteadyLoad& operator=(const SteadyLoad&) = delete;

  // Commands answered so far.
  size_t answered() const { return answered_; }

  // Sends nothing more, waits for the answers that are owed.
  SteadyResult Stop();

 private:
  struct Sender;

  struct Sent {
    std::chrono::steady_clock::time_point at;
    std::chrono::steady_clock::time_point again_at;
    std::string bytes;
    size_t sender = 0;
    bool answered = false;
  };

  void MakeSleepers(const std::string& name);
  void SendSome(std::chrono::steady_clock::time_point now);
  void Hear(Sender& sender);
  void RunCommands();
  void RunAwake();
  void RunPairing();

  Cell& cell_;
  std::vector<std::unique_ptr<Sender>> senders_;
  std::unique_ptr<RawCar> awake_;
  PrivateKey owner_;
  std::map<CommandId, Sent> sent_;
  std::chrono::steady_clock::time_point next_send_;
  std::chrono::steady_clock::time_point last_held_;
  size_t turn_ = 0;
  uint32_t numbers_ = 0;
  SteadyResult result_;
  std::atomic<size_t> answered_ = 0;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace latchkey::testing
