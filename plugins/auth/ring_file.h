// The auth plugin's own copy of every ring and every block, so that the live path survives a
// restart of the broker with bridge and cars away. An append-only file, read and compacted at
// start.
//
//   file   = *(ring | block)
//   ring   = "LKR1" length(4, little-endian, 1 to 16384) sum(8) SignedKeyRing(length)
//   sum    = first 8 bytes of SHA-256(length SignedKeyRing)
//   block  = "LKB1" length(4, little-endian, 1 to 256) sum(8) v1.Block(length)
//   sum    = first 8 bytes of SHA-256("LKB1" length v1.Block)
//
// A sum finds damage, not malice: who reads a ring must verify its own signature again. A block has
// none: whoever can write this file can lift a block, but give nobody a right.
// Appending is a plain write(2): a crash of the process loses nothing, a loss of power may lose the
// last seconds, which the cars and the bridge send anew when they connect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proto/result.h"

namespace latchkey::auth {

enum class RecordKind : uint8_t { kRing, kBlock };

// What the reader makes of a record.
enum class Fate : uint8_t {
  kNewest,   // in force: replaces earlier records of the same kind and name
  kKept,     // of no use now (a fleet whose CA is not here) but not wrong: stays in the file
  kDropped,  // superseded or false: is left out of the next file
};

struct Judged {
  Fate fate = Fate::kDropped;
  std::string name;  // for kNewest: the car of a ring, the scope of a block
};

// What opening found.
struct Opening {
  uint64_t records = 0;      // whole records read
  uint64_t dropped = 0;      // of these, superseded or false
  uint64_t damaged = 0;      // places where bytes are not a record
  uint64_t bytes_cut = 0;    // bytes after the last whole record: a torn tail
  bool rewritten = false;    // the file was compacted
  std::string rewrite_text;  // why it could not be, if it should have been
};

// Not thread-safe; used from the broker's thread. The file is 0600.
class RingFile {
 public:
  using Judge = std::function<Judged(RecordKind kind, std::string_view content)>;

  // Reads all records in file order, then rewrites the file without what is superseded, false,
  // damaged or torn (to `path`.new, synced, renamed). A missing file is made. Errors
  // REASON_STORE_UNAVAILABLE: cannot be opened, made, read or positioned.
  static Result<std::unique_ptr<RingFile>> Open(const std::string& path, const Judge& judge);

  RingFile(const RingFile&) = delete;
  RingFile& operator=(const RingFile&) = delete;
  ~RingFile();

  // Adds one record; never syncs. Error REASON_STORE_UNAVAILABLE: nothing was added (a part that
  // was written is cut off again); the next call tries anew. REASON_TOO_LARGE: empty or above what
  // its kind may have.
  Result<void> Append(RecordKind kind, std::string_view content);

  // Hands all whole records over once more, in file order; what `judge` says of them is not asked
  // for. Error REASON_STORE_UNAVAILABLE.
  Result<void> ReadAgain(const Judge& judge);

  const Opening& opening() const { return opening_; }

 private:
  RingFile(std::string path, int file) : path_(std::move(path)), file_(file) {}

  struct Kept;
  Result<std::string> ReadAt(uint64_t offset, size_t size) const;
  Result<void> ReadAll(const Judge& judge, Kept& kept);
  Result<uint64_t> FindMark(uint64_t from) const;
  Result<void> Rewrite(const Kept& kept);
  Result<void> Cut();

  std::string path_;
  int file_ = -1;
  uint64_t end_ = 0;  // after the last whole record
  Opening opening_;
};

}  // namespace latchkey::auth
