// The states of a car in a round: waits for its turn, listens for its ring, ready to send when the
// rate allows, sent, over.
#include "tools/latchkey/key_round.h"

#include <algorithm>
#include <utility>

#include "latchkey/v1/keyring.pb.h"
#include "proto/command.h"
#include "proto/reason.h"
#include "proto/topic.h"
#include "proto/wire.h"

namespace latchkey::cli {

namespace {

constexpr int kFirstRefusal = 0x80;
constexpr int kRefusalsMax = 3;
constexpr size_t kIdRandomBytes = 10;
constexpr Duration kPace = std::chrono::milliseconds(100);
constexpr Duration kGiveLifetime = std::chrono::hours(24);

CarRef RefOf(const Topic& topic) {
  return {FleetId::Parse(topic.fleet).value_or(FleetId()),
          CarId::Parse(topic.car).value_or(CarId())};
}

}  // namespace

std::string_view ToText(KeyRound::End end) {
  switch (end) {
    case KeyRound::End::kDone:
      return "done";
    case KeyRound::End::kHad:
      return "had";
    case KeyRound::End::kHeld:
      return "held";
    case KeyRound::End::kRefused:
      return "refused";
    case KeyRound::End::kSilent:
      return "silent";
  }
  return "";
}

KeyRound::KeyRound(Order order, PrivateKey key, const RoundLimits& limits)
    : order_(std::move(order)),
      key_(std::move(key)),
      id_(key_.Public().Id()),
      limits_(limits),
      tokens_(static_cast<double>(limits.burst)) {
  for (const CarRef& ref : order_.cars) {
    if (cars_.try_emplace(ref).second) {
      waiting_.push_back(ref);
    }
  }
}

void KeyRound::Connected(const Now& now, Effects& out) {
  connected_ = true;
  asked_.clear();
  for (const auto& [ref, car] : cars_) {
    if (car.phase == Phase::kListens || car.phase == Phase::kReady || car.phase == Phase::kSent) {
      Listen(ref, out);
    }
  }
  Begin(now, out);
}

void KeyRound::Disconnected() {
  connected_ = false;
  asked_.clear();
}

void KeyRound::Begin(const Now& now, Effects& out) {
  while (connected_ && in_flight_ < limits_.in_flight_max && !waiting_.empty()) {
    const CarRef ref = waiting_.front();
    waiting_.pop_front();
    Car& car = cars_.at(ref);
    car.phase = Phase::kListens;
    car.started = now.mono;
    car.until = now.mono + limits_.patience;
    car.next = car.until;
    ++in_flight_;
    Listen(ref, out);
  }
}

// The lane of receipts first: a receipt that nobody hears is lost.
void KeyRound::Listen(const CarRef& ref, Effects& out) {
  asked_.push_back(ref);
  out.emplace_back(Subscribe{{ReceiptTopic(ref, id_), KeyRingTopic(ref)}});
}

void KeyRound::Subscribed(const std::vector<int>& reason_codes, const Now& now, Effects& out) {
  if (asked_.empty()) {
    return;
  }
  const auto car = cars_.find(asked_.front());
  asked_.pop_front();
  if (car == cars_.end() || car->second.phase == Phase::kOver) {
    return;
  }
  const bool refused =
      reason_codes.empty() || std::any_of(reason_codes.begin(), reason_codes.end(),
                                          [](int code) { return code >= kFirstRefusal; });
  if (refused) {
    Finish(*car, End::kRefused,
           {v1::REASON_NOT_ON_RING,
            "the broker does not let the fleet's key near it: the key is not on its ring, or "
            "blocked; it comes with cars added after `latchkey fleet key`, to others an owner "
            "shares it"},
           now, out);
  } else if (car->second.phase == Phase::kListens) {
    car->second.next = now.mono + limits_.ring_patience;
  } else if (car->second.phase == Phase::kSent) {
    Send(*car, now, out);  // the connection is another; the same bytes again
  }
}

void KeyRound::Published(const std::string& topic, int reason_code, const Now& now, Effects& out) {
  const std::optional<Topic> parsed = ParseTopic(topic);
  if (!parsed || reason_code < kFirstRefusal) {
    return;
  }
  const auto car = cars_.find(RefOf(*parsed));
  if (car == cars_.end() || car->second.phase != Phase::kSent || car->second.delivered) {
    return;
  }
  // A refusal may be the broker's rate, which it tells with the same code: it is tried again.
  if (++car->second.refusals >= kRefusalsMax) {
    Finish(*car, End::kRefused,
           {v1::REASON_NOT_ALLOWED,
            "the broker refuses the command: the fleet's key may not keep "
            "keys there, or it has sent too much"},
           now, out);
  }
}

void KeyRound::Arrived(const Publish& publish, const Now& now, Effects& out) {
  const std::optional<Topic> topic = ParseTopic(publish.topic);
  const auto car = topic ? cars_.find(RefOf(*topic)) : cars_.end();
  if (car == cars_.end()) {
    return;
  }
  if (topic->kind == TopicKind::kKeyRing && car->second.phase == Phase::kListens) {
    OnRing(*car, publish, now, out);
  } else if (topic->kind == TopicKind::kReceipt && car->second.phase == Phase::kSent) {
    OnReceipt(*car, publish, now, out);
  }
}

bool KeyRound::StandsAsWished(const KeyRing& ring) const {
  const RingKey* held = ring.Find(order_.subject.id);
  return order_.deed == Deed::kTake ? held == nullptr : held != nullptr && *held == order_.subject;
}

void KeyRound::OnRing(Cars::value_type& car, const Publish& publish, const Now& now, Effects& out) {
  const Result<KeyRing> ring = OpenKeyRing(publish.payload, order_.fleet_ca_der, std::nullopt);
  const auto wire = FromWire<v1::SignedKeyRing>(publish.payload, kKeyRingBytesMax);
  const Result<Certificate> certificate =
      Certificate::FromDer(wire ? wire->certificate() : std::string());
  if (!ring || ring->ref != car.first || !certificate) {
    Finish(car, End::kRefused,
           ring ? Error{v1::REASON_WRONG_CAR, "the broker shows another car's ring in its place"}
                : ring.error(),
           now, out);
    return;
  }
  car.second.key = certificate->public_key;
  if (StandsAsWished(*ring)) {
    Finish(car, End::kHad, {}, now, out);
    return;
  }
  CommandRequest request;
  request.ref = car.first;
  request.id = CommandId::Make(now.wall.ms, RandomBytes(kIdRandomBytes));
  request.issued_at = now.wall;
  if (order_.deed == Deed::kGive) {
    request.expires_at = now.wall + kGiveLifetime;
    *request.action.mutable_add_key()->mutable_key() = KeyToWire(order_.subject);
  } else {
    request.action.mutable_remove_key()->set_key_id(order_.subject.id.str());
  }
  Result<std::string> sealed = SealCommand(request, key_);
  if (!sealed) {
    Finish(car, End::kRefused, std::move(sealed.error()), now, out);
    return;
  }
  car.second.id = request.id;
  car.second.expires_at = request.expires_at;
  car.second.wire = std::move(*sealed);
  Send(car, now, out);
}

// Tokens fill at the rate and hold the burst.
bool KeyRound::TakeTurn(const Now& now) {
  if (filled_at_) {
    const double seconds = static_cast<double>((now.mono - *filled_at_).count()) / 1000.0;
    tokens_ = std::min(static_cast<double>(limits_.burst),
                       tokens_ + seconds * static_cast<double>(limits_.per_second));
  }
  filled_at_ = now.mono;
  if (tokens_ < 1) {
    return false;
  }
  tokens_ -= 1;
  return true;
}

void KeyRound::Send(Cars::value_type& car, const Now& now, Effects& out) {
  if (!connected_ || !TakeTurn(now)) {
    car.second.phase = car.second.phase == Phase::kSent ? Phase::kSent : Phase::kReady;
    car.second.next = now.mono + kPace;
    // Waiting for its turn is not the car's silence.
    car.second.until = std::max(car.second.until, now.mono + limits_.resend);
    return;
  }
  if (car.second.phase != Phase::kSent) {
    car.second.phase = Phase::kSent;
    car.second.until = now.mono + limits_.patience;
  }
  car.second.next = now.mono + limits_.resend;
  const uint32_t expiry_s =
      car.second.expires_at
          ? static_cast<uint32_t>((*car.second.expires_at - now.wall).count() / 1000 + 1)
          : 0;
  out.emplace_back(
      Publish{CommandTopic(car.first, id_), car.second.wire, 1, Retain::kNo, expiry_s});
}

void KeyRound::OnReceipt(Cars::value_type& car, const Publish& publish, const Now& now,
                         Effects& out) {
  const Result<Outcome> outcome = OpenReceipt(publish.payload, car.first, car.second.key);
  if (!outcome || outcome->command_id != car.second.id) {
    return;
  }
  switch (outcome->state) {
    case v1::RECEIPT_STATE_HELD:
      Finish(car, End::kHeld, {}, now, out);
      break;
    case v1::RECEIPT_STATE_DELIVERED:
      car.second.delivered = true;
      break;
    case v1::RECEIPT_STATE_DONE:
      Finish(car, End::kDone, {}, now, out);
      break;
    case v1::RECEIPT_STATE_FAILED:
    case v1::RECEIPT_STATE_REFUSED:
    case v1::RECEIPT_STATE_EXPIRED:
    case v1::RECEIPT_STATE_SUPERSEDED:
    case v1::RECEIPT_STATE_CANCELLED:
      Finish(car, End::kRefused, {outcome->reason, outcome->text}, now, out);
      break;
    case v1::RECEIPT_STATE_UNSPECIFIED:
    case v1::ReceiptState_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::ReceiptState_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
}

void KeyRound::Finish(Cars::value_type& car, End end, Error error, const Now& now, Effects& out) {
  car.second.phase = Phase::kOver;
  car.second.wire.clear();
  --in_flight_;
  ++over_;
  out.emplace_back(
      Word{car.first, end, std::move(error), now.mono - car.second.started, car.second.key});
  Begin(now, out);
}

void KeyRound::Tick(const Now& now, Effects& out) {
  std::vector<CarRef> due;
  for (const auto& [ref, car] : cars_) {
    const bool flies = car.phase != Phase::kWaits && car.phase != Phase::kOver;
    if (flies && (now.mono >= car.next || now.mono >= car.until)) {
      due.push_back(ref);
    }
  }
  for (const CarRef& ref : due) {
    Cars::value_type& car = *cars_.find(ref);
    const bool late = now.mono >= car.second.until;
    if (car.second.phase == Phase::kListens) {
      Finish(car, End::kSilent,
             {v1::REASON_NOT_ON_RING,
              "the broker has no ring of this car: it has never been online, or the broker has "
              "lost it and the car is away; nothing was sent"},
             now, out);
    } else if (late) {
      Finish(car, End::kSilent,
             {v1::REASON_EXPIRED,
              car.second.delivered
                  ? "the car took the command and did not say how it ended: run this again"
                  : "nobody answered: car away and bridge down? Run this again"},
             now, out);
    } else {
      Send(car, now, out);
    }
  }
}

std::optional<Instant> KeyRound::NextDeadline() const {
  std::optional<Instant> next;
  for (const auto& [ref, car] : cars_) {
    if (car.phase != Phase::kWaits && car.phase != Phase::kOver) {
      const Instant at = std::min(car.next, car.until);
      next = next ? std::min(*next, at) : at;
    }
  }
  return next;
}

}  // namespace latchkey::cli
