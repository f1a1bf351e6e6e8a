// See sms_http.h. Neither numbers nor the token nor what the other side answers gets into a log:
// of an answer its number, of a failure the library's word for it.
#include "bridge/sms_http.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include <httplib.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "proto/crypto.h"
#include "proto/types.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kTokenMin = 16;
constexpr size_t kTokenMax = 256;
constexpr mode_t kOthers = 077;
constexpr time_t kConnectSeconds = 3;
constexpr time_t kAnswerSeconds = 10;
constexpr std::string_view kBearer = "Bearer ";

// RFC 4648 section 4, with padding.
std::string Base64(std::string_view bytes) {
  std::string text = Base64UrlEncode(bytes);
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

Timestamp WallNow() {
  return {std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch())
              .count()};
}

// Text of a member that is a string; empty otherwise.
std::string TextOf(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<uint64_t> ReadId(const std::string& text) {
  uint64_t id = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), id);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && !text.empty()
             ? std::optional(id)
             : std::nullopt;
}

std::optional<SmsReport::What> ReadStatus(const std::string& word) {
  if (word == "sent") {
    return SmsReport::What::kSent;
  }
  if (word == "delivered") {
    return SmsReport::What::kDelivered;
  }
  return word == "failed" ? std::optional(SmsReport::What::kFailed) : std::nullopt;
}

}  // namespace

Result<std::string> ReadSmsToken(const std::filesystem::path& path) {
  struct stat about{};
  std::ifstream file(path, std::ios::binary);
  if (!file || ::stat(path.c_str(), &about) != 0) {
    return Fail(v1::REASON_MALFORMED, path.string() + " (sms.token_file) cannot be read");
  }
  if ((about.st_mode & kOthers) != 0) {
    return Fail(v1::REASON_MALFORMED,
                path.string() + " (sms.token_file) can be read by others: chmod 600 it");
  }
  std::string token(std::istreambuf_iterator<char>(file), {});
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) {
    token.pop_back();
  }
  const bool printable =
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (token.size() < kTokenMin || token.size() > kTokenMax || !printable) {
    return Fail(v1::REASON_MALFORMED,
                path.string() + " (sms.token_file) must hold one word of 16 to 256 printable " +
                    "characters: openssl rand -hex 32 makes one");
  }
  return token;
}

HttpGateway::HttpGateway(HttpSmsOptions options, SmsReportSink sink)
    : SmsWorker(std::move(sink), std::chrono::hours(1)), options_(std::move(options)) {
  const size_t host = options_.url.find("://") + 3;
  const size_t slash = std::min(options_.url.find('/', host), options_.url.size());
  server_ = options_.url.substr(0, slash);
  path_ = slash == options_.url.size() ? "/" : options_.url.substr(slash);
  Start();
}

HttpGateway::~HttpGateway() {
  Stop();
}

HttpGateway::Tried HttpGateway::Try(const std::string& body) const {
  constexpr int kTimeout = 408;
  constexpr int kTooMany = 429;
  httplib::Client client(server_);
  client.set_connection_timeout(kConnectSeconds);
  client.set_read_timeout(kAnswerSeconds);
  client.set_write_timeout(kAnswerSeconds);
  const httplib::Headers headers = {{"Authorization", std::string(kBearer) + options_.token}};
  const httplib::Result result = client.Post(path_, headers, body, "application/json");
  if (!result) {
    return {false, true, "the gateway does not answer: " + httplib::to_string(result.error())};
  }
  const int status = result->status;
  return {status >= 200 && status < 300, status >= 500 || status == kTimeout || status == kTooMany,
          "the gateway answered " + std::to_string(status)};
}

void HttpGateway::Carry(const SendSms& sms) {
  const Json body = {{"id", std::to_string(sms.id)},
                     {"to", sms.number},
                     {"data_base64", Base64(sms.bytes)},
                     {"expires_at_ms", sms.expires_at ? Json(sms.expires_at->ms) : Json(nullptr)},
                     {"callback", options_.callback}};
  const std::string text = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  Tried tried;
  for (size_t count = 0; count <= options_.pauses.size(); ++count) {
    if (count > 0 && Pause(options_.pauses.at(count - 1))) {
      break;
    }
    if (sms.expires_at && *sms.expires_at <= WallNow()) {
      tried.text = "it expired before the gateway took it";
      break;
    }
    tried = Try(text);
    if (tried.taken || !tried.again) {
      break;
    }
  }
  reports().Tell(sms.id, tried.taken ? SmsReport::What::kSent : SmsReport::What::kFailed,
                 tried.text);
}

SmsPostAnswer HttpGateway::TakeReport(const SmsPost& post) {
  constexpr int kNoted = 204;
  constexpr int kBadRequest = 400;
  constexpr int kUnauthorized = 401;
  constexpr int kNotFound = 404;
  constexpr int kTooLarge = 413;
  if (!EqualSecrets(post.authorization, std::string(kBearer) + options_.token)) {
    return {kUnauthorized, "Authorization must be Bearer and the token of sms.token_file"};
  }
  if (post.body.size() > kSmsPostBytesMax) {
    return {kTooLarge, "a report has at most 4096 bytes"};
  }
  const Json json = Json::parse(post.body, nullptr, false);
  const auto id = json.is_object() ? ReadId(TextOf(json, "id")) : std::nullopt;
  const auto status = json.is_object() ? ReadStatus(TextOf(json, "status")) : std::nullopt;
  if (!id || !status) {
    return {kBadRequest,
            "a report is {\"id\": \"...\", \"status\": \"sent\", \"delivered\" or \"failed\", "
            "\"text\": \"...\"}"};
  }
  if (!reports().Tell(*id, *status, TextOf(json, "text"))) {
    return {kNotFound, "no SMS of this id is known here, or not any more"};
  }
  return {kNoted, ""};
}

}  // namespace latchkey::bridge
