// A phone's password: an ES256 JWT (RFC 7519, RFC 7518 section 3.4) that carries its own public key
// in the `jwk` header (RFC 7517). Nothing else is needed to sign in, so nothing can be
// unregistered.
//   header  {"alg":"ES256","typ":"JWT","jwk":{"kty":"EC","crv":"P-256","x":"..","y":".."}}
//   payload {"sub":"<key id>","aud":"<cell>","iat":<s>,"exp":<s>}
#pragma once

#include <string>
#include <string_view>

#include "proto/crypto.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey {

inline constexpr size_t kTokenBytesMax = 2048;
inline constexpr Duration kTokenLifetimeMax = std::chrono::hours(1);
inline constexpr Duration kTokenSkew = std::chrono::minutes(5);  // iat may lie this far ahead

// A token for `key`, valid from `now` for `lifetime`.
std::string MintToken(const PrivateKey& key, std::string_view cell, Timestamp now,
                      Duration lifetime);

struct Token {
  KeyId key_id;
  PublicKey public_key;
  Timestamp expires_at;
};

// Checks `jwt` against the MQTT user name and the clock. Errors, in the order checked:
// REASON_TOO_LARGE, REASON_BAD_TOKEN (form, JSON, sub/aud/iat/exp), REASON_BAD_ALGORITHM (alg is
// not ES256), REASON_BAD_TOKEN (jwk not P-256 or not on the curve), REASON_WRONG_LANE (sub or user
// name is not the key's id), REASON_BAD_SIGNATURE, REASON_TOKEN_EXPIRED (exp <= now, iat > now +
// kTokenSkew, or exp - iat above kTokenLifetimeMax).
Result<Token> CheckToken(std::string_view jwt, std::string_view user_name, std::string_view cell,
                         Timestamp now);

}  // namespace latchkey
