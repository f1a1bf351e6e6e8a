// One request, one answer; the bridge is on this machine, so what takes long is down.
#include "tools/latchkey/api.h"

#include <httplib.h>

namespace latchkey::cli {

namespace {

constexpr time_t kConnectSeconds = 2;
constexpr time_t kReadSeconds = 10;

}  // namespace

Result<Answer> AskBridge(int port, const std::string& path) {
  httplib::Client client("127.0.0.1", port);
  client.set_connection_timeout(kConnectSeconds);
  client.set_read_timeout(kReadSeconds);
  const httplib::Result result = client.Get(path);
  if (!result) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "the bridge does not answer at 127.0.0.1:" + std::to_string(port) + " (" +
                    httplib::to_string(result.error()) + ")");
  }
  return Answer{result->status, result->body};
}

}  // namespace latchkey::cli
