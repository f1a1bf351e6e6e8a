// Tells a torn end of one of RocksDB's logs (write-ahead log, MANIFEST), which a power cut leaves
// and recovery drops, from damage inside it, behind which recovery would silently drop what had
// been synced.
#pragma once

#include <string_view>

namespace latchkey::storage {

enum class LogEnd {
  kWhole,  // every record is
  kTorn,   // the last one is not: checksum, length or type is wrong, and no whole one follows
  kDamagedInside,  // one is not, and a whole one follows it
};

// How the records of a log end; an empty log is whole. Format: RocksDB wiki "Write Ahead Log File
// Format": blocks of 32 KiB of records {masked CRC-32C, 4 bytes; length, 2; type, 1; payload},
// numbers little-endian, zeros where a block has no room for a header.
LogEnd FindLogEnd(std::string_view log);

}  // namespace latchkey::storage
