// The fields of each generation of ConnectedDrive as signals. Private to connecteddrive.cc.
#pragma once

#include "tools/import/json_fields.h"
#include "tools/import/record.h"

namespace latchkey::legacy {

// When `fields` were observed; nullopt: they do not say.
std::optional<Timestamp> TimeOf2018Status(JsonFields& fields);
std::optional<Timestamp> TimeOf2018Attributes(JsonFields& fields);
std::optional<Timestamp> TimeOf2021(JsonFields& fields);
std::optional<Timestamp> TimeOf2022(JsonFields& fields);

void Take2018Status(JsonFields& fields, RecordMaker& record);
void Take2018Attributes(JsonFields& fields, RecordMaker& record);
void Take2021(JsonFields& fields, RecordMaker& record);
void Take2022(JsonFields& fields, RecordMaker& record);

}  // namespace latchkey::legacy
