// Tokens and names at sign-in: algorithm confusion, foreign and impossible keys, audience, time,
// malleable and malformed signatures, user names and client ids with characters of topics in them.
#include <algorithm>
#include <fstream>

#include "proto/token.h"
#include "proto/topic.h"
#include "tests/attacks/actors.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

using Sign = std::function<std::string(const std::string&)>;

std::string Jwt(const std::string& header, const std::string& payload, const Sign& sign) {
  const std::string text = Base64UrlEncode(header) + "." + Base64UrlEncode(payload);
  return text + "." + Base64UrlEncode(sign(text));
}

std::string Nothing(const std::string& /*text*/) {
  return "";
}

std::string Jwk(const std::string& x, const std::string& y, const std::string& curve = "P-256") {
  return R"({"kty":"EC","crv":")" + curve + R"(","x":")" + Base64UrlEncode(x) + R"(","y":")" +
         Base64UrlEncode(y) + R"("})";
}

std::string Jwk(const PublicKey& key) {
  return Jwk(key.X(), key.Y());
}

std::string Header(const std::string& algorithm, const std::string& jwk) {
  return R"({"alg":")" + algorithm + R"(","typ":"JWT","jwk":)" + jwk + "}";
}

std::string Payload(const KeyId& id, const std::string& cell, int64_t issued_s, int64_t lives_s) {
  return R"({"sub":")" + id.str() + R"(","aud":")" + cell + R"(","iat":)" +
         std::to_string(issued_s) + R"(,"exp":)" + std::to_string(issued_s + lives_s) + "}";
}

std::string Payload(const KeyId& id, const std::string& cell) {
  return Payload(id, cell, testing::UnixMs() / 1000, 300);
}

// The victim of the naive broker is its user VIN0001.
void ExpectNaiveLetsIn(World& world, const std::string& token) {
  RawOptions options = world.Naive().As("attacker", "VIN0001");
  options.password = token;
  const auto client = Dial(options);
  Expect(client->Subscribe("car/VIN0001/#") <= 2, "let in, but not as the victim");
}

struct Forgery {
  std::string token;
  std::string reason;
};

// Each is refused as the victim; a good token of the victim's own is not.
std::string ExpectRefused(World& world, Handset& victim, const std::vector<Forgery>& forgeries) {
  Cell& cell = world.Ours();
  std::vector<std::string> reasons;
  for (const int version : {5, 4}) {
    for (const Forgery& forgery : forgeries) {
      RawOptions options = victim.Options();
      options.version = version;
      options.password = forgery.token;
      options.client_id = victim.id().str() + "/" + world.FreshName();
      ExpectRefusal(
          cell,
          [&] {
            RawClient client(options);
            return client.Connect();
          },
          version == 5 ? kNotAuthorized : kOldNotAuthorized, "connect", forgery.reason,
          options.client_id);
      if (std::find(reasons.begin(), reasons.end(), forgery.reason) == reasons.end()) {
        reasons.push_back(forgery.reason);
      }
    }
  }
  ExpectEqual(victim.SignIn(), 0, "the victim's own sign-in");
  std::string text = std::to_string(forgeries.size()) + " tokens, MQTT 5 and 3.1.1:";
  for (const std::string& reason : reasons) {
    text += " " + reason;
  }
  return text;
}

// --- alg

std::string AlgNoneWeak(World& world) {
  ExpectNaiveLetsIn(world, Jwt(R"({"alg":"none"})", R"({"sub":"VIN0001"})", Nothing));
  return "alg none signed in as the victim";
}

std::string AlgNoneOurs(World& world) {
  Handset victim(world, world.Ours());
  const std::string payload = Payload(victim.id(), world.Ours().name());
  const std::string jwk = Jwk(victim.Public());
  std::vector<Forgery> forgeries;
  for (const char* algorithm : {"none", "None", "NONE", "", "HS512", "ES384", "ES256K", "EdDSA"}) {
    forgeries.push_back({Jwt(Header(algorithm, jwk), payload, Nothing), "bad_algorithm"});
  }
  forgeries.push_back({Jwt(Header("ES256", jwk), payload, Nothing), "bad_signature"});
  return ExpectRefused(world, victim, forgeries);
}

std::string AlgHs256Weak(World& world) {
  const PublicKey victim = PrivateKey::Generate().Public();  // its public key is no secret
  ExpectNaiveLetsIn(world,
                    Jwt(Header("HS256", Jwk(victim)), R"({"sub":"VIN0001"})",
                        [&](const std::string& text) { return HmacSha256(victim.ToDer(), text); }));
  return "HMAC with the public key signed in";
}

std::string AlgHs256Ours(World& world) {
  Handset victim(world, world.Ours());
  const std::string payload = Payload(victim.id(), world.Ours().name());
  const std::string jwk = Jwk(victim.Public());
  std::vector<Forgery> forgeries;
  for (const std::string& secret : {victim.Public().ToDer(), victim.Public().ToPoint(),
                                    victim.Public().X(), jwk, std::string()}) {
    const auto sign = [&](const std::string& text) { return HmacSha256(secret, text); };
    forgeries.push_back({Jwt(Header("HS256", jwk), payload, sign), "bad_algorithm"});
    forgeries.push_back({Jwt(Header("ES256", jwk), payload, sign), "bad_signature"});
  }
  forgeries.push_back(
      {Jwt(Header("RS256", jwk), payload, [](const std::string&) { return std::string(256, 'r'); }),
       "bad_algorithm"});
  return ExpectRefused(world, victim, forgeries);
}

// --- jwk

std::string ForeignJwkWeak(World& world) {
  const PrivateKey own = PrivateKey::Generate();
  ExpectNaiveLetsIn(world, Jwt(Header("ES256", Jwk(own.Public())), R"({"sub":"VIN0001"})",
                               [&](const std::string& text) { return own.Sign(text); }));
  return "a token signed by the key it brought along";
}

std::string ForeignJwkOurs(World& world) {
  Cell& cell = world.Ours();
  Handset victim(world, cell);
  const PrivateKey own = PrivateKey::Generate();
  const auto sign = [&](const std::string& text) { return own.Sign(text); };
  const std::string payload = Payload(victim.id(), cell.name());
  const std::string twice = R"({"alg":"ES256","typ":"JWT","jwk":)" + Jwk(victim.Public()) +
                            R"(,"jwk":)" + Jwk(own.Public()) + "}";
  const std::string critical =
      R"({"alg":"ES256","crit":["b64"],"b64":false,"jwk":)" + Jwk(victim.Public()) + "}";
  return ExpectRefused(
      world, victim,
      {{Jwt(Header("ES256", Jwk(own.Public())), payload, sign), "wrong_lane"},
       {Jwt(Header("ES256", Jwk(own.Public())), Payload(own.Public().Id(), cell.name()), sign),
        "wrong_lane"},
       {Jwt(Header("ES256", Jwk(victim.Public())), payload, sign), "bad_signature"},
       {Jwt(twice, payload, sign), "bad_token"},
       {Jwt(critical, payload, sign), "bad_token"},
       {Jwt(R"({"alg":"ES256","kid":"../../etc/passwd","jku":"http://127.0.0.1/jwks"})", payload,
            sign),
        "bad_token"}});
}

std::string OddKeyWeak(World& world) {
  const std::string header =
      R"({"alg":"HS256","jwk":{"kty":"oct","k":")" + Base64UrlEncode("mine") + R"("}})";
  ExpectNaiveLetsIn(world, Jwt(header, R"({"sub":"VIN0001"})",
                               [](const std::string& text) { return HmacSha256("mine", text); }));
  return "a symmetric jwk of the attacker's was believed";
}

std::string OddKeyOurs(World& world) {
  Handset victim(world, world.Ours());
  const std::string payload = Payload(victim.id(), world.Ours().name());
  const std::string x = victim.Public().X();
  const std::string y = victim.Public().Y();
  std::string off = y;
  off[31] = static_cast<char>(off[31] ^ 1);
  const std::string zero(32, '\0');
  const std::string large(32, '\xff');
  const auto sign = [&](const std::string& text) { return victim.key().Sign(text); };
  std::vector<Forgery> forgeries;
  for (const std::string& jwk :
       {Jwk(x, off), Jwk(zero, zero), Jwk(large, large), Jwk(x, zero), Jwk(x.substr(1), y),
        Jwk(zero + x, y), Jwk(x, y, "P-384"), Jwk(x, y, "secp256k1"),
        std::string(R"({"kty":"oct","k":"bWluZQ"})"), std::string(R"({"kty":"RSA","n":"AQAB"})"),
        std::string("null"), std::string("[]"), std::string("{}")}) {
    forgeries.push_back({Jwt(Header("ES256", jwk), payload, sign), "bad_token"});
  }
  return ExpectRefused(world, victim, forgeries);
}

// --- Signature

std::string ZeroSignatureWeak(World& world) {
  const PublicKey victim = PrivateKey::Generate().Public();
  ExpectNaiveLetsIn(world, Jwt(Header("ES256", Jwk(victim)), R"({"sub":"VIN0001"})",
                               [](const std::string&) { return std::string(64, '\0'); }));
  return "a signature of zeros signed in";
}

std::string ZeroSignatureOurs(World& world) {
  Handset victim(world, world.Ours());
  const std::string payload = Payload(victim.id(), world.Ours().name());
  const std::string header = Header("ES256", Jwk(victim.Public()));
  const std::string order = {'\xff', '\xff', '\xff', '\xff', '\0',   '\0',   '\0',   '\0',
                             '\xff', '\xff', '\xff', '\xff', '\xff', '\xff', '\xff', '\xff',
                             '\xbc', '\xe6', '\xfa', '\xad', '\xa7', '\x17', '\x9e', '\x84',
                             '\xf3', '\xb9', '\xca', '\xc2', '\xfc', '\x63', '\x25', '\x51'};
  const std::string zero(32, '\0');
  const std::string one = zero.substr(1) + '\x01';
  std::vector<Forgery> forgeries;
  for (const std::string& signature :
       {zero + zero, zero + one, one + zero, order + order, order + one, one + order, one + one,
        std::string(64, '\xff'), std::string(63, 'x'), std::string(65, 'x'),
        std::string(72, '0')}) {
    forgeries.push_back(
        {Jwt(header, payload, [&](const std::string&) { return signature; }), "bad_signature"});
  }
  return ExpectRefused(world, victim, forgeries);
}

// --- aud, iat, exp

std::string AudienceWeak(World& world) {
  const PrivateKey own = PrivateKey::Generate();
  ExpectNaiveLetsIn(world, Jwt(Header("ES256", Jwk(own.Public())), R"({"aud":"another","exp":1})",
                               [&](const std::string& text) { return own.Sign(text); }));
  return "a token for elsewhere, expired since 1970";
}

std::string AudienceOurs(World& world) {
  Cell& cell = world.Ours();
  Handset victim(world, cell);
  const auto sign = [&](const std::string& text) { return victim.key().Sign(text); };
  const std::string header = Header("ES256", Jwk(victim.Public()));
  const int64_t now_s = testing::UnixMs() / 1000;
  const std::string id = victim.id().str();
  const auto token = [&](const std::string& payload) { return Jwt(header, payload, sign); };
  return ExpectRefused(
      world, victim,
      {{token(Payload(victim.id(), "elsewhere")), "bad_token"},
       {token(R"({"sub":")" + id + R"(","aud":["test-cell"],"iat":1,"exp":9999999999})"),
        "bad_token"},
       {token(Payload(victim.id(), cell.name(), now_s - 600, 300)), "token_expired"},
       {token(Payload(victim.id(), cell.name(), now_s + 900, 300)), "token_expired"},
       {token(Payload(victim.id(), cell.name(), now_s, 86400)), "token_expired"},
       {token(Payload(victim.id(), cell.name(), now_s, -1)), "token_expired"},
       {token(R"({"sub":")" + id + R"(","aud":")" + cell.name() + R"("})"), "bad_token"},
       {token(R"({"sub":")" + id + R"(","aud":")" + cell.name() +
              R"(","iat":1e9,"exp":"9999999999"})"),
        "bad_token"},
       {std::string(4096, 'a'), "too_large"}});
}

std::string OtherKeysTokenWeak(World& world) {
  // A token is a password here: whoever recorded it is its owner, whatever he calls himself.
  const PrivateKey alice = PrivateKey::Generate();
  const std::string recorded = Jwt(Header("ES256", Jwk(alice.Public())), R"({"sub":"alice"})",
                                   [&](const std::string& text) { return alice.Sign(text); });
  ExpectNaiveLetsIn(world, recorded);
  return "Alice's token signed in as VIN0001";
}

std::string OtherKeysTokenOurs(World& world) {
  Cell& cell = world.Ours();
  Handset alice(world, cell);
  Handset mallory(world, cell);
  LiveCar car(world, cell, {{alice.Public(), v1::ROLE_OWNER}});
  car.Wake();
  const std::string recorded =
      MintToken(alice.key(), cell.name(), ReadClocks().wall, std::chrono::minutes(5));
  ExpectRefused(world, mallory, {{recorded, "wrong_lane"}});
  // The worst case, TLS read along: within its minutes the token opens a session, which reads; what
  // it cannot do is sign.
  RawOptions stolen = alice.Options();
  stolen.password = recorded;
  stolen.client_id = alice.id().str() + "/stolen";
  const auto thief = Dial(stolen);
  const Sealed unlock = Seal(mallory.key(), car.ref(), Unlock());
  ExpectEqual(Hex(thief->Send({CommandTopic(car.ref(), alice.id()), unlock.bytes})),
              Hex(kNotAuthorized), "a command by another key");
  v1::SignedCommand forged;
  forged.ParseFromString(Seal(alice.key(), car.ref(), Unlock()).bytes);
  forged.set_signature(mallory.key().Sign(forged.command()));
  thief->Send({CommandTopic(car.ref(), alice.id()), forged.SerializeAsString()});
  Expect(alice.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(alice, car);
  ExpectEqual(car.Acted("unlock"), 0, "unlocks");
  ExpectEqual(car.Refused(v1::REASON_BAD_SIGNATURE), uint64_t{1}, "BAD_SIGNATURE in the car");
  return "as another: wrong_lane; stolen whole it commands nothing: BAD_SIGNATURE";
}

// --- OwnStar 2015

std::string TlsUncheckedWeak(World& world) {
  // An app that does not look at the certificate gives its password to whoever answers.
  const auto ca = tools::MakeCa("anybody", ReadClocks().wall, 1);
  const auto server = tools::IssueServer({"evil.example"}, ca, ReadClocks().wall, 1).value();
  const std::filesystem::path folder = world.folder() / "ownstar";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "s.pem") << server.certificate_pem;
  std::ofstream(folder / "s.key") << server.private_key_pem;
  const auto box =
      world.MakePlain("ownstar", "allow_anonymous true\ncertfile " + (folder / "s.pem").string() +
                                     "\nkeyfile " + (folder / "s.key").string() + "\n");
  const RawOptions app = box->As("app", "alice");
  const auto phone = Dial(app);  // RawClient looks at no certificate
  return "the app signed in at the attacker's box";
}

// An address that answers TLS with this certificate; the reference phone must not talk to it.
std::string PhoneAt(World& world, Cell& cell, const std::string& name,
                    const tools::Issued& server) {
  const std::filesystem::path folder = world.folder() / name;
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "s.pem") << server.certificate_pem;
  std::ofstream(folder / "s.key") << server.private_key_pem;
  PlainBroker box(folder, "allow_anonymous true\nlog_type all\ncertfile " +
                              (folder / "s.pem").string() + "\nkeyfile " +
                              (folder / "s.key").string() + "\n");
  box.Start();
  const PairingOffer offer{"127.0.0.1", box.port(), cell.name(),
                           testing::Ref("demo", world.FreshName()),
                           RandomBytes(kPairingSecretBytes)};
  cell.Latchkey({"phone", "pair", "tls-phone", ToQrText(offer), "--timeout", "1s"});
  return testing::ReadAll(folder / "broker.log");
}

std::string TlsUncheckedOurs(World& world) {
  Cell& cell = world.Ours();
  cell.Latchkey({"phone", "init", "tls-phone"});
  const Timestamp now = ReadClocks().wall;
  const tools::Issued stranger = tools::MakeCa("anybody", now, 30);
  const tools::Issued ca = cell.CellCa();

  struct Box {
    std::string what;
    tools::Issued server;
    bool good;
  };

  const std::vector<Box> boxes = {
      {"another CA", tools::IssueServer({"127.0.0.1"}, stranger, now, 30).value(), false},
      {"wrong name", tools::IssueServer({"evil.example"}, ca, now, 30).value(), false},
      {"expired",
       tools::IssueServer({"127.0.0.1"}, ca, now - std::chrono::hours(24 * 40), 30).value(), false},
      {"control", tools::IssueServer({"127.0.0.1"}, ca, now, 30).value(), true}};
  int number = 0;
  for (const Box& box : boxes) {
    const std::string log =
        PhoneAt(world, cell, "impostor-" + std::to_string(++number), box.server);
    const bool signed_in =
        log.find("New client connected") != std::string::npos &&
        log.find("as " + cell.PhoneKey("tls-phone").Public().Id().str()) != std::string::npos;
    ExpectEqual(signed_in, box.good, "the phone signed in at " + box.what);
  }
  return "another CA, wrong name, expired: the phone says nothing; the right one it talks to";
}

// --- Names

std::string WildcardNamesWeak(World& world) {
  const auto victim = Dial(world.Naive().As("victim", "VIN0001"));
  Expect(victim->Subscribe("car/VIN0001/#") <= 2, "could not listen");
  const auto attacker = Dial(world.Naive().As("attacker", "+"));  // registered himself as "+"
  Expect(attacker->Subscribe("car/+/#") <= 2, "could not subscribe for all cars");
  attacker->Send({"car/VIN0001/state", "forged"});
  Expect(victim->NextOn("car/VIN0001/state").has_value(), "could not write to another");
  return "user \"+\" read and wrote every car";
}

std::string WildcardNamesOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  const std::string id = owner.id().str();
  const std::string long_name(65535, 'n');
  int refused = 0;
  for (const std::string& name :
       {std::string("+"), std::string("#"), std::string("/"), std::string("$SYS"), "+/" + id,
        id + "/#", id + "\n", " " + id, id + std::string(1, '\0'), std::string("\xff\xfe"),
        std::string("\xed\xa0\x80"), std::string("\xc0\xaf"), std::string(1, '\0'), long_name,
        std::string("auto-") + id}) {
    for (const int version : {5, 4}) {
      for (const bool as_user : {true, false}) {
        RawOptions options = owner.Options();
        options.version = version;
        (as_user ? *options.user_name : options.client_id) = name;
        if (!as_user && (name.rfind(id + "/", 0) == 0 || name.rfind("auto-", 0) == 0)) {
          continue;  // its own client id with anything after the '/'; what the broker makes up
                     // itself
        }
        RawClient client(options);
        const int code = client.Connect();
        Expect(code != 0, "let in as " + name.substr(0, 40));
        ++refused;
      }
    }
  }
  // What a client id of its own may have after the '/' gives no right.
  RawOptions odd = owner.Options();
  odd.client_id = id + "/#/+/$SYS";
  const auto client = Dial(odd);
  ExpectEqual(Hex(client->Subscribe("lk/1/#")), Hex(kNotAuthorized), "lk/1/#");
  ExpectEqual(owner.SignIn(), 0, "the owner's own sign-in");
  return std::to_string(refused) + " names with + # / $ NUL, not UTF-8, 65,535 bytes";
}

}  // namespace

std::vector<Case> TokenCases() {
  return {
      {"jwt_alg_none", "CVE-2015-9235; RFC 8725 section 3.1", "", AlgNoneWeak, AlgNoneOurs},
      {"jwt_alg_hs256_public_key", "CVE-2015-9235; RFC 8725 section 2.1", "", AlgHs256Weak,
       AlgHs256Ours},
      {"jwt_foreign_jwk", "CVE-2018-0114; RFC 8725 section 2.10", "", ForeignJwkWeak,
       ForeignJwkOurs},
      {"jwk_not_p256_or_off_curve", "RFC 8725 section 3.4; RFC 7518 section 6.2.1", "", OddKeyWeak,
       OddKeyOurs},
      {"jwt_signature_of_zeros", "CVE-2022-21449; RFC 7518 section 3.4", "", ZeroSignatureWeak,
       ZeroSignatureOurs},
      {"jwt_wrong_audience_or_time", "RFC 8725 sections 3.9, 2.8", "", AudienceWeak, AudienceOurs},
      {"token_of_another_2015", "OwnStar: packetstorm 25688", "T4", OtherKeysTokenWeak,
       OtherKeysTokenOurs},
      {"tls_not_checked_2015", "OwnStar: securityaffairs.com p=39375", "T4", TlsUncheckedWeak,
       TlsUncheckedOurs},
      {"wildcards_in_names", "CVE-2017-7650; MQTT 5.0 section 1.5.4", "CVE-2017-7650",
       WildcardNamesWeak, WildcardNamesOurs},
  };
}

}  // namespace latchkey::attacks
