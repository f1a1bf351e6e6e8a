// What there is to say of backups of a store, without the engine that makes them.
#pragma once

#include <cstdint>

#include "proto/time.h"

namespace latchkey::storage {

struct BackupFacts {
  uint32_t id = 0;  // from 1, in order
  Timestamp at;     // when it was begun, to the second: all that was committed before is in it
  uint64_t bytes = 0;
  uint32_t files = 0;
  bool damaged = false;  // it cannot be read: `at`, `bytes` and `files` are 0
};

// About how much is copied: `total` is what the store has on disk and the folder has not.
struct BackupProgress {
  uint64_t bytes = 0;
  uint64_t total = 0;
};

}  // namespace latchkey::storage
