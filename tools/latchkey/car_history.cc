// latchkey car history: what a signal of a car was over some time, from the bridge's history
// (bridge/http_history.h): as a table, as CSV, as JSON lines, or drawn.
#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <unistd.h>

#include "proto/reason.h"
#include "tools/latchkey/api.h"
#include "tools/latchkey/car.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/hours.h"
#include "tools/latchkey/plot.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using nlohmann::ordered_json;

constexpr int kUsage = 2;
constexpr size_t kSamplesMax = 1'000'000;
constexpr size_t kPlotWidthMin = 30;
constexpr size_t kPlotWidthMax = 160;
constexpr size_t kPlotMargin = 14;

struct HistoryOptions {
  std::string car;
  std::string signal;
  std::string fleet;
  std::string since = "1d";
  std::string until;
  std::string every;
  bool csv = false;
  bool plot = false;
};

struct Sample {
  Timestamp observed_at;
  Timestamp received_at;
  ordered_json value;
};

struct History {
  std::vector<Sample> samples;
  std::string unit;
  Duration thinned{0};  // 0: every message was looked at
  Duration again{0};
  uint64_t unreadable = 0;
};

// "2d" ago, or a date.
Result<Timestamp> ParsePast(const std::string& text, Timestamp now) {
  if (const Result<Duration> ago = ParseDuration(text)) {
    return Timestamp{std::max<int64_t>((now - *ago).ms, 0)};
  }
  LK_TRY(const Timestamp at, ParseWhen(text, now));
  return Timestamp{std::max<int64_t>(at.ms, 0)};
}

int64_t Number(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

std::string Text(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

Result<ordered_json> Ask(int port, const std::string& query, const char* list) {
  LK_TRY(const Answer answer, AskBridge(port, "/v1/history?" + query));
  ordered_json json = ordered_json::parse(answer.body, nullptr, false);
  if (answer.status == 200 && json.is_object() && json.contains(list) && json[list].is_array()) {
    return json;
  }
  const std::string why = json.is_object() ? Text(json, "error") : "";
  return Fail(answer.status == 404 || answer.status == 400 ? v1::REASON_MALFORMED
                                                           : v1::REASON_STORE_UNAVAILABLE,
              why.empty() ? "the bridge shows no history (HTTP " + std::to_string(answer.status) +
                                "): is it of this version?"
                          : why);
}

// A VSS path may have what a URL may not.
std::string UrlText(const std::string& text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((std::isalnum(byte) != 0 && byte < 0x80) || c == '.' || c == '_' || c == '-') {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

Result<History> Read(int port, const std::string& what, Timestamp since, Timestamp until) {
  History history;
  for (;;) {
    LK_TRY(const ordered_json page, Ask(port,
                                        what + "&since=" + std::to_string(since.ms) +
                                            "&until=" + std::to_string(until.ms) + "&limit=100000",
                                        "samples"));
    history.unit = Text(page, "unit");
    history.thinned = std::max(history.thinned, Duration(Number(page, "thinned_ms")));
    history.again = Duration(Number(page, "again_ms"));
    history.unreadable = static_cast<uint64_t>(Number(page, "unreadable"));
    for (const ordered_json& one : page["samples"]) {
      history.samples.push_back({{Number(one, "observed_at_ms")},
                                 {Number(one, "received_at_ms")},
                                 one.value("value", ordered_json())});
    }
    const Timestamp next{Number(page, "next_ms")};
    if (next <= since) {
      return history;
    }
    if (history.samples.size() >= kSamplesMax) {
      return Fail(v1::REASON_TOO_LARGE,
                  "there are more than a million samples: choose a shorter "
                  "time with --since and --until");
    }
    since = next;
  }
}

// Of each span of this length the last sample.
void Thin(std::vector<Sample>& samples, Duration every) {
  const auto span = [every](const Sample& sample) { return sample.observed_at.ms / every.count(); };
  std::vector<Sample> kept;
  for (Sample& sample : samples) {
    if (!kept.empty() && span(kept.back()) == span(sample)) {
      kept.back() = std::move(sample);
    } else {
      kept.push_back(std::move(sample));
    }
  }
  samples = std::move(kept);
}

std::string ValueOf(const Sample& sample) {
  if (sample.value.is_string()) {
    return Printable(sample.value.get<std::string>());
  }
  if (!sample.value.is_number()) {
    return "?";
  }
  SignalRow row;
  row.value = sample.value.get<double>();
  return ValueText(row);
}

// A text in CSV (RFC 4180), one that no program takes for a formula.
std::string CsvText(const Sample& sample) {
  std::string text = ValueOf(sample);
  if (!sample.value.is_string()) {
    return text;
  }
  std::string quoted = "\"";
  if (!text.empty() && std::string_view("=+-@").find(text.front()) != std::string_view::npos) {
    quoted += '\'';
  }
  for (const char c : text) {
    quoted += c == '"' ? "\"\"" : std::string(1, c);
  }
  return quoted + "\"";
}

std::string Width(std::string text, size_t width) {
  text.insert(0, width - std::min(width, text.size()), ' ');
  return text;
}

void SayTable(const History& history, Timestamp now) {
  for (const Sample& sample : history.samples) {
    const Duration late = sample.received_at - sample.observed_at;
    const std::string received = late < Duration(0) ? "received before, by the bridge's clock"
                                 : late < std::chrono::minutes(1)
                                     ? "received " + std::to_string(late.count()) + " ms later"
                                     : "received " + AgeText(late) + " later";
    Say(DateText(sample.observed_at) + "  " + Width(ValueOf(sample), 12) +
        (history.unit.empty() ? "" : " " + history.unit) + "   " + received + "   " +
        AgeText(AgeOf(sample.observed_at, now)) + " ago");
  }
}

void SayCsv(const History& history) {
  Say("observed_at,observed_at_ms,received_at_ms,value");
  for (const Sample& sample : history.samples) {
    Say(DateText(sample.observed_at) + "," + std::to_string(sample.observed_at.ms) + "," +
        std::to_string(sample.received_at.ms) + "," + CsvText(sample));
  }
}

void SayJson(const HistoryOptions& options, const History& history, Timestamp now) {
  for (const Sample& sample : history.samples) {
    ordered_json json = {{"fleet", options.fleet},
                         {"car", options.car},
                         {"signal", options.signal},
                         {"value", sample.value}};
    if (!history.unit.empty()) {
      json["unit"] = history.unit;
    }
    json["observed_at_ms"] = sample.observed_at.ms;
    json["received_at_ms"] = sample.received_at.ms;
    json["age_ms"] = AgeOf(sample.observed_at, now).count();
    json["thinned_ms"] = history.thinned.count();
    Say(json.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
  }
}

size_t PlotWidth() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) {
    return 80 - kPlotMargin;
  }
  const size_t columns = size.ws_col;
  return std::clamp(columns - std::min(columns, kPlotMargin), kPlotWidthMin, kPlotWidthMax);
}

// How far from one sample to the next the curve is drawn on.
Duration GapAfter(const History& history, Duration every) {
  return std::max({2 * history.again + history.thinned, 2 * every});
}

Result<void> SayPlot(const HistoryOptions& options, const History& history,
                     const PlotOptions& plot) {
  std::vector<PlotPoint> points;
  for (const Sample& sample : history.samples) {
    if (!sample.value.is_number()) {
      return Fail(v1::REASON_MALFORMED, options.signal +
                                            " is a text and cannot be drawn: leave "
                                            "out --plot");
    }
    points.push_back({sample.observed_at, sample.value.get<double>()});
  }
  const std::string text = PlotText(points, plot);
  if (!text.empty()) {
    Say(options.signal + " of car " + options.fleet + "/" + options.car);
    Say(text.substr(0, text.size() - 1));
  }
  return {};
}

// What else is to be known of the numbers: to people, beside them.
void SayNotes(const History& history, Duration every, Duration gap_after, bool plot) {
  std::string note = std::to_string(history.samples.size()) + " samples";
  if (!history.samples.empty()) {
    note += ", the newest observed " +
            AgeText(AgeOf(history.samples.back().observed_at, ReadClocks().wall)) + " ago";
  }
  if (every.count() > 0) {
    note += "; shown is the last of each " + AgeText(every);
  }
  if (history.thinned.count() > 0) {
    note += "; thinned: some of it is at most one sample in " + AgeText(history.thinned);
  }
  if (plot) {
    note += "; where nothing is known for more than " + AgeText(gap_after) + " nothing is drawn";
  }
  (void)std::fprintf(stderr, "%s\n", note.c_str());
  if (history.unreadable > 0) {
    (void)std::fprintf(stderr, "warning: %llu pieces of the history are damaged and left out\n",
                       static_cast<unsigned long long>(history.unreadable));
  }
}

// Which signals there are.
Result<void> SayList(const Context& context, int port, const std::string& what) {
  LK_TRY(const ordered_json page, Ask(port, what, "signals"));
  if (context.json) {
    Say(page.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
    return {};
  }
  for (const ordered_json& signal : page["signals"]) {
    std::string name = Printable(Text(signal, "name"));
    name.resize(std::max<size_t>(name.size(), 32), ' ');
    Say(name + Width(std::to_string(Number(signal, "samples")), 8) + " samples   " +
        DateText({Number(signal, "first_ms")}) + " to " + DateText({Number(signal, "last_ms")}));
  }
  Say(std::to_string(page["signals"].size()) + " signals, " +
      std::to_string(Number(page, "bytes")) + " bytes");
  return {};
}

Result<void> Show(const Context& context, const HistoryOptions& options) {
  LK_TRY(const CarRef ref, ParseCar(options.fleet, options.car));
  LK_TRY(const Cell cell, Folder(context.data).LoadCell());
  const std::string what = "fleet=" + ref.fleet.str() + "&car=" + ref.car.str();
  if (options.signal.empty()) {
    return SayList(context, cell.http_port, what);
  }
  const Timestamp now = ReadClocks().wall;
  LK_TRY(const Timestamp since, ParsePast(options.since, now));
  Timestamp until = now;
  if (!options.until.empty()) {
    LK_TRY(until, ParsePast(options.until, now));
  }
  Duration every{0};
  if (!options.every.empty()) {
    LK_TRY(every, ParseDuration(options.every));
  }
  if (until <= since || (!options.every.empty() && every.count() <= 0)) {
    return Fail(v1::REASON_MALFORMED, "--until must be after --since, and --every above 0");
  }
  LK_TRY(History history,
         Read(cell.http_port, what + "&signal=" + UrlText(options.signal), since, until));
  if (every.count() > 0) {
    Thin(history.samples, every);
  }
  const Duration gap_after = GapAfter(history, every);
  if (options.plot) {
    PlotOptions plot{since, until, gap_after, history.unit, {}, PlotWidth()};
    plot.time_text = [](Timestamp at) { return DateText(at).substr(5, 11); };  // 11-21 09:41
    LK_CHECK(SayPlot(options, history, plot));
  } else if (options.csv) {
    SayCsv(history);
  } else if (context.json) {
    SayJson(options, history, now);
  } else {
    SayTable(history, now);
  }
  if (!context.json) {
    SayNotes(history, every, gap_after, options.plot);
  }
  return {};
}

}  // namespace

void AddCarHistory(CLI::App& car, Context& context) {
  const auto options = std::make_shared<HistoryOptions>();
  CLI::App* history = car.add_subcommand(
      "history", "What a signal was over the last days: a table, CSV, JSON lines, or drawn");
  history->add_option("CAR", options->car, "A car of the fleet")->required();
  history->add_option("SIGNAL", options->signal,
                      "For example energy.soc; without: which signals there are");
  history->add_option("--fleet", options->fleet, "Its fleet")->required();
  history->add_option("--since", options->since, "So long ago, 2d or 30m, or a date (default 1d)");
  history->add_option("--until", options->until, "Likewise (default now)");
  history->add_option("--every", options->every, "Only the last sample of each 5m, for example");
  CLI::Option* csv = history->add_flag("--csv", options->csv, "Comma-separated values");
  history->add_flag("--plot", options->plot, "A curve in the terminal")->excludes(csv);
  history->callback([&context, options] {
    const Result<void> shown = Show(context, *options);
    if (!shown) {
      Complain(context, shown.error(), shown.error().reason == v1::REASON_MALFORMED ? kUsage : 1);
    }
  });
}

}  // namespace latchkey::cli
