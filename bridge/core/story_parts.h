// The parts of a story (story.h) that others use, too: keys and certificates, the broker's plugin
// as control.proto has it, bytes of state and presence.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bridge/core/step.h"
#include "latchkey/v1/control.pb.h"
#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/blocks.h"
#include "proto/certificate.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/message.h"
#include "proto/result.h"
#include "proto/state.h"
#include "proto/types.h"
#include "tools/ca/ca.h"

namespace latchkey::bridge {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

inline constexpr Timestamp kStoryStart{1'760'000'000'000};
inline constexpr const char* kStoryNumber = "+436641234567";

inline CarRef RefOf(const std::string& car) {
  return {FleetId::Parse("f").value(), CarId::Parse(car).value()};
}

// Keys and certificates, made once per process.
struct Keys {
  struct Car {
    PrivateKey key;
    std::string certificate_der;
  };

  Keys() : ca(tools::MakeCa("fleet f", kStoryStart, 3650)) {
    other_ca = tools::MakeCa("fleet g", kStoryStart, 3650);
    for (const char* name : {"k1", "k2", "k3", "k4"}) {
      phones.emplace(name, PrivateKey::Generate());
    }
  }

  const Car& CarOf(const CarRef& ref) {
    auto at = cars.find(ref);
    if (at == cars.end()) {
      const tools::Issued issued =
          tools::IssueClient(CarIdentity{ref}, ca, kStoryStart, 3650).value();
      Car car{PrivateKey::FromPem(issued.private_key_pem).value(),
              PemToDer(issued.certificate_pem).value()};
      at = cars.emplace(ref, std::move(car)).first;
    }
    return at->second;
  }

  KeyId IdOf(const std::string& phone) const { return phones.at(phone).Public().Id(); }

  std::string NameOf(const KeyId& id) const {
    for (const auto& [name, key] : phones) {
      if (key.Public().Id() == id) {
        return name;
      }
    }
    return "k?";
  }

  RingKey RingKeyOf(const std::string& phone) const {
    const PublicKey key = phones.at(phone).Public();
    const v1::Role role = phone == "k1" || phone == "k4" ? v1::ROLE_OWNER : v1::ROLE_DRIVER;
    return RingKey{key.Id(), key.ToPoint(), role, PermissionsOf(role), {}, {}, phone};
  }

  std::string Ring(const CarRef& ref, uint64_t version, const std::vector<std::string>& names) {
    KeyRing ring{ref, version, kStoryStart, {}};
    for (const std::string& name : names) {
      ring.keys.push_back(RingKeyOf(name));
    }
    return SealKeyRing(ring, CarOf(ref).key, CarOf(ref).certificate_der);
  }

  FleetCas Cas() const {
    return {{FleetId::Parse("f").value(), PemToDer(ca.certificate_pem).value()}};
  }

  tools::Issued ca;
  tools::Issued other_ca;
  std::map<std::string, PrivateKey> phones;
  std::map<CarRef, Car> cars;
};

inline Keys& SharedKeys() {
  static Keys keys;
  return keys;
}

// "k2 everywhere", "k2 f", "k2 f/car1".
inline std::string TextOf(const BlockScope& scope) {
  return SharedKeys().NameOf(scope.key) + " " +
         (scope.fleet.empty()
              ? "everywhere"
              : scope.fleet.str() + (scope.car.empty() ? "" : "/" + scope.car.str()));
}

// What the broker's auth plugin does with $CONTROL/latchkey/v1, by control.proto.
struct PluginModel {
  // Serialized ControlAnswer. `told` gets what was changed, for $SYS/broker/latchkey/blocks.
  std::string Answer(const std::string& payload, v1::BlocksChanged& told) {
    v1::Control control;
    LK_ASSERT(control.ParseFromString(payload) && payload.size() <= kControlBytesMax);
    v1::ControlAnswer answer;
    answer.set_request_id(control.request_id());
    if (control.has_merge_blocks()) {
      LK_ASSERT(control.merge_blocks().blocks_size() <= static_cast<int>(kBlocksPerMessageMax));
      for (const v1::Block& wire : control.merge_blocks().blocks()) {
        const Block block = BlockFromWire(wire).value();
        if (blocks.Merge(block).value()) {
          *told.add_blocks() = wire;
          answer.set_changed(answer.changed() + 1);
        } else if (*blocks.Find(block.scope) != block) {
          *answer.add_blocks() = BlockToWire(*blocks.Find(block.scope));
        }
      }
      return answer.SerializeAsString();
    }
    std::optional<BlockScope> after;
    const v1::Block& from = control.list_blocks().after();
    if (control.list_blocks().has_after()) {
      after = BlockScope{KeyId::Parse(from.key_id()).value(),
                         FleetId::Parse(from.fleet()).value_or(FleetId()),
                         CarId::Parse(from.car()).value_or(CarId())};
    }
    const std::vector<Block> list = blocks.List(after, page + 1);
    for (size_t i = 0; i < std::min(page, list.size()); ++i) {
      *answer.add_blocks() = BlockToWire(list[i]);
    }
    answer.set_more(list.size() > page);
    return answer.SerializeAsString();
  }

  Blocks blocks;
  size_t page = kBlocksPerMessageMax;
};

inline std::string StateBytes(Group group, Timestamp observed_at, uint64_t sequence) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(observed_at.ms));
  state.set_sequence(sequence);
  if (group == Group::kEnergy) {
    state.mutable_energy()->mutable_soc()->set_value(50);
  } else {
    state.mutable_body()->mutable_is_locked()->set_value(true);
  }
  return state.SerializeAsString();
}

inline std::string PresenceBytes(bool online, Timestamp since, uint64_t session,
                                 Timestamp broker_started_at) {
  v1::Presence presence;
  presence.set_online(online);
  presence.set_since_ms(static_cast<uint64_t>(since.ms));
  presence.set_session(session);
  presence.set_broker_started_at_ms(static_cast<uint64_t>(broker_started_at.ms));
  return presence.SerializeAsString();
}

// "body 5": a group and its sequence.
inline std::string StateText(Group group, const std::string& payload) {
  return std::string(ToText(group)) + " " +
         std::to_string(ParseState(payload, group).value().sequence());
}

// What the plugin is told; empty: it is asked.
inline std::string TextOfControl(const Publish& publish) {
  v1::Control control;
  LK_ASSERT(control.ParseFromString(publish.payload) && publish.retain == Retain::kNo);
  std::string text;
  for (const v1::Block& wire : control.merge_blocks().blocks()) {
    const Block block = BlockFromWire(wire).value();
    text += std::string(text.empty() ? "" : " | ") + (block.lifted ? "tell lift " : "tell block ") +
            TextOf(block.scope);
  }
  return text;
}

}  // namespace latchkey::bridge
