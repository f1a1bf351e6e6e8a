// libcrypto (OpenSSL 3.0, EVP) behind the types of crypto.h. Curve: P-256 alone.
#include "proto/crypto.h"

#include <array>
#include <limits>
#include <utility>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "proto/last_read.h"

namespace latchkey {

namespace {

template <auto Function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    Function(object);
  }
};

using KeyPointer = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Curve = std::unique_ptr<EC_GROUP, Free<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Free<EC_POINT_free>>;

constexpr size_t kCoordinateBytes = 32;
constexpr size_t kPemBytesMax = 16384;
constexpr size_t kDerSignatureBytesMax = 80;
constexpr size_t kUncompressedBytes = 1 + 2 * kCoordinateBytes;
// Of each thread, some 200 bytes each: keys that are named again whenever their ring changes.
constexpr size_t kLastIdsSlots = 1024;
// Of each thread, some 2 KB each: whoever sends a command has often sent the last one, too, and
// reading a compressed point takes nearly as long as verifying a signature.
constexpr size_t kLastKeysSlots = 256;
// SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING of 65 bytes }: RFC 5480.
constexpr std::string_view kSpkiPrefix(
    "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
    "\x03\x42\x00",
    26);

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

unsigned char* Bytes(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

// One coordinate of a key's public point, 32 bytes.
std::string Coordinate(const EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  LK_ASSERT(EVP_PKEY_get_bn_param(key, name, &raw) == 1);
  const Number number(raw);
  std::string bytes(kCoordinateBytes, '\0');
  LK_ASSERT(BN_bn2binpad(number.get(), Bytes(bytes), static_cast<int>(bytes.size())) ==
            static_cast<int>(bytes.size()));
  return bytes;
}

bool IsP256(const EVP_PKEY* key) {
  std::array<char, 64> name{};
  size_t length = 0;
  return EVP_PKEY_is_a(key, "EC") == 1 &&
         EVP_PKEY_get_group_name(key, name.data(), name.size(), &length) == 1 &&
         std::string_view(name.data(), length) == SN_X9_62_prime256v1;
}

// DER (SEQUENCE of r and s) to r||s.
std::string RawSignature(std::string_view der) {
  const unsigned char* at = Bytes(der);
  const EcdsaSignature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  LK_ASSERT(signature != nullptr);
  std::string raw(kSignatureBytes, '\0');
  LK_ASSERT(BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), Bytes(raw), 32) == 32);
  LK_ASSERT(BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), Bytes(raw) + 32, 32) == 32);
  return raw;
}

// r||s to DER; empty when it cannot be made.
std::string DerSignature(std::string_view raw) {
  Number r(BN_bin2bn(Bytes(raw), 32, nullptr));
  Number s(BN_bin2bn(Bytes(raw) + 32, 32, nullptr));
  const EcdsaSignature signature(ECDSA_SIG_new());
  if (!r || !s || !signature || ECDSA_SIG_set0(signature.get(), r.get(), s.get()) != 1) {
    return {};
  }
  // set0 took them over.
  static_cast<void>(r.release());
  static_cast<void>(s.release());
  unsigned char* der = nullptr;
  const int length = i2d_ECDSA_SIG(signature.get(), &der);
  if (length <= 0) {
    return {};
  }
  std::string bytes(reinterpret_cast<const char*>(der), static_cast<size_t>(length));
  OPENSSL_free(der);
  return bytes;
}

// Never asks anybody for a pass phrase: an encrypted key is refused.
int NoPassPhrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*context*/) {
  return -1;
}

}  // namespace

std::string Sha256(std::string_view bytes) {
  std::string digest(kDigestBytes, '\0');
  unsigned int length = 0;
  LK_ASSERT(EVP_Digest(bytes.data(), bytes.size(), Bytes(digest), &length, EVP_sha256(), nullptr) ==
            1);
  LK_ASSERT(length == kDigestBytes);
  return digest;
}

std::string HmacSha256(std::string_view key, std::string_view bytes) {
  std::string mac(kDigestBytes, '\0');
  unsigned int length = 0;
  LK_ASSERT(key.size() <= static_cast<size_t>(std::numeric_limits<int>::max()));
  LK_ASSERT(HMAC(EVP_sha256(), key.empty() ? "" : key.data(), static_cast<int>(key.size()),
                 Bytes(bytes), bytes.size(), Bytes(mac), &length) != nullptr);
  LK_ASSERT(length == kDigestBytes);
  return mac;
}

bool EqualSecrets(std::string_view a, std::string_view b) {
  return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

std::string RandomBytes(size_t count) {
  LK_ASSERT(count <= static_cast<size_t>(std::numeric_limits<int>::max()));
  std::string bytes(count, '\0');
  if (count > 0 && RAND_bytes(Bytes(bytes), static_cast<int>(count)) != 1) {
    ThrowFault("the system has no random bytes");
  }
  return bytes;
}

namespace {

// A P-256 key without a point. Copied from another one: made from its name it costs ten times what
// all else about a key does. One for each thread, as libcrypto promises nothing about two that copy
// from one.
KeyPointer EmptyKey() {
  thread_local const KeyPointer model(EVP_EC_gen(SN_X9_62_prime256v1));
  KeyPointer key(EVP_PKEY_new());
  LK_ASSERT(model != nullptr && key != nullptr &&
            EVP_PKEY_copy_parameters(key.get(), model.get()) == 1);
  return key;
}

bool IsCompressed(std::string_view point) {
  return point.size() == kPublicKeyBytes && (point[0] == '\x02' || point[0] == '\x03');
}

Result<void> CheckForm(std::string_view point) {
  const bool uncompressed = point.size() == kUncompressedBytes && point[0] == '\x04';
  if (!IsCompressed(point) && !uncompressed) {
    return Fail(v1::REASON_MALFORMED,
                "public key is " + std::to_string(point.size()) +
                    " bytes: send a SEC 1 point, 33 bytes compressed or 65 uncompressed");
  }
  return {};
}

tl::unexpected<Error> NotOnCurve() {
  ERR_clear_error();
  return Fail(v1::REASON_MALFORMED, "public key is not a point of P-256: make a new key");
}

// `der` as PublicKey::ToDer.
KeyId IdOfDer(std::string_view der) {
  return KeyId::Parse(Base64UrlEncode(Sha256(der)).substr(0, 22)).value();
}

}  // namespace

struct PublicKey::Impl {
  explicit Impl(KeyPointer pkey)
      : key(std::move(pkey)),
        x(Coordinate(key.get(), OSSL_PKEY_PARAM_EC_PUB_X)),
        y(Coordinate(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y)) {}

  // Of an uncompressed point.
  Impl(KeyPointer pkey, std::string_view point)
      : key(std::move(pkey)),
        x(point.substr(1, kCoordinateBytes)),
        y(point.substr(1 + kCoordinateBytes)) {}

  Impl(const Impl& other) : key(other.key.get()), x(other.x), y(other.y) {
    EVP_PKEY_up_ref(key.get());
  }

  Impl& operator=(const Impl&) = delete;
  Impl(Impl&&) = delete;
  Impl& operator=(Impl&&) = delete;
  ~Impl() = default;

  KeyPointer key;
  std::string x;
  std::string y;
};

PublicKey::PublicKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PublicKey::PublicKey(const PublicKey& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}

PublicKey& PublicKey::operator=(const PublicKey& other) {
  if (this != &other) {
    impl_ = std::make_unique<Impl>(*other.impl_);
  }
  return *this;
}

PublicKey::PublicKey(PublicKey&&) noexcept = default;
PublicKey& PublicKey::operator=(PublicKey&&) noexcept = default;
PublicKey::~PublicKey() = default;

Result<PublicKey> PublicKey::FromPoint(std::string_view point) {
  thread_local LastRead<PublicKey> last(kLastKeysSlots);
  if (const PublicKey* read = last.Find(point)) {
    return *read;
  }
  LK_CHECK(CheckForm(point));
  // Reading the point finds what is not on the curve; infinity has another length.
  KeyPointer key = EmptyKey();
  if (EVP_PKEY_set1_encoded_public_key(key.get(), Bytes(point), point.size()) == 1) {
    PublicKey made(IsCompressed(point) ? std::make_unique<Impl>(std::move(key))
                                       : std::make_unique<Impl>(std::move(key), point));
    last.Keep(point, made);
    return made;
  }
  return NotOnCurve();
}

// The points themselves and not a key: libcrypto takes twice as long for one.
Result<KeyId> PublicKey::IdOf(std::string_view point) {
  thread_local LastRead<KeyId> last(kLastIdsSlots);
  if (const KeyId* id = last.Find(point)) {
    return *id;
  }
  LK_CHECK(CheckForm(point));
  thread_local const Curve curve(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  LK_ASSERT(curve != nullptr);
  const Point read(EC_POINT_new(curve.get()));
  LK_ASSERT(read != nullptr);
  if (EC_POINT_oct2point(curve.get(), read.get(), Bytes(point), point.size(), nullptr) != 1) {
    return NotOnCurve();
  }
  std::string der(kSpkiPrefix);
  der.resize(kSpkiPrefix.size() + kUncompressedBytes);
  LK_ASSERT(EC_POINT_point2oct(curve.get(), read.get(), POINT_CONVERSION_UNCOMPRESSED,
                               Bytes(der) + kSpkiPrefix.size(), kUncompressedBytes,
                               nullptr) == kUncompressedBytes);
  KeyId id = IdOfDer(der);
  last.Keep(point, id);
  return id;
}

Result<PublicKey> PublicKey::FromCoordinates(std::string_view x, std::string_view y) {
  if (x.size() != kCoordinateBytes || y.size() != kCoordinateBytes) {
    return Fail(v1::REASON_MALFORMED, "coordinates of a P-256 key are 32 bytes each");
  }
  std::string point("\x04");
  point += x;
  point += y;
  return FromPoint(point);
}

std::string PublicKey::ToPoint() const {
  const bool odd = (static_cast<unsigned char>(impl_->y.back()) & 1) != 0;
  return std::string(1, odd ? '\x03' : '\x02') + impl_->x;
}

std::string PublicKey::X() const {
  return impl_->x;
}

std::string PublicKey::Y() const {
  return impl_->y;
}

std::string PublicKey::ToDer() const {
  std::string der(kSpkiPrefix);
  der += '\x04';
  der += impl_->x;
  der += impl_->y;
  return der;
}

KeyId PublicKey::Id() const {
  return IdOfDer(ToDer());
}

bool PublicKey::Verify(std::string_view bytes, std::string_view signature) const {
  if (signature.size() != kSignatureBytes) {
    return false;
  }
  const std::string der = DerSignature(signature);
  const DigestContext context(EVP_MD_CTX_new());
  LK_ASSERT(context != nullptr);
  return !der.empty() &&
         EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, impl_->key.get()) ==
             1 &&
         EVP_DigestVerify(context.get(), Bytes(der), der.size(), Bytes(bytes), bytes.size()) == 1;
}

struct PrivateKey::Impl {
  KeyPointer key;
};

PrivateKey::PrivateKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

PrivateKey PrivateKey::Generate() {
  KeyPointer key(EVP_EC_gen(SN_X9_62_prime256v1));
  LK_ASSERT(key != nullptr);
  return PrivateKey(std::make_unique<Impl>(Impl{std::move(key)}));
}

Result<PrivateKey> PrivateKey::FromPem(std::string_view pem) {
  if (pem.size() > kPemBytesMax) {
    return Fail(v1::REASON_MALFORMED, "private key file is larger than a PEM key can be");
  }
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  LK_ASSERT(bio != nullptr);
  KeyPointer key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassPhrase, nullptr));
  if (key == nullptr) {
    return Fail(v1::REASON_MALFORMED,
                "private key is not an unencrypted PEM key: give PKCS #8 or SEC 1");
  }
  const KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
  if (!IsP256(key.get()) || context == nullptr || EVP_PKEY_check(context.get()) != 1) {
    return Fail(v1::REASON_MALFORMED, "private key is not a sound P-256 key: make a new key");
  }
  return PrivateKey(std::make_unique<Impl>(Impl{std::move(key)}));
}

std::string PrivateKey::ToPem() const {
  const Bio bio(BIO_new(BIO_s_mem()));
  LK_ASSERT(bio != nullptr);
  LK_ASSERT(PEM_write_bio_PKCS8PrivateKey(bio.get(), impl_->key.get(), nullptr, nullptr, 0, nullptr,
                                          nullptr) == 1);
  std::string pem(1024, '\0');
  const int length = BIO_read(bio.get(), pem.data(), static_cast<int>(pem.size()));
  LK_ASSERT(length > 0 && static_cast<size_t>(length) < pem.size());
  pem.resize(static_cast<size_t>(length));
  return pem;
}

PublicKey PrivateKey::Public() const {
  auto key = PublicKey::FromCoordinates(Coordinate(impl_->key.get(), OSSL_PKEY_PARAM_EC_PUB_X),
                                        Coordinate(impl_->key.get(), OSSL_PKEY_PARAM_EC_PUB_Y));
  LK_ASSERT(key.has_value());
  return std::move(*key);
}

std::string PrivateKey::Sign(std::string_view bytes) const {
  const DigestContext context(EVP_MD_CTX_new());
  LK_ASSERT(context != nullptr && EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr,
                                                     impl_->key.get()) == 1);
  std::string der(kDerSignatureBytesMax, '\0');
  size_t length = der.size();
  LK_ASSERT(EVP_DigestSign(context.get(), Bytes(der), &length, Bytes(bytes), bytes.size()) == 1);
  return RawSignature(std::string_view(der).substr(0, length));
}

std::string WithDomain(std::string_view domain, std::string_view bytes) {
  std::string text(domain);
  text += '\0';
  text += bytes;
  return text;
}

}  // namespace latchkey
