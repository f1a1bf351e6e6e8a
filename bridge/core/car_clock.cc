// See car_clock.h.
#include "bridge/core/car_clock.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace latchkey::bridge {

namespace {

constexpr Duration kMinute = std::chrono::minutes(1);

std::string Seconds(Duration duration) {
  return std::to_string(duration.count() / 1000);
}

bool Alike(const ClockState& a, const ClockState& b) {
  return a.word == b.word && std::max(a.by, b.by) - std::min(a.by, b.by) <=
                                 std::max(a.by / 10, Duration(std::chrono::seconds(1)));
}

}  // namespace

void CarClocks::Heard(const CarRef& ref, ClockCheck& check, const ClockCheck::Heard& heard,
                      Effects& out) {
  const ClockState before = check.state();
  const ClockCheck::Found found = check.Take(heard);
  const ClockState& after = check.state();
  if (before.word != after.word) {
    Count(before.word, false);
    Count(after.word, true);
  }
  switch (found.jump) {
    case ClockJump::kNone:
      break;
    case ClockJump::kForward:
      ++counters_.clocks_jumped_forward;
      break;
    case ClockJump::kBack:
      ++counters_.clocks_jumped_back;
      break;
  }
  if (before != after) {
    Keep(ref, after, heard.received_at);
  }
  if (found.changed || found.jump != ClockJump::kNone) {
    Tell(ref, found, after, heard.received_at, out);
  }
}

void CarClocks::Forget(const CarRef& ref, const ClockCheck& check) {
  Count(check.state().word, false);
  Keep(ref, ClockState{}, Timestamp{});
}

void CarClocks::Count(ClockWord word, bool more) {
  switch (word) {
    case ClockWord::kRight:
      break;
    case ClockWord::kAhead:
      ahead_ = more ? ahead_ + 1 : ahead_ - 1;
      break;
    case ClockWord::kBehind:
      behind_ = more ? behind_ + 1 : behind_ - 1;
      break;
  }
}

void CarClocks::Keep(const CarRef& ref, const ClockState& state, Timestamp now) {
  const auto at = wrong_->find(ref);
  const bool known = at != wrong_->end();
  if (state.word == ClockWord::kRight
          ? !known
          : (known ? Alike(at->second.state, state) : wrong_->size() >= kWrongClocksMax)) {
    return;
  }
  auto wrong = std::make_shared<WrongClocks>(*wrong_);
  if (state.word == ClockWord::kRight) {
    wrong->erase(ref);
  } else {
    const bool same_word = known && at->second.state.word == state.word;
    wrong->insert_or_assign(ref, WrongClock{state, same_word ? at->second.since : now});
  }
  wrong_ = std::move(wrong);
}

void CarClocks::Tell(const CarRef& ref, const ClockCheck::Found& found, const ClockState& state,
                     Timestamp now, Effects& out) {
  if (!minute_ || now < *minute_ || now - *minute_ >= kMinute) {
    minute_ = now;
    lines_ = 0;
    if (left_out_ > 0) {
      out.emplace_back(LogEvent{LogEvent::Level::kWarning,
                                "car_clock_left_out",
                                {{"lines", std::to_string(std::exchange(left_out_, 0))}}});
    }
  }
  if (++lines_ > kClockLinesPerMinute) {
    ++left_out_;
    return;
  }
  std::vector<std::pair<std::string, std::string>> fields = {
      {"car", ref.ToText()}, {"clock", std::string(ToText(state.word))}};
  if (state.word != ClockWord::kRight) {
    fields.emplace_back("by_s", Seconds(state.by));
  }
  if (found.jump != ClockJump::kNone) {
    fields.emplace_back("jump", found.jump == ClockJump::kBack ? "back" : "forward");
    fields.emplace_back("jump_s", Seconds(found.by));
  }
  const bool well = state.word == ClockWord::kRight && found.jump == ClockJump::kNone;
  out.emplace_back(LogEvent{well ? LogEvent::Level::kInfo : LogEvent::Level::kWarning, "car_clock",
                            std::move(fields)});
}

}  // namespace latchkey::bridge
