// Requests in, grants and refusals out; bounded for each car.
#include "tools/latchkey/ca_registrar.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "proto/reason.h"
#include "proto/renewal.h"
#include "proto/topic.h"
#include "tools/latchkey/ca_inventory.h"

namespace latchkey::cli {

namespace {

constexpr Duration kMinute = std::chrono::minutes(1);
constexpr int kAnswersAMinute = 10;  // to one car, refusals included
constexpr size_t kLatelyMax = 10000;
// A car's clock may be this much ahead of ours and still be asked in time.
constexpr Duration kSlackMax = std::chrono::hours(24);

Duration SlackOf(const Certificate& certificate) {
  return std::min(kSlackMax, (certificate.not_after - certificate.not_before) / 10);
}

std::string_view WordOf(Reason reason) {
  return FactsOf(reason).word;
}

}  // namespace

Result<Registrar> Registrar::Make(FleetId fleet, tools::Issued ca, int days) {
  LK_TRY(std::string der, PemToDer(ca.certificate_pem));
  return Registrar(std::move(fleet), std::move(ca), std::move(der), days);
}

void Registrar::Learn(Certificate certificate) {
  const auto* car = std::get_if<CarIdentity>(&certificate.identity);
  if (car == nullptr || car->ref.fleet != fleet_) {
    return;
  }
  std::vector<Certificate>& of_car = issued_[car->ref];
  const bool known = std::any_of(of_car.begin(), of_car.end(), [&](const Certificate& each) {
    return each.der == certificate.der;
  });
  if (!known) {
    of_car.push_back(std::move(certificate));
  }
}

Result<const Certificate*> Registrar::Newest(const CarRef& ref, const PublicKey& key,
                                             Timestamp now) const {
  const auto of_car = issued_.find(ref);
  const std::string point = key.ToPoint();
  const Certificate* newest = nullptr;
  bool any = false;
  if (of_car == issued_.end()) {
    return Fail(v1::REASON_NOT_ALLOWED, "no certificate of this car is known");
  }
  for (const Certificate& each : of_car->second) {
    if (each.public_key.ToPoint() != point) {
      continue;
    }
    any = true;
    if (revoked_.count(each.serial) > 0) {
      return Fail(v1::REASON_BAD_CERTIFICATE,
                  "certificate " + SerialText(each.serial) + " of this key is revoked");
    }
    if (CheckSignedBy(each.der, ca_der_, now) &&
        (newest == nullptr || each.not_after > newest->not_after)) {
      newest = &each;
    }
  }
  if (newest != nullptr) {
    return newest;
  }
  return any ? Fail(v1::REASON_BAD_CERTIFICATE, "no certificate of this key is good now")
             : Fail(v1::REASON_NOT_ALLOWED, "this key was never certified for this car");
}

bool Registrar::MayAnswer(const CarRef& ref, Instant now) {
  if (lately_.size() >= kLatelyMax && lately_.count(ref) == 0) {
    for (auto it = lately_.begin(); it != lately_.end();) {
      it = now - it->second.since > kMinute ? lately_.erase(it) : std::next(it);
    }
    if (lately_.size() >= kLatelyMax) {
      return false;
    }
  }
  Lately& lately = lately_[ref];
  if (lately.answers == 0 || now - lately.since > kMinute) {
    lately.since = now;
    lately.answers = 0;
  }
  return ++lately.answers <= kAnswersAMinute;
}

Registrar::Answer Registrar::Refuse(const CarRef& ref, Timestamp requested_at, Reason reason,
                                    const std::string& why) {
  return {"",
          Publish{CertificateTopic(ref), MakeCertificateRefusal(requested_at, reason), 1,
                  Retain::kNo, 0},
          "refused car " + ref.ToText() + ": " + std::string(WordOf(reason)) + ": " + why,
          requested_at};
}

Registrar::Answer Registrar::CannotKeep(const CarRef& ref, Timestamp requested_at,
                                        const std::string& why) {
  lately_[ref].granted_at.reset();
  return Refuse(ref, requested_at, v1::REASON_STORE_UNAVAILABLE, why);
}

Registrar::Answer Registrar::Grant(const CarRef& ref, const PublicKey& key, Timestamp requested_at,
                                   const Now& now) {
  const Result<const Certificate*> newest = Newest(ref, key, now.wall);
  if (!newest) {
    return Refuse(ref, requested_at, newest.error().reason, newest.error().text);
  }
  Lately& lately = lately_[ref];
  if (lately.granted_at && now.mono - *lately.granted_at < kMinute) {
    return Refuse(ref, requested_at, v1::REASON_FULL, "one grant a minute");
  }
  lately.granted_at = now.mono;
  const auto granted = [&](const Certificate& certificate, const std::string& how) {
    return Answer{
        "",
        Publish{CertificateTopic(ref), MakeCertificateGrant(requested_at, certificate.der), 1,
                Retain::kNo, 0},
        "granted car " + ref.ToText() + " certificate " + SerialText(certificate.serial) + how,
        requested_at};
  };
  if (now.wall < RenewalDue(**newest) - SlackOf(**newest)) {
    // An answer that was lost on its way, or a car that asks too early: nothing new is issued.
    return granted(**newest, " again: it is not due yet");
  }
  const Result<int> days = DaysWithin(ca_, now.wall, days_);
  const auto pem = days ? tools::CertifyClient(CarIdentity{ref}, key, ca_, {now.wall, *days})
                        : Result<std::string>(tl::unexpected<Error>(days.error()));
  Result<Certificate> certificate =
      pem ? Certificate::FromPem(*pem) : tl::unexpected<Error>(pem.error());
  if (!certificate) {
    return Refuse(ref, requested_at, certificate.error().reason, certificate.error().text);
  }
  Answer answer = granted(*certificate, ": new");
  answer.keep_pem = *pem;
  return answer;
}

Registrar::Answer Registrar::Handle(const Publish& message, const Now& now) {
  const auto topic = ParseTopic(message.topic);
  if (!topic || topic->kind != TopicKind::kCertificateRequest || topic->fleet != fleet_.str()) {
    return {"", std::nullopt, "dropped a message that is no request of this fleet", {}};
  }
  const CarRef ref{fleet_, CarId::Parse(topic->car).value_or(CarId())};
  if (!MayAnswer(ref, now.mono)) {
    return {"", std::nullopt, "dropped a request of car " + ref.ToText() + ": too many", {}};
  }
  const auto request = OpenCertificateRequest(message.payload, ref);
  return request ? Grant(ref, request->key, request->requested_at, now)
                 : Refuse(ref, {}, request.error().reason, request.error().text);
}

}  // namespace latchkey::cli
