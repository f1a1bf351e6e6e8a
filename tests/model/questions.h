// What can be asked of plugins/auth, and what the reference says to it: the topic table of
// proto/README.md section 3, told principal by principal.
#pragma once

#include <cstdint>
#include <string>

#include "plugins/auth/access.h"
#include "plugins/auth/identity.h"
#include "proto/time.h"
#include "proto/topic.h"
#include "proto/types.h"
#include "tests/model/reference.h"

namespace latchkey::model {

inline auth::Principal Someone(auth::PrincipalKind kind, const CarRef& car = {}) {
  auth::Principal principal;
  principal.kind = kind;
  principal.car = car;
  return principal;
}

inline auth::Principal APhone(const KeyId& key) {
  auth::Principal principal = Someone(auth::PrincipalKind::kPhone);
  principal.key = key;
  return principal;
}

inline auth::Principal ACar(const CarRef& ref) {
  return Someone(auth::PrincipalKind::kCar, ref);
}

// How a subscription is put; kExact for reading and writing.
enum class Width : uint8_t { kExact, kBelowCar, kAnyCar, kShared };

struct Asked {
  auth::Principal who;
  auth::Access access = auth::Access::kRead;
  Width width = Width::kExact;
  TopicKind kind = TopicKind::kState;
  Group group = Group::kBody;
  CarRef ref;
  KeyId lane;
  bool fresh = true;    // a command that has not expired; a ring of the version held
  std::string payload;  // of what is delivered

  // The topic or filter.
  std::string Topic() const;
  std::string ToText() const;
};

// Does the reference allow it?
bool Allows(const Reference& reference, const Asked& asked, Timestamp now);

}  // namespace latchkey::model
