// latchkey.toml: what is accepted, and in which words and at which line the rest is refused.
#include "bridge/config.h"

#include <string>

#include <doctest/doctest.h>

namespace latchkey::bridge {

namespace {

constexpr const char* kGood = R"([broker]
host = "127.0.0.1"
port = 8884
ca_file = "cell.pem"
certificate_file = "/keys/bridge.pem"
private_key_file = "bridge.key"
[fleets]
ca_dir = "../fleets"
[store]
path = "store"
[http]
port = 9464
[bridge]
name = "b1"
)";

constexpr const char* kGammu = R"([sms]
gateway = "gammu"
outbox_dir = "/var/spool/gammu/outbox/"
sent_dir = "sent"
error_dir = "error"
)";

constexpr const char* kHttp = R"([sms]
gateway = "http"
url = "https://sms.example/send"
token_file = "sms.token"
contacts_dir = "../contacts"
)";

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

// kGood with `from` replaced by `to`.
std::string With(const std::string& from, const std::string& to) {
  return Replaced(kGood, from, to);
}

std::string Complaint(const std::string& text) {
  const Result<Config> config = ParseConfig(text, "/etc/lk/latchkey.toml");
  return config ? "accepted" : config.error().text;
}

}  // namespace

TEST_CASE("config: paths are taken from the folder of the file, and defaults are filled in") {
  const Result<Config> config = ParseConfig(kGood, "/etc/lk/latchkey.toml");
  REQUIRE(config.has_value());
  CHECK(config->broker.host == "127.0.0.1");
  CHECK(config->broker.port == 8884);
  CHECK(config->broker.ca_file == "/etc/lk/cell.pem");
  CHECK(config->broker.certificate_file == "/keys/bridge.pem");
  CHECK(config->fleets_ca_dir == "/etc/fleets");
  CHECK(config->store_path == "/etc/lk/store");
  CHECK(config->http.host == "127.0.0.1");
  CHECK(config->http.port == 9464);
  CHECK(config->name == "b1");
  CHECK(config->log_level == "info");
  CHECK(config->log_book.keep_bytes == int64_t{1} << 30);
  CHECK(config->log_book.keep_days == 400);
  CHECK(config->sms.gateway == "none");
  CHECK(config->sms.contacts_dir == "/etc/lk/contacts");
}

TEST_CASE("config: how much of the log is kept is read as numbers") {
  const Result<Config> config =
      ParseConfig(std::string(kGood) + "[log_book]\nkeep_bytes = 5000000000\nkeep_days = 30\n",
                  "/etc/lk/latchkey.toml");
  REQUIRE(config.has_value());
  CHECK(config->log_book.keep_bytes == 5'000'000'000);
  CHECK(config->log_book.keep_days == 30);
}

TEST_CASE("config: where backups go and how many stay, with bounds") {
  const auto config = ParseConfig(
      std::string(kGood) + "[backup]\ndir = \"/disk/b\"\nkeep = 3\nbytes_per_second = 1048576\n",
      "/etc/lk/a.toml");
  REQUIRE(config.has_value());
  CHECK(config->backup.dir == "/disk/b");
  CHECK(config->backup.keep == 3);
  CHECK(config->backup.bytes_per_second == 1048576);
  CHECK(ParseConfig(kGood, "/etc/lk/a.toml")->backup.dir == "/etc/lk/backup");
  for (const char* wrong : {"keep = 0", "keep = 10001", "bytes_per_second = 1000"}) {
    CAPTURE(wrong);
    CHECK_FALSE(ParseConfig(std::string(kGood) + "[backup]\n" + wrong + "\n", "/etc/lk/a.toml"));
  }
}

TEST_CASE("config: how much history is kept is read as numbers, none is allowed") {
  const auto config = ParseConfig(
      std::string(kGood) + "[history]\nkeep_days = 0\nbytes_per_car = 65536\n", "/etc/lk/a.toml");
  REQUIRE(config.has_value());
  CHECK(config->history.keep_days == 0);
  CHECK(config->history.bytes_per_car == 65536);
  CHECK(ParseConfig(kGood, "/etc/lk/a.toml")->history.keep_days == 7);
  CHECK(ParseConfig(kGood, "/etc/lk/a.toml")->links.keep_days == 30);
}

TEST_CASE("config: each gateway of [sms] has its keys, and paths from the folder of the file") {
  const Result<Config> gammu = ParseConfig(std::string(kGood) + kGammu, "/etc/lk/latchkey.toml");
  REQUIRE(gammu.has_value());
  CHECK(gammu->sms.gateway == "gammu");
  CHECK(gammu->sms.outbox_dir == "/var/spool/gammu/outbox");
  CHECK(gammu->sms.sent_dir == "/etc/lk/sent");
  CHECK(gammu->sms.inbox_dir.empty());
  const Result<Config> http = ParseConfig(std::string(kGood) + kHttp, "/etc/lk/latchkey.toml");
  REQUIRE(http.has_value());
  CHECK(http->sms.url == "https://sms.example/send");
  CHECK(http->sms.token_file == "/etc/lk/sms.token");
  CHECK(http->sms.contacts_dir == "/etc/contacts");
  for (const std::string url : {"http://127.0.0.1:8080/x", "http://[::1]/", "http://localhost"}) {
    CHECK(Complaint(std::string(kGood) + Replaced(kHttp, "https://sms.example/send", url)) ==
          "accepted");
  }
}

TEST_CASE("config: [sms] is refused when it does not fit its gateway") {
  struct Row {
    std::string text;
    std::string complaint;
  };

  const std::string at = "/etc/lk/latchkey.toml:";
  const std::string url_rule =
      at +
      "17: 'sms.url' must begin with https://, or with http:// when the gateway is on this "
      "machine";
  const Row rows[] = {
      {"[sms]\ngateway = \"modem\"\n", at + "16: 'sms.gateway' must be one of gammu, http, none"},
      {Replaced(kGammu, "sent_dir = \"sent\"\n", ""), at + "16: 'sms.sent_dir' is missing"},
      {Replaced(kGammu, "\"sent\"", "\"error\""),
       at + "16: the folders of gammu must be different ones"},
      {Replaced(kGammu, "outbox_dir", "out_dir"),
       at + "17: unknown key 'out_dir' in [sms]: did you mean 'outbox_dir'?"},
      {Replaced(kHttp, "token_file = \"sms.token\"\n", ""), at + "16: 'sms.token_file' is missing"},
      {Replaced(kHttp, "https:", "http:"), url_rule},
      {Replaced(kHttp, "https://sms.example/send", "http://localhost.evil.example"), url_rule},
      {Replaced(kHttp, "https://sms.example/send", "https:///x"), url_rule},
      {Replaced(kHttp, "gateway = \"http\"\n", ""),
       at + "16: 'sms.url' is for gateway = \"http\", this is \"none\""},
      {std::string(kHttp) + "inbox_dir = \"in\"\n",
       at + "20: 'sms.inbox_dir' is for gateway = \"gammu\", this is \"http\""},
  };
  for (const Row& row : rows) {
    CHECK(Complaint(std::string(kGood) + row.text) == row.complaint);
  }
}

TEST_CASE("config: what is wrong is said with file, line and what was meant") {
  struct Row {
    std::string text;
    std::string complaint;
  };

  const std::string at = "/etc/lk/latchkey.toml:";
  const Row rows[] = {
      {With("port = 8884", "prot = 8884"),
       at + "3: unknown key 'prot' in [broker]: did you mean 'port'?"},
      {With("[fleets]", "[fleet]"), at + "7: unknown section 'fleet': did you mean 'fleets'?"},
      {With("name = \"b1\"", "name = \"b1\"\nzzzzzz = 1"),
       at + "15: unknown key 'zzzzzz' in [bridge]: known are name"},
      {With("host = \"127.0.0.1\"\n", ""), at + "1: 'broker.host' is missing"},
      {With("[store]\npath = \"store\"\n", ""), at + "1: 'store.path' is missing"},
      {With("8884", "\"8884\""), at + "3: 'broker.port' must be a port number from 1 to 65535"},
      {With("8884", "0"), at + "3: 'broker.port' must be a port number from 1 to 65535"},
      {With("8884", "65536"), at + "3: 'broker.port' must be a port number from 1 to 65535"},
      {With("\"127.0.0.1\"", "\"\""), at + "2: 'broker.host' must be text in quotes, not empty"},
      {With("[http]", "[http]\nhost = \"0.0.0.0\""),
       at + "12: 'http.host' must be loopback (127.0.0.1, ::1 or localhost): what it serves has "
            "no sign-in"},
      {With("\"b1\"", "\"b/1\""), at + "14: 'bridge.name' must be 1 to 32 of A-Z a-z 0-9 '-' '_'"},
      {std::string(kGood) + "[log]\nlevel = \"loud\"\n",
       at + "16: 'log.level' must be one of debug, info, warning, error"},
      {std::string(kGood) + "[log_book]\nkeep_bytes = 1000\n",
       at + "16: 'log_book.keep_bytes' must be at least 1048576"},
      {std::string(kGood) + "[log_book]\nkeep_bytes = \"1 GB\"\n",
       at + "16: 'log_book.keep_bytes' must be a number"},
      {std::string(kGood) + "[history]\nkeep_days = -1\n",
       at + "16: 'history.keep_days' must be a number from 0 to 3650"},
      {std::string(kGood) + "[links]\nkeep_days = 3651\n",
       at + "16: 'links.keep_days' must be a number from 0 to 3650"},
      {std::string(kGood) + "[history]\nbytes_per_car = 1000\n",
       at + "16: 'history.bytes_per_car' must be from 65536 to 1073741824"},
      {std::string(kGood) + "[log_book]\nkeep_days = 0\n",
       at + "16: 'log_book.keep_days' must be a number from 1 to 36500"},
      {"broker = 1\n", at + "1: 'broker' is a section: write [broker]"},
  };
  for (const Row& row : rows) {
    CHECK(Complaint(row.text) == row.complaint);
  }
}

TEST_CASE("config: what is not TOML is refused at its line") {
  const std::string said = Complaint("[broker]\nhost = \n");
  CHECK(said.rfind("/etc/lk/latchkey.toml:2: ", 0) == 0);
}

TEST_CASE("config: a file that is not there is said so") {
  const Result<Config> config = LoadConfig("/nonexistent/latchkey.toml");
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().text.find("no such file") != std::string::npos);
}

}  // namespace latchkey::bridge
