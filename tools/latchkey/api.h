// The door to cpp-httplib: asks the bridge's HTTP interface on loopback (bridge/http.h).
#pragma once

#include <string>

#include "proto/result.h"

namespace latchkey::cli {

struct Answer {
  int status = 0;  // HTTP status
  std::string body;
};

// GET `path` from 127.0.0.1:`port`. Error REASON_STORE_UNAVAILABLE: the bridge does not answer.
Result<Answer> AskBridge(int port, const std::string& path);

}  // namespace latchkey::cli
