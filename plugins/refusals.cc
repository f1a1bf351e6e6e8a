// Counting and rate-limited wording of refusals.
#include "plugins/refusals.h"

#include <utility>

#include "proto/reason.h"

namespace latchkey {

namespace {

constexpr Duration kSecond(1000);
constexpr size_t kQuotedMax = 160;

}  // namespace

std::string_view ToText(At at) {
  switch (at) {
    case At::kConnect:
      return "connect";
    case At::kSubscribe:
      return "subscribe";
    case At::kRead:
      return "read";
    case At::kWrite:
      return "write";
    case At::kMessage:
      return "message";
    case At::kRing:
      return "ring";
    case At::kRingFile:
      return "ring_file";
    case At::kControl:
      return "control";
    case At::kAdmit:
      return "admit";
  }
  return "unknown";
}

std::string Quoted(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text.substr(0, kQuotedMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte > 0x7e) {
      quoted += "\\x";
      quoted += kHex[byte >> 4U];
      quoted += kHex[byte & 15U];
    } else {
      quoted += c;
    }
  }
  quoted += text.size() > kQuotedMax ? "...\"" : "\"";
  return quoted;
}

std::optional<std::string> Refusals::Count(const Refused& refused, Instant now) {
  CountOnly(refused.at, refused.reason);
  if (now - second_began_ >= kSecond && suppressed_ == 0) {
    second_began_ = now;
    lines_ = 0;
  }
  if (lines_ >= kRefusalLinesPerSecondMax) {
    ++suppressed_;
    return std::nullopt;
  }
  ++lines_;
  std::string line = "latchkey refused at=";
  line += ToText(refused.at);
  line += " reason=";
  line += FactsOf(refused.reason).word;
  line += " who=" + Quoted(refused.who);
  if (!refused.topic.empty()) {
    line += " topic=" + Quoted(refused.topic);
  }
  if (!refused.text.empty()) {
    line += " text=" + Quoted(refused.text);
  }
  return line;
}

void Refusals::CountOnly(At at, Reason reason) {
  const auto given = static_cast<size_t>(reason);
  const size_t column = given < kReasonCount ? given : static_cast<size_t>(v1::REASON_INTERNAL);
  ++cells_[static_cast<size_t>(at)][column].count;
}

std::optional<std::string> Refusals::TakeSuppressed(Instant now) {
  if (suppressed_ == 0 || now - second_began_ < kSecond) {
    return std::nullopt;
  }
  second_began_ = now;
  lines_ = 0;
  return "latchkey refused lines_left_out=" + std::to_string(std::exchange(suppressed_, 0)) +
         " text=\"too many refusals to log each; all are counted\"";
}

std::vector<Publish> Refusals::TakeChanged() {
  std::vector<Publish> changed;
  for (size_t at = 0; at < kAtCount; ++at) {
    for (size_t reason = 0; reason < kReasonCount; ++reason) {
      Cell& cell = cells_[at][reason];
      if (cell.count == cell.told) {
        continue;
      }
      cell.told = cell.count;
      std::string topic = "$SYS/broker/latchkey/refused/";
      topic += ToText(static_cast<At>(at));
      topic += '/';
      topic += FactsOf(static_cast<Reason>(reason)).word;
      changed.push_back({std::move(topic), std::to_string(cell.count), 0, Retain::kYes, 0});
    }
  }
  return changed;
}

uint64_t Refusals::Of(At at, Reason reason) const {
  const auto column = static_cast<size_t>(reason);
  return column < kReasonCount ? cells_[static_cast<size_t>(at)][column].count : 0;
}

}  // namespace latchkey
