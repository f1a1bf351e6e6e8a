// A phone in the data folder: phone.key (0600) and phone.json (label, public key, pairings).
#pragma once

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
