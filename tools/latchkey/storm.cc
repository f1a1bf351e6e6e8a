// See storm.h.
#include "tools/latchkey/storm.h"

#include <charconv>

namespace latchkey::cli {

namespace {

// 0: not in `text`.
int64_t Metric(std::string_view text, std::string_view name) {
  const std::string start = "\nlatchkey_" + std::string(name) + " ";
  const size_t at = text.find(start);
  if (at == std::string_view::npos) {
    return 0;
  }
  double value = 0;
  const char* const begin = text.data() + at + start.size();
  const auto parsed = std::from_chars(begin, text.data() + text.size(), value);
  return parsed.ec == std::errc() ? static_cast<int64_t>(value) : 0;
}

std::string Side(int64_t refused, int64_t entered, const char* whose) {
  return std::to_string(refused) + " sign-ins of " + whose +
         " refused for the rate in the last minute, " + std::to_string(entered) + " let in; ";
}

}  // namespace

std::optional<Storm> StormIn(std::string_view metrics) {
  const Storm storm{Metric(metrics, "broker_admit_cars_refused_minute"),
                    Metric(metrics, "broker_admit_cars_entered_minute"),
                    Metric(metrics, "broker_admit_phones_refused_minute"),
                    Metric(metrics, "broker_admit_phones_entered_minute"),
                    Metric(metrics, "cars_online"),
                    Metric(metrics, "cars_awaited")};
  return storm.refuses() || storm.awaited > 0 ? std::optional(storm) : std::nullopt;
}

std::string StormText(const Storm& storm) {
  std::string text = storm.refuses() ? "reconnect storm: " : "the broker has restarted: ";
  if (storm.cars_refused > 0) {
    text += Side(storm.cars_refused, storm.cars_entered, "cars");
  }
  if (storm.phones_refused > 0) {
    text += Side(storm.phones_refused, storm.phones_entered, "phones");
  }
  text += std::to_string(storm.back) + " of " + std::to_string(storm.back + storm.awaited) +
          " cars are back";
  return text + (storm.refuses() ? "; who was refused comes again by itself" : "");
}

}  // namespace latchkey::cli
