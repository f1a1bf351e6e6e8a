// Pairing. The first byte says which: 'q' a QR text, 'c' a claim, 'a' an answer.
#include <string>

#include "proto/pairing.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

void TryQr(std::string_view text) {
  const Result<PairingOffer> offer = ParseQrText(text);
  if (offer) {
    const std::string again = ToQrText(*offer);
    Require(ToQrText(ParseQrText(again).value()) == again,
            "an offer that parses is written so that it parses alike");
  }
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
  if (input[0] == 'q') {
    TryQr(rest);
  } else if (input[0] == 'c') {
    Require(!CheckClaim(rest, offer, public_key.Id()), "nobody guesses the secret");
  } else if (input[0] == 'a') {
    // A nonce that the seeds carry, so that the proof is reached.
    const std::string nonce(16, 'n');
    Require(!CheckAnswer(rest, offer, public_key, nonce, "phone"), "nor the proof of the car");
  }
}

}  // namespace latchkey::fuzz
