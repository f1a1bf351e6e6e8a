// Bits of a stored store that have turned over, and what the store makes of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>

namespace latchkey::faults {

// Turns one bit of one file over: of a log, a table or a manifest, each kind that is there as
// likely. The file and the place, for people.
std::string FlipOneBit(const std::filesystem::path& store, std::mt19937_64& random);

// Counts of flips, one bit each in a fresh copy of the store.
struct FlipTally {
  size_t refused = 0;   // the store did not open, or stopped reading, and said why
  size_t told = 0;      // it opened and told of every record it could not serve
  size_t harmless = 0;  // everything was there, unchanged
  // In the last record of the last log: no store can tell it from the end that a power cut leaves,
  // and it is dropped with what came after it.
  size_t as_torn = 0;
  // What must not be.
  size_t silent = 0;  // something was missing or older, and nobody said so
  size_t wrong = 0;   // something was served that had never been written
  std::string where;  // the last of these flips
};

// `store` is of no process; it stays as it is. Copies are made in `scratch`.
FlipTally FlipAndRead(const std::filesystem::path& store, const std::filesystem::path& scratch,
                      int flips, std::mt19937_64& random);

}  // namespace latchkey::faults
