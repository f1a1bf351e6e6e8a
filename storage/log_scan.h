// Tells a torn end of RocksDB's write-ahead log, which a power cut leaves and recovery drops, from
// damage inside it, behind which recovery would silently drop what had been synced.
#pragma once

#include <string_view>

namespace latchkey::storage {

// True: a record of these bytes is not whole (checksum, length, type) and a whole one follows it.
// Format: RocksDB wiki "Write Ahead Log File Format": blocks of 32 KiB of records {masked CRC-32C,
// 4 bytes; length, 2; type, 1; payload}, numbers little-endian.
bool DamagedInside(std::string_view log);

}  // namespace latchkey::storage
