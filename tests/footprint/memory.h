// How much memory a process has, as the kernel and the allocator say.
#pragma once

#include <cstdint>

#include <sys/types.h>

namespace latchkey::footprint {

struct Memory {
  uint64_t resident = 0;  // RssAnon: pages of its own, without the code and files it maps
  uint64_t in_use = 0;    // what the allocator has given out
};

// Of this process, after malloc_trim.
Memory OwnMemory();
// RssAnon of another one; 0: there is none.
uint64_t ResidentOf(pid_t pid);

}  // namespace latchkey::footprint
