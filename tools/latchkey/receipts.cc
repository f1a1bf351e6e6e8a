// Receipts and ring changes as lines for people and as JSON.
#include "tools/latchkey/receipts.h"

#include <array>
#include <cstdio>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "proto/reason.h"
#include "tools/latchkey/hours.h"
#include "tools/latchkey/rights.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Report::Report(Context& context, std::string action)
    : context_(context), action_(std::move(action)) {}

void Report::Began(const tools::Phone::Began& began) {
  const Timestamp now = ReadClocks().wall;
  expires_at_ = began.cancels ? expires_at_ : began.expires_at;
  if (context_.json) {
    nlohmann::ordered_json json = {{"event", "sent"},
                                   {"car", began.ref.ToText()},
                                   {"action", action_},
                                   {"command_id", began.id.ToText()},
                                   {"at_ms", now.ms}};
    if (began.cancels) {
      json["cancels"] = began.cancels->ToText();
    }
    if (began.expires_at) {
      json["expires_at_ms"] = began.expires_at->ms;
    }
    Say(json.dump());
    return;
  }
  const bool far = began.expires_at && *began.expires_at - now > std::chrono::hours(12);
  if (began.cancels) {
    Say(ClockText(now) + "            take back " + action_ + " to " + began.ref.ToText() +
        ", id " + began.cancels->ToText());
    return;
  }
  Say(ClockText(now) + "            " + action_ + " to " + began.ref.ToText() + ", id " +
      began.id.ToText() +
      (began.expires_at
           ? ", expires " + (far ? DateText(*began.expires_at) : ClockText(*began.expires_at))
           : ", never expires"));
}

void Report::Receipt(const tools::Phone::Receipt& receipt) {
  if (!receipt.cancels) {
    outcome_ = receipt.outcome;
  }
  const Outcome& outcome = receipt.outcome;
  const Timestamp now = ReadClocks().wall;
  const char* by = outcome.source == v1::RECEIPT_SOURCE_CAR      ? "car"
                   : outcome.source == v1::RECEIPT_SOURCE_BRIDGE ? "bridge"
                                                                 : "phone";
  if (context_.json) {
    nlohmann::ordered_json json = {{"event", "receipt"},
                                   {"command_id", outcome.command_id.ToText()},
                                   {"state", ToText(outcome.state)},
                                   {"by", by},
                                   {"elapsed_ms", receipt.elapsed.count()},
                                   {"at_ms", now.ms},
                                   {"said_at_ms", outcome.at.ms},
                                   {"final", receipt.final}};
    if (receipt.cancels) {
      json["cancels"] = receipt.cancels->ToText();
    }
    if (outcome.reason != v1::REASON_UNSPECIFIED) {
      json["reason"] = FactsOf(outcome.reason).word;
      json["text"] = outcome.text;
      json["may_have_acted"] = outcome.may_have_acted;
      json["retry_can_help"] = outcome.retry_can_help;
    }
    if (receipt.broker_reason != 0) {
      json["broker_reason_code"] = receipt.broker_reason;
    }
    Say(Dump(json));
    return;
  }
  std::array<char, 32> elapsed{};
  static_cast<void>(std::snprintf(elapsed.data(), elapsed.size(), "%+8lld ms",
                                  static_cast<long long>(receipt.elapsed.count())));
  std::string line = ClockText(now) + elapsed.data() + "  " + (receipt.cancels ? "cancel: " : "") +
                     std::string(ToText(outcome.state)) + "  (" + by + ")";
  if (outcome.reason != v1::REASON_UNSPECIFIED) {
    line += "  " + std::string(FactsOf(outcome.reason).word) + ": " + Printable(outcome.text);
  }
  if (receipt.broker_reason != 0) {
    line += " [the broker's PUBACK says " + ReasonCodeText(receipt.broker_reason) + "]";
  }
  Say(line);
}

void SayRingChange(const Context& context, const tools::Phone::RingChanged& change,
                   const KeyId& me) {
  const Timestamp now = ReadClocks().wall;
  const int offset = UtcOffsetMinutes(now);
  const auto say = [&](const char* what, const std::vector<RingKey>& keys) {
    for (const RingKey& key : keys) {
      if (context.json) {
        nlohmann::ordered_json json = {{"event", std::string("key_") + what},
                                       {"car", change.ref.ToText()},
                                       {"ring_version", change.version},
                                       {"at_ms", now.ms}};
        json.update(KeyJson(key, offset));
        Say(Dump(json));
        continue;
      }
      const std::string times = TimesText(key, offset);
      Say(ClockText(now) + "  key " + what + ": " + Printable(key.label) + " (" +
          RoleText(key.role) + (key.id == me ? ", this phone" : "") + ") " + key.id.str() +
          (what == std::string_view("removed")
               ? ""
               : ": " + RightsText(key.permissions) + (times.empty() ? "" : "; " + times)) +
          "  [ring version " + std::to_string(change.version) + "]");
    }
  };
  say("added", change.added);
  say("changed", change.changed);
  say("removed", change.removed);
}

}  // namespace latchkey::cli
