// Renewal of a car's certificate: what travels, made and checked.
#include "proto/renewal.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "proto/reason.h"
#include "proto/wire.h"

namespace latchkey {

namespace {

constexpr std::string_view kDomain = "latchkey.v1.certificate-request";
constexpr size_t kTextBytesMax = 256;

// What a request's signature covers, the domain aside.
std::string Signed(const CarRef& ref, std::string_view point, uint64_t requested_at_ms) {
  std::string bytes = ref.fleet.str();
  bytes += '\0';
  bytes += ref.car.str();
  bytes += '\0';
  bytes += point;
  for (int shift = 56; shift >= 0; shift -= 8) {
    bytes += static_cast<char>(requested_at_ms >> shift & 0xff);
  }
  return WithDomain(kDomain, bytes);
}

v1::CertificateGrant Answering(Timestamp requested_at) {
  v1::CertificateGrant grant;
  grant.set_requested_at_ms(static_cast<uint64_t>(std::max<int64_t>(requested_at.ms, 0)));
  return grant;
}

}  // namespace

std::string MakeCertificateRequest(const CarRef& ref, const PrivateKey& car_key, Timestamp now) {
  const std::string point = car_key.Public().ToPoint();
  const auto requested_at_ms = static_cast<uint64_t>(std::max<int64_t>(now.ms, 0));
  v1::CertificateRequest request;
  request.set_public_key(point);
  request.set_requested_at_ms(requested_at_ms);
  request.set_signature(car_key.Sign(Signed(ref, point, requested_at_ms)));
  return request.SerializeAsString();
}

Result<CertificateRequest> OpenCertificateRequest(std::string_view bytes, const CarRef& ref) {
  const auto request = FromWire<v1::CertificateRequest>(bytes, kCertificateRequestBytesMax);
  const auto at = request ? TimeFromWire(request->requested_at_ms()) : std::nullopt;
  if (!at || request->public_key().size() != kPublicKeyBytes) {
    return Fail(v1::REASON_MALFORMED, "not a certificate request of at most 256 bytes");
  }
  auto key = PublicKey::FromPoint(request->public_key());
  if (!key) {
    return Fail(v1::REASON_MALFORMED, "certificate request's public key is not a P-256 point");
  }
  if (!key->Verify(Signed(ref, request->public_key(), request->requested_at_ms()),
                   request->signature())) {
    return Fail(v1::REASON_BAD_SIGNATURE,
                "certificate request is not signed by the key it names, for this car");
  }
  return CertificateRequest{std::move(*key), *at};
}

std::string MakeCertificateGrant(Timestamp requested_at, std::string_view certificate_der) {
  v1::CertificateGrant grant = Answering(requested_at);
  grant.set_certificate(certificate_der.data(), certificate_der.size());
  LK_ASSERT(!certificate_der.empty() && grant.ByteSizeLong() <= kCertificateGrantBytesMax);
  return grant.SerializeAsString();
}

std::string MakeCertificateRefusal(Timestamp requested_at, Reason reason) {
  LK_ASSERT(reason != v1::REASON_UNSPECIFIED);
  v1::CertificateGrant grant = Answering(requested_at);
  grant.set_reason(reason);
  grant.set_text(std::string(FactsOf(reason).text.substr(0, kTextBytesMax)));
  return grant.SerializeAsString();
}

Result<Certificate> OpenCertificateGrant(std::string_view bytes, const Certificate& held,
                                         std::string_view ca_der, Timestamp now) {
  const auto grant = FromWire<v1::CertificateGrant>(bytes, kCertificateGrantBytesMax);
  if (!grant || grant->text().size() > kTextBytesMax) {
    return Fail(v1::REASON_MALFORMED, "not a certificate grant of at most 4096 bytes");
  }
  if (grant->reason() != v1::REASON_UNSPECIFIED) {
    const Reason reason =
        v1::Reason_IsValid(grant->reason()) ? grant->reason() : v1::REASON_INTERNAL;
    return Fail(reason, "the registrar refused: " + std::string(FactsOf(reason).text));
  }
  LK_TRY(Certificate granted, Certificate::FromDer(grant->certificate()));
  if (granted.identity != held.identity ||
      granted.public_key.ToPoint() != held.public_key.ToPoint()) {
    return Fail(v1::REASON_WRONG_CAR,
                "the certificate granted is for another car or another key: it is not taken");
  }
  LK_CHECK(CheckSignedBy(granted.der, ca_der, now));
  if (granted.not_after <= held.not_after) {
    return Fail(v1::REASON_OLDER_VERSION,
                "the certificate granted ends no later than the one held: it is not taken");
  }
  return granted;
}

Timestamp RenewalDue(const Certificate& certificate) {
  const Duration life = certificate.not_after - certificate.not_before;
  return certificate.not_before + std::max(Duration(0), life - life / 3);
}

}  // namespace latchkey
