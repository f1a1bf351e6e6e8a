// The ring file in a folder of its own: what damage costs, and what it does not.
#include "plugins/auth/ring_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey::auth {
namespace {

using testing::Said;

constexpr size_t kHead = 16;

// Records are texts "{name}:{anything}"; "false:" ones are judged false, "later:" ones of no use
// now. Read blocks are marked with a '#'.
struct Folder {
  std::filesystem::path path;
  std::vector<std::string> read;
  std::unique_ptr<RingFile> file;

  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "lk_rings_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }

  ~Folder() {
    file.reset();
    std::filesystem::remove_all(path);
  }

  std::string Path() const { return (path / "rings").string(); }

  Opening Open() {
    read.clear();
    file.reset();
    auto opened = RingFile::Open(Path(), [this](RecordKind kind, std::string_view content) {
      read.push_back((kind == RecordKind::kBlock ? "#" : "") + std::string(content));
      const std::string name(content.substr(0, content.find(':')));
      if (name == "false") {
        return Judged{Fate::kDropped, {}};
      }
      return name == "later" ? Judged{Fate::kKept, {}} : Judged{Fate::kNewest, name};
    });
    REQUIRE(opened);
    file = std::move(*opened);
    return file->opening();
  }

  void Add(const std::string& ring) { REQUIRE(file->Append(RecordKind::kRing, ring)); }

  void AddBlock(const std::string& block) { REQUIRE(file->Append(RecordKind::kBlock, block)); }

  std::string Bytes() const {
    std::ifstream stream(Path(), std::ios::binary);
    std::ostringstream bytes;
    bytes << stream.rdbuf();
    return bytes.str();
  }

  void SetBytes(const std::string& bytes) {
    file.reset();
    std::ofstream(Path(), std::ios::binary | std::ios::trunc) << bytes;
  }
};

using Rings = std::vector<std::string>;

TEST_CASE("ring file: what was added is read again in order, and nobody else may read it") {
  Folder f;
  CHECK(f.Open().records == 0);
  f.Add("a:1");
  f.Add("b:1");
  const Opening opening = f.Open();
  CHECK(f.read == Rings{"a:1", "b:1"});
  CHECK_FALSE(opening.rewritten);
  struct stat status{};
  REQUIRE(::stat(f.Path().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("ring file: a record is mark, length, sum and the ring") {
  Folder f;
  f.Open();
  f.Add("a:1");
  const std::string length("\x03\x00\x00\x00", 4);
  CHECK(f.Bytes() == "LKR1" + length + Sha256(length + "a:1").substr(0, 8) + "a:1");
}

TEST_CASE("ring file: superseded and false records are gone after the next start") {
  Folder f;
  f.Open();
  for (const char* ring : {"a:1", "b:1", "false:x", "later:y", "a:2"}) {
    f.Add(ring);
  }
  Opening opening = f.Open();
  CHECK(opening.records == 5);
  CHECK(opening.dropped == 2);
  CHECK(opening.rewritten);
  f.Add("c:1");
  opening = f.Open();
  CHECK(f.read == Rings{"later:y", "b:1", "a:2", "c:1"});
  CHECK_FALSE(opening.rewritten);
}

TEST_CASE("ring file: a torn tail of any length is cut off and costs only the last record") {
  Folder f;
  f.Open();
  f.Add("a:1");
  f.Add("b:12345");
  const std::string whole = f.Bytes();
  const size_t first = kHead + 3;
  for (size_t length = first + 1; length < whole.size(); ++length) {
    f.SetBytes(whole.substr(0, length));
    const Opening opening = f.Open();
    CHECK(f.read == Rings{"a:1"});
    CHECK(opening.bytes_cut == length - first);
    f.Add("c:1");
    f.Open();
    CHECK(f.read == Rings{"a:1", "c:1"});
  }
}

TEST_CASE("ring file: a flipped bit anywhere costs the record it is in and no other") {
  Folder f;
  f.Open();
  f.Add("a:1");
  f.Add("b:1");
  f.Add("c:1");
  const std::string whole = f.Bytes();
  const size_t size = kHead + 3;
  for (size_t at = size; at < 2 * size; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ (1U << bit));
      f.SetBytes(damaged);
      const Opening opening = f.Open();
      CHECK(f.read == Rings{"a:1", "c:1"});
      CHECK(opening.damaged == 1);
      CHECK(opening.rewritten);
    }
  }
  CHECK(f.Open().damaged == 0);
}

TEST_CASE("ring file: a file of noise is an empty file") {
  Folder f;
  f.SetBytes(std::string(200000, 'L') + "LKR1LKR1" + std::string(100, '\0'));
  const Opening opening = f.Open();
  CHECK(opening.records == 0);
  CHECK(opening.bytes_cut == 200108);
  f.Add("a:1");
  f.Open();
  CHECK(f.read == Rings{"a:1"});
}

TEST_CASE(
    "ring file: a place that cannot be written is said, and what cannot be a ring not added") {
  const auto judge = [](RecordKind, std::string_view) { return Judged{}; };
  CHECK(Said(RingFile::Open("/proc/nowhere/rings", judge)) == "REASON_STORE_UNAVAILABLE");
  Folder f;
  f.Open();
  CHECK(Said(f.file->Append(RecordKind::kRing, "")) == "REASON_TOO_LARGE");
  CHECK(Said(f.file->Append(RecordKind::kRing, std::string(20000, 'x'))) == "REASON_TOO_LARGE");
}

TEST_CASE("ring file: an append that fails is said and leaves the file whole") {
  Folder f;
  f.Open();
  f.Add("a:1");
  const std::string before = f.Bytes();
  // A limit on the size of files stands for a full disk.
  struct rlimit old{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small{before.size() + 10, old.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string said = Said(f.file->Append(RecordKind::kRing, "b:1"));
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &old) == 0);
  ::signal(SIGXFSZ, handler);
  CHECK(said == "REASON_STORE_UNAVAILABLE");
  CHECK(f.Bytes() == before);
  f.Add("c:1");
  f.Open();
  CHECK(f.read == Rings{"a:1", "c:1"});
}

TEST_CASE("ring file: blocks stand beside rings, each kind newest by its own names") {
  Folder f;
  f.Open();
  f.Add("a:1");
  f.AddBlock("a:1");
  f.AddBlock("b:1");
  f.Add("a:2");
  f.AddBlock("a:2");
  Opening opening = f.Open();
  CHECK(opening.records == 5);
  CHECK(opening.dropped == 2);
  CHECK(opening.rewritten);
  opening = f.Open();
  CHECK(f.read == Rings{"#b:1", "a:2", "#a:2"});
  CHECK_FALSE(opening.rewritten);
  CHECK(Said(f.file->Append(RecordKind::kBlock, std::string(257, 'x'))) == "REASON_TOO_LARGE");
}

TEST_CASE("ring file: its records can be read again while it is written") {
  Folder f;
  f.Open();
  f.Add("a:1");
  f.AddBlock("b:1");
  std::string again;
  REQUIRE(f.file->ReadAgain([&](RecordKind, std::string_view content) {
    again += content;
    return Judged{};
  }));
  CHECK(again == "a:1b:1");
  f.Add("c:1");
  const Opening opening = f.Open();
  CHECK(f.read == Rings{"a:1", "#b:1", "c:1"});
  CHECK(opening.dropped == 0);
}

TEST_CASE("ring file: the record of a block has its mark under the sum") {
  Folder f;
  f.Open();
  f.AddBlock("a:1");
  const std::string length("\x03\x00\x00\x00", 4);
  CHECK(f.Bytes() == "LKB1" + length + Sha256("LKB1" + length + "a:1").substr(0, 8) + "a:1");
}

TEST_CASE("ring file: no flipped bit makes a block of a ring or a ring of a block") {
  Folder f;
  f.Open();
  f.Add("a:1");
  f.AddBlock("b:1");
  f.Add("c:1");
  const std::string whole = f.Bytes();
  const size_t size = kHead + 3;
  for (size_t at = 0; at < 2 * size; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ (1U << bit));
      f.SetBytes(damaged);
      CHECK(f.Open().damaged == 1);
      CHECK(f.read == (at < size ? Rings{"#b:1", "c:1"} : Rings{"a:1", "c:1"}));
    }
  }
}

}  // namespace
}  // namespace latchkey::auth
