// Makes CAs and certificates for a cell and its fleets. Used by `latchkey fleet init`, `car add`,
// `operator add` and tests.
#pragma once

#include <string>
#include <vector>

#include "proto/certificate.h"
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
// A TLS server certificate for DNS names and IP addresses.
Result<Issued> IssueServer(const std::vector<std::string>& hosts, const Issued& ca, Timestamp now,
                           int days);

}  // namespace latchkey::tools
