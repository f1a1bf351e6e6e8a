// Receipts: who may say what, and that nobody but the car speaks for the car.
#include "proto/receipt.h"

#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "proto/reason.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::kNow;
using testing::Said;

const CarRef kRef = testing::Ref("f1", "car1");

Outcome Of(v1::ReceiptState state, Reason reason, v1::ReceiptSource source) {
  return MakeOutcome(kRef, testing::TestId(), state, reason, kNow, source);
}

// A Receipt over any outcome; signed when there is a key.
std::string Sign(const v1::Outcome& outcome, const PrivateKey* key) {
  v1::Receipt receipt;
  receipt.set_outcome(outcome.SerializeAsString());
  if (key != nullptr) {
    receipt.set_signature(key->Sign(WithDomain("latchkey.v1.receipt", receipt.outcome())));
  }
  return receipt.SerializeAsString();
}

v1::Outcome GoodWire() {
  v1::Outcome wire;
  wire.set_fleet("f1");
  wire.set_car("car1");
  wire.set_command_id(std::string(16, 'i'));
  wire.set_state(v1::RECEIPT_STATE_DONE);
  wire.set_source(v1::RECEIPT_SOURCE_CAR);
  wire.set_at_ms(static_cast<uint64_t>(kNow.ms));
  return wire;
}

TEST_CASE("receipt: what the car or the bridge seals opens to the same outcome") {
  const PrivateKey key = PrivateKey::Generate();
  const Outcome failed =
      Of(v1::RECEIPT_STATE_FAILED, v1::REASON_CAR_FAILED, v1::RECEIPT_SOURCE_CAR);
  const std::string by_car = SealCarReceipt(failed, key);
  CHECK(OpenReceipt(by_car, kRef, key.Public()).value() == failed);
  CHECK(OpenReceipt(by_car, kRef, std::nullopt).value() == failed);
  const Outcome held =
      Of(v1::RECEIPT_STATE_HELD, v1::REASON_UNSPECIFIED, v1::RECEIPT_SOURCE_BRIDGE);
  CHECK(OpenReceipt(SealBridgeReceipt(held), kRef, key.Public()).value() == held);
}

TEST_CASE("receipt: an outcome carries the text and flags of its reason") {
  const Outcome outcome =
      Of(v1::RECEIPT_STATE_FAILED, v1::REASON_OUTCOME_UNKNOWN, v1::RECEIPT_SOURCE_CAR);
  const ReasonFacts& facts = FactsOf(v1::REASON_OUTCOME_UNKNOWN);
  CHECK(outcome.text == facts.text);
  CHECK(outcome.may_have_acted == facts.may_have_acted);
  CHECK(outcome.retry_can_help == facts.retry_can_help);
  CHECK(Of(v1::RECEIPT_STATE_DONE, v1::REASON_UNSPECIFIED, v1::RECEIPT_SOURCE_CAR).may_have_acted);
}

TEST_CASE("receipt: what does not open, in the order of the checks") {
  const PrivateKey key = PrivateKey::Generate();
  const PrivateKey other = PrivateKey::Generate();

  struct Case {
    const char* what;
    std::function<void(v1::Outcome&)> change;
    const PrivateKey* signer;
    const char* said;
  };

  const std::vector<Case> cases = {
      {"untouched", [](v1::Outcome&) {}, &key, "allowed"},
      {"bad fleet", [](v1::Outcome& o) { o.set_fleet("F 1"); }, &key, "REASON_MALFORMED"},
      {"bad car", [](v1::Outcome& o) { o.set_car(""); }, &key, "REASON_MALFORMED"},
      {"short id", [](v1::Outcome& o) { o.set_command_id("x"); }, &key, "REASON_MALFORMED"},
      {"no state", [](v1::Outcome& o) { o.clear_state(); }, &key, "REASON_MALFORMED"},
      {"unknown state", [](v1::Outcome& o) { o.set_state(static_cast<v1::ReceiptState>(99)); },
       &key, "REASON_MALFORMED"},
      {"unknown reason", [](v1::Outcome& o) { o.set_reason(static_cast<v1::Reason>(999)); }, &key,
       "REASON_MALFORMED"},
      {"no source", [](v1::Outcome& o) { o.clear_source(); }, &key, "REASON_MALFORMED"},
      {"unknown source", [](v1::Outcome& o) { o.set_source(static_cast<v1::ReceiptSource>(9)); },
       &key, "REASON_MALFORMED"},
      {"impossible time", [](v1::Outcome& o) { o.set_at_ms(~0ULL); }, &key, "REASON_MALFORMED"},
      {"text of 257 bytes", [](v1::Outcome& o) { o.set_text(std::string(257, 'x')); }, &key,
       "REASON_MALFORMED"},
      {"other car", [](v1::Outcome& o) { o.set_car("car2"); }, &key, "REASON_WRONG_CAR"},
      {"car says HELD", [](v1::Outcome& o) { o.set_state(v1::RECEIPT_STATE_HELD); }, &key,
       "REASON_NOT_ALLOWED"},
      {"bridge says DONE", [](v1::Outcome& o) { o.set_source(v1::RECEIPT_SOURCE_BRIDGE); }, nullptr,
       "REASON_NOT_ALLOWED"},
      {"car without signature", [](v1::Outcome&) {}, nullptr, "REASON_BAD_SIGNATURE"},
      {"another's signature", [](v1::Outcome&) {}, &other, "REASON_BAD_SIGNATURE"},
      {"bridge with a signature",
       [](v1::Outcome& o) {
         o.set_source(v1::RECEIPT_SOURCE_BRIDGE);
         o.set_state(v1::RECEIPT_STATE_HELD);
       },
       &key, "REASON_BAD_SIGNATURE"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    v1::Outcome wire = GoodWire();
    c.change(wire);
    CHECK(Said(OpenReceipt(Sign(wire, c.signer), kRef, key.Public())) == c.said);
  }
  CHECK(Said(OpenReceipt(std::string(kReceiptBytesMax + 1, 'x'), kRef, key.Public())) ==
        "REASON_TOO_LARGE");
  CHECK(Said(OpenReceipt("\xff", kRef, key.Public())) == "REASON_MALFORMED");
  CHECK(Said(OpenReceipt("", kRef, key.Public())) == "REASON_MALFORMED");
}

TEST_CASE("receipt: no damaged copy of a car's receipt opens") {
  const PrivateKey key = PrivateKey::Generate();
  const PublicKey public_key = key.Public();
  const Outcome done = Of(v1::RECEIPT_STATE_DONE, v1::REASON_UNSPECIFIED, v1::RECEIPT_SOURCE_CAR);
  testing::ForEachDamaged(SealCarReceipt(done, key), [&](const std::string& damaged) {
    CHECK_FALSE(OpenReceipt(damaged, kRef, public_key).has_value());
  });
}

TEST_CASE("receipt: the table of states says who may say what and what is final") {
  struct Case {
    v1::ReceiptState state;
    const char* text;
    bool is_final;
    bool by_car;
    bool by_bridge;
  };

  const std::vector<Case> cases = {
      {v1::RECEIPT_STATE_UNSPECIFIED, "UNKNOWN", false, false, false},
      {v1::RECEIPT_STATE_HELD, "HELD", false, false, true},
      {v1::RECEIPT_STATE_DELIVERED, "DELIVERED", false, true, false},
      {v1::RECEIPT_STATE_DONE, "DONE", true, true, false},
      {v1::RECEIPT_STATE_FAILED, "FAILED", true, true, false},
      {v1::RECEIPT_STATE_REFUSED, "REFUSED", true, true, true},
      {v1::RECEIPT_STATE_EXPIRED, "EXPIRED", true, true, true},
      {v1::RECEIPT_STATE_SUPERSEDED, "SUPERSEDED", true, true, true},
      {v1::RECEIPT_STATE_CANCELLED, "CANCELLED", true, true, true},
  };
  REQUIRE(static_cast<int>(cases.size()) == v1::ReceiptState_descriptor()->value_count());
  for (const Case& c : cases) {
    CAPTURE(c.text);
    CHECK(ToText(c.state) == c.text);
    CHECK(IsFinal(c.state) == c.is_final);
    CHECK(MaySay(v1::RECEIPT_SOURCE_CAR, c.state) == c.by_car);
    CHECK(MaySay(v1::RECEIPT_SOURCE_BRIDGE, c.state) == c.by_bridge);
    CHECK_FALSE(MaySay(v1::RECEIPT_SOURCE_UNSPECIFIED, c.state));
  }
}

TEST_CASE("receipt: sealing what the source may not say is our own fault") {
  const PrivateKey key = PrivateKey::Generate();
  CHECK_THROWS_AS(
      SealCarReceipt(Of(v1::RECEIPT_STATE_HELD, v1::REASON_UNSPECIFIED, v1::RECEIPT_SOURCE_CAR),
                     key),
      Fault);
  CHECK_THROWS_AS(SealBridgeReceipt(Of(v1::RECEIPT_STATE_DONE, v1::REASON_UNSPECIFIED,
                                       v1::RECEIPT_SOURCE_BRIDGE)),
                  Fault);
}

}  // namespace
}  // namespace latchkey
