// The door to toml++. One table says which keys exist; what is not in it is refused.
#include "bridge/config.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <vector>

#include <toml++/toml.h>

namespace latchkey::bridge {

namespace {

constexpr size_t kConfigBytesMax = 65536;
constexpr size_t kNameMax = 32;
constexpr int64_t kLogBytesMin = 1 << 20;
constexpr int64_t kLogDaysMax = 36500;
constexpr int64_t kHistoryBytesMin = 65536;
constexpr int64_t kHistoryBytesMax = int64_t{1} << 30;
constexpr int64_t kHistoryDaysMax = 3650;
constexpr int64_t kLinksDaysMax = 3650;
constexpr int64_t kBackupsMax = 10000;
constexpr int64_t kBackupRateMin = 1 << 20;

enum class Use : uint8_t { kRequired, kOptional };
enum class Type : uint8_t { kText, kPath, kPort, kCount };

struct Key {
  std::string_view section;
  std::string_view name;
  Type type = Type::kText;
  Use use = Use::kRequired;
  std::string* text = nullptr;  // kText, kPath
  int* number = nullptr;        // kPort
  int64_t* count = nullptr;     // kCount
};

std::vector<Key> KeysOf(Config& config) {
  return {
      {"broker", "host", Type::kText, Use::kRequired, &config.broker.host, nullptr},
      {"broker", "port", Type::kPort, Use::kRequired, nullptr, &config.broker.port},
      {"broker", "ca_file", Type::kPath, Use::kRequired, &config.broker.ca_file, nullptr},
      {"broker", "certificate_file", Type::kPath, Use::kRequired, &config.broker.certificate_file,
       nullptr},
      {"broker", "private_key_file", Type::kPath, Use::kRequired, &config.broker.private_key_file,
       nullptr},
      {"fleets", "ca_dir", Type::kPath, Use::kRequired, &config.fleets_ca_dir, nullptr},
      {"store", "path", Type::kPath, Use::kRequired, &config.store_path, nullptr},
      {"http", "host", Type::kText, Use::kOptional, &config.http.host, nullptr},
      {"http", "port", Type::kPort, Use::kRequired, nullptr, &config.http.port},
      {"bridge", "name", Type::kText, Use::kRequired, &config.name, nullptr},
      {"log", "level", Type::kText, Use::kOptional, &config.log_level, nullptr},
      {"log_book", "keep_bytes", Type::kCount, Use::kOptional, nullptr, nullptr,
       &config.log_book.keep_bytes},
      {"log_book", "keep_days", Type::kCount, Use::kOptional, nullptr, nullptr,
       &config.log_book.keep_days},
      {"history", "keep_days", Type::kCount, Use::kOptional, nullptr, nullptr,
       &config.history.keep_days},
      {"history", "bytes_per_car", Type::kCount, Use::kOptional, nullptr, nullptr,
       &config.history.bytes_per_car},
      {"links", "keep_days", Type::kCount, Use::kOptional, nullptr, nullptr,
       &config.links.keep_days},
      {"backup", "dir", Type::kPath, Use::kOptional, &config.backup.dir, nullptr},
      {"backup", "keep", Type::kCount, Use::kOptional, nullptr, nullptr, &config.backup.keep},
      {"backup", "bytes_per_second", Type::kCount, Use::kOptional, nullptr, nullptr,
       &config.backup.bytes_per_second},
      {"sms", "gateway", Type::kText, Use::kOptional, &config.sms.gateway, nullptr},
      {"sms", "contacts_dir", Type::kPath, Use::kOptional, &config.sms.contacts_dir, nullptr},
      {"sms", "outbox_dir", Type::kPath, Use::kOptional, &config.sms.outbox_dir, nullptr},
      {"sms", "sent_dir", Type::kPath, Use::kOptional, &config.sms.sent_dir, nullptr},
      {"sms", "error_dir", Type::kPath, Use::kOptional, &config.sms.error_dir, nullptr},
      {"sms", "inbox_dir", Type::kPath, Use::kOptional, &config.sms.inbox_dir, nullptr},
      {"sms", "url", Type::kText, Use::kOptional, &config.sms.url, nullptr},
      {"sms", "token_file", Type::kPath, Use::kOptional, &config.sms.token_file, nullptr},
  };
}

// What a key of [sms] is to a gateway.
struct SmsKey {
  std::string_view name;
  std::string_view gateway;
  Use use = Use::kRequired;
};

constexpr std::array<SmsKey, 6> kSmsKeys = {{{"outbox_dir", "gammu", Use::kRequired},
                                             {"sent_dir", "gammu", Use::kRequired},
                                             {"error_dir", "gammu", Use::kRequired},
                                             {"inbox_dir", "gammu", Use::kOptional},
                                             {"url", "http", Use::kRequired},
                                             {"token_file", "http", Use::kRequired}}};

// https://, or http:// to this machine: phone numbers and signed commands travel there.
bool IsSafeUrl(std::string_view url) {
  constexpr std::string_view kTls = "https://";
  if (url.substr(0, kTls.size()) == kTls) {
    return url.size() > kTls.size() && url[kTls.size()] != '/';
  }
  for (const std::string_view local : {"http://127.0.0.1", "http://[::1]", "http://localhost"}) {
    const std::string_view rest = url.substr(std::min(url.size(), local.size()));
    if (url.substr(0, local.size()) == local &&
        (rest.empty() || rest.front() == ':' || rest.front() == '/')) {
      return true;
    }
  }
  return false;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

// ": did you mean 'port'?" or the list of what there is.
std::string Hint(std::string_view word, std::vector<std::string_view> known) {
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  const auto nearest = std::min_element(known.begin(), known.end(), [&](auto one, auto other) {
    return EditDistance(word, one) < EditDistance(word, other);
  });
  if (EditDistance(word, *nearest) <= 1 + word.size() / 3) {
    return ": did you mean '" + std::string(*nearest) + "'?";
  }
  std::string text = ": known are";
  for (const std::string_view name : known) {
    text += " " + std::string(name);
  }
  return text;
}

class Parser {
 public:
  explicit Parser(std::filesystem::path path) : path_(std::move(path)) {}

  Result<Config> Parse(std::string_view text);

 private:
  tl::unexpected<Error> Complain(size_t line, const std::string& what) const {
    return Fail(v1::REASON_MALFORMED,
                path_.string() + ":" + std::to_string(line == 0 ? 1 : line) + ": " + what);
  }

  Result<void> CheckNames(const toml::table& root, const std::vector<Key>& keys) const;
  Result<void> Read(const toml::table& root, const Key& key) const;
  Result<void> CheckValues(const toml::table& root, const Config& config) const;
  Result<void> CheckSms(const toml::table& root, const Config::Sms& sms) const;
  static size_t LineOf(const toml::table& root, std::string_view section, std::string_view name);

  const std::filesystem::path path_;
};

size_t Parser::LineOf(const toml::table& root, std::string_view section, std::string_view name) {
  const auto node = root[section][name];
  return node.node() != nullptr ? node.node()->source().begin.line : 0;
}

Result<void> Parser::CheckNames(const toml::table& root, const std::vector<Key>& keys) const {
  for (const auto& [section, node] : root) {
    std::vector<std::string_view> sections;
    std::vector<std::string_view> names;
    for (const Key& key : keys) {
      sections.push_back(key.section);
      if (key.section == section.str()) {
        names.push_back(key.name);
      }
    }
    if (names.empty()) {
      return Complain(
          section.source().begin.line,
          "unknown section '" + std::string(section.str()) + "'" + Hint(section.str(), sections));
    }
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      return Complain(section.source().begin.line, "'" + std::string(section.str()) +
                                                       "' is a section: write [" +
                                                       std::string(section.str()) + "]");
    }
    for (const auto& [name, value] : *table) {
      if (std::find(names.begin(), names.end(), name.str()) == names.end()) {
        return Complain(name.source().begin.line, "unknown key '" + std::string(name.str()) +
                                                      "' in [" + std::string(section.str()) + "]" +
                                                      Hint(name.str(), names));
      }
    }
  }
  return {};
}

Result<void> Parser::Read(const toml::table& root, const Key& key) const {
  const std::string full = std::string(key.section) + "." + std::string(key.name);
  const toml::node* node = root[key.section][key.name].node();
  if (node == nullptr) {
    if (key.use == Use::kOptional) {
      return {};
    }
    const toml::node* section = root[key.section].node();
    return Complain(section != nullptr ? section->source().begin.line : 0,
                    "'" + full + "' is missing");
  }
  const size_t line = node->source().begin.line;
  if (key.type == Type::kPort) {
    const auto* number = node->as_integer();
    if (number == nullptr || number->get() < 1 || number->get() > 65535) {
      return Complain(line, "'" + full + "' must be a port number from 1 to 65535");
    }
    *key.number = static_cast<int>(number->get());
    return {};
  }
  if (key.type == Type::kCount) {
    const auto* number = node->as_integer();
    if (number == nullptr) {
      return Complain(line, "'" + full + "' must be a number");
    }
    *key.count = number->get();
    return {};
  }
  const auto* text = node->as_string();
  if (text == nullptr || text->get().empty()) {
    return Complain(line, "'" + full + "' must be text in quotes, not empty");
  }
  if (key.type == Type::kPath) {
    const std::filesystem::path full_path = (path_.parent_path() / text->get()).lexically_normal();
    *key.text = (full_path.has_filename() ? full_path : full_path.parent_path()).string();
  } else {
    *key.text = text->get();
  }
  return {};
}

Result<void> Parser::CheckValues(const toml::table& root, const Config& config) const {
  if (config.http.host != "127.0.0.1" && config.http.host != "::1" &&
      config.http.host != "localhost") {
    return Complain(LineOf(root, "http", "host"),
                    "'http.host' must be loopback (127.0.0.1, ::1 or localhost): what it serves "
                    "has no sign-in");
  }
  constexpr std::array<std::string_view, 4> kLevels = {"debug", "info", "warning", "error"};
  if (std::find(kLevels.begin(), kLevels.end(), config.log_level) == kLevels.end()) {
    return Complain(LineOf(root, "log", "level"),
                    "'log.level' must be one of debug, info, warning, error");
  }
  const bool name_fits = config.name.size() <= kNameMax &&
                         std::all_of(config.name.begin(), config.name.end(), [](char c) {
                           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                  (c >= '0' && c <= '9') || c == '-' || c == '_';
                         });
  if (!name_fits) {
    return Complain(LineOf(root, "bridge", "name"),
                    "'bridge.name' must be 1 to 32 of A-Z a-z 0-9 '-' '_'");
  }
  if (config.log_book.keep_bytes < kLogBytesMin) {
    return Complain(LineOf(root, "log_book", "keep_bytes"),
                    "'log_book.keep_bytes' must be at least " + std::to_string(kLogBytesMin));
  }
  if (config.log_book.keep_days < 1 || config.log_book.keep_days > kLogDaysMax) {
    return Complain(
        LineOf(root, "log_book", "keep_days"),
        "'log_book.keep_days' must be a number from 1 to " + std::to_string(kLogDaysMax));
  }
  if (config.history.keep_days < 0 || config.history.keep_days > kHistoryDaysMax) {
    return Complain(
        LineOf(root, "history", "keep_days"),
        "'history.keep_days' must be a number from 0 to " + std::to_string(kHistoryDaysMax));
  }
  if (config.links.keep_days < 0 || config.links.keep_days > kLinksDaysMax) {
    return Complain(
        LineOf(root, "links", "keep_days"),
        "'links.keep_days' must be a number from 0 to " + std::to_string(kLinksDaysMax));
  }
  if (config.backup.keep < 1 || config.backup.keep > kBackupsMax) {
    return Complain(LineOf(root, "backup", "keep"),
                    "'backup.keep' must be a number from 1 to " + std::to_string(kBackupsMax));
  }
  if (config.backup.bytes_per_second < kBackupRateMin) {
    return Complain(LineOf(root, "backup", "bytes_per_second"),
                    "'backup.bytes_per_second' must be at least " + std::to_string(kBackupRateMin));
  }
  if (config.history.bytes_per_car < kHistoryBytesMin ||
      config.history.bytes_per_car > kHistoryBytesMax) {
    return Complain(LineOf(root, "history", "bytes_per_car"),
                    "'history.bytes_per_car' must be from " + std::to_string(kHistoryBytesMin) +
                        " to " + std::to_string(kHistoryBytesMax));
  }
  return CheckSms(root, config.sms);
}

Result<void> Parser::CheckSms(const toml::table& root, const Config::Sms& sms) const {
  if (sms.gateway != "gammu" && sms.gateway != "http" && sms.gateway != "none") {
    return Complain(LineOf(root, "sms", "gateway"),
                    "'sms.gateway' must be one of gammu, http, none");
  }
  for (const SmsKey& key : kSmsKeys) {
    const bool there = root["sms"][key.name].node() != nullptr;
    const std::string full = "'sms." + std::string(key.name) + "'";
    if (there && key.gateway != sms.gateway) {
      return Complain(LineOf(root, "sms", key.name), full + " is for gateway = \"" +
                                                         std::string(key.gateway) +
                                                         "\", this is \"" + sms.gateway + "\"");
    }
    if (!there && key.gateway == sms.gateway && key.use == Use::kRequired) {
      return Complain(LineOf(root, "sms", "gateway"), full + " is missing");
    }
  }
  if (sms.gateway == "gammu") {
    std::vector<std::string> folders = {sms.outbox_dir, sms.sent_dir, sms.error_dir, sms.inbox_dir};
    std::sort(folders.begin(), folders.end());
    if (std::adjacent_find(folders.begin(), folders.end()) != folders.end()) {
      return Complain(LineOf(root, "sms", "gateway"),
                      "the folders of gammu must be different ones");
    }
  }
  if (sms.gateway == "http" && !IsSafeUrl(sms.url)) {
    return Complain(LineOf(root, "sms", "url"),
                    "'sms.url' must begin with https://, or with http:// when the gateway is on "
                    "this machine");
  }
  return {};
}

Result<Config> Parser::Parse(std::string_view text) {
  toml::table root;
  try {
    root = toml::parse(text, path_.string());
  } catch (const toml::parse_error& error) {
    return Complain(error.source().begin.line, std::string(error.description()));
  }
  Config config;
  config.sms.contacts_dir = (path_.parent_path() / config.sms.contacts_dir).string();
  config.backup.dir = (path_.parent_path() / config.backup.dir).string();
  const std::vector<Key> keys = KeysOf(config);
  LK_CHECK(CheckNames(root, keys));
  for (const Key& key : keys) {
    LK_CHECK(Read(root, key));
  }
  LK_CHECK(CheckValues(root, config));
  return config;
}

}  // namespace

Result<Config> ParseConfig(std::string_view text, const std::filesystem::path& path) {
  if (text.size() > kConfigBytesMax) {
    return Fail(v1::REASON_MALFORMED, path.string() + ":1: larger than 64 KiB");
  }
  return Parser(path).Parse(text);
}

Result<Config> LoadConfig(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return Fail(v1::REASON_MALFORMED, path.string() +
                                          ": no such file: `latchkey fleet init` writes one, "
                                          "--config names it");
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) {
    return Fail(v1::REASON_MALFORMED, path.string() + ": cannot be read");
  }
  LK_TRY(Config config, ParseConfig(text.str(), path));
  for (const std::string* named :
       {&config.broker.ca_file, &config.broker.certificate_file, &config.broker.private_key_file}) {
    if (!std::ifstream(*named)) {
      return Fail(v1::REASON_MALFORMED,
                  path.string() + ":1: the file " + *named + " it names cannot be read");
    }
  }
  if (!std::filesystem::is_directory(config.fleets_ca_dir, error)) {
    return Fail(v1::REASON_MALFORMED, path.string() + ":1: the folder " + config.fleets_ca_dir +
                                          " (fleets.ca_dir) is not there");
  }
  for (const std::string* folder : {&config.sms.outbox_dir, &config.sms.sent_dir,
                                    &config.sms.error_dir, &config.sms.inbox_dir}) {
    if (!folder->empty() && !std::filesystem::is_directory(*folder, error)) {
      return Fail(v1::REASON_MALFORMED, path.string() + ":1: the folder " + *folder +
                                            " of [sms] is not there: gammu-smsd needs it");
    }
  }
  return config;
}

}  // namespace latchkey::bridge
