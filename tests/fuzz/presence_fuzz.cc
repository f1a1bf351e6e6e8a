// Presence as the bridge hears it: a byte for the length, that many bytes of Presence, and so on,
// each a second after the one before; the first comes from the store. A length of 0 is a broker
// that comes back.
#include <string>

#include "bridge/core/links.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  static const CarRef ref = testing::Ref("f1", "car1");
  const bridge::Limits limits;
  bridge::Counters counters;
  bridge::Links links(limits, counters);
  Now now{testing::kNow, {0}};
  bool stored = true;
  while (!input.empty()) {
    const auto length = static_cast<unsigned char>(input.front());
    const std::string payload(input.substr(1, length));
    input.remove_prefix(1 + payload.size());
    now = {now.wall + testing::kSecond, now.mono + testing::kSecond};
    bridge::Effects passed;
    links.Passes(now, passed);
    if (length == 0) {
      links.BrokerUp();
      static_cast<void>(links.DropUnseen(now));
    } else if (stored) {
      links.Load({ref, now.wall, payload});
    } else {
      bridge::Effects effects;
      static_cast<void>(links.Arrived(ref, payload, now, effects));
    }
    stored = false;
    links.CheckInvariants();
    Require(links.cars() <= 1 && links.cars_online() <= links.cars(), "there is one car");
    Require(!links.Online(ref) || links.AwayFor(ref, now.mono).count() == 0,
            "a car online is not away");
    Require(links.AwayFor(ref, now.mono).count() >= 0, "nobody is away for less than nothing");
  }
}

}  // namespace latchkey::fuzz
