// How much may come from one place: token buckets by name, in bounded memory, with time passed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>

#include <absl/container/flat_hash_map.h>

#include "proto/result.h"
#include "proto/time.h"

namespace latchkey {

// `per_second` tokens flow in, at most `burst` are kept. per_second 0 and burst 0: no limit.
struct Rate {
  double per_second = 0;
  double burst = 0;

  bool unlimited() const { return per_second <= 0 && burst <= 0; }

  bool operator==(const Rate&) const = default;
};

inline constexpr double kRateMax = 1'000'000;  // per second and burst

// "PER_SECOND:BURST", for example "0.2:5", or "off". Both are decimal numbers up to kRateMax,
// PER_SECOND above 0, BURST at least 1 (else nothing would ever pass). Error REASON_MALFORMED with
// what is wrong.
Result<Rate> ParseRate(std::string_view text);

// Not thread-safe. A bucket costs about 150 bytes. When `names_max` (at least 1) names are held,
// the one used longest ago is forgotten (it begins full again), so a flood of names costs time for
// nobody else. A name that is held costs no allocation. When `now` goes back, time stands still for
// a bucket: nothing is taken away, nothing flows in.
class RateLimiter {
 public:
  RateLimiter(Rate rate, size_t names_max) : rate_(rate), names_max_(names_max) {}

  RateLimiter(const RateLimiter&) = delete;  // names point into buckets
  RateLimiter& operator=(const RateLimiter&) = delete;
  RateLimiter(RateLimiter&&) = default;
  RateLimiter& operator=(RateLimiter&&) = default;
  ~RateLimiter() = default;

  // Takes one token of `name`. False: there is none.
  bool Take(std::string_view name, Instant now);
  // Would Take succeed? Takes nothing.
  bool Has(std::string_view name, Instant now) const;

  size_t size() const { return buckets_.size(); }

 private:
  struct Bucket {
    std::string name;
    double tokens = 0;
    Instant at;
  };

  // What `bucket` holds at `now`.
  double TokensOf(const Bucket& bucket, Instant now) const;
  Bucket& BucketOf(std::string_view name, Instant now);

  Rate rate_;
  size_t names_max_;
  std::list<Bucket> used_;  // the one used last in front
  absl::flat_hash_map<std::string_view, std::list<Bucket>::iterator, std::hash<std::string_view>>
      buckets_;  // by name, in used_
};

// The name an address is counted under: IPv4 whole, IPv6 by its first 64 bits (what one subscriber
// line has) as "2001:db8:0:1::/64", IPv4 inside IPv6 ("::ffff:192.0.2.1") as IPv4, a zone ("%eth0")
// taken off; anything else as it is.
std::string RateName(std::string_view address);

}  // namespace latchkey
