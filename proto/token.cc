// Making and checking a phone's ES256 token. The JSON is at most kTokenBytesMax, is parsed without
// exceptions, and a member named twice is refused: two readers must not see two tokens.
#include "proto/token.h"

#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace latchkey {

namespace {

using Json = nlohmann::json;

constexpr int64_t kSecondsMax = 253402300799;  // 9999-12-31T23:59:59Z

tl::unexpected<Error> Bad(std::string text) {
  return Fail(v1::REASON_BAD_TOKEN, std::move(text));
}

// nullopt: not a JSON object, or a member named twice somewhere.
std::optional<Json> ParseObject(std::string_view text) {
  std::vector<std::set<std::string>> members;
  bool twice = false;
  const auto watch = [&](int /*depth*/, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) {
      members.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      members.pop_back();
    } else if (event == Json::parse_event_t::key) {
      twice = !members.back().insert(parsed.get<std::string>()).second || twice;
    }
    return true;
  };
  Json json = Json::parse(text.begin(), text.end(), watch, false);
  if (json.is_discarded() || !json.is_object() || twice) {
    return std::nullopt;
  }
  return json;
}

// nullopt: absent or not a string.
std::optional<std::string> Text(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) {
    return std::nullopt;
  }
  return found->get<std::string>();
}

// nullopt: absent or not a whole number of seconds from 1970 to 9999.
std::optional<int64_t> Seconds(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_unsigned() ||
      found->get<uint64_t>() > static_cast<uint64_t>(kSecondsMax)) {
    return std::nullopt;
  }
  return found->get<int64_t>();
}

// The three parts as sent, and decoded.
struct Parts {
  std::string_view signed_text;
  Json header;
  Json payload;
  std::string signature;
};

Result<Parts> TakeApart(std::string_view jwt) {
  const size_t first = jwt.find('.');
  const size_t second = first == jwt.npos ? jwt.npos : jwt.find('.', first + 1);
  if (second == jwt.npos || jwt.find('.', second + 1) != jwt.npos) {
    return Bad("token is not a JWT: want three parts with dots between them");
  }
  const auto header = Base64UrlDecode(jwt.substr(0, first));
  const auto payload = Base64UrlDecode(jwt.substr(first + 1, second - first - 1));
  const auto signature = Base64UrlDecode(jwt.substr(second + 1));
  if (!header || !payload || !signature) {
    return Bad("token is not base64url without padding");
  }
  std::optional<Json> header_json = ParseObject(*header);
  std::optional<Json> payload_json = ParseObject(*payload);
  if (!header_json || !payload_json) {
    return Bad("token's header or payload is not one JSON object with each member once");
  }
  return Parts{jwt.substr(0, second), std::move(*header_json), std::move(*payload_json),
               *signature};
}

struct Claims {
  KeyId subject;
  int64_t issued_s = 0;
  int64_t expires_s = 0;
};

Result<Claims> ReadClaims(const Json& payload, std::string_view cell) {
  const auto subject = KeyId::Parse(Text(payload, "sub").value_or(""));
  const auto audience = Text(payload, "aud");
  const auto issued = Seconds(payload, "iat");
  const auto expires = Seconds(payload, "exp");
  if (!subject) {
    return Bad("token's sub is not a key id");
  }
  if (!audience || *audience != cell) {
    return Bad("token's aud is not this cell");
  }
  if (!issued || !expires) {
    return Bad("token's iat and exp must be whole seconds since 1970");
  }
  return Claims{*subject, *issued, *expires};
}

Result<PublicKey> ReadKey(const Json& header) {
  const auto jwk = header.find("jwk");
  if (jwk == header.end() || !jwk->is_object()) {
    return Bad("token's header carries no jwk");
  }
  if (jwk->contains("d")) {
    return Bad("token carries its private key: discard that key and make a new one");
  }
  if (Text(*jwk, "kty") != "EC" || Text(*jwk, "crv") != "P-256") {
    return Bad("token's jwk is not a P-256 key");
  }
  const auto x = Base64UrlDecode(Text(*jwk, "x").value_or(""));
  const auto y = Base64UrlDecode(Text(*jwk, "y").value_or(""));
  if (!x || !y) {
    return Bad("token's jwk has no coordinates x and y");
  }
  auto key = PublicKey::FromCoordinates(*x, *y);
  if (!key) {
    return Bad("token's jwk: " + key.error().text);
  }
  return key;
}

Result<void> CheckTimes(const Claims& claims, Timestamp now) {
  const Timestamp issued{claims.issued_s * 1000};
  const Timestamp expires{claims.expires_s * 1000};
  if (expires <= now) {
    return Fail(v1::REASON_TOKEN_EXPIRED, "token has expired: make a new one");
  }
  if (issued > now + kTokenSkew) {
    return Fail(v1::REASON_TOKEN_EXPIRED, "token is from the future: check the phone's clock");
  }
  if (expires <= issued || expires - issued > kTokenLifetimeMax) {
    return Fail(v1::REASON_TOKEN_EXPIRED, "token may live for one hour at most");
  }
  return {};
}

}  // namespace

std::string MintToken(const PrivateKey& key, std::string_view cell, Timestamp now,
                      Duration lifetime) {
  const PublicKey own = key.Public();
  const nlohmann::ordered_json header = {{"alg", "ES256"},
                                         {"typ", "JWT"},
                                         {"jwk",
                                          {{"kty", "EC"},
                                           {"crv", "P-256"},
                                           {"x", Base64UrlEncode(own.X())},
                                           {"y", Base64UrlEncode(own.Y())}}}};
  const int64_t issued_s = now.ms / 1000;
  const int64_t lifetime_s = std::chrono::duration_cast<std::chrono::seconds>(lifetime).count();
  const nlohmann::ordered_json payload = {{"sub", own.Id().str()},
                                          {"aud", std::string(cell)},
                                          {"iat", issued_s},
                                          {"exp", issued_s + lifetime_s}};
  std::string jwt = Base64UrlEncode(header.dump());
  jwt += '.';
  jwt += Base64UrlEncode(payload.dump());
  const std::string signature = key.Sign(jwt);
  jwt += '.';
  jwt += Base64UrlEncode(signature);
  return jwt;
}

Result<Token> CheckToken(std::string_view jwt, std::string_view user_name, std::string_view cell,
                         Timestamp now) {
  if (jwt.size() > kTokenBytesMax) {
    return Fail(v1::REASON_TOO_LARGE, "token is larger than 2048 bytes");
  }
  LK_TRY(const Parts parts, TakeApart(jwt));
  LK_TRY(const Claims claims, ReadClaims(parts.payload, cell));
  if (Text(parts.header, "alg") != "ES256") {
    return Fail(v1::REASON_BAD_ALGORITHM, "token is not signed with ES256");
  }
  if (parts.header.contains("crit") ||
      (parts.header.contains("typ") && Text(parts.header, "typ") != "JWT")) {
    return Bad("token's header has a typ other than JWT or a crit member");
  }
  LK_TRY(PublicKey key, ReadKey(parts.header));
  const KeyId id = key.Id();
  if (claims.subject != id || user_name != id.str()) {
    return Fail(v1::REASON_WRONG_LANE, "user name, sub and the token's key are not one key");
  }
  if (!key.Verify(parts.signed_text, parts.signature)) {
    return Fail(v1::REASON_BAD_SIGNATURE, "token's signature does not fit its key");
  }
  LK_CHECK(CheckTimes(claims, now));
  return Token{id, std::move(key), Timestamp{claims.expires_s * 1000}};
}

}  // namespace latchkey
