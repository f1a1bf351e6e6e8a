// The reference car's memory. The first byte says which: 'm' a file as it is, 'p' a payload that
// gets its right checksum, so that what follows the checksum is reached.
#include <string>

#include "proto/crypto.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"
#include "tools/car/memory.h"

namespace latchkey::fuzz {
namespace {

void TryMemory(std::string_view bytes) {
  static const CarRef ref = testing::Ref("f1", "car1");
  const Result<car::Memory> memory = car::LoadMemory(bytes, ref);
  if (!memory) {
    return;
  }
  Require(memory->ring.ref == ref && memory->ring.version >= 1, "a memory is of its car");
  const Result<car::Memory> again = car::LoadMemory(car::SerializeMemory(*memory), ref);
  Require(again && *again == *memory, "a memory that loads is written so that it loads alike");
  car::Memory reset = *memory;
  car::ResetMemory(reset, testing::kNow);
  Require(reset.ring.keys.empty() && reset.ring.version > memory->ring.version,
          "a factory reset empties the ring and raises its version");
  const Result<car::Memory> blank = car::LoadMemory(car::SerializeMemory(reset), ref);
  Require(blank && *blank == reset, "and is kept like any memory");
}

}  // namespace

void Try(std::string_view input) {
  if (input.empty()) {
    return;
  }
  const std::string rest(input.substr(1));
  if (input[0] == 'm') {
    TryMemory(rest);
  } else if (input[0] == 'p') {
    TryMemory("LKCAR1\n" + Sha256(rest) + rest);
  }
}

}  // namespace latchkey::fuzz
