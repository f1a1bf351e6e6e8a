// See waker.h.
#include "bridge/core/waker.h"

#include <algorithm>

#include "bridge/core/journal.h"
#include "proto/command.h"
#include "proto/sms.h"

namespace latchkey::bridge {

namespace {

enum class Wish : uint8_t { kCanWait, kWakes, kUrgent };

Wish WishOf(v1::CommandClass command_class) {
  switch (command_class) {
    case v1::COMMAND_CLASS_SIGNAL:
    case v1::COMMAND_CLASS_OPEN:
    case v1::COMMAND_CLASS_CLOSE:
      return Wish::kUrgent;
    case v1::COMMAND_CLASS_COMFORT:
    case v1::COMMAND_CLASS_REMOVE_KEY:
      return Wish::kWakes;
    case v1::COMMAND_CLASS_SETTINGS:
    case v1::COMMAND_CLASS_UNSPECIFIED:
    case v1::CommandClass_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::CommandClass_INT_MAX_SENTINEL_DO_NOT_USE_:
      return Wish::kCanWait;
  }
  return Wish::kCanWait;
}

// Ids tell when they were given, so that those of a bridge that starts again are above all that a
// car was ever sent.
constexpr uint64_t kIdsOfMillisecond = 1024;

uint64_t FirstIdOf(Timestamp at) {
  return static_cast<uint64_t>(std::max<int64_t>(0, at.ms)) * kIdsOfMillisecond;
}

v1::LogEntry WakeEntry(Timestamp now, const std::string& note) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(std::max<int64_t>(0, now.ms)));
  entry.set_event("wake");
  entry.set_note(note);
  return entry;
}

void JournalWake(const CarRef& ref, const std::optional<CommandId>& command, Timestamp now,
                 const std::string& note, Effects& out) {
  v1::LogEntry entry = WakeEntry(now, note);
  entry.set_fleet(ref.fleet.str());
  entry.set_car(ref.car.str());
  if (command) {
    entry.set_command_id(command->ToBytes());
  }
  out.emplace_back(Journal{std::move(entry)});
}

std::string_view TextOf(SmsReport::What what) {
  switch (what) {
    case SmsReport::What::kSent:
      return "sms sent";
    case SmsReport::What::kDelivered:
      return "sms delivered";
    case SmsReport::What::kFailed:
      return "sms failed";
  }
  return "";
}

}  // namespace

Waker::Waker(const Limits& limits, const Links& links, Counters& counters)
    : limits_(limits), links_(links), counters_(counters) {}

void Waker::Load(const storage::WakeRecord& record) {
  spent_[record.ref].record = record;
  last_id_ = std::max(last_id_, FirstIdOf(record.last_at) + kIdsOfMillisecond - 1);
}

// A wall clock that was set back while the bridge was down gives at most a day to wait.
void Waker::StartClocks(const Now& now) {
  for (auto& [ref, spent] : spent_) {
    const auto ago = [&](Timestamp at) {
      return now.mono + -std::clamp(now.wall - at, Duration(0), kWakeDay);
    };
    spent.day = ago(spent.record.day);
    spent.last = ago(spent.record.last_at);
  }
}

// ---- what is due, and when

void Waker::Plan(uint64_t order, Want& want) {
  if (want.due) {
    due_.erase({*want.due, order});
  }
  want.due.reset();
  if (from_ && want.tries < kWakeTriesMax && contacts_.count(want.ref) > 0 &&
      !links_.Online(want.ref)) {
    want.due = std::max(want.next, *from_);
    due_.insert({*want.due, order});
  }
}

void Waker::PlanCar(const CarRef& ref) {
  const auto car = of_car_.find(ref);
  if (car != of_car_.end()) {
    for (const uint64_t order : car->second) {
      Plan(order, wants_.at(order));
    }
  }
}

void Waker::PlanAll() {
  for (auto& [order, want] : wants_) {
    Plan(order, want);
  }
}

void Waker::ContactsAre(const Contacts& contacts) {
  contacts_ = contacts;
  PlanAll();
}

// The broker first shows who is there.
void Waker::BrokerUp(const Now& now) {
  from_ = now.mono + std::max(kWakeSettle, limits_.reconcile_after);
  PlanAll();
}

void Waker::BrokerDown() {
  from_.reset();
  PlanAll();
}

void Waker::CarOnline(const CarRef& ref) {
  PlanCar(ref);
}

void Waker::Held(const Entry& entry, const Now& now) {
  if (entry.action == nullptr || entry.Denied()) {
    return;
  }
  const Wish wish = WishOf(entry.action->command_class);
  if (wish == Wish::kCanWait) {
    return;
  }
  const auto [at, is_new] = wants_.try_emplace(entry.order);
  Want& want = at->second;
  const Instant settled =
      now.mono + std::max(Duration(0), kWakeSettle - links_.AwayFor(entry.ref, now.mono));
  if (is_new) {
    want.ref = entry.ref;
    want.urgent = wish == Wish::kUrgent;
    of_car_[entry.ref].insert(entry.order);
    const auto spent = spent_.find(entry.ref);
    if (entry.loaded && spent != spent_.end() &&
        spent->second.record.last_at >= entry.received_at) {
      // The bridge that was before this one has tried.
      want.tries = 1;
      want.next = spent->second.last + kWakeRetryAfter;
    }
  }
  want.next = std::max(want.next, settled);
  Plan(entry.order, want);
}

void Waker::Over(const Entry& entry) {
  const auto want = wants_.find(entry.order);
  if (want == wants_.end()) {
    return;
  }
  if (want->second.due) {
    due_.erase({*want->second.due, entry.order});
  }
  wants_.erase(want);
  const auto car = of_car_.find(entry.ref);
  LK_ASSERT(car != of_car_.end());
  car->second.erase(entry.order);
  if (car->second.empty()) {
    of_car_.erase(car);
  }
}

std::optional<uint64_t> Waker::DueBy(Instant now) const {
  return due_.empty() || due_.begin()->first > now ? std::nullopt
                                                   : std::optional<uint64_t>(due_.begin()->second);
}

std::optional<Instant> Waker::NextDeadline() const {
  return due_.empty() ? std::nullopt : std::optional<Instant>(due_.begin()->first);
}

// ---- sending

bool Waker::Wake(const Entry& entry, const Now& now, Effects& out) {
  Want& want = wants_.at(entry.order);
  const Contact& contact = contacts_.at(entry.ref);
  const Result<Command> command = ParseCommand(entry.payload, entry.ref, entry.lane);
  LK_ASSERT(command);
  const Result<std::string> whole = MakeCommandSms(*command, contact.relay_key);
  const auto spent = spent_.find(entry.ref);
  if (spent != spent_.end()) {
    const bool at_once = want.urgent && want.tries == 0 && whole;
    const Instant gap_over = spent->second.last + kWakeGap;
    const Instant day_over = spent->second.day + kWakeDay;
    if (!at_once && now.mono < gap_over) {
      want.next = gap_over;
      Plan(entry.order, want);
      return false;
    }
    if (spent->second.record.count >= limits_.sms_per_car_and_day && now.mono < day_over) {
      if (!want.skipped) {
        want.skipped = true;
        ++counters_.wakes_skipped;
        JournalWake(entry.ref, entry.id, now.wall,
                    "not woken: " + std::to_string(spent->second.record.count) +
                        " sms within 24 h are enough",
                    out);
      }
      want.next = day_over;
      Plan(entry.order, want);
      return false;
    }
  }
  ++want.tries;
  want.next = now.mono + kWakeRetryAfter;
  Plan(entry.order, want);
  Share(entry.order, entry.ref, now);
  Send(entry, whole ? *whole : MakeWakeSms(entry.ref, now.wall, contact.relay_key),
       whole.has_value(), now, out);
  return whole.has_value();
}

// The same SMS wakes the car for what else waits, but for what is new and better goes by itself.
void Waker::Share(uint64_t order, const CarRef& ref, const Now& now) {
  for (const uint64_t other : of_car_.at(ref)) {
    Want& want = wants_.at(other);
    if (other != order && (!want.urgent || want.tries > 0) && want.tries < kWakeTriesMax) {
      ++want.tries;
      want.next = now.mono + kWakeRetryAfter;
      Plan(other, want);
    }
  }
}

void Waker::Spend(const CarRef& ref, const Now& now, Effects& out) {
  const auto [at, is_new] = spent_.try_emplace(ref);
  Spent& spent = at->second;
  if (is_new || now.mono >= spent.day + kWakeDay) {
    spent.record = storage::WakeRecord{ref, now.wall, 0, now.wall};
    spent.day = now.mono;
  }
  ++spent.record.count;
  spent.record.last_at = now.wall;
  spent.last = now.mono;
  out.emplace_back(Write{spent.record, true});
}

void Waker::Send(const Entry& entry, std::string bytes, bool whole, const Now& now, Effects& out) {
  Spend(entry.ref, now, out);
  last_id_ = std::max(last_id_ + 1, FirstIdOf(now.wall));
  const Timestamp latest = now.wall + kWakeAgeMax;
  SendSms sms;
  sms.id = last_id_;
  sms.ref = entry.ref;
  sms.number = contacts_.at(entry.ref).number;
  sms.bytes = std::move(bytes);
  sms.expires_at = std::min(entry.expires_at.value_or(latest), latest);
  LK_ASSERT(sms.bytes.size() <= kSmsBytesMax);
  ++counters_.sms_sent;
  const std::string kind = whole ? "command" : "wake";
  JournalWake(entry.ref, entry.id, now.wall,
              "sms " + std::to_string(spent_.at(entry.ref).record.count) + " of " +
                  std::to_string(limits_.sms_per_car_and_day) + " within 24 h: " + kind,
              out);
  out.emplace_back(
      LogEvent{LogEvent::Level::kInfo,
               "sms_handed_over",
               {{"car", entry.ref.ToText()}, {"command", entry.id.ToText()}, {"what", kind}}});
  out.emplace_back(std::move(sms));
  Remember(last_id_, Sms{entry.ref, entry.id});
}

void Waker::Remember(uint64_t id, Sms sms) {
  sms_.emplace(id, std::move(sms));
  if (sms_.size() > kSmsKept) {
    sms_.erase(sms_.begin());
  }
}

void Waker::Reported(const SmsReport& report, const Now& now, Effects& out) {
  counters_.sms_delivered += report.what == SmsReport::What::kDelivered ? 1 : 0;
  counters_.sms_failed += report.what == SmsReport::What::kFailed ? 1 : 0;
  std::string note(TextOf(report.what));
  if (!report.text.empty()) {
    note += ": " + WithoutNumbers(report.text);
  }
  const auto sms = sms_.find(report.id);
  if (sms == sms_.end()) {
    out.emplace_back(Journal{WakeEntry(now.wall, note)});
  } else {
    JournalWake(sms->second.ref, sms->second.command, now.wall, note, out);
  }
  if (report.what == SmsReport::What::kFailed) {
    out.emplace_back(LogEvent{LogEvent::Level::kWarning,
                              "sms_failed",
                              {{"car", sms == sms_.end() ? "unknown" : sms->second.ref.ToText()},
                               {"why", WithoutNumbers(report.text)}}});
  }
}

void Waker::Forget(const CarRef& ref) {
  spent_.erase(ref);
  std::erase_if(sms_, [&](const auto& one) { return one.second.ref == ref; });
}

void Waker::CheckInvariants() const {
  size_t due = 0;
  size_t of_cars = 0;
  for (const auto& [order, want] : wants_) {
    LK_ASSERT(want.tries <= kWakeTriesMax);
    LK_ASSERT(!want.due || (due_.count({*want.due, order}) == 1 && !links_.Online(want.ref)));
    LK_ASSERT(!want.due || from_);
    due += want.due ? 1 : 0;
    const auto car = of_car_.find(want.ref);
    LK_ASSERT(car != of_car_.end() && car->second.count(order) == 1);
  }
  for (const auto& [ref, orders] : of_car_) {
    LK_ASSERT(!orders.empty());
    of_cars += orders.size();
  }
  LK_ASSERT(due == due_.size() && of_cars == wants_.size() && sms_.size() <= kSmsKept);
}

}  // namespace latchkey::bridge
