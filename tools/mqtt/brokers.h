// Which broker of a list a client turns to. Pure: told what came of each attempt, says where the
// next one goes and whether it may be made at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::tools {

struct BrokerAddress {
  std::string host;
  int port = 0;
  bool operator==(const BrokerAddress&) const = default;

  std::string ToText() const { return host + ":" + std::to_string(port); }
};

// "HOST:PORT". Error REASON_MALFORMED: no port from 1 to 65535, or a host that is neither a DNS
// name nor an IPv4 address.
Result<BrokerAddress> ParseBrokerAddress(std::string_view text);

// How a connection, or the attempt to make one, ended.
enum class BrokerEnd : uint8_t {
  kLost,         // it was there and broke without a word
  kSentAway,     // the broker ended it with a reason
  kUnreachable,  // none was made: network, TLS, or hung up on without a CONNACK
  kBusy,         // the CONNACK says busy, unavailable or to use another
  kRefused,      // the CONNACK says anything else
};

// Not thread-safe.
class BrokerList {
 public:
  // At least one; the first is tried first.
  explicit BrokerList(std::vector<BrokerAddress> brokers);

  const BrokerAddress& current() const { return brokers_[at_]; }

  // The CONNACK of the current one was good.
  void Served();

  // Chooses the next. True: it may be tried at once, because it is another one than those that
  // failed since one served; false: after the usual back-off. Who is sent from one to the next and
  // on within kSentAwayAgain backs off, so that two brokers that each send to the other are not
  // hammered.
  bool Ended(BrokerEnd how, Instant now);

  static constexpr Duration kSentAwayAgain = std::chrono::seconds(2);

 private:
  bool Next();

  std::vector<BrokerAddress> brokers_;
  size_t at_ = 0;
  size_t failed_ = 0;  // in a row, since one served or a back-off
  std::optional<Instant> sent_away_at_;
};

}  // namespace latchkey::tools
