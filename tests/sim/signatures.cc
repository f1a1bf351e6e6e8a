// What the linker puts before proto/crypto.cc and proto/certificate.cc in the
// simulation (see keys.h): `Wrapped...` is called instead, `Real...` is what
// was asked for. A signature here that does not match the function's any more
// only makes the simulation slow; sim_test notices.
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "proto/certificate.h"
#include "proto/crypto.h"
#include "tests/sim/keys.h"

#define LK_VERIFY                                                   \
  "_ZNK8latchkey9PublicKey6VerifyESt17basic_string_viewIcSt11char_" \
  "traitsIcEES4_"
#define LK_SIGN                                                            \
  "_ZNK8latchkey10PrivateKey4SignB5cxx11ESt17basic_string_viewIcSt11char_" \
  "traitsIcEE"
#define LK_POINT                                                      \
  "_ZN8latchkey9PublicKey9FromPointESt17basic_string_viewIcSt11char_" \
  "traitsIcEE"
#define LK_DER                                                         \
  "_ZN8latchkey11Certificate7FromDerESt17basic_string_viewIcSt11char_" \
  "traitsIcEE"
#define LK_SIGNED_BY                                                          \
  "_ZN8latchkey13CheckSignedByESt17basic_string_viewIcSt11char_traitsIcEES3_" \
  "NS_9TimestampE"

namespace latchkey::sim {

// The functions as they are, and what is called instead. The linker knows no
// namespaces: the names it goes by are the mangled ones.
bool RealVerify(const PublicKey* key, std::string_view bytes,
                std::string_view signature) __asm__("__real_" LK_VERIFY);
std::string RealSign(const PrivateKey* key, std::string_view bytes) __asm__("__real_" LK_SIGN);
Result<PublicKey> RealFromPoint(std::string_view point) __asm__("__real_" LK_POINT);
Result<Certificate> RealFromDer(std::string_view der) __asm__("__real_" LK_DER);
Result<void> RealCheckSignedBy(std::string_view der, std::string_view ca_der,
                               Timestamp now) __asm__("__real_" LK_SIGNED_BY);

bool WrappedVerify(const PublicKey* key, std::string_view bytes,
                   std::string_view signature) __asm__("__wrap_" LK_VERIFY);
std::string WrappedSign(const PrivateKey* key, std::string_view bytes) __asm__("__wrap_" LK_SIGN);
Result<PublicKey> WrappedFromPoint(std::string_view point) __asm__("__wrap_" LK_POINT);
Result<Certificate> WrappedFromDer(std::string_view der) __asm__("__wrap_" LK_DER);
Result<void> WrappedCheckSignedBy(std::string_view der, std::string_view ca_der,
                                  Timestamp now) __asm__("__wrap_" LK_SIGNED_BY);

namespace {

struct Memory {
  Signatures how = Signatures::kReal;
  uint64_t remembered = 0;
  std::unordered_map<std::string, bool> verdicts;           // key, bytes and signature
  std::unordered_map<std::string, std::string> signatures;  // key and bytes
  // These depend on nothing but what few keys there are.
  std::unordered_map<const PrivateKey*, std::string> signers;  // public key's x
  std::unordered_map<std::string, Result<PublicKey>> points;
  std::unordered_map<std::string, Result<Certificate>> certificates;
  std::unordered_map<std::string, Result<void>> chains;
};

Memory& TheMemory() {
  static Memory memory;
  return memory;
}

// 64 bytes that only the same key and bytes give, unless somebody sets out to
// find others.
std::string StandIn(std::string_view x, std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::string_view part : {x, bytes}) {
    for (const char byte : part) {
      hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
    }
    hash ^= hash >> 29;
  }
  std::string text;
  for (int i = 0; i < 8; ++i) {
    hash += 0x9e3779b97f4a7c15;
    uint64_t word = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
    word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
    for (int byte = 0; byte < 8; ++byte) {
      text.push_back(static_cast<char>(word >> (8 * byte)));
    }
  }
  return text;
}

const std::string& SignerOf(const PrivateKey* key) {
  // Private keys of the simulation live as long as the process.
  std::string& x = TheMemory().signers[key];
  if (x.empty()) {
    x = key->Public().X();
  }
  return x;
}

}  // namespace

bool WrappedVerify(const PublicKey* key, std::string_view bytes, std::string_view signature) {
  Memory& memory = TheMemory();
  if (memory.how == Signatures::kStandIn && signature == StandIn(key->X(), bytes)) {
    ++memory.remembered;
    return true;
  }
  std::string all = key->X();
  all += key->Y();
  all += std::to_string(signature.size());
  all += ' ';
  all += signature;
  all += bytes;
  const auto [at, added] = memory.verdicts.try_emplace(std::move(all), false);
  if (added) {
    at->second = RealVerify(key, bytes, signature);
  } else {
    ++memory.remembered;
  }
  return at->second;
}

std::string WrappedSign(const PrivateKey* key, std::string_view bytes) {
  Memory& memory = TheMemory();
  const std::string& signer = SignerOf(key);
  if (memory.how == Signatures::kStandIn) {
    return StandIn(signer, bytes);
  }
  const auto [at, added] = memory.signatures.try_emplace(signer + std::string(bytes));
  if (added) {
    at->second = RealSign(key, bytes);
  }
  return at->second;
}

Result<PublicKey> WrappedFromPoint(std::string_view point) {
  auto& points = TheMemory().points;
  const auto at = points.find(std::string(point));
  return at != points.end() ? at->second
                            : points.emplace(point, RealFromPoint(point)).first->second;
}

Result<Certificate> WrappedFromDer(std::string_view der) {
  auto& certificates = TheMemory().certificates;
  const auto at = certificates.find(std::string(der));
  return at != certificates.end() ? at->second
                                  : certificates.emplace(der, RealFromDer(der)).first->second;
}

Result<void> WrappedCheckSignedBy(std::string_view der, std::string_view ca_der, Timestamp now) {
  auto& chains = TheMemory().chains;
  std::string all = std::to_string(now.ms) + " " + std::to_string(der.size()) + " ";
  all += der;
  all += ca_der;
  const auto at = chains.find(all);
  return at != chains.end()
             ? at->second
             : chains.emplace(std::move(all), RealCheckSignedBy(der, ca_der, now)).first->second;
}

void UseSignatures(Signatures how) {
  Memory& memory = TheMemory();
  memory.how = how;
  memory.verdicts.clear();
  memory.signatures.clear();
}

uint64_t VerdictsRemembered() {
  return TheMemory().remembered;
}

}  // namespace latchkey::sim
