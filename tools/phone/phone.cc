// The reference phone's rules. A PUBACK tells it nothing except a refusal; only receipts count, and
// only the car's signature makes DELIVERED, DONE and FAILED.
#include "tools/phone/phone.h"

#include <algorithm>
#include <utility>

#include "proto/reason.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "proto/wire.h"

namespace latchkey::tools {

namespace {

constexpr int kFirstRefusal = 0x80;
constexpr int kQuotaExceeded = 0x97;
constexpr Duration kShortLife = std::chrono::seconds(30);
constexpr size_t kAnswerBytesMax = 32768;
constexpr size_t kPresenceBytesMax = 256;

Instant Soonest(std::optional<Instant> a, Instant b) {
  return a ? std::min(*a, b) : b;
}

// Seconds until `expires_at`, rounded up: MQTT's own expiry must not come before the command's.
uint32_t ExpirySeconds(std::optional<Timestamp> expires_at, Timestamp now) {
  if (!expires_at || *expires_at <= now) {
    return 0;
  }
  return static_cast<uint32_t>(((*expires_at - now).count() + 999) / 1000);
}

// The broker's own restart makes what an earlier run said stale.
bool Newer(const v1::Presence& a, const v1::Presence& b) {
  return std::pair(a.broker_started_at_ms(), a.since_ms()) >=
         std::pair(b.broker_started_at_ms(), b.since_ms());
}

Phone::Receipt OwnWord(const CarRef& ref, const CommandId& id, v1::ReceiptState state,
                       Reason reason, const Now& now) {
  Phone::Receipt receipt;
  receipt.outcome = MakeOutcome(ref, id, state, reason, now.wall, v1::RECEIPT_SOURCE_UNSPECIFIED);
  receipt.final = true;
  return receipt;
}

}  // namespace

Phone::Phone(PrivateKey key, std::string label, std::vector<Pairing> pairings,
             const PhoneLimits& limits)
    : key_(std::move(key)), id_(key_.Public().Id()), label_(std::move(label)), limits_(limits) {
  LK_ASSERT(label_.size() <= kLabelBytesMax);
  for (Pairing& pairing : pairings) {
    const CarRef ref = pairing.ref;
    cars_.insert_or_assign(ref, CarView{std::move(pairing), {}, {}});
  }
}

void Phone::Step(const Input& input, const Now& now, Effects& out) {
  std::visit([&](const auto& event) { On(event, now, out); }, input);
}

std::optional<Instant> Phone::NextDeadline() const {
  std::optional<Instant> next;
  for (const auto& [id, open] : open_) {
    next = Soonest(next, open.next);
  }
  if (claiming_) {
    next = Soonest(next, claiming_->subscribed ? std::min(claiming_->next, claiming_->until)
                                               : claiming_->until);
  }
  return next;
}

const CarView* Phone::Find(const CarRef& ref) const {
  const auto found = cars_.find(ref);
  return found == cars_.end() ? nullptr : &found->second;
}

std::optional<Duration> Phone::DefaultLifetime(const ActionFacts& action) {
  if (action.lifetime_max.count() == 0) {
    return std::nullopt;
  }
  const bool brief = action.command_class == v1::COMMAND_CLASS_OPEN ||
                     action.command_class == v1::COMMAND_CLASS_SIGNAL;
  return brief ? std::min(action.lifetime_max, kShortLife) : action.lifetime_max;
}

void Phone::On(const Connected& /*input*/, const Now& /*now*/, Effects& out) {
  connected_ = true;
  asked_.clear();
  unanswered_.clear();
  for (const auto& [ref, car] : cars_) {
    SubscribeCar(ref, out);
  }
  if (claiming_) {
    claiming_->subscribed = false;
    Ask({PairingAnswerTopic(claiming_->offer.ref, id_)}, out);
  }
}

void Phone::On(const Disconnected& /*input*/, const Now& /*now*/, Effects& /*out*/) {
  connected_ = false;
  asked_.clear();
  unanswered_.clear();
  if (claiming_) {
    claiming_->subscribed = false;
  }
}

// Answers come in the order of the questions. What waited for its receipt lane goes out when the
// lane is there: a receipt that nobody hears is lost.
void Phone::On(const Subscribed& input, const Now& now, Effects& out) {
  if (asked_.empty()) {
    return;
  }
  const std::vector<std::string> filters = std::move(asked_.front());
  asked_.pop_front();
  for (size_t i = 0; i < filters.size(); ++i) {
    const int code = i < input.reason_codes.size() ? input.reason_codes[i] : kFirstRefusal;
    const std::optional<Filter> filter = ParseFilter(filters[i]);
    if (!filter || !filter->fleet || !filter->car) {
      continue;
    }
    const CarRef ref{FleetId::Parse(*filter->fleet).value_or(FleetId()),
                     CarId::Parse(*filter->car).value_or(CarId())};
    if (code >= kFirstRefusal) {
      out.emplace_back(
          Failed{ref,
                 {v1::REASON_NOT_ALLOWED, "the broker does not let this phone listen to " +
                                              filters[i] + ": its key is not on the ring of car " +
                                              ref.ToText() + "; pair again"},
                 code,
                 filters[i]});
      continue;
    }
    if (claiming_ && filters[i] == PairingAnswerTopic(claiming_->offer.ref, id_)) {
      claiming_->subscribed = true;
      SendClaim(now, out);
    }
    if (filters[i] == ReceiptTopic(ref, id_)) {
      for (auto& [id, open] : open_) {
        if (open.ref == ref && !(open.expires_at && now.wall >= *open.expires_at)) {
          SendCommand(id, open, now, out);
        }
      }
    }
  }
}

void Phone::On(const Published& input, const Now& now, Effects& out) {
  const bool refused = input.reason_code >= kFirstRefusal && input.reason_code != kQuotaExceeded;
  if (claiming_ && refused && input.topic == PairingTopic(claiming_->offer.ref, id_)) {
    const CarRef ref = claiming_->offer.ref;
    claiming_.reset();
    out.emplace_back(Failed{
        ref,
        {v1::REASON_NOT_ALLOWED, "the broker refuses the claim to pair with car " + ref.ToText()},
        input.reason_code,
        {}});
    return;
  }
  const auto lane = unanswered_.find(input.topic);
  if (lane == unanswered_.end() || lane->second.empty()) {
    return;
  }
  const CommandId id = lane->second.front();
  lane->second.pop_front();
  const auto found = open_.find(id);
  // What has a receipt was not refused; a resend that the broker no longer takes changes nothing.
  if (!refused || found == open_.end() || found->second.last != v1::RECEIPT_STATE_UNSPECIFIED) {
    return;
  }
  const Open& open = found->second;
  const bool late = open.expires_at && now.wall >= *open.expires_at;
  Receipt receipt =
      OwnWord(open.ref, id, late ? v1::RECEIPT_STATE_EXPIRED : v1::RECEIPT_STATE_REFUSED,
              late ? v1::REASON_EXPIRED : v1::REASON_NOT_ALLOWED, now);
  receipt.outcome.may_have_acted = open.sends > 1;
  receipt.broker_reason = input.reason_code;
  receipt.elapsed = now.mono - open.started;
  Close(id, std::move(receipt), out);
}

void Phone::On(const Arrived& input, const Now& now, Effects& out) {
  const std::optional<Topic> topic = ParseTopic(input.publish.topic);
  if (!topic) {
    out.emplace_back(Ignored{input.publish.topic, {v1::REASON_UNKNOWN_TOPIC, "no such topic"}});
    return;
  }
  if (topic->kind == TopicKind::kPairingAnswer) {
    OnAnswer(input.publish, out);
    return;
  }
  const auto found = cars_.find(CarRef{FleetId::Parse(topic->fleet).value_or(FleetId()),
                                       CarId::Parse(topic->car).value_or(CarId())});
  if (found == cars_.end()) {
    return;
  }
  switch (topic->kind) {
    case TopicKind::kState:
      OnState(found->second, input.publish, topic->group, out);
      break;
    case TopicKind::kPresence:
      OnPresence(found->second, input.publish, out);
      break;
    case TopicKind::kKeyRing:
      OnRing(found->second, input.publish, out);
      break;
    case TopicKind::kReceipt:
      OnReceipt(found->second, input.publish, now, out);
      break;
    case TopicKind::kPairingClaim:
    case TopicKind::kPairingAnswer:
    case TopicKind::kCommand:
    case TopicKind::kCertificate:
    case TopicKind::kCertificateRequest:
      break;
  }
}

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

void Phone::On(const Send& input, const Now& now, Effects& out) {
  const auto fail = [&](Error error) {
    out.emplace_back(Failed{input.ref, std::move(error), 0, {}});
  };
  const ActionFacts* action = FindAction(static_cast<int>(input.action.action_case()));
  if (action == nullptr) {
    fail({v1::REASON_UNKNOWN_ACTION, "the command has no action"});
    return;
  }
  const CarView* car = Find(input.ref);
  if (car == nullptr) {
    fail({v1::REASON_NOT_ON_RING,
          "this phone is not paired with car " + input.ref.ToText() + ": pair first"});
    return;
  }
  if (open_.size() >= limits_.open_commands_max) {
    fail({v1::REASON_FULL, "too many commands wait for their receipts: wait for some to end"});
    return;
  }
  CommandRequest request;
  request.ref = input.ref;
  request.id = CommandId::Make(now.wall.ms, input.random);
  request.issued_at = now.wall;
  const std::optional<Duration> lifetime =
      input.lifetime ? input.lifetime : DefaultLifetime(*action);
  if (lifetime) {
    request.expires_at = now.wall + *lifetime;
  }
  request.action = input.action;
  Result<std::string> wire = SealCommand(request, key_);
  if (!wire) {
    fail(std::move(wire.error()));
    return;
  }
  Open open{input.ref, CommandTopic(input.ref, id_),    std::move(*wire),    request.expires_at,
            now.mono,  now.mono + limits_.resend_first, limits_.resend_first};
  out.emplace_back(Began{input.ref, request.id, request.expires_at});
  Open& kept = open_.insert_or_assign(request.id, std::move(open)).first->second;
  const bool waits_for_lane =
      std::any_of(asked_.begin(), asked_.end(), [&](const std::vector<std::string>& filters) {
        return std::find(filters.begin(), filters.end(), ReceiptTopic(input.ref, id_)) !=
               filters.end();
      });
  if (connected_ && !waits_for_lane) {
    SendCommand(request.id, kept, now, out);
  }
}

void Phone::On(const Tick& /*input*/, const Now& now, Effects& out) {
  if (claiming_ && now.mono >= claiming_->until) {
    const CarRef ref = claiming_->offer.ref;
    claiming_.reset();
    out.emplace_back(Failed{ref,
                            {v1::REASON_NO_OFFER, "car " + ref.ToText() +
                                                      " did not answer while its code was valid: "
                                                      "show a new code and scan it"},
                            0,
                            {}});
  } else if (claiming_ && claiming_->subscribed && now.mono >= claiming_->next) {
    SendClaim(now, out);
  }
  std::vector<CommandId> over;
  for (auto& [id, open] : open_) {
    if (now.mono < open.next) {
      continue;
    }
    if (!open.expires_at || now.wall < *open.expires_at) {
      SendCommand(id, open, now, out);
    } else if (now.wall >= *open.expires_at + limits_.last_word) {
      over.push_back(id);
    } else {
      open.next = now.mono + (*open.expires_at + limits_.last_word - now.wall);
    }
  }
  for (const CommandId& id : over) {
    const Open& open = open_.at(id);
    Receipt receipt = OwnWord(open.ref, id, v1::RECEIPT_STATE_EXPIRED, v1::REASON_EXPIRED, now);
    receipt.elapsed = now.mono - open.started;
    if (open.last == v1::RECEIPT_STATE_DELIVERED) {
      receipt.outcome.reason = v1::REASON_OUTCOME_UNKNOWN;
      receipt.outcome.may_have_acted = true;
      receipt.outcome.text = "The car took the command and did not say how it ended: look.";
    } else if (open.last == v1::RECEIPT_STATE_UNSPECIFIED && open.sends > 0) {
      receipt.outcome.may_have_acted = true;
      receipt.outcome.text =
          "Nobody answered before the command expired. It cannot act any more; whether it has "
          "acted is not known.";
    }
    Close(id, std::move(receipt), out);
  }
}

void Phone::Ask(std::vector<std::string> filters, Effects& out) {
  asked_.push_back(filters);
  out.emplace_back(Subscribe{std::move(filters)});
}

void Phone::SubscribeCar(const CarRef& ref, Effects& out) {
  const std::string base = "lk/1/" + ref.ToText() + "/";
  Ask({ReceiptTopic(ref, id_), KeyRingTopic(ref), PresenceTopic(ref), base + "state/+"}, out);
}

void Phone::SendClaim(const Now& now, Effects& out) {
  out.emplace_back(
      Publish{PairingTopic(claiming_->offer.ref, id_), claiming_->claim, 1, Retain::kNo, 0});
  claiming_->next = now.mono + claiming_->step;
  claiming_->step = std::min(claiming_->step * 2, limits_.claim_max);
}

void Phone::SendCommand(const CommandId& id, Open& open, const Now& now, Effects& out) {
  if (connected_) {
    out.emplace_back(
        Publish{open.topic, open.wire, 1, Retain::kNo, ExpirySeconds(open.expires_at, now.wall)});
    unanswered_[open.topic].push_back(id);
    ++open.sends;
  }
  open.next = now.mono + open.step;
  if (open.expires_at && *open.expires_at > now.wall) {
    open.next = std::min(open.next, now.mono + (*open.expires_at - now.wall));
  }
  const bool answered = open.last != v1::RECEIPT_STATE_UNSPECIFIED;
  open.step = std::min(open.step * 2, answered ? limits_.ask_again_max : limits_.resend_max);
}

void Phone::Close(const CommandId& id, Receipt receipt, Effects& out) {
  open_.erase(id);
  out.emplace_back(std::move(receipt));
}

void Phone::OnState(CarView& car, const Publish& publish, Group group, Effects& out) {
  Result<v1::StateGroup> state = ParseState(publish.payload, group);
  if (!state) {
    out.emplace_back(Ignored{publish.topic, std::move(state.error())});
    return;
  }
  std::optional<v1::StateGroup>& held = car.groups[static_cast<size_t>(group)];
  if (held && VersionOf(*state) <= VersionOf(*held)) {
    return;  // a repeat, or late
  }
  held = std::move(*state);
  out.emplace_back(StateChanged{car.pairing.ref, group, publish.retain == Retain::kYes});
}

void Phone::OnPresence(CarView& car, const Publish& publish, Effects& out) {
  std::optional<v1::Presence> presence = FromWire<v1::Presence>(publish.payload, kPresenceBytesMax);
  if (!presence || !TimeFromWire(presence->since_ms())) {
    out.emplace_back(Ignored{publish.topic, {v1::REASON_MALFORMED, "presence does not parse"}});
    return;
  }
  if (car.presence && !Newer(*presence, *car.presence)) {
    return;
  }
  car.presence = std::move(*presence);
  out.emplace_back(PresenceChanged{car.pairing.ref, publish.retain == Retain::kYes});
}

void Phone::OnRing(CarView& car, const Publish& publish, Effects& out) {
  Result<KeyRing> ring = OpenKeyRingOf(publish.payload, car.pairing.car_key);
  if (ring && ring->ref != car.pairing.ref) {
    ring = Fail(v1::REASON_WRONG_CAR, "the ring is another car's");
  }
  if (!ring) {
    out.emplace_back(Ignored{publish.topic, std::move(ring.error())});
    return;
  }
  if (ring->version <= car.pairing.ring.version) {
    return;  // never back
  }
  car.pairing.ring = std::move(*ring);
  car.pairing.signed_ring = publish.payload;
  out.emplace_back(Learned{car.pairing.ref, false, car.pairing.ring.Find(id_) != nullptr});
}

void Phone::OnReceipt(CarView& car, const Publish& publish, const Now& now, Effects& out) {
  Result<Outcome> outcome = OpenReceipt(publish.payload, car.pairing.ref, car.pairing.car_key);
  if (!outcome) {
    out.emplace_back(Ignored{publish.topic, std::move(outcome.error())});
    return;
  }
  const auto found = open_.find(outcome->command_id);
  if (found == open_.end()) {
    return;  // closed already, or of another program that uses this key
  }
  Open& open = found->second;
  Receipt receipt{std::move(*outcome), now.mono - open.started, 0, false};
  receipt.final = IsFinal(receipt.outcome.state);
  if (receipt.final) {
    const CommandId id = found->first;
    Close(id, std::move(receipt), out);
    return;
  }
  const bool repeat = open.last == receipt.outcome.state;
  const bool backwards = open.last == v1::RECEIPT_STATE_DELIVERED;  // HELD after DELIVERED
  if (repeat || backwards) {
    return;
  }
  open.last = receipt.outcome.state;
  open.step = limits_.ask_again_first;
  open.next = now.mono + open.step;
  if (open.expires_at && *open.expires_at > now.wall) {
    open.next = std::min(open.next, now.mono + (*open.expires_at - now.wall));
  }
  out.emplace_back(std::move(receipt));
}

void Phone::OnAnswer(const Publish& publish, Effects& out) {
  if (!claiming_ || publish.topic != PairingAnswerTopic(claiming_->offer.ref, id_)) {
    return;
  }
  const CarRef ref = claiming_->offer.ref;
  const std::optional<v1::PairingAnswer> answer =
      FromWire<v1::PairingAnswer>(publish.payload, kAnswerBytesMax);
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
  cars_.insert_or_assign(ref, CarView{std::move(pairing), {}, {}});
  out.emplace_back(Learned{ref, true, true});
  if (connected_) {
    SubscribeCar(ref, out);
  }
}

}  // namespace latchkey::tools
