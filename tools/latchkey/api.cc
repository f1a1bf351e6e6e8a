// One request, one answer; the bridge is on this machine, so what takes long is down.
#include "tools/latchkey/api.h"

#include <httplib.h>

namespace latchkey::cli {

namespace {

constexpr time_t kConnectSeconds = 2;

void SetPatience(httplib::Client& client, Duration patience) {
  client.set_connection_timeout(kConnectSeconds);
  client.set_read_timeout(std::chrono::ceil<std::chrono::seconds>(patience));
}

Result<Answer> AnswerOf(const httplib::Result& result, int port) {
  if (!result) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "the bridge does not answer at 127.0.0.1:" + std::to_string(port) + " (" +
                    httplib::to_string(result.error()) + ")");
  }
  return Answer{result->status, result->body};
}

}  // namespace

Result<Answer> AskBridge(int port, const std::string& path, Duration patience) {
  httplib::Client client("127.0.0.1", port);
  SetPatience(client, patience);
  return AnswerOf(client.Get(path), port);
}

Result<Answer> TellBridge(int port, const std::string& path, const std::string& token,
                          const std::string& body, Duration patience) {
  httplib::Client client("127.0.0.1", port);
  SetPatience(client, patience);
  return AnswerOf(
      client.Post(path, {{"Authorization", "Bearer " + token}}, body, "application/json"), port);
}

}  // namespace latchkey::cli
