// Pairing. The first byte says which: 'c' a claim, 'a' an answer, 'n' a notice.
#include <string>

#include "proto/pairing.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

void TryNotice(std::string_view bytes) {
  const Result<KeyNotice> notice = ReadKeyNotice(bytes);
  if (!notice) {
    return;
  }
  Require(notice->on_ring == !notice->signed_ring.empty(), "a notice with a ring has one");
  const Result<KeyNotice> again =
      ReadKeyNotice(notice->on_ring ? MakeKeyNotice(notice->signed_ring) : MakeRemovalNotice());
  Require(again && again->on_ring == notice->on_ring && again->signed_ring == notice->signed_ring,
          "a notice that reads is written so that it reads alike");
}

}  // namespace

void Try(std::string_view input) {
  static const PrivateKey key = PrivateKey::Generate();
  static const PublicKey public_key = key.Public();
  static const PairingOffer offer{"h",
                                  8883,
                                  "cell1",
                                  {FleetId::Parse("f1").value(), CarId::Parse("car1").value()},
                                  RandomBytes(kPairingSecretBytes)};
  if (input.empty()) {
    return;
  }
  const std::string_view rest = input.substr(1);
  if (input[0] == 'n') {
    TryNotice(rest);
  } else if (input[0] == 'c') {
    Require(!CheckClaim(rest, offer, public_key.Id()), "nobody guesses the secret");
  } else if (input[0] == 'a') {
    // A nonce that the seeds carry, so that the proof is reached.
    const std::string nonce(16, 'n');
    Require(!CheckAnswer(rest, offer, public_key, nonce, "phone"), "nor the proof of the car");
  }
}

}  // namespace latchkey::fuzz
