// The keys of the simulation: the same in every process, so that a seed replays
// exactly. And what makes them cheap: within a run, what libcrypto has once
// decided of the same bytes is remembered.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bridge/core/step.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/types.h"

namespace latchkey::sim {

struct PhoneKeys {
  std::string name;  // "k1" to "k4"
  bool owner = false;
  PrivateKey key;
  KeyId id;
  RingKey ring_key;
};

struct CarKeys {
  CarRef ref;  // f/car1 to f/car3
  PrivateKey key;
  std::string certificate_der;
  std::string relay_key;
};

struct Keys {
  std::vector<PhoneKeys> phones;
  std::vector<CarKeys> cars;
  bridge::FleetCas cas;
};

// Made once per process.
const Keys& AllKeys();
// By id or by name. The phone must be one of these.
const PhoneKeys& PhoneOf(const KeyId& id);
const PhoneKeys& PhoneOf(const std::string& name);
// "k2"; "k?": none of these.
std::string NameOf(const KeyId& id);
// "k2 everywhere", "k2 f", "k2 f/car1".
std::string TextOf(const BlockScope& scope);

// How signatures are made and judged in this process from here on; forgets
// those made before.
//
// The linker puts functions of the simulation before libcrypto's
// (CMakeLists.txt; nothing of it is in what people run). kReal: every signature
// is libcrypto's, and libcrypto judges each once. kStandIn: a key signs with a
// digest of the bytes and itself that is quick to make; whatever is not exactly
// that is judged by libcrypto.
enum class Signatures : uint8_t { kReal, kStandIn };
void UseSignatures(Signatures how);
// How often a verdict was remembered, or a stand-in fitted.
uint64_t VerdictsRemembered();

}  // namespace latchkey::sim
