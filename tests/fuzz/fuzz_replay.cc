// Gives every file of the folders named on the command line to a target once: the corpus as a unit
// test, for compilers without libFuzzer. Fails when a folder holds no file.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/fuzz/fuzz.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    size_t tried = 0;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::cout << entry.path().filename().string() << '\n' << std::flush;
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string input((std::istreambuf_iterator<char>(file)),
                              std::istreambuf_iterator<char>());
      // Every prefix too: cheap, and a truncated message is the commonest broken one.
      for (size_t length = 0; length < input.size(); ++length) {
        latchkey::fuzz::Try(std::string_view(input).substr(0, length));
      }
      latchkey::fuzz::Try(input);
      ++tried;
    }
    latchkey::fuzz::Require(tried > 0, "the corpus has files");
  }
  latchkey::fuzz::Require(argc > 1, "a corpus is named");
}
