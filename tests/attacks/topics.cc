// Topics, filters, wills, retained messages, properties: what a client can say to a broker about
// things that are not its own.
#include <fstream>

#include "latchkey/v1/control.pb.h"
#include "latchkey/v1/presence.pb.h"
#include "proto/blocks.h"
#include "proto/topic.h"
#include "tests/attacks/actors.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

struct Scene {
  explicit Scene(World& world)
      : owner(world, world.Ours()),
        stranger(world, world.Ours()),
        car(world, world.Ours(), {{owner.Public(), v1::ROLE_OWNER}}) {
    car.Wake();
    Expect(owner.SignIn() == 0 && stranger.SignIn() == 0, "sign-in");
  }

  std::string Lane() const { return CommandTopic(car.ref(), owner.id()); }

  Handset owner;
  Handset stranger;
  LiveCar car;
};

// --- Everything

std::string EverythingWeak(World& world) {
  const auto attacker = Dial(world.Open().As("scanner"));
  Expect(attacker->Subscribe("#") <= 2, "could not subscribe");
  Dial(world.Open().As("car"))->Send({"car/1/location", "48.1,11.5"});
  Expect(attacker->NextOn("car/1/location").has_value(), "saw nothing");
  return "anonymous, # saw every car";
}

std::string EverythingOurs(World& world) {
  Scene s(world);
  const auto staff = AsOperator(world, world.Ours(), "demo", AllGroups());
  int refused = 0;
  for (const char* filter :
       {"#", "+/#", "lk/#", "lk/+/#", "lk/1/#", "lk/1/+/#", "lk/1/+/+/state/+", "+/+/+/+/+/+",
        "$share/x/#", "$share/x/lk/1/#", "/#", "lk/1/rival/#"}) {
    for (RawClient* client :
         {&s.stranger.client(), &s.owner.client(), &s.car.client(), staff.get()}) {
      ExpectEqual(Hex(client->Subscribe(filter)), Hex(kNotAuthorized), filter);
      ++refused;
    }
  }
  RawOptions nobody = s.stranger.Options();
  nobody.user_name.reset();
  nobody.password.reset();
  ExpectEqual(Hex(RawClient(nobody).Connect()), Hex(kNotAuthorized), "CONNECT of nobody");
  OwnerStillGetsThrough(s.owner, s.car);
  // An administrator who switches anonymous clients on lets nobody in for that.
  const std::unique_ptr<Cell> own = world.MakeCell();
  own->broker().Stop();
  const std::filesystem::path conf = own->path() / "broker" / "mosquitto.conf";
  std::string text = testing::ReadAll(conf);
  const std::string no = "allow_anonymous false";
  Expect(text.find(no) != std::string::npos, "no such line in the configuration");
  text.replace(text.find(no), no.size(), "allow_anonymous true");
  std::ofstream(conf, std::ios::binary) << text;
  own->StartBroker();
  nobody.port = own->phone_port();
  ExpectEqual(Hex(RawClient(nobody).Connect()), Hex(kNotAuthorized), "CONNECT of nobody");
  return "0x87 for nobody and for " + std::to_string(refused) +
         " filters; also with allow_anonymous true";
}

std::string SharedWeak(World& world) {
  const auto service = Dial(world.Open().As("service"));
  const auto thief = Dial(world.Open().As("thief"));
  Expect(service->Subscribe("$share/ops/car/+/alarm") <= 2, "could not subscribe");
  Expect(thief->Subscribe("$share/ops/car/+/alarm") <= 2, "could not join the group");
  const auto car = Dial(world.Open().As("car"));
  for (int i = 0; i < 8; ++i) {
    car->Send({"car/1/alarm", std::to_string(i)});
  }
  Expect(thief->Next().has_value(), "nothing was taken");
  return "joined the group: took alarms away from the service";
}

std::string SharedOurs(World& world) {
  Scene s(world);
  LiveCar other(world, world.Ours(), {});
  other.Wake();
  const auto rival = AsOperator(world, world.Ours(), "rival", AllGroups());
  const std::string below = "$share/ops/lk/1/" + s.car.ref().ToText();
  for (const std::string& filter : {below + "/state/body", below + "/command/+", below + "/#",
                                    std::string("$share/ops/lk/1/demo/+/state/+"),
                                    std::string("$share//lk/1/demo/+/state/body"),
                                    std::string("$share/+/lk/1/demo/+/state/body"),
                                    std::string("$queue/lk/1/demo/+/state/body")}) {
    for (RawClient* client : {&s.stranger.client(), &other.client(), rival.get()}) {
      if (client->over()) {
        continue;
      }
      const int code = client->Subscribe(filter);
      Expect(code >= 0x80 || code < 0, "could subscribe to " + filter + ": " + Hex(code));
    }
  }
  const auto staff = AsOperator(world, world.Ours(), "demo", Bit(v1::PERMISSION_READ_BODY));
  ExpectEqual(staff->Subscribe(below + "/state/body"), 1, "an operator's own group, of its fleet");
  OwnerStillGetsThrough(s.owner, s.car);
  return "0x87 for phones, other cars and the other fleet's operator";
}

// --- The broker's own topics

std::string SysWeak(World& world) {
  const auto attacker = Dial(world.Open().As("scanner"));
  Expect(attacker->Subscribe("$SYS/#") <= 2, "could not subscribe");
  const auto version = attacker->NextOn("$SYS/broker/version");
  Expect(version.has_value(), "no version");
  return "read " + version->payload + ", clients, load";
}

std::string SysOurs(World& world) {
  Scene s(world);
  const auto staff = AsOperator(world, world.Ours(), "demo", AllGroups());
  for (RawClient* client :
       {&s.stranger.client(), &s.owner.client(), &s.car.client(), staff.get()}) {
    for (const char* filter : {"$SYS/#", "$SYS/broker/version", "$SYS/broker/latchkey/#",
                               "$SYS/+/+", "$SYS/broker/latchkey/blocks", "$share/x/$SYS/#"}) {
      ExpectEqual(Hex(client->Subscribe(filter)), Hex(kNotAuthorized), filter);
    }
    const int code = client->Send({"$SYS/broker/latchkey/blocks", "x", 1, Retain::kYes, 0});
    Expect(code >= 0x80 || code < 0, "could write $SYS: " + Hex(code));
  }
  if (s.car.client().over()) {
    s.car.Reboot();
  }
  if (s.owner.client().over()) {
    s.owner.SignIn();
  }
  OwnerStillGetsThrough(s.owner, s.car);
  return "0x87 for phones, cars, operators; nobody writes there";
}

// Block `key` everywhere, as only an administrator may say.
std::string BlockEverywhere(const KeyId& key) {
  v1::Control control;
  control.set_request_id(7);
  *control.mutable_merge_blocks()->add_blocks() = BlockToWire(
      {{key, {}, {}}, false, ReadClocks().wall, v1::BLOCK_CAUSE_ADMINISTRATOR, "test", {}});
  return control.SerializeAsString();
}

std::string ControlWeak(World& world) {
  // The dynamic security plugin, set up as its page shows, with an easy password.
  const std::filesystem::path folder = world.folder() / "dynsec";
  std::filesystem::create_directories(folder);
  const std::string file = (folder / "dynsec.json").string();
  testing::Run({"/usr/bin/mosquitto_ctrl", "dynsec", "init", file, "admin", "admin-pw"});
  const auto broker = world.MakePlain(
      "dynsec",
      "allow_anonymous false\nplugin "
      "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so\nplugin_opt_config_file " +
          file + "\n");
  const auto attacker = Dial(broker->As("attacker", "admin"));
  attacker->Subscribe("$CONTROL/dynamic-security/v1/response");
  attacker->Send(
      {"$CONTROL/dynamic-security/v1",
       R"({"commands":[{"command":"createClient","username":"mallory","password":"m"}]})"});
  const auto answer = attacker->NextOn("$CONTROL/dynamic-security/v1/response");
  Expect(answer && answer->payload.find("error") == std::string::npos, "no client was made");
  return "the admin's password granted a new client everything";
}

std::string ControlOurs(World& world) {
  Scene s(world);
  Cell& cell = world.Ours();
  const std::string topic(kControlTopic);
  const std::string block = BlockEverywhere(s.owner.id());
  const auto staff = AsOperator(world, cell, "demo", AllGroups());
  for (RawClient* client : {&s.stranger.client(), &s.car.client(), staff.get()}) {
    ExpectEqual(Hex(client->Send({topic, block})), Hex(kNotAuthorized), "$CONTROL");
    ExpectEqual(Hex(client->Subscribe(std::string(kControlAnswerTopic))), Hex(kNotAuthorized),
                "answers of $CONTROL");
    ExpectEqual(Hex(client->Subscribe("$CONTROL/#")), Hex(kNotAuthorized), "$CONTROL/#");
    ExpectEqual(Hex(client->Send({"$CONTROL/dynamic-security/v1", "{}"})), Hex(kNotAuthorized),
                "another $CONTROL");
  }
  OwnerStillGetsThrough(s.owner, s.car);
  // And who may say it can only take away: a lifted block gives a stranger nothing.
  RawOptions options =
      cell.WithCertificate(AdministratorIdentity{"root"}, cell.CellCa(), "administrator/root");
  options.source_address = world.address();
  const auto administrator = Dial(options);
  v1::Control lift;
  lift.ParseFromString(BlockEverywhere(s.stranger.id()));
  lift.mutable_merge_blocks()->mutable_blocks(0)->set_lifted(true);
  ExpectEqual(administrator->Send({topic, lift.SerializeAsString()}), 0,
              "the administrator's lift");
  ExpectEqual(Hex(s.stranger.client().Subscribe(StateTopic(s.car.ref(), Group::kBody))),
              Hex(kNotAuthorized), "a stranger whose block was lifted");
  const Sealed unlock = Seal(s.stranger.key(), s.car.ref(), Unlock());
  for (const std::string& lane : {CommandTopic(s.car.ref(), s.stranger.id()), s.Lane()}) {
    ExpectEqual(Hex(administrator->Send({lane, unlock.bytes})), Hex(kNotAuthorized),
                "an administrator's command");
  }
  for (const char* filter : {"lk/1/#", "$SYS/#", "$CONTROL/#"}) {
    ExpectEqual(Hex(administrator->Subscribe(filter)), Hex(kNotAuthorized), filter);
  }
  ExpectEqual(administrator->Send({topic, block}), 0, "the administrator's block");
  Expect(s.owner.client().Ended(milliseconds(5000)) != testing::kNoAnswer,
         "control: the administrator's block did nothing");
  return "0x87; an administrator can only subtract, reads and commands nothing";
}

// --- The other broker

std::string PeerWeak(World& world) {
  const auto attacker = Dial(world.Open().As("peer/b2"));
  Expect(attacker->Subscribe("#") <= 2, "could not listen");
  NaiveCar car(world.Open().As("peer-car"), "PEER");
  Expect(attacker->Send({NaiveCar::Topic("PEER"), "unlock", 1, Retain::kNo, 0}) == 0, "PUBACK");
  Expect(car.Hear(), "the car did nothing");
  return "a client that called itself the other broker read all and commanded";
}

// Nobody but a peer speaks as one, and nobody but an administrator moves anybody.
void ExpectNoPeer(RawClient& client, const CarRef& ref) {
  v1::PeerWord word;
  word.set_broker("b2");
  v1::Control move;
  move.mutable_move_clients()->set_percent(100);
  move.mutable_move_clients()->set_per_second(1000);
  v1::Presence gone;
  gone.set_broker("b2");
  gone.set_since_ms(1);
  const std::string peer(kPeerTopic);
  ExpectEqual(Hex(client.Send({peer, word.SerializeAsString(), 1, Retain::kNo, 0})),
              Hex(kNotAuthorized), "a peer's word");
  ExpectEqual(Hex(client.Subscribe(peer)), Hex(kNotAuthorized), "peers' words");
  ExpectEqual(Hex(client.Send({std::string(kControlTopic), move.SerializeAsString()})),
              Hex(kNotAuthorized), "an order to move");
  ExpectEqual(Hex(client.Send({PresenceTopic(ref), gone.SerializeAsString(), 1, Retain::kYes, 0})),
              Hex(kNotAuthorized), "presence");
}

std::string PeerOurs(World& world) {
  Scene s(world);
  Cell& cell = world.Ours();
  const auto staff = AsOperator(world, cell, "demo", AllGroups());
  for (RawClient* client :
       {&s.stranger.client(), &s.owner.client(), &s.car.client(), staff.get()}) {
    ExpectNoPeer(*client, s.car.ref());
  }
  // Nor does anybody get in under its name: not as a phone, not with another's certificate.
  RawOptions as_phone = s.stranger.Options();
  as_phone.client_id = "peer/b2";
  RawOptions named = s.stranger.Options();
  named.user_name = "peer:b2";
  RawOptions as_car = cell.AsCar(testing::Ref("demo", "peer-thief"));
  as_car.client_id = "peer/b2";
  const RawOptions by_fleet =
      cell.WithCertificate(PeerIdentity{"b2"}, cell.FleetCa("demo"), "peer/b2");
  for (const RawOptions& options : {as_phone, named, as_car, by_fleet}) {
    ExpectEqual(Hex(RawClient(options).Connect()), Hex(kNotAuthorized), "CONNECT as a peer");
  }
  // The bridge's certificate moves nobody either; it hears so.
  const auto bridge =
      Dial(cell.WithCertificate(BridgeIdentity{"mover"}, cell.CellCa(), "bridge/mover"));
  v1::Control move;
  move.mutable_move_clients()->set_percent(100);
  move.mutable_move_clients()->set_per_second(1000);
  bridge->Send({std::string(kControlTopic), move.SerializeAsString()});
  const auto answer = bridge->NextOn(std::string(kControlAnswerTopic));
  v1::ControlAnswer read;
  Expect(answer && read.ParseFromString(answer->payload), "no answer to the bridge's order");
  Expect(read.reason() == v1::REASON_NOT_ALLOWED, "a bridge moved clients");
  // A stolen peer certificate carries what others have signed, and signs nothing itself.
  const RawOptions stolen = cell.WithCertificate(PeerIdentity{"b2"}, cell.CellCa(), "peer/b2");
  RawOptions as_other = stolen;
  as_other.client_id = s.car.ref().ToText();
  ExpectEqual(Hex(RawClient(as_other).Connect()), Hex(kNotAuthorized), "a peer as a car");
  const auto peer = Dial(stolen);
  const Sealed unlock =
      Seal(PrivateKey::FromPem(stolen.private_key_pem).value(), s.car.ref(), Unlock());
  peer->Send({s.Lane(), unlock.bytes});
  peer->Send({CommandTopic(s.car.ref(), s.stranger.id()),
              Seal(s.stranger.key(), s.car.ref(), Unlock()).bytes});
  s.car.Hear();
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  ExpectEqual(Hex(peer->Send({std::string(kControlTopic), move.SerializeAsString()})),
              Hex(kNotAuthorized), "a peer's order");
  for (const char* filter : {"$SYS/#", "$CONTROL/#", "#"}) {
    ExpectEqual(Hex(peer->Subscribe(filter)), Hex(kNotAuthorized), filter);
  }
  OwnerStillGetsThrough(s.owner, s.car);
  return "0x87 for who is none; a stolen one's certificate commands nothing and moves nobody";
}

// --- Wills

std::string WillWeak(World& world) {
  NaiveCar car(world.Open().As("will-car"), "WILL");
  RawOptions options = world.Open().As("attacker");
  options.will = testing::RawWill{NaiveCar::Topic("WILL"), "unlock", 1, Retain::kYes};
  {
    const auto attacker = Dial(options);
  }  // hangs up
  Expect(car.Hear(), "the will was not sent");
  Dial(world.Open().As("cleaner"))->Send({NaiveCar::Topic("WILL"), "", 1, Retain::kYes, 0});
  return "the will unlocked, retained for the next time too";
}

std::string WillOurs(World& world) {
  Scene s(world);
  Cell& cell = world.Ours();
  const Sealed unlock = Seal(s.stranger.key(), s.car.ref(), Unlock());
  const CarRef& ref = s.car.ref();
  const std::vector<testing::RawWill> wills = {
      {s.Lane(), unlock.bytes, 1, Retain::kNo},
      {CommandTopic(ref, s.stranger.id()), unlock.bytes, 1, Retain::kNo},
      {s.Lane(), unlock.bytes, 1, Retain::kYes},
      {KeyRingTopic(ref), s.car.SignedRing(), 1, Retain::kYes},
      {StateTopic(ref, Group::kBody), "x", 1, Retain::kYes},
      {PresenceTopic(ref), "x", 1, Retain::kYes},
      {ReceiptTopic(ref, s.owner.id()), "x", 1, Retain::kNo},
      {std::string(kControlTopic), BlockEverywhere(s.owner.id()), 1, Retain::kNo},
      {"$SYS/broker/latchkey/blocks", "x", 1, Retain::kYes}};
  const auto watcher = AsServer(world, cell, world.FreshName());
  Expect(watcher->Subscribe("lk/1/" + ref.ToText() + "/#") <= 2, "the watcher cannot watch");
  while (watcher->Next(milliseconds(50))) {  // what is retained
  }
  for (const testing::RawWill& will : wills) {
    for (const int version : {5, 4}) {
      RawOptions options = s.stranger.Options();
      options.version = version;
      options.client_id = s.stranger.id().str() + "/" + world.FreshName();
      options.will = will;
      RawClient client(options);
      client.Connect();
    }
  }
  // The car itself with a will for a neighbour.
  LiveCar neighbour(world, cell, {});
  RawOptions foreign = cell.AsCar(neighbour.ref());
  foreign.will = testing::RawWill{KeyRingTopic(ref), s.car.SignedRing(), 1, Retain::kYes};
  {
    RawClient client(foreign);
    client.Connect();
  }
  const int before = s.car.Acted();
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted(), before + 1, "acts");
  int seen = 0;
  for (auto each = watcher->Next(); each; each = watcher->Next(milliseconds(100))) {
    const bool mine = each->topic == s.Lane() ||
                      each->topic.find("/receipt/") != std::string::npos ||
                      each->topic.find("/state/") != std::string::npos;
    Expect(mine && each->payload != unlock.bytes && each->payload != "x",
           "a will arrived on " + each->topic);
    ++seen;
  }
  Expect(seen > 0, "the watcher saw not even the owner");
  return std::to_string(wills.size() * 2 + 1) + " wills, $CONTROL among them: none arrived";
}

// --- Retained

std::string RetainedWeak(World& world) {
  Dial(world.Open().As("attacker"))
      ->Send({NaiveCar::Topic("RETAIN"), "unlock", 1, Retain::kYes, 0});
  for (int i = 0; i < 2; ++i) {
    NaiveCar car(world.Open().As("retain-car"), "RETAIN");
    Expect(car.Hear(), "nothing was kept");
  }
  Dial(world.Open().As("cleaner"))->Send({NaiveCar::Topic("RETAIN"), "", 1, Retain::kYes, 0});
  return "one message unlocks at every reconnect";
}

std::string RetainedOurs(World& world) {
  Scene s(world);
  const Sealed unlock = Seal(s.owner.key(), s.car.ref(), Unlock(), std::chrono::seconds(50));
  const auto server = AsServer(world, world.Ours(), world.FreshName());
  for (RawClient* client : {&s.owner.client(), server.get()}) {
    ExpectRefusal(
        world.Ours(), [&] { return client->Send({s.Lane(), unlock.bytes, 1, Retain::kYes, 0}); },
        kNotAuthorized, "message", "retain_not_allowed", s.car.ref().car.str());
  }
  s.car.Give({s.Lane(), unlock.bytes, 1, Retain::kYes, 0});  // a broker that keeps it all the same
  s.car.Sleep();
  s.car.Wake();
  OwnerStillGetsThrough(s.owner, s.car);
  ExpectEqual(s.car.Acted("unlock"), 0, "unlocks");
  return "RETAIN_NOT_ALLOWED in broker and car";
}

std::string RetainedAfterWeak(World& world) {
  const auto broker =
      world.MakePlain("retain-source", "allow_anonymous true\ncheck_retain_source false\n");
  Dial(broker->As("alice"))->Send({NaiveCar::Topic("X"), "unlock", 1, Retain::kYes, 0});
  broker->Restart();  // alice is gone for ever
  NaiveCar car(broker->As("car"), "X", {});
  const bool acted = car.Hear(milliseconds(1000));
  if (!acted) {  // without persistence the restart forgot it: then while she is merely revoked
    Dial(broker->As("alice"))->Send({NaiveCar::Topic("X"), "unlock", 1, Retain::kYes, 0});
    NaiveCar again(broker->As("car"), "X", {});
    Expect(again.Hear(), "nothing was kept");
  }
  return "kept and delivered whatever became of its sender";
}

std::string RetainedAfterOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  Handset ex(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}, {ex.Public(), v1::ROLE_DRIVER}});
  car.Wake();
  Expect(owner.SignIn() == 0 && ex.SignIn() == 0, "sign-in");
  const Sealed unlock = Seal(ex.key(), car.ref(), Unlock(), std::chrono::seconds(50));
  const std::string lane = CommandTopic(car.ref(), ex.id());
  for (const Retain retain : {Retain::kYes}) {
    ExpectEqual(Hex(ex.client().Send({lane, unlock.bytes, 1, retain, 0})), Hex(kNotAuthorized),
                "a retained unlock");
  }
  ExpectEqual(owner.Try(car, Seal(owner.key(), car.ref(), RemoveKey(ex.id()))), "DONE",
              "RemoveKey");
  car.Sleep();
  car.Wake();  // subscribes anew: what is retained on its lanes would come now
  OwnerStillGetsThrough(owner, car);
  ExpectEqual(car.Acted("unlock"), 0, "unlocks");
  // The ring that named the ex is retained no more: a fresh reader gets the newest.
  const std::string topic = KeyRingTopic(car.ref());
  Expect(owner.client().Subscribe(topic) == 1, "the owner cannot read the ring");
  const auto ring = owner.client().NextOn(topic);
  Expect(ring && ring->payload == car.SignedRing().substr(0, 0) + ring->payload, "no ring");
  const Result<KeyRing> opened = OpenKeyRingOf(ring->payload, car.key().Public());
  Expect(opened && opened->Find(ex.id()) == nullptr, "the retained ring names the removed key");
  return "0x87 for retaining it; nothing waits for the car";
}

// --- Properties

std::string ResponseTopicWeak(World& world) {
  const auto car = Dial(world.Open().As("polite-car"));
  car->Subscribe(NaiveCar::Topic("POLITE"));
  const auto attacker = Dial(world.Open().As("attacker"));
  attacker->Subscribe("attacker/inbox");
  attacker->Send({NaiveCar::Topic("POLITE"), "where are you"},
                 testing::RawResponseTopic("attacker/inbox"));
  const auto asked = car->Next();
  Expect(asked.has_value(), "not asked");
  const std::string& properties = car->properties();
  const size_t at = properties.find("attacker/inbox");
  Expect(at != std::string::npos, "the response topic did not come along");
  car->Send({properties.substr(at, 14), "48.1,11.5"});
  Expect(attacker->NextOn("attacker/inbox").has_value(), "no answer");
  return "the car answered where the asker said";
}

std::string ResponseTopicOurs(World& world) {
  Scene s(world);
  const std::string inbox = PairingAnswerTopic(s.car.ref(), s.stranger.id());  // it may read that
  Expect(s.stranger.client().Subscribe(inbox) == 1, "the stranger has no inbox");
  const std::string receipts = ReceiptTopic(s.car.ref(), s.owner.id());
  Expect(s.owner.client().Subscribe(receipts) == 1, "the owner cannot listen");
  const std::string properties =
      testing::RawResponseTopic(inbox) + testing::RawCorrelationData("x");
  const Sealed flash = Seal(s.owner.key(), s.car.ref(), Flash());
  // Somebody on the way adds it to the owner's own command.
  ExpectEqual(s.owner.client().Send({s.Lane(), flash.bytes}, properties), 0, "the command");
  Expect(s.owner.Receipt(s.car, flash.id).has_value(), "no receipt on the owner's lane");
  for (const char* odd : {"lk/1/+/#", "$SYS/x"}) {
    s.owner.client().Send({s.Lane(), Seal(s.owner.key(), s.car.ref(), Flash()).bytes},
                          testing::RawResponseTopic(odd));
    if (s.owner.client().over()) {
      Expect(s.owner.SignIn() == 0, "sign-in");
    }
  }
  // What the stranger's inbox would have got comes before this answer.
  s.stranger.client().Send({PairingTopic(s.car.ref(), s.stranger.id()),
                            MakeClaim({"h", 1, "c", s.car.ref(), RandomBytes(16)},
                                      s.stranger.Public(), RandomBytes(16), "x")});
  s.car.Hear(milliseconds(100));
  const auto first = s.stranger.client().Next();
  v1::PairingAnswer answer;
  Expect(first && answer.ParseFromString(first->payload) && answer.nonce().size() == 16,
         "something else came into the stranger's inbox");
  OwnerStillGetsThrough(s.owner, s.car);
  return "receipts go to the signer's lane, whatever the property says";
}

std::string AliasWeak(World& world) {
  const auto listener = Dial(world.Naive().As("listener", "service"));
  listener->Subscribe("car/VIN0009/command");
  const auto ex = Dial(world.Naive().As("ex", "ex"));
  const std::string alias = testing::RawTopicAlias(1);
  ExpectEqual(ex->Send({"car/VIN0009/command", "while it may"}, alias), 0, "with the topic");
  std::ofstream(world.Naive().folder() / "revoked") << "ex\n";
  ExpectEqual(ex->Send({"", "after it was revoked"}, alias), 0, "with the alias alone");
  bool came = false;
  for (auto each = listener->Next(); each; each = listener->Next(milliseconds(200))) {
    came = came || each->payload == "after it was revoked";
  }
  std::ofstream(world.Naive().folder() / "revoked") << "";
  Expect(came, "the alias was refused");
  return "an alias made while it might outlived the right";
}

std::string AliasOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0, "sign-in");
  const std::string lane = CommandTopic(car.ref(), owner.id());
  const auto flash = [&] { return Seal(owner.key(), car.ref(), Flash()).bytes; };
  ExpectEqual(owner.client().Send({lane, flash()}, testing::RawTopicAlias(1)), 0, "with the topic");
  ExpectEqual(owner.client().Send({"", flash()}, testing::RawTopicAlias(1)), 0, "with the alias");
  Expect(car.HearsUntil("flash_lights", 2), "control: an alias works");
  // A refused publish must not leave an alias behind that works; nor one beyond the maximum, nor 0,
  // nor one never set.
  LiveCar other(world, cell, {});
  other.Wake();
  const std::string foreign = CommandTopic(other.ref(), owner.id());
  ExpectEqual(Hex(owner.client().Send({foreign, flash()}, testing::RawTopicAlias(2))),
              Hex(kNotAuthorized), "a foreign topic with an alias");
  const int reused = owner.client().Send({"", flash()}, testing::RawTopicAlias(2));
  Expect(reused >= 0x80 || reused < 0, "the alias of a refused topic works: " + Hex(reused));
  for (const uint16_t alias : {uint16_t{0}, uint16_t{9}, uint16_t{11}, uint16_t{65535}}) {
    if (owner.client().over()) {
      Expect(owner.SignIn() == 0, "sign-in");
    }
    const int code = owner.client().Send({"", flash()}, testing::RawTopicAlias(alias));
    Expect(code >= 0x80 || code < 0, "alias " + std::to_string(alias) + " works");
  }
  // Made while it might, used after: the key falls off the ring.
  Expect(owner.SignIn() == 0, "sign-in");
  ExpectEqual(owner.client().Send({lane, flash()}, testing::RawTopicAlias(1)), 0, "with the topic");
  car.Hear(milliseconds(50));
  const int before = car.Acted();
  car.Step(car::FactoryReset{});
  const int late = owner.client().Send({"", flash()}, testing::RawTopicAlias(1));
  Expect(late >= 0x80 || late < 0, "the alias outlived the key: " + Hex(late));
  car.Hear(milliseconds(50));
  ExpectEqual(car.Acted(), before, "acts");
  other.Hear(milliseconds(20));
  ExpectEqual(other.Acted(), 0, "acts of the other car");
  return "checked by the topic it stands for: 0x87; 0, unset and too high end the session";
}

std::string PropertyWeak(World& world) {
  const auto car = Dial(world.Open().As("trusting-car"));
  car->Subscribe(NaiveCar::Topic("TRUST"));
  Dial(world.Open().As("attacker"))
      ->Send({NaiveCar::Topic("TRUST"), "unlock"}, testing::RawUserProperty("from", "owner"));
  Expect(car->Next().has_value() && car->properties().find("owner") != std::string::npos,
         "the property did not come along");
  return "\"from: owner\" came along as the attacker wrote it";
}

std::string PropertyOurs(World& world) {
  Scene s(world);
  const auto watcher = AsServer(world, world.Ours(), world.FreshName());
  Expect(watcher->Subscribe("lk/1/" + s.car.ref().ToText() + "/command/+") == 1, "cannot watch");
  const std::string properties = testing::RawUserProperty("lk-from", "owner") +
                                 testing::RawUserProperty("harmless", "yes") +
                                 testing::RawUserProperty("lk-ts", "0");
  const std::string bytes = Seal(s.owner.key(), s.car.ref(), Flash()).bytes;
  ExpectEqual(s.owner.client().Send({s.Lane(), bytes}, properties), 0, "the command");
  Expect(watcher->NextOn(s.Lane()).has_value(), "the command did not arrive");
  Expect(watcher->properties().find("lk-") == std::string::npos, "a reserved property came along");
  Expect(watcher->properties().find("harmless") != std::string::npos, "others did not come along");
  OwnerStillGetsThrough(s.owner, s.car);
  return "names that begin with lk- are taken off; who sent is the topic";
}

// --- Names

std::string HostileTopicsWeak(World& world) {
  const auto attacker = Dial(world.Open().As("attacker"));
  std::string deep = "a";
  for (int i = 0; i < 150; ++i) {
    deep += "/a";
  }
  for (const std::string& topic : {deep, std::string(60000, 't'), std::string("$internal/x")}) {
    ExpectEqual(attacker->Send({topic, "x", 1, Retain::kYes, 0}), 0, "a hostile topic");
  }
  return "150 levels, 60,000 bytes and $internal are kept for ever";
}

std::string HostileTopicsOurs(World& world) {
  Scene s(world);
  const std::string base = "lk/1/" + s.car.ref().ToText();
  std::string deep = base;
  for (int i = 0; i < 150; ++i) {
    deep += "/a";
  }
  const std::string nul(1, '\0');
  int refused = 0;
  for (const std::string& topic : {deep,
                                   base + "/" + std::string(60000, 't'),
                                   std::string("$internal/x"),
                                   base + "/command/+",
                                   base + "/command/#",
                                   base + "/command/" + nul,
                                   nul,
                                   base + "/state/body" + nul,
                                   base + "/\xff\xfe",
                                   base + "/\xed\xa0\x80",
                                   base + "/\xc0\x80",
                                   base + "/state/BODY",
                                   base + "//command/" + s.owner.id().str(),
                                   "/" + base + "/state/body",
                                   base + "/state/body/",
                                   "LK/1/" + s.car.ref().ToText(),
                                   "lk/2/" + s.car.ref().ToText() + "/state/body",
                                   std::string(" ") + s.Lane(),
                                   s.Lane() + "=",
                                   s.Lane() + "/x",
                                   std::string("\xef\xbb\xbf") + s.Lane()}) {
    for (const bool subscribe : {true, false}) {
      if (s.owner.client().over()) {
        Expect(s.owner.SignIn() == 0, "sign-in");
      }
      const bool wild = topic.find_first_of("+#") != std::string::npos;
      if (subscribe && wild) {
        continue;  // a filter, and its own
      }
      const int code =
          subscribe ? s.owner.client().Subscribe(topic) : s.owner.client().Send({topic, "x"});
      Expect(code >= 0x80 || code < 0, "taken: " + topic.substr(0, 80) + " " + Hex(code));
      ++refused;
    }
  }
  Expect(world.Ours().broker().Running(), "the broker is down");
  if (s.owner.client().over()) {
    Expect(s.owner.SignIn() == 0, "sign-in");
  }
  OwnerStillGetsThrough(s.owner, s.car);
  return std::to_string(refused) + " with NUL, + # $, not UTF-8, too long, too deep: refused";
}

std::string MalformedWeak(World& world) {
  const auto broker = world.MakePlain("malformed", "allow_anonymous true\n");
  const auto send = [&](const std::string& bytes) {
    RawClient client(broker->As("m"));
    if (client.Connect() == 0) {
      client.Write(bytes);
      client.Ended(milliseconds(100));
    }
  };
  using testing::RawPacket;
  using testing::RawString;
  send(RawPacket(0x30, RawString("$") + std::string(1, '\0')));
  send(RawPacket(0x30, RawString("") + std::string(1, '\0')));
  send(RawPacket(0x20, std::string("\0\0", 2)));
  Expect(broker->process().Running(), "it fell over: then this row is wrong");
  return "fixed in 1.5.3, 2.0.8, 2.0.10";
}

std::string MalformedOurs(World& world) {
  Scene s(world);
  using testing::RawPacket;
  using testing::RawString;
  const std::string none(1, '\0');
  const std::string id("\0\1", 2);
  const std::vector<std::string> packets = {
      RawPacket(0x30, RawString("$") + none),  // CVE-2018-12543
      RawPacket(0x32, RawString("$") + id + none),
      RawPacket(0x30, RawString("") + none),  // CVE-2021-34432
      RawPacket(0x32, RawString("") + id + none),
      RawPacket(0x20, std::string("\0\0\0", 3)),  // CVE-2021-28166: CONNACK to a broker
      RawPacket(0x20, std::string("\1\0\0", 3)),
      RawPacket(0x36, RawString("a") + id + none),  // QoS 3
      RawPacket(0x80, ""),
      RawPacket(0x82, id + none),  // SUBSCRIBE without a filter
      RawPacket(0x82, id + none + RawString("") + none),
      RawPacket(0xa2, id + none),
      RawPacket(0x62, id + "\x92"),  // PUBREL of nothing
      RawPacket(0x50, id),
      RawPacket(0x70, id),
      RawPacket(0x40, id),
      RawPacket(0xf0, "\x18" + none),  // AUTH nobody began
      RawPacket(0x00, ""),
      std::string("\x30\xff\xff\xff\xff\x7f", 6),
      RawPacket(0x10, RawString("MQTT") + "\x05")};  // a second CONNECT
  for (const std::string& packet : packets) {
    for (const int version : {5, 4}) {
      RawOptions options = s.owner.Options();
      options.version = version;
      options.client_id = s.owner.id().str() + "/m";
      RawClient client(options);
      Expect(client.Connect() == 0, "sign-in");
      client.Write(packet);
      client.Write(RawPacket(0xc0, ""));
      client.Ended(milliseconds(20));
    }
  }
  Expect(world.Ours().broker().Running(), "the broker is down");
  OwnerStillGetsThrough(s.owner, s.car);
  return std::to_string(packets.size()) + " packets, both versions: nobody falls over";
}

}  // namespace

std::vector<Case> TopicCases() {
  return {
      {"subscribe_to_everything_2016", "Lundgren: zdnet 87,000; Avast via meterpreter.org", "T9",
       EverythingWeak, EverythingOurs},
      {"shared_subscription", "MQTT 5.0 section 4.8.2", "T9 T6", SharedWeak, SharedOurs},
      {"sys_topics", "MQTT 5.0 section 4.7.2", "T9", SysWeak, SysOurs},
      {"control_topics", "Kia: autonews.autoua.net (dealers register themselves)", "T21 T16",
       ControlWeak, ControlOurs},
      {"posing_as_the_other_broker",
       "mosquitto.conf(5), bridges: to a broker a bridge is a client like any other", "T9 T16",
       PeerWeak, PeerOurs},
      {"foreign_will", "Mosquitto 2.0.16: will to $CONTROL accepted; MQTT 5.0 section 3.1.2.5",
       "2.0.16-will", WillWeak, WillOurs},
      {"retained_command", "MQTT 5.0 section 3.3.1.3", "T8", RetainedWeak, RetainedOurs},
      {"retained_after_revocation", "CVE-2018-12546", "CVE-2018-12546", RetainedAfterWeak,
       RetainedAfterOurs},
      {"response_topic_elsewhere", "MQTT 5.0 section 4.10", "", ResponseTopicWeak,
       ResponseTopicOurs},
      {"topic_alias_after_revocation", "MQTT 5.0 section 3.3.2.3.4", "", AliasWeak, AliasOurs},
      {"user_property_as_identity", "MQTT 5.0 section 3.3.2.3.7", "T17", PropertyWeak,
       PropertyOurs},
      {"hostile_topics", "CVE-2017-7650; MQTT 5.0 sections 1.5.4, 4.7.3", "CVE-2017-7650 T6",
       HostileTopicsWeak, HostileTopicsOurs},
      {"malformed_packets", "CVE-2018-12543, CVE-2021-34432, CVE-2021-28166",
       "CVE-2018-12543 CVE-2021-34432 CVE-2021-28166", MalformedWeak, MalformedOurs,
       Weak::kRefusedToo},
  };
}

}  // namespace latchkey::attacks
