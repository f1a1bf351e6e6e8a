// Reads /proc and the allocator's own figures.
#include "tests/footprint/memory.h"

#include <fstream>
#include <string>

#include <malloc.h>
#include <unistd.h>

namespace latchkey::footprint {

Memory OwnMemory() {
  ::malloc_trim(0);
  const struct mallinfo2 heap = ::mallinfo2();
  return {ResidentOf(::getpid()), heap.uordblks + heap.hblkhd};
}

uint64_t ResidentOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("RssAnon:", 0) == 0) {
      return std::stoull(line.substr(8)) * 1024;
    }
  }
  return 0;
}

}  // namespace latchkey::footprint
