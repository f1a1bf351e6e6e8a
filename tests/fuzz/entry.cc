// libFuzzer's entry into a target.
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  latchkey::fuzz::Try(std::string_view(reinterpret_cast<const char*>(bytes), size));
  return 0;
}
