// Reading skips damage by looking for the next mark, so that one bad sector costs one record.
#include "plugins/auth/ring_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/blocks.h"
#include "proto/crypto.h"
#include "proto/keyring.h"

namespace latchkey::auth {

namespace {

constexpr size_t kMarkBytes = 4;
constexpr size_t kLengthBytes = 4;
constexpr size_t kSumBytes = 8;
constexpr size_t kHeadBytes = kMarkBytes + kLengthBytes + kSumBytes;
constexpr size_t kReadBytes = 65536;

std::string_view MarkOf(RecordKind kind) {
  switch (kind) {
    case RecordKind::kRing:
      return "LKR1";
    case RecordKind::kBlock:
      return "LKB1";
  }
  return {};
}

size_t MostOf(RecordKind kind) {
  switch (kind) {
    case RecordKind::kRing:
      return kKeyRingBytesMax;
    case RecordKind::kBlock:
      return kBlockBytesMax;
  }
  return 0;
}

std::optional<RecordKind> KindOf(std::string_view head) {
  for (const RecordKind kind : {RecordKind::kRing, RecordKind::kBlock}) {
    if (head.substr(0, kMarkBytes) == MarkOf(kind)) {
      return kind;
    }
  }
  return std::nullopt;
}

std::string LengthBytes(size_t length) {
  std::string bytes;
  for (unsigned shift = 0; shift < 32; shift += 8) {
    bytes += static_cast<char>(length >> shift & 0xffU);
  }
  return bytes;
}

size_t LengthOf(std::string_view bytes) {
  size_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return length;
}

// The mark of a block is one bit from that of a ring, so it is under the sum.
std::string SumOf(RecordKind kind, std::string_view length, std::string_view content) {
  std::string bytes(kind == RecordKind::kBlock ? MarkOf(kind) : std::string_view());
  bytes += length;
  bytes += content;
  return Sha256(bytes).substr(0, kSumBytes);
}

std::string RecordOf(RecordKind kind, std::string_view content) {
  const std::string length = LengthBytes(content.size());
  std::string record(MarkOf(kind));
  record += length;
  record += SumOf(kind, length, content);
  record += content;
  return record;
}

tl::unexpected<Error> Failed(const std::string& what, const std::string& path) {
  const int code = errno;
  return Fail(v1::REASON_STORE_UNAVAILABLE, "ring file " + path + " cannot be " + what + ": " +
                                                std::strerror(code) +
                                                "; check the disk and the owner of the file");
}

// False: errno says why; a part may have been written.
bool WriteAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

struct RingFile::Kept {
  struct Span {
    uint64_t offset = 0;
    size_t bytes = 0;
  };

  using Name = std::array<char, 16>;  // first half of SHA-256 over kind and name

  struct Newest {
    Name name{};
    Span span;
  };

  void Add(RecordKind kind, std::string_view name, const Span& span) {
    std::string whole(MarkOf(kind));
    whole += name;
    const std::string sum = Sha256(whole);
    Newest added{{}, span};
    std::copy_n(sum.begin(), added.name.size(), added.name.begin());
    newest.push_back(added);
  }

  // Of each name the last one stays, in file order. How many went.
  size_t DropEarlier() {
    std::sort(newest.begin(), newest.end(), [](const Newest& a, const Newest& b) {
      return std::tie(a.name, b.span.offset) < std::tie(b.name, a.span.offset);
    });
    const auto end = std::unique(newest.begin(), newest.end(),
                                 [](const Newest& a, const Newest& b) { return a.name == b.name; });
    const auto went = static_cast<size_t>(newest.end() - end);
    newest.erase(end, newest.end());
    std::sort(newest.begin(), newest.end(),
              [](const Newest& a, const Newest& b) { return a.span.offset < b.span.offset; });
    return went;
  }

  // One block of memory, which goes back as a whole: nodes of a map would lie between those of what
  // is read, and what they leave could not be given back.
  std::vector<Newest> newest;
  std::vector<Span> others;
};

RingFile::~RingFile() {
  if (file_ >= 0) {
    ::close(file_);
  }
}

Result<std::unique_ptr<RingFile>> RingFile::Open(const std::string& path, const Judge& judge) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) {
    return Failed("opened", path);
  }
  std::unique_ptr<RingFile> ring_file(new RingFile(path, file));
  if (::fchmod(file, 0600) != 0) {
    return Failed("made private", path);
  }
  Kept kept;
  LK_CHECK(ring_file->ReadAll(judge, kept));
  Opening& opening = ring_file->opening_;
  if (opening.dropped == 0 && opening.damaged == 0 && opening.bytes_cut == 0) {
    return ring_file;
  }
  const Result<void> rewritten = ring_file->Rewrite(kept);
  if (rewritten) {
    opening.rewritten = true;
    return ring_file;
  }
  opening.rewrite_text = rewritten.error().text;
  LK_CHECK(ring_file->Cut());
  return ring_file;
}

Result<std::string> RingFile::ReadAt(uint64_t offset, size_t size) const {
  std::string bytes(size, '\0');
  size_t got = 0;
  while (got < size) {
    const ssize_t count =
        ::pread(file_, bytes.data() + got, size - got, static_cast<off_t>(offset + got));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return Failed("read", path_);
    }
    if (count == 0) {
      break;
    }
    got += static_cast<size_t>(count);
  }
  bytes.resize(got);
  return bytes;
}

// Where the next mark begins, at or after `from`; the end of the file when there is none.
Result<uint64_t> RingFile::FindMark(uint64_t from) const {
  for (;;) {
    LK_TRY(const std::string bytes, ReadAt(from, kReadBytes));
    const size_t found =
        std::min(bytes.find(MarkOf(RecordKind::kRing)), bytes.find(MarkOf(RecordKind::kBlock)));
    if (found != std::string::npos) {
      return from + found;
    }
    if (bytes.size() < kReadBytes) {
      return from + bytes.size();
    }
    from += bytes.size() - (kMarkBytes - 1);
  }
}

Result<void> RingFile::ReadAll(const Judge& judge, Kept& kept) {
  uint64_t at = 0;
  bool damage = false;
  for (;;) {
    LK_TRY(const std::string head, ReadAt(at, kHeadBytes));
    if (head.empty()) {
      break;
    }
    const std::optional<RecordKind> kind = head.size() == kHeadBytes ? KindOf(head) : std::nullopt;
    const std::string length = kind ? head.substr(kMarkBytes, kLengthBytes) : std::string();
    const size_t size = kind ? LengthOf(length) : 0;
    std::string content;
    if (kind && size >= 1 && size <= MostOf(*kind)) {
      LK_TRY(content, ReadAt(at + kHeadBytes, size));
    }
    const bool whole = !content.empty() && content.size() == size &&
                       head.substr(kMarkBytes + kLengthBytes) == SumOf(*kind, length, content);
    if (!whole) {
      damage = true;
      LK_TRY(at, FindMark(at + 1));
      continue;
    }
    opening_.damaged += damage ? 1 : 0;
    damage = false;
    ++opening_.records;
    const Judged judged = judge(*kind, content);
    const Kept::Span span{at, kHeadBytes + size};
    if (judged.fate == Fate::kNewest) {
      kept.Add(*kind, judged.name, span);
    } else if (judged.fate == Fate::kKept) {
      kept.others.push_back(span);
    } else {
      ++opening_.dropped;
    }
    at += span.bytes;
    end_ = at;
  }
  opening_.dropped += kept.DropEarlier();
  opening_.bytes_cut = at - end_;
  return {};
}

Result<void> RingFile::ReadAgain(const Judge& judge) {
  Kept kept;
  const Opening opening = opening_;
  const uint64_t end = end_;
  const Result<void> read = ReadAll(judge, kept);
  opening_ = opening;
  end_ = end;
  return read;
}

Result<void> RingFile::Rewrite(const Kept& kept) {
  const std::string new_path = path_ + ".new";
  const int file = ::open(new_path.c_str(),
                          O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) {
    return Failed("rewritten", new_path);
  }
  RingFile next(new_path, file);
  std::vector<Kept::Span> spans = kept.others;
  for (const Kept::Newest& newest : kept.newest) {
    spans.push_back(newest.span);
  }
  for (const Kept::Span& span : spans) {
    LK_TRY(const std::string record, ReadAt(span.offset, span.bytes));
    if (!WriteAll(next.file_, record)) {
      return Failed("rewritten", new_path);
    }
    next.end_ += span.bytes;
  }
  // Before the broker serves anybody: the one place where waiting for the disk is allowed.
  if (::fsync(next.file_) != 0 || ::rename(new_path.c_str(), path_.c_str()) != 0) {
    return Failed("rewritten", new_path);
  }
  std::swap(file_, next.file_);
  end_ = next.end_;
  return {};
}

Result<void> RingFile::Cut() {
  if (::ftruncate(file_, static_cast<off_t>(end_)) != 0) {
    return Failed("cut back", path_);
  }
  return {};
}

Result<void> RingFile::Append(RecordKind kind, std::string_view content) {
  if (content.empty() || content.size() > MostOf(kind)) {
    return Fail(v1::REASON_TOO_LARGE, "a record of " + std::to_string(content.size()) +
                                          " bytes does not fit the ring file: not added");
  }
  const std::string record = RecordOf(kind, content);
  if (!WriteAll(file_, record)) {
    const auto failed = Failed("added to", path_);
    // If this fails too, the next start finds the torn record by its sum.
    const Result<void> cut = Cut();
    static_cast<void>(cut);
    return failed;
  }
  end_ += record.size();
  return {};
}

}  // namespace latchkey::auth
