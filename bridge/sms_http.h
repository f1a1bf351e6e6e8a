// The gateway through a program that speaks HTTP, which hands SMS to whatever sends them.
//
//   We:  POST {url}                         Authorization: Bearer {token}
//        {"id": "18364758544493064720", "to": "+436601234567", "data_base64": "AQ...",
//         "expires_at_ms": 1795272603000, "callback": "http://127.0.0.1:9464/v1/sms/report"}
//        2xx: taken. The same id twice is the same SMS. expires_at_ms is null when it never does.
//   It:  POST {callback}                    Authorization: Bearer {token}
//        {"id": "18364758544493064720", "status": "delivered", "text": "in its own words"}
//        status is sent, delivered or failed, text may be left out; 204: noted, 400, 401, 404: no
//        SMS of this id is known here any more
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bridge/sms.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::bridge {

struct HttpSmsOptions {
  std::string url;  // https://, or http:// to loopback; checked by config.h
  std::string token;
  std::string callback;
  // Between tries; an SMS that no try got through has failed.
  std::vector<Duration> pauses = {std::chrono::seconds(2), std::chrono::seconds(8)};
};

// The shared secret: 16 to 256 printable characters in a file that nobody else can read. Error
// REASON_MALFORMED.
Result<std::string> ReadSmsToken(const std::filesystem::path& path);

class HttpGateway final : public SmsWorker {
 public:
  HttpGateway(HttpSmsOptions options, SmsReportSink sink);
  ~HttpGateway() override;
  HttpGateway(const HttpGateway&) = delete;
  HttpGateway& operator=(const HttpGateway&) = delete;

  // For the route that reports come by. From any thread, as long as this lives.
  SmsPostAnswer TakeReport(const SmsPost& post);

 private:
  struct Tried {
    bool taken = false;
    bool again = false;  // worth another try
    std::string text;
  };

  void Carry(const SendSms& sms) override;
  Tried Try(const std::string& body) const;

  const HttpSmsOptions options_;
  std::string server_;  // scheme, host and port
  std::string path_;
};

}  // namespace latchkey::bridge
