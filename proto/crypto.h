// The only door to libcrypto for keys, signatures, digests, MACs and random bytes.
// Thread rule: every function is reentrant; a key may be used from one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proto/result.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kPublicKeyBytes = 33;  // SEC 1 compressed point
inline constexpr size_t kSignatureBytes = 64;  // r then s, big-endian, 32 bytes each
inline constexpr size_t kDigestBytes = 32;     // SHA-256

// SHA-256 of `bytes`, 32 bytes.
std::string Sha256(std::string_view bytes);
// HMAC-SHA256 (RFC 2104), 32 bytes.
std::string HmacSha256(std::string_view key, std::string_view bytes);
// True when equal; time does not depend on where they differ.
bool EqualSecrets(std::string_view a, std::string_view b);
// Cryptographically random bytes. Throws Fault when the system has none.
std::string RandomBytes(size_t count);

// A P-256 public key that is on the curve.
class PublicKey {
 public:
  PublicKey(const PublicKey&);
  PublicKey& operator=(const PublicKey&);
  PublicKey(PublicKey&&) noexcept;
  PublicKey& operator=(PublicKey&&) noexcept;
  ~PublicKey();

  // From a SEC 1 point: 33 bytes compressed or 65 uncompressed. Error REASON_MALFORMED: wrong
  // length or not on the curve.
  static Result<PublicKey> FromPoint(std::string_view point);
  // From the affine coordinates of a JWK, 32 bytes each.
  static Result<PublicKey> FromCoordinates(std::string_view x, std::string_view y);
  // The Id of the key that FromPoint would make, with its errors, for who needs no more.
  static Result<KeyId> IdOf(std::string_view point);
  // SEC 1 compressed, 33 bytes.
  std::string ToPoint() const;
  // Affine coordinates, 32 bytes each.
  std::string X() const;
  std::string Y() const;
  // SubjectPublicKeyInfo, DER, uncompressed point (RFC 5480).
  std::string ToDer() const;
  // First 22 characters of base64url(SHA-256(ToDer())).
  KeyId Id() const;
  // ECDSA with SHA-256 over `bytes`; `signature` is r||s. False for any other length.
  bool Verify(std::string_view bytes, std::string_view signature) const;

 private:
  friend class PrivateKey;
  struct Impl;
  explicit PublicKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A P-256 private key. Never printed, never logged.
class PrivateKey {
 public:
  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  static PrivateKey Generate();
  // PKCS #8 or SEC 1, PEM, unencrypted. Error REASON_MALFORMED: not PEM or not P-256.
  static Result<PrivateKey> FromPem(std::string_view pem);
  // PKCS #8, PEM. The caller writes it 0600.
  std::string ToPem() const;
  PublicKey Public() const;
  // ECDSA with SHA-256 over `bytes`: r||s, 64 bytes.
  std::string Sign(std::string_view bytes) const;

 private:
  struct Impl;
  explicit PrivateKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// `domain` 00 `bytes`: what every signature and proof of Latchkey covers.
std::string WithDomain(std::string_view domain, std::string_view bytes);

}  // namespace latchkey
