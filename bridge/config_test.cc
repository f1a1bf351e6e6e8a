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

// kGood with `from` replaced by `to`.
std::string With(const std::string& from, const std::string& to) {
  std::string text = kGood;
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
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
