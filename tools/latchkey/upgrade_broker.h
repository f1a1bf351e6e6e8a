// The brokers of a cell: what each says of itself, and the files of a second one: made, taken as
// the cell's first, forgotten.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "latchkey/v1/control.pb.h"
#include "proto/result.h"
#include "proto/time.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

// What `prepare` is asked for.
struct SecondBroker {
  std::string name;
  std::string host;               // empty: the cell's
  int phone_port = 0;             // 0: a free one
  int car_port = 0;               // likewise
  std::filesystem::path plugins;  // folder
};

// One of the cell's brokers.
struct NamedBroker {
  std::string name;
  std::string host;
  int phone_port = 0;
  int car_port = 0;
};

// By name, or by HOST:PORT of its port for cars. Error REASON_MALFORMED: the cell has none such.
Result<NamedBroker> FindBroker(const Cell& cell, const std::string& text);

// The first one, then the others.
std::vector<NamedBroker> AllBrokers(const Cell& cell);

// What one of them says of itself.
struct BrokerWord {
  NamedBroker broker;
  Result<v1::Moving> moving;
};

// Every broker of the cell, asked one after the other, each for at most `patience`.
std::vector<BrokerWord> AskBrokers(const Folder& folder, const Cell& cell, Duration patience);
// "main (127.0.0.1:8884): 3 cars and phones; joined with b2", or why it says nothing.
std::string BrokerText(const BrokerWord& word);
// {"broker", "address", "clients", ...} or {"broker", "address", "error"}.
nlohmann::ordered_json BrokerJson(const BrokerWord& word);

// brokers/{name}: a configuration that joins it with the cell's first broker, a certificate for
// that, and a copy of the first one's rings; and its entry in cell.json. Again: writes the
// configuration anew and keeps the rest. Errors: REASON_MALFORMED (the name, or one that is taken),
// REASON_FULL (no free port), REASON_STORE_UNAVAILABLE, REASON_BAD_CERTIFICATE.
Result<NamedBroker> PrepareBroker(const Folder& folder, const SecondBroker& wish, Timestamp now);

// `name` is the cell's first broker from here on, in cell.json and in the bridge's configuration.
// Errors as FindBroker, REASON_STORE_UNAVAILABLE.
Result<Cell> AdoptBroker(const Folder& folder, const std::string& name);

// `name`, not the first one, is none of the cell's any more; the first one's configuration joins it
// with nobody. Files stay. Errors as FindBroker, REASON_NOT_ALLOWED (it is the first).
Result<Cell> ForgetBroker(const Folder& folder, const std::string& name);

}  // namespace latchkey::cli
