// Newest ring per car: a higher version wins, a lower one is answered with ours.
#include "bridge/core/rings.h"

#include <algorithm>
#include <utility>

#include "bridge/core/journal.h"
#include "proto/certificate.h"
#include "proto/reason.h"
#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kCarsPerCallMax = 20'000;
constexpr size_t kLooksPerCallMax = 15;  // a certificate takes near 130 us
constexpr Duration kLookPause = std::chrono::milliseconds(50);

// The certificate a ring of ours carries; nullopt: none that can be read.
std::optional<Certificate> CertificateOf(const std::string& payload) {
  v1::SignedKeyRing carried;
  if (!carried.ParseFromString(payload)) {
    return std::nullopt;
  }
  const Result<Certificate> certificate = Certificate::FromDer(carried.certificate());
  return certificate ? std::optional<Certificate>(*certificate) : std::nullopt;
}

void Refuse(Counters& counters, const CarRef& ref, const Error& error, Effects& out) {
  ++counters.refused[error.reason];
  out.emplace_back(
      LogEvent{LogEvent::Level::kWarning,
               "ring_refused",
               {{"car", ref.ToText()}, {"reason", std::string(FactsOf(error.reason).word)}}});
}

}  // namespace

Rings::Rings(const Limits& limits, const FleetCas& fleet_cas, Counters& counters, size_t opened_max)
    : limits_(limits), fleet_cas_(fleet_cas), counters_(counters), opened_max_(opened_max) {
  LK_ASSERT(opened_max_ > 0);
}

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
  std::optional<Certificate> certificate = CertificateOf(payload);
  if (!certificate) {
    return Fail(v1::REASON_BAD_CERTIFICATE, "the ring's certificate cannot be read");
  }
  return OpenedRing{std::move(ring), std::move(certificate->public_key), certificate->not_after};
}

void Rings::Load(const storage::RingRecord& record) {
  Held held;
  held.version = record.version;
  held.payload = record.payload;
  held.shown = broker_session_;
  cars_[record.ref] = std::move(held);
  look_at_ = Instant{0};
}

// The newest is kept whatever happens: a pointer to it is about to be given out.
void Rings::Keep(const CarRef& ref, Held& held, OpenedRing opened) {
  Close(held);
  held.opened = std::make_unique<OpenedRing>(std::move(opened));
  held.opened_as = ++opened_last_;
  opened_.emplace(held.opened_as, ref);
  if (opened_.size() > opened_max_) {
    Close(cars_.at(opened_.begin()->second));
  }
}

void Rings::Close(Held& held) {
  if (held.opened) {
    opened_.erase(held.opened_as);
    held.opened.reset();
  }
}

void Rings::Wait(const CarRef& ref, const Publish& publish) {
  std::erase_if(waiting_, [&](const Waiting& one) { return one.ref == ref; });
  if (waiting_.size() == kUnknownFleetRingsMax) {
    waiting_.pop_front();
  }
  waiting_.push_back({ref, publish});
}

bool Rings::Arrived(const CarRef& ref, const Publish& publish, Timestamp now, Effects& out) {
  auto car = cars_.find(ref);
  if (car != cars_.end() && car->second.payload == publish.payload) {
    car->second.shown = broker_session_;
    return false;
  }
  Result<OpenedRing> opened = Open(ref, publish.payload);
  if (!opened) {
    if (fleet_cas_.count(ref.fleet) == 0) {
      Wait(ref, publish);
    }
    Refuse(counters_, ref, opened.error(), out);
    return false;
  }
  if (car == cars_.end()) {
    if (cars_.size() >= limits_.cars_max) {
      Refuse(counters_, ref, Error{v1::REASON_FULL, ""}, out);
      return false;
    }
    car = cars_.try_emplace(ref).first;
  }
  Held& held = car->second;
  if (opened->ring.version == held.version) {
    // The same ring signed once more is the same ring.
    const OpenedRing* ours = Find(ref);
    if (ours != nullptr && ours->ring == opened->ring) {
      held.shown = broker_session_;
      return false;
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
    return false;
  }
  const OpenedRing* before = held.version > 0 ? Find(ref) : nullptr;
  JournalRing(before == nullptr ? nullptr : &before->ring, opened->ring, now, out);
  held.version = opened->ring.version;
  held.shown = broker_session_;
  held.payload = publish.payload;
  Keep(ref, held, *std::move(opened));
  held.refused = false;
  SetExpiry(held, held.opened->expires_at);
  ++counters_.rings_stored;
  out.emplace_back(Write{storage::RingRecord{ref, held.version, now, held.payload}, true});
  out.emplace_back(LogEvent{LogEvent::Level::kInfo,
                            "ring_stored",
                            {{"car", ref.ToText()},
                             {"version", std::to_string(held.version)},
                             {"keys", std::to_string(held.opened->ring.keys.size())}}});
  return true;
}

std::vector<CarRef> Rings::CasChanged(Timestamp now, Effects& out) {
  std::vector<CarRef> changed;
  for (auto& [ref, held] : cars_) {
    if (held.refused) {
      held.refused = false;
      changed.push_back(ref);
    }
  }
  std::deque<Waiting> waiting;
  waiting.swap(waiting_);
  for (const Waiting& one : waiting) {
    if (Arrived(one.ref, one.publish, now, out)) {
      changed.push_back(one.ref);
    }
  }
  return changed;
}

void Rings::DropExpiry(const Held& held) {
  if (!held.expires_at) {
    return;
  }
  const auto old = expiries_.find(*held.expires_at);
  soon_ -= old->first <= soon_until_ ? 1 : 0;
  if (--old->second == 0) {
    expiries_.erase(old);
  }
}

void Rings::Forget(const CarRef& ref) {
  std::erase_if(waiting_, [&](const Waiting& one) { return one.ref == ref; });
  const auto car = cars_.find(ref);
  if (car != cars_.end()) {
    DropExpiry(car->second);
    Close(car->second);
    cars_.erase(car);
  }
}

void Rings::SetExpiry(Held& held, Timestamp expires_at) {
  DropExpiry(held);
  held.expires_at = expires_at;
  ++expiries_[expires_at];
  soon_ += expires_at <= soon_until_ ? 1 : 0;
}

// Goes over what lies between the old bound and the new one, whichever way the clock went.
void Rings::CountSoon(Timestamp until) {
  const auto low = expiries_.upper_bound(std::min(until, soon_until_));
  const auto high = expiries_.upper_bound(std::max(until, soon_until_));
  size_t between = 0;
  for (auto at = low; at != high; ++at) {
    between += at->second;
  }
  soon_ = until > soon_until_ ? soon_ + between : soon_ - between;
  soon_until_ = until;
}

void Rings::Passes(const Now& now) {
  CountSoon(now.wall + kExpirySoon);
  if (look_at_ && *look_at_ <= now.mono) {
    LookAtSome(now);
  }
}

void Rings::LookAtSome(const Now& now) {
  size_t passed = 0;
  size_t looks = 0;
  auto car = looked_ ? cars_.upper_bound(*looked_) : cars_.begin();
  for (; car != cars_.end(); ++car) {
    if (looks == kLooksPerCallMax || ++passed > kCarsPerCallMax) {
      look_at_ = now.mono + kLookPause;
      return;
    }
    looked_ = car->first;
    Held& held = car->second;
    if (!held.expires_at) {
      ++looks;
      if (const std::optional<Certificate> certificate = CertificateOf(held.payload)) {
        SetExpiry(held, certificate->not_after);
      }
    }
  }
  look_at_.reset();
}

std::optional<Instant> Rings::NextDeadline() const {
  return look_at_;
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
      Keep(ref, held, *std::move(opened));
    } else {
      ++counters_.refused[opened.error().reason];
    }
  }
  return held.opened.get();
}

bool Rings::MayLack(const CarRef& ref) const {
  const auto car = cars_.find(ref);
  return showing_ && (car == cars_.end() || car->second.shown != broker_session_);
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
  LK_ASSERT(waiting_.size() <= kUnknownFleetRingsMax);
  LK_ASSERT(opened_.size() <= opened_max_);
  std::map<Timestamp, size_t> expiries;
  size_t soon = 0;
  size_t opened = 0;
  for (const auto& [ref, held] : cars_) {
    LK_ASSERT(held.version >= 1);
    LK_ASSERT(held.shown <= broker_session_);
    LK_ASSERT(!held.opened || (held.opened->ring.ref == ref && !held.refused &&
                               held.opened->ring.version == held.version));
    LK_ASSERT(!held.opened || !held.expires_at || *held.expires_at == held.opened->expires_at);
    if (held.opened) {
      ++opened;
      const auto at = opened_.find(held.opened_as);
      LK_ASSERT(at != opened_.end() && at->second == ref);
    }
    if (held.expires_at) {
      ++expiries[*held.expires_at];
      soon += *held.expires_at <= soon_until_ ? 1 : 0;
    }
  }
  LK_ASSERT(opened == opened_.size());
  LK_ASSERT(expiries == expiries_ && soon == soon_);
}

}  // namespace latchkey::bridge
