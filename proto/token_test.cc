// A phone's token: what is minted is taken, and everything else is refused in the documented order.
#include "proto/token.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

namespace latchkey {
namespace {

constexpr Timestamp kNow{1'700'000'000'000};
constexpr std::string_view kCell = "cell-1";
constexpr std::string_view kHeaderStart = R"({"alg":"ES256","typ":"JWT","jwk":)";

const PrivateKey& Key() {
  static const PrivateKey key = PrivateKey::Generate();
  return key;
}

std::string Id() {
  return Key().Public().Id().str();
}

std::string Jwk(const PublicKey& key) {
  return R"({"kty":"EC","crv":"P-256","x":")" + Base64UrlEncode(key.X()) + R"(","y":")" +
         Base64UrlEncode(key.Y()) + R"("})";
}

std::string GoodHeader() {
  return std::string(kHeaderStart) + Jwk(Key().Public()) + "}";
}

std::string Payload(const std::string& subject, const std::string& rest) {
  return R"({"sub":")" + subject + R"(",)" + rest + "}";
}

std::string GoodPayload() {
  return Payload(Id(), R"("aud":"cell-1","iat":1700000000,"exp":1700000600)");
}

// Signed rightly over whatever is given.
std::string Signed(const std::string& header, const std::string& payload) {
  const std::string text = Base64UrlEncode(header) + "." + Base64UrlEncode(payload);
  return text + "." + Base64UrlEncode(Key().Sign(text));
}

std::string Said(std::string_view jwt, Timestamp now = kNow) {
  const auto token = CheckToken(jwt, Id(), kCell, now);
  return token ? "allowed" : v1::Reason_Name(token.error().reason);
}

TEST_CASE("token: what MintToken makes, CheckToken takes until it expires") {
  const std::string jwt = MintToken(Key(), kCell, kNow, std::chrono::minutes(10));
  const auto token = CheckToken(jwt, Id(), kCell, kNow);
  REQUIRE(token);
  CHECK(token->key_id.str() == Id());
  CHECK(token->public_key.ToPoint() == Key().Public().ToPoint());
  CHECK(token->expires_at == kNow + std::chrono::minutes(10));
  CHECK(Said(jwt, kNow + std::chrono::minutes(10) - Duration(1)) == "allowed");
  CHECK(Said(jwt, kNow + std::chrono::minutes(10)) == "REASON_TOKEN_EXPIRED");
}

TEST_CASE("token: one made by hand as the form asks is taken, members in any order") {
  CHECK(Said(Signed(GoodHeader(), GoodPayload())) == "allowed");
  CHECK(
      Said(Signed(R"({"jwk":)" + Jwk(Key().Public()) + R"(,"kid":"x","alg":"ES256"})",
                  Payload(Id(), R"("exp":1700000600,"iat":1700000000,"aud":"cell-1","jti":7)"))) ==
      "allowed");
}

TEST_CASE("token: more than 2048 bytes are refused unread") {
  CHECK(Said(std::string(2049, 'x')) == "REASON_TOO_LARGE");
  CHECK(Said(std::string(2048, 'x')) == "REASON_BAD_TOKEN");
}

TEST_CASE("token: what is not three parts of base64url JSON objects is a bad token") {
  const std::string good = Signed(GoodHeader(), GoodPayload());
  const std::string header64 = Base64UrlEncode(GoodHeader());
  const std::string payload64 = Base64UrlEncode(GoodPayload());
  for (const std::string& jwt :
       {std::string(), std::string("."), std::string(".."), std::string("..."), good + ".",
        good + "=", " " + good, good.substr(0, good.rfind('.')), header64 + ".." + header64,
        std::string("\0..", 3), Signed("{", GoodPayload()), Signed(GoodHeader(), "[1]"),
        Signed(GoodHeader(), "null"), Signed("\"x\"", GoodPayload()),
        Signed(GoodHeader(), GoodPayload() + GoodPayload()),
        Signed(GoodHeader(), GoodPayload() + "x"), Signed(GoodHeader(), "{\"sub\":\"\xff\"}"),
        Signed(GoodHeader(), std::string(1200, '[')),
        Signed(GoodHeader(), "{\"a\":" + std::string(400, '[') + std::string(400, ']') + "}")}) {
    CAPTURE(jwt.substr(0, 60));
    CHECK(Said(jwt) == "REASON_BAD_TOKEN");
  }
}

TEST_CASE("token: sub, aud, iat and exp must be there, once, and of their type") {
  const std::string id = Id();
  for (const std::string& payload :
       {std::string("{}"), Payload(id, R"("aud":"cell-2","iat":1700000000,"exp":1700000600)"),
        Payload(id, R"("aud":["cell-1"],"iat":1700000000,"exp":1700000600)"),
        Payload(id, R"("iat":1700000000,"exp":1700000600)"),
        Payload(id, R"("aud":"cell-1","exp":1700000600)"),
        Payload(id, R"("aud":"cell-1","iat":1700000000)"),
        Payload(id, R"("aud":"cell-1","iat":"1700000000","exp":1700000600)"),
        Payload(id, R"("aud":"cell-1","iat":1700000000.5,"exp":1700000600)"),
        Payload(id, R"("aud":"cell-1","iat":-1,"exp":1700000600)"),
        Payload(id, R"("aud":"cell-1","iat":1700000000,"exp":true)"),
        Payload(id, R"("aud":"cell-1","iat":1700000000,"exp":18446744073709551615)"),
        Payload(id, R"("aud":"cell-1","iat":1700000000,"exp":1e400)"),
        Payload(id, R"("aud":"cell-1","iat":1700000000,"exp":99999999999999999999999)"),
        Payload(id, R"("aud":"cell-1","iat":1700000000,"exp":1700000600,"exp":1700000601)"),
        Payload(id, R"("aud":"cell-2","aud":"cell-1","iat":1700000000,"exp":1700000600)"),
        Payload(id, R"("aud":"cell-1","iat":1700000000,"exp":1700000600,"x":{"a":1,"a":2})"),
        Payload("short", R"("aud":"cell-1","iat":1700000000,"exp":1700000600)"),
        std::string(R"({"sub":7,"aud":"cell-1","iat":1700000000,"exp":1700000600})")}) {
    CAPTURE(payload);
    CHECK(Said(Signed(GoodHeader(), payload)) == "REASON_BAD_TOKEN");
  }
}

TEST_CASE("token: any algorithm but ES256 is refused, however well it is signed") {
  const std::string jwk = Jwk(Key().Public());
  const std::string payload64 = Base64UrlEncode(GoodPayload());
  const auto unsigned_of = [&](const std::string& alg) {
    return Base64UrlEncode(R"({"alg":)" + alg + R"(,"typ":"JWT","jwk":)" + jwk + "}") + "." +
           payload64;
  };
  CHECK(Said(unsigned_of("\"none\"") + ".") == "REASON_BAD_ALGORITHM");
  CHECK(Said(unsigned_of("\"None\"") + ".") == "REASON_BAD_ALGORITHM");
  CHECK(Said(Signed(R"({"typ":"JWT","jwk":)" + jwk + "}", GoodPayload())) ==
        "REASON_BAD_ALGORITHM");
  CHECK(Said(Signed(R"({"alg":["ES256"],"jwk":)" + jwk + "}", GoodPayload())) ==
        "REASON_BAD_ALGORITHM");
  // The classic: HMAC with the public key, which everybody knows, as the secret.
  const std::string text = unsigned_of("\"HS256\"");
  for (const std::string& secret : {Key().Public().ToDer(), Key().Public().ToPoint(), jwk}) {
    CHECK(Said(text + "." + Base64UrlEncode(HmacSha256(secret, text))) == "REASON_BAD_ALGORITHM");
  }
  CHECK(Said(Signed(R"({"alg":"ES256","alg":"none","jwk":)" + jwk + "}", GoodPayload())) ==
        "REASON_BAD_TOKEN");
}

TEST_CASE("token: a jwk that is no P-256 point on the curve is a bad token") {
  const PublicKey key = Key().Public();
  std::string off = key.Y();
  off.back() = static_cast<char>(off.back() ^ 1);
  const std::string x = Base64UrlEncode(key.X());
  const std::string y = Base64UrlEncode(key.Y());
  const auto jwk = [](const std::string& crv, const std::string& x64, const std::string& y64) {
    return R"({"kty":"EC","crv":")" + crv + R"(","x":")" + x64 + R"(","y":")" + y64 + R"("})";
  };
  const std::string p384 = Base64UrlEncode(std::string(48, 'x'));
  for (const std::string& value :
       {std::string("null"), std::string("[]"), std::string("{}"), std::string("\"x\""),
        jwk("P-256", x, Base64UrlEncode(off)), jwk("P-384", p384, p384), jwk("P-384", x, y),
        jwk("P-256", p384, p384), jwk("P-256", x, ""), jwk("P-256", x, y + "="),
        R"({"kty":"oct","crv":"P-256","x":")" + x + R"(","y":")" + y + R"("})",
        std::string(R"({"kty":"EC","crv":"P-256","x":1,"y":2})"),
        R"({"kty":"EC","crv":"P-256","d":"AA","x":")" + x + R"(","y":")" + y + R"("})"}) {
    CAPTURE(value);
    CHECK(Said(Signed(std::string(kHeaderStart) + value + "}", GoodPayload())) ==
          "REASON_BAD_TOKEN");
  }
  CHECK(Said(Signed(R"({"alg":"ES256"})", GoodPayload())) == "REASON_BAD_TOKEN");
  CHECK(Said(Signed(R"({"alg":"ES256","crit":["exp"],"jwk":)" + Jwk(key) + "}", GoodPayload())) ==
        "REASON_BAD_TOKEN");
  CHECK(Said(Signed(R"({"alg":"ES256","typ":"at+jwt","jwk":)" + Jwk(key) + "}", GoodPayload())) ==
        "REASON_BAD_TOKEN");
}

TEST_CASE("token: sub, user name and key must be one") {
  const PrivateKey other = PrivateKey::Generate();
  const std::string other_id = other.Public().Id().str();
  const std::string rest = R"("aud":"cell-1","iat":1700000000,"exp":1700000600)";
  CHECK(Said(Signed(GoodHeader(), Payload(other_id, rest))) == "REASON_WRONG_LANE");
  CHECK(Said(MintToken(other, kCell, kNow, std::chrono::minutes(1))) == "REASON_WRONG_LANE");
  const std::string good = Signed(GoodHeader(), GoodPayload());
  for (const std::string& user : {other_id, std::string(), Id() + "x", std::string(65536, 'A')}) {
    const auto token = CheckToken(good, user, kCell, kNow);
    REQUIRE_FALSE(token);
    CHECK(token.error().reason == v1::REASON_WRONG_LANE);
  }
}

TEST_CASE("token: a signature by another key, of other bytes or of another length is refused") {
  const std::string good = Signed(GoodHeader(), GoodPayload());
  const std::string text = good.substr(0, good.rfind('.'));
  const std::string later =
      Base64UrlEncode(GoodHeader()) + "." +
      Base64UrlEncode(Payload(Id(), R"("aud":"cell-1","iat":1700000000,"exp":1700000601)"));
  CHECK(Said(text + "." + Base64UrlEncode(PrivateKey::Generate().Sign(text))) ==
        "REASON_BAD_SIGNATURE");
  CHECK(Said(later + good.substr(good.rfind('.'))) == "REASON_BAD_SIGNATURE");
  CHECK(Said(text + ".") == "REASON_BAD_SIGNATURE");
  CHECK(Said(text + "." + Base64UrlEncode(std::string(64, '\0'))) == "REASON_BAD_SIGNATURE");
  CHECK(Said(text + "." + Base64UrlEncode(Key().Sign(text) + "x")) == "REASON_BAD_SIGNATURE");
}

TEST_CASE("token: out of its time, from the future or living too long is refused") {
  struct Case {
    std::string times;
    std::string said;
  };

  for (const Case& row : {
           Case{R"("iat":1700000000,"exp":1700000001)", "allowed"},
           Case{R"("iat":1700000000,"exp":1700000000)", "REASON_TOKEN_EXPIRED"},
           Case{R"("iat":1699996401,"exp":1700000001)", "allowed"},
           Case{R"("iat":1699996400,"exp":1700000001)", "REASON_TOKEN_EXPIRED"},
           Case{R"("iat":1700000300,"exp":1700000600)", "allowed"},
           Case{R"("iat":1700000301,"exp":1700000600)", "REASON_TOKEN_EXPIRED"},
           Case{R"("iat":1700000200,"exp":1700000100)", "REASON_TOKEN_EXPIRED"},
           Case{R"("iat":0,"exp":1700000600)", "REASON_TOKEN_EXPIRED"},
           Case{R"("iat":1700000000,"exp":253402300799)", "REASON_TOKEN_EXPIRED"},
       }) {
    CAPTURE(row.times);
    CHECK(Said(Signed(GoodHeader(), Payload(Id(), R"("aud":"cell-1",)" + row.times))) == row.said);
  }
}

TEST_CASE("token: no damaged copy of a good token signs anybody in") {
  const std::string good = Signed(GoodHeader(), GoodPayload());
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    CHECK_FALSE(CheckToken(bad, Id(), kCell, kNow));
    CHECK_FALSE(CheckToken(good.substr(0, i), Id(), kCell, kNow));
  }
}

}  // namespace
}  // namespace latchkey
