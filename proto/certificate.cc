// X.509 as libcrypto reads it.
#include "proto/certificate.h"

#include <array>
#include <chrono>
#include <ctime>
#include <memory>
#include <optional>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

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

using X509Pointer = std::unique_ptr<X509, Free<X509_free>>;
using AltNames = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using CrlPointer = std::unique_ptr<X509_CRL, Free<X509_CRL_free>>;
using Integer = std::unique_ptr<ASN1_INTEGER, Free<ASN1_INTEGER_free>>;

constexpr size_t kCertificateBytesMax = 4096;
constexpr size_t kPemBytesMax = 65536;
constexpr size_t kSerialBytesMax = 20;
constexpr size_t kCrlBytesMax = 8 * 1024 * 1024;  // some 200,000 revoked certificates
// Of each thread. A certificate as libcrypto holds it takes about 5 KB.
constexpr size_t kLastReadSlots = 64;

tl::unexpected<Error> Bad(std::string text) {
  return Fail(v1::REASON_BAD_CERTIFICATE, std::move(text));
}

// nullptr: not exactly one certificate.
X509Pointer ParseX509(std::string_view der) {
  if (der.empty() || der.size() > kCertificateBytesMax) {
    return nullptr;
  }
  thread_local LastRead<X509Pointer> last(kLastReadSlots);
  const X509Pointer* read = last.Find(der);
  if (read == nullptr) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const auto* end = at + der.size();
    X509Pointer certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
    if (certificate == nullptr || at != end) {
      return nullptr;
    }
    last.Keep(der, std::move(certificate));
    read = last.Find(der);
  }
  X509_up_ref(read->get());
  return X509Pointer(read->get());
}

std::optional<Timestamp> ToTimestamp(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
    return std::nullopt;
  }
  const auto day =
      std::chrono::sys_days(std::chrono::year(parts.tm_year + 1900) /
                            std::chrono::month(static_cast<unsigned>(parts.tm_mon + 1)) /
                            std::chrono::day(static_cast<unsigned>(parts.tm_mday)));
  const auto at = day + std::chrono::hours(parts.tm_hour) + std::chrono::minutes(parts.tm_min) +
                  std::chrono::seconds(parts.tm_sec);
  return Timestamp{std::chrono::duration_cast<Duration>(at.time_since_epoch()).count()};
}

std::optional<std::string> Coordinate(const EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) {
    return std::nullopt;
  }
  const Number number(raw);
  std::string bytes(32, '\0');
  if (BN_bn2binpad(number.get(), reinterpret_cast<unsigned char*>(bytes.data()), 32) != 32) {
    return std::nullopt;
  }
  return bytes;
}

std::optional<PublicKey> KeyOf(const X509* certificate) {
  const EVP_PKEY* key = X509_get0_pubkey(certificate);
  std::array<char, 64> group{};
  size_t length = 0;
  if (key == nullptr || EVP_PKEY_is_a(key, "EC") != 1 ||
      EVP_PKEY_get_group_name(key, group.data(), group.size(), &length) != 1 ||
      std::string_view(group.data(), length) != SN_X9_62_prime256v1) {
    return std::nullopt;
  }
  const auto x = Coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X);
  const auto y = Coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y);
  if (!x || !y) {
    return std::nullopt;
  }
  auto point = PublicKey::FromCoordinates(*x, *y);
  return point ? std::optional<PublicKey>(std::move(*point)) : std::nullopt;
}

// The one Latchkey URI of the certificate. Empty: none, or more than one.
std::string UriOf(const X509* certificate) {
  int found = 0;
  const AltNames names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, &found, nullptr)));
  std::string uri;
  if (names == nullptr) {  // absent, twice, or broken
    return uri;
  }
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) {
      continue;
    }
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    const std::string_view value(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                                 static_cast<size_t>(ASN1_STRING_length(text)));
    if (value.substr(0, kIdentityUrn.size()) != kIdentityUrn) {
      continue;
    }
    if (!uri.empty()) {
      return {};
    }
    uri = value;
  }
  return uri;
}

// As Certificate::serial. nullopt: zero, negative or longer than RFC 5280 allows.
std::optional<std::string> SerialOf(const ASN1_INTEGER* number) {
  const Number value(number == nullptr ? nullptr : ASN1_INTEGER_to_BN(number, nullptr));
  if (value == nullptr || BN_is_negative(value.get()) == 1 || BN_is_zero(value.get()) == 1 ||
      static_cast<size_t>(BN_num_bytes(value.get())) > kSerialBytesMax) {
    return std::nullopt;
  }
  std::string bytes(static_cast<size_t>(BN_num_bytes(value.get())), '\0');
  BN_bn2bin(value.get(), reinterpret_cast<unsigned char*>(bytes.data()));
  return bytes;
}

// nullptr: not exactly one list.
CrlPointer ParseCrl(std::string_view bytes) {
  if (bytes.empty() || bytes.size() > kCrlBytesMax) {
    return nullptr;
  }
  if (bytes[0] != '\x30') {  // DER begins with a SEQUENCE; PEM is text
    const Bio bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
    LK_ASSERT(bio != nullptr);
    return CrlPointer(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr));
  }
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto* end = at + bytes.size();
  CrlPointer crl(d2i_X509_CRL(nullptr, &at, static_cast<long>(bytes.size())));
  return at == end ? std::move(crl) : nullptr;
}

// Critical extensions change what a list means (a delta, another issuer's certificates): those of
// a whole list by one CA have none.
bool HasCriticalExtension(const STACK_OF(X509_EXTENSION) * extensions) {
  for (int i = 0; i < X509v3_get_ext_count(extensions); ++i) {
    if (X509_EXTENSION_get_critical(X509v3_get_ext(extensions, i)) == 1) {
      return true;
    }
  }
  return false;
}

Result<void> CheckCrlSignedBy(X509_CRL* crl, X509* ca) {
  const uint32_t flags = X509_get_extension_flags(ca);
  if ((flags & EXFLAG_CA) == 0 || (flags & EXFLAG_INVALID) != 0 ||
      (X509_get_key_usage(ca) & KU_CRL_SIGN) == 0) {
    return Bad("the certificate beside the revocation list is not a CA that signs such lists");
  }
  if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(ca)) != 0) {
    return Bad("revocation list is another CA's: put this CA's list here");
  }
  EVP_PKEY* key = X509_get0_pubkey(ca);
  if (key == nullptr || X509_CRL_verify(crl, key) != 1) {
    return Bad("revocation list is not signed by this CA, or was changed: write it again");
  }
  return {};
}

// 0: none.
Result<uint64_t> CrlNumberOf(const X509_CRL* crl) {
  int found = 0;
  const Integer number(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl, NID_crl_number, &found, nullptr)));
  uint64_t value = 0;
  if (number == nullptr ? found != -1 : ASN1_INTEGER_get_uint64(&value, number.get()) != 1) {
    return Bad("revocation list's number is not one of 64 bits");
  }
  return value;
}

struct Validity {
  Timestamp begin;
  Timestamp end;
};

Result<Validity> ValidityOf(const X509* certificate, std::string_view what) {
  const auto begin = ToTimestamp(X509_get0_notBefore(certificate));
  const auto end = ToTimestamp(X509_get0_notAfter(certificate));
  if (!begin || !end) {
    return Bad(std::string(what) + " has no readable validity: have it issued again");
  }
  return Validity{*begin, *end};
}

Result<void> CheckTimes(const Validity& validity, std::string_view what, Timestamp now) {
  if (now < validity.begin) {
    return Bad(std::string(what) + " is not valid yet: check the clock");
  }
  if (now > validity.end) {
    return Bad(std::string(what) + " has expired: have a new one issued");
  }
  return {};
}

// A certificate that its CA has signed: all that is left to ask is the time.
struct Chain {
  Validity leaf;
  Validity ca;
};

Result<Chain> CheckChain(std::string_view der, std::string_view ca_der) {
  const X509Pointer leaf = ParseX509(der);
  const X509Pointer ca = ParseX509(ca_der);
  if (leaf == nullptr || ca == nullptr) {
    return Bad(leaf == nullptr ? "certificate does not parse" : "CA certificate does not parse");
  }
  const uint32_t flags = X509_get_extension_flags(ca.get());
  if ((flags & EXFLAG_CA) == 0 || (flags & EXFLAG_INVALID) != 0 ||
      (X509_get_key_usage(ca.get()) & KU_KEY_CERT_SIGN) == 0) {
    return Bad("the issuing certificate is not a CA");
  }
  if ((X509_get_extension_flags(leaf.get()) & (EXFLAG_INVALID | EXFLAG_CRITICAL)) != 0) {
    return Bad("certificate has an extension that is broken, or critical and not known");
  }
  if (X509_NAME_cmp(X509_get_issuer_name(leaf.get()), X509_get_subject_name(ca.get())) != 0) {
    return Bad("certificate names another issuer than this CA");
  }
  EVP_PKEY* ca_key = X509_get0_pubkey(ca.get());
  if (ca_key == nullptr || X509_verify(leaf.get(), ca_key) != 1) {
    return Bad("certificate is not signed by this CA");
  }
  LK_TRY(const Validity leaf_validity, ValidityOf(leaf.get(), "certificate"));
  LK_TRY(const Validity ca_validity, ValidityOf(ca.get(), "CA certificate"));
  return Chain{leaf_validity, ca_validity};
}

Result<Certificate> ReadDer(std::string_view der) {
  const X509Pointer x509 = ParseX509(der);
  if (x509 == nullptr) {
    return Bad("certificate does not parse: give one X.509 certificate of at most 4096 bytes");
  }
  const std::string uri = UriOf(x509.get());
  if (uri.empty()) {
    return Bad("certificate has not exactly one urn:latchkey: URI as subjectAltName");
  }
  LK_TRY(CertificateIdentity identity, ParseIdentityUri(uri));
  std::optional<PublicKey> key = KeyOf(x509.get());
  if (!key) {
    return Bad("certificate's key is not P-256");
  }
  const auto begin = ToTimestamp(X509_get0_notBefore(x509.get()));
  const auto end = ToTimestamp(X509_get0_notAfter(x509.get()));
  if (!begin || !end) {
    return Bad("certificate has no readable validity");
  }
  std::optional<std::string> serial = SerialOf(X509_get0_serialNumber(x509.get()));
  if (!serial) {
    return Bad("certificate's serial number is not a positive one of at most 20 bytes");
  }
  return Certificate{std::string(der),  std::move(identity), std::move(*key), *begin, *end,
                     std::move(*serial)};
}

}  // namespace

Result<Certificate> Certificate::FromDer(std::string_view der) {
  thread_local LastRead<Certificate> last(kLastReadSlots);
  if (const Certificate* read = last.Find(der)) {
    return *read;
  }
  LK_TRY(Certificate certificate, ReadDer(der));
  last.Keep(der, certificate);
  return certificate;
}

Result<Certificate> Certificate::FromPem(std::string_view pem) {
  LK_TRY(const std::string der, PemToDer(pem));
  return FromDer(der);
}

Result<std::string> PemToDer(std::string_view pem) {
  if (pem.size() > kPemBytesMax) {
    return Bad("certificate file is too large");
  }
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  LK_ASSERT(bio != nullptr);
  const X509Pointer x509(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (x509 == nullptr) {
    return Bad("no PEM certificate found");
  }
  unsigned char* raw = nullptr;
  const int length = i2d_X509(x509.get(), &raw);
  if (length <= 0) {
    return Bad("certificate cannot be encoded");
  }
  std::string der(reinterpret_cast<const char*>(raw), static_cast<size_t>(length));
  OPENSSL_free(raw);
  return der;
}

std::optional<std::string> TakeX509Der(void* x509) {
  const X509Pointer owned(static_cast<X509*>(x509));
  if (owned == nullptr) {
    return std::nullopt;
  }
  unsigned char* raw = nullptr;
  const int length = i2d_X509(owned.get(), &raw);
  if (length <= 0) {
    return std::nullopt;
  }
  std::string der(reinterpret_cast<const char*>(raw), static_cast<size_t>(length));
  OPENSSL_free(raw);
  return der;
}

Result<void> CheckSignedBy(std::string_view der, std::string_view ca_der, Timestamp now) {
  thread_local LastRead<Chain> last(kLastReadSlots);
  std::string both(ca_der);  // DER says its own length, so no other two make the same bytes
  both += der;
  const Chain* chain = last.Find(both);
  if (chain == nullptr) {
    LK_TRY(const Chain checked, CheckChain(der, ca_der));
    last.Keep(both, checked);
    chain = last.Find(both);
  }
  LK_CHECK(CheckTimes(chain->leaf, "certificate", now));
  return CheckTimes(chain->ca, "CA certificate", now);
}

Result<Timestamp> EndOf(std::string_view der) {
  const X509Pointer certificate = ParseX509(der);
  const auto end =
      certificate == nullptr ? std::nullopt : ToTimestamp(X509_get0_notAfter(certificate.get()));
  if (!end) {
    return Bad("certificate does not parse, or has no readable end");
  }
  return *end;
}

Result<Revocations> ReadRevocations(std::string_view crl, std::string_view ca_der) {
  const CrlPointer list = ParseCrl(crl);
  const X509Pointer ca = ParseX509(ca_der);
  if (list == nullptr || ca == nullptr) {
    return Bad(list == nullptr ? "revocation list does not parse: give one X.509 CRL, PEM or DER"
                               : "CA certificate does not parse");
  }
  LK_CHECK(CheckCrlSignedBy(list.get(), ca.get()));
  Revocations revocations;
  LK_TRY(revocations.number, CrlNumberOf(list.get()));
  const auto this_update = ToTimestamp(X509_CRL_get0_lastUpdate(list.get()));
  if (!this_update || HasCriticalExtension(X509_CRL_get0_extensions(list.get()))) {
    return Bad(this_update ? "revocation list is not a whole one: it has a critical extension"
                           : "revocation list has no readable time");
  }
  revocations.this_update = *this_update;
  revocations.next_update = ToTimestamp(X509_CRL_get0_nextUpdate(list.get()));
  const STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(list.get());
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {  // -1 when there are none
    const X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
    std::optional<std::string> serial = SerialOf(X509_REVOKED_get0_serialNumber(entry));
    if (!serial || HasCriticalExtension(X509_REVOKED_get0_extensions(entry))) {
      return Bad("revocation list has an entry that cannot be read");
    }
    revocations.serials.insert(std::move(*serial));
  }
  return revocations;
}

}  // namespace latchkey
