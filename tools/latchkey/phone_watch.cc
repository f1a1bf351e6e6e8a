// latchkey phone watch: what a car last said, every value with when it was observed and received,
// its age and how far that can be trusted.
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "proto/clock_check.h"
#include "proto/freshness.h"
#include "proto/keyring.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/receipts.h"
#include "tools/latchkey/rights.h"
#include "tools/latchkey/session.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr Duration kOncePatience = std::chrono::seconds(15);
constexpr size_t kNewsMax = 5;

struct WatchOptions {
  std::string name;
  std::string car;
  std::string length;
  bool once = false;
};

// Shows a car in one of three ways: the whole on a terminal, lines as they come, or JSON lines.
class View {
 public:
  enum class Form : uint8_t { kScreen, kLines, kJson };

  View(const Context& context, const tools::Phone& phone, CarRef ref, Form form)
      : context_(context), phone_(phone), ref_(std::move(ref)), form_(form) {}

  // A message of state came: when, whether the broker had kept it, and what it says of the clock.
  void Heard(const tools::Phone::StateChanged& state) {
    const Now now = ReadClocks();
    const size_t index = static_cast<size_t>(state.group);
    came_.at(index) = Came{now.wall, state.retained};
    const StateVersion version = VersionOf(*phone_.Find(ref_)->groups.at(index));
    const ClockCheck::Found found = clock_.Take(
        {version, std::nullopt, now.wall, state.retained ? std::nullopt : std::optional(now.mono)});
    clock_news_ = clock_news_ || found.changed;
  }

  void OnState(Group group) {
    if (form_ == Form::kScreen) {
      return;  // drawn once a second
    }
    SayClock();
    const Moment moment = MomentOf(group);
    for (const SignalRow& row : Rows(group)) {
      // Only what is new: a group repeats all of its signals.
      const auto seen = shown_.find(row.name);
      const auto mark = std::pair(row.observed_at.ms, ValueText(row));
      if (seen != shown_.end() && seen->second == mark) {
        continue;
      }
      shown_[row.name] = mark;
      if (form_ == Form::kJson) {
        nlohmann::ordered_json json = {
            {"car", ref_.ToText()}, {"group", ToText(group)}, {"mode", ToText(moment.mode)}};
        json.update(RowJson(row, moment));
        Say(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      } else {
        Say(ClockText(moment.now) + "  " + RowText(row, moment));
      }
    }
  }

  void OnPresence() {
    const std::optional<v1::Presence>& presence = phone_.Find(ref_)->presence;
    if (form_ == Form::kScreen || !presence) {
      return;
    }
    const Timestamp now = ReadClocks().wall;
    if (form_ == Form::kJson) {
      const Timestamp since{static_cast<int64_t>(presence->since_ms())};
      Say(nlohmann::ordered_json{{"car", ref_.ToText()},
                                 {"event", "presence"},
                                 {"online", presence->online()},
                                 {"since_ms", since.ms},
                                 {"age_ms", AgeOf(since, now).count()}}
              .dump());
    } else {
      Say(ClockText(now) + "  " + PresenceText(now));
    }
  }

  // Who came, went and changed on the ring: a line; on the terminal the last few stay in view.
  void OnRingChange(const tools::Phone::RingChanged& change) {
    if (form_ != Form::kScreen) {
      SayRingChange(context_, change, phone_.id());
      return;
    }
    const auto keep = [&](const char* what, const std::vector<RingKey>& keys) {
      for (const RingKey& key : keys) {
        news_.push_back(ClockText(ReadClocks().wall) + "  key " + what + ": " +
                        Printable(key.label) + " (" + RoleText(key.role) + ")");
      }
    };
    keep("added", change.added);
    keep("changed", change.changed);
    keep("removed", change.removed);
    while (news_.size() > kNewsMax) {
      news_.pop_front();
    }
  }

  // Everything known, for --once and for the terminal.
  std::string Whole() const {
    const Timestamp now = ReadClocks().wall;
    std::string text =
        ref_.ToText() + "  " + PresenceText(now) + ", " + std::string(ToText(Mode())) + "\n";
    if (clock_.state().word != ClockWord::kRight) {
      text += "warning: " + ClockText(clock_.state()) + kByThisClock + "\n";
    }
    for (const Group group : kGroups) {
      const v1::StateGroup* state = StateOf(group);
      if (state == nullptr) {
        continue;
      }
      text += std::string(ToText(group)) +
              (state->source().empty() ? "" : "  (from " + Printable(state->source()) + ")") + "\n";
      for (const SignalRow& row : Rows(group)) {
        text += "  " + RowText(row, MomentOf(group)) + "\n";
      }
      text += ListText("  never observed: ", NeverObserved(group, state));
    }
    text += ListText("never observed: ", NeverHeard());
    for (const std::string& line : news_) {
      text += line + "\n";
    }
    return text;
  }

  // What there is no value of, for --once: a line for each group.
  void SayNever() const {
    for (const Group group : kGroups) {
      const std::vector<std::string> never = NeverObserved(group, StateOf(group));
      if (MayRead(group) && !never.empty()) {
        Say(nlohmann::ordered_json{{"car", ref_.ToText()},
                                   {"event", "never"},
                                   {"group", ToText(group)},
                                   {"freshness", ToText(Freshness::kNever)},
                                   {"signals", never}}
                .dump());
      }
    }
  }

  bool Empty() const {
    const tools::CarView& car = *phone_.Find(ref_);
    for (const auto& group : car.groups) {
      if (group) {
        return false;
      }
    }
    return !car.presence;
  }

  Form form() const { return form_; }

 private:
  struct Came {
    Timestamp received_at;
    bool retained = false;
  };

  static constexpr const char* kByThisClock = " (by the clock of this machine)";

  // nullptr: nothing was heard of it.
  const v1::StateGroup* StateOf(Group group) const {
    const auto& state = phone_.Find(ref_)->groups.at(static_cast<size_t>(group));
    return state ? &*state : nullptr;
  }

  std::vector<SignalRow> Rows(Group group) const {
    const v1::StateGroup* state = StateOf(group);
    return state != nullptr ? SignalsOf(*state) : std::vector<SignalRow>();
  }

  CarMode Mode() const {
    Motion motion;
    for (const Group group : {Group::kDrive, Group::kEnergy}) {
      if (const v1::StateGroup* state = StateOf(group)) {
        motion.Take(group, *state);
      }
    }
    const std::optional<v1::Presence>& presence = phone_.Find(ref_)->presence;
    return ModeOf(presence ? std::optional(presence->online()) : std::nullopt, motion);
  }

  Moment MomentOf(Group group) const {
    const Timestamp now = ReadClocks().wall;
    const Came came = came_.at(static_cast<size_t>(group)).value_or(Came{now, false});
    return {now, came.received_at, group, Mode(), came.retained};
  }

  bool MayRead(Group group) const {
    const RingKey* key = phone_.Find(ref_)->pairing.ring.Find(phone_.id());
    return key != nullptr && (key->permissions & Bit(ReadPermission(group))) != 0;
  }

  // Groups this phone may read and has heard nothing of.
  std::vector<std::string> NeverHeard() const {
    std::vector<std::string> names;
    for (const Group group : kGroups) {
      if (StateOf(group) == nullptr && MayRead(group)) {
        names.emplace_back(ToText(group));
      }
    }
    return names;
  }

  // A line; empty: there are no names.
  static std::string ListText(const std::string& start, const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) {
      text += (text.empty() ? start : ", ") + name;
    }
    return text.empty() ? text : text + "\n";
  }

  void SayClock() {
    if (!std::exchange(clock_news_, false)) {
      return;
    }
    const ClockState state = clock_.state();
    const std::string text =
        state.word == ClockWord::kRight ? "car's clock is right again" : ClockText(state);
    Say(form_ == Form::kJson ? nlohmann::ordered_json{{"car", ref_.ToText()},
                                                      {"event", "clock"},
                                                      {"word", ToText(state.word)},
                                                      {"by_ms", state.by.count()},
                                                      {"text", text}}
                                   .dump()
                             : ClockText(ReadClocks().wall) + "  " + text + kByThisClock);
  }

  std::string PresenceText(Timestamp now) const {
    const std::optional<v1::Presence>& presence = phone_.Find(ref_)->presence;
    if (!presence) {
      return "presence not known";
    }
    const Timestamp since{static_cast<int64_t>(presence->since_ms())};
    return std::string(presence->online() ? "online" : "offline") + " since " + DateText(since) +
           " (" + AgeText(AgeOf(since, now)) + ")";
  }

  const Context& context_;
  const tools::Phone& phone_;
  CarRef ref_;
  Form form_;
  std::array<std::optional<Came>, kGroupCount> came_;
  ClockCheck clock_;
  bool clock_news_ = false;                                       // to be said
  std::deque<std::string> news_;                                  // of the ring, for the terminal
  std::map<std::string, std::pair<int64_t, std::string>> shown_;  // by signal: time and value
};

void Draw(const View& view) {
  static constexpr const char* kHomeAndClear = "\x1b[H\x1b[J";
  Say(kHomeAndClear + view.Whole() + "\nCtrl-C ends.");
}

// Said on the way: state and presence to the view, refusals to stderr.
class Watcher {
 public:
  Watcher(Context& context, const tools::Phone& phone, View& view, bool quiet)
      : context_(context), phone_(phone), view_(view), quiet_(quiet) {}

  bool operator()(const tools::Phone::Effect& effect) {
    if (const auto* state = std::get_if<tools::Phone::StateChanged>(&effect)) {
      shut_out_ = false;
      view_.Heard(*state);
      if (!quiet_) {
        view_.OnState(state->group);
      }
    } else if (std::holds_alternative<tools::Phone::PresenceChanged>(effect)) {
      if (!quiet_) {
        view_.OnPresence();
      }
    } else if (const auto* failure = std::get_if<tools::Phone::Failed>(&effect)) {
      return OnRefusal(*failure);
    } else if (const auto* change = std::get_if<tools::Phone::RingChanged>(&effect)) {
      if (!quiet_) {
        view_.OnRingChange(*change);
      }
    } else if (const auto* ring = std::get_if<tools::Phone::Learned>(&effect)) {
      learned = true;
      if (!ring->on_ring) {
        Complain(context_, {v1::REASON_NOT_ON_RING,
                            "the car's ring no longer names this phone: it has lost its key"});
        return true;
      }
    }
    return false;
  }

  bool learned = false;

 private:
  // A key that is on the ring may be let in again, when its hours begin or a block ends: the phone
  // goes on asking, and hears on its own lane when the car has removed it.
  bool OnRefusal(const tools::Phone::Failed& failure) {
    const tools::CarView* car = phone_.Find(failure.ref);
    const bool named = car != nullptr && car->pairing.ring.Find(phone_.id()) != nullptr;
    if (failure.filter.empty() || quiet_ || !named) {
      Complain(context_, {failure.error.reason, failure.error.text + " (the broker says " +
                                                    ReasonCodeText(failure.broker_reason) + ")"});
      return true;
    }
    if (!std::exchange(shut_out_, true)) {
      const std::string text = "the broker lets this phone hear nothing of car " +
                               failure.ref.ToText() +
                               " at the moment: its key is removed, blocked or outside its hours; "
                               "asking again until it does";
      Say(context_.json ? nlohmann::ordered_json{{"event", "shut_out"},
                                                 {"car", failure.ref.ToText()},
                                                 {"text", text}}
                              .dump()
                        : ClockText(ReadClocks().wall) + "  " + text);
    }
    return false;
  }

  Context& context_;
  const tools::Phone& phone_;
  View& view_;
  bool quiet_;
  bool shut_out_ = false;  // and has been told so
};

void ShowOnce(Context& context, View& view) {
  if (view.Empty()) {
    Complain(context, {v1::REASON_NO_OFFER,
                       "the broker has nothing from this car yet: it has never been online, or "
                       "broker and bridge have just started"});
    return;
  }
  if (view.form() != View::Form::kJson) {
    Say(view.Whole());
    return;
  }
  view.OnPresence();
  for (const Group group : kGroups) {
    view.OnState(group);
  }
  view.SayNever();
}

void Watch(Context& context, const WatchOptions& options) {
  std::optional<Duration> length;
  if (!options.length.empty()) {
    const Result<Duration> read = ParseDuration(options.length);
    if (!read) {
      Complain(context, read.error(), 2);
      return;
    }
    length = *read;
  }
  Result<std::unique_ptr<Talk>> talk = OpenTalk(context, options.name, options.car, "watch");
  if (!talk) {
    Complain(context, talk.error());
    return;
  }
  const CarRef ref = (*talk)->phone.cars().begin()->first;
  const bool screen = !options.once && !context.json && ::isatty(STDOUT_FILENO) == 1;
  View view(context, (*talk)->phone, ref,
            context.json ? View::Form::kJson
            : screen     ? View::Form::kScreen
                         : View::Form::kLines);
  Watcher watcher(context, (*talk)->phone, view, options.once);
  Session session((*talk)->phone, (*talk)->link,
                  [&watcher](const tools::Phone::Effect& effect) { return watcher(effect); });
  if (options.once) {
    session.FenceWith(ReceiptTopic(ref, (*talk)->phone.id()));
    length = length.value_or(kOncePatience);
  }
  if (screen) {
    session.OnIdle([&view] { Draw(view); });
  }
  const Session::End end = session.Run(length);
  if (watcher.learned) {
    const Result<void> saved = SaveTalk(context, **talk);
    if (!saved) {
      Complain(context, saved.error());
    }
  }
  if (end == Session::End::kRefused) {
    Complain(context, session.error());
  } else if (end == Session::End::kFenced) {
    ShowOnce(context, view);
  } else if (end == Session::End::kTimeout && (options.once || view.Empty())) {
    Complain(
        context,
        {v1::REASON_NO_OFFER,
         "nothing from the broker in time: is it running?" +
             (session.trouble().empty() ? std::string() : " (last: " + session.trouble() + ")")},
        3);
  }
}

}  // namespace

void AddPhoneWatch(CLI::App& phone, Context& context) {
  CLI::App* watch = phone.add_subcommand(
      "watch", "Show what a car says, every value with its observed time, age and freshness");
  const auto options = std::make_shared<WatchOptions>();
  watch->add_option("NAME", options->name, "The phone")->required();
  watch->add_option("CAR", options->car, "The car: demo-car, or demo/demo-car")->required();
  watch->add_flag("--once", options->once, "Show all that is known and end");
  watch->add_option("--for", options->length, "End after this long");
  watch->footer(
      "Examples:\n  latchkey phone watch anna demo-car\n"
      "  latchkey --json phone watch anna demo-car --for 1m\n");
  watch->callback([&context, options] { Watch(context, *options); });
}

}  // namespace latchkey::cli
