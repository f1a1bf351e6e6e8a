// The library against the golden vectors: bytes that other implementations rely on do not change.
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/blocks.h"
#include "proto/command.h"
#include "proto/invite.h"
#include "proto/keyring.h"
#include "proto/log_chain.h"
#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/renewal.h"
#include "proto/sms.h"
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

std::vector<WeekWindow> WeekOf(const Json& rows) {
  std::vector<WeekWindow> week;
  for (const Json& row : rows) {
    week.push_back({row.at("start_minute").get<uint16_t>(), row.at("end_minute").get<uint16_t>()});
  }
  return week;
}

// The ring of rings.json, rebuilt from its fields.
KeyRing RingOf(const Json& rings) {
  KeyRing ring{RefOf(rings), rings.at("version").get<uint64_t>(), Time(rings, "written_at_ms"), {}};
  for (const Json& row : rings.at("keys")) {
    v1::Role role = v1::ROLE_UNSPECIFIED;
    REQUIRE(v1::Role_Parse(Text(row, "role"), &role));
    ring.keys.push_back({Lane(row, "key_id"), Bytes(row, "public_key"), role,
                         row.at("permission_mask").get<uint32_t>(), Time(row, "not_before_ms"),
                         Time(row, "not_after_ms"), Text(row, "label"), WeekOf(row.at("week"))});
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

TEST_CASE("vectors: weekly hours hold at these instants and not at those") {
  for (const Json& row : Rows("rings.json", "weekly_hours")) {
    CAPTURE(row.dump());
    CHECK(InWeek(WeekOf(row.at("week")), Time(row, "now_ms")) == row.at("inside").get<bool>());
  }
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
  CHECK(ToHex(OfferTag(*offer)) == Text(file, "offer_tag"));
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
  const auto notice = ReadKeyNotice(Bytes(file, "notice"));
  REQUIRE(notice);
  CHECK(notice->on_ring);
  CHECK(OpenKeyRingOf(notice->signed_ring, paired->car_key).value() == paired->ring);
  CHECK_FALSE(ReadKeyNotice(Bytes(file, "removal_notice")).value().on_ring);
  CHECK(ToHex(MakeRemovalNotice()) == Text(file, "removal_notice"));
}

TEST_CASE("vectors: a key request and an invitation are these links") {
  const Json file = Read("invite.json");
  const Json& key = file.at("key_request");
  const auto request = ParseKeyRequest(Text(key, "link"));
  REQUIRE(request);
  CHECK(ToHex(request->key.ToPoint()) == Text(key, "point"));
  CHECK(request->label == Text(key, "label"));
  CHECK(ToLink(*request) == Text(key, "link"));
  const Json& invite = file.at("invitation");
  const auto invitation = ParseInvitation(Text(invite, "link"));
  REQUIRE(invitation);
  CHECK(invitation->host == Text(invite, "host"));
  CHECK(invitation->port == invite.at("port").get<int>());
  CHECK(invitation->cell == Text(invite, "cell"));
  CHECK(invitation->ref == RefOf(invite));
  CHECK(ToHex(invitation->car_key.ToPoint()) == Text(invite, "point"));
  CHECK(ToLink(*invitation) == Text(invite, "link"));
  for (const Json& text : file.at("refused")) {
    CAPTURE(text.get<std::string>());
    CHECK_FALSE(ParseKeyRequest(text.get<std::string>()));
    CHECK_FALSE(ParseInvitation(text.get<std::string>()));
  }
}

Block BlockOf(const Json& row, const char* name) {
  v1::Block wire;
  REQUIRE(wire.ParseFromString(Bytes(row, name)));
  return BlockFromWire(wire).value();
}

TEST_CASE("vectors: blocks have these parts, and of two changes this one wins in either order") {
  const Json file = Read("blocks.json");
  for (const Json& row : file.at("blocks")) {
    const Block block = BlockOf(row, "block");
    CHECK(block.scope.key.str() == Text(row, "key_id"));
    CHECK(block.scope.fleet.str() == Text(row, "fleet"));
    CHECK(block.scope.car.str() == Text(row, "car"));
    CHECK(block.lifted == row.at("lifted").get<bool>());
    CHECK(block.changed_at == Time(row, "changed_at_ms"));
    CHECK(v1::BlockCause_Name(block.cause) == Text(row, "cause"));
    CHECK(block.note == Text(row, "note"));
    CHECK((block.command ? block.command->ToText() : "") == Text(row, "command_id"));
    CHECK(ToHex(BlockToWire(block).SerializeAsString()) == Text(row, "block"));
  }
  for (const Json& row : file.at("merges")) {
    const Block a = BlockOf(row, "a");
    const Block b = BlockOf(row, "b");
    const Block wins = Text(row, "wins") == "a" ? a : b;
    for (const auto& [first, second] : {std::pair(a, b), std::pair(b, a)}) {
      Blocks blocks;
      REQUIRE(blocks.Merge(first));
      REQUIRE(blocks.Merge(second));
      CHECK(*blocks.Find(a.scope) == wins);
    }
  }
}

TEST_CASE("vectors: control messages are these bytes") {
  const Json file = Read("blocks.json");
  v1::Control merge;
  REQUIRE(merge.ParseFromString(Bytes(file, "control_merge")));
  CHECK(merge.request_id() == 7);
  CHECK(BlockFromWire(merge.merge_blocks().blocks(0)).value().scope.car.str() == "F3-17");
  v1::Control list;
  REQUIRE(list.ParseFromString(Bytes(file, "control_list")));
  CHECK(list.list_blocks().after().fleet().empty());
  v1::ControlAnswer answer;
  REQUIRE(answer.ParseFromString(Bytes(file, "control_answer")));
  CHECK(answer.more());
  CHECK(answer.blocks_size() == 1);
  v1::BlocksChanged changed;
  REQUIRE(changed.ParseFromString(Bytes(file, "blocks_changed")));
  CHECK(changed.blocks_size() == 1);
}

TEST_CASE("vectors: certificate requests are taken and refused as written") {
  const Json file = Read("renewal.json");
  const PublicKey car = PublicKey::FromPoint(Bytes(file, "public_key")).value();
  for (const Json& row : file.at("requests")) {
    CAPTURE(Text(row, "name"));
    const auto request =
        OpenCertificateRequest(Bytes(row, "request"), testing::Ref("demo", Text(row, "car")));
    CHECK(Said(request) == Text(row, "result"));
    if (request) {
      CHECK(request->requested_at == Time(file, "requested_at_ms"));
      v1::CertificateRequest wire;
      REQUIRE(wire.ParseFromString(Bytes(row, "request")));
      CHECK(car.Verify(Bytes(file, "covered"), wire.signature()));
    }
  }
  v1::CertificateGrant grant;
  REQUIRE(grant.ParseFromString(Bytes(file, "grant")));
  CHECK(ToHex(grant.certificate()) == Text(Read("keys.json"), "car_certificate_der"));
  const Timestamp asked = Time(file, "requested_at_ms");
  CHECK(ToHex(MakeCertificateGrant(asked, grant.certificate())) == Text(file, "grant"));
  CHECK(ToHex(MakeCertificateRefusal(asked, v1::REASON_BAD_CERTIFICATE)) == Text(file, "refusal"));
}

TEST_CASE("vectors: SMS open as written, and what opens is made again to the same bytes") {
  const Json file = Read("sms.json");
  const KeyRing ring = RingOf(Read("rings.json"));
  const std::string relay_key = Bytes(file, "relay_key");
  for (const Json& row : file.at("messages")) {
    CAPTURE(Text(row, "name"));
    const auto opened = OpenSms(Bytes(row, "sms"), RefOf(file), ring, relay_key);
    CHECK(Said(opened) == Text(row, "result"));
    if (!opened) {
      continue;
    }
    if (row.contains("at_ms")) {
      CHECK(std::get<WakeSms>(*opened).at == Time(row, "at_ms"));
      CHECK(ToHex(MakeWakeSms(RefOf(file), Time(row, "at_ms"), relay_key)) == Text(row, "sms"));
      continue;
    }
    const auto& inside = std::get<CommandSms>(*opened);
    CHECK(inside.lane.str() == Text(row, "lane"));
    CHECK(ToHex(inside.wire) == Text(row, "signed_command"));
    const auto command = ParseCommand(inside.wire, RefOf(file), inside.lane);
    REQUIRE(command);
    CHECK(CheckAuthority(*command, ring, command->issued_at).allowed());
    CHECK(ToHex(MakeCommandSms(*command, relay_key).value()) == Text(row, "sms"));
  }
}

std::string WalkLog(const Json& records) {
  LogHead head;
  for (const Json& record : records) {
    const auto link = OpenLogRecord(FromHex(record.get<std::string>()));
    const auto follows = link ? CheckFollows(head, *link) : Result<void>();
    if (!link || !follows) {
      return Said(link ? follows.error().reason : link.error().reason);
    }
    head = link->head;
  }
  return "allowed";
}

TEST_CASE("vectors: records of the log have these hashes, and broken chains are found") {
  const Json file = Read("log.json");
  LogHead head;
  for (const Json& row : file.at("records")) {
    v1::LogEntry entry;
    REQUIRE(entry.ParseFromString(Bytes(row, "entry")));
    CHECK(ToHex(AppendToLog(head, entry)) == Text(row, "record"));
    CHECK(head.sequence == row.at("sequence").get<uint64_t>());
    CHECK(ToHex(head.hash) == Text(row, "hash"));
    CHECK(OpenLogRecord(Bytes(row, "record")).value().head == head);
  }
  for (const Json& row : file.at("chains")) {
    CAPTURE(Text(row, "name"));
    CHECK(WalkLog(row.at("records")) == Text(row, "result"));
  }
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
