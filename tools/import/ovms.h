// The server of Open Vehicle Monitoring System: a dump of its database. Its last-known state is one
// row of ovms_carmessages per car and code of message (protocol v2). Accounts, passwords, tokens
// and telephone numbers are refused: what a server can hand on, a server can steal. Pure.
#pragma once

#include "tools/import/record.h"

namespace latchkey::legacy {

// Adds each row of each table to `out`.
void ReadOvmsDump(const SourceFile& file, Reading& out);

// One message of a car as ovms_carmessages keeps it.
struct OvmsMessage {
  char code = 0;
  std::string text;         // fields with ',' between
  bool miles = false;       // the car counts distances in miles (its S message says so)
  bool units_known = true;  // false: it has no S message
};

// The fields of a message as signals; what has none is counted as "S.3" and so on. False: a code
// that carries no state.
bool TakeOvmsMessage(const OvmsMessage& message, RecordMaker& record,
                     std::map<std::string, uint64_t>& not_kept);

}  // namespace latchkey::legacy
