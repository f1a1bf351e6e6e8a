// How the phone comes by a key and hears of changes: pairing, invitations, rings and notices. Only
// what the car signed is believed.
#include <utility>

#include "proto/topic.h"
#include "proto/wire.h"
#include "tools/phone/phone.h"

namespace latchkey::tools {

namespace {

constexpr size_t kAnswerBytesMax = 32768;

// Who came, went and changed between two rings.
Phone::RingChanged Compare(const KeyRing& before, const KeyRing& after) {
  Phone::RingChanged change{after.ref, after.version, {}, {}, {}};
  for (const RingKey& key : after.keys) {
    const RingKey* held = before.Find(key.id);
    if (held == nullptr) {
      change.added.push_back(key);
    } else if (*held != key) {
      change.changed.push_back(key);
    }
  }
  for (const RingKey& key : before.keys) {
    if (after.Find(key.id) == nullptr) {
      change.removed.push_back(key);
    }
  }
  return change;
}

CarRef RefOf(std::string_view fleet, std::string_view car) {
  return {FleetId::Parse(fleet).value_or(FleetId()), CarId::Parse(car).value_or(CarId())};
}

}  // namespace

void Phone::On(const Pair& input, const Now& now, Effects& out) {
  claiming_ = Claiming{input.offer,
                       input.nonce,
                       MakeClaim(input.offer, key_.Public(), input.nonce, label_),
                       now.mono + kOfferLifetime,
                       now.mono,
                       limits_.claim_first,
                       false};
  if (connected_) {
    Ask({PairingAnswerTopic(input.offer.ref, id_)}, out);
  }
}

void Phone::On(const Accept& input, const Now& /*now*/, Effects& out) {
  const Invitation& invitation = input.invitation;
  const auto held = cars_.find(invitation.ref);
  if (held == cars_.end()) {
    Pairing pairing{invitation.ref,
                    invitation.host,
                    invitation.port,
                    invitation.cell,
                    invitation.car_key,
                    {},
                    KeyRing{invitation.ref, 0, {}, {}},
                    {}};
    cars_.emplace(invitation.ref, CarView{std::move(pairing), {}, {}, {}});
  } else if (held->second.pairing.car_key.ToPoint() == invitation.car_key.ToPoint()) {
    held->second.pairing.host = invitation.host;
    held->second.pairing.port = invitation.port;
    held->second.pairing.cell = invitation.cell;
  } else {
    out.emplace_back(
        Failed{invitation.ref,
               {v1::REASON_BAD_CERTIFICATE,
                "the invitation to car " + invitation.ref.ToText() +
                    " names another key of the car than this phone knows: nothing is changed; if "
                    "the car got a new telematics unit, forget it here first, then accept again"},
               0,
               {}});
    return;
  }
  const CarView& car = cars_.at(invitation.ref);
  out.emplace_back(Learned{invitation.ref, false, car.pairing.ring.Find(id_) != nullptr});
  Listen(invitation.ref, true, out);
}

void Phone::On(const Forget& input, const Now& /*now*/, Effects& /*out*/) {
  cars_.erase(input.ref);
  listening_.erase(input.ref);
  std::erase_if(open_, [&](const auto& each) { return each.second.ref == input.ref; });
}

void Phone::SendClaim(const Now& now, Effects& out) {
  out.emplace_back(
      Publish{PairingTopic(claiming_->offer.ref, id_), claiming_->claim, 1, Retain::kNo, 0});
  claiming_->next = now.mono + claiming_->step;
  claiming_->step = std::min(claiming_->step * 2, limits_.claim_max);
}

void Phone::OnRing(CarView& car, const std::string& topic, const std::string& signed_ring,
                   Effects& out) {
  Result<KeyRing> ring = OpenKeyRingOf(signed_ring, car.pairing.car_key);
  if (ring && ring->ref != car.pairing.ref) {
    ring = Fail(v1::REASON_WRONG_CAR, "the ring is another car's");
  }
  if (!ring) {
    out.emplace_back(Ignored{topic, std::move(ring.error())});
    return;
  }
  Pairing& pairing = car.pairing;
  const bool was = !car.told_removed && pairing.ring.Find(id_) != nullptr;
  const bool is = ring->Find(id_) != nullptr;
  const bool restored = car.told_removed && is && ring->version == pairing.ring.version;
  if (ring->version <= pairing.ring.version && !restored) {
    return;  // never back
  }
  const bool held_one = pairing.ring.version != 0;
  RingChanged change = Compare(pairing.ring, *ring);
  const auto wire = FromWire<v1::SignedKeyRing>(signed_ring, kKeyRingBytesMax);
  LK_ASSERT(wire.has_value());
  pairing.ring = std::move(*ring);
  pairing.signed_ring = signed_ring;
  pairing.car_certificate = wire->certificate();
  car.told_removed = false;
  out.emplace_back(Learned{pairing.ref, is && !was, is});
  if (held_one && !restored) {
    out.emplace_back(std::move(change));
  }
  const auto listening = listening_.find(pairing.ref);
  if (is && connected_ && listening != listening_.end() && !listening->second.again.empty()) {
    listening->second.again_at.reset();
    Ask(std::exchange(listening->second.again, {}), out);
  }
}

void Phone::OnAnswer(const Publish& publish, Effects& out) {
  const std::optional<v1::PairingAnswer> answer =
      FromWire<v1::PairingAnswer>(publish.payload, kAnswerBytesMax);
  const std::optional<Topic> topic = ParseTopic(publish.topic);
  const auto car = cars_.find(RefOf(topic->fleet, topic->car));
  if (answer && answer->nonce().empty() && car != cars_.end()) {
    OnNotice(car->second, publish, out);
    return;
  }
  if (!claiming_ || publish.topic != PairingAnswerTopic(claiming_->offer.ref, id_)) {
    return;
  }
  const CarRef ref = claiming_->offer.ref;
  Result<Paired> paired =
      CheckAnswer(publish.payload, claiming_->offer, key_.Public(), claiming_->nonce, label_);
  if (!paired) {
    // Only the car's own no ends the claim; anything else may be anybody's noise on the lane.
    const bool said_no =
        answer && answer->nonce() == claiming_->nonce && answer->reason() != v1::REASON_UNSPECIFIED;
    if (said_no) {
      claiming_.reset();
      out.emplace_back(Failed{ref, std::move(paired.error()), 0, {}});
    } else {
      out.emplace_back(Ignored{publish.topic, std::move(paired.error())});
    }
    return;
  }
  Pairing pairing{ref,
                  claiming_->offer.host,
                  claiming_->offer.port,
                  claiming_->offer.cell,
                  paired->car_key,
                  paired->car_certificate,
                  std::move(paired->ring),
                  answer->key_ring().SerializeAsString()};
  claiming_.reset();
  cars_.insert_or_assign(ref, CarView{std::move(pairing), {}, {}, {}});
  out.emplace_back(Learned{ref, true, true});
  listening_.erase(ref);  // what was refused before is asked for anew
  Listen(ref, true, out);
}

// Somebody else changed this key's place on the ring. That it has one is proved by the car's
// signature. That it has none is not: this phone goes on asking the broker, and comes back by
// itself when the word was false.
void Phone::OnNotice(CarView& car, const Publish& publish, Effects& out) {
  Result<KeyNotice> notice = ReadKeyNotice(publish.payload);
  if (!notice) {
    out.emplace_back(Ignored{publish.topic, std::move(notice.error())});
    return;
  }
  if (notice->on_ring) {
    OnRing(car, publish.topic, notice->signed_ring, out);
    return;
  }
  if (!std::exchange(car.told_removed, true)) {
    out.emplace_back(Learned{car.pairing.ref, false, false});
  }
}

}  // namespace latchkey::tools
