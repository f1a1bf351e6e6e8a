// Records out of rows, by the shape of a schema version (pure).
#pragma once

#include <cstdint>
#include <memory>

#include "proto/result.h"
#include "storage/rows.h"
#include "storage/store.h"

namespace latchkey::storage {

// `schema`: the version whose shape is read, or why it is not known: then every question gets that
// error.
std::unique_ptr<Reader> MakeShapedReader(std::unique_ptr<RowReader> rows, Result<uint32_t> schema);

}  // namespace latchkey::storage
