// Pairing: who did not see the screen, who guesses, who repeats, who stands between, who is in a
// hurry.
#include "latchkey/v1/pairing.pb.h"
#include "proto/topic.h"
#include "tests/attacks/actors.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

struct Scene {
  explicit Scene(World& world) : car(world, world.Ours(), {}) { car.Wake(); }

  LiveCar car;
};

std::unique_ptr<Handset> SignedIn(World& world) {
  auto phone = std::make_unique<Handset>(world, world.Ours());
  Expect(phone->SignIn() == 0, "sign-in");
  return phone;
}

// A claim with the right tag and a proof that is a guess: the tag is in every claim the server
// sees.
std::string Guess(const PairingOffer& offer, const Handset& phone) {
  v1::PairingClaim claim;
  claim.ParseFromString(MakeClaim(offer, phone.Public(), RandomBytes(16), "guess"));
  claim.set_proof(RandomBytes(32));
  return claim.SerializeAsString();
}

int SendClaim(Handset& phone, const CarRef& ref, const std::string& claim) {
  return phone.client().Send({PairingTopic(ref, phone.id()), claim});
}

// The reason of the answer to a claim; "paired" when there is none.
std::string AnswerTo(Handset& phone, LiveCar& car, const std::string& claim) {
  const std::string topic = PairingAnswerTopic(car.ref(), phone.id());
  phone.client().Subscribe(topic);
  const int code = SendClaim(phone, car.ref(), claim);
  if (code != 0) {
    return Hex(code);
  }
  const Instant end = ReadClocks().mono + milliseconds(3000);
  while (ReadClocks().mono < end) {
    car.Hear(milliseconds(10));
    const auto message = phone.client().Next(milliseconds(10));
    v1::PairingAnswer answer;
    if (message && message->topic == topic && answer.ParseFromString(message->payload)) {
      return answer.reason() == v1::REASON_UNSPECIFIED ? "paired"
                                                       : v1::Reason_Name(answer.reason());
    }
  }
  return "nothing";
}

void OwnerStillPairs(World& world, LiveCar& car, const PairingOffer& offer) {
  world.SetCase(8000 + static_cast<int>(ReadClocks().wall.ms % 1000));  // the owner is elsewhere
  const auto owner = SignedIn(world);
  ExpectEqual(AnswerTo(*owner, car, MakeClaim(offer, owner->Public(), RandomBytes(16), "owner")),
              "paired", "the owner's claim");
  OwnerStillGetsThrough(*owner, car);
}

// --- Saw the car, not the screen

std::string PlateWeak(World& world) {
  std::string owner = "alice";
  NaiveService service(world.Open().As("plates"), [&](const Publish& request) {
    owner = request.payload.substr(request.payload.find(' ') + 1);  // "plate person"
    return std::vector<Publish>{};
  });
  Dial(world.Open().As("passer-by"))->Send({"api/pair", "M-AB-123 mallory"});
  Expect(service.Serve() && owner == "mallory", "not paired");
  return "a licence plate was enough, in 30 s";
}

std::string PlateOurs(World& world) {
  Scene s(world);
  const PairingOffer offer = s.car.ShowOffer();
  PairingOffer guessed = offer;
  for (int i = 0; i < 4; ++i) {
    const auto passer_by = SignedIn(world);
    guessed.secret = RandomBytes(kPairingSecretBytes);
    ExpectEqual(
        AnswerTo(*passer_by, s.car, MakeClaim(guessed, passer_by->Public(), RandomBytes(16), "x")),
        "REASON_NO_OFFER", "a claim without the secret");
  }
  ExpectEqual(s.car.asked(), 0, "questions to the person in the car");
  Expect(!s.car.offer_over(), "the owner's offer is gone");
  OwnerStillPairs(world, s.car, offer);
  return "NO_OFFER, nobody is asked, the offer stands";
}

// --- Brute force

std::string PinWeak(World& world) {
  const std::string pin = "2741";
  NaiveCar car(world.Open().As("my-vw"), "VW",
               [&](const Publish& command) { return command.payload == "pair " + pin; });
  const auto attacker = Dial(world.Open().As("attacker"));
  int tries = 0;
  for (; tries < 10000; ++tries) {
    std::string guess = std::to_string(tries);
    guess.insert(0, 4 - guess.size(), '0');
    attacker->Send({NaiveCar::Topic("VW"), "pair " + guess, 0});
    if (tries % 100 == 99) {
      attacker->Ping();
    }
    if (car.Hear(milliseconds(1000))) {
      break;
    }
  }
  ExpectEqual(car.did().size(), size_t{1}, "pairings by guessing");
  return "4 digits, no limit: paired at try " + std::to_string(tries + 1);
}

std::string PinOurs(World& world) {
  Scene s(world);
  const PairingOffer offer = s.car.ShowOffer();
  const auto attacker = SignedIn(world);
  for (int i = 0; i < kOfferTriesMax; ++i) {
    ExpectEqual(AnswerTo(*attacker, s.car, Guess(offer, *attacker)), "REASON_BAD_PROOF",
                "guess " + std::to_string(i + 1));
  }
  Expect(s.car.offer_over(), "three wrong proofs did not burn the secret");
  // Now even the right one is too late.
  const auto other = SignedIn(world);
  ExpectEqual(AnswerTo(*other, s.car, MakeClaim(offer, other->Public(), RandomBytes(16), "x")),
              "REASON_NO_OFFER", "the right proof after the secret was burnt");
  ExpectEqual(s.car.asked(), 0, "questions to the person in the car");
  OwnerStillPairs(world, s.car, s.car.ShowOffer());
  return "128 bits and three tries: BAD_PROOF, then NO_OFFER";
}

std::string ParallelWeak(World& world) {
  std::map<std::string, int> tries;  // the limit is kept by connection
  NaiveCar car(world.Open().As("per-client"), "LIMIT", [&](const Publish& command) {
    const std::string who = command.payload.substr(0, 3);
    return ++tries[who] <= 3 && command.payload.substr(4) == "17";
  });
  for (int i = 0; i < 7; ++i) {
    const auto client = Dial(world.Open().As("many-" + std::to_string(i)));
    for (int k = 0; k < 3; ++k) {
      client->Send(
          {NaiveCar::Topic("LIMIT"), "c0" + std::to_string(i) + " " + std::to_string(i * 3 + k)});
      car.Hear(milliseconds(200));
    }
  }
  ExpectEqual(car.did().size(), size_t{1}, "pairings by guessing");
  return "three tries for each of seven connections";
}

std::string ParallelOurs(World& world) {
  Scene s(world);
  const PairingOffer offer = s.car.ShowOffer();
  std::vector<std::unique_ptr<Handset>> attackers;
  for (int i = 0; i < 12; ++i) {
    attackers.push_back(SignedIn(world));
    SendClaim(*attackers.back(), s.car.ref(), Guess(offer, *attackers.back()));
  }
  Expect(testing::Eventually(
             [&] {
               s.car.Hear();
               return s.car.Refused(v1::REASON_NO_OFFER) >= 9;
             },
             milliseconds(5000)),
         "the claims did not arrive");
  ExpectEqual(s.car.Refused(v1::REASON_BAD_PROOF), uint64_t{3}, "guesses that counted");
  ExpectEqual(s.car.asked(), 0, "questions to the person in the car");
  OwnerStillPairs(world, s.car, s.car.ShowOffer());
  return "12 keys, 12 connections: three guesses in all, then NO_OFFER";
}

// --- Keep the owner out

std::string BurnWeak(World& world) {
  int wrong = 0;
  NaiveCar car(world.Open().As("burn"), "BURN", [&](const Publish& command) {
    const bool right = command.payload == "pair 123456";
    wrong += right ? 0 : 1;
    return right && wrong < 3;
  });
  const auto stranger = Dial(world.Open().As("stranger"));
  for (int i = 0; i < 3; ++i) {
    stranger->Send({NaiveCar::Topic("BURN"), "pair 0"});
    car.Hear(milliseconds(200));
  }
  Dial(world.Open().As("owner"))->Send({NaiveCar::Topic("BURN"), "pair 123456"});
  Expect(!car.Hear(milliseconds(300)), "the owner could still pair");
  return "three wrong guesses by a stranger kept the owner out";
}

std::string BurnOurs(World& world) {
  Scene s(world);
  const PairingOffer offer = s.car.ShowOffer();
  PairingOffer wrong = offer;
  int sent = 0;
  int limited = 0;
  for (int i = 0; i < 4; ++i) {
    const auto stranger = SignedIn(world);
    for (int k = 0; k < 12; ++k) {
      wrong.secret = RandomBytes(kPairingSecretBytes);
      const int code = SendClaim(*stranger, s.car.ref(),
                                 MakeClaim(wrong, stranger->Public(), RandomBytes(16), "x"));
      ++sent;
      limited += code == kNotAuthorized ? 1 : 0;
    }
  }
  s.car.Hear();
  Expect(!s.car.offer_over(), "a stranger burnt the offer");
  Expect(limited > sent / 2, "claims are not rate-limited: " + std::to_string(limited) + " of " +
                                 std::to_string(sent) + " refused");
  OwnerStillPairs(world, s.car, offer);
  return std::to_string(sent) + " strange claims, " + std::to_string(limited) +
         " stopped by the rate; the offer stands, the owner pairs";
}

// --- Repeat

std::string RepeatedClaimWeak(World& world) {
  NaiveCar car(world.Open().As("claims"), "CLAIMS",
               [](const Publish& command) { return command.payload == "pair secret as me"; });
  const auto attacker = Dial(world.Open().As("attacker"));
  attacker->Subscribe(NaiveCar::Topic("CLAIMS"));
  Dial(world.Open().As("owner"))->Send({NaiveCar::Topic("CLAIMS"), "pair secret as me"});
  const auto recorded = attacker->Next();
  Expect(recorded && car.Hear(), "nothing to record");
  attacker->Send(*recorded);
  Expect(car.Hear(), "the repeat was not taken");
  return "a recorded claim paired the attacker";
}

std::string RepeatedClaimOurs(World& world) {
  Scene s(world);
  const PairingOffer offer = s.car.ShowOffer();
  const auto owner = SignedIn(world);
  const auto attacker = SignedIn(world);
  const std::string claim = MakeClaim(offer, owner->Public(), RandomBytes(16), "owner");
  // On the attacker's own lane; with the attacker's key put in.
  ExpectRefusal(
      world.Ours(), [&] { return SendClaim(*attacker, s.car.ref(), claim); }, kNotAuthorized,
      "message", "wrong_lane", s.car.ref().car.str());
  v1::PairingClaim changed;
  changed.ParseFromString(claim);
  changed.set_public_key(attacker->Public().ToPoint());
  ExpectEqual(AnswerTo(*attacker, s.car, changed.SerializeAsString()), "REASON_BAD_PROOF",
              "the owner's proof with the attacker's key");
  ExpectEqual(AnswerTo(*owner, s.car, claim), "paired", "the owner's claim");
  const uint64_t version = s.car.ring().version;
  // Again by the server, after it was used; and at the next offer.
  s.car.Give({PairingTopic(s.car.ref(), owner->id()), claim});
  s.car.ShowOffer();
  s.car.Give({PairingTopic(s.car.ref(), owner->id()), claim});
  ExpectEqual(s.car.ring().version, version, "version of the ring after the repeats");
  ExpectEqual(s.car.asked(), 1, "questions to the person in the car");
  OwnerStillGetsThrough(*owner, s.car);
  return "WRONG_LANE; another key BAD_PROOF; repeats change nothing";
}

// --- In between

std::string BetweenWeak(World& world) {
  const auto app = Dial(world.Open().As("app"));
  app->Subscribe("phone/app/paired");
  Dial(world.Open().As("in-between"))->Send({"phone/app/paired", "ok: your car's key is MINE"});
  const auto answer = app->Next();
  Expect(answer.has_value(), "no answer");
  return "the app believed the server's word for the car's key";
}

std::string BetweenOurs(World& world) {
  Scene s(world);
  Cell& cell = world.Ours();
  const PairingOffer offer = s.car.ShowOffer();
  const auto phone = SignedIn(world);
  const std::string nonce = RandomBytes(16);
  const std::string claim = MakeClaim(offer, phone->Public(), nonce, "anna");
  // The server answers in the car's place, with a car of its own making; it has seen the claim.
  const auto [der, key] =
      testing::Issue(CarIdentity{s.car.ref()}, cell.FleetCa("demo"), ReadClocks().wall);
  const KeyRing ring{
      s.car.ref(), 9, ReadClocks().wall, {testing::OnRing(phone->Public(), v1::ROLE_OWNER)}};
  PairingOffer guessed = offer;
  guessed.secret = RandomBytes(kPairingSecretBytes);
  const Claim seen{phone->Public(), nonce, "anna"};
  const std::string forged = MakeAnswer(guessed, seen, SealKeyRing(ring, key, der));
  const auto judge = [&](const std::string& answer) {
    return testing::Said(CheckAnswer(answer, offer, phone->Public(), nonce, "anna"));
  };
  ExpectEqual(judge(forged), "REASON_BAD_PROOF", "the phone and the server's answer");
  // Somebody else's claim, answered with the car's true answer to another.
  ExpectEqual(judge(MakeAnswer(offer, {phone->Public(), RandomBytes(16), "anna"},
                               SealKeyRing(ring, key, der))),
              "REASON_WRONG_LANE", "an answer to another claim");
  // And nobody but the car may write there.
  const auto stranger = SignedIn(world);
  ExpectEqual(Hex(stranger->client().Send({PairingAnswerTopic(s.car.ref(), phone->id()), forged})),
              Hex(kNotAuthorized), "an answer from a stranger");
  const auto server = AsServer(world, cell, world.FreshName());
  ExpectEqual(Hex(server->Send({PairingAnswerTopic(s.car.ref(), phone->id()), forged})),
              Hex(kNotAuthorized), "an answer from a bridge");
  ExpectEqual(AnswerTo(*phone, s.car, claim), "paired", "the car's own answer");
  return "BAD_PROOF in the phone; others may not write an answer: 0x87";
}

// --- In a hurry

std::string WindowWeak(World& world) {
  bool unlocked = false;
  NaiveCar car(world.Open().As("model3"), "MODEL3", [&](const Publish& command) {
    if (command.payload == "card: drive") {
      unlocked = true;  // and for 130 s any key may be added, without a word on the screen
      return false;
    }
    return unlocked && command.payload == "add key mallory";
  });
  Dial(world.Open().As("owner"))->Send({NaiveCar::Topic("MODEL3"), "card: drive"});
  car.Hear(milliseconds(500));
  Dial(world.Open().As("attacker"))->Send({NaiveCar::Topic("MODEL3"), "add key mallory"});
  Expect(car.Hear(), "no key was added");
  return "unlocked for driving, open for enrolment";
}

std::string WindowOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0, "sign-in");
  ExpectEqual(owner.Try(car, Seal(owner.key(), car.ref(), Unlock())), "DONE", "the owner's unlock");
  const auto attacker = SignedIn(world);
  PairingOffer guess{"h", 1, cell.name(), car.ref(), RandomBytes(kPairingSecretBytes)};
  ExpectEqual(AnswerTo(*attacker, car, MakeClaim(guess, attacker->Public(), RandomBytes(16), "x")),
              "REASON_NO_OFFER", "a claim while the car is unlocked");
  const Sealed add = Seal(attacker->key(), car.ref(), AddKey(attacker->Public(), v1::ROLE_OWNER));
  ExpectEqual(Hex(attacker->Command(car.ref(), add)), Hex(kNotAuthorized), "an AddKey of its own");
  car.Give({CommandTopic(car.ref(), attacker->id()), add.bytes});
  ExpectEqual(car.ring().keys.size(), size_t{1}, "keys on the ring");
  // An enrolment that is allowed is seen at once by all who hold a key.
  const std::string ring_topic = KeyRingTopic(car.ref());
  Expect(owner.client().Subscribe(ring_topic) == 1, "the owner cannot see its ring");
  Expect(owner.client().NextOn(ring_topic).has_value(), "no ring");
  const PairingOffer offer = car.ShowOffer(v1::ROLE_DRIVER);
  const Instant began = ReadClocks().mono;
  ExpectEqual(
      AnswerTo(*attacker, car, MakeClaim(offer, attacker->Public(), RandomBytes(16), "driver")),
      "paired", "a claim with the secret and a yes");
  Expect(owner.client().NextOn(ring_topic).has_value(), "the owner was not told");
  Expect(ReadClocks().mono - began < std::chrono::seconds(1), "the owner was told late");
  OwnerStillGetsThrough(owner, car);
  return "NO_OFFER while unlocked; an enrolment reaches every key's phone within 1 s";
}

std::string NobodyAskedWeak(World& world) {
  NaiveCar car(world.Open().As("photo"), "PHOTO",
               [](const Publish& command) { return command.payload == "pair code-on-the-screen"; });
  Dial(world.Open().As("through-the-window"))
      ->Send({NaiveCar::Topic("PHOTO"), "pair code-on-the-screen"});
  Expect(car.Hear(), "not paired");
  return "whoever photographed the code was in";
}

std::string NobodyAskedOurs(World& world) {
  Scene s(world);
  const auto attacker = SignedIn(world);
  PairingOffer offer = s.car.ShowOffer();
  s.car.PersonSays(car::Confirm::Word::kNo);
  ExpectEqual(
      AnswerTo(*attacker, s.car, MakeClaim(offer, attacker->Public(), RandomBytes(16), "stranger")),
      "REASON_DECLINED", "the right code, and the person says no");
  s.car.PersonSays(std::nullopt);  // nobody answers
  offer = s.car.ShowOffer();
  SendClaim(*attacker, s.car.ref(), MakeClaim(offer, attacker->Public(), RandomBytes(16), "x"));
  Expect(testing::Eventually(
             [&] {
               s.car.Hear();
               return s.car.asked() == 2;
             },
             milliseconds(3000)),
         "nobody was asked");
  // Five minutes later a yes is too late.
  s.car.SetClock(std::chrono::minutes(6));
  s.car.Step(car::Tick{});
  s.car.Step(car::Confirm{car::Confirm::Word::kYes});
  s.car.SetClock(Duration(0));
  ExpectEqual(s.car.ring().keys.size(), size_t{0}, "keys on the ring");
  s.car.PersonSays(car::Confirm::Word::kYes);
  // The car's time does not go back with its clock: the next owner comes after that.
  return "DECLINED; without an answer the offer ends after five minutes";
}

// --- Invitations on paper

// A service that gives the car to whoever has the code of its letter.
std::string LetterTwiceWeak(World& world) {
  std::vector<std::string> owners;
  NaiveService service(world.Open().As("letters"), [&](const Publish& request) {
    if (request.payload.rfind("K7-22-1904 ", 0) == 0) {
      owners.push_back(request.payload.substr(11));
    }
    return std::vector<Publish>{};
  });
  Dial(world.Open().As("owner"))->Send({"api/activate", "K7-22-1904 alice"});
  Expect(service.Serve(), "no activation");
  Dial(world.Open().As("thief"))->Send({"api/activate", "K7-22-1904 mallory"});
  Expect(service.Serve() && owners.size() == 2, "the code worked once only");
  return "the letter from the waste paper let a second one in";
}

std::string LetterTwiceOurs(World& world) {
  Scene s(world);
  const PairingOffer letter = s.car.Invites(ReadClocks().wall + std::chrono::hours(24 * 90));
  const auto owner = SignedIn(world);
  const std::string claim = MakeClaim(letter, owner->Public(), RandomBytes(16), "owner");
  ExpectEqual(AnswerTo(*owner, s.car, claim), "paired", "the owner's letter");
  const auto thief = SignedIn(world);
  ExpectEqual(AnswerTo(*thief, s.car, MakeClaim(letter, thief->Public(), RandomBytes(16), "x")),
              "REASON_NO_OFFER", "the letter, used up");
  // The owner's own bytes, on the thief's lane and on the owner's.
  const std::string repeated = AnswerTo(*thief, s.car, claim);
  Expect(repeated != "paired", "the owner's claim on another's lane: " + repeated);
  s.car.Give({PairingTopic(s.car.ref(), owner->id()), claim});
  s.car.Reboot();
  ExpectEqual(AnswerTo(*thief, s.car, MakeClaim(letter, thief->Public(), RandomBytes(16), "x")),
              "REASON_NO_OFFER", "the letter after a reboot");
  ExpectEqual(s.car.ring().keys.size(), size_t{1}, "keys on the ring");
  ExpectEqual(s.car.asked(), 1, "questions to the person in the car");
  OwnerStillGetsThrough(*owner, s.car);
  return "NO_OFFER to the copy and to the owner's repeated claim, over a reboot, too";
}

std::string LetterStolenWeak(World& world) {
  std::string owner;
  NaiveService service(world.Open().As("first"), [&](const Publish& request) {
    if (owner.empty() && request.payload.rfind("K7-22-1904 ", 0) == 0) {
      owner = request.payload.substr(11);
    }
    return std::vector<Publish>{};
  });
  Dial(world.Open().As("postman"))->Send({"api/activate", "K7-22-1904 mallory"});
  Expect(service.Serve(), "no activation");
  Dial(world.Open().As("owner"))->Send({"api/activate", "K7-22-1904 alice"});
  Expect(service.Serve() && owner == "mallory", "the thief was too late");
  return "who opened the letter first had the car, from afar";
}

std::string LetterStolenOurs(World& world) {
  Scene s(world);
  const PairingOffer letter = s.car.Invites(ReadClocks().wall + std::chrono::hours(24 * 90));
  s.car.PersonSays(car::Confirm::Word::kNo);  // the owner sits in the car and has not sent this
  const auto thief = SignedIn(world);
  ExpectEqual(AnswerTo(*thief, s.car, MakeClaim(letter, thief->Public(), RandomBytes(16), "x")),
              "REASON_DECLINED", "the thief's claim, and the person in the car says no");
  ExpectEqual(AnswerTo(*thief, s.car, MakeClaim(letter, thief->Public(), RandomBytes(16), "y")),
              "REASON_NO_OFFER", "the thief's second claim");
  ExpectEqual(s.car.asked(), 1, "questions to the person in the car");
  ExpectEqual(s.car.ring().keys.size(), size_t{0}, "keys on the ring");
  s.car.PersonSays(car::Confirm::Word::kYes);
  OwnerStillPairs(world, s.car, s.car.ShowOffer());
  return "DECLINED by the person in the car; the letter is used up, the screen pairs";
}

std::string LetterElsewhereWeak(World& world) {
  std::map<std::string, std::string> owners;
  NaiveService service(world.Open().As("any"), [&](const Publish& request) {
    std::istringstream words(request.payload);
    std::string code;
    std::string car;
    std::string who;
    words >> code >> car >> who;
    if (code == "K7-22-1904") {  // of whichever car
      owners[car] = who;
    }
    return std::vector<Publish>{};
  });
  Dial(world.Open().As("buyer"))->Send({"api/activate", "K7-22-1904 VIN-OF-ANOTHER mallory"});
  Expect(service.Serve() && owners["VIN-OF-ANOTHER"] == "mallory", "the car was checked");
  return "a letter for one car activated another";
}

std::string LetterElsewhereOurs(World& world) {
  Scene mine(world);
  Scene s(world);
  const Timestamp now = ReadClocks().wall;
  PairingOffer letter = mine.car.Invites(now + std::chrono::hours(24 * 90));
  s.car.Invites(now + std::chrono::hours(24 * 90));
  const auto buyer = SignedIn(world);
  const auto tries = [&](const PairingOffer& offer) {
    return AnswerTo(*buyer, s.car, MakeClaim(offer, buyer->Public(), RandomBytes(16), "x"));
  };
  ExpectEqual(tries(letter), "REASON_NO_OFFER", "the letter of another car");
  letter.ref = s.car.ref();  // altered by hand
  ExpectEqual(tries(letter), "REASON_NO_OFFER", "the letter, with this car's name in it");
  letter.secret[0] = static_cast<char>(letter.secret[0] ^ 1);
  ExpectEqual(tries(letter), "REASON_NO_OFFER", "the letter, with another secret");
  ExpectEqual(tries(s.car.Invites(now - std::chrono::hours(1))), "REASON_NO_OFFER",
              "a letter that is over");
  ExpectEqual(s.car.asked(), 0, "questions to the person in the car");
  ExpectEqual(s.car.ring().keys.size(), size_t{0}, "keys on the ring");
  OwnerStillPairs(world, s.car, s.car.Invites(now + std::chrono::hours(24 * 90)));
  return "NO_OFFER: of another car, altered, over; nobody is asked, and the right one works";
}

}  // namespace

std::vector<Case> PairingCases() {
  return {
      {"paired_by_licence_plate_2024", "Kia: interest.co.nz; greenbot", "T21", PlateWeak,
       PlateOurs},
      {"brute_force_of_the_code_2025", "My Volkswagen: html.it; linuxmint.hu", "T24", PinWeak,
       PinOurs},
      {"brute_force_in_parallel", "My Volkswagen: html.it (no limit over connections)", "T24",
       ParallelWeak, ParallelOurs},
      {"stranger_burns_the_code", "BMW i3: pentestpartners.com (lock-out as denial of service)",
       "T1", BurnWeak, BurnOurs},
      {"repeated_claim", "Outlander PHEV: pentestpartners.com (replay)", "T8", RepeatedClaimWeak,
       RepeatedClaimOurs},
      {"server_answers_for_the_car_2015", "OwnStar: packetstorm 25688 (man in the middle)", "T4",
       BetweenWeak, BetweenOurs},
      {"unlocking_opens_enrolment_2022", "Tesla NFC, Herfurt: teslanorth.com/2022/06/09", "T15",
       WindowWeak, WindowOurs},
      {"photographed_the_code", "Tesla NFC, Herfurt: Ars via pipedot 6051C (no approval)", "T15",
       NobodyAskedWeak, NobodyAskedOurs},
      {"letter_used_again", "a weakness of activation codes: they are known to whoever saw them",
       "T24", LetterTwiceWeak, LetterTwiceOurs},
      {"letter_stolen_on_its_way", "a weakness of activation codes: the first one gets the car",
       "T21", LetterStolenWeak, LetterStolenOurs},
      {"letter_of_another_car", "Kia: greenbot (a code or plate is not bound to car and person)",
       "T21", LetterElsewhereWeak, LetterElsewhereOurs},
  };
}

}  // namespace latchkey::attacks
