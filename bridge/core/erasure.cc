// See erasure.h.
#include "bridge/core/erasure.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

// As a whole name, not as part of a longer one.
bool Mentions(std::string_view text, std::string_view name) {
  for (size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const size_t end = at + name.size();
    if ((at == 0 || !IsNameCharacter(text[at - 1])) &&
        (end == text.size() || !IsNameCharacter(text[end]))) {
      return true;
    }
  }
  return false;
}

v1::LogEntry EntryAt(Timestamp now, const std::string& event) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(std::max<int64_t>(0, now.ms)));
  entry.set_event(event);
  return entry;
}

}  // namespace

bool Names(const Erasure& erasure, const v1::LogEntry& entry) {
  if (const auto* ref = std::get_if<CarRef>(&erasure.of)) {
    const std::string name = ref->ToText();
    return (entry.fleet() == ref->fleet.str() && entry.car() == ref->car.str()) ||
           Mentions(entry.who(), name) || Mentions(entry.note(), name);
  }
  const std::string& key = std::get<KeyId>(erasure.of).str();
  return entry.key_id() == key || Mentions(entry.who(), key) || Mentions(entry.note(), key);
}

void EmptyTopics(const CarRef& ref, Effects& out) {
  const auto empty = [&out](std::string topic) {
    out.emplace_back(Publish{std::move(topic), "", 1, Retain::kYes, 0});
  };
  for (const Group group : kGroups) {
    empty(StateTopic(ref, group));
  }
  empty(KeyRingTopic(ref));
  empty(PresenceTopic(ref));
}

v1::LogEntry ErasedEntry(const Erasure& erasure, uint64_t log_entries, Timestamp now) {
  v1::LogEntry entry = EntryAt(now, "erased");
  std::string what = "a key";
  if (const auto* ref = std::get_if<CarRef>(&erasure.of)) {
    entry.set_fleet(ref->fleet.str());
    what = "a car";
  }
  entry.set_who(erasure.who);
  entry.set_note(what + ", all that was kept of it; " + std::to_string(log_entries) +
                 (log_entries == 1 ? " entry" : " entries") + " of the log lost their content");
  return entry;
}

void LocationReads::Arrived(const LocationRead& read, const Now& now, Effects& out) {
  const auto said = said_.find(read.ref);
  if (said != said_.end() && now.mono < said->second + kLocationReadEvery) {
    return;
  }
  if (said == said_.end() && said_.size() >= kLocationReadCarsMax) {
    std::erase_if(said_,
                  [&](const auto& one) { return now.mono >= one.second + kLocationReadEvery; });
  }
  if (said_.size() < kLocationReadCarsMax) {
    said_[read.ref] = now.mono;
  }
  v1::LogEntry entry = EntryAt(now.wall, "location_read");
  entry.set_fleet(read.ref.fleet.str());
  entry.set_car(read.ref.car.str());
  entry.set_who("loopback");
  entry.set_note("by a program on the bridge's machine");
  out.emplace_back(Journal{std::move(entry)});
}

}  // namespace latchkey::bridge
