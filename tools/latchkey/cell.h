// Makes a cell and its fleets in the data folder: CAs, certificates, free ports, and the
// configuration of broker and bridge.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/ca/ca.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

inline constexpr std::string_view kBridgeName = "main";

// What `fleet init` was asked for. Empty or 0: what cell.json has, else a default or a free port.
struct CellWish {
  std::string name;
  std::string host;
  int phone_port = 0;
  int car_port = 0;
  int http_port = 0;
  std::filesystem::path plugins;  // folder of latchkey_auth.so and latchkey_guard.so
};

// Makes what is missing, renews what ends within 30 days (the broker's and the bridge's
// certificates) and keeps the rest; writes both configurations anew. Errors:
// REASON_MALFORMED (a name that breaks its rule), REASON_NOT_ALLOWED (a fleet named "bridge" or
// "administrator"), REASON_STORE_UNAVAILABLE (files),
// REASON_BAD_CERTIFICATE (a CA on disk that does not parse), REASON_FULL (no free port).
Result<Cell> MakeCell(const Folder& folder, const FleetId& fleet, const CellWish& wish,
                      Timestamp now);

// Reads a CA or a client's certificate and key: {folder}/{stem}.pem and .key.
Result<tools::Issued> LoadIssued(const std::filesystem::path& folder, const std::string& stem);
// Writes both; the key 0600.
Result<void> SaveIssued(const std::filesystem::path& folder, const std::string& stem,
                        const tools::Issued& issued);

// What a broker's configuration says beside what all brokers of the cell have in common.
struct BrokerWish {
  std::filesystem::path own;      // its folder: what it keeps
  std::filesystem::path plugins;  // folder of the plugins
  std::string user;               // whom it runs as
  std::string name;               // plugin_opt_broker; empty: none
  std::string more;               // lines at the end
};

// What the broker is called that `fleet init` made.
inline constexpr std::string_view kMainBroker = "main";

// Where a broker of the cell has its mosquitto.conf and what it keeps; of the cell's first one.
std::filesystem::path BrokerFolder(const Folder& folder, const std::string& name);
std::filesystem::path FirstBroker(const Folder& folder, const Cell& cell);

// With this line begins, at the end of a broker's configuration, what joins it with another one.
inline constexpr std::string_view kJoinedMark = "# Joined with broker ";
// That part, with the empty line before it; empty: there is none.
std::string JoinedPart(const std::filesystem::path& configuration);

// Whom a broker that this user starts runs as.
std::string UserName();

// A free port where `wished` is 0. Error REASON_FULL: there is none.
Result<std::pair<int, int>> TwoPorts(int wished, int wished_too);

// The text of a broker's mosquitto.conf (host and ports are the cell's) and of
// bridge/latchkey.toml.
std::string BrokerConfiguration(const Folder& folder, const Cell& cell, const BrokerWish& wish);
std::string BridgeConfiguration(const Folder& folder, const Cell& cell);

}  // namespace latchkey::cli
