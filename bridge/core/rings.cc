// Newest ring per car: a higher version wins, a lower one is answered with ours.
#include "bridge/core/rings.h"

#include <utility>

#include "proto/certificate.h"
#include "proto/reason.h"
#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kCarsPerCallMax = 20'000;

void Refuse(Counters& counters, const CarRef& ref, const Error& error, Effects& out) {
  ++counters.refused[error.reason];
  out.emplace_back(
      LogEvent{LogEvent::Level::kWarning,
               "ring_refused",
               {{"car", ref.ToText()}, {"reason", std::string(FactsOf(error.reason).word)}}});
}

}  // namespace

Rings::Rings(const Limits& limits, const FleetCas& fleet_cas, Counters& counters)
    : limits_(limits), fleet_cas_(fleet_cas), counters_(counters) {}

Result<OpenedRing> Rings::Open(const CarRef& ref, const std::string& payload) const {
  const auto ca = fleet_cas_.find(ref.fleet);
  if (ca == fleet_cas_.end()) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "no CA of fleet " + ref.fleet.str() + " is known: add its .pem to ca_dir");
  }
  LK_TRY(KeyRing ring, OpenKeyRing(payload, ca->second, std::nullopt));
  if (ring.ref != ref) {
    return Fail(v1::REASON_WRONG_CAR, "the ring of " + ring.ref.ToText() +
                                          " was published as that of " + ref.ToText() +
                                          ": ignored");
  }
  v1::SignedKeyRing carried;
  if (!carried.ParseFromString(payload)) {
    return Fail(v1::REASON_MALFORMED, "not a SignedKeyRing");
  }
  LK_TRY(Certificate certificate, Certificate::FromDer(carried.certificate()));
  return OpenedRing{std::move(ring), std::move(certificate.public_key)};
}

void Rings::Load(const storage::RingRecord& record) {
  Held held;
  held.version = record.version;
  held.payload = record.payload;
  cars_[record.ref] = std::move(held);
}

void Rings::Arrived(const CarRef& ref, const Publish& publish, Timestamp now, Effects& out) {
  auto car = cars_.find(ref);
  if (car != cars_.end() && car->second.payload == publish.payload) {
    car->second.shown = broker_session_;
    return;
  }
  Result<OpenedRing> opened = Open(ref, publish.payload);
  if (!opened) {
    Refuse(counters_, ref, opened.error(), out);
    return;
  }
  if (car == cars_.end()) {
    if (cars_.size() >= limits_.cars_max) {
      Refuse(counters_, ref, Error{v1::REASON_FULL, ""}, out);
      return;
    }
    car = cars_.try_emplace(ref).first;
  }
  Held& held = car->second;
  if (opened->ring.version == held.version) {
    // The same ring signed once more is the same ring.
    const OpenedRing* ours = Find(ref);
    if (ours != nullptr && ours->ring == opened->ring) {
      held.shown = broker_session_;
      return;
    }
  }
  if (opened->ring.version <= held.version) {
    Refuse(counters_, ref, Error{v1::REASON_OLDER_VERSION, ""}, out);
    held.shown = 0;
    if (publish.retain == Retain::kYes) {
      held.shown = broker_session_;
      ++counters_.republished;
      out.emplace_back(Publish{KeyRingTopic(ref), held.payload, 1, Retain::kYes, 0});
    }
    return;
  }
  held.version = opened->ring.version;
  held.shown = broker_session_;
  held.payload = publish.payload;
  held.opened = std::make_unique<OpenedRing>(std::move(*opened));
  held.refused = false;
  ++counters_.rings_stored;
  out.emplace_back(Write{storage::RingRecord{ref, held.version, now, held.payload}, true});
  out.emplace_back(LogEvent{LogEvent::Level::kInfo,
                            "ring_stored",
                            {{"car", ref.ToText()},
                             {"version", std::to_string(held.version)},
                             {"keys", std::to_string(held.opened->ring.keys.size())}}});
}

const OpenedRing* Rings::Find(const CarRef& ref) {
  const auto car = cars_.find(ref);
  if (car == cars_.end()) {
    return nullptr;
  }
  Held& held = car->second;
  if (!held.opened && !held.refused) {
    Result<OpenedRing> opened = Open(ref, held.payload);
    held.refused = !opened;
    if (opened) {
      held.opened = std::make_unique<OpenedRing>(std::move(*opened));
    } else {
      ++counters_.refused[opened.error().reason];
    }
  }
  return held.opened.get();
}

void Rings::BrokerUp() {
  ++broker_session_;
  reconciled_.reset();
}

bool Rings::Reconcile(size_t publishes_max, Effects& out) {
  size_t published = 0;
  size_t looked_at = 0;
  auto car = reconciled_ ? cars_.upper_bound(*reconciled_) : cars_.begin();
  for (; car != cars_.end(); ++car) {
    if (published == publishes_max || looked_at == kCarsPerCallMax) {
      return false;
    }
    ++looked_at;
    Held& held = car->second;
    if (held.shown != broker_session_) {
      held.shown = broker_session_;
      out.emplace_back(Publish{KeyRingTopic(car->first), held.payload, 1, Retain::kYes, 0});
      ++published;
      ++counters_.republished;
    }
    reconciled_ = car->first;
  }
  return true;
}

void Rings::CheckInvariants() const {
  LK_ASSERT(cars_.size() <= limits_.cars_max);
  for (const auto& [ref, held] : cars_) {
    LK_ASSERT(held.version >= 1);
    LK_ASSERT(held.shown <= broker_session_);
    LK_ASSERT(!held.opened || (held.opened->ring.ref == ref && !held.refused &&
                               held.opened->ring.version == held.version));
  }
}

}  // namespace latchkey::bridge
