// Renewing a car's certificate over MQTT: certificate.proto says what travels.
#pragma once

#include <string>
#include <string_view>

#include "latchkey/v1/certificate.pb.h"
#include "proto/certificate.h"
#include "proto/crypto.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kCertificateRequestBytesMax = 256;
inline constexpr size_t kCertificateGrantBytesMax = 4096;

// Car: serialized CertificateRequest.
std::string MakeCertificateRequest(const CarRef& ref, const PrivateKey& car_key, Timestamp now);

struct CertificateRequest {
  PublicKey key;
  Timestamp requested_at;
};

// Registrar: checks a request from the topic of `ref`. Errors REASON_MALFORMED,
// REASON_BAD_SIGNATURE (not by the key it names).
Result<CertificateRequest> OpenCertificateRequest(std::string_view bytes, const CarRef& ref);

// Registrar: serialized CertificateGrant.
std::string MakeCertificateGrant(Timestamp requested_at, std::string_view certificate_der);
std::string MakeCertificateRefusal(Timestamp requested_at, Reason reason);

// Car: the certificate of a grant, when it is for this car and this key, signed by `ca_der` now,
// and runs longer than `held`. Errors REASON_MALFORMED, the registrar's own reason,
// REASON_WRONG_CAR (another identity or key), REASON_BAD_CERTIFICATE, REASON_OLDER_VERSION (does
// not run longer).
Result<Certificate> OpenCertificateGrant(std::string_view bytes, const Certificate& held,
                                         std::string_view ca_der, Timestamp now);

// A car asks for a new certificate from here on: two thirds of the life of the one it has have
// passed.
Timestamp RenewalDue(const Certificate& certificate);

}  // namespace latchkey
