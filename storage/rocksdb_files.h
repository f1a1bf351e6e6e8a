// What the files of a store say before RocksDB opens it. RocksDB takes a log whose end it cannot
// read for one that a power cut has torn, and drops that end without a word, also where it had been
// synced.
#pragma once

#include <string>

#include "proto/result.h"

namespace latchkey::storage {

// Whether the folder `path` can be opened without silently losing what was synced. Changes nothing;
// reads the logs whole. Errors REASON_STORE_UNAVAILABLE: a file is damaged; the text names it.
Result<void> CheckFiles(const std::string& path);

}  // namespace latchkey::storage
