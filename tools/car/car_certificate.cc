// The car's certificate: asking the fleet's registrar for a new one before it runs out, and taking
// it over. The key stays, so whoever knows the car by its key notices nothing.
#include <algorithm>
#include <utility>

#include "proto/reason.h"
#include "proto/renewal.h"
#include "proto/topic.h"
#include "tools/car/car.h"

namespace latchkey::car {
namespace {

constexpr Duration kReconnectAfter{1000};  // lets the ring leave first
constexpr int64_t kDayMs = 86'400'000;

std::string DaysText(Duration left) {
  return left.count() <= 0 ? "has run out"
                           : "runs out in " + std::to_string(left.count() / kDayMs) + " days";
}

}  // namespace

// nullopt: never, as things stand. A car that does not know the time does not know what is due.
std::optional<Instant> Car::AskForCertificateAt() const {
  const bool can =
      subscribed_ && certificate_lane_ && certificate_ && !options_.fleet_ca_der.empty();
  if (!can || !TimeKnown()) {
    return std::nullopt;
  }
  const Instant due = time_at_ + std::max(Duration(0), RenewalDue(*certificate_) - time_);
  return asked_next_at_ ? std::max(due, *asked_next_at_) : due;
}

void Car::AskForCertificate(Effects& out) {
  const auto at = AskForCertificateAt();
  if (!at || now_.mono < *at) {
    return;
  }
  const bool first = !asked_next_at_;
  asked_next_at_ = now_.mono + (first ? options_.limits.certificate_retry_first
                                      : options_.limits.certificate_retry);
  out.push_back(Note{"the certificate " + DaysText(certificate_->not_after - time_) +
                     ": asking the registrar for a new one"});
  out.push_back(Send{{CertificateRequestTopic(options_.ref),
                      MakeCertificateRequest(options_.ref, key_, time_), 1, Retain::kNo, 0}});
}

void Car::TakeCertificate(const Publish& message, Effects& out) {
  if (!certificate_ || options_.fleet_ca_der.empty()) {
    return;
  }
  if (!TimeKnown()) {
    ++counters_.refused[v1::REASON_TIME_UNKNOWN];
    out.push_back(Note{"a certificate came while the car does not know the time: not taken"});
    return;
  }
  Result<Certificate> granted =
      OpenCertificateGrant(message.payload, *certificate_, options_.fleet_ca_der, time_);
  if (!granted) {
    ++counters_.refused[granted.error().reason];
    out.push_back(Note{"the certificate is not renewed: " + granted.error().text});
    return;
  }
  certificate_ = std::move(*granted);
  options_.certificate_der = certificate_->der;
  asked_next_at_.reset();
  out.push_back(NewCertificate{options_.certificate_der});
  out.push_back(
      Note{"the certificate is renewed: it " + DaysText(certificate_->not_after - time_)});
  PublishRing(out);  // the same ring under the new certificate
  restart_at_ = now_.mono + kReconnectAfter;
}

}  // namespace latchkey::car
