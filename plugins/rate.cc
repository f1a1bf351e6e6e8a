// Token buckets, and the names they go by.
#include "plugins/rate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace latchkey {

namespace {

constexpr double kMsPerSecond = 1000;

std::optional<double> NumberOf(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  if (parsed.ec != std::errc() || parsed.ptr != end || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

Result<Rate> ParseRate(std::string_view text) {
  if (text == "off") {
    return Rate{};
  }
  const size_t colon = text.find(':');
  if (colon != std::string_view::npos) {
    const std::optional<double> per_second = NumberOf(std::string(text.substr(0, colon)));
    const std::optional<double> burst = NumberOf(std::string(text.substr(colon + 1)));
    if (per_second && burst && *per_second > 0 && *per_second <= kRateMax && *burst >= 1 &&
        *burst <= kRateMax) {
      return Rate{*per_second, *burst};
    }
  }
  return Fail(v1::REASON_MALFORMED,
              "\"" + std::string(text) +
                  "\" is not a rate: write PER_SECOND:BURST with PER_SECOND above 0 and BURST from "
                  "1, both at most 1000000, for example 0.2:5, or off");
}

double RateLimiter::TokensOf(const Bucket& bucket, Instant now) const {
  const auto passed = static_cast<double>(std::max<int64_t>(0, now.ms - bucket.at.ms));
  return std::min(rate_.burst, bucket.tokens + passed / kMsPerSecond * rate_.per_second);
}

RateLimiter::Bucket& RateLimiter::BucketOf(std::string_view name, Instant now) {
  const auto found = buckets_.find(name);
  if (found != buckets_.end()) {
    used_.splice(used_.begin(), used_, found->second);
    return used_.front();
  }
  if (!used_.empty() && buckets_.size() >= names_max_) {
    buckets_.erase(used_.back().name);
    used_.pop_back();
  }
  used_.push_front({std::string(name), rate_.burst, now});
  buckets_.emplace(used_.front().name, used_.begin());
  return used_.front();
}

bool RateLimiter::Take(std::string_view name, Instant now) {
  if (rate_.unlimited()) {
    return true;
  }
  Bucket& bucket = BucketOf(name, now);
  bucket.tokens = TokensOf(bucket, now);
  bucket.at = now;
  if (bucket.tokens < 1) {
    return false;
  }
  bucket.tokens -= 1;
  return true;
}

bool RateLimiter::Has(std::string_view name, Instant now) const {
  if (rate_.unlimited()) {
    return true;
  }
  const auto found = buckets_.find(name);
  return found == buckets_.end() || TokensOf(*found->second, now) >= 1;
}

std::string RateName(std::string_view address) {
  const std::string text(address.substr(0, address.find('%')));
  in6_addr bytes{};
  if (inet_pton(AF_INET6, text.c_str(), &bytes) != 1) {
    return std::string(address);
  }
  std::array<char, INET6_ADDRSTRLEN> name{};
  if (IN6_IS_ADDR_V4MAPPED(&bytes)) {
    inet_ntop(AF_INET, &bytes.s6_addr[12], name.data(), name.size());
    return name.data();
  }
  std::fill(std::begin(bytes.s6_addr) + 8, std::end(bytes.s6_addr), uint8_t{0});
  inet_ntop(AF_INET6, &bytes, name.data(), name.size());
  return std::string(name.data()) + "/64";
}

}  // namespace latchkey
