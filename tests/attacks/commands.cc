// Commands: recorded, repeated, reordered, delayed, changed, forged, for another car.
#include <set>

#include "latchkey/v1/receipt.pb.h"
#include "proto/topic.h"
#include "tests/attacks/actors.h"
#include "tests/support/hex.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

using std::chrono::seconds;

// A car awake with its owner signed in, and the whole server in the attacker's hands.
struct Scene {
  explicit Scene(World& world)
      : owner(world, world.Ours()), car(world, world.Ours(), {{owner.Public(), v1::ROLE_OWNER}}) {
    car.Wake();
    Expect(owner.SignIn() == 0, "the owner cannot sign in");
    server = AsServer(world, world.Ours(), world.FreshName());
  }

  std::string Lane() const { return CommandTopic(car.ref(), owner.id()); }

  Sealed Make(const v1::Command& action, Duration lives = seconds(30), Duration ago = Duration(0)) {
    return Seal(owner.key(), car.ref(), action, lives, ago);
  }

  Handset owner;
  LiveCar car;
  std::unique_ptr<RawClient> server;
};

// --- Replay

std::string ReplayWeak(World& world) {
  NaiveCar car(world.Open().As("outlander"), "PHEV");
  const auto attacker = Dial(world.Open().As("attacker"));
  attacker->Subscribe(NaiveCar::Topic("PHEV"));
  const auto owner = Dial(world.Open().As("owner"));
  owner->Send({NaiveCar::Topic("PHEV"), "alarm off"});
  const auto recorded = attacker->Next();
  Expect(recorded && car.Hear(), "nothing to record");
  attacker->Send(*recorded);
  Expect(car.Hear(), "the replay did not act");
  return "recorded once, alarm off twice";
}

std::string ReplayOurs(World& world) {
  Scene s(world);
  const Sealed unlock = s.Make(Unlock());
  ExpectEqual(s.owner.Try(s.car, unlock), "DONE", "the owner's unlock");
  for (int i = 0; i < 3; ++i) {
    s.server->Send({s.Lane(), unlock.bytes});         // who reads along
    s.owner.client().Send({s.Lane(), unlock.bytes});  // the phone's own resend
    s.car.Give({s.Lane(), unlock.bytes});             // a broker in the attacker's hands
  }
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted("unlock"), 1, "unlocks");
  ExpectEqual(s.car.Refused(v1::REASON_DUPLICATE), uint64_t{9}, "DUPLICATE in the car");
  return "nine replays, one unlock: DUPLICATE, the receipt is repeated";
}

std::string ReplayRebootWeak(World& world) {
  std::set<std::string> seen;  // in memory, gone with the power
  NaiveCar car(world.Open().As("reboot"), "REBOOT",
               [&](const Publish& command) { return seen.insert(command.payload).second; });
  const auto attacker = Dial(world.Open().As("attacker"));
  const Publish recorded{NaiveCar::Topic("REBOOT"), "unlock nonce=1"};
  attacker->Send(recorded);
  Expect(car.Hear(), "the first did not act");
  attacker->Send(recorded);
  Expect(!car.Hear(milliseconds(200)), "the car has no memory at all");
  seen.clear();
  attacker->Send(recorded);
  Expect(car.Hear(), "the replay after the reboot did not act");
  return "its memory was gone after the reboot: unlocked again";
}

std::string ReplayRebootOurs(World& world) {
  Scene s(world);
  const Sealed unlock = s.Make(Unlock(), seconds(55));
  ExpectEqual(s.owner.Try(s.car, unlock), "DONE", "the owner's unlock");
  for (int i = 0; i < 2; ++i) {
    s.car.Reboot();
    s.server->Send({s.Lane(), unlock.bytes});
    s.car.Give({s.Lane(), unlock.bytes});
  }
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted("unlock"), 1, "unlocks");
  return "two reboots, four replays: DUPLICATE";
}

std::string ReplayRingWeak(World& world) {
  std::set<std::string> seen;
  NaiveCar car(world.Open().As("newkey"), "NEWKEY", [&](const Publish& command) {
    if (command.payload == "keys changed") {
      seen.clear();  // new keys, new counters
      return false;
    }
    return seen.insert(command.payload).second;
  });
  const auto attacker = Dial(world.Open().As("attacker"));
  const Publish recorded{NaiveCar::Topic("NEWKEY"), "unlock nonce=1"};
  attacker->Send(recorded);
  Expect(car.Hear(), "the first did not act");
  attacker->Send({NaiveCar::Topic("NEWKEY"), "keys changed"});
  car.Hear();
  attacker->Send(recorded);
  Expect(car.Hear(), "the replay did not act");
  return "counters began anew with the keys: unlocked again";
}

std::string ReplayRingOurs(World& world) {
  Scene s(world);
  Handset guest(world, world.Ours());
  Expect(guest.SignIn() == 0, "sign-in");
  const auto add = [&] {
    ExpectEqual(s.owner.Try(s.car, s.Make(AddKey(guest.Public(), v1::ROLE_DRIVER))), "DONE",
                "AddKey");
  };
  add();
  const Sealed unlock = Seal(guest.key(), s.car.ref(), Unlock(), seconds(55));
  ExpectEqual(guest.Try(s.car, unlock), "DONE", "the guest's unlock");
  ExpectEqual(s.owner.Try(s.car, s.Make(RemoveKey(guest.id()))), "DONE", "RemoveKey");
  const std::string lane = CommandTopic(s.car.ref(), guest.id());
  s.car.Give({lane, unlock.bytes});
  add();  // the guest is back: what it signed before is no younger for that
  s.car.Give({lane, unlock.bytes});
  s.server->Send({lane, unlock.bytes});
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted("unlock"), 1, "unlocks");
  return "key removed and added again, replays do nothing: DUPLICATE";
}

// --- Order and time

std::string ReorderWeak(World& world) {
  NaiveCar car(world.Open().As("order"), "ORDER");
  const auto carrier = Dial(world.Open().As("carrier"));
  for (const char* late : {"lock", "unlock"}) {  // sent unlock, lock
    carrier->Send({NaiveCar::Topic("ORDER"), late});
    car.Hear();
  }
  Expect(car.did().size() == 2 && car.did().back() == "unlock", "the order was kept");
  return "held back and overtaken: left unlocked";
}

std::string ReorderOurs(World& world) {
  Scene s(world);
  const Sealed unlock = s.Make(Unlock(), seconds(30), seconds(2));
  const Sealed lock = s.Make(Lock());
  ExpectEqual(s.owner.Try(s.car, lock), "DONE", "the lock");
  ExpectEqual(s.owner.Try(s.car, unlock), "SUPERSEDED REASON_SUPERSEDED", "the earlier unlock");
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  OwnerStillGetsThrough(s.owner, s.car);
  return "the unlock sent before the lock ends SUPERSEDED";
}

std::string LateWeak(World& world) {
  const auto broker = world.MakePlain("late",
                                      "allow_anonymous true\npersistence true\n"
                                      "persistence_location " +
                                          (world.folder() / "late").string() + "/\n");
  RawOptions options = broker->As("sleeper");
  options.clean = false;
  options.session_expiry_s = 3600;
  {
    NaiveCar asleep(options, "LATE");
    asleep.client().Disconnect();
  }
  Dial(broker->As("owner"))->Send({NaiveCar::Topic("LATE"), "unlock"});
  broker->Restart();
  NaiveCar awake(options, "LATE");
  Expect(awake.Hear(), "the broker kept nothing");
  return "kept by the broker, obeyed when the car woke";
}

std::string LateOurs(World& world) {
  Scene s(world);
  const Sealed brief = s.Make(Unlock(), seconds(1));
  s.car.Sleep();
  ExpectEqual(s.owner.Command(s.car.ref(), brief), 0, "the command in its time");
  Expect(testing::Eventually(
             [&] { return Hex(s.owner.Command(s.car.ref(), brief)) == Hex(kNotAuthorized); },
             milliseconds(4000)),
         "the broker still takes it after its expiry");
  s.car.Wake();
  s.server->Send({s.Lane(), brief.bytes});
  s.car.Give({s.Lane(), brief.bytes});
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  ExpectEqual(s.car.Refused(v1::REASON_EXPIRED), uint64_t{1}, "EXPIRED in the car");
  return "0x87 at the broker after its expiry; handed over past it: EXPIRED";
}

std::string PhoneClockWeak(World& world) {
  NaiveCar car(world.Open().As("clock"), "CLOCK", [](const Publish& command) {
    return std::stoll(command.payload.substr(7)) > testing::UnixMs();  // the sender says until when
  });
  const auto attacker = Dial(world.Open().As("attacker"));
  attacker->Send({NaiveCar::Topic("CLOCK"), "unlock " + std::to_string(testing::UnixMs() * 2)});
  Expect(car.Hear(), "not believed");
  return "dated into the year 2080: good for ever";
}

std::string PhoneClockOurs(World& world) {
  Scene s(world);
  Cell& cell = world.Ours();
  const std::string car = s.car.ref().car.str();
  const Sealed ahead = s.Make(Unlock(), seconds(30), -std::chrono::minutes(10));
  ExpectRefusal(
      cell, [&] { return s.owner.Command(s.car.ref(), ahead); }, kNotAuthorized, "message",
      "lifetime_too_long", car);
  const Sealed behind = s.Make(Unlock(), seconds(30), std::chrono::minutes(10));
  ExpectRefusal(
      cell, [&] { return s.owner.Command(s.car.ref(), behind); }, kNotAuthorized, "message",
      "expired", car);
  // A life longer than its class may have, as our own code would not make it.
  v1::SignedCommand outer;
  outer.ParseFromString(s.Make(Unlock()).bytes);
  v1::Command body;
  body.ParseFromString(outer.command());
  body.set_expires_at_ms(body.issued_at_ms() + 86'400'000);
  const std::string eternal = testing::SignCommandBody(body.SerializeAsString(), s.owner.key());
  ExpectRefusal(
      cell, [&] { return s.owner.client().Send({s.Lane(), eternal}); }, kNotAuthorized, "message",
      "lifetime_too_long", car);
  for (const std::string& bytes : {ahead.bytes, behind.bytes, eternal}) {
    s.car.Give({s.Lane(), bytes});
  }
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  OwnerStillGetsThrough(s.owner, s.car);
  return "LIFETIME_TOO_LONG ahead, EXPIRED behind, in broker and car";
}

std::string CarClockWeak(World& world) {
  int64_t clock = 1000;
  NaiveCar car(world.Open().As("ntp"), "NTP", [&](const Publish& command) {
    return std::stoll(command.payload.substr(7)) > clock;
  });
  const auto attacker = Dial(world.Open().As("attacker"));
  const Publish old{NaiveCar::Topic("NTP"), "unlock 500"};
  attacker->Send(old);
  Expect(!car.Hear(milliseconds(200)), "it was not expired");
  clock = 100;  // a false time server
  attacker->Send(old);
  Expect(car.Hear(), "not believed");
  return "its clock set back, an expired unlock acted";
}

std::string CarClockOurs(World& world) {
  Scene s(world);
  const Sealed old = s.Make(Unlock(), seconds(20));
  s.car.SetClock(seconds(40));  // the car was later than this command once, and wrote it down
  ExpectEqual(s.owner.Try(s.car, s.Make(Lock(), std::chrono::minutes(5))), "DONE", "a lock");
  for (const Duration back : {Duration(0), Duration(-std::chrono::minutes(10)),
                              Duration(-std::chrono::hours(24 * 365 * 10))}) {
    s.car.SetClock(back);
    s.car.Give({s.Lane(), old.bytes});
    s.car.Reboot();
    s.car.Give({s.Lane(), old.bytes});
  }
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  s.car.SetClock(seconds(0));
  const Sealed good = s.Make(Flash(), seconds(59));
  ExpectEqual(s.owner.Try(s.car, good), "DONE", "the owner's flash");
  return "the time floor does not go back: EXPIRED at three false clocks";
}

std::string RollbackWeak(World& world) {
  int counter = 10;
  int last = -1;
  NaiveCar car(world.Open().As("civic"), "CIVIC", [&](const Publish& command) {
    const int given = std::stoi(command.payload.substr(7));
    const bool follows = given == last + 1;
    last = given;
    if (follows) {
      counter = given;  // two in a row: resynchronise, also backwards
    }
    return given > counter || follows;
  });
  const auto attacker = Dial(world.Open().As("attacker"));
  const auto send = [&](int code) {
    attacker->Send({NaiveCar::Topic("CIVIC"), "unlock " + std::to_string(code)});
    return car.Hear(milliseconds(300));
  };
  send(3);
  Expect(send(4), "two old codes in a row did not resynchronise");
  return "two old codes in a row set the counter back: unlocked";
}

std::string RollbackOurs(World& world) {
  Scene s(world);
  std::vector<Sealed> old;
  for (int i = 0; i < 8; ++i) {
    old.push_back(s.Make(Unlock(), seconds(50), Duration(9000 - i * 1000)));
  }
  for (const Sealed& each : old) {
    s.car.Give({s.Lane(), each.bytes});
  }
  ExpectEqual(s.car.Acted("unlock"), 8, "unlocks in their order");
  for (int round = 0; round < 5; ++round) {  // consecutive, backwards, in pairs, over reboots
    for (size_t i = 0; i < old.size(); ++i) {
      s.car.Give({s.Lane(), old[round % 2 == 0 ? i : old.size() - 1 - i].bytes});
      s.car.Give({s.Lane(), old[i].bytes});
    }
    s.car.Reboot();
  }
  ExpectEqual(s.car.Acted("unlock"), 8, "unlocks after 80 old ones");
  OwnerStillGetsThrough(s.owner, s.car);
  return "80 old commands in every order, over five reboots: DUPLICATE";
}

// --- Whose, and what

std::string OtherCarWeak(World& world) {
  const auto believes = [](const Publish& command) {
    return command.payload == "unlock signed-by-alice";  // the signature covers no car
  };
  NaiveCar b(world.Open().As("car-b"), "B", believes);
  const auto attacker = Dial(world.Open().As("attacker"));
  attacker->Subscribe(NaiveCar::Topic("A"));
  Dial(world.Open().As("alice"))->Send({NaiveCar::Topic("A"), "unlock signed-by-alice"});
  const auto recorded = attacker->Next();
  Expect(recorded.has_value(), "nothing to record");
  attacker->Send({NaiveCar::Topic("B"), recorded->payload});
  Expect(b.Hear(), "car B did not obey");
  return "a command signed for car A unlocked car B";
}

std::string OtherCarOurs(World& world) {
  Scene s(world);
  LiveCar other(world, world.Ours(), {{s.owner.Public(), v1::ROLE_OWNER}});
  other.Wake();
  const Sealed for_a = s.Make(Unlock());
  const std::string lane_b = CommandTopic(other.ref(), s.owner.id());
  ExpectRefusal(
      world.Ours(), [&] { return s.owner.client().Send({lane_b, for_a.bytes}); }, kNotAuthorized,
      "message", "wrong_car", other.ref().car.str());
  s.server->Send({lane_b, for_a.bytes});
  other.Give({lane_b, for_a.bytes});
  ExpectEqual(other.Acted("unlock"), 0, "unlocks of car B");
  Expect(other.Refused(v1::REASON_WRONG_CAR) >= 1, "WRONG_CAR in the car");
  OwnerStillGetsThrough(s.owner, other);
  return "WRONG_CAR in broker and car";
}

std::string UnsignedWeak(World& world) {
  NaiveCar dongle(world.Open().As("c4"), "C4");
  Dial(world.Open().As("anybody"))->Send({NaiveCar::Topic("C4"), "brakes on"});
  Expect(dongle.Hear(), "not obeyed");
  return "obeyed without any authentication";
}

std::string UnsignedOurs(World& world) {
  Scene s(world);
  const auto strip = [&](const std::string& signature) {
    v1::SignedCommand outer;
    outer.ParseFromString(s.Make(Unlock()).bytes);
    outer.set_signature(signature);
    return outer.SerializeAsString();
  };
  for (const std::string& signature : {std::string(), std::string(63, 's'), std::string(65, 's')}) {
    const std::string bytes = strip(signature);
    ExpectEqual(Hex(s.owner.client().Send({s.Lane(), bytes})), Hex(kNotAuthorized),
                "a signature of " + std::to_string(signature.size()) + " bytes");
    s.car.Give({s.Lane(), bytes});
  }
  for (const std::string& signature : {std::string(64, '\0'), std::string(64, '\xff')}) {
    s.owner.client().Send({s.Lane(), strip(signature)});
  }
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  ExpectEqual(s.car.Refused(v1::REASON_BAD_SIGNATURE), uint64_t{2}, "BAD_SIGNATURE in the car");
  return "none or of the wrong length 0x87; zeros: BAD_SIGNATURE in the car";
}

std::string AdministratorWeak(World& world) {
  NaiveCar police_car(world.Patterned().As("VIN0002", "VIN0002"), "VIN0002");
  const auto staff = Dial(world.Patterned().As("service", "service"));
  staff->Send({NaiveCar::Topic("VIN0002"), "starter off"});
  Expect(police_car.Hear(), "not obeyed");
  return "who owned the back office owned every car";
}

std::string AdministratorOurs(World& world) {
  Scene s(world);
  const PrivateKey server_key = PrivateKey::Generate();
  const Sealed own = Seal(server_key, s.car.ref(), Unlock());
  // On its own lane, on the owner's, and saying that the owner signed it.
  v1::SignedCommand outer;
  outer.ParseFromString(s.Make(Unlock()).bytes);
  const std::string posing = testing::SignCommandBody(outer.command(), server_key);
  s.server->Send({CommandTopic(s.car.ref(), server_key.Public().Id()), own.bytes});
  s.server->Send({s.Lane(), own.bytes});
  s.server->Send({s.Lane(), posing});
  s.car.Give({CommandTopic(s.car.ref(), server_key.Public().Id()), own.bytes});
  s.car.Give({s.Lane(), own.bytes});
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  Expect(s.car.Refused(v1::REASON_NOT_ON_RING) >= 1, "NOT_ON_RING in the car");
  Expect(s.car.Refused(v1::REASON_BAD_SIGNATURE) >= 1, "BAD_SIGNATURE in the car");
  // What it can do is keep back: and then nothing happens, which is safe.
  return "five commands by the server: NOT_ON_RING, WRONG_LANE, BAD_SIGNATURE";
}

std::string ChangedWeak(World& world) {
  NaiveCar car(world.Open().As("changed"), "CHANGED");
  const auto carrier = Dial(world.Open().As("carrier"));
  std::string payload = "lock";
  payload.insert(0, "un");
  carrier->Send({NaiveCar::Topic("CHANGED"), payload});
  Expect(car.Hear() && car.did().back() == "unlock", "not obeyed");
  return "lock became unlock on the way";
}

std::string ChangedOurs(World& world) {
  Scene s(world);
  const Sealed lock = s.Make(Lock(), std::chrono::minutes(5));
  int given = 0;
  testing::ForEachDamaged(lock.bytes, [&](const std::string& bytes) {
    s.car.Give({s.Lane(), bytes});
    ++given;
  });
  ExpectEqual(s.car.Acted(), 0, "acts on changed bytes");
  // The signature's other form (r, n - s) is a good signature of the same command: still one
  // command.
  ExpectEqual(s.owner.Try(s.car, lock), "DONE", "the unchanged lock");
  ExpectEqual(s.car.Acted("lock"), 1, "locks");
  OwnerStillGetsThrough(s.owner, s.car);
  return std::to_string(given) + " copies with a bit flipped or an end cut off: none acted";
}

// n - s of a P-256 signature, by schoolbook subtraction.
std::string OtherForm(const std::string& signature) {
  const std::string n =
      testing::FromHex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
  std::string other = signature;
  int borrow = 0;
  for (size_t i = 32; i-- > 0;) {
    int digit = static_cast<uint8_t>(n[i]) - static_cast<uint8_t>(signature[32 + i]) - borrow;
    borrow = digit < 0 ? 1 : 0;
    other[32 + i] = static_cast<char>(static_cast<uint8_t>(digit + borrow * 256));
  }
  return other;
}

std::string MalleableWeak(World& world) {
  std::set<std::string> seen;  // by the bytes of the whole message
  const PrivateKey owner = PrivateKey::Generate();
  NaiveCar car(world.Open().As("malleable"), "MALLEABLE", [&](const Publish& command) {
    return owner.Public().Verify("unlock 1", command.payload) &&
           seen.insert(command.payload).second;
  });
  const auto attacker = Dial(world.Open().As("attacker"));
  const std::string signature = owner.Sign("unlock 1");
  for (const std::string& each : {signature, OtherForm(signature)}) {
    attacker->Send({NaiveCar::Topic("MALLEABLE"), each});
    Expect(car.Hear(), "one of the two forms did not act");
  }
  return "the signature's other form was taken for another command";
}

std::string MalleableOurs(World& world) {
  Scene s(world);
  const Sealed unlock = s.Make(Unlock());
  ExpectEqual(s.owner.Try(s.car, unlock), "DONE", "the owner's unlock");
  v1::SignedCommand outer;
  outer.ParseFromString(unlock.bytes);
  outer.set_signature(OtherForm(outer.signature()));
  s.server->Send({s.Lane(), outer.SerializeAsString()});
  s.car.Give({s.Lane(), outer.SerializeAsString()});
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted("unlock"), 1, "unlocks");
  Expect(s.car.Refused(v1::REASON_DUPLICATE) >= 1, "DUPLICATE in the car");
  return "a command is known by its id, whatever form its signature has: DUPLICATE";
}

std::string ForgedReceiptWeak(World& world) {
  const auto phone = Dial(world.Open().As("phone"));
  phone->Subscribe("phone/alice/receipt");
  Dial(world.Open().As("attacker"))->Send({"phone/alice/receipt", "locked: done"});
  const auto receipt = phone->Next();
  Expect(receipt && receipt->payload == "locked: done", "no receipt came");
  return "the app showed \"locked\", the car knew nothing";
}

std::string ForgedReceiptOurs(World& world) {
  Scene s(world);
  const Sealed lock = s.Make(Lock(), std::chrono::minutes(5));
  const std::string topic = ReceiptTopic(s.car.ref(), s.owner.id());
  Expect(s.owner.client().Subscribe(topic) == 1, "cannot listen");
  const Outcome done =
      MakeOutcome(s.car.ref(), lock.id, v1::RECEIPT_STATE_DONE, v1::REASON_UNSPECIFIED,
                  ReadClocks().wall, v1::RECEIPT_SOURCE_CAR);
  const std::string forged = SealCarReceipt(done, PrivateKey::Generate());
  Handset stranger(world, world.Ours());
  Expect(stranger.SignIn() == 0, "sign-in");
  ExpectEqual(Hex(stranger.client().Send({topic, forged})), Hex(kNotAuthorized),
              "a receipt from a stranger");
  s.server->Send({topic, forged});
  const auto seen = s.owner.client().NextOn(topic);
  Expect(seen.has_value(), "the server's forgery did not arrive, so the phone judged nothing");
  const Result<Outcome> judged = OpenReceipt(seen->payload, s.car.ref(), s.car.key().Public());
  ExpectEqual(testing::Said(judged), "REASON_BAD_SIGNATURE", "the phone's judgement");
  // Nor may a bridge say what only the car knows.
  v1::Receipt by_bridge;
  by_bridge.ParseFromString(forged);
  v1::Outcome outcome;
  outcome.ParseFromString(by_bridge.outcome());
  outcome.set_source(v1::RECEIPT_SOURCE_BRIDGE);
  by_bridge.set_outcome(outcome.SerializeAsString());
  by_bridge.clear_signature();
  ExpectEqual(Hex(s.server->Send({topic, by_bridge.SerializeAsString()})), Hex(kNotAuthorized),
              "DONE from a bridge");
  ExpectEqual(s.owner.Try(s.car, lock), "DONE", "the car's own receipt");
  return "stranger 0x87; server's copy BAD_SIGNATURE in the phone; DONE by a bridge 0x87";
}

std::string GuestRightsWeak(World& world) {
  NaiveService service(world.Open().As("starlink"), [](const Publish& request) {
    // Whoever holds any account of the car may add users, silently.
    return std::vector<Publish>{{"users/added", request.payload}};
  });
  const auto guest = Dial(world.Open().As("guest"));
  guest->Subscribe("users/added");
  guest->Send({"api/users", "mallory as owner"});
  Expect(service.Serve() && guest->Next().has_value(), "no user was added");
  return "a guest made an owner";
}

std::string GuestRightsOurs(World& world) {
  Scene s(world);
  Handset guest(world, world.Ours());
  Handset driver(world, world.Ours());
  Handset friend_of_guest(world, world.Ours());
  Expect(guest.SignIn() == 0 && driver.SignIn() == 0, "sign-in");
  ExpectEqual(s.owner.Try(s.car, s.Make(AddKey(guest.Public(), v1::ROLE_GUEST))), "DONE", "AddKey");
  ExpectEqual(s.owner.Try(s.car, s.Make(AddKey(driver.Public(), v1::ROLE_DRIVER))), "DONE",
              "AddKey");
  const auto try_as = [&](Handset& who, const v1::Command& action) {
    return who.Try(s.car, Seal(who.key(), s.car.ref(), action));
  };
  const std::string no = "REFUSED REASON_NOT_PERMITTED";
  for (Handset* who : {&guest, &driver}) {
    ExpectEqual(try_as(*who, AddKey(friend_of_guest.Public(), v1::ROLE_GUEST)), no, "AddKey");
    ExpectEqual(try_as(*who, AddKey(who->Public(), v1::ROLE_OWNER)), no, "AddKey of oneself");
    ExpectEqual(try_as(*who, RemoveKey(s.owner.id())), no, "RemoveKey of the owner");
  }
  ExpectEqual(try_as(guest, Unlock()), no, "the guest's unlock");
  ExpectEqual(try_as(guest, Lock()), "DONE", "the guest's lock");
  ExpectEqual(Hex(guest.client().Subscribe(StateTopic(s.car.ref(), Group::kLocation))),
              Hex(kNotAuthorized), "the guest reads the location");
  ExpectEqual(s.car.ring().keys.size(), size_t{3}, "keys on the ring");
  return "NOT_PERMITTED six times in the car, 0x87 for the location";
}

}  // namespace

std::vector<Case> CommandCases() {
  return {
      {"replay_2016", "Outlander PHEV: pentestpartners.com hacking-the-mitsubishi-outlander",
       "T8 T20", ReplayWeak, ReplayOurs},
      {"replay_after_reboot", "Outlander PHEV: pentestpartners.com", "T8", ReplayRebootWeak,
       ReplayRebootOurs},
      {"replay_after_ring_change", "Tesla virtual key: vehicle-command #173", "T26", ReplayRingWeak,
       ReplayRingOurs},
      {"reordered", "MQTT 5.0 section 4.6: order is per topic and connection only", "", ReorderWeak,
       ReorderOurs},
      {"delivered_late_2014", "BMW ConnectedDrive: theregister.co.uk/2014/07/24", "", LateWeak,
       LateOurs},
      {"clock_of_the_phone", "MQTT 5.0 section 3.3.2.3.3: expiry is the sender's word", "",
       PhoneClockWeak, PhoneClockOurs},
      {"clock_of_the_car", "CVE-2021-46145: aothsa.com (state that goes back)", "T13", CarClockWeak,
       CarClockOurs},
      {"rolling_code_backwards_2022", "Rolling-PWN, CVE-2021-46145: riscure.com", "T13",
       RollbackWeak, RollbackOurs},
      {"command_of_another_car_2015", "BMW ConnectedDrive, ADAC: wiwo.de 11347360", "T3",
       OtherCarWeak, OtherCarOurs},
      {"unsigned_2015", "Metromile C4, CVE-2015-2906: kb.cert.org/vuls/id/209512", "T5",
       UnsignedWeak, UnsignedOurs},
      {"broker_administrator_2023", "Spireon: techspot.com 97197; itpro.com 369800", "T18",
       AdministratorWeak, AdministratorOurs},
      {"changed_on_the_way", "MQTT 5.0 section 5.4.5: integrity is the application's", "",
       ChangedWeak, ChangedOurs},
      {"signature_in_its_other_form", "FIPS 186-5: (r, n-s) verifies too", "", MalleableWeak,
       MalleableOurs},
      {"forged_receipt", "Zveare, DEF CON 2025: automotivenewshub (portal says, car does not know)",
       "T25", ForgedReceiptWeak, ForgedReceiptOurs},
      {"guest_adds_users_2024", "Subaru STARLINK: techzine 128083", "T22", GuestRightsWeak,
       GuestRightsOurs},
  };
}

}  // namespace latchkey::attacks
