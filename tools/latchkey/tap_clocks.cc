// See tap_clocks.h.
#include "tools/latchkey/tap_clocks.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "tools/latchkey/show.h"

namespace latchkey::cli {

std::optional<TapClocks::News> TapClocks::Take(const std::string& car, const Heard& heard) {
  if (cars_.size() >= cars_max_ && cars_.find(car) == cars_.end()) {
    return std::nullopt;
  }
  Car& known = cars_[car];
  std::optional<StateVersion>& newest = known.newest[static_cast<size_t>(heard.group)];
  const bool live = heard.retained == Retain::kNo;
  const ClockCheck::Found found = known.check.Take(
      {heard.version, newest, heard.at, live ? std::optional(heard.mono) : std::nullopt});
  newest = newest ? std::max(*newest, heard.version) : heard.version;
  if (!found.changed && found.jump == ClockJump::kNone) {
    return std::nullopt;
  }
  return News{found, known.check.state()};
}

std::string ClockNewsText(const std::string& car, const TapClocks::News& news, Timestamp now) {
  std::string text;
  if (news.found.jump != ClockJump::kNone) {
    text = std::string("the car's clock jumped ") +
           (news.found.jump == ClockJump::kBack ? "back" : "forward") + " by " +
           AgeText(news.found.by);
  }
  if (news.found.changed) {
    const std::string state = latchkey::ClockText(news.now);
    text += (text.empty() ? "" : "; ") + (state.empty() ? "the car's clock is right" : state);
  }
  return ClockText(now) + "  " + car + "  clock: " + text;
}

std::string ClockNewsJson(const std::string& car, const TapClocks::News& news, Timestamp now) {
  nlohmann::ordered_json json = {{"car", car},
                                 {"event", "clock"},
                                 {"received_at_ms", now.ms},
                                 {"clock", ToText(news.now.word)},
                                 {"by_ms", news.now.by.count()}};
  if (news.found.jump != ClockJump::kNone) {
    json["jump"] = news.found.jump == ClockJump::kBack ? "back" : "forward";
    json["jump_ms"] = news.found.by.count();
  }
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace latchkey::cli
