// A copy of the log: it is one chain or it is said where not; it grows on, also after a torn end.
#include "tools/latchkey/log_file.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <stdlib.h>

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

v1::LogEntry Entry(const std::string& event, const std::string& note) {
  v1::LogEntry entry;
  entry.set_at_ms(1'700'000'000'000);
  entry.set_event(event);
  entry.set_note(note);
  entry.set_salt(std::string(16, 's'));
  return entry;
}

// Records 1 to `count`, and the head after each; heads[0] is that of an empty log.
struct Chain {
  explicit Chain(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      Grow(Entry("command", "entry " + std::to_string(i + 1)));
    }
  }

  void Grow(v1::LogEntry entry) {
    LogHead head = heads.back();
    records.push_back(AppendToLog(head, std::move(entry)));
    heads.push_back(head);
  }

  std::vector<std::string> records;
  std::vector<LogHead> heads{LogHead()};
};

std::string Walked(const std::vector<std::string>& records, LogWalk walk = LogWalk()) {
  for (const std::string& record : records) {
    if (const Result<void> added = walk.Add(record); !added) {
      return added.error().text;
    }
  }
  const Result<void> whole = walk.Finish();
  return whole ? "whole to " + std::to_string(walk.head().sequence) : whole.error().text;
}

bool Begins(const std::string& text, const std::string& begin) {
  return text.rfind(begin, 0) == 0;
}

class File {
 public:
  File() {
    std::string name = (fs::temp_directory_path() / "lk_log_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder_ = name;
  }

  ~File() { fs::remove_all(folder_); }

  File(const File&) = delete;
  File& operator=(const File&) = delete;

  fs::path path() const { return folder_ / "cell.log"; }

  // What is in it, and what follows.
  std::string Read() const {
    LogWalk walk;
    const Result<LogCopy> copy =
        ReadLogCopy(path(), [&](std::string_view record) { return walk.Add(record); });
    return !copy ? copy.error().text
                 : std::to_string(walk.records()) + (copy->torn ? " and a torn one" : "");
  }

  void Write(const std::vector<std::string>& records, std::optional<uintmax_t> bytes) const {
    auto writer = LogCopyWriter::Open(path(), bytes);
    REQUIRE_MESSAGE(writer.has_value(), (writer ? "" : writer.error().text));
    for (const std::string& record : records) {
      REQUIRE(writer->Add(record).has_value());
    }
    REQUIRE(writer->Sync().has_value());
  }

 private:
  fs::path folder_;
};

}  // namespace

TEST_CASE("log file: a chain is whole, an empty one too") {
  CHECK(Walked(Chain(5).records) == "whole to 5");
  CHECK(Walked({}) == "whole to 0");
}

TEST_CASE("log file: a flipped byte anywhere is found at its record") {
  const Chain chain(4);
  for (size_t at = 0; at < chain.records[2].size(); ++at) {
    std::vector<std::string> records = chain.records;
    records[2][at] = static_cast<char>(records[2][at] ^ 1);
    const std::string said = Walked(records);
    const bool named = Begins(said, "the record after 2 is broken") ||
                       Begins(said, "the log is broken at record ");
    CHECK_MESSAGE(named, said);
  }
}

TEST_CASE("log file: a record that was removed, swapped or comes twice is found") {
  const Chain chain(4);
  const auto& r = chain.records;
  CHECK(Begins(Walked({r[0], r[1], r[3]}),
               "the log is broken at record 4: records 3 to 3 are missing"));
  CHECK(Begins(Walked({r[0], r[2], r[1]}), "the log is broken at record 3"));
  CHECK(Begins(Walked({r[0], r[1], r[1]}), "the log is broken at record 2"));
}

TEST_CASE("log file: a record written anew with a hash that fits breaks the one after it") {
  const Chain chain(4);
  Chain other(1);
  other.Grow(Entry("command", "something else"));
  CHECK(Begins(Walked({chain.records[0], other.records[1], chain.records[2]}),
               "the log is broken at record 3"));
}

TEST_CASE("log file: what is missing at the begin must be named as erased by the log itself") {
  Chain chain(6);
  const auto from = [&](size_t first) {
    return std::vector<std::string>(chain.records.begin() + static_cast<std::ptrdiff_t>(first),
                                    chain.records.end());
  };
  CHECK(Begins(Walked(from(3)), "records 1 to 3 are missing and no entry says"));
  chain.Grow(Entry("log", ErasedNote(chain.heads[3])));
  CHECK(Walked(from(3)) == "whole to 7");
  CHECK(Begins(Walked(from(4)), "records 1 to 4 are missing"));
  // A note that somebody else wrote does not count.
  chain.Grow(Entry("block", ErasedNote(chain.heads[4])));
  CHECK(Begins(Walked(from(4)), "records 1 to 4 are missing"));
}

TEST_CASE("log file: a head that was written down is found, or it is said that it is not there") {
  const Chain chain(4);
  CHECK(Walked(chain.records, LogWalk(chain.heads[2])) == "whole to 4");
  CHECK(Walked(chain.records, LogWalk(chain.heads[4])) == "whole to 4");
  LogHead other = chain.heads[3];
  other.hash[0] = static_cast<char>(other.hash[0] ^ 1);
  CHECK(Begins(Walked(chain.records, LogWalk(other)), "the head 3 that was written down is not"));
  // A log that was cut at its end.
  CHECK(Begins(Walked({chain.records[0]}, LogWalk(chain.heads[4])), "the head 4 that was written"));
}

TEST_CASE("log file: a copy is readable by its user alone, and grows") {
  const File file;
  const Chain chain(5);
  file.Write({chain.records[0], chain.records[1]}, std::nullopt);
  CHECK((fs::status(file.path()).permissions() & fs::perms::all) ==
        (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(file.Read() == "2");
  CHECK_FALSE(LogCopyWriter::Open(file.path(), std::nullopt).has_value());
  file.Write({chain.records[2]}, fs::file_size(file.path()));
  CHECK(file.Read() == "3");
}

TEST_CASE("log file: a torn end is found wherever it was torn, cut off, and the copy grows on") {
  const Chain chain(3);
  const File whole;
  whole.Write(chain.records, std::nullopt);
  const uintmax_t size = fs::file_size(whole.path());
  const uintmax_t last = chain.records[2].size() + 4;
  for (uintmax_t cut = 1; cut < last; ++cut) {
    fs::resize_file(whole.path(), size - cut);
    REQUIRE(whole.Read() == "2 and a torn one");
    const Result<LogCopy> copy =
        ReadLogCopy(whole.path(), [](std::string_view) { return Result<void>{}; });
    whole.Write({chain.records[2]}, copy->bytes);
    REQUIRE(whole.Read() == "3");
  }
}

TEST_CASE("log file: a file that is none, or whose record is broken, is said so") {
  const File file;
  CHECK(file.Read().find("cannot be read") != std::string::npos);
  std::ofstream(file.path()) << "something";
  CHECK(file.Read().find("is no copy of a log") != std::string::npos);
  fs::remove(file.path());
  Chain chain(2);
  chain.records[1].back() = static_cast<char>(chain.records[1].back() ^ 1);
  file.Write(chain.records, std::nullopt);
  CHECK(Begins(file.Read(), "the record after 1 is broken"));
}

}  // namespace latchkey::cli
