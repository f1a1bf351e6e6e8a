// Blocked keys, with the real broker and no bridge: denied for the very next message in both
// directions, over restarts, until the block is lifted; and nobody but an administrator or the
// bridge may block.
#include "proto/blocks.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "latchkey/v1/control.pb.h"
#include "proto/command.h"
#include "proto/pairing.h"
#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

constexpr int kNotAuthorized = 0x87;
constexpr int kOldSubscribeFailed = 0x80;
constexpr std::chrono::milliseconds kQuiet{300};

Timestamp Clock() {
  return Timestamp{UnixMs()};
}

std::string FlashFor(const CarRef& ref, const PrivateKey& key) {
  static char fill = 'a';
  v1::Command action;
  action.mutable_flash_lights();
  const Timestamp now = Clock();
  fill = fill == 'z' ? 'a' : static_cast<char>(fill + 1);
  return SealCommand({ref, CommandId::Make(now.ms, std::string(10, fill)), now,
                      now + std::chrono::seconds(30), action},
                     key)
      .value();
}

Publish Command(const CarRef& ref, const PrivateKey& key, int qos = 1) {
  return {CommandTopic(ref, key.Public().Id()), FlashFor(ref, key), qos, Retain::kNo, 0};
}

RawOptions AsAdministrator(const Cell& cell, const std::string& name = "root", int version = 5) {
  return cell.WithCertificate(AdministratorIdentity{name}, cell.CellCa(), "administrator/" + name,
                              version);
}

RawOptions AsBridge(const Cell& cell) {
  return cell.WithCertificate(BridgeIdentity{"main"}, cell.CellCa(), "bridge/main");
}

// The answer to `payload`; nullopt: none came.
std::optional<v1::ControlAnswer> AskRaw(RawClient& client, const std::string& payload,
                                        Retain retain = Retain::kNo) {
  if (client.Send({std::string(kControlTopic), payload, 1, retain, 0}) != 0) {
    return std::nullopt;
  }
  const auto answer = client.NextOn(std::string(kControlAnswerTopic));
  v1::ControlAnswer parsed;
  if (!answer || !parsed.ParseFromString(answer->payload)) {
    return std::nullopt;
  }
  return parsed;
}

v1::Block Wire(const KeyId& key, const std::string& fleet, const std::string& car, bool lifted) {
  v1::Block block;
  block.set_key_id(key.str());
  block.set_fleet(fleet);
  block.set_car(car);
  block.set_lifted(lifted);
  block.set_changed_at_ms(static_cast<uint64_t>(UnixMs()));
  block.set_cause(v1::BLOCK_CAUSE_ADMINISTRATOR);
  return block;
}

std::string Merging(const v1::Block& block, uint64_t id = 1) {
  v1::Control control;
  control.set_request_id(id);
  *control.mutable_merge_blocks()->add_blocks() = block;
  return control.SerializeAsString();
}

std::vector<v1::Block> ListBlocks(RawClient& administrator) {
  v1::Control control;
  control.mutable_list_blocks();
  const auto answer = AskRaw(administrator, control.SerializeAsString());
  REQUIRE(answer.has_value());
  REQUIRE(answer->reason() == v1::REASON_UNSPECIFIED);
  return {answer->blocks().begin(), answer->blocks().end()};
}

// An owner with two cars and a car of another fleet, all on raw clients.
struct World {
  Cell cell{{"demo", "rival"}};
  PrivateKey owner = PrivateKey::Generate();
  PrivateKey guest = PrivateKey::Generate();
  std::unique_ptr<RawCar> car1;
  std::unique_ptr<RawCar> car2;
  std::unique_ptr<RawCar> other;
  std::unique_ptr<RawClient> administrator;

  World() { Start(); }

  void Start() {
    cell.StartBroker();
    car1 = std::make_unique<RawCar>(cell, "demo", "car-1");
    car2 = std::make_unique<RawCar>(cell, "demo", "car-2");
    other = std::make_unique<RawCar>(cell, "rival", "car-1");
    administrator = std::make_unique<RawClient>(AsAdministrator(cell));
    REQUIRE(administrator->Connect() == 0);
    for (RawCar* car : {car1.get(), car2.get(), other.get()}) {
      REQUIRE(car->client().Subscribe("lk/1/" + car->ref().ToText() + "/command/+") == 1);
      REQUIRE(car->client().Subscribe("lk/1/" + car->ref().ToText() + "/pairing/+") == 1);
    }
  }

  void PublishRings() const {
    for (RawCar* car : {car1.get(), car2.get(), other.get()}) {
      REQUIRE(car->PublishRing(
                  {{owner.Public(), v1::ROLE_OWNER}, {guest.Public(), v1::ROLE_GUEST}}) == 0);
    }
  }

  void Set(const std::string& fleet, const std::string& car, bool lifted) {
    const auto answer =
        AskRaw(*administrator, Merging(Wire(owner.Public().Id(), fleet, car, lifted)));
    REQUIRE(answer.has_value());
    REQUIRE(answer->reason() == v1::REASON_UNSPECIFIED);
    REQUIRE(answer->changed() == 1);
  }

  // Can the owner use this car: state, command, claim and receipt, over a new connection? Every
  // way has to give the same.
  bool Works(RawCar& car) {
    RawClient phone(cell.AsPhone(owner));
    const int code = phone.Connect();
    if (code != 0) {
      CHECK(code == kNotAuthorized);
      return false;
    }
    const KeyId id = owner.Public().Id();
    const std::string state = StateTopic(car.ref(), Group::kDrive);
    const bool works = phone.Subscribe(state) == 1;
    const Publish command = Command(car.ref(), owner);
    CHECK(phone.Subscribe(ReceiptTopic(car.ref(), id)) == (works ? 1 : kNotAuthorized));
    CHECK(phone.Subscribe(PairingAnswerTopic(car.ref(), id)) == (works ? 1 : kNotAuthorized));
    CHECK(phone.Send(command) == (works ? 0 : kNotAuthorized));
    const auto arrived = car.client().NextOn(command.topic, works ? kPatience : kQuiet);
    CHECK(arrived.has_value() == works);
    REQUIRE(car.PublishSpeed(7) == 0);
    CHECK(phone.NextOn(state, works ? kPatience : kQuiet).has_value() == works);
    // A claim is refused for the block, or for its form: the key's rights are asked first.
    const int claim = phone.Send({PairingTopic(car.ref(), id), "no claim", 1, Retain::kNo, 0});
    CHECK(claim == kNotAuthorized);
    return works;
  }
};

}  // namespace

TEST_CASE("a blocked key has not one more message in either direction, until it is lifted") {
  World w;
  w.PublishRings();

  struct Scope {
    const char* fleet;
    const char* car;
    bool car1;
    bool car2;
    bool other;
  };

  for (const Scope& scope :
       {Scope{"", "", false, false, false}, Scope{"demo", "", false, false, true},
        Scope{"demo", "car-1", false, true, true}}) {
    CAPTURE(scope.fleet);
    CAPTURE(scope.car);
    RawClient phone(w.cell.AsPhone(w.owner));
    RawClient guest(w.cell.AsPhone(w.guest));
    const std::string state = StateTopic(w.car1->ref(), Group::kDrive);
    for (RawClient* client : {&phone, &guest}) {
      REQUIRE(client->Connect() == 0);
      REQUIRE(client->Subscribe(state) == 1);
    }
    RawOptions second = w.cell.AsPhone(w.owner);
    second.client_id += "/2";
    RawClient idle(second);
    REQUIRE(idle.Connect() == 0);
    REQUIRE(w.car1->PublishSpeed(5) == 0);
    for (RawClient* client : {&phone, &guest}) {
      REQUIRE(client->NextOn(state).has_value());
      while (client->Next(kQuiet)) {  // what was retained came, too
      }
    }

    w.Set(scope.fleet, scope.car, false);
    // At once: what the car says is not for it, what it says is not for the car.
    REQUIRE(w.car1->PublishSpeed(6) == 0);
    const Publish command = Command(w.car1->ref(), w.owner);
    phone.Send(command);
    CHECK_FALSE(phone.Next(kQuiet).has_value());
    CHECK_FALSE(w.car1->client().NextOn(command.topic, kQuiet).has_value());
    CHECK(phone.Ended(std::chrono::seconds(5)) != kNoAnswer);
    CHECK(idle.Ended(std::chrono::seconds(5)) == 0x98);
    CHECK(guest.NextOn(state).has_value());
    RawClient back(w.cell.AsPhone(w.owner));
    CHECK(back.Connect() == (*scope.fleet == 0 ? kNotAuthorized : 0));
    CHECK(w.Works(*w.car1) == scope.car1);
    CHECK(w.Works(*w.car2) == scope.car2);
    CHECK(w.Works(*w.other) == scope.other);

    // And over a power cut of the broker, with nobody there to say it again.
    w.cell.broker().Kill();
    w.Start();
    CHECK(w.Works(*w.car1) == scope.car1);
    CHECK(w.Works(*w.car2) == scope.car2);
    CHECK(w.Works(*w.other) == scope.other);

    w.Set(scope.fleet, scope.car, true);
    CHECK(w.Works(*w.car1));
    CHECK(w.Works(*w.car2));
    CHECK(w.Works(*w.other));
    w.cell.broker().Kill();
    w.Start();
    CHECK(w.Works(*w.car1));
  }
}

TEST_CASE("what a key sent before it was blocked does not reach the car afterwards") {
  World w;
  w.PublishRings();
  const CarRef ref = w.car1->ref();
  // A car that keeps its session, and a phone with a command half sent.
  RawOptions keeping = w.cell.AsCar({ref.fleet, CarId::Parse("car-3").value()});
  keeping.clean = false;
  keeping.session_expiry_s = 600;
  const CarRef sleeper{ref.fleet, CarId::Parse("car-3").value()};
  const PrivateKey car_key = std::move(PrivateKey::FromPem(keeping.private_key_pem).value());
  KeyRing ring{
      sleeper,
      1,
      Clock(),
      {OnRing(w.owner.Public(), v1::ROLE_OWNER), OnRing(w.guest.Public(), v1::ROLE_OWNER)}};
  {
    RawClient car(keeping);
    REQUIRE(car.Connect() == 0);
    REQUIRE(car.Subscribe("lk/1/" + sleeper.ToText() + "/command/+") == 1);
    REQUIRE(car.Send({KeyRingTopic(sleeper),
                      SealKeyRing(ring, car_key, PemToDer(keeping.certificate_pem).value()), 1,
                      Retain::kYes, 0}) == 0);
    car.Disconnect();
  }
  RawOptions phone_options = w.cell.AsPhone(w.owner);
  phone_options.clean = false;
  phone_options.session_expiry_s = 600;
  RawClient phone(phone_options);
  REQUIRE(phone.Connect() == 0);
  CHECK(phone.Send(Command(sleeper, w.owner)) == 0);  // waits in the broker for the car
  const RawAnswer half = phone.SendQos2Begin(Command(ref, w.owner, 2));
  REQUIRE(half.code == 0);
  RawClient guest(w.cell.AsPhone(w.guest));
  REQUIRE(guest.Connect() == 0);
  CHECK(guest.Send(Command(sleeper, w.guest)) == 0);
  const RawAnswer guest_half = guest.SendQos2Begin(Command(ref, w.guest, 2));

  w.Set("demo", "car-1", false);
  w.Set("demo", "car-3", false);
  RawClient again(phone_options);
  REQUIRE(again.Connect() == 0);
  again.Release(half.id);
  CHECK(guest.Release(guest_half.id) == 0);
  const auto first = w.car1->client().Next();
  REQUIRE(first.has_value());
  CHECK(first->topic == CommandTopic(ref, w.guest.Public().Id()));
  CHECK_FALSE(w.car1->client().Next(kQuiet).has_value());

  RawClient awake(keeping);
  REQUIRE(awake.Connect() == 0);
  const auto waited = awake.Next();
  REQUIRE(waited.has_value());
  CHECK(waited->topic == CommandTopic(sleeper, w.guest.Public().Id()));
  CHECK_FALSE(awake.Next(kQuiet).has_value());
}

TEST_CASE("who owns the broker cannot send a car the command of a key that is blocked or unknown") {
  World w;
  w.PublishRings();
  RawClient bridge(AsBridge(w.cell));  // may write every lane
  REQUIRE(bridge.Connect() == 0);
  const CarRef ref = w.car1->ref();
  const Publish good = Command(ref, w.owner);
  REQUIRE(bridge.Send(good) == 0);
  CHECK(w.car1->client().NextOn(good.topic).has_value());
  CHECK(bridge.Send(Command(ref, PrivateKey::Generate())) == 0);
  w.Set("demo", "", false);
  CHECK(bridge.Send(Command(ref, w.owner)) == 0);
  CHECK_FALSE(w.car1->client().Next(kQuiet).has_value());
  w.Set("demo", "", true);
  REQUIRE(bridge.Send(good) == 0);
  CHECK(w.car1->client().NextOn(good.topic).has_value());
}

TEST_CASE("an administrator blocks and lists, and does nothing else") {
  World w;
  w.PublishRings();
  RawClient& root = *w.administrator;
  const KeyId key = w.owner.Public().Id();
  for (const std::string filter :
       {"#", "lk/1/#", "lk/1/demo/#", "lk/1/demo/car-1/state/drive", "$SYS/#", "$SYS/broker/uptime",
        "$SYS/broker/latchkey/blocks", "$CONTROL/#", "$CONTROL/latchkey/v1",
        "$CONTROL/latchkey/v1/response", "$share/a/lk/1/#"}) {
    CAPTURE(filter);
    CHECK(root.Subscribe(filter) == kNotAuthorized);
  }
  const CarRef ref = w.car1->ref();
  for (const std::string& topic :
       {CommandTopic(ref, key), StateTopic(ref, Group::kDrive), KeyRingTopic(ref),
        ReceiptTopic(ref, key), PairingTopic(ref, key), PairingAnswerTopic(ref, key),
        PresenceTopic(ref), CertificateTopic(ref), CertificateRequestTopic(ref),
        std::string("$CONTROL/dynamic-security/v1"), std::string("$CONTROL/latchkey/v1/response"),
        std::string("$SYS/broker/latchkey/blocks")}) {
    CAPTURE(topic);
    CHECK(root.Send({topic, FlashFor(ref, w.owner), 1, Retain::kNo, 0}) == kNotAuthorized);
  }
  CHECK_FALSE(root.Next(kQuiet).has_value());
  // Its client ids are its own, and its certificate is the cell's to give.
  const auto code = [&](const CertificateIdentity& identity, const tools::Issued& ca,
                        const std::string& id) {
    RawClient client(w.cell.WithCertificate(identity, ca, id));
    return client.Connect();
  };
  const AdministratorIdentity me{"root"};
  CHECK(code(me, w.cell.CellCa(), "administrator/root/2") == 0);
  for (const char* id : {"administrator/other", "administrator", "bridge/main", "demo/car-1",
                         "demo/registrar", "root"}) {
    CAPTURE(id);
    CHECK(code(me, w.cell.CellCa(), id) == kNotAuthorized);
  }
  CHECK(code(me, w.cell.FleetCa("demo"), "administrator/root") != 0);
  CHECK(code(BridgeIdentity{"main"}, w.cell.CellCa(), "administrator/root") == kNotAuthorized);
  const RegistrarIdentity registrar{ref.fleet};
  CHECK(code(registrar, w.cell.FleetCa("demo"), "demo/registrar") == 0);
  CHECK(code(registrar, w.cell.FleetCa("demo"), "demo/car-1") == kNotAuthorized);
  CHECK(code(registrar, w.cell.FleetCa("rival"), "demo/registrar") != 0);
  CHECK(code(CarIdentity{{ref.fleet, CarId::Parse("registrar").value()}}, w.cell.FleetCa("demo"),
             "demo/registrar") == kNotAuthorized);
}

TEST_CASE("nobody but an administrator or the bridge writes the control topic, whatever the way") {
  World w;
  w.PublishRings();
  const CarRef ref = w.car1->ref();
  const std::string payload = Merging(Wire(w.guest.Public().Id(), "", "", false));
  const OperatorIdentity ann{ref.fleet, "ann", Bit(v1::PERMISSION_READ_DRIVE)};
  for (const int version : {5, 4}) {
    CAPTURE(version);
    const std::vector<RawOptions> nobody = {
        w.cell.AsPhone(w.owner, version),
        w.cell.AsCar({ref.fleet, CarId::Parse("car-9").value()}, version),
        w.cell.WithCertificate(ann, w.cell.FleetCa("demo"), "demo/operator/ann", version),
        w.cell.WithCertificate(RegistrarIdentity{ref.fleet}, w.cell.FleetCa("demo"),
                               "demo/registrar", version)};
    for (RawOptions options : nobody) {
      CAPTURE(options.client_id);
      const int no = version == 5 ? kNotAuthorized : 0;
      options.will = RawWill{std::string(kControlTopic), payload, 1, Retain::kYes};
      RawClient client(options);
      REQUIRE(client.Connect() == 0);
      for (const Retain retain : {Retain::kNo, Retain::kYes}) {
        for (const int qos : {0, 1, 2}) {
          const int code = client.Send({std::string(kControlTopic), payload, qos, retain, 0});
          CHECK(code == (qos == 0 ? 0 : no));
        }
      }
      CHECK(client.Subscribe("$CONTROL/latchkey/v1/response") ==
            (version == 5 ? kNotAuthorized : kOldSubscribeFailed));
      CHECK_FALSE(client.Next(kQuiet).has_value());
    }  // hangs up: the will is due
    CHECK(ListBlocks(*w.administrator).empty());
  }
  // Not even an administrator by a will.
  {
    RawOptions options = AsAdministrator(w.cell, "late");
    options.will = RawWill{std::string(kControlTopic), payload, 1, Retain::kNo};
    RawClient client(options);
    REQUIRE(client.Connect() == 0);
  }
  REQUIRE(w.administrator->Ping());
  CHECK(ListBlocks(*w.administrator).empty());
  // Control: the same bytes from an administrator, also in 3.1.1 and marked retained, and a bridge.
  RawClient old(AsAdministrator(w.cell, "old", 4));
  REQUIRE(old.Connect() == 0);
  REQUIRE(AskRaw(old, payload, Retain::kYes).has_value());
  CHECK(ListBlocks(*w.administrator).size() == 1);
  RawClient bridge(AsBridge(w.cell));
  REQUIRE(bridge.Connect() == 0);
  CHECK(AskRaw(bridge, Merging(Wire(w.guest.Public().Id(), "", "", true)))->changed() == 1);
}

TEST_CASE("garbage on the control topic is answered with what is wrong, and changes nothing") {
  World w;
  RawClient& root = *w.administrator;
  RawClient second(AsAdministrator(w.cell, "second"));
  REQUIRE(second.Connect() == 0);
  v1::Block bad = Wire(w.owner.Public().Id(), "", "", false);
  bad.set_key_id("../../etc");
  v1::Control unknown;
  unknown.set_request_id(4);
  const std::vector<std::pair<std::string, Reason>> cases = {
      {"", v1::REASON_MALFORMED},
      {"garbage", v1::REASON_MALFORMED},
      {std::string(1000, '\0'), v1::REASON_MALFORMED},
      {std::string(60000, '\xff'), v1::REASON_MALFORMED},
      {std::string(60001, '\xff'), v1::REASON_TOO_LARGE},
      {Merging(bad), v1::REASON_MALFORMED},
      {unknown.SerializeAsString(), v1::REASON_MALFORMED}};
  for (const auto& [payload, reason] : cases) {
    const auto answer = AskRaw(root, payload);
    REQUIRE(answer.has_value());
    CHECK(answer->reason() == reason);
    CHECK_FALSE(answer->text().empty());
    CHECK(answer->changed() == 0);
  }
  CHECK(ListBlocks(root).empty());
  // Answers are for who asked.
  CHECK_FALSE(second.Next(kQuiet).has_value());
  REQUIRE(w.cell.broker().Running());
  CHECK(CountLines(w.cell.BrokerLog(), "refused at=control reason=malformed who=") > 0);
}

TEST_CASE("bridges hear of every change of a block, and later bridges ask") {
  World w;
  RawClient bridge(AsBridge(w.cell));
  REQUIRE(bridge.Connect() == 0);
  const std::string topic(kBlocksChangedTopic);
  REQUIRE(bridge.Subscribe(topic) == 1);
  w.Set("demo", "car-1", false);
  const auto told = bridge.NextOn(topic);
  REQUIRE(told.has_value());
  CHECK(told->retain == Retain::kNo);
  v1::BlocksChanged changed;
  REQUIRE(changed.ParseFromString(told->payload));
  REQUIRE(changed.blocks_size() == 1);
  CHECK(changed.blocks(0).key_id() == w.owner.Public().Id().str());
  CHECK(changed.blocks(0).car() == "car-1");
  // The same again changes nothing and is not told.
  const auto again = AskRaw(*w.administrator, Merging(changed.blocks(0)));
  REQUIRE(again.has_value());
  CHECK(again->changed() == 0);
  CHECK_FALSE(bridge.NextOn(topic, kQuiet).has_value());
  RawClient later(w.cell.WithCertificate(BridgeIdentity{"two"}, w.cell.CellCa(), "bridge/two"));
  REQUIRE(later.Connect() == 0);
  REQUIRE(later.Subscribe(topic) == 1);
  CHECK_FALSE(later.Next(kQuiet).has_value());
  CHECK(ListBlocks(later).size() == 1);
  // Nobody else hears of it.
  RawClient phone(w.cell.AsPhone(w.guest));
  REQUIRE(phone.Connect() == 0);
  CHECK(phone.Subscribe(topic) == kNotAuthorized);
  CHECK(w.car1->client().Subscribe(topic) == kNotAuthorized);
}

TEST_CASE("every tap of an operator is in the broker's log, and everything it tries and may not") {
  World w;
  const OperatorIdentity ann{w.car1->ref().fleet, "ann", Bit(v1::PERMISSION_READ_BODY)};
  RawClient tap(w.cell.WithCertificate(ann, w.cell.FleetCa("demo"), "demo/operator/ann"));
  REQUIRE(tap.Connect() == 0);
  CHECK(tap.Subscribe("lk/1/demo/+/state/body") == 1);
  CHECK(tap.Subscribe("$share/all/lk/1/demo/#") == 1);
  CHECK(tap.Subscribe("lk/1/rival/#") == kNotAuthorized);
  CHECK(tap.Subscribe("$share/all/lk/1/#") == kNotAuthorized);
  CHECK(tap.Send(Command(w.car1->ref(), w.owner)) == kNotAuthorized);
  REQUIRE(w.car1->PublishSpeed(9) == 0);  // reaches the wide filter and is not for it
  CHECK_FALSE(tap.NextOn(StateTopic(w.car1->ref(), Group::kDrive), kQuiet).has_value());
  const std::string log = w.cell.BrokerLog();
  const std::string who = "latchkey tap who=\"operator:demo/ann\" ";
  for (const char* line :
       {"at=subscribe filter=\"lk/1/demo/+/state/body\" allowed=yes",
        "at=subscribe filter=\"$share/all/lk/1/demo/#\" allowed=yes",
        "at=subscribe filter=\"lk/1/rival/#\" allowed=no reason=wrong_car",
        "at=subscribe filter=\"$share/all/lk/1/#\" allowed=no reason=wrong_car",
        "at=read topic=\"lk/1/demo/car-1/state/drive\" allowed=no reason=not_permitted"}) {
    CAPTURE(line);
    CHECK(CountLines(log, who + line) == 1);
  }
  CHECK(CountLines(log, who + "at=write topic=\"lk/1/demo/car-1/command/") == 1);
}

}  // namespace latchkey::testing
