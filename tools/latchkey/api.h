// The door to cpp-httplib: asks the bridge's HTTP interface on loopback (bridge/http.h).
#pragma once

#include <string>

#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::cli {

struct Answer {
  int status = 0;  // HTTP status
  std::string body;
};

// GET `path` from 127.0.0.1:`port`. Error REASON_STORE_UNAVAILABLE: the bridge does not answer, at
// once or within `patience`.
Result<Answer> AskBridge(int port, const std::string& path,
                         Duration patience = std::chrono::seconds(10));
// POST of a JSON body, as one who has the bridge's `token`. Errors as of AskBridge.
Result<Answer> TellBridge(int port, const std::string& path, const std::string& token,
                          const std::string& body, Duration patience);

}  // namespace latchkey::cli
