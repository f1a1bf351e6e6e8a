// Wording and bounding of what goes into the log. Texts that clients chose are made printable.
#include "plugins/auth/events.h"

#include <algorithm>
#include <utility>

#include "latchkey/v1/log.pb.h"
#include "proto/topic.h"

namespace latchkey::auth {

namespace {

constexpr Duration kSecond(1000);

std::string Plain(std::string_view text, size_t bytes_max) {
  std::string plain(text.substr(0, bytes_max));
  std::replace_if(plain.begin(), plain.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return plain;
}

// The car or fleet that a topic or filter is about, as far as it says.
void SetPlace(v1::LogEntry& entry, const Event& event) {
  const std::optional<Topic> topic = ParseTopic(event.topic);
  const std::optional<Filter> filter = topic ? std::nullopt : ParseFilter(event.topic);
  if (topic) {
    entry.set_fleet(std::string(topic->fleet));
    entry.set_car(std::string(topic->car));
  } else if (filter && filter->fleet) {
    entry.set_fleet(std::string(*filter->fleet));
    entry.set_car(filter->car ? std::string(*filter->car) : "");
  } else if (event.principal != nullptr) {
    entry.set_fleet(event.principal->car.fleet.str());
    entry.set_car(event.principal->car.car.str());
  }
}

void SetWho(v1::LogEntry& entry, const Event& event) {
  if (event.principal != nullptr && event.principal->kind == PrincipalKind::kPhone) {
    entry.set_key_id(event.principal->key.str());
  } else if (event.principal != nullptr) {
    entry.set_who(Plain(event.principal->ToText(), kEventWhoBytesMax));
  } else {
    const std::optional<KeyId> key = KeyId::Parse(event.key);
    entry.set_key_id(key ? key->str() : "");
    entry.set_who(Plain(event.who, kEventWhoBytesMax));
  }
}

std::string NoteOf(const Event& event) {
  std::string note;
  for (const auto& [word, value] :
       {std::pair("", event.topic), std::pair("from ", event.address), std::pair("", event.text)}) {
    if (!value.empty()) {
      note += (note.empty() ? "" : "; ") + (word + std::string(value));
    }
  }
  return Plain(note, kEventNoteBytesMax);
}

Publish Said(const v1::LogEntry& entry) {
  return {std::string(kEventTopic), entry.SerializeAsString(), 1, Retain::kNo, 0};
}

v1::LogEntry Begin(EventKind kind, const Now& now) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(std::max<int64_t>(now.wall.ms, 0)));
  entry.set_event(std::string(ToText(kind)));
  return entry;
}

}  // namespace

std::string_view ToText(EventKind kind) {
  switch (kind) {
    case EventKind::kSignInRefused:
      return "sign_in_refused";
    case EventKind::kTap:
      return "tap";
    case EventKind::kTapRefused:
      return "tap_refused";
    case EventKind::kAccessRefused:
      return "access_refused";
    case EventKind::kStorm:
      return "storm";
  }
  return "unknown";
}

bool EventBook::Take(const Event& event, const Now& now) {
  if (!second_began_ || now.mono - *second_began_ >= kSecond) {
    second_began_ = now.mono;
    in_second_ = 0;
  }
  if (in_second_ >= kEventsPerSecondMax) {
    return false;
  }
  const bool known = event.principal != nullptr;
  const bool stranger = !known || event.principal->kind == PrincipalKind::kPhone;
  const std::string one = known ? event.principal->ToText() : RateName(event.address);
  // Operators have their own bound in Taps.
  const bool tap = event.kind == EventKind::kTap || event.kind == EventKind::kTapRefused;
  if (!tap && !ones_.Take(one, now.mono)) {
    return false;
  }
  if (stranger && !strangers_.Take("", now.mono)) {
    return false;
  }
  ++in_second_;
  return true;
}

std::optional<Publish> EventBook::Note(const Event& event, const Now& now) {
  if (!Take(event, now)) {
    ++left_out_[static_cast<size_t>(event.kind)];
    ++left_out_total_;
    return std::nullopt;
  }
  v1::LogEntry entry = Begin(event.kind, now);
  SetPlace(entry, event);
  SetWho(entry, event);
  entry.set_reason(event.reason);
  entry.set_note(NoteOf(event));
  return Said(entry);
}

Publish EventBook::Storm(std::string_view text, const Now& now) {
  v1::LogEntry entry = Begin(EventKind::kStorm, now);
  entry.set_reason(v1::REASON_FULL);
  entry.set_note(Plain(text, kEventNoteBytesMax));
  return Said(entry);
}

std::vector<Publish> EventBook::TakeLeftOut(const Now& now) {
  std::vector<Publish> said;
  for (size_t kind = 0; kind < kEventKindCount; ++kind) {
    const uint64_t count = std::exchange(left_out_[kind], 0);
    if (count > 0) {
      v1::LogEntry entry = Begin(static_cast<EventKind>(kind), now);
      entry.set_reason(v1::REASON_FULL);
      entry.set_note(std::to_string(count) + " more of these are left out: too many at once");
      said.push_back(Said(entry));
    }
  }
  return said;
}

}  // namespace latchkey::auth
