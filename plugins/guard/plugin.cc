// latchkey_guard.so: counts and logs what guard/check.h refuses.
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/guard/check.h"
#include "plugins/mosquitto.h"
#include "plugins/refusals.h"

namespace latchkey::guard {

namespace {

constexpr Duration kTellEvery = std::chrono::seconds(10);

class GuardPlugin : public broker::Plugin {
 public:
  GuardPlugin(broker::Broker& broker, Now now) : broker_(broker), told_at_(now.mono) {}

  broker::Events Wants() const override { return {false, broker::Word::kMayRefuse, true}; }

  std::string_view ReservedProperty() const override { return kReservedProperty; }

  // Sees wills too, which make no message event, when guard stands before auth in the
  // configuration.
  Verdict CheckAccess(const broker::AccessRequest& request, Now now) override {
    if (request.at != At::kWrite) {
      return Verdict::Allow();
    }
    const Arriving message{request.topic, request.payload, request.retain};
    const Verdict verdict = Check(request.client, message, now);
    passed_ = verdict.allowed() ? message : Arriving();
    return verdict;
  }

  Verdict CheckMessage(const broker::MessageRequest& request, Now now) override {
    // The broker hands the very same bytes of one publish first to CheckAccess, then to this: they
    // need no second look.
    const bool seen =
        passed_.topic.data() != nullptr && passed_.topic.data() == request.topic.data() &&
        passed_.topic.size() == request.topic.size() &&
        passed_.payload.data() == request.payload.data() &&
        passed_.payload.size() == request.payload.size() && passed_.retain == request.retain;
    passed_ = Arriving();
    return seen ? Verdict::Allow()
                : Check(request.client, {request.topic, request.payload, request.retain}, now);
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
  Verdict Check(const broker::Client& client, const Arriving& message, Now now) {
    const Verdict verdict = guard::CheckMessage(message, now.wall);
    if (!verdict.allowed()) {
      Refuse({At::kMessage, verdict.reason, client.id, message.topic, {}}, now);
    }
    return verdict;
  }

  void Refuse(const Refused& refused, Now now) {
    if (const std::optional<std::string> line = refusals_.Count(refused, now.mono)) {
      broker_.Log(broker::Level::kWarning, *line);
    }
  }

  broker::Broker& broker_;
  Refusals refusals_;
  Arriving passed_;  // what CheckAccess let pass last: compared by address, never followed
  Instant told_at_;
};

}  // namespace

}  // namespace latchkey::guard

namespace latchkey::broker {

Result<std::unique_ptr<Plugin>> MakePlugin(const std::vector<Option>& options, Broker& broker,
                                           Now now) {
  if (!options.empty()) {
    return Fail(v1::REASON_MALFORMED, "plugin_opt_" + options.front().key +
                                          " is not an option of latchkey_guard: it has none; "
                                          "remove the line");
  }
  return std::unique_ptr<Plugin>(std::make_unique<guard::GuardPlugin>(broker, now));
}

}  // namespace latchkey::broker
