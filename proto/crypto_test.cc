// Keys, signatures, digests and MACs against the vectors of their standards, and bad input.
#include "proto/crypto.h"

#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>
#include <openssl/x509.h>

#include "tests/support/hex.h"

namespace latchkey {
namespace {

using testing::FromHex;
using testing::ToHex;

// RFC 6979 section A.2.5.
constexpr std::string_view kX = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
constexpr std::string_view kY = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
constexpr std::string_view kSampleSignature =
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
constexpr std::string_view kOrder =
    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

PublicKey RfcKey() {
  return PublicKey::FromCoordinates(FromHex(kX), FromHex(kY)).value();
}

TEST_CASE("digest: SHA-256 and HMAC-SHA256 give their standards' vectors") {
  CHECK(ToHex(Sha256("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(ToHex(Sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(ToHex(HmacSha256("Jefe", "what do ya want for nothing?")) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(ToHex(HmacSha256(std::string(131, '\xaa'),
                         "Test Using Larger Than Block-Size Key - Hash Key First")) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  CHECK(ToHex(HmacSha256({}, {})) ==
        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST_CASE("secrets: equal only when every byte and the length are") {
  CHECK(EqualSecrets("", ""));
  CHECK(EqualSecrets("abc", "abc"));
  CHECK_FALSE(EqualSecrets("abc", "abd"));
  CHECK_FALSE(EqualSecrets("abc", "abcd"));
  CHECK_FALSE(EqualSecrets("abc", ""));
}

TEST_CASE("random: as many bytes as asked, not the same twice") {
  CHECK(RandomBytes(0).empty());
  CHECK(RandomBytes(16).size() == 16);
  CHECK(RandomBytes(16) != RandomBytes(16));
}

TEST_CASE("public key: point, coordinates, DER and id are forms of one key") {
  const PublicKey key = RfcKey();
  CHECK(ToHex(key.X()) == kX);
  CHECK(ToHex(key.Y()) == kY);
  CHECK(ToHex(key.ToPoint()) == "03" + std::string(kX));
  CHECK(PublicKey::FromPoint(key.ToPoint()).value().ToDer() == key.ToDer());
  CHECK(PublicKey::FromPoint(FromHex("04" + std::string(kX) + std::string(kY))).value().ToDer() ==
        key.ToDer());
  CHECK(key.Id().str() == Base64UrlEncode(Sha256(key.ToDer())).substr(0, 22));
}

TEST_CASE("public key: ToDer is the SubjectPublicKeyInfo that libcrypto reads and writes") {
  const std::string der = PrivateKey::Generate().Public().ToDer();
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  EVP_PKEY* key = d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size()));
  REQUIRE(key != nullptr);
  unsigned char* written = nullptr;
  const int length = i2d_PUBKEY(key, &written);
  CHECK(std::string(reinterpret_cast<char*>(written), static_cast<size_t>(length)) == der);
  OPENSSL_free(written);
  EVP_PKEY_free(key);
}

TEST_CASE("public key: what is not a point of the curve is malformed") {
  const std::string x(kX);
  const std::string y(kY);
  std::string off = FromHex("04" + x + y);
  off.back() = static_cast<char>(off.back() ^ 1);
  const std::string p = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
  for (const std::string& point :
       {std::string(), std::string(1, '\0'), std::string(33, '\0'), std::string(65, '\0'),
        std::string(32, 'x'), std::string(34, '\x02'), off, FromHex("06" + x + y),
        FromHex("07" + x + y), FromHex("05" + x), FromHex("04" + x), FromHex("02" + x + y),
        FromHex("02" + p), FromHex("02" + std::string(64, 'f')),
        FromHex("04" + std::string(128, '0')), std::string(100000, '\x04')}) {
    CAPTURE(ToHex(point.substr(0, 70)));
    const auto key = PublicKey::FromPoint(point);
    REQUIRE_FALSE(key);
    CHECK(key.error().reason == v1::REASON_MALFORMED);
    CHECK(PublicKey::IdOf(point).error().reason == v1::REASON_MALFORMED);
  }
  CHECK_FALSE(PublicKey::FromCoordinates(FromHex(kX), FromHex(kY).substr(1)));
  CHECK_FALSE(PublicKey::FromCoordinates(std::string(48, 'x'), std::string(48, 'y')));
}

TEST_CASE("public key: a copy outlives the original and is as good") {
  PublicKey copy = PrivateKey::Generate().Public();
  {
    const PublicKey original = RfcKey();
    copy = original;
  }
  CHECK(copy.Verify("sample", FromHex(kSampleSignature)));
  const PublicKey moved = std::move(copy);
  CHECK(moved.Verify("sample", FromHex(kSampleSignature)));
}

TEST_CASE("public key: points that are read again and again are the keys they were") {
  const PrivateKey a = PrivateKey::Generate();
  const PrivateKey b = PrivateKey::Generate();
  const std::string signed_by_a = a.Sign("sample");
  for (int i = 0; i < 3; ++i) {
    CHECK(PublicKey::FromPoint(a.Public().ToPoint())->Verify("sample", signed_by_a));
    CHECK_FALSE(PublicKey::FromPoint(b.Public().ToPoint())->Verify("sample", signed_by_a));
    CHECK(PublicKey::IdOf(a.Public().ToPoint()).value() == a.Public().Id());
    CHECK(PublicKey::IdOf(b.Public().ToPoint()).value() == b.Public().Id());
  }
}

TEST_CASE("signature: the RFC 6979 signature of \"sample\" verifies") {
  CHECK(RfcKey().Verify("sample", FromHex(kSampleSignature)));
}

TEST_CASE("signature: any change of bytes, key, length or range is not verified") {
  const PublicKey key = RfcKey();
  const std::string good = FromHex(kSampleSignature);
  CHECK_FALSE(key.Verify("sampl", good));
  CHECK_FALSE(PrivateKey::Generate().Public().Verify("sample", good));
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    CHECK_FALSE(key.Verify("sample", bad));
  }
  const std::string order = FromHex(kOrder);
  const std::string zero(32, '\0');
  for (const std::string& bad :
       {std::string(), std::string(64, '\0'), std::string(64, '\xff'), good.substr(1), good + "x",
        zero + good.substr(32), good.substr(0, 32) + zero, order + good.substr(32),
        good.substr(0, 32) + order, FromHex("3006020101020101"), std::string(100000, 'x')}) {
    CHECK_FALSE(key.Verify("sample", bad));
  }
}

TEST_CASE("signature: what a new key signs, its public key verifies, whatever the bytes") {
  const PrivateKey key = PrivateKey::Generate();
  for (int i = 0; i < 200; ++i) {  // also r or s with leading zero bytes
    const std::string bytes = "message " + std::to_string(i);
    const std::string signature = key.Sign(bytes);
    REQUIRE(signature.size() == kSignatureBytes);
    REQUIRE(key.Public().Verify(bytes, signature));
  }
  CHECK(key.Public().Verify({}, key.Sign({})));
  CHECK(key.Public().Verify(std::string("\0x", 2), key.Sign(std::string("\0x", 2))));
}

TEST_CASE("private key: PEM carries it there and back") {
  const PrivateKey key = PrivateKey::Generate();
  const std::string pem = key.ToPem();
  CHECK(pem.substr(0, 27) == "-----BEGIN PRIVATE KEY-----");
  const auto read = PrivateKey::FromPem(pem);
  REQUIRE(read);
  CHECK(read->Public().Id() == key.Public().Id());
  CHECK(key.Public().Verify("x", read->Sign("x")));
}

constexpr std::string_view kSec1 =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEINZK6jjsLB1BiVm/MnVNwXVUD0NrzwA5opT+Z3iwTVDtoAoGCCqGSM49\n"
    "AwEHoUQDQgAEohOTWJ9oZwl0YspPGNOjtwv0O6iO92E67cCASUdUGYUV7i/dE6pl\n"
    "T6Ef3kZfIQAkBq6yb54+NdmKomUsNbm3YQ==\n"
    "-----END EC PRIVATE KEY-----\n";
constexpr std::string_view kP384 =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDA/U823Hqd4JMM1ijl6\n"
    "pB1z1cqtK3lJHQY3otP5IHDgL7/K9uK+gbRQQzr/AHD55lWhZANiAAR6Q7yDc9Ym\n"
    "aP4y4T4cYWLDA3Arz7es4GXBK+yo0ZCwLNVKlzvS/dlkGuLPQ8LpKp5uwMfpJCtC\n"
    "VJ7Jnkg6meitBrG0qea2iSyv+HaY1SbkTHRE/3jG/jEnNdVcl/BdIz8=\n"
    "-----END PRIVATE KEY-----\n";
constexpr std::string_view kEncrypted =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiEdvN48HjjfgICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEBm86sJA719M/xt9d7CT7ycEgZDJ\n"
    "w33IEwVUsIzvoVk+WCKa2uk6NB/Y8dnKvj0OqXmlZ2ZPpB1fc8xrmwF9xwFXsen5\n"
    "5NktVR225a9kSvXw5ewMUYJuvCI/mK4T8gkUsY8x/L28V3TZ8g2n3XpCQhgLzsbN\n"
    "lU2AeNMLkK7w3fHJDtTzYCf+VD64qVLoX2hOgdU6fVqz8HK6HVvkQsKghSR9QIA=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";

TEST_CASE("private key: SEC 1 is read; other curves, pass phrases and rubbish are malformed") {
  CHECK(PrivateKey::FromPem(kSec1));
  const std::string pem = PrivateKey::Generate().ToPem();
  for (const std::string& bad :
       {std::string(), std::string("x"), std::string(kP384), std::string(kEncrypted),
        pem.substr(0, 100), std::string(100000, '-')}) {
    const auto key = PrivateKey::FromPem(bad);
    REQUIRE_FALSE(key);
    CHECK(key.error().reason == v1::REASON_MALFORMED);
  }
}

TEST_CASE("domain: one NUL parts domain and bytes") {
  CHECK(WithDomain("latchkey.v1.command", "x") == std::string("latchkey.v1.command\0x", 21));
}

}  // namespace
}  // namespace latchkey
