// The auth plugin's ring file: pieces of a byte for the kind, a byte for the length, and as many
// bytes. 'r' is a ring and 'b' a block with its right sum, anything else stands in the file as it
// is.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <unistd.h>

#include "plugins/auth/ring_file.h"
#include "proto/crypto.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

// Memory, where there is such a folder: a rewrite syncs.
std::string ScratchPath() {
  const std::filesystem::path memory = "/dev/shm";
  const std::filesystem::path folder =
      std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
  return folder / ("lk_fuzz_rings." + std::to_string(::getpid()));
}

std::string RecordOf(char kind, const std::string& content) {
  std::string length(4, '\0');
  length[0] = static_cast<char>(content.size());
  const std::string covered = (kind == 'b' ? "LKB1" : "") + length + content;
  return (kind == 'b' ? "LKB1" : "LKR1") + length + Sha256(covered).substr(0, 8) + content;
}

// What reading a file gave.
struct Seen {
  auth::Opening opening;
  std::map<std::string, std::string> newest;  // by kind and name
  std::multiset<std::string> kept;

  bool SameRings(const Seen& other) const { return newest == other.newest && kept == other.kept; }
};

// The content's first byte decides its fate, the second its name.
Seen Open(const std::string& path, const std::string& append) {
  Seen seen;
  const auto judge = [&seen](auth::RecordKind kind, std::string_view bytes) {
    const std::string content(bytes);
    const std::string word = kind == auth::RecordKind::kRing ? "ring " : "block ";
    const std::string name = content.substr(content.size() > 1 ? 1 : 0, 1);
    switch (content[0] % 3) {
      case 0:
        seen.newest[word + name] = content;
        return auth::Judged{auth::Fate::kNewest, name};
      case 1:
        seen.kept.insert(word + content);
        return auth::Judged{auth::Fate::kKept, {}};
      default:
        return auth::Judged{auth::Fate::kDropped, {}};
    }
  };
  const auto file = auth::RingFile::Open(path, judge);
  Require(file.has_value(), "a file of our own opens, whatever is in it");
  seen.opening = (*file)->opening();
  if (!append.empty()) {
    Require((*file)->Append(auth::RecordKind::kBlock, append).has_value(), "and takes a record");
  }
  return seen;
}

}  // namespace

void Try(std::string_view input) {
  static const std::string path = ScratchPath();
  std::string bytes;
  while (input.size() >= 2) {
    const auto length = static_cast<unsigned char>(input[1]);
    const std::string content(input.substr(2, length));
    const bool record = (input[0] == 'r' || input[0] == 'b') && !content.empty();
    bytes += record ? RecordOf(input[0], content) : content;
    input.remove_prefix(2 + content.size());
  }
  std::ofstream(path, std::ios::binary) << bytes;
  const Seen first = Open(path, "");
  Require(first.opening.rewrite_text.empty(), "a file that needs it is rewritten");
  const Seen second = Open(path, "\x01 one more");
  Require(second.SameRings(first), "a rewrite keeps what was in force, and only that");
  Require(second.opening.damaged == 0 && second.opening.bytes_cut == 0 &&
              second.opening.dropped == 0 && !second.opening.rewritten,
          "a file that was rewritten has no fault");
  const Seen third = Open(path, "");
  Require(third.opening.records == second.opening.records + 1 && third.opening.damaged == 0,
          "what is appended is found");
  std::filesystem::remove(path);
}

}  // namespace latchkey::fuzz
