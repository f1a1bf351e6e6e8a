// latchkey.toml: every key the bridge knows, checked strictly.
//
//   [broker] host, port, ca_file, certificate_file, private_key_file
//   [fleets] ca_dir            holds {fleet}.pem, each fleet's CA certificate; looked at every 2 s
//   [store]  path
//   [http]   host = "127.0.0.1", port
//   [bridge] name
//   [log]    level = "info"    one of debug, info, warning, error
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "proto/result.h"

namespace latchkey::bridge {

struct Config {
  struct Broker {
    std::string host;
    int port = 0;
    std::string ca_file;
    std::string certificate_file;
    std::string private_key_file;
  };

  struct Http {
    std::string host = "127.0.0.1";
    int port = 0;
  };

  Broker broker;
  std::string fleets_ca_dir;
  std::string store_path;
  Http http;
  std::string name;
  std::string log_level = "info";
};

// Reads a configuration. `path` names it in errors; relative paths in it are taken from the folder
// of `path`. Error REASON_MALFORMED, as "file:line: what": not TOML, an unknown section or key
// (with the nearest known one), a missing key, a wrong type, a port outside 1..65535, an
// http.host that is not loopback, a name that is not 1 to 32 of A-Z a-z 0-9 '-' '_'.
Result<Config> ParseConfig(std::string_view text, const std::filesystem::path& path);
// The same from a file, and that the files it names are there.
Result<Config> LoadConfig(const std::filesystem::path& path);

}  // namespace latchkey::bridge
