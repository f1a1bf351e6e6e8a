// A phone in the data folder: phone.key (0600) and phone.json (label, public key, pairings).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proto/crypto.h"
#include "proto/result.h"
#include "tools/latchkey/folder.h"
#include "tools/phone/phone.h"

namespace latchkey::cli {

struct SavedPhone {
  PrivateKey key;
  std::string label;
  std::vector<tools::Pairing> pairings;
};

// 1 to 32 of A-Z a-z 0-9 '-' '_': also a file name. Error REASON_MALFORMED.
Result<void> CheckName(const std::string& name);

// The phone that holds the fleet's own key: "fleet-demo".
std::string FleetPhoneName(const FleetId& fleet);

// The fleet's own public key; nullopt: `latchkey fleet key` has not been run. Error
// REASON_MALFORMED: a file that is broken.
Result<std::optional<PublicKey>> FindFleetKey(const Folder& folder, const FleetId& fleet);

// Makes a phone: its key 0600, and phone.json without pairings. Errors: REASON_MALFORMED (the name,
// or there is one), REASON_TOO_LARGE (the label), REASON_STORE_UNAVAILABLE.
Result<PublicKey> MakePhone(const Folder& folder, const std::string& name,
                            const std::string& label);

// Error REASON_MALFORMED: no such phone (the text says how to make it), or a file that is broken.
Result<SavedPhone> LoadPhone(const Folder& folder, const std::string& name);

// Writes phone.json with these pairings; the key file is written once, by `phone init`.
Result<void> SavePhone(const Folder& folder, const std::string& name, const std::string& label,
                       const PublicKey& public_key, const std::vector<tools::Pairing>& pairings);

// The pairing with `car` ("demo-car" or "demo/demo-car"). Error REASON_NOT_ON_RING: none, or
// several fleets have such a car.
Result<tools::Pairing> FindPairing(const SavedPhone& phone, const std::string& name,
                                   const std::string& car);

}  // namespace latchkey::cli
