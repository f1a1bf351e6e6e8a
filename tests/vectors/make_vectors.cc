// Writes tests/vectors/*.json: usage make_vectors DIR. Run when the wire gains something, never to
// make a failing test pass. keys.json is made once and then only read, so keys, certificates and
// key ids stay; ECDSA signatures are random, so those in the files are given, to be verified.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "proto/blocks.h"
#include "proto/command.h"
#include "proto/invite.h"
#include "proto/keyring.h"
#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/renewal.h"
#include "proto/state.h"
#include "proto/token.h"
#include "proto/topic.h"
#include "tests/support/hex.h"
#include "tests/support/wire_fixtures.h"
#include "tests/vectors/make_sms_log.h"
#include "tools/ca/ca.h"

namespace latchkey {
namespace {

using Json = nlohmann::ordered_json;
using testing::FromHex;
using testing::kNow;
using testing::Said;
using testing::ToHex;

constexpr std::string_view kCell = "cell-1";

// RFC 6979 section A.2.5: the scalar and the point, as SEC 1 DER.
constexpr std::string_view kPhoneKeyDer =
    "30770201010420c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
    "a00a06082a8648ce3d030107a14403420004"
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";

struct World {
  std::string ca_der;
  std::string other_ca_der;
  std::string certificate;
  PrivateKey car;
  PrivateKey phone;
  PrivateKey stranger;
  CarRef ref;
  KeyRing ring;
};

std::string Base64(std::string_view bytes) {
  std::string text = Base64UrlEncode(bytes);
  for (char& c : text) {
    c = c == '-' ? '+' : c;
    c = c == '_' ? '/' : c;
  }
  while (text.size() % 4 != 0) {
    text += '=';
  }
  return text;
}

Json KeyJson(const std::string& name, const PrivateKey& key) {
  const PublicKey own = key.Public();
  return {{"name", name},
          {"private_key_pem", key.ToPem()},
          {"x", ToHex(own.X())},
          {"y", ToHex(own.Y())},
          {"point", ToHex(own.ToPoint())},
          {"spki_der", ToHex(own.ToDer())},
          {"key_id", own.Id().str()}};
}

Json MakeKeys() {
  const testing::TestCar car = testing::MakeTestCar("demo", "F3-17");
  const tools::Issued other = tools::MakeCa("other", kNow, 3650);
  const std::string pem = "-----BEGIN EC PRIVATE KEY-----\n" + Base64(FromHex(kPhoneKeyDer)) +
                          "\n-----END EC PRIVATE KEY-----\n";
  return {{"about", "Test keys: never use them. All bytes are hex."},
          {"keys",
           Json::array({KeyJson("car", car.key), KeyJson("phone", PrivateKey::FromPem(pem).value()),
                        KeyJson("stranger", PrivateKey::Generate())})},
          {"fleet_ca_der", ToHex(car.ca_der)},
          {"other_ca_der", ToHex(PemToDer(other.certificate_pem).value())},
          {"car_certificate_der", ToHex(car.certificate_der)},
          {"car_identity", ToUri(CarIdentity{car.ref})}};
}

PrivateKey KeyOf(const Json& keys, size_t index) {
  return std::move(
      PrivateKey::FromPem(keys["keys"][index]["private_key_pem"].get<std::string>()).value());
}

World MakeWorld(const Json& keys) {
  World world{FromHex(keys["fleet_ca_der"].get<std::string>()),
              FromHex(keys["other_ca_der"].get<std::string>()),
              FromHex(keys["car_certificate_der"].get<std::string>()),
              KeyOf(keys, 0),
              KeyOf(keys, 1),
              KeyOf(keys, 2),
              testing::Ref("demo", "F3-17"),
              {}};
  RingKey guest = testing::OnRing(world.stranger.Public(), v1::ROLE_GUEST);
  guest.not_before = kNow - Duration(3'600'000);
  guest.not_after = kNow + Duration(3'600'000);
  guest.label = "Gu\xc3\xa9st";
  guest.week = {{1800, 2820}, {8640, 300}};  // Tuesday 6:00 to 23:00; Sunday to Monday 5:00
  world.ring = {world.ref,
                7,
                kNow - Duration(60'000),
                {testing::OnRing(world.phone.Public(), v1::ROLE_OWNER), guest}};
  return world;
}

Json Signatures(const World& world) {
  Json rows = Json::array();
  for (const char* domain : {"latchkey.v1.command", "latchkey.v1.keyring", "latchkey.v1.receipt",
                             "latchkey.v1.certificate-request"}) {
    const std::string bytes = FromHex("0a0464656d6f");
    rows.push_back({{"domain", domain},
                    {"bytes", ToHex(bytes)},
                    {"covered", ToHex(WithDomain(domain, bytes))},
                    {"point", ToHex(world.phone.Public().ToPoint())},
                    {"signature", ToHex(world.phone.Sign(WithDomain(domain, bytes)))}});
  }
  return {{"about", "ECDSA P-256 with SHA-256 over domain 00 bytes; signature is r then s."},
          {"signatures", rows}};
}

Json Topics(const World& world) {
  const KeyId lane = world.phone.Public().Id();
  Json good = Json::array();
  const auto add = [&](const std::string& name) {
    const Topic topic = ParseTopic(name).value();
    const TopicRule& rule = RuleOf(topic.kind);
    const bool state = topic.kind == TopicKind::kState;
    good.push_back({{"topic", name},
                    {"kind", rule.word},
                    {"fleet", topic.fleet},
                    {"car", topic.car},
                    {"lane", topic.lane},
                    {"group", state ? ToText(topic.group) : ""},
                    {"retained", rule.retained},
                    {"payload_bytes_max", rule.payload_bytes_max}});
  };
  for (const Group group : kGroups) {
    add(StateTopic(world.ref, group));
  }
  add(PresenceTopic(world.ref));
  add(KeyRingTopic(world.ref));
  add(PairingTopic(world.ref, lane));
  add(PairingAnswerTopic(world.ref, lane));
  add(CommandTopic(world.ref, lane));
  add(ReceiptTopic(world.ref, lane));
  add(CertificateTopic(world.ref));
  add(CertificateRequestTopic(world.ref));
  return {{"topics", good},
          {"refused",
           {"lk/1/demo/F3-17", "lk/1/demo/F3-17/state/+", "lk/1/Demo/F3-17/presence",
            "lk/1/demo/-x/presence", "lk/1/demo/F3-17/command/short", "lk/2/demo/F3-17/presence",
            "lk/1/demo/F3-17/presence/", "lk/1/demo/F3-17/certificate/answer"}}};
}

std::string Jwt(const PrivateKey& key, const std::string& header, const std::string& payload) {
  const std::string text = Base64UrlEncode(header) + "." + Base64UrlEncode(payload);
  return text + "." + Base64UrlEncode(key.Sign(text));
}

Json Tokens(const World& world) {
  const PublicKey own = world.phone.Public();
  const std::string user = own.Id().str();
  const std::string jwk = R"({"kty":"EC","crv":"P-256","x":")" + Base64UrlEncode(own.X()) +
                          R"(","y":")" + Base64UrlEncode(own.Y()) + R"("})";
  const std::string header = R"({"alg":"ES256","typ":"JWT","jwk":)" + jwk + "}";
  const std::string payload =
      R"({"sub":")" + user + R"(","aud":"cell-1","iat":1700000000,"exp":1700000600})";
  const std::string none =
      Base64UrlEncode(R"({"alg":"none","jwk":)" + jwk + "}") + "." + Base64UrlEncode(payload) + ".";
  std::string hmac =
      Base64UrlEncode(R"({"alg":"HS256","jwk":)" + jwk + "}") + "." + Base64UrlEncode(payload);
  hmac += "." + Base64UrlEncode(HmacSha256(own.ToDer(), hmac));
  std::string other_cell = payload;
  other_cell.replace(other_cell.find("cell-1"), 6, "cell-2");
  Json rows = Json::array();
  const auto add = [&](const char* name, const std::string& jwt, Timestamp now) {
    rows.push_back({{"name", name},
                    {"jwt", jwt},
                    {"now_ms", now.ms},
                    {"result", Said(CheckToken(jwt, user, kCell, now))}});
  };
  const std::string good = Jwt(world.phone, header, payload);
  add("good", good, kNow);
  add("expired", good, kNow + Duration(600'000));
  add("issued more than five minutes ahead", good, kNow - Duration(301'000));
  add("another cell", Jwt(world.phone, header, other_cell), kNow);
  add("alg none", none, kNow);
  add("HS256 with the public key as secret", hmac, kNow);
  add("signed by another key", Jwt(world.stranger, header, payload), kNow);
  add("another's key", MintToken(world.stranger, kCell, kNow, Duration(60'000)), kNow);
  add("lives longer than an hour", MintToken(world.phone, kCell, kNow, Duration(3'601'000)), kNow);
  return {{"user_name", user},
          {"cell", kCell},
          {"header", header},
          {"payload", payload},
          {"tokens", rows}};
}

Json WeekJson(const std::vector<WeekWindow>& week) {
  Json rows = Json::array();
  for (const WeekWindow& window : week) {
    rows.push_back({{"start_minute", window.start}, {"end_minute", window.end}});
  }
  return rows;
}

// Instants on both sides of every edge of weekly hours.
Json WeeklyHours() {
  const std::vector<std::vector<WeekWindow>> weeks = {
      {},       {{480, 1020}},  {{8640, 300}},    {{10000, 0}},
      {{0, 1}}, {{4242, 4242}}, {{10079, 10078}}, {{1800, 2820}, {8640, 300}}};
  constexpr Timestamp kMonday{1'699'833'600'000};
  Json rows = Json::array();
  for (const std::vector<WeekWindow>& week : weeks) {
    std::vector<Timestamp> instants = {{0}, kNow};
    for (const WeekWindow& window : week) {
      for (const uint16_t minute : {window.start, window.end}) {
        const Timestamp edge = kMonday + Duration(int64_t{minute} * 60'000);
        instants.insert(instants.end(), {edge - Duration(1), edge});
      }
    }
    for (const Timestamp now : instants) {
      rows.push_back({{"week", WeekJson(week)}, {"now_ms", now.ms}, {"inside", InWeek(week, now)}});
    }
  }
  return rows;
}

Json Rings(const World& world) {
  const std::string good = SealKeyRing(world.ring, world.car, world.certificate);
  v1::SignedKeyRing outer;
  outer.ParseFromString(good);
  Json rows = Json::array();
  const auto add = [&](const char* name, const std::string& wire, const std::string& ca) {
    rows.push_back({{"name", name},
                    {"signed_key_ring", ToHex(wire)},
                    {"ca_der", ToHex(ca)},
                    {"result", Said(OpenKeyRing(wire, ca, kNow))}});
  };
  add("good", good, world.ca_der);
  KeyRing empty = world.ring;
  empty.version = 8;
  empty.keys.clear();
  add("empty after a factory reset", SealKeyRing(empty, world.car, world.certificate),
      world.ca_der);
  add("another CA", good, world.other_ca_der);
  add("signed by another key", SealKeyRing(world.ring, world.phone, world.certificate),
      world.ca_der);
  KeyRing other = world.ring;
  other.ref = testing::Ref("demo", "F3-18");
  add("of another car", SealKeyRing(other, world.car, world.certificate), world.ca_der);
  KeyRing nothing = world.ring;
  nothing.version = 0;
  add("version 0", SealKeyRing(nothing, world.car, world.certificate), world.ca_der);
  KeyRing hours = world.ring;
  hours.keys[1].week = {{0, 10080}};
  add("a minute no week has", SealKeyRing(hours, world.car, world.certificate), world.ca_der);
  Json keys = Json::array();
  for (const RingKey& key : world.ring.keys) {
    keys.push_back({{"key_id", key.id.str()},
                    {"public_key", ToHex(key.public_key)},
                    {"role", v1::Role_Name(key.role)},
                    {"permission_mask", key.permissions},
                    {"not_before_ms", key.not_before.ms},
                    {"not_after_ms", key.not_after.ms},
                    {"label", key.label},
                    {"week", WeekJson(key.week)}});
  }
  return {{"now_ms", kNow.ms},
          {"fleet", world.ref.fleet.str()},
          {"car", world.ref.car.str()},
          {"version", world.ring.version},
          {"written_at_ms", world.ring.written_at.ms},
          {"keys", keys},
          {"key_ring", ToHex(outer.key_ring())},
          {"rings", rows},
          {"weekly_hours", WeeklyHours()}};
}

// Arguments for the actions that need some.
void FillArguments(v1::Command& command, const World& world) {
  if (command.has_climate_on()) {
    command.mutable_climate_on()->set_target_temperature(21.5F);
  } else if (command.has_charge_limit()) {
    command.mutable_charge_limit()->set_percent(80);
  } else if (command.has_send_destination()) {
    v1::Leg* leg = command.mutable_send_destination()->add_legs();
    leg->set_latitude(48.1374);
    leg->set_longitude(11.5755);
    leg->set_name("M\xc3\xbcnchen");
    leg->set_mode(v1::TRAVEL_MODE_DRIVE);
  } else if (command.has_install_app()) {
    command.mutable_install_app()->set_app_id("com.example.radio");
  } else if (command.has_remove_app()) {
    command.mutable_remove_app()->set_app_id("com.example.radio");
  } else if (command.has_add_key()) {
    v1::Key* key = command.mutable_add_key()->mutable_key();
    key->set_public_key(world.stranger.Public().ToPoint());
    key->set_role(v1::ROLE_GUEST);
    key->add_permissions(v1::PERMISSION_CLOSE);
  } else if (command.has_remove_key()) {
    command.mutable_remove_key()->set_key_id(world.stranger.Public().Id().str());
  } else if (command.has_privacy_mode()) {
    command.mutable_privacy_mode()->set_enabled(true);
  } else if (command.has_cancel()) {
    command.mutable_cancel()->set_command_id(
        CommandId::Make(kNow.ms, std::string(10, 'a')).ToBytes());
  }
}

std::string Judge(const std::string& wire, const World& world, const KeyId& lane, Timestamp now) {
  const auto command = ParseCommand(wire, world.ref, lane);
  if (!command) {
    return Said(command.error().reason);
  }
  const Verdict time = CheckTime(*command, now);
  return time.allowed() ? Said(CheckAuthority(*command, world.ring, now)) : Said(time);
}

v1::Command ActionOf(const ActionFacts& facts, const World& world) {
  v1::Command command;
  const auto* field = v1::Command::descriptor()->FindFieldByNumber(facts.field);
  command.GetReflection()->MutableMessage(&command, field);
  FillArguments(command, world);
  return command;
}

Json Commands(const World& world) {
  Json rows = Json::array();
  const auto add = [&](const std::string& name, const std::string& wire, const PrivateKey& lane,
                       Timestamp now) {
    v1::SignedCommand outer;
    outer.ParseFromString(wire);
    rows.push_back({{"name", name},
                    {"signed_command", ToHex(wire)},
                    {"command", ToHex(outer.command())},
                    {"lane", lane.Public().Id().str()},
                    {"now_ms", now.ms},
                    {"result", Judge(wire, world, lane.Public().Id(), now)}});
  };
  Json actions = Json::array();
  char fill = 'a';
  for (const ActionFacts& facts : ActionTable()) {
    const auto expires = facts.lifetime_max.count() == 0
                             ? std::nullopt
                             : std::optional<Timestamp>(kNow + facts.lifetime_max);
    const CommandRequest request{world.ref, CommandId::Make(kNow.ms, std::string(10, fill++)), kNow,
                                 expires, ActionOf(facts, world)};
    actions.push_back({{"field", facts.field},
                       {"name", facts.name},
                       {"class", v1::CommandClass_Name(facts.command_class)},
                       {"permission", v1::Permission_Name(facts.permission)},
                       {"slot", v1::Slot_Name(facts.slot)},
                       {"lifetime_ms_max", facts.lifetime_max.count()}});
    add(std::string(facts.name), SealCommand(request, world.phone).value(), world.phone, kNow);
  }
  const ActionFacts& unlock = *FindAction("unlock");
  const CommandRequest open{world.ref, CommandId::Make(kNow.ms, std::string(10, 'A')), kNow,
                            kNow + Duration(60'000), ActionOf(unlock, world)};
  const std::string wire = SealCommand(open, world.phone).value();
  add("at its expiry", wire, world.phone, kNow + Duration(60'000));
  add("issued more than five minutes ahead", wire, world.phone, kNow - Duration(300'001));
  add("on another's lane", wire, world.stranger, kNow);
  add("unlock by a guest", SealCommand(open, world.stranger).value(), world.stranger, kNow);
  add("by a key that is not on the ring", SealCommand(open, world.car).value(), world.car, kNow);
  CommandRequest other = open;
  other.ref = testing::Ref("demo", "F3-18");
  add("for another car", SealCommand(other, world.phone).value(), world.phone, kNow);
  v1::SignedCommand forged;
  forged.ParseFromString(wire);
  forged.set_signature(world.stranger.Sign(WithDomain("latchkey.v1.command", forged.command())));
  add("signed by another key", forged.SerializeAsString(), world.phone, kNow);
  forged.set_signature(world.phone.Sign(WithDomain("latchkey.v1.keyring", forged.command())));
  add("signed for another domain", forged.SerializeAsString(), world.phone, kNow);
  v1::Command longer;
  longer.ParseFromString(forged.command());
  longer.set_expires_at_ms(longer.expires_at_ms() + 1);
  add("lives a millisecond too long",
      testing::SignCommandBody(longer.SerializeAsString(), world.phone), world.phone, kNow);
  longer.clear_action();
  add("no action", testing::SignCommandBody(longer.SerializeAsString(), world.phone), world.phone,
      kNow);
  longer.mutable_cancel()->set_command_id(longer.command_id());
  add("takes itself back", testing::SignCommandBody(longer.SerializeAsString(), world.phone),
      world.phone, kNow);
  return {{"actions", actions}, {"commands", rows}};
}

Json Receipts(const World& world) {
  const CommandId id = CommandId::Make(kNow.ms, std::string(10, 'a'));
  const PublicKey car = world.car.Public();
  Json rows = Json::array();
  const auto add = [&](const std::string& name, const std::string& wire) {
    v1::Receipt outer;
    outer.ParseFromString(wire);
    rows.push_back({{"name", name},
                    {"receipt", ToHex(wire)},
                    {"outcome", ToHex(outer.outcome())},
                    {"result", Said(OpenReceipt(wire, world.ref, car))}});
  };
  const auto outcome = [&](v1::ReceiptState state, Reason reason, v1::ReceiptSource source) {
    return MakeOutcome(world.ref, id, state, reason, kNow, source);
  };
  const auto of_car = v1::RECEIPT_SOURCE_CAR;
  const auto of_bridge = v1::RECEIPT_SOURCE_BRIDGE;
  const Outcome done = outcome(v1::RECEIPT_STATE_DONE, v1::REASON_UNSPECIFIED, of_car);
  add("held by the bridge",
      SealBridgeReceipt(outcome(v1::RECEIPT_STATE_HELD, v1::REASON_UNSPECIFIED, of_bridge)));
  add("delivered",
      SealCarReceipt(outcome(v1::RECEIPT_STATE_DELIVERED, v1::REASON_UNSPECIFIED, of_car),
                     world.car));
  add("done", SealCarReceipt(done, world.car));
  add("failed",
      SealCarReceipt(outcome(v1::RECEIPT_STATE_FAILED, v1::REASON_CAR_FAILED, of_car), world.car));
  add("superseded by the bridge",
      SealBridgeReceipt(outcome(v1::RECEIPT_STATE_SUPERSEDED, v1::REASON_SUPERSEDED, of_bridge)));
  add("taken back, said by the car",
      SealCarReceipt(outcome(v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED, of_car),
                     world.car));
  add("taken back, said by the bridge",
      SealBridgeReceipt(outcome(v1::RECEIPT_STATE_CANCELLED, v1::REASON_CANCELLED, of_bridge)));
  add("done, signed by another key", SealCarReceipt(done, world.stranger));
  v1::Receipt bare;
  bare.ParseFromString(SealCarReceipt(done, world.car));
  bare.clear_signature();
  add("done, not signed", bare.SerializeAsString());
  v1::Outcome lie;
  lie.ParseFromString(bare.outcome());
  lie.set_source(of_bridge);
  bare.set_outcome(lie.SerializeAsString());
  add("done, said by the bridge", bare.SerializeAsString());
  return {{"car_point", ToHex(car.ToPoint())},
          {"fleet", world.ref.fleet.str()},
          {"car", world.ref.car.str()},
          {"command_id", id.ToText()},
          {"receipts", rows}};
}

Json Pairing(const World& world) {
  const PairingOffer offer{"broker.example", 8884, std::string(kCell), world.ref,
                           FromHex("000102030405060708090a0b0c0d0e0f")};
  const std::string nonce = FromHex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
  const std::string label = "J\xc3\xb6rg's phone";
  const PublicKey own = world.phone.Public();
  const std::string bytes = MakeClaim(offer, own, nonce, label);
  const Claim claim = CheckClaim(bytes, offer, own.Id()).value();
  const std::string ring = SealKeyRing(world.ring, world.car, world.certificate);
  const std::string answer = MakeAnswer(offer, claim, ring);
  v1::PairingClaim claim_wire;
  claim_wire.ParseFromString(bytes);
  v1::PairingAnswer answer_wire;
  answer_wire.ParseFromString(answer);
  std::string transcript = "latchkey.v1.pairing";
  transcript += '\0' + world.ref.fleet.str() + '\0' + world.ref.car.str() + '\0' + own.ToPoint() +
                nonce + static_cast<char>(label.size()) + label;
  return {{"qr_text", ToQrText(offer)},
          {"secret", ToHex(offer.secret)},
          {"public_key", ToHex(own.ToPoint())},
          {"lane", own.Id().str()},
          {"nonce", ToHex(nonce)},
          {"label", label},
          {"transcript", ToHex(transcript)},
          {"offer_tag", ToHex(claim_wire.offer_tag())},
          {"claim_proof", ToHex(claim_wire.proof())},
          {"claim", ToHex(bytes)},
          {"sha256_certificate", ToHex(Sha256(world.certificate))},
          {"sha256_key_ring", ToHex(Sha256(answer_wire.key_ring().key_ring()))},
          {"answer_proof", ToHex(answer_wire.proof())},
          {"answer", ToHex(answer)},
          {"refusal", ToHex(MakeRefusal(nonce, v1::REASON_DECLINED))},
          {"notice", ToHex(MakeKeyNotice(ring))},
          {"removal_notice", ToHex(MakeRemovalNotice())}};
}

Json Invite(const World& world) {
  const KeyRequest request{world.stranger.Public(), "Gu\xc3\xa9st"};
  const Invitation invitation{"broker.example", 8884, std::string(kCell), world.ref,
                              world.car.Public()};
  const std::string key = ToLink(request);
  const std::string invite = ToLink(invitation);
  Json refused = Json::array();
  for (const std::string& text :
       {key + "&x=1", key + "&n=", key.substr(0, key.find("&n=")), key.substr(0, key.size() - 1),
        "latchkey://invite?" + key.substr(key.find('?') + 1)}) {
    LK_ASSERT(!ParseKeyRequest(text));
    refused.push_back(text);
  }
  for (const std::string& text :
       {invite + "&", invite + "&c=F3-17", invite.substr(0, invite.size() - 2),
        "latchkey://pair?" + invite.substr(invite.find('?') + 1)}) {
    LK_ASSERT(!ParseInvitation(text));
    refused.push_back(text);
  }
  return {{"key_request",
           {{"link", key}, {"point", ToHex(request.key.ToPoint())}, {"label", request.label}}},
          {"invitation",
           {{"link", invite},
            {"host", invitation.host},
            {"port", invitation.port},
            {"cell", invitation.cell},
            {"fleet", world.ref.fleet.str()},
            {"car", world.ref.car.str()},
            {"point", ToHex(invitation.car_key.ToPoint())}}},
          {"refused", refused}};
}

Json BlockJson(const Block& block) {
  return {{"key_id", block.scope.key.str()},
          {"fleet", block.scope.fleet.str()},
          {"car", block.scope.car.str()},
          {"lifted", block.lifted},
          {"changed_at_ms", block.changed_at.ms},
          {"cause", v1::BlockCause_Name(block.cause)},
          {"note", block.note},
          {"command_id", block.command ? block.command->ToText() : ""},
          {"block", ToHex(BlockToWire(block).SerializeAsString())}};
}

// Every pair of changes to one scope, and which of them both replicas end up with.
Json Merges(const std::vector<Block>& changes) {
  Json rows = Json::array();
  for (size_t a = 0; a < changes.size(); ++a) {
    for (size_t b = a + 1; b < changes.size(); ++b) {
      Blocks blocks;
      LK_ASSERT(blocks.Merge(changes[a]) && blocks.Merge(changes[b]));
      const Block& held = *blocks.Find(changes[a].scope);
      rows.push_back({{"a", ToHex(BlockToWire(changes[a]).SerializeAsString())},
                      {"b", ToHex(BlockToWire(changes[b]).SerializeAsString())},
                      {"wins", held == changes[a] ? "a" : "b"}});
    }
  }
  return rows;
}

Json BlocksJson(const World& world) {
  const KeyId key = world.stranger.Public().Id();
  const Block everywhere{{key, {}, {}}, false,       kNow, v1::BLOCK_CAUSE_ADMINISTRATOR,
                         "lost",        std::nullopt};
  Block fleet = everywhere;
  fleet.scope.fleet = world.ref.fleet;
  Block owner = fleet;
  owner.scope.car = world.ref.car;
  owner.cause = v1::BLOCK_CAUSE_OWNER;
  owner.note.clear();
  owner.command = CommandId::Make(kNow.ms, std::string(10, 'a'));
  Block lifted = everywhere;
  lifted.lifted = true;
  Block later = lifted;
  later.changed_at = kNow + Duration(1);
  Block noted = everywhere;
  noted.note = "stolen";
  Block by_owner = owner;
  by_owner.scope = everywhere.scope;
  Block other_command = by_owner;
  other_command.command = CommandId::Make(kNow.ms, std::string(10, 'b'));
  Json rows = Json::array();
  for (const Block& block : {everywhere, fleet, owner, later}) {
    rows.push_back(BlockJson(block));
  }
  v1::Control merge;
  merge.set_request_id(7);
  *merge.mutable_merge_blocks()->add_blocks() = BlockToWire(owner);
  v1::Control list;
  list.set_request_id(8);
  *list.mutable_list_blocks()->mutable_after() = BlockToWire(everywhere);
  v1::ControlAnswer answer;
  answer.set_request_id(8);
  *answer.add_blocks() = BlockToWire(fleet);
  answer.set_more(true);
  v1::BlocksChanged changed;
  *changed.add_blocks() = BlockToWire(owner);
  return {{"blocks", rows},
          {"merges", Merges({everywhere, lifted, later, noted, by_owner, other_command})},
          {"control_merge", ToHex(merge.SerializeAsString())},
          {"control_list", ToHex(list.SerializeAsString())},
          {"control_answer", ToHex(answer.SerializeAsString())},
          {"blocks_changed", ToHex(changed.SerializeAsString())}};
}

Json Renewal(const World& world) {
  const std::string request = MakeCertificateRequest(world.ref, world.car, kNow);
  v1::CertificateRequest wire;
  wire.ParseFromString(request);
  std::string covered = "latchkey.v1.certificate-request";
  covered += '\0' + world.ref.fleet.str() + '\0' + world.ref.car.str() + '\0' + wire.public_key();
  for (int shift = 56; shift >= 0; shift -= 8) {
    covered += static_cast<char>(wire.requested_at_ms() >> shift & 0xff);
  }
  Json rows = Json::array();
  const auto add = [&](const char* name, const std::string& bytes, const CarRef& ref) {
    rows.push_back({{"name", name},
                    {"car", ref.car.str()},
                    {"request", ToHex(bytes)},
                    {"result", Said(OpenCertificateRequest(bytes, ref))}});
  };
  add("good", request, world.ref);
  add("on another car's topic", request, testing::Ref("demo", "F3-18"));
  wire.set_requested_at_ms(wire.requested_at_ms() + 1);
  add("another time than signed", wire.SerializeAsString(), world.ref);
  wire.clear_public_key();
  add("no key", wire.SerializeAsString(), world.ref);
  return {{"fleet", world.ref.fleet.str()},
          {"car", world.ref.car.str()},
          {"requested_at_ms", kNow.ms},
          {"public_key", ToHex(world.car.Public().ToPoint())},
          {"covered", ToHex(covered)},
          {"requests", rows},
          {"grant", ToHex(MakeCertificateGrant(kNow, world.certificate))},
          {"refusal", ToHex(MakeCertificateRefusal(kNow, v1::REASON_BAD_CERTIFICATE))}};
}

v1::StateGroup StateOf(Group group) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(kNow.ms));
  state.set_sequence(42);
  if (group == Group::kBody) {
    state.mutable_body()->mutable_is_locked()->set_value(true);
    state.mutable_body()->mutable_window_open_max()->set_value(12.5F);
  } else if (group == Group::kEnergy) {
    state.mutable_energy()->mutable_soc()->set_value(87.1F);
    state.mutable_energy()->mutable_range()->set_value(96.0F);
    state.mutable_energy()->mutable_range()->set_age_ms(1500);
    v1::ExtraSignal* extra = state.add_extra();
    extra->set_path("Vehicle.Powertrain.TractionBattery.NetCapacity");
    extra->set_number(18.2);
    extra->set_age_ms(86'400'000);
  } else if (group == Group::kLocation) {
    state.mutable_location()->mutable_latitude()->set_value(48.1374);
    state.mutable_location()->mutable_longitude()->set_value(11.5755);
  } else if (group == Group::kClimate) {
    state.mutable_climate()->mutable_outside_temperature()->set_value(-7.5F);
  } else if (group == Group::kDrive) {
    state.mutable_drive()->mutable_speed()->set_value(0.0F);
    state.mutable_drive()->mutable_gear()->set_value(-1);
  } else if (group == Group::kService) {
    state.mutable_service()->mutable_low_voltage()->set_value(12.6F);
  } else if (group == Group::kApps) {
    v1::App* app = state.mutable_apps()->add_installed();
    app->set_app_id("com.example.radio");
    app->set_version("2.1");
  } else if (group == Group::kArea) {
    state.mutable_area()->mutable_cell()->set_value("u281y");
  } else {
    state.mutable_link()->mutable_radio()->set_value("LTE");
  }
  return state;
}

Json States() {
  Json rows = Json::array();
  const auto add = [&](const std::string& name, const std::string& wire, Group group) {
    const auto state = ParseState(wire, group);
    Json signals = Json::array();
    if (state) {
      for (const SignalRow& row : SignalsOf(*state)) {
        signals.push_back({{"name", row.name},
                           {"vss", row.vss},
                           {"unit", row.unit},
                           {"value", ValueText(row)},
                           {"observed_at_ms", row.observed_at.ms}});
      }
    }
    rows.push_back({{"name", name},
                    {"group", ToText(group)},
                    {"state_group", ToHex(wire)},
                    {"result", Said(state)},
                    {"signals", signals}});
  };
  for (const Group group : kGroups) {
    add(std::string(ToText(group)), StateOf(group).SerializeAsString(), group);
  }
  add("energy on the topic of body", StateOf(Group::kEnergy).SerializeAsString(), Group::kBody);
  v1::StateGroup state = StateOf(Group::kLocation);
  state.mutable_location()->mutable_latitude()->set_value(91.0);
  add("latitude 91", state.SerializeAsString(), Group::kLocation);
  state = StateOf(Group::kEnergy);
  state.clear_observed_at_ms();
  add("no time of observation", state.SerializeAsString(), Group::kEnergy);
  return {{"states", rows}};
}

void Write(const std::filesystem::path& path, const Json& json) {
  std::ofstream file(path);
  file << json.dump(1) << "\n";
  std::cout << path.string() << "\n";
}

int Main(const std::filesystem::path& folder) {
  const std::filesystem::path keys_path = folder / "keys.json";
  if (!std::filesystem::exists(keys_path)) {
    Write(keys_path, MakeKeys());
  }
  const World world = MakeWorld(Json::parse(std::ifstream(keys_path)));
  Write(folder / "signatures.json", Signatures(world));
  Write(folder / "topics.json", Topics(world));
  Write(folder / "tokens.json", Tokens(world));
  Write(folder / "rings.json", Rings(world));
  Write(folder / "commands.json", Commands(world));
  Write(folder / "receipts.json", Receipts(world));
  Write(folder / "pairing.json", Pairing(world));
  Write(folder / "invite.json", Invite(world));
  Write(folder / "blocks.json", BlocksJson(world));
  Write(folder / "sms.json", SmsVectors(world.ring, world.phone, world.car));
  Write(folder / "log.json", LogVectors(world.ref, world.phone.Public().Id()));
  Write(folder / "renewal.json", Renewal(world));
  Write(folder / "states.json", States());
  return 0;
}

}  // namespace
}  // namespace latchkey

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_vectors DIR\n";
    return 2;
  }
  return latchkey::Main(argv[1]);
}
