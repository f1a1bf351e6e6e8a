// The car's dashboard of signals: the last value of each with its own time, and the complete
// StateGroup of each group built from it. Fields are found by reflection, so that a signal added to
// state.proto needs nothing here.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "latchkey/v1/state.pb.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::car {

// A number stands for any numeric field and, 0 or not, for yes or no; a text for a word.
using SignalValue = std::variant<double, std::string>;

class SignalBoard {
 public:
  // Takes a value of "energy.soc" and the like. Refuses and keeps what it has:
  // REASON_IMPOSSIBLE_VALUE (no such signal, a text for a number, a value it cannot have, a time
  // before 1970), REASON_OLDER_VERSION (a newer observation is held).
  Verdict Set(std::string_view signal, const SignalValue& value, Timestamp observed_at);

  // The last value; nullopt: never observed.
  std::optional<SignalValue> Find(std::string_view signal) const;

  // When it was observed; nullopt: never.
  std::optional<Timestamp> ObservedAt(std::string_view signal) const;

  // All apps of the dashboard, by id; replaces the list.
  struct App {
    std::string version;
    Timestamp observed_at;
  };

  void SetApps(std::map<std::string, App> apps, Timestamp observed_at);

  // Where a group's values come from; empty: the car's own sensors.
  void SetSource(Group group, std::string_view source);

  // Everything is as it was: all signals are observed again at `now`.
  void Reobserve(Timestamp now);

  // The clock was set back to `now`: nothing was observed later than that, or what comes next would
  // be taken for older. Groups whose times this changes count as changed once anything of them is
  // observed again: what was said of them has times that are void.
  void NotAfter(Timestamp now);

  // Since the last Build of the group: is a value another, or where it comes from?
  bool Changed(Group group) const { return groups_[static_cast<size_t>(group)].changed; }

  // The group counts as changed though it may not be.
  void Insist(Group group) { groups_[static_cast<size_t>(group)].changed = true; }

  // Since the last Build of the group: was anything of it observed, even the same?
  bool Observed(Group group) const { return groups_[static_cast<size_t>(group)].observed; }

  // The complete group; nullopt: nothing of it has been observed. Clears Changed and Observed.
  std::optional<v1::StateGroup> Build(Group group, uint64_t sequence);

 private:
  struct Signal {
    SignalValue value;
    Timestamp observed_at;
  };

  // nullptr: never observed.
  const Signal* Held(std::string_view signal) const;

  struct GroupBoard {
    std::map<std::string, Signal, std::less<>> signals;  // by field name
    std::string source;
    bool changed = false;
    bool observed = false;
    bool said_void = false;  // the next observation counts as a change
  };

  std::array<GroupBoard, kGroupCount> groups_;
  std::map<std::string, App> apps_;
  Timestamp apps_observed_at_;
};

}  // namespace latchkey::car
