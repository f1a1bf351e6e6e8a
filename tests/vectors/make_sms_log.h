// The vectors of SMS and of the log's chain.
#pragma once

#include <nlohmann/json.hpp>

#include "proto/crypto.h"
#include "proto/keyring.h"

namespace latchkey {

// sms.json: wakes and commands for the car of `ring`; `phone` is on it, `stranger` is not.
nlohmann::ordered_json SmsVectors(const KeyRing& ring, const PrivateKey& phone,
                                  const PrivateKey& stranger);

// log.json: a chain about this car and key, and what is wrong with changed copies of it.
nlohmann::ordered_json LogVectors(const CarRef& ref, const KeyId& key);

}  // namespace latchkey
