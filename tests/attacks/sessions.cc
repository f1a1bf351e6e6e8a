// Sessions: whose they are, and what they still get when a right is gone.
#include <csignal>
#include <fstream>

#include <sys/resource.h>

#include "latchkey/v1/state.pb.h"
#include "proto/topic.h"
#include "tests/attacks/actors.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

// Revokes a user of the naive broker for as long as it lives.
class Revoked {
 public:
  Revoked(World& world, const std::string& user) : path_(world.Naive().folder() / "revoked") {
    std::ofstream(path_) << user << "\n";
  }

  ~Revoked() { std::ofstream(path_) << ""; }

  Revoked(const Revoked&) = delete;
  Revoked& operator=(const Revoked&) = delete;

 private:
  std::filesystem::path path_;
};

// A car with an owner and an ex on its ring; the ex can be taken off.
struct Scene {
  explicit Scene(World& world)
      : owner(world, world.Ours()),
        ex(world, world.Ours()),
        car(world, world.Ours(),
            {{owner.Public(), v1::ROLE_OWNER}, {ex.Public(), v1::ROLE_DRIVER}}) {
    car.Wake();
    Expect(owner.SignIn() == 0, "sign-in");
  }

  void Remove() {
    ExpectEqual(owner.Try(car, Seal(owner.key(), car.ref(), RemoveKey(ex.id()))), "DONE",
                "RemoveKey");
  }

  // A speed, published by the car at once.
  void Drive(double speed) {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(testing::UnixMs()));
    state.set_sequence(++sequence);
    state.mutable_drive()->mutable_speed()->set_value(static_cast<float>(speed));
    ExpectEqual(car.client().Send({Topic(), state.SerializeAsString(), 1, Retain::kYes, 0}), 0,
                "a state of the car");
  }

  // Signs the ex in to its resting session, past the end of connections that the removal brought.
  void ExReturns() {
    Expect(ex.SignIn(true) == 0, "sign-in");
    if (ex.client().Ended(milliseconds(300)) != testing::kNoAnswer) {
      Expect(ex.SignIn(true) == 0, "sign-in");
    }
  }

  std::string Topic() const { return StateTopic(car.ref(), Group::kDrive); }

  Handset owner;
  Handset ex;
  LiveCar car;
  uint64_t sequence = 1'000'000;
};

// --- Client ids

std::string ClientIdWeak(World& world) {
  RawOptions options = world.Open().As("car-of-alice");
  options.clean = false;
  options.session_expiry_s = 600;
  const auto victim = Dial(options);
  victim->Subscribe(NaiveCar::Topic("ALICE"));
  const auto thief = Dial(options);  // the same client id, no right to it
  Expect(victim->Ended(milliseconds(3000)) != testing::kNoAnswer, "the victim stayed connected");
  Dial(world.Open().As("alice"))->Send({NaiveCar::Topic("ALICE"), "code 4711"});
  Expect(thief->Next().has_value(), "the thief got nothing");
  options.clean = true;
  Dial(options);
  return "threw the car out and got its messages";
}

std::string ClientIdOurs(World& world) {
  Scene s(world);
  Cell& cell = world.Ours();
  LiveCar other(world, cell, {});
  int refused = 0;
  std::vector<std::string> ids = {s.car.ref().ToText(),
                                  s.owner.id().str() + "/test",
                                  s.owner.id().str(),
                                  "bridge/latchkey",
                                  "demo/operator/olga",
                                  "demo/registrar",
                                  "administrator/root",
                                  "",
                                  "auto-"};
  for (const std::string& id : ids) {
    RawOptions phone = s.ex.Options();
    phone.client_id = id;
    RawOptions car = cell.AsCar(other.ref());
    car.client_id = id;
    for (RawOptions* options : {&phone, &car}) {
      for (const int version : {5, 4}) {
        if (options == &phone && (id.empty() || id == "auto-")) {
          continue;  // the broker makes a phone's up
        }
        options->version = version;
        RawClient thief(*options);
        const int code = thief.Connect();
        Expect(code != 0, "let in as \"" + id + "\"");
        ++refused;
      }
    }
  }
  Expect(s.car.client().Ping() && s.owner.client().Ping(), "a victim was thrown out");
  OwnerStillGetsThrough(s.owner, s.car);
  return std::to_string(refused) + " thefts refused; car and owner stayed connected";
}

// --- Subscriptions

std::string KeptWeak(World& world) {
  const auto service = Dial(world.Naive().As("service", "service"));
  RawOptions options = world.Naive().As("ex-durable", "ex");
  options.clean = false;
  options.session_expiry_s = 600;
  {
    const auto ex = Dial(options);
    Expect(ex->Subscribe("car/ex/state") <= 2, "could not subscribe");
    ex->Disconnect();
  }
  const Revoked revoked(world, "ex");
  const auto ex = Dial(options);
  Expect(ex->Subscribe("car/ex/other") >= 0x80, "the revocation does nothing at all");
  service->Send({"car/ex/state", "after the revocation"});
  Expect(ex->NextOn("car/ex/state").has_value(), "the subscription was gone");
  return "the durable session kept its subscription";
}

std::string KeptOurs(World& world) {
  Scene s(world);
  Expect(s.ex.SignIn(true) == 0, "sign-in");
  Expect(s.ex.client().Subscribe(s.Topic()) == 1, "the ex cannot read while it may");
  Expect(s.owner.client().Subscribe(s.Topic()) == 1, "the owner cannot read");
  s.Drive(10);
  Expect(s.ex.client().NextOn(s.Topic()).has_value(), "control: the ex reads while it may");
  s.ex.client().Disconnect();
  s.Remove();
  s.ExReturns();
  s.Drive(20);
  Expect(s.owner.client().NextOn(s.Topic()).has_value(), "control: the owner reads");
  Expect(!s.ex.client().NextOn(s.Topic(), milliseconds(300)), "the ex still reads");
  Expect(s.ex.client().Ping(), "the ex was not even connected");
  ExpectEqual(Hex(s.ex.client().Subscribe(s.Topic())), Hex(kNotAuthorized), "subscribing again");
  OwnerStillGetsThrough(s.owner, s.car);
  return "nothing arrives on the kept subscription; a new one is 0x87";
}

std::string QueuedWeak(World& world) {
  const auto service = Dial(world.Naive().As("service", "service"));
  RawOptions options = world.Naive().As("ex-queue", "ex");
  options.clean = false;
  options.session_expiry_s = 600;
  {
    const auto ex = Dial(options);
    Expect(ex->Subscribe("car/ex/state") <= 2, "could not subscribe");
    ex->Disconnect();
  }
  service->Send({"car/ex/state", "parked at 48.1,11.5"});
  const Revoked revoked(world, "ex");
  service->Send({"car/ex/state", "parked at 48.2,11.6"});
  const auto ex = Dial(options);
  int got = 0;
  while (ex->NextOn("car/ex/state", milliseconds(500))) {
    ++got;
  }
  ExpectEqual(got, 2, "messages delivered after the revocation");
  return "two messages waited for the revoked session";
}

std::string QueuedOurs(World& world) {
  Scene s(world);
  Expect(s.ex.SignIn(true) == 0, "sign-in");
  Expect(s.ex.client().Subscribe(s.Topic()) == 1, "the ex cannot read while it may");
  RawOptions durable = s.owner.Options();
  durable.client_id = s.owner.id().str() + "/durable";
  durable.clean = false;
  durable.session_expiry_s = 600;
  {
    const auto control = Dial(durable);
    Expect(control->Subscribe(s.Topic()) == 1, "the owner cannot read");
    control->Disconnect();
  }
  s.ex.client().Disconnect();
  for (int i = 0; i < 30; ++i) {  // more than the 20 that may be in flight
    s.Drive(i);
  }
  s.Remove();
  s.Drive(99);
  Expect(s.ex.SignIn(true) == 0, "sign-in");
  const auto control = Dial(durable);
  Expect(control->NextOn(s.Topic()).has_value(), "control: nothing waited for the owner");
  Expect(!s.ex.client().NextOn(s.Topic(), milliseconds(300)), "something waited for the ex");
  if (s.ex.client().over()) {  // the end of connections that the removal brought met the new one
    Expect(s.ex.SignIn(true) == 0, "sign-in");
    Expect(!s.ex.client().NextOn(s.Topic(), milliseconds(300)), "something waited for the ex");
  }
  Expect(s.ex.client().Ping(), "the ex was not even connected");
  OwnerStillGetsThrough(s.owner, s.car);
  return "31 states waited for the owner, none for the removed key";
}

std::string InFlightWeak(World& world) {
  const auto service = Dial(world.Naive().As("service", "service"));
  RawOptions options = world.Naive().As("ex-flight", "ex");
  options.clean = false;
  options.session_expiry_s = 600;
  options.acknowledge = testing::Acknowledge::kNo;
  auto ex = Dial(options);
  Expect(ex->Subscribe("car/ex/state") <= 2, "could not subscribe");
  for (int i = 0; i < 40; ++i) {
    service->Send({"car/ex/state", std::to_string(i)});
  }
  while (ex->Next(milliseconds(100))) {
  }
  const Revoked revoked(world, "ex");
  service->Send({"car/ex/state", "after the revocation"});
  ex.reset();
  options.acknowledge = testing::Acknowledge::kYes;
  ex = Dial(options);
  int got = 0;
  while (ex->Next(milliseconds(200))) {
    ++got;
  }
  Expect(got > 20, "only " + std::to_string(got) + " came");
  return std::to_string(got) + " came after the revocation, 20 of them in flight before";
}

std::string InFlightOurs(World& world) {
  Scene s(world);
  RawOptions stuck = s.ex.Options();
  stuck.clean = false;
  stuck.session_expiry_s = 600;
  stuck.acknowledge = testing::Acknowledge::kNo;
  auto ex = Dial(stuck);
  Expect(ex->Subscribe(s.Topic()) == 1, "the ex cannot read while it may");
  for (int i = 0; i < 40; ++i) {
    s.Drive(i);
  }
  while (ex->Next(milliseconds(100))) {
  }
  s.Remove();
  Expect(ex->Ended(milliseconds(5000)) != testing::kNoAnswer, "the ex stays connected");
  s.Drive(99);
  stuck.acknowledge = testing::Acknowledge::kYes;
  ex = Dial(stuck);
  int got = 0;
  bool newer = false;
  while (const auto message = ex->Next(milliseconds(300))) {
    v1::StateGroup state;
    newer =
        newer || (state.ParseFromString(message->payload) && state.drive().speed().value() > 20);
    ++got;
  }
  Expect(!newer, "something that had not been sent before the removal arrived");
  ExpectEqual(got, 0, "copies delivered again after the removal");
  OwnerStillGetsThrough(s.owner, s.car);
  return "kicked; on return neither the queue nor copies in flight";
}

// --- Rights that end

std::string EndedWeak(World& world) {
  const auto service = Dial(world.Naive().As("service", "service"));
  const auto renter = Dial(world.Naive().As("renter", "renter"));
  Expect(renter->Subscribe("car/renter/state") <= 2, "could not subscribe");
  const Revoked returned(world, "renter");  // the car was returned
  service->Send({"car/renter/state", "the next renter is at 48.1,11.5"});
  Expect(renter->NextOn("car/renter/state").has_value(), "nothing came");
  return "the live subscription went on after the right had ended";
}

std::string EndedOurs(World& world) {
  Scene s(world);
  Expect(s.owner.client().Subscribe(s.Topic()) == 1, "the owner cannot read");
  s.car.EndKeyAt(s.ex.id(), ReadClocks().wall + std::chrono::milliseconds(1500));
  Expect(s.ex.SignIn() == 0, "sign-in");
  Expect(s.ex.client().Subscribe(s.Topic()) == 1, "cannot read while it may");
  s.Drive(1);
  Expect(s.ex.client().NextOn(s.Topic()).has_value(), "control: it reads while it may");
  const Sealed unlock = Seal(s.ex.key(), s.car.ref(), Unlock(), std::chrono::seconds(50));
  const std::string who = s.ex.id().str();
  Expect(testing::Eventually([&] { return s.ex.client().Subscribe(s.Topic()) == kNotAuthorized; },
                             milliseconds(4000)),
         "the right does not end");
  ExpectRefusal(
      world.Ours(), [&] { return s.ex.client().Subscribe(s.Topic()); }, kNotAuthorized, "subscribe",
      "outside_window", who);
  while (s.ex.client().Next(milliseconds(50))) {  // what its subscriptions brought in time
  }
  s.Drive(2);
  Expect(s.owner.client().NextOn(s.Topic()).has_value(), "control: the owner reads");
  Expect(!s.ex.client().NextOn(s.Topic(), milliseconds(300)), "it reads on");
  ExpectEqual(Hex(s.ex.Command(s.car.ref(), unlock)), Hex(kNotAuthorized),
              "a command signed before");
  s.car.Give({CommandTopic(s.car.ref(), s.ex.id()), unlock.bytes});
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  ExpectEqual(s.car.Refused(v1::REASON_OUTSIDE_WINDOW), uint64_t{1}, "OUTSIDE_WINDOW in the car");
  OwnerStillGetsThrough(s.owner, s.car);
  return "OUTSIDE_WINDOW in broker and car; the live subscription falls silent";
}

// --- QoS 2

std::string Qos2Weak(World& world) {
  const auto car = Dial(world.Naive().As("service", "service"));
  Expect(car->Subscribe("car/VIN0007/command") <= 2, "could not listen");
  RawOptions options = world.Naive().As("ex-qos2", "ex");
  options.clean = false;
  options.session_expiry_s = 600;
  auto ex = Dial(options);
  const testing::RawAnswer begun = ex->SendQos2Begin({"car/VIN0007/command", "unlock", 2});
  Expect(begun.code == 0, "PUBREC " + Hex(begun.code));
  const Revoked revoked(world, "ex");
  ex = Dial(options);
  ex->Release(begun.id);
  Expect(car->NextOn("car/VIN0007/command").has_value(), "it was not forwarded");
  return "PUBLISH, revoked, reconnected, PUBREL: delivered";
}

std::string Qos2Ours(World& world) {
  Scene s(world);
  Expect(s.ex.SignIn(true) == 0, "sign-in");
  const std::string lane = CommandTopic(s.car.ref(), s.ex.id());
  const Sealed unlock = Seal(s.ex.key(), s.car.ref(), Unlock(), std::chrono::seconds(50));
  const testing::RawAnswer begun = s.ex.client().SendQos2Begin({lane, unlock.bytes, 2});
  ExpectEqual(Hex(begun.code), Hex(0), "PUBREC");
  s.Remove();
  Expect(s.ex.client().Ended(milliseconds(5000)) != testing::kNoAnswer, "the ex stays connected");
  Expect(s.ex.SignIn(true) == 0, "sign-in");
  const auto watcher = AsServer(world, world.Ours(), world.FreshName());
  Expect(watcher->Subscribe(lane) == 1, "cannot watch");
  Expect(watcher->Subscribe(CommandTopic(s.car.ref(), s.owner.id())) == 1, "cannot watch");
  ExpectEqual(Hex(s.ex.client().Release(begun.id)), Hex(0), "PUBCOMP");
  s.ex.client().Send({lane, unlock.bytes, 2});
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  ExpectEqual(s.car.Refused(v1::REASON_NOT_ON_RING), uint64_t{0},
              "commands of the removed key that reached the car");
  return "released after the removal: it does not reach the car";
}

std::string Qos2LiveOurs(World& world) {
  // The same without a reconnect, in the moment between the ring and the end of the connection.
  Scene s(world);
  Expect(s.ex.SignIn() == 0, "sign-in");
  const std::string lane = CommandTopic(s.car.ref(), s.ex.id());
  const Sealed unlock = Seal(s.ex.key(), s.car.ref(), Unlock(), std::chrono::seconds(50));
  const testing::RawAnswer begun = s.ex.client().SendQos2Begin({lane, unlock.bytes, 2});
  ExpectEqual(Hex(begun.code), Hex(0), "PUBREC");
  car::Memory memory = car::LoadMemory(s.car.memory_bytes(), s.car.ref()).value();
  KeyRing ring = memory.ring;
  ++ring.version;
  ring.keys.erase(ring.keys.begin() + 1);
  ExpectEqual(s.car.client().Send({KeyRingTopic(s.car.ref()),
                                   SealKeyRing(ring, s.car.key(), s.car.certificate_der()), 1,
                                   Retain::kYes, 0}),
              0, "the ring without the ex");
  s.ex.client().Release(begun.id);
  s.car.Hear(milliseconds(100));
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  OwnerStillGetsThrough(s.owner, s.car);
  return "released on the live connection: it does not reach the car";
}

std::string Qos2LiveWeak(World& world) {
  const auto car = Dial(world.Naive().As("service", "service"));
  Expect(car->Subscribe("car/VIN0008/command") <= 2, "could not listen");
  const auto ex = Dial(world.Naive().As("ex-qos2-live", "ex"));
  const testing::RawAnswer begun = ex->SendQos2Begin({"car/VIN0008/command", "unlock", 2});
  const Revoked revoked(world, "ex");
  ex->Release(begun.id);
  Expect(car->NextOn("car/VIN0008/command").has_value(), "it was not forwarded");
  return "PUBLISH, revoked, PUBREL: delivered";
}

// --- SIGHUP

std::string SighupWeak(World& world) {
  RawOptions options = world.Naive().As("once-only", "VIN0005");
  options.password = "once";
  const auto car = Dial(options);
  world.Naive().process().Signal(SIGHUP);
  Expect(car->Ended(milliseconds(5000)) != testing::kNoAnswer, "it stayed connected");
  RawClient again(options);
  Expect(again.Connect() != 0, "it could sign in again");
  return "one reload threw out all who had one-time passwords";
}

// Takes the broker's free file descriptors away while it lives.
class NoDescriptors {
 public:
  explicit NoDescriptors(pid_t pid) : pid_(pid) {
    ::prlimit(pid_, RLIMIT_NOFILE, nullptr, &before_);
    const rlimit few{4, before_.rlim_max};
    ::prlimit(pid_, RLIMIT_NOFILE, &few, nullptr);
  }

  ~NoDescriptors() { ::prlimit(pid_, RLIMIT_NOFILE, &before_, nullptr); }

  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  pid_t pid_;
  rlimit before_{};
};

std::string SighupOurs(World& world) {
  const std::unique_ptr<Cell> own = world.MakeCell();
  Cell& cell = *own;
  Handset owner(world, cell);
  Handset stranger(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0 && stranger.SignIn() == 0, "sign-in");
  const std::string state = StateTopic(car.ref(), Group::kBody);
  const auto reload = [&](const std::string& awaited) {
    const size_t before = cell.BrokerLog().size();
    cell.broker().Signal(SIGHUP);
    const auto said = [&] { return cell.BrokerLog().substr(before); };
    const bool heard = testing::Eventually(
        [&] { return said().find(awaited) != std::string::npos; }, milliseconds(5000));
    Expect(cell.broker().Running(), "the broker is down after SIGHUP: " + said());
    Expect(heard, "after SIGHUP the broker said: " + said());
  };
  for (int i = 0; i < 3; ++i) {
    reload("latchkey trust fleets=1");
    ExpectEqual(Hex(stranger.client().Subscribe(state)), Hex(kNotAuthorized), "a stranger reads");
  }
  {
    const NoDescriptors none(cell.broker().pid());
    reload("rror");  // of the broker or of the plugin: it cannot read its files
    ExpectEqual(Hex(stranger.client().Subscribe(state)), Hex(kNotAuthorized),
                "a stranger reads, with no file descriptors left");
    ExpectEqual(Hex(stranger.Command(car.ref(), Seal(stranger.key(), car.ref(), Unlock()))),
                Hex(kNotAuthorized), "a stranger writes");
    OwnerStillGetsThrough(owner, car);
  }
  RawOptions wrong = stranger.Options();
  wrong.password = "x";
  ExpectEqual(Hex(RawClient(wrong).Connect()), Hex(kNotAuthorized), "CONNECT");
  OwnerStillGetsThrough(owner, car);
  return "four reloads, one without file descriptors: all stay as they were";
}

// --- SUBSCRIBE and UNSUBSCRIBE in odd order

std::string StormWeak(World& world) {
  const auto broker = world.MakePlain("storm", "allow_anonymous true\n");
  const auto client = Dial(broker->As("storm"));
  for (int i = 0; i < 100; ++i) {
    client->SubscribeAll({{"$share/g/a", 2, 0}, {"a", 1, 4}, {"$share/g/a", 0, 0}});
    client->Unsubscribe("$share/g/a");
    client->Unsubscribe("$share/other/a");
  }
  Expect(broker->process().Running(), "it fell over: then this row is wrong");
  return "fixed in 2.0.19, and in Debian's 2.0.11";
}

std::string StormOurs(World& world) {
  Scene s(world);
  const auto staff = AsOperator(world, world.Ours(), "demo", Bit(v1::PERMISSION_READ_BODY));
  const std::string shared = "$share/g/lk/1/demo/+/state/body";
  for (int i = 0; i < 60; ++i) {
    staff->SubscribeAll({{shared, 2, 0}, {"lk/1/demo/+/state/body", 1, 4}, {shared, 0, 0}});
    staff->SubscribeAll({{shared, 1, 4}});  // no local on a shared one: a protocol error
    if (staff->over()) {
      Expect(staff->Connect() == 0, "sign-in");
    }
    staff->Unsubscribe(shared);
    staff->Unsubscribe("$share/other/lk/1/demo/+/state/body");
    staff->Unsubscribe("lk/1/#");
  }
  Expect(world.Ours().broker().Running(), "the broker is down");
  OwnerStillGetsThrough(s.owner, s.car);
  return "300 crossed SUBSCRIBE and UNSUBSCRIBE: nobody falls over";
}

}  // namespace

std::vector<Case> SessionCases() {
  return {
      {"client_id_theft", "MQTT 5.0 section 3.1.4 [MQTT-3.1.4-3]", "T9", ClientIdWeak,
       ClientIdOurs},
      {"subscription_kept_after_revocation", "CVE-2021-34434", "CVE-2021-34434 T10 T26", KeptWeak,
       KeptOurs},
      {"queued_for_a_revoked_session", "CVE-2021-34434; Henderson: jalopnik 1792534479",
       "CVE-2021-34434 T10", QueuedWeak, QueuedOurs},
      {"in_flight_after_revocation", "CVE-2021-34434 (window of 20 not checked again)",
       "CVE-2021-34434", InFlightWeak, InFlightOurs},
      {"right_that_ended_2017", "IBM Henderson: jalopnik 1792534479 (access goes on)", "T10",
       EndedWeak, EndedOurs},
      {"qos2_released_after_revocation", "Mosquitto 2.0.12 change log", "2.0.12-QoS2 T26", Qos2Weak,
       Qos2Ours},
      {"qos2_released_on_a_live_link", "Mosquitto 2.0.12 change log; MQTT 5.0 section 4.3.3",
       "2.0.12-QoS2", Qos2LiveWeak, Qos2LiveOurs},
      {"reload_resets_security", "CVE-2017-7652", "CVE-2017-7652", SighupWeak, SighupOurs},
      {"subscribe_storm", "CVE-2024-8376", "CVE-2024-8376", StormWeak, StormOurs,
       Weak::kRefusedToo},
  };
}

}  // namespace latchkey::attacks
