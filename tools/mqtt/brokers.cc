// See brokers.h.
#include "tools/mqtt/brokers.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace latchkey::tools {

namespace {

constexpr size_t kHostCharactersMax = 253;
constexpr int kPortMax = 65535;

bool IsHost(std::string_view text) {
  return !text.empty() && text.size() <= kHostCharactersMax && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.';
         });
}

}  // namespace

Result<BrokerAddress> ParseBrokerAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  const std::string_view host = text.substr(0, colon);
  const std::string_view digits =
      colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  int port = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const bool whole = !digits.empty() && read.ec == std::errc() &&
                     read.ptr == digits.data() + digits.size() && port >= 1 && port <= kPortMax;
  if (!whole || !IsHost(host)) {
    return Fail(v1::REASON_MALFORMED, "\"" + std::string(text.substr(0, kHostCharactersMax)) +
                                          "\" is no broker: write HOST:PORT, for example "
                                          "broker.example.org:8883");
  }
  return BrokerAddress{std::string(host), port};
}

BrokerList::BrokerList(std::vector<BrokerAddress> brokers) : brokers_(std::move(brokers)) {
  LK_ASSERT(!brokers_.empty());
}

void BrokerList::Served() {
  failed_ = 0;
}

// One more has failed.
bool BrokerList::Next() {
  at_ = (at_ + 1) % brokers_.size();
  if (++failed_ < brokers_.size()) {
    return true;
  }
  failed_ = 0;
  return false;
}

bool BrokerList::Ended(BrokerEnd how, Instant now) {
  switch (how) {
    case BrokerEnd::kLost:
      failed_ = 0;
      return false;
    case BrokerEnd::kSentAway: {
      const bool again = sent_away_at_ && now - *sent_away_at_ < kSentAwayAgain;
      sent_away_at_ = now;
      failed_ = 0;
      return Next() && !again;
    }
    case BrokerEnd::kUnreachable:
    case BrokerEnd::kBusy:
      return Next();
    case BrokerEnd::kRefused:
      // What is wrong with the client is wrong everywhere; what is wrong with this broker is not.
      Next();
      return false;
  }
  return false;
}

}  // namespace latchkey::tools
