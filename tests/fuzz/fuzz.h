// What the fuzz targets share. Each target gives one parser of outside bytes to libFuzzer; it fails
// by crashing, by a sanitizer's word, or by a property that does not hold. Built without LK_FUZZ
// the same targets read files instead: the corpus is then a unit test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string_view>

namespace latchkey::fuzz {

// Ends the process when a property does not hold.
inline void Require(bool holds, std::string_view what) {
  if (!holds) {
    std::cerr << "does not hold: " << what << '\n';
    std::abort();
  }
}

// Takes the text up to the first `separator` off `rest`; all of it when there is none.
inline std::string_view TakeUntil(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  const std::string_view taken = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return taken;
}

// One try: `input` is what a stranger sent.
void Try(std::string_view input);

}  // namespace latchkey::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);
