// Times are shown in the reader's zone with milliseconds; no value is shown without its age.
#include "tools/latchkey/show.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <utility>

#include <nlohmann/json.hpp>

#include "proto/clock_check.h"
#include "proto/reason.h"

namespace latchkey::cli {

namespace {

std::string LocalText(Timestamp time, const char* format) {
  const auto seconds = static_cast<std::time_t>(time.ms / 1000);
  std::tm local{};
  if (localtime_r(&seconds, &local) == nullptr) {
    return "?";
  }
  std::array<char, 64> text{};
  const size_t length = std::strftime(text.data(), text.size(), format, &local);
  std::array<char, 8> ms{};
  static_cast<void>(std::snprintf(ms.data(), ms.size(), ".%03d", static_cast<int>(time.ms % 1000)));
  return std::string(text.data(), length) + ms.data();
}

std::string Padded(std::string text, size_t width) {
  if (text.size() < width) {
    text.append(width - text.size(), ' ');
  }
  return text;
}

}  // namespace

Now ReadClocks() {
  using std::chrono::duration_cast;
  return {
      Timestamp{
          duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()).count()},
      Instant{
          duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()).count()}};
}

std::string ClockText(Timestamp time) {
  return LocalText(time, "%H:%M:%S");
}

std::string DateText(Timestamp time) {
  return LocalText(time, "%Y-%m-%d %H:%M:%S");
}

Result<Duration> ParseDuration(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  static constexpr std::array<std::pair<std::string_view, int64_t>, 6> kUnits = {
      {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
  if (error == std::errc() && number > 0 && number <= 1'000'000'000) {
    for (const auto& [name, ms] : kUnits) {
      if (unit == name) {
        return Duration(number * ms);
      }
    }
  }
  return Fail(v1::REASON_MALFORMED,
              "\"" + std::string(text) + "\" is not a length of time: write 500ms, 30s, 10m or 2h");
}

std::string AgeWords(const Age& age) {
  std::string text =
      Padded(std::string(ToText(age.freshness)), 7) + " " + AgeText(age.age) + " ago";
  if (age.ahead > Duration(0)) {
    text += ", by when it came: " + ClockText(ClockState{ClockWord::kAhead, age.ahead});
  }
  return text;
}

std::string RowText(const SignalRow& row, const Moment& moment) {
  const std::string value = ValueText(row) + (row.unit.empty() ? "" : " " + row.unit);
  const Age age =
      AgeAt({row.observed_at, moment.received_at}, moment.group, moment.mode, moment.now);
  return Padded(Printable(row.name), 34) + " " + Padded(Printable(value), 18) + " " +
         Padded(AgeWords(age), 20) + " observed " + DateText(row.observed_at) + "  received " +
         ClockText(moment.received_at) + (moment.retained ? " (retained)" : "");
}

nlohmann::ordered_json RowJson(const SignalRow& row, const Moment& moment) {
  nlohmann::ordered_json json = RowJson(row, moment.now);
  const Age age =
      AgeAt({row.observed_at, moment.received_at}, moment.group, moment.mode, moment.now);
  json["received_at_ms"] = moment.received_at.ms;
  json["age_ms"] = age.age.count();
  json["freshness"] = ToText(age.freshness);
  json["retained"] = moment.retained;
  return json;
}

nlohmann::ordered_json RowJson(const SignalRow& row, Timestamp now) {
  nlohmann::ordered_json json = {{"signal", row.name}};
  if (!row.vss.empty()) {
    json["vss"] = row.vss;
  }
  std::visit([&json](const auto& value) { json["value"] = value; }, row.value);
  if (!row.unit.empty()) {
    json["unit"] = row.unit;
  }
  json["observed_at_ms"] = row.observed_at.ms;
  json["age_ms"] = AgeOf(row.observed_at, now).count();
  return json;
}

// UTF-8 keeps its bytes from 0x80 on, but for the controls U+0080 to U+009F, which are c2 80 to
// c2 9f: some terminals obey them.
std::string Printable(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {
      plain += '?';
      ++i;
    } else {
      plain += byte < 0x20 || byte == 0x7f ? '?' : text[i];
    }
  }
  return plain;
}

std::string ProgressText(size_t done, size_t total, Duration elapsed) {
  constexpr size_t kWidth = 20;
  const size_t filled = total == 0 ? kWidth : kWidth * std::min(done, total) / total;
  std::string text = "[" + std::string(filled, '#') + std::string(kWidth - filled, '-') + "]  " +
                     std::to_string(done) + "/" + std::to_string(total);
  if (done == 0 || elapsed.count() <= 0) {
    return text;
  }
  const double rate = static_cast<double>(done) * 1000.0 / static_cast<double>(elapsed.count());
  std::array<char, 32> number{};
  static_cast<void>(std::snprintf(number.data(), number.size(), "  %.1f/s", rate));
  text += number.data();
  if (done < total) {
    const double left_ms = static_cast<double>(total - done) * 1000.0 / rate;
    text += "  " + AgeText(Duration(static_cast<int64_t>(left_ms))) + " left";
  }
  return text;
}

void SayInPlace(const std::string& line) {
  std::cerr << "\r\x1b[K" << line << std::flush;
}

std::string ReasonCodeText(int code) {
  static constexpr std::array<std::pair<int, std::string_view>, 15> kWords = {{
      {1, "Unacceptable protocol version"},
      {2, "Identifier rejected"},
      {3, "Server unavailable"},
      {4, "Bad user name or password"},
      {5, "Not authorized"},
      {0x80, "Unspecified error"},
      {0x83, "Implementation specific error"},
      {0x85, "Client identifier not valid"},
      {0x86, "Bad user name or password"},
      {0x87, "Not authorized"},
      {0x88, "Server unavailable"},
      {0x8b, "Server shutting down"},
      {0x8e, "Session taken over"},
      {0x97, "Quota exceeded"},
      {0x98, "Administrative action"},
  }};
  std::array<char, 8> hex{};
  static_cast<void>(
      std::snprintf(hex.data(), hex.size(), "0x%02x", static_cast<unsigned>(code) & 0xffU));
  for (const auto& [number, word] : kWords) {
    if (number == code) {
      return std::string(hex.data()) + " " + std::string(word);
    }
  }
  return hex.data();
}

void Complain(Context& context, const Error& error, int exit_code) {
  if (context.json) {
    const nlohmann::ordered_json json = {
        {"event", "failed"}, {"reason", FactsOf(error.reason).word}, {"text", error.text}};
    Say(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  std::cerr << "latchkey: " << error.text << std::endl;
  context.exit_code = exit_code;
}

void Say(const std::string& line) {
  std::cout << line << std::endl;
}

}  // namespace latchkey::cli
