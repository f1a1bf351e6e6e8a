// latchkey tap: what an operator may see of a fleet's state, as it passes.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "latchkey/v1/presence.pb.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "proto/wire.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/show.h"
#include "tools/mqtt/link.h"

namespace latchkey::cli {

namespace {

constexpr Duration kRetryFirst = std::chrono::milliseconds(250);
constexpr Duration kRetryMax = std::chrono::seconds(5);
constexpr Duration kForever = std::chrono::hours(24 * 365);
constexpr size_t kPresenceBytesMax = 256;
constexpr int kFirstRefusal = 0x80;

struct TapOptions {
  std::string name;
  std::string fleet;
  std::string group;
  std::string car;
  std::string length;
  uint64_t count = 0;
};

// What was asked for, checked.
struct Wanted {
  std::vector<std::string> filters;
  Duration length = kForever;
  uint64_t count = 0;
};

Result<Wanted> Check(const TapOptions& options) {
  Wanted wanted;
  wanted.count = options.count;
  const std::optional<FleetId> fleet = FleetId::Parse(options.fleet);
  if (!fleet) {
    return Fail(v1::REASON_MALFORMED, "\"" + options.fleet + "\" is not the name of a fleet");
  }
  if (!options.car.empty() && !CarId::Parse(options.car)) {
    return Fail(v1::REASON_MALFORMED, "\"" + options.car + "\" is not the name of a car");
  }
  if (!options.group.empty() && !ParseGroup(options.group)) {
    return Fail(v1::REASON_MALFORMED, "no state group \"" + options.group + "\"");
  }
  if (!options.length.empty()) {
    LK_TRY(wanted.length, ParseDuration(options.length));
  }
  const std::string base =
      "lk/1/" + fleet->str() + "/" + (options.car.empty() ? "+" : options.car) + "/";
  wanted.filters.push_back(base + "state/" + (options.group.empty() ? "+" : options.group));
  if (options.group.empty()) {
    wanted.filters.push_back(base + "presence");
  }
  return wanted;
}

// Prints one message. False: not something to show.
bool ShowState(const Context& context, const Topic& topic, const Publish& message) {
  const Result<v1::StateGroup> state = ParseState(message.payload, topic.group);
  if (!state) {
    return false;
  }
  const Timestamp now = ReadClocks().wall;
  const Timestamp observed_at{VersionOf(*state).observed_at_ms};
  const std::vector<SignalRow> rows = SignalsOf(*state);
  const std::string car = std::string(topic.fleet) + "/" + std::string(topic.car);
  if (context.json) {
    nlohmann::ordered_json json = {{"car", car},
                                   {"group", ToText(topic.group)},
                                   {"received_at_ms", now.ms},
                                   {"observed_at_ms", observed_at.ms},
                                   {"age_ms", AgeOf(observed_at, now).count()},
                                   {"retained", message.retain == Retain::kYes}};
    if (!state->source().empty()) {
      json["source"] = state->source();
    }
    json["signals"] = nlohmann::ordered_json::array();
    for (const SignalRow& row : rows) {
      json["signals"].push_back(RowJson(row, now));
    }
    Say(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return true;
  }
  std::string line = ClockText(now) + "  " + car + "  " + std::string(ToText(topic.group)) + "  " +
                     AgeText(AgeOf(observed_at, now)) + " old:";
  for (const SignalRow& row : rows) {
    line += "  " + row.name.substr(row.name.rfind('.') + 1) + "=" + ValueText(row) +
            (row.unit.empty() ? "" : " " + row.unit);
    if (row.observed_at < observed_at) {
      line += " (" + AgeText(AgeOf(row.observed_at, now)) + ")";
    }
  }
  Say(line);
  return true;
}

bool ShowPresence(const Context& context, const Topic& topic, const Publish& message) {
  const std::optional<v1::Presence> presence =
      FromWire<v1::Presence>(message.payload, kPresenceBytesMax);
  if (!presence) {
    return false;
  }
  const Timestamp now = ReadClocks().wall;
  const Timestamp since{static_cast<int64_t>(presence->since_ms())};
  const std::string car = std::string(topic.fleet) + "/" + std::string(topic.car);
  if (context.json) {
    Say(nlohmann::ordered_json{{"car", car},
                               {"event", "presence"},
                               {"online", presence->online()},
                               {"since_ms", since.ms},
                               {"age_ms", AgeOf(since, now).count()},
                               {"retained", message.retain == Retain::kYes}}
            .dump());
    return true;
  }
  Say(ClockText(now) + "  " + car + "  " + (presence->online() ? "online" : "offline") + " since " +
      DateText(since) + " (" + AgeText(AgeOf(since, now)) + ")");
  return true;
}

// The loop of one tap.
class Tap {
 public:
  Tap(Context& context, Wanted wanted, tools::LinkOptions link)
      : context_(context), wanted_(std::move(wanted)), link_(0, std::move(link), inbox_) {}

  void Run() {
    const Instant begin = ReadClocks().mono;
    Instant connect_at = begin;
    Duration back_off = kRetryFirst;
    bool idle = true;  // neither connected nor trying
    while (!over_) {
      const Instant now = ReadClocks().mono;
      if (now - begin >= wanted_.length) {
        break;
      }
      if (idle && now >= connect_at) {
        idle = false;
        link_.Connect();
      }
      Duration wait = wanted_.length - (now - begin);
      if (idle) {
        wait = std::min(wait, connect_at - now);
      }
      const std::optional<tools::LinkEvent> event = inbox_.Wait(std::max(wait, Duration(0)));
      if (event && On(*event)) {
        idle = true;
        back_off = std::min(back_off * 2, kRetryMax);
        connect_at = ReadClocks().mono + back_off;
      }
    }
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
        if (!event.reason_codes.empty() && event.reason_codes.front() >= kFirstRefusal) {
          Complain(context_,
                   {v1::REASON_NOT_ALLOWED, "the broker does not let this operator listen to " +
                                                wanted_.filters.front() + ": " +
                                                ReasonCodeText(event.reason_codes.front())});
          over_ = true;
        }
        return false;
      case tools::LinkEvent::Kind::kPublished:
        return false;
      case tools::LinkEvent::Kind::kMessage:
        Show(event.message);
        return false;
    }
    return false;
  }

  void Show(const Publish& message) {
    const std::optional<Topic> topic = ParseTopic(message.topic);
    if (!topic || over_) {
      return;
    }
    heard_ = true;
    const bool shown = topic->kind == TopicKind::kState ? ShowState(context_, *topic, message)
                       : topic->kind == TopicKind::kPresence
                           ? ShowPresence(context_, *topic, message)
                           : false;
    if (shown && wanted_.count != 0 && ++shown_ >= wanted_.count) {
      over_ = true;
    }
  }

  Context& context_;
  Wanted wanted_;
  tools::Inbox inbox_;
  tools::Link link_;
  uint64_t shown_ = 0;
  bool over_ = false;
  bool heard_ = false;
  std::string trouble_;
};

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
  tools::LinkOptions link;
  link.host = cell->host;
  link.port = cell->car_port;
  link.client_id =
      options.fleet + "/operator/" + options.name + "/tap-" + std::to_string(::getpid());
  link.ca_file = folder.CellCa().string();
  link.certificate_file = (path / "operator.pem").string();
  link.private_key_file = (path / "operator.key").string();
  Tap(context, std::move(*wanted), std::move(link)).Run();
}

}  // namespace

void AddTap(CLI::App& app, Context& context) {
  CLI::App* tap = app.add_subcommand("tap", "Show a fleet's state as an operator, as it passes");
  const auto options = std::make_shared<TapOptions>();
  tap->add_option("NAME", options->name, "The operator")->required();
  tap->add_option("--fleet", options->fleet, "The fleet")->required();
  tap->add_option("--group", options->group, "Only this state group (default: all, and presence)");
  tap->add_option("--car", options->car, "Only this car");
  tap->add_option("--count", options->count, "End after this many messages");
  tap->add_option("--for", options->length, "End after this long");
  tap->footer("Example:\n  latchkey tap ops --fleet demo --group energy --count 20\n");
  tap->callback([&context, options] { Start(context, *options); });
}

}  // namespace latchkey::cli
