// TeslaFi: a month's rows as its export writes them, one a minute, of one car or several.
//
// `Date` is local time without a zone. A row that says when its position was taken (gps_as_of, Unix
// time) tells the zone's offset; a row that does not takes that of its neighbours when the ones
// before and after it agree, else the zone that people name. What then is not certain is refused.
// A row that names no car is nobody's, whatever stands around it. Pure.
#pragma once

#include <optional>

#include "tools/import/record.h"
#include "tools/import/zone.h"

namespace latchkey::legacy {

// Adds each row of the file to `out`. `zone`: of its local times, when people say it.
void ReadTeslaFi(const SourceFile& file, const std::optional<Zone>& zone, Reading& out);

}  // namespace latchkey::legacy
