// Giving a key away without the car being near: two texts, each a link and a QR code.
//   key request  latchkey://key?v=1&k={base64url point}&n={base64url label}
//     the guest's phone shows it; an owner signs an AddKey for it.
//   invitation   latchkey://invite?v=1&h={host}&p={port}&cell={cell}&f={fleet}&c={car}&k={base64url
//   point of the car}
//     the owner's phone shows it back; it tells the guest where the car is and which key the car
//     signs with, so that no server can show it another car. Neither text is a secret: the key is
//     the guest's own.
#pragma once

#include <string>
#include <string_view>

#include "proto/crypto.h"
#include "proto/result.h"
#include "proto/types.h"

namespace latchkey {

struct KeyRequest {
  PublicKey key;
  std::string label;  // UTF-8, at most kLabelBytesMax
};

std::string ToLink(const KeyRequest& request);
// Error REASON_MALFORMED with what is wrong.
Result<KeyRequest> ParseKeyRequest(std::string_view text);

struct Invitation {
  std::string host;  // broker for phones
  int port = 0;
  std::string cell;  // `aud` of the phone's tokens
  CarRef ref;
  PublicKey car_key;
};

std::string ToLink(const Invitation& invitation);
// Error REASON_MALFORMED with what is wrong.
Result<Invitation> ParseInvitation(std::string_view text);

}  // namespace latchkey
