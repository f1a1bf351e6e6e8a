// The rates of latchkey_guard, asked in their order.
#include "plugins/guard/limits.h"

#include <string>

namespace latchkey::guard {

namespace {

constexpr size_t kSendersMax = 200'000;
constexpr size_t kClaimersMax = 50'000;

bool IsService(std::string_view name) {
  constexpr std::string_view kBridge = "bridge:";
  constexpr std::string_view kRegistrar = "registrar:";
  return name.substr(0, kBridge.size()) == kBridge || IsPeer(name) ||
         name.substr(0, kRegistrar.size()) == kRegistrar;
}

// "{fleet}/{car}" inside the topic's own text.
std::string_view CarOf(const Topic& topic) {
  return {topic.fleet.data(), topic.fleet.size() + 1 + topic.car.size()};
}

}  // namespace

bool IsPeer(std::string_view name) {
  constexpr std::string_view kPeer = "peer:";
  return name.substr(0, kPeer.size()) == kPeer;
}

Limits::Limits(const Rates& rates)
    : message_(rates.message, kSendersMax),
      command_(rates.command, kSendersMax),
      claim_key_(rates.claim_key, kClaimersMax),
      claim_address_(rates.claim_address, kClaimersMax),
      claim_car_(rates.claim_car, kClaimersMax) {}

std::string_view Limits::Take(std::string_view sender, Instant now) {
  if (IsService(sender) || message_.Take(sender, now)) {
    return {};
  }
  return "rate_message";
}

std::string_view Limits::TakeFor(const Topic& topic, const Sender& sender, Instant now) {
  if (topic.kind == TopicKind::kPairingClaim && !IsPeer(sender.name)) {
    return TakeClaim(topic, sender.address, now);
  }
  // On a lane of its own: what a bridge delivers there is not the key's sending.
  if (topic.kind == TopicKind::kCommand && sender.name == topic.lane &&
      !command_.Take(topic.lane, now)) {
    return "rate_command";
  }
  return {};
}

std::string_view Limits::TakeClaim(const Topic& topic, std::string_view address, Instant now) {
  const std::string place = RateName(address);
  if (!claim_key_.Has(topic.lane, now)) {
    return "rate_claim_key";
  }
  if (!claim_address_.Has(place, now)) {
    return "rate_claim_address";
  }
  if (!claim_car_.Take(CarOf(topic), now)) {
    return "rate_claim_car";
  }
  claim_key_.Take(topic.lane, now);
  claim_address_.Take(place, now);
  return {};
}

}  // namespace latchkey::guard
