// latchkey.toml: every key the bridge knows, checked strictly.
//
//   [broker] host, port, ca_file, certificate_file, private_key_file
//   [fleets] ca_dir            holds {fleet}.pem, each fleet's CA certificate; looked at every 2 s
//   [store]  path
//   [http]   host = "127.0.0.1", port
//   [bridge] name
//   [log]    level = "info"    one of debug, info, warning, error
//   [log_book] keep_bytes = 1073741824   the log (log_book.h): the oldest is erased above either,
//            keep_days = 400             keep_bytes from 1048576, keep_days 1 to 36500
//   [history] keep_days = 7          recent history of each signal: 0 to 3650; 0: none, and what
//            bytes_per_car = 1048576   there is is erased. In the store, from 65536; see
//            core/history.h for how it is kept within
//   [links]  keep_days = 30            sessions of cars, for the doctor: 0 to 3650; 0: none
//   [backup] dir = "backup"            where backups of the store are made, see backup_desk.h; a
//            disk of its own is better
//            keep = 14                 the newest so many stay: 1 to 10000
//            bytes_per_second = 16777216   read and written together: 1048576 or more
//   [sms]    gateway = "none"  one of gammu, http, none
//            contacts_dir = "contacts"  holds {fleet}/{car}.json, see contacts_folder.h
//     with gammu, see sms_gammu.h: outbox_dir, sent_dir, error_dir, and inbox_dir for delivery
//     reports; with http, see sms_http.h: url, token_file
#pragma once

#include <cstdint>
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

  struct Sms {
    std::string gateway = "none";
    std::string contacts_dir = "contacts";
    std::string outbox_dir;
    std::string sent_dir;
    std::string error_dir;
    std::string inbox_dir;  // empty: nobody reports delivery
    std::string url;
    std::string token_file;
  };

  struct LogBook {
    int64_t keep_bytes = int64_t{1} << 30;
    int64_t keep_days = 400;
  };

  struct History {
    int64_t keep_days = 7;
    int64_t bytes_per_car = int64_t{1} << 20;
  };

  struct Backup {
    std::string dir = "backup";
    int64_t keep = 14;
    int64_t bytes_per_second = int64_t{16} << 20;
  };

  struct Links {
    int64_t keep_days = 30;
  };

  Broker broker;
  std::string fleets_ca_dir;
  std::string store_path;
  Http http;
  std::string name;
  std::string log_level = "info";
  LogBook log_book;
  History history;
  Links links;
  Backup backup;
  Sms sms;
};

// Reads a configuration. `path` names it in errors; relative paths in it are taken from the folder
// of `path`. Error REASON_MALFORMED, as "file:line: what": not TOML, an unknown section or key
// (with the nearest known one), a missing key, a wrong type, a port outside 1..65535, an
// http.host that is not loopback, a name that is not 1 to 32 of A-Z a-z 0-9 '-' '_', a key of [sms]
// that its gateway lacks or does not have, folders of it that are not different, an sms.url that is
// neither https:// nor http:// to loopback.
Result<Config> ParseConfig(std::string_view text, const std::filesystem::path& path);
// The same from a file, and that the files it names are there.
Result<Config> LoadConfig(const std::filesystem::path& path);

}  // namespace latchkey::bridge
