// The cars of the load in a process of their own, so that it can be killed and stopped: reference
// cars on real links, whose acts go into a log that nobody but the judge reads.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "proto/time.h"
#include "proto/types.h"
#include "tests/load/shared.h"

namespace latchkey::load {

// This machine's clock, past anything that is preloaded to change what a process sees of it.
Timestamp TrueTime();

struct CarsOptions {
  std::filesystem::path folder;   // of the cell
  std::filesystem::path control;  // a CarsControl
  int port = 0;                   // of the broker, or of a proxy before it
  size_t count = 0;
  int keep_alive_s = 5;
};

// The car's name and folder by its number.
CarRef CarOf(size_t number);
std::filesystem::path CarFolder(const std::filesystem::path& cell, size_t number);

// A car's lasting memory as two slots of a mapped file, written in turn. What is in it when the
// process is killed is there for the next; a power cut it would not survive, which no test does to
// cars. Far cheaper than replacing a file, so that the load reaches the bridge.
class MemoryFile {
 public:
  explicit MemoryFile(const std::filesystem::path& path) : slots_(path) {}

  // False: too large.
  bool Put(std::string_view bytes);
  // Empty: never written.
  std::string_view Get() const;

 private:
  struct Slot {
    std::atomic<uint64_t> number;  // of the write; 0: empty
    uint64_t size;
    std::array<char, size_t{1} << 17> bytes;
  };

  struct Slots {
    std::array<Slot, 2> slots;
  };

  Shared<Slots> slots_;
};

// One line of a car's act log.
struct ActLine {
  CommandId id;
  Timestamp decided;  // true time when the car read its clock to judge the command
  Timestamp acted;    // true time at the act
};

// A last line that was not finished is no line.
std::vector<ActLine> ReadActs(const std::filesystem::path& cell, size_t number);

// What the program does when World starts it again with `--cars`: runs until it is killed. Exit
// code 1: a car's file cannot be written.
int RunCars(const CarsOptions& options);

}  // namespace latchkey::load
