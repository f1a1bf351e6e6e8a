// Latchkey's links, as in QR codes and messages between people: a prefix, then name=value pairs
// joined by '&'. Each name of the kind stands exactly once, in any order, and no other does, so
// that a link reads one way only. No value needs escaping: names of things obey their rules, the
// rest is base64url.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "proto/types.h"

namespace latchkey {

inline constexpr size_t kLinkBytesMax = 512;

// One kind of link. The first of `names` is the version, whose value is 1.
struct LinkKind {
  std::string_view title;   // "pairing text"
  std::string_view prefix;  // "latchkey://pair?"
  std::span<const std::string_view> names;
  std::string_view remedy;  // what a person does about a broken one
};

// REASON_MALFORMED: the {title} {what}: {remedy}.
tl::unexpected<Error> BadLink(const LinkKind& kind, std::string_view what);

// The values in the order of `kind.names`, views into `text`. Error REASON_MALFORMED: too long,
// another prefix, a name missing, repeated or foreign, another version.
Result<std::vector<std::string_view>> SplitLink(std::string_view text, const LinkKind& kind);

// Where a car is found.
struct LinkPlace {
  std::string host;  // broker for phones: a DNS name or an IP address
  int port = 0;      // 1 to 65535
  std::string cell;  // `aud` of the phone's tokens
  CarRef ref;
};

// h={host}&p={port}&cell={cell}&f={fleet}&c={car}. A place that cannot be is our own fault.
std::string PlaceText(const LinkPlace& place);

// `values`: of h, p, cell, f and c, in this order. Error REASON_MALFORMED.
Result<LinkPlace> ReadPlace(std::span<const std::string_view> values, const LinkKind& kind);

}  // namespace latchkey
