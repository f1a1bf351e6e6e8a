// Who holds a key by what happens in the car: pairing at the head unit and the factory reset; and
// telling keys what others made of them.
#include <algorithm>
#include <utility>

#include "proto/pairing.h"
#include "proto/reason.h"
#include "proto/topic.h"
#include "tools/car/car.h"

namespace latchkey::car {
namespace {

constexpr uint32_t kAnswerSeconds = 60;
constexpr uint32_t kNoticeSeconds = 3600;
constexpr Duration kTellAgainFirst{1000};
constexpr Duration kTellAgainLast{9000};
constexpr size_t kTellAgainMax = 2 * kRingKeysMax;

std::string_view RoleText(v1::Role role) {
  switch (role) {
    case v1::ROLE_OWNER:
      return "owner";
    case v1::ROLE_DRIVER:
      return "driver";
    case v1::ROLE_GUEST:
      return "guest";
    case v1::ROLE_FLEET:
      return "fleet";
    case v1::ROLE_UNSPECIFIED:
    case v1::Role_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::Role_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return "nobody";
}

}  // namespace

void Car::On(const ShowOffer& input, Effects& out) {
  LK_ASSERT(input.secret.size() == kPairingSecretBytes);
  if (desk_.waiting() != nullptr) {
    const Claim claim = *desk_.waiting();
    AnswerClaim(claim, MakeRefusal(claim.nonce, v1::REASON_NO_OFFER), out);
  }
  PairingOffer offer{options_.host, options_.phone_port, options_.cell, options_.ref, input.secret};
  out.push_back(OfferShown{ToQrText(offer)});
  desk_.Show(std::move(offer), input.role, time_);
}

void Car::TakeClaim(const Publish& message, const KeyId& lane, Effects& out) {
  using Kind = PairingDesk::Answer::Kind;
  const PairingDesk::Answer answer = desk_.Take(message.payload, lane, time_);
  const std::string topic = PairingAnswerTopic(options_.ref, lane);
  if (answer.reason != v1::REASON_UNSPECIFIED) {
    ++counters_.refused[answer.reason];
    out.push_back(Note{"pairing refused key=" + lane.str() +
                       " reason=" + std::string(FactsOf(answer.reason).word) + ": " + answer.why});
  }
  if (answer.kind == Kind::kAsk) {
    const Claim* claim = desk_.waiting();
    LK_ASSERT(claim != nullptr);
    out.push_back(AskPerson{lane, claim->label, desk_.role(), memory_.ring.Find(lane) != nullptr});
  } else if (answer.kind == Kind::kRepeat) {
    out.push_back(Send{{topic, answer.bytes, 1, Retain::kNo, kAnswerSeconds}});
  } else if (answer.kind == Kind::kRefuse) {
    out.push_back(
        Send{{topic, MakeRefusal(answer.nonce, answer.reason), 1, Retain::kNo, kAnswerSeconds}});
  }
  if (answer.offer_over) {
    out.push_back(
        OfferOver{"three wrong proofs: the code on the screen is burnt and nobody was let "
                  "in; if that was your phone, show a new code and scan it again"});
  }
}

void Car::On(const Confirm& input, Effects& out) {
  const Claim* waiting = desk_.waiting();
  if (waiting == nullptr) {
    return;
  }
  const Claim claim = *waiting;
  if (input.word == Confirm::Word::kYes && time_ < *desk_.ends_at()) {
    Admit(claim, out);
    return;
  }
  const bool no = input.word == Confirm::Word::kNo;
  const Reason reason = no ? v1::REASON_DECLINED : v1::REASON_NO_OFFER;
  ++counters_.refused[reason];
  AnswerClaim(claim, MakeRefusal(claim.nonce, reason), out);
  out.push_back(
      OfferOver{no ? "the person in the car said no; show a new code to pair after all"
                   : "nobody answered within five minutes, so the phone was refused; show "
                     "a new code and answer sooner"});
}

void Car::Admit(const Claim& claim, Effects& out) {
  const KeyId id = claim.key.Id();
  const bool known = memory_.ring.Find(id) != nullptr;
  if (!known && memory_.ring.keys.size() >= kRingKeysMax) {
    ++counters_.refused[v1::REASON_FULL];
    AnswerClaim(claim, MakeRefusal(claim.nonce, v1::REASON_FULL), out);
    out.push_back(OfferOver{"the ring is full with " + std::to_string(kRingKeysMax) +
                            " keys: remove one, then show a new code"});
    return;
  }
  const v1::Role role = desk_.role();
  std::erase_if(memory_.ring.keys, [&id](const RingKey& key) { return key.id == id; });
  memory_.ring.keys.push_back(
      {id, claim.key.ToPoint(), role, PermissionsOf(role), {}, {}, claim.label, {}});
  memory_.ring.version += 1;
  memory_.ring.written_at = time_;
  memory_.to_tell.erase(id);
  Save(out);
  PublishRing(out);
  const std::string signed_ring = SealKeyRing(memory_.ring, key_, options_.certificate_der);
  AnswerClaim(claim, MakeAnswer(*desk_.offer(), claim, signed_ring), out);
  out.push_back(Note{"paired key=" + id.str() + " role=" + std::string(RoleText(role))});
  out.push_back(OfferOver{"a phone is paired"});
}

// The secret is used by any answer to the phone that waits.
void Car::AnswerClaim(const Claim& claim, std::string answer, Effects& out) {
  out.push_back(Send{
      {PairingAnswerTopic(options_.ref, claim.key.Id()), answer, 1, Retain::kNo, kAnswerSeconds}});
  desk_.Answered(std::move(answer));
}

void Car::EndOffer(std::string why, Effects& out) {
  desk_.Withdraw();
  out.push_back(OfferOver{std::move(why)});
}

void Car::On(const FactoryReset& /*input*/, Effects& out) {
  if (desk_.waiting() != nullptr) {
    const Claim claim = *desk_.waiting();
    ++counters_.refused[v1::REASON_DECLINED];
    AnswerClaim(claim, MakeRefusal(claim.nonce, v1::REASON_DECLINED), out);
    out.push_back(OfferOver{"the car is reset"});
  } else if (desk_.offer() != nullptr) {
    EndOffer("the car is reset", out);
  }
  const size_t keys = memory_.ring.keys.size();
  ResetMemory(memory_, time_);
  ReadSchedules();
  board_.SetApps({}, time_);
  Save(out);
  out.push_back(Note{"factory reset: " + std::to_string(keys) +
                     " keys and all settings are gone, ring version " +
                     std::to_string(memory_.ring.version) + "; show a code to pair an owner"});
  PublishRingAndTell(out);
}

// Who lost its place is told before the ring is out, for the broker ends its connections when it
// reads the ring; who got one after it, so that the broker lets it act on the notice. What is told
// once more after a crash changes nothing.
void Car::PublishRingAndTell(Effects& out) {
  if (!subscribed_) {
    return;
  }
  const std::set<KeyId> keys = std::exchange(memory_.to_tell, {});
  const auto tell = [this, &out](const KeyId& key, std::string notice) {
    out.push_back(Send{{PairingAnswerTopic(options_.ref, key), std::move(notice), 1, Retain::kNo,
                        kNoticeSeconds}});
  };
  for (const KeyId& key : keys) {
    if (memory_.ring.Find(key) == nullptr) {
      tell(key, MakeRemovalNotice());
      if (tell_again_.size() < kTellAgainMax) {
        tell_again_.insert(key);
      }
      told_again_ = 0;
      tell_again_at_ = now_.mono + kTellAgainFirst;
    }
  }
  PublishRing(out);
  for (const KeyId& key : keys) {
    if (memory_.ring.Find(key) != nullptr) {
      tell(key, MakeKeyNotice(SealKeyRing(memory_.ring, key_, options_.certificate_der)));
    }
  }
}

// A phone that was cut off before the first notice reached it (a block goes ahead of the car's own
// word) is back by now and hears it on its own lane.
void Car::TellAgain(Effects& out) {
  if (!tell_again_at_ || now_.mono < *tell_again_at_) {
    return;
  }
  const bool last = ++told_again_ > 1;
  tell_again_at_ = last ? std::nullopt : std::optional(now_.mono + kTellAgainLast);
  const std::set<KeyId> keys = last ? std::exchange(tell_again_, {}) : tell_again_;
  for (const KeyId& key : keys) {
    if (subscribed_ && memory_.ring.Find(key) == nullptr) {
      out.push_back(Send{{PairingAnswerTopic(options_.ref, key), MakeRemovalNotice(), 1,
                          Retain::kNo, kNoticeSeconds}});
    }
  }
}

}  // namespace latchkey::car
