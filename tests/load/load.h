// The load: reference phones on real links that send commands to all cars of a cell, and
// remember of each command all that anybody said of it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "proto/receipt.h"
#include "tests/load/shared.h"
#include "tools/mqtt/link.h"
#include "tools/phone/phone.h"

namespace latchkey::load {

inline constexpr size_t kPhones = 4;

struct LoadOptions {
  size_t cars = 100;
  size_t commands = 10'000;
  int per_second = 1000;  // at most: no more than the cell answers
  // Commands live so long, but no longer than their class may; to a car that is gone at most 3 s
  // more than the least.
  Duration lifetime_min = std::chrono::seconds(3);
  Duration lifetime_max = std::chrono::seconds(15);
};

// How a car spends the load.
enum class Habit : uint8_t {
  kAwake,
  kNaps,    // awake for some seconds, asleep for some
  kSleeps,  // through the load; awake afterwards
  kGone,    // to the end: what is for it expires
};

Habit HabitOf(size_t car);

// A command and what was said of it.
struct Record {
  size_t car = 0;
  size_t phone = 0;
  Timestamp issued_at;
  Timestamp expires_at;
  bool asleep = false;  // the car was, when it was sent
  bool heard = false;   // of it: any receipt
  bool held = false;
  // The phone's final receipt; a source of UNSPECIFIED is the phone's own word.
  std::optional<Outcome> end;
  // Final words of bridge and car, the first of each state and source.
  std::vector<Outcome> words;
  // Of this machine's steady clock: sent, the first HELD heard, the phone's final receipt.
  std::chrono::steady_clock::time_point sent_at{};
  std::chrono::steady_clock::time_point held_at{};
  std::chrono::steady_clock::time_point ended_at{};
};

using Records = std::unordered_map<CommandId, Record>;

// What the phones need to be made: the cell as it is for them.
struct LoadPlace {
  std::filesystem::path ca_file;
  int port = 0;
  std::string cell;
  std::vector<tools::Pairing> pairings;  // by car
};

// Runs on a thread of its own from Start until Stop. Only the figures may be read before Stop.
class Load {
 public:
  Load(LoadOptions options, LoadPlace place, std::vector<PrivateKey> keys, CarsControl& cars);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  void Start();

  size_t sent() const { return sent_; }

  bool AllSent() const { return sent_ >= options_.commands; }

  size_t open() const { return open_; }

  size_t held() const { return held_; }

  // Receipts REFUSED with REASON_STORE_UNAVAILABLE.
  size_t refused_by_store() const { return refused_by_store_; }

  // No more commands from here on; what is open goes on.
  void Halt() { halted_ = true; }

  void Stop();

  // After Stop.
  const Records& records() const { return records_; }

 private:
  struct Client {
    tools::Phone phone;
    std::unique_ptr<tools::Link> link;
    std::optional<Instant> connect_at;
    bool connected = false;
  };

  void Run();
  void SendDue(const Now& now);
  void SendOne(const Now& now);
  void TurnCars(const Now& now);
  void Step(size_t client, const tools::Phone::Input& input, const Now& now);
  void Handle(const tools::LinkEvent& event, const Now& now);
  void Hear(const Publish& message);
  void Heard(Record& record);
  v1::Command Action();

  LoadOptions options_;
  LoadPlace place_;
  CarsControl& cars_;
  tools::Inbox inbox_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::mt19937_64 random_;
  Records records_;
  std::vector<std::vector<size_t>> open_of_;  // by phone, by car
  std::array<size_t, 2> unheard_{};           // commands nobody has said anything of, by `asleep`
  Instant begun_;
  Instant sent_at_;
  std::atomic<size_t> sent_ = 0;
  std::atomic<size_t> open_ = 0;
  std::atomic<size_t> held_ = 0;
  std::atomic<size_t> refused_by_store_ = 0;
  std::atomic<bool> halted_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace latchkey::load
