// Certificates: reading them, who has signed them, which of them are revoked. Who they say their
// holder is stands in identity_uri.h.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "proto/crypto.h"
#include "proto/identity_uri.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

// A certificate as read: nothing about it is trusted until SignedBy says so.
struct Certificate {
  std::string der;
  CertificateIdentity identity;
  PublicKey public_key;
  Timestamp not_before;
  Timestamp not_after;
  // RFC 5280 section 4.1.2.2, positive: 1 to 20 big-endian bytes without leading zeros.
  std::string serial;

  // DER. Errors REASON_BAD_CERTIFICATE: does not parse, not P-256, not exactly one Latchkey URI.
  static Result<Certificate> FromDer(std::string_view der);
  // First certificate of a PEM text.
  static Result<Certificate> FromPem(std::string_view pem);
};

// PEM -> DER of the first certificate. Error REASON_BAD_CERTIFICATE.
Result<std::string> PemToDer(std::string_view pem);

// DER of a libcrypto X509 object, which is freed: for a C library that hands one over as void*.
// nullopt: `x509` is null or cannot be encoded.
std::optional<std::string> TakeX509Der(void* x509);

// Is `der` signed by the CA certificate `ca_der` (signature, issuer name, CA:TRUE) and `now` in the
// time of both? Error REASON_BAD_CERTIFICATE with the reason in words.
Result<void> CheckSignedBy(std::string_view der, std::string_view ca_der, Timestamp now);

// When a certificate of any kind (a CA's, a server's) ends. Error REASON_BAD_CERTIFICATE: does not
// parse.
Result<Timestamp> EndOf(std::string_view der);

// A certificate revocation list (RFC 5280 section 5), verified.
struct Revocations {
  std::set<std::string, std::less<>> serials;  // as Certificate::serial
  uint64_t number = 0;                         // CRL number (section 5.2.3); 0: none
  Timestamp this_update;
  std::optional<Timestamp> next_update;
};

// PEM or DER, signed by `ca_der`. A list past its next_update is read all the same: old news is
// better than none; the caller warns. A list with a critical extension (a delta, another issuer's
// certificates) is refused. Error REASON_BAD_CERTIFICATE with the reason in words.
Result<Revocations> ReadRevocations(std::string_view crl, std::string_view ca_der);

}  // namespace latchkey
