// How a command ends and what is said of it: receipts of the car, outcomes of the bridge.
#include <algorithm>
#include <utility>
#include <vector>

#include "bridge/core/journal.h"
#include "bridge/core/outbox.h"
#include "proto/reason.h"
#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

std::string Word(Reason reason) {
  return std::string(FactsOf(reason).word);
}

using Fields = std::vector<std::pair<std::string, std::string>>;

void Log(LogEvent::Level level, const std::string& event, const Entry& entry, const Fields& more,
         Effects& out) {
  Fields fields = {
      {"car", entry.ref.ToText()}, {"key", entry.lane.str()}, {"command", entry.id.ToText()}};
  fields.insert(fields.end(), more.begin(), more.end());
  out.emplace_back(LogEvent{level, event, std::move(fields)});
}

}  // namespace

// A phone asks again: it gets the last word there was, whoever said it.
void Outbox::Answer(Entry& entry, const KeyId& lane, const Now& now, Effects& out) {
  if (lane != entry.lane) {
    ++counters_.refused[v1::REASON_DUPLICATE];
    Log(LogEvent::Level::kWarning, "command_id_of_another_key", entry, {}, out);
    return;
  }
  if (entry.receipt.empty() && MaySay(v1::RECEIPT_SOURCE_BRIDGE, entry.state)) {
    // Read from the store: whether it was sent is not known, so it may have acted.
    Outcome outcome = MakeOutcome(entry.ref, entry.id, entry.state, entry.reason, entry.changed_at,
                                  v1::RECEIPT_SOURCE_BRIDGE);
    outcome.may_have_acted = outcome.may_have_acted || entry.state == v1::RECEIPT_STATE_EXPIRED ||
                             entry.state == v1::RECEIPT_STATE_SUPERSEDED ||
                             entry.state == v1::RECEIPT_STATE_CANCELLED;
    entry.receipt = SealBridgeReceipt(outcome);
  }
  if (!entry.receipt.empty()) {
    Say(entry, out);
  }
  if (entry.phase == Phase::kClosed || !links_.Online(entry.ref)) {
    return;
  }
  // The car has just been given it by the phone.
  entry.sent = true;
  commands_.Reschedule(entry);
  if (entry.phase == Phase::kDelivered && !entry.act_at) {
    AskAgain(entry, now, limits_.receipt_wait);
  }
}

void Outbox::Refuse(const Command& command, Reason reason, const Now& now, Effects& out) {
  v1::ReceiptState state = v1::RECEIPT_STATE_REFUSED;
  if (reason == v1::REASON_EXPIRED) {
    state = v1::RECEIPT_STATE_EXPIRED;
  } else if (reason == v1::REASON_CANCELLED) {
    state = v1::RECEIPT_STATE_CANCELLED;
  }
  Outcome outcome =
      MakeOutcome(command.ref, command.id, state, reason, now.wall, v1::RECEIPT_SOURCE_BRIDGE);
  // It may come late, or again, and the car may have had it from the phone itself.
  outcome.may_have_acted = outcome.may_have_acted || MayHaveReached(command, now);
  std::string receipt = SealBridgeReceipt(outcome);
  ++counters_.refused[reason];
  out.emplace_back(Publish{ReceiptTopic(command.ref, command.key_id), receipt, 1, Retain::kNo, 0});
  out.emplace_back(JournalOf(command, state, reason, now));
  out.emplace_back(LogEvent{LogEvent::Level::kInfo,
                            "command_refused",
                            {{"car", command.ref.ToText()},
                             {"key", command.key_id.str()},
                             {"command", command.id.ToText()},
                             {"reason", Word(reason)}}});
  const CommandKey key{command.ref, command.id};
  refused_[key] = std::move(receipt);
  refused_order_.push_back(key);
  if (refused_order_.size() > kRefusedKept) {
    refused_.erase(refused_order_.front());
    refused_order_.pop_front();
  }
}

void Outbox::TakeRefused(const Outbox& before) {
  refused_ = before.refused_;
  refused_order_ = before.refused_order_;
}

void Outbox::StoreFails() {
  store_fails_ = true;
}

void Outbox::Receipt(const CarRef& ref, const KeyId& lane, const std::string& payload,
                     const Now& now, Effects& out) {
  const OpenedRing* opened = rings_.Find(ref);
  if (!opened) {
    ++counters_.refused[v1::REASON_BAD_SIGNATURE];
    return;
  }
  const Result<Outcome> outcome = OpenReceipt(payload, ref, opened->car_key);
  if (!outcome) {
    ++counters_.refused[outcome.error().reason];
    return;
  }
  if (outcome->source != v1::RECEIPT_SOURCE_CAR) {
    ++counters_.refused[v1::REASON_NOT_ALLOWED];
    return;
  }
  Entry* known = commands_.Find(ref, outcome->command_id);
  if (known == nullptr) {
    if (IsFinal(outcome->state)) {
      out.emplace_back(JournalOf(*outcome, lane, now, "not known here"));
      LiftBlockOf(ref, outcome->command_id, now, out);
    }
    return;
  }
  Entry& entry = *known;
  if (entry.lane != lane) {
    ++counters_.refused[v1::REASON_WRONG_LANE];
    return;
  }
  if (entry.phase == Phase::kClosed) {
    if (IsFinal(outcome->state) && outcome->state != entry.state) {
      ++counters_.conflicts;
      Log(LogEvent::Level::kWarning, "outcome_conflict", entry,
          {{"stands", std::string(ToText(entry.state))},
           {"said", std::string(ToText(outcome->state))}},
          out);
      out.emplace_back(JournalOf(*outcome, lane, now,
                                 "too late: " + std::string(ToText(entry.state)) + " stands"));
    }
    return;
  }
  entry.receipt = payload;
  if (IsFinal(outcome->state)) {
    CloseByCar(entry, *outcome, now, out);
    return;
  }
  NotSent(entry);
  if (entry.phase != Phase::kDelivered) {
    waker_.Over(entry);
    commands_.SetPhase(entry, Phase::kDelivered);
    entry.state = outcome->state;
    entry.changed_at = now.wall;
    if (entry.on_disk) {
      out.emplace_back(Write{RecordOf(entry), false});
    }
    out.emplace_back(JournalOf(entry, v1::RECEIPT_SOURCE_CAR, now));
  }
  commands_.Reschedule(entry);
  if (!entry.expires_at) {
    // It has no end of its own: asked again until the car has said how it ended.
    AskAgain(entry, now, limits_.redeliver_first);
  }
}

// Its time is over, by its expiry, because its key was denied or because it was taken back.
void Outbox::Ends(Entry& entry, const Now& now, Effects& out) {
  if (entry.phase == Phase::kDelivered) {
    CloseByBridge(entry, v1::RECEIPT_STATE_REFUSED, v1::REASON_OUTCOME_UNKNOWN, now, out);
  } else if (entry.denied == v1::REASON_CANCELLED) {
    CloseByBridge(entry, v1::RECEIPT_STATE_CANCELLED, entry.denied, now, out);
  } else if (entry.Denied()) {
    CloseByBridge(entry, v1::RECEIPT_STATE_REFUSED, entry.denied, now, out);
  } else {
    CloseByBridge(entry, v1::RECEIPT_STATE_EXPIRED, v1::REASON_EXPIRED, now, out);
  }
}

void Outbox::CloseByCar(Entry& entry, const Outcome& outcome, const Now& now, Effects& out) {
  entry.state = outcome.state;
  entry.reason = outcome.reason;
  unsaid_.erase(entry.order);
  Closed(entry, v1::RECEIPT_SOURCE_CAR, now, out);
}

void Outbox::CloseByBridge(Entry& entry, v1::ReceiptState state, Reason reason, const Now& now,
                           Effects& out) {
  Outcome outcome =
      MakeOutcome(entry.ref, entry.id, state, reason, now.wall, v1::RECEIPT_SOURCE_BRIDGE);
  outcome.may_have_acted = outcome.may_have_acted || entry.sent;
  entry.state = state;
  entry.reason = reason;
  entry.receipt = SealBridgeReceipt(outcome);
  Closed(entry, v1::RECEIPT_SOURCE_BRIDGE, now, out);
  Say(entry, out);
}

// What was promised is closed as surely as it was held: else a power cut could open it again and
// give it a second outcome.
void Outbox::Closed(Entry& entry, v1::ReceiptSource source, const Now& now, Effects& out) {
  NotSent(entry);
  waker_.Over(entry);
  commands_.SetPhase(entry, Phase::kClosed);
  entry.changed_at = now.wall;
  entry.payload.clear();
  entry.payload.shrink_to_fit();
  const Duration kept = entry.expires_at
                            ? limits_.closed_kept + std::clamp(*entry.expires_at - now.wall,
                                                               Duration(0), kLifetimeMax)
                            : kEndlessClosedKept;
  entry.act_at = now.mono + kept;
  const bool bridge_said =
      entry.state != v1::RECEIPT_STATE_DONE && entry.state != v1::RECEIPT_STATE_FAILED;
  out.emplace_back(Write{RecordOf(entry), entry.on_disk || bridge_said});
  out.emplace_back(
      JournalOf(entry, source, now,
                source == v1::RECEIPT_SOURCE_BRIDGE && entry.sent ? "the car may have acted" : ""));
  entry.on_disk = true;
  if (entry.removes) {
    unchecked_.insert(entry.ref);
  }
  ++counters_.commands_closed;
  ++counters_.outcomes[entry.state];
  Log(LogEvent::Level::kInfo, "command_closed", entry,
      {{"outcome", std::string(ToText(entry.state))}, {"reason", Word(entry.reason)}}, out);
  commands_.Reschedule(entry);
}

void Outbox::Say(Entry& entry, Effects& out) {
  if (!broker_up_) {
    unsaid_.insert(entry.order);
    return;
  }
  out.emplace_back(Publish{ReceiptTopic(entry.ref, entry.lane), entry.receipt, 1, Retain::kNo, 0});
}

void Outbox::EndUnknown(const Now& now, Effects& out) {
  std::vector<uint64_t> orders;
  for (const auto& [order, entry] : commands_.all()) {
    const bool safe =
        entry.removes || entry.cancels ||
        (entry.action != nullptr && entry.action->command_class == v1::COMMAND_CLASS_CLOSE);
    if (entry.phase == Phase::kHeld && !safe && !entry.Expired(now)) {
      orders.push_back(order);
    }
  }
  for (const uint64_t order : orders) {
    CloseByBridge(commands_.At(order), v1::RECEIPT_STATE_REFUSED, v1::REASON_OUTCOME_UNKNOWN, now,
                  out);
  }
}

void Outbox::Forget(uint64_t order, Effects& out) {
  const Entry& entry = commands_.At(order);
  unsaid_.erase(order);
  out.emplace_back(Write{storage::EraseCommand{entry.ref, entry.id}, false});
  commands_.Erase(order);
}

// Their ids are forgotten, too: a phone that sends one again gets another answer, and the car,
// which remembers what it did, does it once all the same.
template <class Which>
void Outbox::ForgetAll(const Which& which, const Now& now, Effects& out) {
  std::vector<uint64_t> orders;
  for (const auto& [order, entry] : commands_.all()) {
    if (which(entry)) {
      orders.push_back(order);
    }
  }
  for (const uint64_t order : orders) {
    Entry& entry = commands_.At(order);
    if (entry.phase != Phase::kClosed) {
      CloseByBridge(entry, v1::RECEIPT_STATE_REFUSED, v1::REASON_NOT_ON_RING, now, out);
    }
    Forget(order, out);
  }
}

void Outbox::Forget(const CarRef& ref, const Now& now, Effects& out) {
  ForgetAll([&](const Entry& entry) { return entry.ref == ref; }, now, out);
  waker_.Forget(ref);
  std::erase_if(refused_, [&](const auto& one) { return one.first.first == ref; });
  std::erase_if(refused_order_, [&](const CommandKey& key) { return key.first == ref; });
}

void Outbox::Forget(const KeyId& key, const Now& now, Effects& out) {
  ForgetAll([&](const Entry& entry) { return entry.lane == key; }, now, out);
}

}  // namespace latchkey::bridge
