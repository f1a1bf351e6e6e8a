// latchkey_guard.so: counts and logs what guard/check.h and guard/limits.h refuse.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/guard/check.h"
#include "plugins/guard/limits.h"
#include "plugins/guard/newest.h"
#include "plugins/mosquitto.h"
#include "plugins/refusals.h"
#include "proto/topic.h"

namespace latchkey::guard {

namespace {

constexpr Duration kTellEvery = std::chrono::seconds(10);

Result<Rates> ReadRates(const std::vector<broker::Option>& given) {
  Rates rates;
  const std::array<std::pair<std::string_view, Rate*>, 5> known = {
      {{"rate_message", &rates.message},
       {"rate_command", &rates.command},
       {"rate_claim_key", &rates.claim_key},
       {"rate_claim_address", &rates.claim_address},
       {"rate_claim_car", &rates.claim_car}}};
  for (const broker::Option& option : given) {
    const auto* const row = std::find_if(known.begin(), known.end(),
                                         [&](const auto& k) { return k.first == option.key; });
    if (row == known.end()) {
      return Fail(v1::REASON_MALFORMED, "plugin_opt_" + option.key +
                                            " is not an option of latchkey_guard; it has "
                                            "rate_message, rate_command, rate_claim_key, "
                                            "rate_claim_address, rate_claim_car");
    }
    const Result<Rate> rate = ParseRate(option.value);
    if (!rate) {
      return Fail(rate.error().reason, "plugin_opt_" + option.key + ": " + rate.error().text);
    }
    *row->second = *rate;
  }
  return rates;
}

std::string_view NameOf(const broker::Client& client, std::string_view user_name) {
  return user_name.empty() ? client.id() : user_name;
}

// What CheckAccess let pass last. Its views are compared by address, and followed only when they
// are those of the message that is here.
struct Passed {
  Arriving message;
  std::optional<Topic> topic;

  bool IsOf(const Arriving& other) const {
    return message.topic.data() != nullptr && message.topic.data() == other.topic.data() &&
           message.topic.size() == other.topic.size() &&
           message.payload.data() == other.payload.data() &&
           message.payload.size() == other.payload.size() && message.retain == other.retain &&
           message.from_peer == other.from_peer;
  }
};

class GuardPlugin : public broker::Plugin {
 public:
  GuardPlugin(const Rates& rates, broker::Broker& broker, Now now)
      : broker_(broker), limits_(rates), told_at_(now.mono) {}

  broker::Events Wants() const override {
    return {false, broker::Word::kMayRefuse, true, {}, false};
  }

  std::string_view ReservedProperty() const override { return kReservedProperty; }

  // Sees wills too, which make no message event, when guard stands before auth in the
  // configuration.
  Verdict CheckAccess(const broker::AccessRequest& request, Now now) override {
    const std::string_view user_name = request.client.user_name();
    const bool from_peer = IsPeer(user_name);
    if (from_peer) {
      newest_.Begin();
    }
    const std::string_view limit = limits_.Take(NameOf(request.client, user_name), now.mono);
    if (!limit.empty()) {
      return RefuseFull(request.at == At::kWrite ? At::kMessage : request.at, request.client,
                        request.topic, limit, now);
    }
    if (request.at == At::kSubscribe) {
      return Verdict::Allow();
    }
    const Arriving message{request.topic, request.payload, request.retain, from_peer};
    const std::optional<Topic> topic = ParseTopic(request.topic);
    const Verdict verdict = Check(request.client, message, topic, now);
    passed_ = verdict.allowed() ? Passed{message, topic} : Passed();
    return verdict;
  }

  // Comes when all plugins have allowed the write: from here on the sender is who the lane says.
  Verdict CheckMessage(const broker::MessageRequest& request, Now now) override {
    // The broker hands the very same bytes of one publish first to CheckAccess, then to this: they
    // need no second look.
    const Passed passed = std::exchange(passed_, {});
    // This broker's own end of the connection to another one is not asked for access: what comes in
    // there is first seen here.
    const std::string_view user_name = request.client.user_name();
    const bool from_peer = IsPeer(user_name);
    const Arriving message{request.topic, request.payload, request.retain, from_peer};
    const bool seen = passed.IsOf(message);
    const std::optional<Topic> topic = seen ? passed.topic : ParseTopic(request.topic);
    const Verdict verdict = seen ? Verdict::Allow() : Check(request.client, message, topic, now);
    if (!verdict.allowed() || !topic) {
      return verdict;
    }
    if (from_peer) {
      newest_.Begin();
    }
    if (!newest_.Take(*topic, request.payload, from_peer, now.wall)) {
      refusals_.CountOnly(At::kMessage, v1::REASON_OLDER_VERSION);
      return Verdict::Refuse(v1::REASON_OLDER_VERSION);
    }
    const bool claim = topic->kind == TopicKind::kPairingClaim;
    const Sender sender{NameOf(request.client, user_name),
                        claim ? request.client.address() : std::string_view()};
    const std::string_view limit = limits_.TakeFor(*topic, sender, now.mono);
    return limit.empty() ? verdict
                         : RefuseFull(At::kMessage, request.client, request.topic, limit, now);
  }

  void Tick(Now now) override {
    if (const std::optional<std::string> line = refusals_.TakeSuppressed(now.mono)) {
      broker_.Log(broker::Level::kWarning, *line);
    }
    if (now.mono - told_at_ < kTellEvery) {
      return;
    }
    told_at_ = now.mono;
    for (const Publish& publish : refusals_.TakeChanged()) {
      broker_.Send(publish);
    }
  }

  void CountFault(At at, const std::string& what, Now now) override {
    Refuse({at, v1::REASON_INTERNAL, {}, {}, what}, now);
  }

 private:
  Verdict Check(const broker::Client& client, const Arriving& message,
                const std::optional<Topic>& topic, Now now) {
    const Verdict verdict = guard::CheckMessage(message, topic, now.wall);
    if (!verdict.allowed()) {
      Refuse({At::kMessage, verdict.reason, client.id(), message.topic, {}}, now);
    }
    return verdict;
  }

  Verdict RefuseFull(At at, const broker::Client& client, std::string_view topic,
                     std::string_view limit, Now now) {
    Refuse({at, v1::REASON_FULL, client.id(), topic, limit}, now);
    return Verdict::Refuse(v1::REASON_FULL);
  }

  void Refuse(const Refused& refused, Now now) {
    if (const std::optional<std::string> line = refusals_.Count(refused, now.mono)) {
      broker_.Log(broker::Level::kWarning, *line);
    }
  }

  broker::Broker& broker_;
  Limits limits_;
  Refusals refusals_;
  NewestStates newest_;
  Passed passed_;
  Instant told_at_;
};

}  // namespace

}  // namespace latchkey::guard

namespace latchkey::broker {

Result<std::unique_ptr<Plugin>> MakePlugin(const std::vector<Option>& options, Broker& broker,
                                           Now now) {
  LK_TRY(const guard::Rates rates, guard::ReadRates(options));
  return std::unique_ptr<Plugin>(std::make_unique<guard::GuardPlugin>(rates, broker, now));
}

}  // namespace latchkey::broker
