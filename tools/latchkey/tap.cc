// latchkey tap: what an operator may see of a fleet's state, as it passes: filtered, printed or
// written to files, with what did not arrive counted.
#include <algorithm>
#include <csignal>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "latchkey/v1/presence.pb.h"
#include "proto/certificate.h"
#include "proto/keyring.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "proto/wire.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/missed.h"
#include "tools/latchkey/rotating_file.h"
#include "tools/latchkey/show.h"
#include "tools/latchkey/tap_clocks.h"
#include "tools/latchkey/tap_filter.h"
#include "tools/latchkey/tap_show.h"
#include "tools/mqtt/link.h"

namespace latchkey::cli {

namespace {

constexpr Duration kRetryFirst = std::chrono::milliseconds(250);
constexpr Duration kRetryMax = std::chrono::seconds(5);
constexpr Duration kForever = std::chrono::hours(24 * 365);
constexpr Duration kLookForStop = std::chrono::milliseconds(200);
constexpr Duration kTellMissedEvery = std::chrono::seconds(1);
constexpr int kFirstRefusal = 0x80;
constexpr int kKeepMax = 1000;

volatile std::sig_atomic_t tap_interrupted = 0;

void Interrupt(int /*signal*/) {
  tap_interrupted = 1;
}

struct TapOptions {
  std::string name;
  std::string fleet;
  std::vector<std::string> groups;
  std::string car;
  std::vector<std::string> where;
  std::string share;
  std::string output;
  std::string rotate;
  int keep = 5;
  std::string length;
  uint64_t count = 0;
};

// What was asked for, checked.
struct Wanted {
  std::vector<std::string> filters;  // presence, then state
  std::set<Group> groups;            // to be shown
  std::string cars;                  // pattern
  std::vector<Condition> conditions;
  bool presence = false;  // to be shown
  bool shared = false;
  Duration length = kForever;
  uint64_t count = 0;
  uint64_t file_bytes_max = 0;
};

bool IsPattern(const std::string& car) {
  return car.find_first_of("*?") != std::string::npos;
}

Result<std::set<Group>> ParseGroups(const std::vector<std::string>& words) {
  std::set<Group> groups;
  for (const std::string& word : words) {
    const std::optional<Group> group = ParseGroup(word);
    if (!group) {
      return Fail(v1::REASON_MALFORMED, "no state group \"" + word + "\"");
    }
    groups.insert(*group);
  }
  if (groups.empty()) {
    groups.insert(kGroups.begin(), kGroups.end());
  }
  return groups;
}

Result<Wanted> Check(const TapOptions& options) {
  Wanted wanted;
  wanted.count = options.count;
  wanted.cars = options.car.empty() ? "*" : options.car;
  wanted.presence = options.groups.empty() && options.share.empty();
  wanted.shared = !options.share.empty();
  LK_TRY(const FleetId fleet, ParseFleet(options.fleet));
  if (!options.car.empty() && !IsPattern(options.car) && !CarId::Parse(options.car)) {
    return Fail(v1::REASON_MALFORMED, "\"" + options.car + "\" is not the name of a car");
  }
  LK_TRY(wanted.groups, ParseGroups(options.groups));
  for (const std::string& text : options.where) {
    LK_TRY(Condition condition, ParseCondition(text));
    wanted.conditions.push_back(std::move(condition));
  }
  if (!options.length.empty()) {
    LK_TRY(wanted.length, ParseDuration(options.length));
  }
  if (!options.rotate.empty()) {
    LK_TRY(wanted.file_bytes_max, ParseBytes(options.rotate));
  }
  // The name of a share is a level of the filter of its own.
  if (wanted.shared && !CarId::Parse(options.share)) {
    return Fail(v1::REASON_MALFORMED,
                "\"" + options.share + "\" is no name of a share: letters, digits, '-' and '_'");
  }
  const bool one_car = !options.car.empty() && !IsPattern(options.car);
  const std::string base = "lk/1/" + fleet.str() + "/" + (one_car ? options.car : "+") + "/";
  const std::string share = wanted.shared ? "$share/" + options.share + "/" : "";
  wanted.filters.push_back(base + "presence");
  std::set<Group> heard = wanted.groups;
  heard.merge(CarConditions(wanted.conditions).groups());
  if (heard.size() == kGroupCount) {
    wanted.filters.push_back(share + base + "state/+");
    return wanted;
  }
  for (const Group group : heard) {
    wanted.filters.push_back(share + base + "state/" + std::string(ToText(group)));
  }
  return wanted;
}

// The loop of one tap.
class Tap {
 public:
  Tap(Context& context, Wanted wanted, std::unique_ptr<RotatingFile> file, tools::LinkOptions link)
      : context_(context),
        wanted_(std::move(wanted)),
        file_(std::move(file)),
        conditions_(wanted_.conditions),
        link_(0, std::move(link), inbox_) {}

  void Run() {
    const Instant begin = ReadClocks().mono;
    Instant connect_at = begin;
    Duration back_off = kRetryFirst;
    bool idle = true;  // neither connected nor trying
    while (!over_ && tap_interrupted == 0) {
      const Instant now = ReadClocks().mono;
      if (now - begin >= wanted_.length) {
        break;
      }
      if (idle && now >= connect_at) {
        idle = false;
        link_.Connect();
      }
      Duration wait = std::min(wanted_.length - (now - begin), kLookForStop);
      if (idle) {
        wait = std::min(wait, connect_at - now);
      }
      const std::optional<tools::LinkEvent> event = inbox_.Wait(std::max(wait, Duration(0)));
      if (event && On(*event)) {
        idle = true;
        back_off = std::min(back_off * 2, kRetryMax);
        connect_at = ReadClocks().mono + back_off;
      }
      if (now >= told_missed_at_ + kTellMissedEvery) {
        TellMissed(now);
      }
    }
    TellMissed(ReadClocks().mono);
    if (!heard_ && !trouble_.empty() && context_.exit_code == 0) {
      Complain(context_, {v1::REASON_NOT_ALLOWED, "nothing heard: " + trouble_}, 3);
    }
  }

 private:
  // True: the connection is gone and must be made again.
  bool On(const tools::LinkEvent& event) {
    switch (event.kind) {
      case tools::LinkEvent::Kind::kConnected:
        link_.Subscribe(wanted_.filters, 1);
        return false;
      case tools::LinkEvent::Kind::kRefused:
        Complain(context_,
                 {v1::REASON_NOT_ALLOWED,
                  "the broker refuses this operator: " + ReasonCodeText(event.reason_code) +
                      "; its certificate may be out of its time or of another fleet"});
        over_ = true;
        return false;
      case tools::LinkEvent::Kind::kDisconnected:
        trouble_ = event.text;
        return true;
      case tools::LinkEvent::Kind::kSubscribed:
        OnSubscribed(event.reason_codes);
        return false;
      case tools::LinkEvent::Kind::kPublished:
        return false;
      case tools::LinkEvent::Kind::kMessage:
        Hear(event.message);
        return false;
    }
    return false;
  }

  void OnSubscribed(const std::vector<int>& codes) {
    for (size_t i = 0; i < std::min(codes.size(), wanted_.filters.size()); ++i) {
      if (codes[i] >= kFirstRefusal) {
        Complain(context_, {v1::REASON_NOT_ALLOWED,
                            "the broker does not let this operator listen to " +
                                wanted_.filters[i] + ": " + ReasonCodeText(codes[i])});
        over_ = true;
        return;
      }
    }
  }

  void Hear(const Publish& message) {
    const std::optional<Topic> topic = ParseTopic(message.topic);
    // Empty: its car was erased.
    if (!topic || over_ || message.payload.empty() || !MatchesGlob(wanted_.cars, topic->car)) {
      return;
    }
    heard_ = true;
    const std::string car = std::string(topic->fleet) + "/" + std::string(topic->car);
    const bool shown = topic->kind == TopicKind::kState      ? HearState(car, *topic, message)
                       : topic->kind == TopicKind::kPresence ? HearPresence(car, message)
                                                             : false;
    if (shown && wanted_.count != 0 && ++shown_ >= wanted_.count) {
      over_ = true;
    }
  }

  // True: it was shown.
  bool HearState(const std::string& car, const Topic& topic, const Publish& message) {
    const Result<v1::StateGroup> state = ParseState(message.payload, topic.group);
    if (!state) {
      return false;
    }
    if (!wanted_.shared) {  // who shares hears only a part
      missed_.Take(car, topic.group, state->sequence());
    }
    TellClock(car, topic.group, *state, message.retain);
    Known& known = cars_[car];
    known.motion.Take(topic.group, *state);
    const std::vector<SignalRow> rows = SignalsOf(*state);
    conditions_.Take(car, topic.group, rows);
    if (wanted_.groups.count(topic.group) == 0 || !conditions_.Hold(car)) {
      return false;
    }
    const HeardState heard{car,
                           topic.group,
                           *state,
                           rows,
                           ModeOf(known.online, known.motion),
                           message.retain,
                           ReadClocks().wall};
    Put(context_.json ? StateJson(heard) : StateText(heard));
    return true;
  }

  bool HearPresence(const std::string& car, const Publish& message) {
    const std::optional<v1::Presence> presence =
        FromWire<v1::Presence>(message.payload, RuleOf(TopicKind::kPresence).payload_bytes_max);
    if (!presence) {
      return false;
    }
    missed_.Take(car, *presence);
    cars_[car].online = presence->online();
    if (!wanted_.presence || !conditions_.Hold(car)) {
      return false;
    }
    const Timestamp now = ReadClocks().wall;
    Put(context_.json ? PresenceJson(car, *presence, message.retain, now)
                      : PresenceText(car, *presence, now));
    return true;
  }

  void TellClock(const std::string& car, Group group, const v1::StateGroup& state,
                 Retain retained) {
    const Now now = ReadClocks();
    const auto news = clocks_.Take(car, {group, VersionOf(state), retained, now.wall, now.mono});
    if (news) {
      Put(context_.json ? ClockNewsJson(car, *news, now.wall)
                        : ClockNewsText(car, *news, now.wall));
    }
  }

  void Put(const std::string& line) {
    if (file_ == nullptr) {
      Say(line);
      return;
    }
    const Result<void> written = file_->Add(line);
    if (!written) {
      Complain(context_, written.error());
      over_ = true;
    }
  }

  void TellMissed(Instant now) {
    told_missed_at_ = now;
    if (missed_.messages() == told_missed_) {
      return;
    }
    told_missed_ = missed_.messages();
    if (context_.json) {
      Put(MissedJson(missed_));
    }
    std::cerr << MissedText(missed_)
              << " so far: this tap was away or too slow for what it listens to; narrow it with "
                 "--group or --car, or share the work with --share\n"
              << std::flush;
  }

  // What a tap knows of a car.
  struct Known {
    std::optional<bool> online;
    Motion motion;
  };

  Context& context_;
  Wanted wanted_;
  std::unique_ptr<RotatingFile> file_;  // null: stdout
  CarConditions conditions_;
  std::map<std::string, Known> cars_;
  TapClocks clocks_;
  Missed missed_;
  uint64_t told_missed_ = 0;
  Instant told_missed_at_;
  tools::Inbox inbox_;
  tools::Link link_;
  uint64_t shown_ = 0;
  bool over_ = false;
  bool heard_ = false;
  std::string trouble_;
};

// What was asked for by name and the operator's certificate does not hold: the broker would hand
// over none of it, without a word.
Result<void> CheckRights(const TapOptions& options, const Wanted& wanted,
                         const std::string& certificate_pem) {
  LK_TRY(const Certificate certificate, Certificate::FromPem(certificate_pem));
  const auto* staff = std::get_if<OperatorIdentity>(&certificate.identity);
  if (staff == nullptr) {
    return Fail(v1::REASON_BAD_CERTIFICATE, "the certificate is not an operator's");
  }
  std::set<Group> asked = CarConditions(wanted.conditions).groups();
  if (!options.groups.empty()) {
    asked.insert(wanted.groups.begin(), wanted.groups.end());
  }
  std::string missing;
  std::string held;
  for (const Group group : kGroups) {
    const bool may = (staff->permissions & Bit(ReadPermission(group))) != 0;
    std::string& list = may ? held : missing;
    if (may || asked.count(group) > 0) {
      list += (list.empty() ? "" : ",") + std::string(ToText(group));
    }
  }
  if (!missing.empty()) {
    return Fail(v1::REASON_NOT_PERMITTED,
                "operator " + options.name + " may not see " + missing + ", only " + held +
                    ": `latchkey operator add " + options.name + " --fleet " + options.fleet +
                    " --groups " + held + "," + missing + "` gives a certificate that may");
  }
  return {};
}

void Start(Context& context, const TapOptions& options) {
  const Folder folder(context.data);
  Result<Wanted> wanted = Check(options);
  const Result<Cell> cell = folder.LoadCell();
  if (!wanted || !cell) {
    Complain(context, !wanted ? wanted.error() : cell.error(), !wanted ? 2 : 1);
    return;
  }
  const std::filesystem::path path =
      folder.Operator(FleetId::Parse(options.fleet).value_or(FleetId()), options.name);
  const Result<std::string> certificate = ReadFile(path / "operator.pem");
  if (!certificate) {
    Complain(context, {v1::REASON_BAD_CERTIFICATE,
                       "no operator " + options.name + " of fleet " + options.fleet + " (" +
                           certificate.error().text + "): make it with `latchkey operator add " +
                           options.name + " --fleet " + options.fleet + " --groups energy`"});
    return;
  }
  const Result<void> may = CheckRights(options, *wanted, *certificate);
  if (!may) {
    Complain(context, may.error());
    return;
  }
  tools::LinkOptions link;
  link.host = cell->host;
  link.port = cell->car_port;
  link.client_id =
      options.fleet + "/operator/" + options.name + "/tap-" + std::to_string(::getpid());
  link.ca_file = folder.CellCa().string();
  link.certificate_file = (path / "operator.pem").string();
  link.private_key_file = (path / "operator.key").string();
  std::unique_ptr<RotatingFile> file;
  if (!options.output.empty()) {
    Result<std::unique_ptr<RotatingFile>> opened =
        RotatingFile::Open(options.output, wanted->file_bytes_max, options.keep);
    if (!opened) {
      Complain(context, opened.error());
      return;
    }
    file = std::move(*opened);
  }
  static_cast<void>(std::signal(SIGINT, Interrupt));
  static_cast<void>(std::signal(SIGTERM, Interrupt));
  Tap(context, std::move(*wanted), std::move(file), std::move(link)).Run();
}

}  // namespace

void AddTap(CLI::App& app, Context& context) {
  CLI::App* tap = app.add_subcommand("tap", "Show a fleet's state as an operator, as it passes");
  const auto options = std::make_shared<TapOptions>();
  tap->add_option("NAME", options->name, "The operator")->required();
  tap->add_option("--fleet", options->fleet, "The fleet")->required();
  tap->add_option("--group", options->groups,
                  "Only these state groups, joined by commas (default: all, and presence)")
      ->delimiter(',')
      ->allow_extra_args(false);
  tap->add_option("--car", options->car, "Only this car, or cars whose names match: 'F3-*', 'A?7'");
  tap->add_option("--where", options->where,
                  "Only cars of which this holds, as far as the tap has heard: 'energy.soc<20', "
                  "'body.is_locked=no'; may be given several times")
      ->take_all()
      ->allow_extra_args(false);
  tap->add_option("--share", options->share,
                  "Share the work with all taps of this name: each message goes to one of them "
                  "(what is missed is then not counted)");
  CLI::Option* output =
      tap->add_option("--output", options->output, "Write to this file (0600) instead of printing");
  tap->add_option("--rotate", options->rotate,
                  "Put the file aside at this size: 500kB, 10MB, 1GB (default: never)")
      ->needs(output);
  tap->add_option("--keep", options->keep, "Keep so many files that were put aside (default 5)")
      ->check(CLI::Range(0, kKeepMax))
      ->needs(output);
  tap->add_option("--count", options->count, "End after this many messages");
  tap->add_option("--for", options->length, "End after this long");
  tap->footer(
      "Says on stderr how many messages it missed, because it was too slow or away.\n"
      "Each tap is in the cell's log, with what it listens to.\n"
      "Examples:\n"
      "  latchkey tap ops --fleet demo --group energy --count 20\n"
      "  latchkey tap ops --fleet demo --where 'energy.soc<20' --group energy,area\n"
      "  latchkey --json tap ops --fleet demo --output fleet.jsonl --rotate 10MB --keep 5\n");
  tap->callback([&context, options] { Start(context, *options); });
}

}  // namespace latchkey::cli
