// latchkey upgrade broker: sends the cell's cars and phones from one broker to another that it is
// joined with, at a rate, and back.
#include "tools/latchkey/upgrade_broker.h"

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tools/latchkey/commands.h"
#include "tools/latchkey/desk.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using nlohmann::ordered_json;

constexpr int kUsage = 2;
constexpr int kStopped = 3;
constexpr Duration kAskPatience = std::chrono::seconds(10);
constexpr useconds_t kLookEveryUs = 500'000;

volatile std::sig_atomic_t& StopAsked() {
  static volatile std::sig_atomic_t asked = 0;
  return asked;
}

void AskToStop(int /*signal*/) {
  StopAsked() = 1;
}

struct MoveOptions {
  std::string from;
  std::string to;
  uint32_t rate = 50;
  uint32_t percent = 100;
  std::string timeout;
  bool back = false;
};

// One question to one broker, over a connection of its own: a move may take longer than an
// administrator's certificate lives.
Result<v1::Moving> Ask(const Folder& folder, const Cell& cell, const NamedBroker& broker,
                       const v1::MoveClients& order, Duration patience = kAskPatience) {
  Cell as = cell;
  as.host = broker.host;
  as.car_port = broker.car_port;
  LK_TRY(const std::unique_ptr<Desk> desk, Desk::Open(folder, as, patience));
  v1::Control question;
  *question.mutable_move_clients() = order;
  Result<v1::ControlAnswer> answer = desk->Ask(std::move(question));
  if (!answer) {
    return Fail(answer.error().reason, "broker " + broker.name + ": " + answer.error().text);
  }
  return answer->moving();
}

v1::MoveClients Tell() {
  v1::MoveClients order;
  order.set_only_tell(true);
  return order;
}

v1::MoveClients Order(uint32_t percent, uint32_t per_second) {
  v1::MoveClients order;
  order.set_percent(percent);
  order.set_per_second(per_second);
  return order;
}

ordered_json MovingJson(const NamedBroker& broker, const v1::Moving& moving) {
  return {{"broker", broker.name},
          {"address", broker.host + ":" + std::to_string(broker.car_port)},
          {"clients", moving.clients()},
          {"to_go", moving.to_go()},
          {"percent_away", moving.percent()},
          {"per_second", moving.per_second()},
          {"sent_away", moving.sent_away()},
          {"kept_out", moving.kept_out()},
          {"joined_with", moving.peer()}};
}

std::string MovingText(const NamedBroker& broker, const v1::Moving& moving) {
  std::string text = broker.name + " (" + broker.host + ":" + std::to_string(broker.car_port) +
                     "): " + std::to_string(moving.clients()) + " cars and phones";
  if (moving.percent() > 0) {
    text += "; " + std::to_string(moving.percent()) + " % are to be at the other broker, " +
            std::to_string(moving.to_go()) + " have yet to go" +
            (moving.per_second() == 0 ? ", paused" : "");
  }
  return text +
         (moving.peer().empty() ? "; joined with no other" : "; joined with " + moving.peer());
}

class Mover {
 public:
  Mover(Context& context, MoveOptions options) : context_(context), options_(std::move(options)) {}

  Result<void> Run() {
    LK_CHECK(Settle());
    LK_TRY(const v1::Moving stands, Ask(folder_, cell_, from_, Tell()));
    if (stands.peer() != to_.name) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "broker " + from_.name + " is not joined with " + to_.name +
                      (stands.peer().empty() ? "" : " but with " + stands.peer()) +
                      ": nobody was moved; is " + to_.name + " running? See its log");
    }
    // Nobody is sent to where he is not let in.
    LK_CHECK(Ask(folder_, cell_, to_, Order(0, options_.rate)));
    begun_ = ReadClocks().mono;
    LK_TRY(const v1::Moving first,
           Ask(folder_, cell_, from_, Order(options_.percent, options_.rate)));
    total_ = first.to_go();
    static_cast<void>(std::signal(SIGINT, AskToStop));
    static_cast<void>(std::signal(SIGTERM, AskToStop));
    return Watch();
  }

 private:
  Result<void> Settle() {
    LK_TRY(cell_, folder_.LoadCell());
    const std::vector<NamedBroker> all = AllBrokers(cell_);
    if (all.size() < 2) {
      return Fail(v1::REASON_MALFORMED,
                  "the cell has one broker: `latchkey upgrade broker prepare NAME` makes another");
    }
    LK_TRY(from_, FindBroker(cell_, options_.from.empty() ? all.front().name : options_.from));
    if (options_.to.empty() && all.size() > 2) {
      return Fail(v1::REASON_MALFORMED, "the cell has several other brokers: name one with --to");
    }
    const std::string other = from_.name == all.front().name ? all.at(1).name : all.front().name;
    LK_TRY(to_, FindBroker(cell_, options_.to.empty() ? other : options_.to));
    if (from_.name == to_.name) {
      return Fail(v1::REASON_MALFORMED, "--from and --to are the same broker");
    }
    if (options_.back) {
      std::swap(from_, to_);
    }
    if (!options_.timeout.empty()) {
      LK_TRY(timeout_, ParseDuration(options_.timeout));
    }
    return {};
  }

  Result<void> Watch() {
    const bool bar = !context_.json && ::isatty(STDERR_FILENO) == 1;
    for (;;) {
      const Result<v1::Moving> moving = Ask(folder_, cell_, from_, Tell());
      const Duration took = ReadClocks().mono - begun_;
      if (bar && ((moving && moving->to_go() == 0) || StopAsked() != 0)) {
        SayInPlace("");
      }
      if (moving && moving->to_go() == 0) {
        return Done(*moving, took);
      }
      if (StopAsked() != 0 || (timeout_ && took >= *timeout_)) {
        return Pause();
      }
      if (bar && moving) {
        total_ = std::max<size_t>(total_, moving->to_go());
        SayInPlace(ProgressText(total_ - moving->to_go(), total_, took) +
                   (moving->peer().empty() ? "  " + to_.name + " is not there: waiting" : ""));
      } else if (bar) {
        SayInPlace(moving.error().text);
      }
      ::usleep(kLookEveryUs);
    }
  }

  // Where it is, it stays.
  Result<void> Pause() {
    LK_TRY(const v1::Moving moving, Ask(folder_, cell_, from_, Order(0, 0)));
    if (context_.json) {
      ordered_json json = MovingJson(from_, moving);
      json["event"] = "paused";
      Say(json.dump());
    } else {
      Say("paused: " + MovingText(from_, moving));
      Say("go on with the same command; all back with --back");
    }
    context_.exit_code = kStopped;
    return {};
  }

  Result<void> Done(const v1::Moving& moving, Duration took) {
    LK_TRY(const v1::Moving there, Ask(folder_, cell_, to_, Tell()));
    if (context_.json) {
      Say(ordered_json{{"event", "moved"},
                       {"took_ms", took.count()},
                       {"from", MovingJson(from_, moving)},
                       {"to", MovingJson(to_, there)}}
              .dump());
      return {};
    }
    Say("moved in " + std::to_string(took.count() / 1000) + " s");
    Say("  " + MovingText(from_, moving));
    Say("  " + MovingText(to_, there));
    if (options_.percent == 100 && to_.name != AllBrokers(cell_).front().name) {
      Say("next: `latchkey upgrade broker adopt " + to_.name +
          "`, then restart or upgrade the bridge; " + from_.name + " can be stopped after that");
    }
    return {};
  }

  Context& context_;
  MoveOptions options_;
  Folder folder_{context_.data};
  Cell cell_;
  NamedBroker from_;
  NamedBroker to_;
  std::optional<Duration> timeout_;
  Instant begun_;
  size_t total_ = 0;
};

std::string ConfigurationOf(const Folder& folder, const NamedBroker& broker) {
  return (BrokerFolder(folder, broker.name) / "mosquitto.conf").string();
}

ordered_json FilesJson(const Folder& folder, const NamedBroker& broker) {
  return {{"broker", broker.name},
          {"host", broker.host},
          {"phone_port", broker.phone_port},
          {"car_port", broker.car_port},
          {"configuration", ConfigurationOf(folder, broker)}};
}

std::string FilesText(const NamedBroker& broker) {
  return "broker " + broker.name + ": phones " + broker.host + ":" +
         std::to_string(broker.phone_port) + ", cars " + broker.host + ":" +
         std::to_string(broker.car_port);
}

void SayPrepared(const Context& context, const Folder& folder, const NamedBroker& broker) {
  if (context.json) {
    Say(FilesJson(folder, broker).dump());
    return;
  }
  Say(FilesText(broker));
  Say("start it: mosquitto -c " + ConfigurationOf(folder, broker));
  Say("next: latchkey upgrade broker --to " + broker.name + " --rate 50");
}

void List(Context& context) {
  const Folder folder(context.data);
  const Result<Cell> cell = folder.LoadCell();
  if (!cell) {
    Complain(context, cell.error());
    return;
  }
  for (const NamedBroker& broker : AllBrokers(*cell)) {
    Say(context.json ? FilesJson(folder, broker).dump()
                     : FilesText(broker) + ", configuration " + ConfigurationOf(folder, broker));
  }
}

void Status(Context& context) {
  const Folder folder(context.data);
  const Result<Cell> cell = folder.LoadCell();
  if (!cell) {
    Complain(context, cell.error());
    return;
  }
  for (const BrokerWord& word : AskBrokers(folder, *cell, kAskPatience)) {
    if (!word.moving) {
      Complain(context, word.moving.error());
    } else {
      Say(context.json ? BrokerJson(word).dump() : BrokerText(word));
    }
  }
}

void Report(Context& context, const Result<Cell>& cell, const std::string& text) {
  if (!cell) {
    Complain(context, cell.error());
    return;
  }
  if (context.json) {
    ordered_json json = {{"brokers", ordered_json::array()}};
    for (const NamedBroker& broker : AllBrokers(*cell)) {
      json["brokers"].push_back(broker.name);
    }
    Say(json.dump());
  } else {
    Say(text);
  }
}

void AddFiles(CLI::App& broker, Context& context) {
  const auto wish = std::make_shared<SecondBroker>();
  const auto plugins = std::make_shared<std::string>();
  CLI::App* prepare = broker.add_subcommand(
      "prepare", "Make the files of a second broker that is joined with the first");
  prepare->add_option("NAME", wish->name, "What to call it")->required();
  prepare->add_option("--host", wish->host, "Where it listens (default: as the first)");
  prepare->add_option("--phone-port", wish->phone_port, "Default: a free one");
  prepare->add_option("--car-port", wish->car_port, "Default: a free one");
  prepare->add_option("--plugin-dir", *plugins, "The new plugins (default: the first broker's)");
  prepare->callback([&context, wish, plugins] {
    std::error_code ignored;
    if (!plugins->empty()) {
      wish->plugins = std::filesystem::absolute(*plugins, ignored);
    }
    const Folder folder(context.data);
    const Result<NamedBroker> made = PrepareBroker(folder, *wish, ReadClocks().wall);
    if (!made) {
      Complain(context, made.error());
      return;
    }
    SayPrepared(context, folder, *made);
  });
  const auto name = std::make_shared<std::string>();
  CLI::App* adopt = broker.add_subcommand(
      "adopt", "From now on this is the cell's first broker; the bridge's next start uses it");
  adopt->add_option("NAME", *name, "The broker")->required();
  adopt->callback([&context, name] {
    Report(context, AdoptBroker(Folder(context.data), *name),
           *name + " is the cell's first broker: restart or upgrade the bridge now");
  });
  CLI::App* forget =
      broker.add_subcommand("forget", "Take a broker that is no longer needed off the list");
  forget->add_option("NAME", *name, "The broker")->required();
  forget->callback([&context, name] {
    Report(context, ForgetBroker(Folder(context.data), *name),
           *name + " is none of the cell's brokers any more: stop it");
  });
  CLI::App* list = broker.add_subcommand(
      "list", "The cell's brokers, the first one first, and where their files are");
  list->callback([&context] { List(context); });
  CLI::App* status = broker.add_subcommand("status", "Who is where");
  status->callback([&context] { Status(context); });
}

}  // namespace

std::vector<BrokerWord> AskBrokers(const Folder& folder, const Cell& cell, Duration patience) {
  std::vector<BrokerWord> words;
  for (const NamedBroker& broker : AllBrokers(cell)) {
    words.push_back({broker, Ask(folder, cell, broker, Tell(), patience)});
  }
  return words;
}

std::string BrokerText(const BrokerWord& word) {
  return word.moving ? MovingText(word.broker, *word.moving) : word.moving.error().text;
}

ordered_json BrokerJson(const BrokerWord& word) {
  if (word.moving) {
    return MovingJson(word.broker, *word.moving);
  }
  return {{"broker", word.broker.name},
          {"address", word.broker.host + ":" + std::to_string(word.broker.car_port)},
          {"error", word.moving.error().text}};
}

void AddUpgradeBroker(CLI::App& app, Context& context) {
  CLI::App* broker = app.get_subcommand("upgrade")->add_subcommand(
      "broker", "Send cars and phones to a second broker at a rate, and back");
  const auto options = std::make_shared<MoveOptions>();
  broker->require_subcommand(0, 1);
  AddFiles(*broker, context);
  broker->add_option("--from", options->from,
                     "The broker that is left, by name or HOST:PORT for cars (default: the first)");
  broker->add_option("--to", options->to, "The broker that takes over (default: the other one)");
  broker->add_option("--rate", options->rate, "So many cars and phones a second")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  broker->add_option("--percent", options->percent, "So many of them")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  broker->add_option("--timeout", options->timeout,
                     "Pause after this long, as Ctrl-C does (exit code 3)");
  broker->add_flag("--back", options->back, "The other way round");
  broker->footer(
      "Examples:\n"
      "  latchkey upgrade broker prepare b2 --plugin-dir build/new/plugins\n"
      "  mosquitto -c DATA/brokers/b2/mosquitto.conf -d\n"
      "  latchkey upgrade broker --to b2 --rate 50\n"
      "  latchkey upgrade broker --to b2 --back --rate 200     # all back\n"
      "  latchkey upgrade broker adopt b2\n"
      "  latchkey upgrade broker forget main\n\n"
      "Ctrl-C pauses: who has been moved stays there, nobody else goes.\n");
  broker->callback([&context, options, broker] {
    if (!broker->get_subcommands().empty()) {
      return;
    }
    const Result<void> done = Mover(context, *options).Run();
    if (!done) {
      Complain(context, done.error(), done.error().reason == v1::REASON_MALFORMED ? kUsage : 1);
    }
  });
}

}  // namespace latchkey::cli
