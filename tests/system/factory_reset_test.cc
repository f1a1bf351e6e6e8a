// A car that is sold: reset in the head unit it has no keys, and whoever held one holds nothing:
// not on a live connection, not in a durable session, not with what was recorded or waits in the
// bridge.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/command.h"
#include "proto/pairing.h"
#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

constexpr int kNotAuthorized = 0x87;
constexpr std::chrono::milliseconds kQuiet{300};

// The car `car-1` with somebody at its head unit, who types.
class HeadUnit {
 public:
  explicit HeadUnit(const Cell& cell) : keyboard_(cell.path() / "test" / "keyboard") {
    REQUIRE(::mkfifo(keyboard_.c_str(), 0600) == 0);
    typing_ = ::open(keyboard_.c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(typing_ >= 0);
    REQUIRE(cell.Latchkey({"car", "add", "car-1", "--fleet", "demo"}).exit_code == 0);
    const std::string program = LK_BINARY_DIR "/bin/latchkey";
    const std::string reads_keyboard = R"(exec "$@" <"$0")";
    process_ = std::make_unique<Process>(
        std::vector<std::string>{"/bin/sh", "-c", reads_keyboard, keyboard_.string(), program,
                                 "--data", cell.path().string(), "car", "run", "car-1", "--fleet",
                                 "demo", "--offer"},
        cell.path() / "test" / "car-car-1.log");
  }

  ~HeadUnit() {
    process_.reset();
    ::close(typing_);
  }

  HeadUnit(const HeadUnit&) = delete;
  HeadUnit& operator=(const HeadUnit&) = delete;

  void Types(const std::string& line) const {
    const std::string text = line + "\n";
    REQUIRE(::write(typing_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }

  bool Says(const std::string& text, int times = 1) const {
    return Eventually([&] { return CountLines(process_->Output(), text) >= times; });
  }

  Process& process() { return *process_; }

 private:
  std::filesystem::path keyboard_;
  int typing_ = -1;
  std::unique_ptr<Process> process_;
};

// Pairs while somebody at the head unit says yes.
void Pair(const Cell& cell, const HeadUnit& head, const std::string& phone, int asked) {
  REQUIRE(cell.Latchkey({"phone", "init", phone}).exit_code == 0);
  const auto pairing = cell.StartLatchkey(
      {"phone", "pair", phone, cell.QrText("car-1"), "--timeout", "30s"}, "pair-" + phone);
  REQUIRE(head.Says("wants a key as owner", asked));
  head.Types("yes");
  REQUIRE(pairing->Wait() == 0);
}

std::string Recorded(const PrivateKey& phone, char id) {
  v1::Command lock;
  lock.mutable_lock();
  const Timestamp now{UnixMs()};
  return SealCommand({Ref("demo", "car-1"), TestId(id), now, now + std::chrono::minutes(9), lock},
                     phone)
      .value();
}

nlohmann::json Commands(const Cell& cell) {
  return nlohmann::json::parse(HttpGet(cell.http_port(), "/v1/commands?fleet=demo&car=car-1").body,
                               nullptr, false);
}

}  // namespace

TEST_CASE("a car that is reset in the head unit is lost at once to everybody who had it") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  HeadUnit head(cell);
  REQUIRE(head.Says("online, ring version"));
  Pair(cell, head, "anna", 1);
  Pair(cell, head, "bob", 2);
  const PrivateKey anna = cell.PhoneKey("anna");
  const PrivateKey bob = cell.PhoneKey("bob");
  const CarRef ref = Ref("demo", "car-1");
  const std::string state = StateTopic(ref, Group::kBody);

  // Anna watches live, and has a session that lasts; Bob's phone lies beside her.
  RawOptions lasting = cell.AsPhone(anna);
  lasting.client_id += "/durable";
  lasting.clean = false;
  lasting.session_expiry_s = 3600;
  {
    RawClient durable(lasting);
    REQUIRE(durable.Connect() == 0);
    REQUIRE(durable.Subscribe(state) == 1);
    REQUIRE(durable.NextOn(state).has_value());
    durable.Disconnect();
  }
  RawClient anna_live(cell.AsPhone(anna));
  RawClient bob_live(cell.AsPhone(bob));
  REQUIRE(anna_live.Connect() == 0);
  REQUIRE(anna_live.Subscribe(state) == 1);
  REQUIRE(anna_live.NextOn(state).has_value());
  REQUIRE(bob_live.Connect() == 0);
  REQUIRE(bob_live.Subscribe(state) == 1);
  const std::string used = Recorded(anna, 'u');
  const std::string unused = Recorded(anna, 'n');
  const std::string lane = CommandTopic(ref, anna.Public().Id());
  REQUIRE(anna_live.Send({lane, used, 1, Retain::kNo, 0}) == 0);
  REQUIRE(head.Says("act lock"));  // control: the car obeys her

  head.Types("reset");
  REQUIRE(head.Says("factory reset takes away"));
  head.Types("no");
  REQUIRE(head.Says("not reset"));
  CHECK(anna_live.Ping());
  head.Types("reset");
  REQUIRE(head.Says("factory reset takes away", 2));
  head.Types("yes");
  REQUIRE(head.Says("factory reset: 2 keys and all settings are gone, ring version 4"));
  CHECK(anna_live.Ended(std::chrono::seconds(10)) != kNoAnswer);
  CHECK(bob_live.Ended(std::chrono::seconds(10)) != kNoAnswer);

  Pair(cell, head, "carol", 3);
  const Ran flash = cell.Latchkey({"phone", "send", "carol", "car-1", "unlock", "--wait"});
  INFO(flash.output);
  CHECK(flash.exit_code == 0);  // control: the car is alive, has an owner, and its state changed

  // A new sign-in, the session that lasted, and everything recorded: nothing.
  RawClient again(cell.AsPhone(anna));
  REQUIRE(again.Connect() == 0);
  CHECK(again.Subscribe(state) == kNotAuthorized);
  CHECK(again.Subscribe(KeyRingTopic(ref)) == kNotAuthorized);
  for (const std::string& bytes : {used, unused, Recorded(anna, 'f')}) {
    CHECK(again.Send({lane, bytes, 1, Retain::kNo, 0}) == kNotAuthorized);
  }
  RawClient durable(lasting);
  REQUIRE(durable.Connect() == 0);
  REQUIRE(cell.Latchkey({"phone", "send", "carol", "car-1", "lock", "--wait"}).exit_code == 0);
  CHECK_FALSE(durable.Next(kQuiet).has_value());
  CHECK(CountLines(head.process().Output(), "act lock") == 2);  // one hers, one Carol's
}

TEST_CASE("what waits in the bridge for a car that is reset while it is off never acts") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  Process& car = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const Ran running = cell.Latchkey({"car", "reset", "car-1", "--fleet", "demo", "--yes"});
  CHECK(running.exit_code == 1);
  CHECK(CountLines(running.output, "runs in another process") == 1);
  car.Stop();
  const Ran held = cell.Latchkey(
      {"phone", "send", "anna", "car-1", "lock", "--lives", "300s", "--timeout", "15s"});
  INFO(held.output);
  REQUIRE(CountLines(held.output, "HELD") >= 1);
  const PrivateKey anna = cell.PhoneKey("anna");
  const CarRef ref = Ref("demo", "car-1");
  const std::string notices = PairingAnswerTopic(ref, anna.Public().Id());

  const Ran reset = cell.Latchkey({"car", "reset", "car-1", "--fleet", "demo", "--yes"});
  INFO(reset.output);
  REQUIRE(reset.exit_code == 0);
  RawClient phone(cell.AsPhone(anna));
  REQUIRE(phone.Connect() == 0);
  REQUIRE(phone.Subscribe(notices) == 1);
  cell.StartCar("car-1");
  // Told by the car, though she cannot read anything else of it any more.
  const auto notice = phone.NextOn(notices, std::chrono::seconds(10));
  REQUIRE(notice.has_value());
  CHECK_FALSE(ReadKeyNotice(notice->payload).value().on_ring);
  const bool closed = Eventually([&] {
    const nlohmann::json commands = Commands(cell)["commands"];
    return commands.size() == 1 && commands[0]["state"] == "REFUSED";
  });
  INFO(Commands(cell).dump());
  CHECK(closed);
  CHECK(CountLines(cell.CarOutput("car-1"), "act lock") == 0);
}

}  // namespace latchkey::testing
