// The library against the golden vectors: bytes that other implementations rely on do not change.
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/command.h"
#include "proto/keyring.h"
#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/state.h"
#include "proto/token.h"
#include "proto/topic.h"
#include "tests/support/hex.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using Json = nlohmann::json;
using testing::FromHex;
using testing::Said;
using testing::ToHex;

Json Read(const std::string& name) {
  std::ifstream file(std::string(LK_SOURCE_DIR) + "/tests/vectors/" + name);
  REQUIRE_MESSAGE(file.good(), name << " is missing");
  return Json::parse(file);
}

std::string Text(const Json& object, const char* name) {
  return object.at(name).get<std::string>();
}

std::string Bytes(const Json& object, const char* name) {
  return FromHex(Text(object, name));
}

Timestamp Time(const Json& object, const char* name) {
  return {object.at(name).get<int64_t>()};
}

KeyId Lane(const Json& object, const char* name) {
  return KeyId::Parse(Text(object, name)).value();
}

CarRef RefOf(const Json& object) {
  return testing::Ref(Text(object, "fleet"), Text(object, "car"));
}

// The ring of rings.json, rebuilt from its fields.
KeyRing RingOf(const Json& rings) {
  KeyRing ring{RefOf(rings), rings.at("version").get<uint64_t>(), Time(rings, "written_at_ms"), {}};
  for (const Json& row : rings.at("keys")) {
    v1::Role role = v1::ROLE_UNSPECIFIED;
    REQUIRE(v1::Role_Parse(Text(row, "role"), &role));
    ring.keys.push_back({Lane(row, "key_id"), Bytes(row, "public_key"), role,
                         row.at("permission_mask").get<uint32_t>(), Time(row, "not_before_ms"),
                         Time(row, "not_after_ms"), Text(row, "label")});
  }
  return ring;
}

// The rows of one table of a file. A copy: the file itself does not outlive the call.
Json Rows(const char* file, const char* table) {
  return Read(file).at(table);
}

// The SignedKeyRing named "good".
std::string GoodRing(const Json& rings) {
  REQUIRE(Text(rings.at("rings").at(0), "name") == "good");
  return Bytes(rings.at("rings").at(0), "signed_key_ring");
}

TEST_CASE("vectors: keys have these points, DER and key ids") {
  const Json file = Read("keys.json");
  for (const Json& row : file.at("keys")) {
    CAPTURE(Text(row, "name"));
    const auto key = PrivateKey::FromPem(Text(row, "private_key_pem"));
    REQUIRE(key);
    const PublicKey own = key->Public();
    CHECK(ToHex(own.X()) == Text(row, "x"));
    CHECK(ToHex(own.Y()) == Text(row, "y"));
    CHECK(ToHex(own.ToPoint()) == Text(row, "point"));
    CHECK(ToHex(own.ToDer()) == Text(row, "spki_der"));
    CHECK(own.Id().str() == Text(row, "key_id"));
    CHECK(PublicKey::FromPoint(Bytes(row, "point")).value().ToDer() == own.ToDer());
  }
  const auto certificate = Certificate::FromDer(Bytes(file, "car_certificate_der"));
  REQUIRE(certificate);
  CHECK(ToUri(certificate->identity) == Text(file, "car_identity"));
  CHECK(ToHex(certificate->public_key.ToPoint()) == Text(file.at("keys").at(0), "point"));
}

TEST_CASE("vectors: signatures verify over domain, NUL and bytes, and over no other domain") {
  for (const Json& row : Rows("signatures.json", "signatures")) {
    const PublicKey key = PublicKey::FromPoint(Bytes(row, "point")).value();
    const std::string covered = WithDomain(Text(row, "domain"), Bytes(row, "bytes"));
    CHECK(ToHex(covered) == Text(row, "covered"));
    CHECK(key.Verify(covered, Bytes(row, "signature")));
    CHECK_FALSE(
        key.Verify(WithDomain("latchkey.v1.x", Bytes(row, "bytes")), Bytes(row, "signature")));
  }
}

TEST_CASE("vectors: topics parse to these parts and rules") {
  const Json file = Read("topics.json");
  for (const Json& row : file.at("topics")) {
    const std::string name = Text(row, "topic");
    CAPTURE(name);
    const auto topic = ParseTopic(name);
    REQUIRE(topic);
    const TopicRule& rule = RuleOf(topic->kind);
    CHECK(rule.word == Text(row, "kind"));
    CHECK(topic->fleet == Text(row, "fleet"));
    CHECK(topic->car == Text(row, "car"));
    CHECK(topic->lane == Text(row, "lane"));
    CHECK(rule.retained == row.at("retained").get<bool>());
    CHECK(rule.payload_bytes_max == row.at("payload_bytes_max").get<size_t>());
    if (topic->kind == TopicKind::kState) {
      CHECK(ToText(topic->group) == Text(row, "group"));
    }
  }
  for (const Json& name : file.at("refused")) {
    CHECK_FALSE(ParseTopic(name.get<std::string>()));
  }
}

TEST_CASE("vectors: tokens are taken and refused as written") {
  const Json file = Read("tokens.json");
  for (const Json& row : file.at("tokens")) {
    CAPTURE(Text(row, "name"));
    const auto token = CheckToken(Text(row, "jwt"), Text(file, "user_name"), Text(file, "cell"),
                                  Time(row, "now_ms"));
    CHECK(Said(token) == Text(row, "result"));
  }
  const std::string good = Text(file.at("tokens").at(0), "jwt");
  CHECK(good.rfind(Base64UrlEncode(Text(file, "header")) + "." +
                       Base64UrlEncode(Text(file, "payload")) + ".",
                   0) == 0);
}

TEST_CASE("vectors: key rings open to these keys, and sealing writes the same bytes") {
  const Json file = Read("rings.json");
  for (const Json& row : file.at("rings")) {
    CAPTURE(Text(row, "name"));
    CHECK(Said(OpenKeyRing(Bytes(row, "signed_key_ring"), Bytes(row, "ca_der"),
                           Time(file, "now_ms"))) == Text(row, "result"));
  }
  const Json keys = Read("keys.json");
  const KeyRing want = RingOf(file);
  const std::string wire = GoodRing(file);
  const auto ring = OpenKeyRing(wire, Bytes(keys, "fleet_ca_der"), Time(file, "now_ms"));
  REQUIRE(ring);
  CHECK(*ring == want);
  const auto car = PrivateKey::FromPem(Text(keys.at("keys").at(0), "private_key_pem"));
  REQUIRE(car);
  v1::SignedKeyRing sealed;
  REQUIRE(sealed.ParseFromString(SealKeyRing(want, *car, Bytes(keys, "car_certificate_der"))));
  CHECK(ToHex(sealed.key_ring()) == Text(file, "key_ring"));
}

std::string Judge(const Json& row, const KeyRing& ring) {
  const Timestamp now = Time(row, "now_ms");
  const auto command = ParseCommand(Bytes(row, "signed_command"), ring.ref, Lane(row, "lane"));
  if (!command) {
    return Said(command);
  }
  const Verdict time = CheckTime(*command, now);
  return time.allowed() ? Said(CheckAuthority(*command, ring, now)) : Said(time);
}

TEST_CASE("vectors: the action table is this one, and each action has a command") {
  const Json file = Read("commands.json");
  REQUIRE(file.at("actions").size() == ActionTable().size());
  std::set<std::string> good;
  for (const Json& row : file.at("commands")) {
    if (Text(row, "result") == "allowed") {
      good.insert(Text(row, "name"));
    }
  }
  for (const Json& row : file.at("actions")) {
    CAPTURE(Text(row, "name"));
    const ActionFacts* facts = FindAction(row.at("field").get<int>());
    REQUIRE(facts != nullptr);
    CHECK(facts->name == Text(row, "name"));
    CHECK(v1::CommandClass_Name(facts->command_class) == Text(row, "class"));
    CHECK(v1::Permission_Name(facts->permission) == Text(row, "permission"));
    CHECK(v1::Slot_Name(facts->slot) == Text(row, "slot"));
    CHECK(facts->lifetime_max.count() == row.at("lifetime_ms_max").get<int64_t>());
    CHECK(good.count(Text(row, "name")) == 1);
  }
}

std::string LifeText(Duration life) {
  const auto seconds = life.count() / 1000;
  if (seconds == 0) {
    return "none";
  }
  if (seconds >= 86400) {
    return std::to_string(seconds / 3600) + " h";
  }
  return seconds >= 600 ? std::to_string(seconds / 60) + " min" : std::to_string(seconds) + " s";
}

TEST_CASE("vectors: the page for implementers has this action table") {
  std::ifstream file(std::string(LK_SOURCE_DIR) + "/proto/README.md");
  const std::string page((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  for (const ActionFacts& facts : ActionTable()) {
    std::string group = v1::CommandClass_Name(facts.command_class).substr(14);
    for (char& c : group) {
      c = c == '_' ? ' ' : static_cast<char>(c - 'A' + 'a');
    }
    const std::string row =
        "| " + std::to_string(facts.field) + " | `" + std::string(facts.name) + "` | " + group +
        " | " + v1::Permission_Name(facts.permission).substr(11) + " | " +
        v1::Slot_Name(facts.slot).substr(5) + " | " + LifeText(facts.lifetime_max) + " |";
    CAPTURE(row);
    CHECK(page.find(row) != std::string::npos);
  }
}

TEST_CASE("vectors: commands are taken and refused as written, and sealed to the same bytes") {
  const KeyRing ring = RingOf(Read("rings.json"));
  const auto phone =
      PrivateKey::FromPem(Text(Read("keys.json").at("keys").at(1), "private_key_pem"));
  REQUIRE(phone);
  for (const Json& row : Rows("commands.json", "commands")) {
    CAPTURE(Text(row, "name"));
    CHECK(Judge(row, ring) == Text(row, "result"));
    v1::SignedCommand outer;
    REQUIRE(outer.ParseFromString(Bytes(row, "signed_command")));
    CHECK(ToHex(outer.command()) == Text(row, "command"));
    if (Text(row, "result") != "allowed") {
      continue;
    }
    const auto command = ParseCommand(Bytes(row, "signed_command"), ring.ref, Lane(row, "lane"));
    const auto sealed = SealCommand(
        {command->ref, command->id, command->issued_at, command->expires_at, command->body},
        *phone);
    REQUIRE(sealed);
    v1::SignedCommand again;
    REQUIRE(again.ParseFromString(*sealed));
    CHECK(ToHex(again.command()) == Text(row, "command"));
  }
}

TEST_CASE("vectors: receipts are taken and refused as written") {
  const Json file = Read("receipts.json");
  const PublicKey car = PublicKey::FromPoint(Bytes(file, "car_point")).value();
  for (const Json& row : file.at("receipts")) {
    CAPTURE(Text(row, "name"));
    const auto outcome = OpenReceipt(Bytes(row, "receipt"), RefOf(file), car);
    CHECK(Said(outcome) == Text(row, "result"));
    if (outcome) {
      CHECK(outcome->command_id.ToText() == Text(file, "command_id"));
      v1::Receipt wire;
      REQUIRE(wire.ParseFromString(Bytes(row, "receipt")));
      CHECK(ToHex(wire.outcome()) == Text(row, "outcome"));
    }
  }
}

TEST_CASE("vectors: the pairing transcript and both proofs are these bytes") {
  const Json file = Read("pairing.json");
  const auto offer = ParseQrText(Text(file, "qr_text"));
  REQUIRE(offer);
  CHECK(ToHex(offer->secret) == Text(file, "secret"));
  CHECK(ToQrText(*offer) == Text(file, "qr_text"));
  const PublicKey phone = PublicKey::FromPoint(Bytes(file, "public_key")).value();
  const std::string nonce = Bytes(file, "nonce");
  const std::string label = Text(file, "label");
  CHECK(ToHex(MakeClaim(*offer, phone, nonce, label)) == Text(file, "claim"));
  const auto claim = CheckClaim(Bytes(file, "claim"), *offer, Lane(file, "lane"));
  REQUIRE(claim);
  const std::string transcript = Bytes(file, "transcript");
  CHECK(ToHex(HmacSha256(offer->secret, WithDomain("latchkey.v1.pairing-claim", transcript))) ==
        Text(file, "claim_proof"));
  CHECK(ToHex(HmacSha256(offer->secret, WithDomain("latchkey.v1.pairing-answer",
                                                   transcript + Bytes(file, "sha256_certificate") +
                                                       Bytes(file, "sha256_key_ring")))) ==
        Text(file, "answer_proof"));
  const auto paired = CheckAnswer(Bytes(file, "answer"), *offer, phone, nonce, label);
  REQUIRE(paired);
  CHECK(ToHex(Sha256(paired->car_certificate)) == Text(file, "sha256_certificate"));
  CHECK(paired->ring.Find(Lane(file, "lane")) != nullptr);
  CHECK(Said(CheckAnswer(Bytes(file, "refusal"), *offer, phone, nonce, label)) ==
        "REASON_DECLINED");
  v1::PairingAnswer answer;
  REQUIRE(answer.ParseFromString(Bytes(file, "answer")));
  CHECK(ToHex(MakeAnswer(*offer, *claim, answer.key_ring().SerializeAsString())) ==
        Text(file, "answer"));
}

TEST_CASE("vectors: states give these signals, each with its own time") {
  for (const Json& row : Rows("states.json", "states")) {
    CAPTURE(Text(row, "name"));
    const auto state = ParseState(Bytes(row, "state_group"), *ParseGroup(Text(row, "group")));
    CHECK(Said(state) == Text(row, "result"));
    if (!state) {
      continue;
    }
    CHECK(ToHex(state->SerializeAsString()) == Text(row, "state_group"));
    const auto signals = SignalsOf(*state);
    REQUIRE(signals.size() == row.at("signals").size());
    for (size_t i = 0; i < signals.size(); ++i) {
      const Json& want = row.at("signals").at(i);
      CHECK(signals[i].name == Text(want, "name"));
      CHECK(signals[i].vss == Text(want, "vss"));
      CHECK(signals[i].unit == Text(want, "unit"));
      CHECK(ValueText(signals[i]) == Text(want, "value"));
      CHECK(signals[i].observed_at == Time(want, "observed_at_ms"));
    }
  }
}

}  // namespace
}  // namespace latchkey
