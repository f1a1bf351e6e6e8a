// Who are you? Breaks in which a car's number, a default password, a dealer's account or a shared
// key was enough to be somebody.
#include <fstream>

#include "latchkey/v1/control.pb.h"
#include "proto/topic.h"
#include "tests/attacks/actors.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

const char* const kVin = "WBA1A71020J900001";

// What a stranger tries who knows fleet and car and nothing else.
void ExpectStrangerRefused(World& world, Cell& cell, LiveCar& car) {
  Handset stranger(world, cell);
  ExpectEqual(stranger.SignIn(), 0, "a stranger's sign-in");
  const std::string state = StateTopic(car.ref(), Group::kBody);
  const std::string who = stranger.id().str();
  ExpectRefusal(
      cell, [&] { return stranger.client().Subscribe(state); }, kNotAuthorized, "subscribe",
      "not_on_ring", who);
  ExpectRefusal(
      cell, [&] { return stranger.Command(car.ref(), Seal(stranger.key(), car.ref(), Unlock())); },
      kNotAuthorized, "write", "not_on_ring", who);
  ExpectEqual(car.Acted("unlock"), 0, "unlocks");
}

// --- Nissan LEAF 2016

std::string VinAloneWeak(World& world) {
  NaiveCar car(world.Open().As("leaf"), kVin);
  NaiveService service(world.Open().As("carwings"), [](const Publish& request) {
    const std::string vin = request.topic.substr(4);  // api/{vin}
    return std::vector<Publish>{{NaiveCar::Topic(vin), request.payload}};
  });
  const auto attacker = Dial(world.Open().As("attacker"));
  attacker->Send({std::string("api/") + kVin, "climate on"});
  Expect(service.Serve() && car.Hear(), "the naive service did not obey a VIN");
  return "climate on by VIN";
}

std::string VinAloneOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  ExpectStrangerRefused(world, cell, car);
  Expect(owner.SignIn() == 0, "the owner cannot sign in");
  OwnerStillGetsThrough(owner, car);
  return "0x87 not_on_ring for reading and writing";
}

// --- SiriusXM 2022

std::string VinTokenWeak(World& world) {
  NaiveCar car(world.Open().As("car"), kVin,
               [](const Publish& command) { return command.payload.rfind("bearer-", 0) == 0; });
  NaiveService service(world.Open().As("telematics"), [](const Publish& request) {
    const std::string id = request.payload;  // vin:{VIN} as customer id
    return std::vector<Publish>{{"token/attacker", "bearer-" + id.substr(4)}};
  });
  const auto attacker = Dial(world.Open().As("attacker"));
  attacker->Subscribe("token/attacker");
  attacker->Send({"api/token", std::string("vin:") + kVin});
  Expect(service.Serve(), "no request reached the service");
  const auto token = attacker->Next();
  Expect(token.has_value(), "no token was given");
  attacker->Send({NaiveCar::Topic(kVin), token->payload + " unlock"});
  Expect(car.Hear(), "the car did not believe the token");
  return "a bearer token for vin:{VIN}, unlocked";
}

std::string VinTokenOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  const std::string name = car.ref().car.str();
  const std::vector<std::string> names = {name,
                                          "vin:" + name,
                                          "car:" + car.ref().ToText(),
                                          car.ref().ToText(),
                                          "phone:" + owner.id().str(),
                                          owner.id().str(),
                                          "bridge:latchkey",
                                          "administrator:root"};
  for (const std::string& each : names) {
    for (const std::string& client_id : {each, owner.id().str() + "/x"}) {
      RawOptions options = Handset(world, cell).Options();  // a good token of the attacker's own
      options.user_name = each;
      options.client_id = client_id;
      RawClient client(options);
      ExpectEqual(Hex(client.Connect()), Hex(kNotAuthorized), "CONNECT as " + each);
    }
  }
  Expect(owner.SignIn() == 0, "the owner cannot sign in");
  OwnerStillGetsThrough(owner, car);
  return "0x87 for " + std::to_string(names.size()) + " identities in user name and client id";
}

// --- Kia 2024, Zveare 2025, Subaru 2024

std::string DealerWeak(World& world) {
  std::map<std::string, std::string> owners = {{kVin, "alice"}};
  NaiveCar car(world.Open().As("kia"), kVin, [&](const Publish& command) {
    return command.payload.rfind(owners[kVin] + ":", 0) == 0;  // the car believes the portal's row
  });
  NaiveService portal(world.Open().As("portal"), [&](const Publish& request) {
    const std::string who = request.payload;  // dealers register themselves, and may transfer
    owners[request.topic.substr(13)] = who;   // api/transfer/{vin}
    return std::vector<Publish>{};
  });
  const auto attacker = Dial(world.Open().As("attacker"));
  attacker->Send({std::string("api/transfer/") + kVin, "mallory"});
  Expect(portal.Serve(), "no request reached the portal");
  attacker->Send({NaiveCar::Topic(kVin), "mallory:unlock"});
  Expect(car.Hear(), "the car did not obey the new owner");
  return "ownership moved by VIN, unlocked";
}

std::string DealerOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  Handset dealer(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0 && dealer.SignIn() == 0, "sign-in");
  const uint32_t all = AllGroups();
  const auto portal = AsOperator(world, cell, "demo", all);
  KeyRing forged = car.ring();
  forged.version += 1;
  forged.keys = {testing::OnRing(dealer.Public(), v1::ROLE_OWNER)};
  const std::string ring = SealKeyRing(forged, dealer.key(), car.certificate_der());
  ExpectEqual(Hex(portal->Send({KeyRingTopic(car.ref()), ring, 1, Retain::kYes, 0})),
              Hex(kNotAuthorized), "a ring from an operator");
  const Sealed add = Seal(dealer.key(), car.ref(), AddKey(dealer.Public(), v1::ROLE_OWNER));
  for (const KeyId& lane : {dealer.id(), owner.id()}) {
    ExpectEqual(Hex(portal->Send({CommandTopic(car.ref(), lane), add.bytes})), Hex(kNotAuthorized),
                "an AddKey from an operator");
  }
  ExpectEqual(Hex(dealer.Command(car.ref(), add)), Hex(kNotAuthorized), "his own AddKey");
  car.Hear();
  ExpectEqual(car.ring().keys.size(), size_t{1}, "keys on the ring");
  // What the owner does to the ring, every key on it hears.
  Expect(owner.client().Subscribe(KeyRingTopic(car.ref())) == 1, "the owner cannot see its ring");
  Handset guest(world, cell);
  ExpectEqual(owner.Try(car, Seal(owner.key(), car.ref(), AddKey(guest.Public(), v1::ROLE_GUEST))),
              "DONE", "the owner's AddKey");
  return "0x87 each; ring unchanged; the owner's own AddKey is DONE";
}

std::string ServerGrantsWeak(World& world) {
  // A row in the operator's own database is all the authority there is.
  std::map<std::string, std::string> granted = {{kVin, "alice"}};
  NaiveCar car(world.Patterned().As("VIN0001", "VIN0001"), "VIN0001", [&](const Publish& command) {
    return command.payload == granted["VIN0001"] + ":unlock";
  });
  const auto staff = Dial(world.Patterned().As("service", "service"));
  granted["VIN0001"] = "staff";
  staff->Send({NaiveCar::Topic("VIN0001"), "staff:unlock"});
  Expect(car.Hear(), "the car did not obey the operator");
  return "an operator granted himself a key, unlocked";
}

// A server operator has the cell's CA, the bridge's certificate and the broker's files.
std::string ServerGrantsOurs(World& world) {
  const std::unique_ptr<Cell> own = world.MakeCell();
  Cell& cell = *own;
  Handset owner(world, cell);
  Handset staff(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0 && staff.SignIn() == 0, "sign-in");
  const auto server = AsServer(world, cell, "latchkey");
  KeyRing ring = car.ring();
  ring.version += 5;
  ring.keys.push_back(testing::OnRing(staff.Public(), v1::ROLE_OWNER));
  const std::string forged = SealKeyRing(ring, staff.key(), car.certificate_der());
  ExpectRefusal(
      cell, [&] { return server->Send({KeyRingTopic(car.ref()), forged, 1, Retain::kYes, 0}); },
      kNotAuthorized, "ring", "bad_signature", car.ref().car.str());
  const Sealed unlock = Seal(staff.key(), car.ref(), Unlock());
  server->Send({CommandTopic(car.ref(), staff.id()), unlock.bytes});
  car.Hear();
  car.Give({CommandTopic(car.ref(), staff.id()), unlock.bytes});  // past the broker altogether
  ExpectEqual(car.Acted("unlock"), 0, "unlocks");
  Expect(car.Refused(v1::REASON_NOT_ON_RING) >= 1, "the car did not say why");
  // The broker's own file of rings, edited by hand.
  cell.broker().Stop();
  std::ofstream(cell.path() / "broker" / "rings.log", std::ios::binary | std::ios::app) << forged;
  cell.StartBroker();
  Expect(staff.SignIn() == 0, "sign-in");
  ExpectEqual(Hex(staff.client().Subscribe(StateTopic(car.ref(), Group::kBody))),
              Hex(kNotAuthorized), "reading after the file was edited");
  car.Reboot();
  Expect(owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(owner, car);
  return "ring bad_signature, command NOT_ON_RING in the car, edited ring file not taken";
}

// --- BMW 2015

std::string OneKeyWeak(World& world) {
  const std::string key = "the same in 2.2 million cars";
  const auto believes = [&](const Publish& command) {
    return command.payload == "unlock" + HmacSha256(key, "unlock");
  };
  NaiveCar victim(world.Open().As("combox-b"), "B", believes);
  const auto attacker = Dial(world.Open().As("attacker"));  // has taken `key` out of car A
  attacker->Send({NaiveCar::Topic("B"), "unlock" + HmacSha256(key, "unlock")});
  Expect(victim.Hear(), "car B did not believe car A's key");
  return "key of car A unlocked car B";
}

std::string OneKeyOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar mine(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  LiveCar victim(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  victim.Wake();
  // All there is in car A: its private key, its certificate, its memory.
  mine.Wake();
  const Sealed unlock = Seal(mine.key(), victim.ref(), Unlock());
  for (const KeyId& lane : {mine.key().Public().Id(), owner.id()}) {
    ExpectEqual(Hex(mine.client().Send({CommandTopic(victim.ref(), lane), unlock.bytes})),
                Hex(kNotAuthorized), "car A writes to car B");
    victim.Give({CommandTopic(victim.ref(), lane), unlock.bytes});
  }
  KeyRing ring = victim.ring();
  ++ring.version;
  ring.keys.push_back(testing::OnRing(mine.key().Public(), v1::ROLE_OWNER));
  ExpectEqual(Hex(mine.client().Send({KeyRingTopic(victim.ref()),
                                      SealKeyRing(ring, mine.key(), mine.certificate_der()), 1,
                                      Retain::kYes, 0})),
              Hex(kNotAuthorized), "car A writes car B's ring");
  ExpectEqual(victim.Acted("unlock"), 0, "unlocks");
  Expect(owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(owner, victim);
  return "0x87; in car B NOT_ON_RING and WRONG_LANE";
}

std::string ErrorNamesWeak(World& world) {
  NaiveService combox(world.Open().As("combox"), [](const Publish& request) {
    const bool right = request.payload == kVin;
    return std::vector<Publish>{
        {"reply", right ? std::string("ok") : std::string("wrong VIN, mine is ") + kVin}};
  });
  const auto attacker = Dial(world.Open().As("attacker"));
  attacker->Subscribe("reply");
  attacker->Send({"api/probe", ""});
  Expect(combox.Serve(), "no probe reached the car");
  const auto answer = attacker->Next();
  Expect(answer && answer->payload.find(kVin) != std::string::npos, "it did not say its VIN");
  return "the error message had the VIN in it";
}

std::string ErrorNamesOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  car.ShowOffer();
  // The only message a stranger may send: a claim. The answer names nothing.
  Handset stranger(world, cell);
  Expect(stranger.SignIn() == 0, "sign-in");
  stranger.client().Subscribe(PairingAnswerTopic(car.ref(), stranger.id()));
  PairingOffer guess{"h", 1, cell.name(), car.ref(), RandomBytes(kPairingSecretBytes)};
  stranger.client().Send({PairingTopic(car.ref(), stranger.id()),
                          MakeClaim(guess, stranger.Public(), RandomBytes(16), "x")});
  car.Hear(milliseconds(100));
  const auto answer = stranger.client().Next();
  Expect(answer.has_value(), "no answer to the claim");
  v1::PairingAnswer parsed;
  Expect(parsed.ParseFromString(answer->payload), "the answer does not parse");
  Expect(!parsed.has_key_ring(), "the answer has a ring in it");
  const std::string der = car.certificate_der();
  for (const std::string& secret : {der, car.key().Public().ToPoint(), owner.id().str(),
                                    owner.Public().ToPoint(), std::string("demo/")}) {
    Expect(answer->payload.find(secret) == std::string::npos, "the answer names something");
  }
  Expect(owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(owner, car);
  return "a claim without proof is answered with a reason and no name";
}

// --- Nexx 2023, MiCODUS 2022

std::string UniversalPasswordWeak(World& world) {
  // One MQTT password in the firmware of every garage door.
  const auto broker = world.MakePlain("nexx", "allow_anonymous true\n");
  NaiveCar door(broker->As("door-of-a-neighbour"), "door-7");
  const auto attacker = Dial(broker->As("attacker"));
  attacker->Subscribe("#");
  const auto owner = Dial(broker->As("owner"));
  owner->Send({NaiveCar::Topic("door-7"), "open"});
  const auto seen = attacker->Next();
  Expect(seen && door.Hear(), "nothing was seen");
  attacker->Send(*seen);
  Expect(door.Hear(), "the replay did not open");
  return "one password saw every device, replay opened";
}

std::string UniversalPasswordOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar attacker(world, cell, {});  // any device credential
  LiveCar victim(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  victim.Wake();
  attacker.Wake();
  const std::string below = "lk/1/" + victim.ref().ToText();
  for (const std::string& filter :
       {std::string("#"), std::string("+/#"), std::string("lk/#"), std::string("lk/1/#"),
        std::string("lk/1/demo/#"), std::string("lk/1/demo/+/command/+"), below + "/#",
        below + "/command/+", "$share/g/" + below + "/command/+"}) {
    ExpectEqual(Hex(attacker.client().Subscribe(filter)), Hex(kNotAuthorized), "filter " + filter);
  }
  Expect(owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(owner, victim);
  attacker.Hear(milliseconds(20));
  ExpectEqual(attacker.Acted(), 0, "what the other device did");
  return "a device reads and writes its own topics only: 0x87 for nine filters";
}

std::string DefaultPasswordWeak(World& world) {
  RawOptions options = world.Naive().As("attacker", "VIN0001");
  options.password = "123456";
  const auto attacker = Dial(options);
  Expect(attacker->Subscribe("car/VIN0001/#") <= 2, "could not listen");
  return "123456 let anybody in as any device";
}

std::string DefaultPasswordOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  for (const char* password : {"123456", "000000", "admin", "password", "latchkey", ""}) {
    for (const std::string& user : {owner.id().str(), std::string("admin"), std::string("")}) {
      RawOptions options = owner.Options();
      options.user_name = user;
      options.password = password;
      RawClient client(options);
      ExpectEqual(Hex(client.Connect()), Hex(kNotAuthorized), "CONNECT with a default password");
    }
  }
  // And the most powerful certificate there is signs no command.
  RawOptions root = cell.WithCertificate(BridgeIdentity{"root"}, cell.CellCa(), "bridge/root");
  const auto server = Dial(root);
  const Sealed unlock =
      Seal(PrivateKey::FromPem(root.private_key_pem).value(), car.ref(), Unlock());
  server->Send({CommandTopic(car.ref(), owner.id()), unlock.bytes});
  car.Hear();
  ExpectEqual(car.Acted("unlock"), 0, "unlocks");
  Expect(owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(owner, car);
  return "0x87 for 18 defaults; the server's own key commands nothing";
}

// --- BMW i3 accounts 2014

std::string LockOutWeak(World& world) {
  std::map<std::string, int> wrong;
  NaiveService accounts(world.Open().As("accounts"), [&](const Publish& request) {
    const bool right = request.payload == "alice:right";
    wrong["alice"] += right ? 0 : 1;
    return std::vector<Publish>{{"reply", wrong["alice"] >= 5 ? "locked" : right ? "in" : "no"}};
  });
  const auto client = Dial(world.Open().As("alice-and-mallory"));
  client->Subscribe("reply");
  std::string answer;
  for (const char* word : {"alice:1", "alice:2", "alice:3", "alice:4", "alice:5", "alice:right"}) {
    client->Send({"api/sign-in", word});
    accounts.Serve();
    answer = client->Next().value_or(Publish{}).payload;
  }
  ExpectEqual(answer, "locked", "Alice's right password");
  return "five wrong passwords locked the owner out";
}

std::string LockOutOurs(World& world) {
  Cell& cell = world.Ours();
  Handset alice(world, cell);
  LiveCar car(world, cell, {{alice.Public(), v1::ROLE_OWNER}});
  car.Wake();
  RawOptions mallory = alice.Options();
  mallory.password = "guess";
  constexpr int kTries = 60;
  for (int i = 0; i < kTries; ++i) {
    RawClient client(mallory);
    Expect(client.Connect() == kNotAuthorized, "a guess was not refused");
  }
  world.SetCase(7001);  // Alice is elsewhere
  const Instant began = ReadClocks().mono;
  ExpectEqual(alice.SignIn(), 0, "Alice's sign-in after " + std::to_string(kTries) + " guesses");
  const Duration took = ReadClocks().mono - began;
  Expect(took < std::chrono::seconds(1), "Alice had to wait");
  OwnerStillGetsThrough(alice, car);
  return std::to_string(kTries) + " guesses: 0x87; the owner signs in at once";
}

std::string OracleWeak(World& world) {
  NaiveService accounts(world.Open().As("accounts-2"), [](const Publish& request) {
    const bool known = request.payload == kVin;
    return std::vector<Publish>{{"reply-2", known ? "wrong password" : "no such car"}};
  });
  const auto client = Dial(world.Open().As("scanner"));
  client->Subscribe("reply-2");
  int found = 0;
  for (int i = 0; i < 20; ++i) {
    std::string vin = kVin;
    vin.replace(vin.size() - 2, 2, std::to_string(10 + i).substr(0, 2));
    client->Send({"api/login", i == 7 ? kVin : vin});
    accounts.Serve();
    found += client->Next().value_or(Publish{}).payload == "wrong password" ? 1 : 0;
  }
  ExpectEqual(found, 1, "cars found");
  return "answers differ: 20 guesses found the car";
}

std::string OracleOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Handset scanner(world, cell);
  Expect(scanner.SignIn() == 0, "sign-in");
  const auto ask = [&](const CarRef& ref) {
    std::string codes;
    codes += Hex(scanner.client().Subscribe(StateTopic(ref, Group::kBody)));
    codes += Hex(scanner.client().Subscribe(PresenceTopic(ref)));
    codes += Hex(scanner.client().Subscribe("lk/1/" + ref.ToText() + "/#"));
    codes += Hex(scanner.client().Subscribe(PairingAnswerTopic(ref, scanner.id())));
    codes += Hex(scanner.Command(ref, Seal(scanner.key(), ref, Flash())));
    return codes;
  };
  const std::string real = ask(car.ref());
  for (int i = 0; i < 20; ++i) {
    const CarRef none = testing::Ref("demo", "none-" + std::to_string(i));
    ExpectEqual(ask(none), real, "answers for a car that does not exist");
  }
  // The same at sign-in: an existing key's id and a made-up one.
  for (const KeyId& id : {owner.id(), PrivateKey::Generate().Public().Id()}) {
    RawOptions options = scanner.Options();
    options.user_name = id.str();
    options.client_id = id.str();
    RawClient client(options);
    ExpectEqual(Hex(client.Connect()), Hex(kNotAuthorized), "CONNECT");
  }
  Expect(owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(owner, car);
  return "the same codes for a car that is there and 20 that are not";
}

// --- Owner before, 2017

std::string PreviousOwnerWeak(World& world) {
  std::vector<std::string> users = {"old-owner"};
  NaiveCar car(world.Open().As("sold-car"), "SOLD", [&](const Publish& command) {
    return std::find(users.begin(), users.end(),
                     command.payload.substr(0, command.payload.find(':'))) != users.end();
  });
  users.push_back("new-owner");  // the sale adds the new one; nothing takes the old one off
  const auto old_owner = Dial(world.Open().As("old-owner"));
  old_owner->Send({NaiveCar::Topic("SOLD"), "old-owner:unlock"});
  Expect(car.Hear(), "the car did not obey its old owner");
  return "still obeyed after the sale";
}

std::string PreviousOwnerOurs(World& world) {
  Cell& cell = world.Ours();
  Handset old_owner(world, cell);
  Handset new_owner(world, cell);
  LiveCar car(world, cell, {{old_owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(old_owner.SignIn() == 0 && new_owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(old_owner, car);
  const Sealed kept = Seal(old_owner.key(), car.ref(), Unlock(), std::chrono::seconds(50));
  const std::string old_ring = car.SignedRing();
  car.Step(car::FactoryReset{});
  ExpectEqual(car.ring().keys.size(), size_t{0}, "keys after the reset");
  Expect(old_owner.client().Ended(milliseconds(5000)) != testing::kNoAnswer,
         "the old owner's connection stands");
  Expect(old_owner.SignIn() == 0, "sign-in");
  ExpectEqual(Hex(old_owner.client().Subscribe(StateTopic(car.ref(), Group::kLocation))),
              Hex(kNotAuthorized), "the old owner reads");
  ExpectEqual(Hex(old_owner.Command(car.ref(), kept)), Hex(kNotAuthorized), "a kept command");
  car.Give({CommandTopic(car.ref(), old_owner.id()), kept.bytes});
  ExpectEqual(car.Acted("unlock"), 0, "unlocks");
  const auto server = AsServer(world, cell, "backup");
  Expect(server->Send({KeyRingTopic(car.ref()), old_ring, 1, Retain::kYes, 0}) == kNotAuthorized,
         "a ring from a backup was taken");
  // The new owner pairs.
  const PairingOffer offer = car.ShowOffer();
  new_owner.client().Send({PairingTopic(car.ref(), new_owner.id()),
                           MakeClaim(offer, new_owner.Public(), RandomBytes(16), "new")});
  Expect(testing::Eventually(
             [&] {
               car.Hear();
               return car.ring().Find(new_owner.id()) != nullptr;
             },
             milliseconds(5000)),
         "the new owner cannot pair");
  OwnerStillGetsThrough(new_owner, car);
  return "kicked; 0x87; NOT_ON_RING in the car; old ring OLDER_VERSION";
}

// --- Jeep 2015

std::string ForeignCarsWeak(World& world) {
  NaiveCar jeep(world.Open().As("jeep-b"), "JEEP-B");
  const auto other = Dial(world.Open().As("jeep-a"));
  other->Send({NaiveCar::Topic("JEEP-B"), "brakes off"});
  Expect(jeep.Hear(), "car to car did not pass");
  return "one car on the network wrote to another";
}

std::string ForeignCarsOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar attacker(world, cell, {});
  LiveCar victim(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  victim.Wake();
  attacker.Wake();
  // Every form of topic the table has, and close relatives.
  std::vector<std::string> topics;
  const std::string fleets[] = {"demo", "DEMO", "demo/", "rival", "+", ""};
  const std::string car = victim.ref().car.str();
  const std::string cars[] = {car, car + "/", "./" + car, car + "%00", "+", "#"};
  for (const std::string& fleet : fleets) {
    for (const std::string& name : cars) {
      for (const std::string& rest :
           {std::string("command/") + owner.id().str(), std::string("state/body"),
            std::string("keyring"), std::string("presence"), "receipt/" + owner.id().str(),
            "pairing/" + owner.id().str(), "pairing/" + owner.id().str() + "/answer",
            std::string("certificate"), std::string("certificate/request")}) {
        topics.push_back("lk/1/" + fleet + "/" + name + "/" + rest);
      }
    }
  }
  int refused = 0;
  for (const std::string& topic : topics) {
    const int subscribed = attacker.client().Subscribe(topic);
    Expect(subscribed >= 0x80 || subscribed < 0, "could subscribe to " + topic);
    ++refused;
    if (topic.find_first_of("+#") == std::string::npos) {
      const int sent = attacker.client().Send({topic, "x"});
      Expect(sent >= 0x80 || sent < 0, "could write to " + topic);
      ++refused;
    }
    if (attacker.client().over()) {
      attacker.Reboot();
    }
  }
  Expect(owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(owner, victim);
  return std::to_string(refused) + " subscriptions and messages refused";
}

}  // namespace

std::vector<Case> IdentityCases() {
  return {
      {"vin_alone_2016", "Nissan LEAF: threatpost.com 116497; scotthelme.co.uk", "T7", VinAloneWeak,
       VinAloneOurs},
      {"vin_for_a_token_2022", "SiriusXM: securityaffairs.com/139345", "T17", VinTokenWeak,
       VinTokenOurs},
      {"dealer_takeover_2024", "Kia: autonews.autoua.net; Subaru: cysecurity.news 2025/02",
       "T21 T22", DealerWeak, DealerOurs},
      {"operator_grants_himself_2025", "Zveare, DEF CON 2025: thedailytechfeed", "T25",
       ServerGrantsWeak, ServerGrantsOurs},
      {"one_key_for_all_2015", "BMW ConnectedDrive, ADAC: automobilwoche.de", "T3", OneKeyWeak,
       OneKeyOurs},
      {"error_names_the_car_2015", "BMW ConnectedDrive, ADAC: slashdot 4184029 (heise)", "T3",
       ErrorNamesWeak, ErrorNamesOurs},
      {"universal_password_2023", "Nexx, CVE-2023-1748: CISA ICSA-23-094-01", "T20",
       UniversalPasswordWeak, UniversalPasswordOurs},
      {"default_password_2022", "MiCODUS, CVE-2022-2107: CISA ICSA-22-200-01", "T16 T14",
       DefaultPasswordWeak, DefaultPasswordOurs},
      {"lock_out_the_owner_2014", "BMW i3: pentestpartners.com bmw-i3-password-issues", "T1",
       LockOutWeak, LockOutOurs},
      {"enumeration_oracle_2014", "BMW i3: theregister.com/2014/05/27; LEAF: scotthelme.co.uk",
       "T1 T7", OracleWeak, OracleOurs},
      {"previous_owner_2017", "IBM Henderson: jalopnik 1792534479; JLR: motorists.org", "T10",
       PreviousOwnerWeak, PreviousOwnerOurs},
      {"car_writes_to_car_2015", "Jeep: wired via southfloridareporter", "T6", ForeignCarsWeak,
       ForeignCarsOurs},
  };
}

}  // namespace latchkey::attacks
