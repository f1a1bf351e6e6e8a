// What became of all commands of a load, from the outside: what the phones were told, what the cars
// did, and for what nobody told, what the bridge says when it is asked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "tests/load/world.h"

namespace latchkey::load {

// Counts of commands.
struct Tally {
  size_t commands = 0;
  size_t held = 0;  // with a HELD receipt
  size_t done = 0;
  size_t failed = 0;  // by the car, an unknown outcome among them
  size_t refused = 0;
  size_t expired = 0;  // by the word of bridge or car
  size_t superseded = 0;
  size_t untold = 0;  // never held, and nobody said anything until the phone gave up
  size_t asked = 0;   // held, and the last word came when the bridge was asked afterwards
  // What must not be.
  size_t lost = 0;     // held, and nobody knows an outcome
  size_t twice = 0;    // acts of one command beyond the first
  size_t late = 0;     // acts that the car began after the expiry, see WorldOptions::late_by
  size_t unasked = 0;  // acts that nobody had asked that car for
  size_t untrue = 0;   // a final word that the car's acts belie, or two that exclude each other
  size_t open = 0;     // that a phone still waits for
  int64_t stopped_late_ms = 0;  // of acts that are not late, the latest end after the expiry
  std::string first_wrong;      // what the first of these was

  size_t wrongs() const { return lost + twice + late + unasked + untrue + open; }
};

// The load has stopped. Says on stderr what each wrong is, up to some; and in `stories`, when it is
// not null, a line for each command.
Tally Judge(World& world, std::ostream* stories);

}  // namespace latchkey::load
