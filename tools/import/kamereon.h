// Renault's cloud: answers of its Kamereon interface, one JSON file each, {"data": {"id": VIN,
// "attributes": ...}}. Answers that say why there is no answer (quota, forbidden, privacy) are
// refused in the words of the cloud. Pure.
#pragma once

#include "tools/import/record.h"

namespace latchkey::legacy {

// Adds the file's one record to `out`.
void ReadKamereon(const SourceFile& file, const ReaderOptions& options, Reading& out);

}  // namespace latchkey::legacy
