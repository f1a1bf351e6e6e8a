// BMW ConnectedDrive and MyBMW: answers of three generations of its interface, one JSON file each.
//
//   2018     {"vehicleStatus": ...} (status.json) and {"attributesMap": ...} (dynamic.json)
//   2021     [{"vin", "properties", "status"}] (vehicles_v2), or one such object below "data"
//   2022-25  {"state": ...} (vehicles_state; the vehicle is in the file's name only)
//
// Everything else (trips, destinations, charging sessions, remote services) has no signal here and
// is refused as such. Pure.
#pragma once

#include "tools/import/record.h"

namespace latchkey::legacy {

// Adds each record of the file to `out`. A file is one record; a list of vehicles one each, whose
// `where` ends in "#1" and so on.
void ReadConnectedDrive(const SourceFile& file, const ReaderOptions& options, Reading& out);

}  // namespace latchkey::legacy
