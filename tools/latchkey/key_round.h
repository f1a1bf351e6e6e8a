// One key given to or taken from many cars, with the fleet's own key: for each car hear its ring,
// leave it alone when it stands as wished, else send one command and take the first word that
// settles it. Pure but for random command ids: time comes in, what to send comes out. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/message.h"
#include "proto/receipt.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::cli {

// Every bound and delay of a round. The rates stay below what the broker allows one key.
struct RoundLimits {
  size_t in_flight_max = 100;
  size_t burst = 200;                                // commands at once
  int per_second = 15;                               // and then so many a second
  Duration patience = std::chrono::seconds(30);      // for a car, from its turn on
  Duration ring_patience = std::chrono::seconds(5);  // for its ring, once subscribed
  Duration resend = std::chrono::seconds(3);
};

class KeyRound {
 public:
  enum class Deed : uint8_t { kGive, kTake };

  enum class End : uint8_t {
    kDone,     // the car has done it
    kHad,      // nothing to do: it stood like that
    kHeld,     // the server holds it for a car that sleeps
    kRefused,  // by car, server or broker
    kSilent,   // nobody answered; it may still happen
  };

  // What became of one car.
  struct Word {
    CarRef ref;
    End end = End::kSilent;
    Error error;  // kRefused, kSilent
    Duration elapsed{0};
    std::optional<PublicKey> car_key;  // known once its ring was seen
  };

  struct Subscribe {
    std::vector<std::string> filters;
  };

  using Effect = std::variant<Publish, Subscribe, Word>;
  using Effects = std::vector<Effect>;

  // What to do, by whom, and which CA (DER) the cars' rings are believed by. kTake reads only the
  // id of `subject`. Must outlive nothing: all is kept.
  struct Order {
    Deed deed = Deed::kGive;
    RingKey subject;
    std::string fleet_ca_der;
    std::vector<CarRef> cars;
  };

  KeyRound(Order order, PrivateKey key, const RoundLimits& limits = {});

  void Connected(const Now& now, Effects& out);
  void Disconnected();
  // SUBACK of the oldest unanswered Subscribe.
  void Subscribed(const std::vector<int>& reason_codes, const Now& now, Effects& out);
  // PUBACK on `topic`.
  void Published(const std::string& topic, int reason_code, const Now& now, Effects& out);
  void Arrived(const Publish& publish, const Now& now, Effects& out);
  void Tick(const Now& now, Effects& out);
  std::optional<Instant> NextDeadline() const;

  size_t total() const { return cars_.size(); }

  size_t over() const { return over_; }

  size_t in_flight() const { return in_flight_; }

  const PrivateKey& key() const { return key_; }

 private:
  enum class Phase : uint8_t { kWaits, kListens, kReady, kSent, kOver };

  struct Car {
    Phase phase = Phase::kWaits;
    std::optional<PublicKey> key;
    CommandId id;
    std::string wire;
    std::optional<Timestamp> expires_at;
    Instant started;
    Instant until;  // when it is given up
    Instant next;   // when to act: the ring is late, or a resend
    int refusals = 0;
    bool delivered = false;
  };

  using Cars = std::map<CarRef, Car>;

  void Begin(const Now& now, Effects& out);
  void Listen(const CarRef& ref, Effects& out);
  void OnRing(Cars::value_type& car, const Publish& publish, const Now& now, Effects& out);
  void OnReceipt(Cars::value_type& car, const Publish& publish, const Now& now, Effects& out);
  void Send(Cars::value_type& car, const Now& now, Effects& out);
  void Finish(Cars::value_type& car, End end, Error error, const Now& now, Effects& out);
  bool StandsAsWished(const KeyRing& ring) const;
  bool TakeTurn(const Now& now);

  Order order_;
  PrivateKey key_;
  KeyId id_;
  RoundLimits limits_;
  Cars cars_;
  std::deque<CarRef> waiting_;
  std::deque<CarRef> asked_;  // Subscribes without SUBACK
  size_t in_flight_ = 0;
  size_t over_ = 0;
  bool connected_ = false;
  double tokens_ = 0;
  std::optional<Instant> filled_at_;
};

// "done", "had", "held", "refused", "silent"
std::string_view ToText(KeyRound::End end);

}  // namespace latchkey::cli
