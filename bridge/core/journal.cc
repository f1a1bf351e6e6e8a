// See journal.h.
#include "bridge/core/journal.h"

#include <algorithm>
#include <array>
#include <utility>

#include "latchkey/v1/keyring.pb.h"
#include "proto/log_chain.h"
#include "proto/wire.h"

namespace latchkey::bridge {

namespace {

constexpr Duration kSecond = std::chrono::seconds(1);
constexpr std::array<std::string_view, 5> kBrokerEvents = {"sign_in_refused", "tap", "tap_refused",
                                                           "access_refused", "storm"};
constexpr size_t kDigitsOfNumber = 5;  // so many in a row may be a phone number

v1::LogEntry EntryAt(Timestamp now, const std::string& event) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(std::max<int64_t>(0, now.ms)));
  entry.set_event(event);
  return entry;
}

v1::LogEntry EntryOfCar(Timestamp now, const std::string& event, const CarRef& ref) {
  v1::LogEntry entry = EntryAt(now, event);
  entry.set_fleet(ref.fleet.str());
  entry.set_car(ref.car.str());
  return entry;
}

std::string_view TextOf(v1::Role role) {
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
      return "key";
  }
  return "key";
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

template <class Id>
bool EmptyOrId(const std::string& text) {
  return text.empty() || Id::Parse(text);
}

// An entry of the plugin, checked and cut. nullopt: not one of those it may tell.
std::optional<v1::LogEntry> Checked(const v1::LogEntry& told, Timestamp now) {
  if (std::find(kBrokerEvents.begin(), kBrokerEvents.end(), told.event()) == kBrokerEvents.end() ||
      !EmptyOrId<FleetId>(told.fleet()) || !EmptyOrId<CarId>(told.car()) ||
      !EmptyOrId<KeyId>(told.key_id()) || (told.fleet().empty() && !told.car().empty()) ||
      (!told.command_id().empty() && !CommandId::FromBytes(told.command_id()))) {
    return std::nullopt;
  }
  v1::LogEntry entry = EntryAt(now, told.event());
  if (told.at_ms() != 0 && TimeFromWire(told.at_ms())) {
    entry.set_at_ms(told.at_ms());
  }
  entry.set_fleet(told.fleet());
  entry.set_car(told.car());
  entry.set_key_id(told.key_id());
  entry.set_command_id(told.command_id());
  entry.set_reason(told.reason());
  entry.set_action(FindAction(told.action()) == nullptr ? "" : told.action());
  entry.set_who(LineOf(told.who(), kLogWhoBytesMax));
  entry.set_note(LineOf(told.note(), kLogNoteBytesMax));
  return entry;
}

}  // namespace

std::string LineOf(std::string_view text, size_t bytes_max) {
  size_t end = std::min(text.size(), bytes_max);
  // Back to the begin of the character that does not fit.
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
    --end;
  }
  std::string line(text.substr(0, end));
  std::replace_if(
      line.begin(), line.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return line;
}

std::string WithoutNumbers(std::string_view text) {
  std::string kept;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && IsDigit(text[end])) {
      ++end;
    }
    if (end - at >= kDigitsOfNumber) {
      kept += '#';
    } else {
      end = std::max(end, at + 1);
      kept += text.substr(at, end - at);
    }
    at = end;
  }
  return LineOf(kept, kLogNoteBytesMax / 2);
}

Journal JournalOf(const Entry& entry, v1::ReceiptSource source, const Now& now,
                  std::string_view note) {
  v1::LogEntry said = EntryOfCar(now.wall, "command", entry.ref);
  said.set_key_id(entry.lane.str());
  said.set_command_id(entry.id.ToBytes());
  said.set_state(entry.state);
  said.set_source(source);
  said.set_reason(entry.reason);
  if (entry.action != nullptr) {
    said.set_action(std::string(entry.action->name));
  }
  said.set_note(std::string(note));
  return Journal{std::move(said)};
}

Journal JournalOf(const Command& command, v1::ReceiptState state, Reason reason, const Now& now) {
  v1::LogEntry said = EntryOfCar(now.wall, "command", command.ref);
  said.set_key_id(command.key_id.str());
  said.set_command_id(command.id.ToBytes());
  said.set_state(state);
  if (state != v1::RECEIPT_STATE_UNSPECIFIED) {
    said.set_source(v1::RECEIPT_SOURCE_BRIDGE);
  }
  said.set_reason(reason);
  said.set_action(std::string(command.action->name));
  return Journal{std::move(said)};
}

Journal JournalOf(const Outcome& outcome, const KeyId& lane, const Now& now,
                  std::string_view note) {
  v1::LogEntry said = EntryOfCar(now.wall, "command", outcome.ref);
  said.set_key_id(lane.str());
  said.set_command_id(outcome.command_id.ToBytes());
  said.set_state(outcome.state);
  said.set_source(outcome.source);
  said.set_reason(outcome.reason);
  said.set_note(std::string(note));
  return Journal{std::move(said)};
}

void JournalRing(const KeyRing* before, const KeyRing& after, Timestamp now, Effects& out) {
  bool any = false;
  const auto say = [&](const std::string& key, const std::string& note) {
    v1::LogEntry entry = EntryOfCar(now, "ring", after.ref);
    entry.set_ring_version(after.version);
    entry.set_key_id(key);
    entry.set_note(note);
    out.emplace_back(Journal{std::move(entry)});
    any = true;
  };
  for (const RingKey& key : after.keys) {
    const RingKey* old = before == nullptr ? nullptr : before->Find(key.id);
    if (old == nullptr) {
      say(key.id.str(), "added: " + std::string(TextOf(key.role)));
    } else if (!(*old == key)) {
      say(key.id.str(), "changed: " + std::string(TextOf(key.role)));
    }
  }
  if (before != nullptr) {
    for (const RingKey& key : before->keys) {
      if (after.Find(key.id) == nullptr) {
        say(key.id.str(), "removed: " + std::string(TextOf(key.role)));
      }
    }
  }
  if (!any) {
    say("", std::to_string(after.keys.size()) + " keys");
  }
}

Journal JournalOf(const Told& told, Timestamp now) {
  v1::LogEntry entry = EntryAt(now, told.event);
  entry.set_who(LineOf(told.who, kLogWhoBytesMax));
  entry.set_note(LineOf(told.note, kLogNoteBytesMax));
  return Journal{std::move(entry)};
}

Journal JournalOf(const Block& block, Timestamp now) {
  v1::LogEntry entry = EntryAt(now, "block");
  entry.set_fleet(block.scope.fleet.str());
  entry.set_car(block.scope.car.str());
  entry.set_key_id(block.scope.key.str());
  if (block.command) {
    entry.set_command_id(block.command->ToBytes());
  }
  const std::string by = block.cause == v1::BLOCK_CAUSE_OWNER ? "owner" : "administrator";
  entry.set_note(LineOf(std::string(block.lifted ? "lifted" : "set") + " by " + by +
                            (block.note.empty() ? "" : ": " + block.note),
                        kLogNoteBytesMax));
  return Journal{std::move(entry)};
}

void BrokerEvents::Passes(const Now& now, Effects& out) {
  if (!second_ || now.mono < *second_ + kSecond) {
    return;
  }
  second_.reset();
  in_second_ = 0;
  if (left_out_ > 0) {
    v1::LogEntry entry = EntryAt(now.wall, "log");
    entry.set_note(std::to_string(left_out_) + " entries of the broker left out: too many at once");
    out.emplace_back(Journal{std::move(entry)});
    left_out_ = 0;
  }
}

void BrokerEvents::Arrived(const std::string& payload, const Now& now, Effects& out) {
  const auto told = FromWire<v1::LogEntry>(payload, kLogEntryBytesMax);
  std::optional<v1::LogEntry> entry = told ? Checked(*told, now.wall) : std::nullopt;
  if (!entry) {
    ++counters_.refused[v1::REASON_MALFORMED];
    return;
  }
  if (!second_) {
    second_ = now.mono;
  }
  if (++in_second_ > kEventsPerSecondMax) {
    ++left_out_;
    ++counters_.events_left_out;
    return;
  }
  out.emplace_back(Journal{std::move(*entry)});
}

std::optional<Instant> BrokerEvents::NextDeadline() const {
  return left_out_ > 0 ? std::optional<Instant>(*second_ + kSecond) : std::nullopt;
}

}  // namespace latchkey::bridge
