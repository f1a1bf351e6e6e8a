// Who may do what, said as simply as it can be: a set of (car, key) -> rights and hours, and the
// newest word on each block. Everything of plugins/auth that is fast, compact or signed is compared
// with this after every step.
#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proto/blocks.h"
#include "proto/keyring.h"
#include "proto/time.h"
#include "proto/topic.h"
#include "proto/types.h"

namespace latchkey::model {

// Minute of the week, by the calendar.
inline int MinuteOfWeek(Timestamp now) {
  const std::chrono::sys_time<std::chrono::milliseconds> at{Duration(now.ms)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const int weekday = static_cast<int>(std::chrono::weekday{day}.iso_encoding()) - 1;
  const auto minutes = std::chrono::floor<std::chrono::minutes>(at - day).count();
  return weekday * 1440 + static_cast<int>(minutes);
}

// What a key has at a car.
struct Right {
  uint32_t permissions = 0;
  Timestamp from;
  Timestamp until;  // 0: never ends
  std::vector<WeekWindow> week;

  bool OpenAt(Timestamp now) const {
    const bool hours =
        week.empty() || std::any_of(week.begin(), week.end(), [now](const WeekWindow& window) {
          const int length = (window.end - window.start + kWeekMinutes - 1) % kWeekMinutes + 1;
          return (MinuteOfWeek(now) - window.start + kWeekMinutes) % kWeekMinutes < length;
        });
    return hours && now >= from && (until.ms == 0 || now < until);
  }

  bool operator==(const Right&) const = default;
};

using Rights = std::map<KeyId, Right>;

struct Reference {
  std::map<CarRef, Rights> at_car;     // what the car itself obeys
  std::map<CarRef, Rights> at_broker;  // of the ring that reached the broker last
  std::map<CarRef, uint64_t> version;  // of that ring; absent: none came
  // Of all changes the broker has heard of: when the newest was made, and whether it stands.
  std::map<BlockScope, std::pair<Timestamp, bool>> blocks;

  void Hears(const Block& block) {
    auto& newest = blocks[block.scope];
    newest = std::max(newest, std::pair(block.changed_at, !block.lifted));
  }

  bool Blocked(const KeyId& key, const CarRef& ref) const {
    for (const BlockScope& scope : {BlockScope{key, {}, {}}, BlockScope{key, ref.fleet, {}},
                                    BlockScope{key, ref.fleet, ref.car}}) {
      const auto found = blocks.find(scope);
      if (found != blocks.end() && found->second.second) {
        return true;
      }
    }
    return false;
  }

  // The right of a key that counts now; nullptr: none.
  static const Right* Find(const std::map<CarRef, Rights>& all, const CarRef& ref, const KeyId& key,
                           Timestamp now) {
    const auto car = all.find(ref);
    if (car == all.end()) {
      return nullptr;
    }
    const auto right = car->second.find(key);
    return right != car->second.end() && right->second.OpenAt(now) ? &right->second : nullptr;
  }

  // What the broker grants a key at a car.
  const Right* Granted(const KeyId& key, const CarRef& ref, Timestamp now) const {
    return Blocked(key, ref) ? nullptr : Find(at_broker, ref, key, now);
  }

  // Does the car let `signer` put `after` in the place of `touched`? nullptr: remove it.
  bool Obeys(const CarRef& ref, const KeyId& signer, const KeyId& touched, const Right* after,
             Timestamp now) const {
    const Right* own = Find(at_car, ref, signer, now);
    if (own == nullptr || (own->permissions & Bit(v1::PERMISSION_KEYS)) == 0) {
      return false;
    }
    Rights rights = at_car.at(ref);
    const uint32_t before = rights[touched].permissions;
    rights.erase(touched);
    if (after != nullptr) {
      rights[touched] = *after;
    }
    const uint32_t moved = before | (after == nullptr ? 0 : after->permissions);
    const bool keeper = std::any_of(rights.begin(), rights.end(), [now](const auto& each) {
      return (each.second.permissions & Bit(v1::PERMISSION_KEYS)) != 0 &&
             (each.second.until.ms == 0 || each.second.until > now);
    });
    return (moved & ~own->permissions) == 0 && keeper;
  }
};

}  // namespace latchkey::model
