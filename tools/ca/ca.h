// Makes CAs, certificates and revocation lists for a cell and its fleets. Used by `latchkey fleet
// init`, `car add`, `operator add`, `ca` and tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/certificate.h"
#include "proto/crypto.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::tools {

struct Issued {
  std::string certificate_pem;
  std::string private_key_pem;  // PKCS #8; the caller writes it 0600
};

// Self-signed P-256 CA (CA:TRUE, pathlen 0) named `common_name`, valid from an hour before `now`
// for `days`.
Issued MakeCa(const std::string& common_name, Timestamp now, int days);
// A client certificate with the identity's URI as subjectAltName. Error REASON_BAD_CERTIFICATE: the
// CA does not parse.
Result<Issued> IssueClient(const CertificateIdentity& identity, const Issued& ca, Timestamp now,
                           int days);

// When something made is valid: from `now` (certificates: an hour before) for `days`.
struct Validity {
  Timestamp now;
  int days = 0;
};

// A CA that has been read, which takes a millisecond: for who signs much. Immutable; copies share
// it.
class Signer {
 public:
  // Error REASON_BAD_CERTIFICATE: certificate or key do not parse, or do not fit each other.
  static Result<Signer> Read(const Issued& ca);

  struct Impl;

  const Impl& impl() const { return *impl_; }

 private:
  explicit Signer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

  std::shared_ptr<const Impl> impl_;
};

// A client certificate, PEM, for a key made elsewhere. Errors as IssueClient.
Result<std::string> CertifyClient(const CertificateIdentity& identity, const PublicKey& key,
                                  const Signer& ca, const Validity& validity);
Result<std::string> CertifyClient(const CertificateIdentity& identity, const PublicKey& key,
                                  const Issued& ca, const Validity& validity);

// One line of a revocation list.
struct Revoked {
  std::string serial;  // as Certificate::serial
  Timestamp at;        // since when; whole seconds travel
};

// The CA's revocation list (RFC 5280 section 5: version 2), PEM; next_update is `validity.days`
// ahead. Error REASON_BAD_CERTIFICATE: the CA does not parse.
Result<std::string> MakeCrl(const Issued& ca, const std::vector<Revoked>& revoked, uint64_t number,
                            const Validity& validity);

// A TLS server certificate for DNS names and IP addresses.
Result<Issued> IssueServer(const std::vector<std::string>& hosts, const Issued& ca, Timestamp now,
                           int days);

}  // namespace latchkey::tools
