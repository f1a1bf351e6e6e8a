// What the broker that this one is joined with says, as the plugins hear it one after the other: a
// byte for the kind, two for the length, that many bytes. 'w' a word on lk/peer, 'p' a car's
// presence, 'd' and 'l' state of drive and location, 'o' an administrator's order to move, 'e' the
// connection ends. A tenth of a second passes each time.
#include <optional>
#include <string>

#include "latchkey/v1/presence.pb.h"
#include "plugins/auth/joined.h"
#include "plugins/auth/moving.h"
#include "plugins/auth/sessions.h"
#include "plugins/guard/newest.h"
#include "proto/topic.h"
#include "proto/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::fuzz {
namespace {

constexpr Duration kStep = std::chrono::milliseconds(100);

std::optional<v1::Presence> PresenceIn(std::string_view payload) {
  return FromWire<v1::Presence>(payload, RuleOf(TopicKind::kPresence).payload_bytes_max);
}

struct Plugins {
  CarRef ref = testing::Ref("f1", "car1");
  Now now{testing::kNow, Instant{1000}};
  auth::Joined joined{"b1", testing::kNow};
  auth::Joined other{"b2", testing::kNow};
  Blocks blocks;
  auth::Sessions sessions{testing::kNow, "b1"};
  auth::Moving moving;
  guard::NewestStates newest;

  void Word(std::string_view payload) {
    const bool was_here = joined.Here(now.mono);
    const auto heard = joined.Heard(payload, now.mono);
    if (!heard) {
      Require(joined.Here(now.mono) == was_here, "a word that is refused changes nothing");
      return;
    }
    Require(joined.Here(now.mono), "who speaks is there");
    Require(!joined.peer().empty() && joined.peer() != joined.broker(), "and has a name");
    Require(heard->size() <= kBlocksPerMessageMax, "a word keeps its bound");
    for (const Block& block : *heard) {
      if (blocks.Merge(block).value_or(false)) {
        joined.Changed({block});
      }
    }
  }

  void Presence(std::string_view payload) {
    const bool passes = sessions.TakePeerWord(ref, payload);
    const auto word = PresenceIn(payload);
    Require(!passes || (word && word->broker() != "b1"), "nobody speaks in this broker's name");
    if (payload.size() % 2 == 0) {
      for (const Publish& gone : sessions.TakePeerGone(2, now.wall)) {
        const auto said = PresenceIn(gone.payload);
        Require(said && !said->online(), "who was at a broker that is gone is away");
      }
      Require(sessions.TakePeerGone(2, now.wall).empty(), "which is said once");
    }
  }

  void State(Group group, std::string_view payload) {
    const std::string name = StateTopic(ref, group);
    const Topic topic = *ParseTopic(name);
    newest.Begin();
    static_cast<void>(newest.Take(topic, payload, true, now.wall));
    const auto state = FromWire<v1::StateGroup>(payload, kStateBytesMax);
    const bool ahead = state && VersionOf(*state).observed_at_ms > now.wall.ms;
    if (state && !payload.empty() && !ahead) {
      Require(!newest.Take(topic, payload, true, now.wall), "the same again does not pass");
    }
    Require(newest.size() <= 2, "one version a topic");
  }

  void Order(std::string_view payload) {
    const auto order = FromWire<v1::MoveClients>(payload, kControlBytesMax);
    if (order && moving.Order(*order, now.mono)) {
      const v1::Moving told = moving.Tell(sessions);
      Require(told.percent() <= 100 && told.per_second() <= auth::kMovePerSecondMax,
              "an order keeps its bounds");
      Require(moving.TakeDue(sessions, now.mono).empty(), "nobody is here to go");
    }
  }

  // What this plugin says is good enough for the other one.
  void Passes() {
    now = {now.wall + kStep, now.mono + kStep};
    for (const Publish& said : joined.Due(blocks, now.mono)) {
      Require(other.Heard(said.payload, now.mono).has_value(), "the other can read what is said");
    }
    static_cast<void>(joined.TakeGone(now.mono));
  }
};

}  // namespace

void Try(std::string_view input) {
  Plugins it;
  constexpr size_t kHead = 3;
  while (input.size() >= kHead) {
    const char kind = input[0];
    const auto length = static_cast<size_t>(static_cast<unsigned char>(input[1]) * 256 +
                                            static_cast<unsigned char>(input[2]));
    const std::string_view payload = input.substr(kHead, length);
    input.remove_prefix(kHead + payload.size());
    if (kind == 'w') {
      it.Word(payload);
    } else if (kind == 'p') {
      it.Presence(payload);
    } else if (kind == 'd' || kind == 'l') {
      it.State(kind == 'd' ? Group::kDrive : Group::kLocation, payload);
    } else if (kind == 'o') {
      it.Order(payload);
    } else if (kind == 'e') {
      it.joined.Left();
    }
    it.Passes();
  }
}

}  // namespace latchkey::fuzz
