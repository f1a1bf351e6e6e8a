// Counting and wording of what operators ask for.
#include "plugins/auth/taps.h"

#include <array>
#include <utility>

#include "proto/reason.h"

namespace latchkey::auth {

std::optional<std::string> Taps::Note(const Tap& tap, Instant now) {
  const bool subscribe = tap.at == At::kSubscribe;
  const bool allowed = tap.verdict.allowed();
  if (allowed && !subscribe) {
    return std::nullopt;
  }
  ++(allowed ? subscribed_ : refused_).count;
  if (!(subscribe ? subscribe_lines_ : refused_lines_).Take(tap.who, now)) {
    ++lines_left_out_.count;
    return std::nullopt;
  }
  std::string line = "latchkey tap who=" + Quoted(tap.who) + " at=";
  line += ToText(tap.at);
  line += (subscribe ? " filter=" : " topic=") + Quoted(tap.topic);
  line += allowed ? " allowed=yes" : " allowed=no reason=";
  if (!allowed) {
    line += FactsOf(tap.verdict.reason).word;
  }
  return line;
}

std::vector<Publish> Taps::TakeChanged() {
  const std::array<std::pair<const char*, Number*>, 3> numbers = {
      {{"subscribed", &subscribed_}, {"refused", &refused_}, {"lines_left_out", &lines_left_out_}}};
  std::vector<Publish> changed;
  for (const auto& [name, number] : numbers) {
    if (number->count != number->told) {
      number->told = number->count;
      changed.push_back({"$SYS/broker/latchkey/taps/" + std::string(name),
                         std::to_string(number->count), 0, Retain::kYes, 0});
    }
  }
  return changed;
}

}  // namespace latchkey::auth
