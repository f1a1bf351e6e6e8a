// What a RocksDB store that is there says of itself before it is opened.
#pragma once

#include <string>
#include <vector>

#include "proto/result.h"
#include "storage/migrations.h"

namespace latchkey::storage {

// Families of the database in a folder; empty: there is none, or it cannot be told.
std::vector<std::string> RocksDbFamilyNames(const std::string& path);

// Whether this software may open it; changes no byte. Errors REASON_STORE_UNAVAILABLE: newer
// software wrote it, or what it says cannot be read.
Result<void> CheckRocksDbSchema(const std::string& path, const Migrations& known);

}  // namespace latchkey::storage
