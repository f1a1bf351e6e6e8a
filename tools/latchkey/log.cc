// latchkey log: what was done, by whom, to which car: shown, followed, exported and verified. Read
// from the bridge's HTTP interface (bridge/http_log.h) or from a file that was exported.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <poll.h>

#include "tools/latchkey/api.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/key_text.h"
#include "tools/latchkey/log_file.h"
#include "tools/latchkey/phone_file.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using nlohmann::ordered_json;

constexpr int kUsage = 2;
constexpr Duration kFollowEvery = std::chrono::milliseconds(500);
constexpr size_t kPageMax = 5000;
constexpr size_t kEventWidth = 15;
constexpr size_t kPlaceWidth = 22;

struct LogOptions {
  std::string fleet;
  std::string car;
  std::string key;
  std::string command;
  std::string event;
  std::string since;
  std::string until;
  size_t last = 50;
  bool follow = false;
  std::string export_file;
  std::vector<std::string> verify_file;  // none or one
  bool verify = false;
  std::string head;
};

std::string Dump(const ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string Text(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

uint64_t Number(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::string Padded(std::string text, size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

Result<ordered_json> Ask(int port, const std::string& path, const char* list) {
  LK_TRY(const Answer answer, AskBridge(port, path));
  ordered_json json = ordered_json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !json.is_object() || !json.contains(list) || !json[list].is_array()) {
    const std::string why = json.is_object() ? Text(json, "error") : "";
    return Fail(answer.status == 400 ? v1::REASON_MALFORMED : v1::REASON_STORE_UNAVAILABLE,
                "the bridge does not show its log" +
                    (why.empty() ? " (HTTP " + std::to_string(answer.status) + ")" : ": " + why));
  }
  return json;
}

// ---- showing

// Names of the keys whose phones are in this data folder.
class Labels {
 public:
  explicit Labels(const Folder& folder) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder.root() / "phones", error)) {
      const Result<SavedPhone> phone = LoadPhone(folder, entry.path().filename().string());
      if (phone) {
        names_[phone->key.Public().Id().str()] = entry.path().filename().string();
      }
    }
  }

  std::string Of(const std::string& key) const {
    const auto found = names_.find(key);
    return found == names_.end() ? key : found->second + " (" + key + ")";
  }

 private:
  std::map<std::string, std::string> names_;
};

std::string Line(const ordered_json& entry, const Labels& labels) {
  if (entry.contains("erased")) {
    return "(entry " + std::to_string(Number(entry, "sequence")) + " was erased)";
  }
  const std::string fleet = Text(entry, "fleet");
  const std::string car = Text(entry, "car");
  const std::string place = fleet.empty() ? "-" : car.empty() ? fleet : fleet + "/" + car;
  std::string line = DateText({static_cast<int64_t>(Number(entry, "at_ms"))}) + "  " +
                     Padded(Text(entry, "event"), kEventWidth) + " " + Padded(place, kPlaceWidth);
  const auto add = [&](const std::string& text) {
    if (!text.empty()) {
      line += " " + Printable(text);
    }
  };
  add(Text(entry, "action"));
  add(Text(entry, "state"));
  if (Text(entry, "source") == "car") {
    add("by the car");
  }
  add(Text(entry, "reason"));
  if (const uint64_t version = Number(entry, "ring_version")) {
    add("version " + std::to_string(version));
  }
  add(Text(entry, "note"));
  const std::string key = Text(entry, "key_id");
  if (!key.empty()) {
    add(" key " + labels.Of(key));
  }
  add(Text(entry, "who").empty() ? "" : " " + Text(entry, "who"));
  const std::string command = Text(entry, "command_id");
  add(command.empty() ? "" : " command " + command);
  return line;
}

void SayEntries(const Context& context, const ordered_json& page, const Labels& labels) {
  for (const ordered_json& sequence : page["damaged"]) {
    (void)std::fprintf(stderr, "warning: entry %s is damaged: `latchkey log --verify`\n",
                       sequence.dump().c_str());
  }
  for (const ordered_json& entry : page["entries"]) {
    Say(context.json ? Dump(entry) : Line(entry, labels));
  }
}

// "&fleet=demo&...", what each entry must be. Error REASON_MALFORMED: a value that cannot be.
Result<std::string> FilterOf(const LogOptions& options) {
  std::string filter;
  std::string fleet = options.fleet;
  std::string car = options.car;
  if (const size_t slash = car.find('/'); slash != std::string::npos) {
    fleet = car.substr(0, slash);
    car = car.substr(slash + 1);
  }
  if ((!fleet.empty() && !FleetId::Parse(fleet)) || (!car.empty() && !CarId::Parse(car))) {
    return Fail(v1::REASON_MALFORMED,
                "--fleet names a fleet, --car a car: demo-car or demo/demo-car");
  }
  filter += fleet.empty() ? "" : "&fleet=" + fleet;
  filter += car.empty() ? "" : "&car=" + car;
  if (!options.key.empty()) {
    const std::optional<KeyId> key = ParseKeyText(options.key);
    if (!key) {
      return Fail(v1::REASON_MALFORMED, "--key is no key id of 22 characters");
    }
    filter += "&key=" + key->str();
  }
  if (!options.command.empty()) {
    const std::optional<CommandId> id = CommandId::FromText(options.command);
    if (!id) {
      return Fail(v1::REASON_MALFORMED, "--command is no command id, 8-4-4-4-12 of hex");
    }
    filter += "&command=" + id->ToText();
  }
  if (!options.event.empty()) {
    const bool word = std::all_of(options.event.begin(), options.event.end(),
                                  [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
    if (!word) {
      return Fail(v1::REASON_MALFORMED, "--event is a word such as command, ring or tap");
    }
    filter += "&event=" + options.event;
  }
  for (const auto& [name, text] : {std::pair("since", &options.since), {"until", &options.until}}) {
    if (!text->empty()) {
      LK_TRY(const Duration ago, ParseDuration(*text));
      const int64_t at = std::max<int64_t>((ReadClocks().wall - ago).ms, 0);
      filter += "&" + std::string(name) + "=" + std::to_string(at);
    }
  }
  return filter;
}

// All that is there from `from` on, page by page. Gives where to go on.
Result<uint64_t> ShowFrom(const Context& context, int port, uint64_t from,
                          const std::string& filter, const Labels& labels) {
  for (;;) {
    LK_TRY(const ordered_json page, Ask(port,
                                        "/v1/log?from=" + std::to_string(from) +
                                            "&limit=" + std::to_string(kPageMax) + filter,
                                        "entries"));
    SayEntries(context, page, labels);
    from = std::max(from, Number(page, "next"));
    if (!page.contains("end") || page["end"] != false) {
      return from;
    }
  }
}

Result<void> Show(const Context& context, int port, const LogOptions& options) {
  LK_TRY(const std::string filter, FilterOf(options));
  const Labels labels{Folder(context.data)};
  uint64_t next = 0;
  if (options.since.empty()) {
    LK_TRY(const ordered_json page,
           Ask(port, "/v1/log?last=" + std::to_string(options.last) + filter, "entries"));
    SayEntries(context, page, labels);
    next = Number(page, "next");
  } else {
    LK_TRY(next, ShowFrom(context, port, 0, filter, labels));
  }
  while (options.follow) {
    static_cast<void>(::poll(nullptr, 0, static_cast<int>(kFollowEvery.count())));
    const Result<uint64_t> shown = ShowFrom(context, port, next, filter, labels);
    if (shown) {
      next = *shown;
    } else if (shown.error().reason != v1::REASON_STORE_UNAVAILABLE) {
      return tl::unexpected<Error>(shown.error());
    }
  }
  return {};
}

// ---- raw records

// Gives the server's records from `from` on, until `visit` fails.
Result<void> ReadServer(int port, uint64_t from,
                        const std::function<Result<void>(const std::string&)>& visit) {
  for (;;) {
    LK_TRY(
        const ordered_json page,
        Ask(port, "/v1/log/raw?from=" + std::to_string(from) + "&limit=" + std::to_string(kPageMax),
            "records"));
    if (from > 0 && Number(page, "first") > from) {
      return Fail(v1::REASON_OLDER_VERSION,
                  "records " + std::to_string(from) + " to " +
                      std::to_string(Number(page, "first") - 1) +
                      " are no longer at the bridge: begin another file, or run this again");
    }
    for (const ordered_json& text : page["records"]) {
      const std::optional<std::string> record =
          text.is_string() ? Base64UrlDecode(text.get<std::string>()) : std::nullopt;
      if (!record) {
        return Fail(v1::REASON_MALFORMED, "the bridge gives records that cannot be read");
      }
      LK_CHECK(visit(*record));
    }
    if (page.contains("damaged") && !page["damaged"].empty()) {
      return Fail(v1::REASON_MALFORMED, "record " + page["damaged"].front().dump() +
                                            " is damaged on the bridge's disk; compare with an "
                                            "older export");
    }
    from = std::max(from, Number(page, "next"));
    if (!page.contains("end") || page["end"] != false) {
      return {};
    }
  }
}

void SayWhole(const Context& context, const LogWalk& walk, const std::string& what,
              const std::string& extra) {
  if (context.json) {
    Say(Dump({{"records", walk.records()},
              {"first", walk.records() == 0 ? 0 : walk.begin().sequence + 1},
              {"head", ToText(walk.head())}}));
    return;
  }
  Say(what + std::to_string(walk.records()) + " records, " +
      std::to_string(walk.begin().sequence + 1) + " to " + std::to_string(walk.head().sequence) +
      ", are one chain" + extra);
  Say("head " + ToText(walk.head()));
}

Result<void> Verify(const Context& context, const std::optional<int>& port,
                    const LogOptions& options) {
  std::optional<LogHead> wanted;
  if (!options.head.empty()) {
    wanted = ParseLogHead(options.head);
    if (!wanted) {
      return Fail(v1::REASON_MALFORMED,
                  "--head is what --verify or --export said: a number, ':' and 64 of hex");
    }
  }
  LogWalk walk(wanted);
  std::string extra;
  if (options.verify_file.empty()) {
    LK_CHECK(ReadServer(*port, 0, [&](const std::string& record) { return walk.Add(record); }));
  } else {
    LK_TRY(const LogCopy copy,
           ReadLogCopy(options.verify_file.front(),
                       [&](std::string_view record) { return walk.Add(record); }));
    extra = copy.torn ? "; a torn record follows: `latchkey log --export` goes on from here" : "";
  }
  LK_CHECK(walk.Finish());
  SayWhole(context, walk,
           options.verify_file.empty() ? "the log of the bridge: " : "the file: ", extra);
  return {};
}

Result<void> Export(const Context& context, int port, const LogOptions& options) {
  const std::filesystem::path path = options.export_file;
  LogWalk walk;
  std::optional<uintmax_t> bytes;
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    LK_TRY(const LogCopy copy,
           ReadLogCopy(path, [&](std::string_view record) { return walk.Add(record); }));
    bytes = copy.bytes;
  }
  const uint64_t before = walk.records();
  std::optional<LogCopyWriter> writer;
  {
    LK_TRY(LogCopyWriter opened, LogCopyWriter::Open(path, bytes));
    writer.emplace(std::move(opened));
  }
  // From the last record that the file has, so that a log that was written anew is found.
  const uint64_t from = before == 0 ? 0 : walk.head().sequence;
  bool first = before > 0;
  const Result<void> read = ReadServer(port, from, [&](const std::string& record) -> Result<void> {
    if (std::exchange(first, false)) {
      LK_TRY(const LogLink link, OpenLogRecord(record));
      return link.head == walk.head()
                 ? Result<void>{}
                 : Fail(v1::REASON_MALFORMED,
                        "the bridge's record " + std::to_string(link.head.sequence) +
                            " is not the one in " + path.string() +
                            ": the log was written anew there; keep the file");
    }
    LK_CHECK(walk.Add(record));
    return writer->Add(record);
  });
  LK_CHECK(writer->Sync());
  LK_CHECK(read);
  SayWhole(context, walk, std::to_string(walk.records() - before) + " exported; ", "");
  return {};
}

void Log(Context& context, const LogOptions& options) {
  const bool from_file = options.verify && !options.verify_file.empty();
  std::optional<int> port;
  if (!from_file) {
    const Result<Cell> cell = Folder(context.data).LoadCell();
    if (!cell) {
      Complain(context, cell.error());
      return;
    }
    port = cell->http_port;
  }
  const Result<void> done = options.verify                 ? Verify(context, port, options)
                            : !options.export_file.empty() ? Export(context, *port, options)
                                                           : Show(context, *port, options);
  if (!done) {
    const bool usage = !options.verify && options.export_file.empty() &&
                       done.error().reason == v1::REASON_MALFORMED;
    Complain(context, done.error(), usage ? kUsage : 1);
  }
}

}  // namespace

void AddLog(CLI::App& app, Context& context) {
  CLI::App* log = app.add_subcommand(
      "log", "What was done, by whom, to which car: show, follow, export, verify");
  const auto options = std::make_shared<LogOptions>();
  log->add_option("--fleet", options->fleet, "Only of this fleet");
  log->add_option("--car", options->car, "Only of this car: demo-car or demo/demo-car");
  log->add_option("--key", options->key, "Only of this key id");
  log->add_option("--command", options->command, "Only of this command id");
  log->add_option("--event", options->event,
                  "Only these: command, ring, block, wake, sign_in_refused, tap, tap_refused, "
                  "access_refused, location_read, erased, imported, migration, store, log");
  log->add_option("--since", options->since, "Only what is no older than this: 2h, 7d");
  log->add_option("--until", options->until, "Only what is older than this");
  log->add_option("--last", options->last, "So many of the newest, when --since is not given")
      ->check(CLI::Range(size_t{1}, kPageMax))
      ->capture_default_str();
  log->add_flag("-f,--follow", options->follow, "Go on with what comes");
  CLI::Option* to_file =
      log->add_option("--export", options->export_file,
                      "Copy all records to this file, or go on where the copy in it ends");
  CLI::Option* verify =
      log->add_option("--verify", options->verify_file,
                      "Is it one chain? The bridge's log, or the copy in this file; exit code 1 "
                      "names the first record that is broken")
          ->expected(0, 1);
  to_file->excludes(verify);
  log->add_option("--head", options->head,
                  "With --verify: what was said as head some time ago must still be in it")
      ->needs(verify);
  log->footer(
      "Examples:\n"
      "  latchkey log --car demo/demo-car --since 2h\n"
      "  latchkey log --follow --event command\n"
      "  latchkey log --export cell.log      # again later: goes on\n"
      "  latchkey log --verify cell.log\n");
  log->callback([&context, options, verify] {
    options->verify = verify->count() > 0;
    std::erase(options->verify_file, "");
    Log(context, *options);
  });
}

}  // namespace latchkey::cli
