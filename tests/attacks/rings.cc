// Key rings: older ones, forged ones, another car's, and what a stolen CA is worth.
#include <fstream>

#include "proto/topic.h"
#include "tests/attacks/actors.h"
#include "tests/support/hex.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

Publish RingMessage(const CarRef& ref, const std::string& bytes) {
  return {KeyRingTopic(ref), bytes, 1, Retain::kYes, 0};
}

// --- Older

std::string DowngradeWeak(World& world) {
  std::map<std::string, bool> may = {{"alice", true}, {"mallory", true}};
  const std::map<std::string, bool> backup = may;
  NaiveCar car(world.Open().As("restored"), "RESTORED",
               [&](const Publish& command) { return may[command.payload]; });
  const auto mallory = Dial(world.Open().As("mallory"));
  may["mallory"] = false;
  mallory->Send({NaiveCar::Topic("RESTORED"), "mallory"});
  Expect(!car.Hear(milliseconds(200)), "not revoked");
  may = backup;  // a table of pairings, restored
  mallory->Send({NaiveCar::Topic("RESTORED"), "mallory"});
  Expect(car.Hear(), "not obeyed");
  return "the restored table let a removed key in again";
}

std::string DowngradeOurs(World& world) {
  const std::unique_ptr<Cell> own = world.MakeCell();
  Cell& cell = *own;
  Handset owner(world, cell);
  Handset ex(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}, {ex.Public(), v1::ROLE_OWNER}});
  car.Wake();
  const std::string old_ring = car.SignedRing();
  const std::string old_memory = car.memory_bytes();
  Expect(owner.SignIn() == 0, "sign-in");
  ExpectEqual(owner.Try(car, Seal(owner.key(), car.ref(), RemoveKey(ex.id()))), "DONE",
              "RemoveKey");
  const auto server = AsServer(world, cell, "restore");
  const auto again = [&] { return server->Send(RingMessage(car.ref(), old_ring)); };
  ExpectRefusal(cell, again, kNotAuthorized, "ring", "older_version", car.ref().car.str());
  // The broker killed, its retained messages thrown away: its ring file knows.
  cell.broker().Kill();
  std::filesystem::remove(cell.path() / "broker" / "mosquitto.db");
  cell.StartBroker();
  const auto server_again = AsServer(world, cell, "restore");
  ExpectEqual(Hex(server_again->Send(RingMessage(car.ref(), old_ring))), Hex(kNotAuthorized),
              "the old ring after a restart");
  Expect(ex.SignIn() == 0, "sign-in");
  ExpectEqual(Hex(ex.client().Subscribe(StateTopic(car.ref(), Group::kBody))), Hex(kNotAuthorized),
              "the removed key reads");
  // A phone that holds the newer ring sees by the version that this is older.
  const Result<KeyRing> judged = OpenKeyRingOf(old_ring, car.key().Public());
  Expect(judged && judged->version < car.ring().version, "the old ring does not say its version");
  car.Reboot();
  Expect(owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(owner, car);
  return "OLDER_VERSION, also after the broker lost its memory";
}

// --- Forged

std::string ForgedWeak(World& world) {
  // Rights as a retained document that whoever can write to the topic can replace.
  std::string rights = "alice";
  NaiveCar car(world.Open().As("rights"), "RIGHTS", [&](const Publish& command) {
    if (command.payload.rfind("rights:", 0) == 0) {
      rights = command.payload.substr(7);
      return false;
    }
    return command.payload == rights + " unlock";
  });
  const auto mallory = Dial(world.Open().As("mallory"));
  mallory->Send({NaiveCar::Topic("RIGHTS"), "rights:mallory"});
  car.Hear(milliseconds(300));
  mallory->Send({NaiveCar::Topic("RIGHTS"), "mallory unlock"});
  Expect(car.Hear(), "not obeyed");
  return "the list of owners replaced by whoever could write";
}

std::string ForgedOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  Handset mallory(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0 && mallory.SignIn() == 0, "sign-in");
  const auto server = AsServer(world, cell, world.FreshName());
  KeyRing ring = car.ring();
  ++ring.version;
  ring.keys.push_back(testing::OnRing(mallory.Public(), v1::ROLE_OWNER));
  const tools::Issued stranger = tools::MakeCa("anybody", ReadClocks().wall, 30);
  const auto [foreign_der, foreign_key] =
      testing::Issue(CarIdentity{car.ref()}, stranger, ReadClocks().wall);
  const std::string car_name = car.ref().car.str();

  struct Forgery {
    std::string bytes;
    std::string reason;
  };

  v1::SignedKeyRing unsigned_ring;
  unsigned_ring.ParseFromString(SealKeyRing(ring, mallory.key(), car.certificate_der()));
  unsigned_ring.set_signature(std::string(64, '\0'));
  v1::SignedKeyRing swapped;  // the car's own signature over another body
  swapped.ParseFromString(car.SignedRing());
  v1::KeyRing body;
  body.ParseFromString(swapped.key_ring());
  body.set_version(ring.version);
  *body.add_keys() = KeyToWire(ring.keys.back());
  swapped.set_key_ring(body.SerializeAsString());
  for (const Forgery& forgery : std::vector<Forgery>{
           {SealKeyRing(ring, mallory.key(), car.certificate_der()), "bad_signature"},
           {unsigned_ring.SerializeAsString(), "bad_signature"},
           {swapped.SerializeAsString(), "bad_signature"},
           {SealKeyRing(ring, foreign_key, foreign_der), "bad_certificate"}}) {
    ExpectRefusal(
        cell, [&] { return server->Send(RingMessage(car.ref(), forgery.bytes)); }, kNotAuthorized,
        "ring", forgery.reason, car_name);
    Expect(!OpenKeyRingOf(forgery.bytes, car.key().Public()), "a phone would believe it");
  }
  ExpectEqual(Hex(mallory.client().Send(RingMessage(car.ref(), car.SignedRing()))),
              Hex(kNotAuthorized), "a phone writes a ring");
  ExpectEqual(Hex(mallory.client().Subscribe(StateTopic(car.ref(), Group::kBody))),
              Hex(kNotAuthorized), "mallory reads");
  // Taken away by an empty retained message, as the bridge does with a car that is erased: that
  // takes rights away, and no older ring can follow.
  KeyRing older = car.ring();
  --older.version;
  older.keys = {testing::OnRing(mallory.Public(), v1::ROLE_OWNER)};
  ExpectEqual(Hex(mallory.client().Send(RingMessage(car.ref(), ""))), Hex(kNotAuthorized),
              "a phone empties a ring");
  ExpectEqual(Hex(server->Send(RingMessage(car.ref(), ""))), Hex(0), "the bridge empties a ring");
  if (older.version > 0) {
    ExpectEqual(Hex(server->Send(
                    RingMessage(car.ref(), SealKeyRing(older, car.key(), car.certificate_der())))),
                Hex(kNotAuthorized), "an older ring after it");
  }
  ExpectEqual(Hex(server->Send(RingMessage(car.ref(), car.SignedRing()))), Hex(0),
              "the ring again");
  Expect(owner.SignIn() == 0, "sign-in after the ring is back");
  OwnerStillGetsThrough(owner, car);
  return "BAD_SIGNATURE three ways, BAD_CERTIFICATE, an older one is not believed after deleting "
         "it";
}

// --- Another car's

std::string OtherCertificateWeak(World& world) {
  const PrivateKey maker = PrivateKey::Generate();  // one key signs the documents of all cars
  const std::string document = "owner mallory";
  const std::string signature = maker.Sign(document);
  NaiveCar car(world.Open().As("doc-b"), "DOC-B", [&](const Publish& command) {
    return maker.Public().Verify(document, command.payload);  // which car it is for is not in it
  });
  Dial(world.Open().As("mallory"))->Send({NaiveCar::Topic("DOC-B"), signature});
  Expect(car.Hear(), "not believed");
  return "a signed document of car A was believed by car B";
}

std::string OtherCertificateOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  LiveCar attacker(world, cell, {});
  LiveCar rival(world, cell, {}, "rival");
  car.Wake();
  attacker.Wake();
  Expect(owner.SignIn() == 0, "sign-in");
  const auto server = AsServer(world, cell, world.FreshName());
  KeyRing ring = car.ring();
  ++ring.version;
  ring.keys = {testing::OnRing(attacker.key().Public(), v1::ROLE_OWNER)};
  // Another car's key signs it, under its own certificate; and its own ring, on the victim's topic.
  for (const std::string& bytes :
       {SealKeyRing(ring, attacker.key(), attacker.certificate_der()),
        SealKeyRing(ring, rival.key(), rival.certificate_der()), attacker.SignedRing()}) {
    ExpectRefusal(
        cell, [&] { return server->Send(RingMessage(car.ref(), bytes)); }, kNotAuthorized, "ring",
        "wrong_car", car.ref().car.str());
    ExpectEqual(Hex(attacker.client().Send(RingMessage(car.ref(), bytes))), Hex(kNotAuthorized),
                "another car writes the ring");
  }
  OwnerStillGetsThrough(owner, car);
  return "WRONG_CAR for a neighbour's and another fleet's certificate";
}

// --- The fleet's CA stolen

std::string StolenCaWeak(World& world) {
  const std::string server_key = "found in a public repository";
  NaiveCar car(world.Open().As("toyota"), "TOYOTA", [&](const Publish& command) {
    return command.payload == "unlock" + HmacSha256(server_key, "unlock");
  });
  Dial(world.Open().As("finder"))
      ->Send({NaiveCar::Topic("TOYOTA"), "unlock" + HmacSha256(server_key, "unlock")});
  Expect(car.Hear(), "not obeyed");
  return "the server's key, found, unlocked any car";
}

std::string StolenCaOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  Handset thief(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0 && thief.SignIn() == 0, "sign-in");
  // A certificate in the car's name for the thief's key: as good as the car's own, to the broker.
  const auto [der, key] =
      testing::Issue(CarIdentity{car.ref()}, cell.FleetCa("demo"), ReadClocks().wall);
  KeyRing ring = car.ring();
  ++ring.version;
  ring.keys.push_back(testing::OnRing(thief.Public(), v1::ROLE_OWNER));
  const std::string forged = SealKeyRing(ring, key, der);
  AsServer(world, cell, world.FreshName())->Send(RingMessage(car.ref(), forged));
  // The phones know the car's key since they paired; the car knows its own ring.
  ExpectEqual(testing::Said(OpenKeyRingOf(forged, car.key().Public())), "REASON_BAD_CERTIFICATE",
              "the owner's phone and the forged ring");
  const Sealed unlock = Seal(thief.key(), car.ref(), Unlock());
  thief.Command(car.ref(), unlock);
  car.Hear(milliseconds(50));
  car.Give({CommandTopic(car.ref(), thief.id()), unlock.bytes});
  ExpectEqual(car.Acted("unlock"), 0, "unlocks");
  Expect(car.Refused(v1::REASON_NOT_ON_RING) >= 1, "NOT_ON_RING in the car");
  OwnerStillGetsThrough(owner, car);
  return "it can show itself to the broker as the car; car NOT_ON_RING, phone BAD_CERTIFICATE";
}

// --- Taken away

std::string RevokedOneOfTwoWeak(World& world) {
  std::map<std::string, bool> account = {{"ex", true}};
  NaiveCar car(world.Open().As("virtual-key"), "VKEY", [](const Publish& command) {
    return command.payload == "unlock signed-by-ex";  // the key in the car was forgotten
  });
  account["ex"] = false;  // revoked in the portal
  Dial(world.Open().As("ex"))->Send({NaiveCar::Topic("VKEY"), "unlock signed-by-ex"});
  Expect(car.Hear(), "not obeyed");
  return "access reset in the portal, the car still obeyed";
}

std::string RevokedOneOfTwoOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  Handset ex(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}, {ex.Public(), v1::ROLE_DRIVER}});
  car.Wake();
  Expect(owner.SignIn() == 0 && ex.SignIn() == 0, "sign-in");
  const std::string state = StateTopic(car.ref(), Group::kBody);
  Expect(ex.client().Subscribe(state) == 1, "the ex cannot read while it may");
  // The car sleeps in a garage; the owner takes the key away.
  car.Sleep();
  const Sealed waiting = Seal(ex.key(), car.ref(), Lock(), std::chrono::minutes(9));
  ExpectEqual(Hex(ex.Command(car.ref(), waiting)), Hex(0), "a command while it may");
  ExpectEqual(Hex(owner.Command(car.ref(), Seal(owner.key(), car.ref(), RemoveKey(ex.id())))),
              Hex(0), "RemoveKey while the car sleeps");
  const Instant began = ReadClocks().mono;
  Expect(ex.client().Ended(milliseconds(5000)) != testing::kNoAnswer, "the ex stays connected");
  const Duration took = ReadClocks().mono - began;
  Expect(ex.SignIn() == 0, "sign-in");
  ExpectRefusal(
      cell, [&] { return ex.client().Subscribe(state); }, kNotAuthorized, "subscribe", "blocked",
      ex.id().str());
  ExpectEqual(
      Hex(ex.Command(car.ref(), Seal(ex.key(), car.ref(), Unlock(), std::chrono::seconds(50)))),
      Hex(kNotAuthorized), "a command of the removed key");
  // It wakes: the removal first counts, and what the ex had waiting does nothing.
  car.Wake();
  Expect(testing::Eventually(
             [&] {
               car.Hear();
               return car.ring().Find(ex.id()) == nullptr;
             },
             milliseconds(8000)),
         "the removal did not reach the car");
  OwnerStillGetsThrough(owner, car);
  ExpectEqual(car.Acted("lock"), 0, "locks by the removed key");
  return "car asleep: kicked after " + std::to_string(took.count()) +
         " ms, BLOCKED; its waiting command does nothing";
}

// --- A certificate taken back

std::string RevokedCertificateWeak(World& world) {
  // A CA and certificates for the devices, and no list of those taken back, as most set it up.
  const Timestamp now = ReadClocks().wall;
  const tools::Issued ca = tools::MakeCa("devices", now, 30);
  const tools::Issued server = tools::IssueServer({"127.0.0.1"}, ca, now, 30).value();
  const std::filesystem::path folder = world.folder() / "no-crl";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "ca.pem") << ca.certificate_pem;
  std::ofstream(folder / "s.pem") << server.certificate_pem;
  std::ofstream(folder / "s.key") << server.private_key_pem;
  const auto broker =
      world.MakePlain("no-crl", "allow_anonymous true\ncafile " + (folder / "ca.pem").string() +
                                    "\ncertfile " + (folder / "s.pem").string() + "\nkeyfile " +
                                    (folder / "s.key").string() + "\n");
  const tools::Issued stolen =
      tools::IssueClient(CarIdentity{testing::Ref("demo", "stolen")}, ca, now, 30).value();
  RawOptions options = broker->As("stolen");
  options.certificate_pem = stolen.certificate_pem;
  options.private_key_pem = stolen.private_key_pem;
  const auto attacker = Dial(options);
  Expect(attacker->Subscribe("#") <= 2, "could not subscribe");
  return "a stolen unit's certificate is good until it runs out";
}

std::string RevokedCertificateOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0, "sign-in");
  const RawOptions stolen = cell.AsCar(testing::Ref("demo", world.FreshName()));
  const auto unit = Dial(stolen);
  const std::string serial =
      testing::ToHex(Certificate::FromPem(stolen.certificate_pem).value().serial);
  const testing::Ran revoked =
      cell.Latchkey({"ca", "revoke", "--fleet", "demo", "--serial", serial});
  Expect(revoked.exit_code == 0, "latchkey ca revoke: " + revoked.output);
  const Instant began = ReadClocks().mono;
  Expect(unit->Ended(milliseconds(8000)) != testing::kNoAnswer, "the stolen unit stays connected");
  const Duration took = ReadClocks().mono - began;
  ExpectRefusal(
      cell, [&] { return RawClient(stolen).Connect(); }, kNotAuthorized, "connect",
      "bad_certificate", stolen.client_id);
  Expect(car.client().Ping(), "another car was thrown out with it");
  OwnerStillGetsThrough(owner, car);
  return "kicked after " + std::to_string(took.count()) +
         " ms without a restart; BAD_CERTIFICATE from then on";
}

}  // namespace

std::vector<Case> RingCases() {
  return {
      {"ring_downgrade", "Previous owners: motorists.org; Tesla: vehicle-command #173", "T10 T26",
       DowngradeWeak, DowngradeOurs},
      {"forged_ring", "Zveare, DEF CON 2025: thedailytechfeed", "T25", ForgedWeak, ForgedOurs},
      {"ring_under_another_certificate", "BMW ConnectedDrive, ADAC: automobilwoche.de", "T3",
       OtherCertificateWeak, OtherCertificateOurs},
      {"stolen_signing_key_2022", "Toyota: therecord.media", "T19", StolenCaWeak, StolenCaOurs},
      {"revoked_in_one_of_two_places_2024", "Tesla virtual key: vehicle-command #173", "T26 T10",
       RevokedOneOfTwoWeak, RevokedOneOfTwoOurs},
      {"stolen_unit_2015", "Metromile C4: USENIX WOOT 2015 \"Fast and Vulnerable\"", "T5 T3",
       RevokedCertificateWeak, RevokedCertificateOurs},
  };
}

}  // namespace latchkey::attacks
