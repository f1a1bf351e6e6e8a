// Receipts. The first byte says which: 'r' a Receipt as it comes, 'o' an Outcome that a real car
// signs.
#include <string>

#include "latchkey/v1/receipt.pb.h"
#include "proto/receipt.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

void CheckOpened(const Outcome& outcome, const CarRef& ref) {
  Require(outcome.ref == ref, "a receipt that opens is of its topic's car");
  Require(MaySay(outcome.source, outcome.state), "and says what its source may say");
  Require(outcome.text.size() <= 256, "and its text is bounded");
}

}  // namespace

void Try(std::string_view input) {
  static const CarRef ref{FleetId::Parse("f1").value(), CarId::Parse("car1").value()};
  static const PrivateKey key = PrivateKey::Generate();
  static const PublicKey public_key = key.Public();
  if (input.empty()) {
    return;
  }
  const std::string_view rest = input.substr(1);
  if (input[0] == 'o') {
    v1::Receipt receipt;
    receipt.set_outcome(std::string(rest));
    receipt.set_signature(key.Sign(WithDomain("latchkey.v1.receipt", rest)));
    const Result<Outcome> outcome = OpenReceipt(receipt.SerializeAsString(), ref, public_key);
    if (outcome) {
      CheckOpened(*outcome, ref);
      Require(outcome->source == v1::RECEIPT_SOURCE_CAR, "who signs is the car");
      Require(OpenReceipt(SealCarReceipt(*outcome, key), ref, public_key).value() == *outcome,
              "an outcome that opens seals to the same outcome");
    }
    return;
  }
  const Result<Outcome> unchecked = OpenReceipt(rest, ref, std::nullopt);
  if (unchecked) {
    CheckOpened(*unchecked, ref);
  }
  const Result<Outcome> checked = OpenReceipt(rest, ref, public_key);
  Require(!checked || checked->source == v1::RECEIPT_SOURCE_BRIDGE,
          "nobody guesses a signature of the car made for this run");
}

}  // namespace latchkey::fuzz
