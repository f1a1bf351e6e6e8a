// How clients of a swarm come into a broker of the bench: where it listens, and what each of the
// crowd signs in with there.
#pragma once

#include <cstddef>
#include <memory>

#include "proto/result.h"
#include "tools/bench/brokers.h"
#include "tools/bench/place.h"
#include "tools/bench/swarm.h"

namespace latchkey::bench {

// Of one broker, which it must not outlive. One thread.
class Entrance {
 public:
  // `tls` as the broker was wished. Errors REASON_STORE_UNAVAILABLE, REASON_BAD_CERTIFICATE: the
  // place's CA cannot be read.
  static Result<Entrance> To(const Place& place, const BenchBroker& broker, bool tls);

  // Cars, the tap and administrators come in here; phones there.
  const Endpoint& cars() const { return cars_; }

  const Endpoint& phones() const { return phones_; }

  // Ready for Swarm::Add, their endpoints included. Error REASON_BAD_CERTIFICATE.
  Result<ClientWish> Car(size_t car) const;
  // With a token that is good for an hour.
  Result<ClientWish> Phone(size_t phone) const;
  Result<ClientWish> Tap() const;
  // Of anyone else.
  Result<ClientWish> With(const SignIn& sign_in) const;

 private:
  explicit Entrance(const BenchBroker& broker) : broker_(&broker) {}

  const BenchBroker* broker_;
  Endpoint cars_;
  Endpoint phones_;
};

}  // namespace latchkey::bench
