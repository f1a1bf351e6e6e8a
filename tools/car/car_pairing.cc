// Who holds a key by what happens in the car: pairing at the head unit and the factory reset; and
// telling keys what others made of them.
#include <algorithm>
#include <utility>

#include "proto/pairing.h"
#include "proto/reason.h"
#include "proto/topic.h"
#include "proto/wire.h"
#include "tools/car/car.h"

namespace latchkey::car {
namespace {

constexpr size_t kClaimBytesMax = 1024;
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
  if (const Claim* waiting = desk_.waiting()) {
    AnswerClaim(desk_, MakeRefusal(waiting->nonce, v1::REASON_NO_OFFER), out);
  }
  PairingOffer offer{options_.host, options_.phone_port, options_.cell, options_.ref, input.secret};
  out.push_back(OfferShown{ToQrText(offer)});
  desk_.Show(std::move(offer), input.role, time_);
}

// One phone at a time waits for the person, at either desk.
void Car::TakeClaim(const Publish& message, const KeyId& lane, Effects& out) {
  if (desk_.waiting() == nullptr && invitation_.Means(message.payload, lane)) {
    TakeInvited(message, lane, out);
    return;
  }
  const Claim* invited = invitation_.waiting();
  if (invited != nullptr && desk_.Means(message.payload, lane)) {
    const auto claim = FromWire<v1::PairingClaim>(message.payload, kClaimBytesMax);
    LK_ASSERT(claim);
    ++counters_.refused[v1::REASON_NO_OFFER];
    out.push_back(Note{"pairing refused key=" + lane.str() +
                       ": a phone with an invitation waits for your yes or no; answer it first"});
    out.push_back(
        Send{{PairingAnswerTopic(options_.ref, lane),
              MakeRefusal(claim->nonce(), v1::REASON_NO_OFFER), 1, Retain::kNo, kAnswerSeconds}});
    return;
  }
  const PairingDesk::Answer answer = desk_.Take(message.payload, lane, time_);
  SayAnswer(desk_, answer, lane, out);
  if (answer.offer_over) {
    out.push_back(
        OfferOver{"three wrong proofs: the code on the screen is burnt and nobody was let "
                  "in; if that was your phone, show a new code and scan it again"});
  }
}

// A wrong proof is in lasting memory before anybody hears of it: who starts the car anew gets no
// more tries.
void Car::TakeInvited(const Publish& message, const KeyId& lane, Effects& out) {
  const int tries = invitation_.tries();
  const PairingDesk::Answer answer = invitation_.Take(message.payload, lane, time_);
  if (memory_.invitation && invitation_.tries() != tries) {
    memory_.invitation->tries = invitation_.tries();
    if (answer.offer_over) {
      memory_.invitation.reset();
    }
    Save(out);
  }
  SayAnswer(invitation_, answer, lane, out);
  if (answer.kind == PairingDesk::Answer::Kind::kAsk) {
    invited_by_ = time_ + kOfferLifetime;
  }
  if (answer.offer_over) {
    out.push_back(
        Note{"three wrong proofs: the invitation is burnt and nobody was let in; show a "
             "code on the screen to pair"});
  }
}

void Car::SayAnswer(const PairingDesk& desk, const PairingDesk::Answer& answer, const KeyId& lane,
                    Effects& out) {
  using Kind = PairingDesk::Answer::Kind;
  const std::string topic = PairingAnswerTopic(options_.ref, lane);
  if (answer.reason != v1::REASON_UNSPECIFIED) {
    ++counters_.refused[answer.reason];
    out.push_back(Note{"pairing refused key=" + lane.str() +
                       " reason=" + std::string(FactsOf(answer.reason).word) + ": " + answer.why});
  }
  if (answer.kind == Kind::kAsk) {
    const Claim* claim = desk.waiting();
    LK_ASSERT(claim != nullptr);
    out.push_back(AskPerson{lane, claim->label, desk.role(), memory_.ring.Find(lane) != nullptr,
                            &desk == &invitation_});
  } else if (answer.kind == Kind::kRepeat) {
    out.push_back(Send{{topic, answer.bytes, 1, Retain::kNo, kAnswerSeconds}});
  } else if (answer.kind == Kind::kRefuse) {
    out.push_back(
        Send{{topic, MakeRefusal(answer.nonce, answer.reason), 1, Retain::kNo, kAnswerSeconds}});
  }
}

void Car::On(const Confirm& input, Effects& out) {
  if (invitation_.waiting() != nullptr) {
    ConfirmInvited(input.word, out);
    return;
  }
  const Claim* waiting = desk_.waiting();
  if (waiting == nullptr) {
    return;
  }
  if (input.word == Confirm::Word::kYes && time_ < *desk_.ends_at()) {
    Admit(desk_, out);
    return;
  }
  const bool no = input.word == Confirm::Word::kNo;
  const Reason reason = no ? v1::REASON_DECLINED : v1::REASON_NO_OFFER;
  ++counters_.refused[reason];
  AnswerClaim(desk_, MakeRefusal(waiting->nonce, reason), out);
  out.push_back(
      OfferOver{no ? "the person in the car said no; show a new code to pair after all"
                   : "nobody answered within five minutes, so the phone was refused; show "
                     "a new code and answer sooner"});
}

// Yes and no use the invitation up; when nobody answers, nobody was there, and it stays.
void Car::ConfirmInvited(Confirm::Word word, Effects& out) {
  const std::string nonce = invitation_.waiting()->nonce;
  const bool late = time_ >= invited_by_ || time_ >= *invitation_.ends_at();
  if (word == Confirm::Word::kYes && !late) {
    Admit(invitation_, out);
    return;
  }
  const Reason reason = word == Confirm::Word::kNo ? v1::REASON_DECLINED : v1::REASON_NO_OFFER;
  ++counters_.refused[reason];
  if (word == Confirm::Word::kNo) {
    memory_.invitation.reset();
    Save(out);
  }
  AnswerClaim(invitation_, MakeRefusal(nonce, reason), out);
  StandInvitation();
  out.push_back(Note{word == Confirm::Word::kNo
                         ? "the person in the car said no; the invitation is used up"
                         : "nobody in the car answered within five minutes, so the invited phone "
                           "was refused; it may try again"});
}

// The desk as memory says; what it has answered it remembers.
void Car::StandInvitation() {
  if (!memory_.invitation) {
    invitation_.Withdraw();
    return;
  }
  const Invitation& invitation = *memory_.invitation;
  invitation_.Stand(invitation.offer, invitation.role, invitation.ends_at, invitation.tries);
}

void Car::EndInvitation(std::string why, Effects& out) {
  memory_.invitation.reset();
  Save(out);
  StandInvitation();
  out.push_back(Note{std::move(why)});
}

void Car::TickInvitation(Effects& out) {
  if (invitation_.waiting() != nullptr &&
      (time_ >= invited_by_ || time_ >= *invitation_.ends_at())) {
    ConfirmInvited(Confirm::Word::kYes, out);  // too late: refused with REASON_NO_OFFER
  }
  if (memory_.invitation && time_ >= memory_.invitation->ends_at) {
    EndInvitation("the invitation is over: nobody used it in its time", out);
  }
}

void Car::Admit(PairingDesk& desk, Effects& out) {
  const Claim claim = *desk.waiting();
  const bool invited = &desk == &invitation_;
  const KeyId id = claim.key.Id();
  const bool known = memory_.ring.Find(id) != nullptr;
  if (!known && memory_.ring.keys.size() >= kRingKeysMax) {
    ++counters_.refused[v1::REASON_FULL];
    AnswerClaim(desk, MakeRefusal(claim.nonce, v1::REASON_FULL), out);
    const std::string why =
        "the ring is full with " + std::to_string(kRingKeysMax) + " keys: remove one, ";
    if (invited) {
      StandInvitation();
      out.push_back(Note{why + "then use the invitation again"});
    } else {
      out.push_back(OfferOver{why + "then show a new code"});
    }
    return;
  }
  const v1::Role role = desk.role();
  std::erase_if(memory_.ring.keys, [&id](const RingKey& key) { return key.id == id; });
  memory_.ring.keys.push_back(
      {id, claim.key.ToPoint(), role, PermissionsOf(role), {}, {}, claim.label, {}});
  memory_.ring.version += 1;
  memory_.ring.written_at = time_;
  memory_.to_tell.erase(id);
  if (invited) {
    memory_.invitation.reset();
  }
  Save(out);
  PublishRing(out);
  const std::string signed_ring = SealKeyRing(memory_.ring, key_, options_.certificate_der);
  AnswerClaim(desk, MakeAnswer(*desk.offer(), claim, signed_ring), out);
  out.push_back(Note{"paired key=" + id.str() + " role=" + std::string(RoleText(role)) +
                     (invited ? " by its invitation, which is used up" : "")});
  if (!invited) {
    out.push_back(OfferOver{"a phone is paired"});
  }
}

// The secret is used by any answer to the phone that waits.
void Car::AnswerClaim(PairingDesk& desk, std::string answer, Effects& out) {
  out.push_back(Send{{PairingAnswerTopic(options_.ref, desk.waiting()->key.Id()), answer, 1,
                      Retain::kNo, kAnswerSeconds}});
  desk.Answered(std::move(answer));
}

void Car::EndOffer(std::string why, Effects& out) {
  desk_.Withdraw();
  out.push_back(OfferOver{std::move(why)});
}

void Car::On(const FactoryReset& /*input*/, Effects& out) {
  if (const Claim* invited = invitation_.waiting()) {
    ++counters_.refused[v1::REASON_DECLINED];
    AnswerClaim(invitation_, MakeRefusal(invited->nonce, v1::REASON_DECLINED), out);
  }
  if (const Claim* waiting = desk_.waiting()) {
    ++counters_.refused[v1::REASON_DECLINED];
    AnswerClaim(desk_, MakeRefusal(waiting->nonce, v1::REASON_DECLINED), out);
    out.push_back(OfferOver{"the car is reset"});
  } else if (desk_.offer() != nullptr) {
    EndOffer("the car is reset", out);
  }
  const size_t keys = memory_.ring.keys.size();
  ResetMemory(memory_, time_);
  StandInvitation();
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
