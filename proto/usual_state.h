// The usual state message, recognised by its bytes: as our own cars serialize it, known fields in
// ascending order, each once, every value possible. The broker's guard sees each message of each
// car, and parsing one into objects takes ten times as long as reading over it.
#pragma once

#include <string_view>

#include "proto/types.h"

namespace latchkey {

// True: ParseState would take these bytes. False: it is to be asked, for they may be as good: extra
// signals, apps, areas, texts beyond ASCII, other orders of fields are left to it. Allocates
// nothing.
bool IsUsualState(std::string_view bytes, Group group);

}  // namespace latchkey
