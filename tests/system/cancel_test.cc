// Taking a command back, as people do it: while the car sleeps, too late, with another's key, and
// after the phone that sent it has died.
#include <csignal>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/command.h"
#include "proto/receipt.h"
#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;

constexpr int kTimedOut = 3;
constexpr int kUnknown = 5;

std::vector<json> JsonLines(const std::string& output) {
  std::vector<json> lines;
  std::istringstream stream(output);
  for (std::string line; std::getline(stream, line);) {
    json object = json::parse(line, nullptr, false);
    if (object.is_object()) {
      lines.push_back(std::move(object));
    }
  }
  return lines;
}

bool CarIs(const Cell& cell, bool online) {
  return Eventually([&] {
    return json::parse(HttpGet(cell.http_port(), "/v1/cars/demo/car-1").body, nullptr,
                       false)["online"] == online;
  });
}

// Broker, bridge, car-1 and its owner anna.
struct Household {
  Household() {
    cell.StartBroker();
    cell.StartBridge();
    cell.StartCar("car-1", {"--offer"});
    cell.Pair("anna", "car-1");
  }

  void Sleeps() {
    cell.StartCar("car-1").Stop();
    REQUIRE(CarIs(cell, false));
  }

  void Wakes() {
    cell.StartCar("car-1");
    REQUIRE(CarIs(cell, true));
  }

  Ran Phone(std::vector<std::string> words) const {
    words.insert(words.begin(), "phone");
    return cell.Latchkey(words);
  }

  // What anna's folder says of what she sent, the newest last.
  std::vector<json> Sent() const {
    return JsonLines(cell.Latchkey({"--json", "phone", "commands", "anna"}).output);
  }

  int Acts(const std::string& what) const {
    return CountLines(cell.CarOutput("car-1"), "act " + what);
  }

  // The car has had everything that was held for it: a later command went through.
  bool Flashes(int times = 1) const {
    const Ran ran = Phone({"send", "anna", "car-1", "flash", "--wait", "--timeout", "30s"});
    INFO(ran.output);
    CHECK(ran.exit_code == 0);
    return Acts("flash") == times;
  }

  Cell cell;
};

// A command of `key` with an id that the test knows.
std::string SealedAs(const PrivateKey& key, const CommandId& id, const v1::Command& action) {
  CommandRequest request;
  request.ref = Ref("demo", "car-1");
  request.id = id;
  request.issued_at = Timestamp{UnixMs()};
  request.expires_at = request.issued_at + std::chrono::minutes(5);
  request.action = action;
  return SealCommand(request, key).value();
}

// The next receipt for `id` that is the last one.
std::string LastWord(RawClient& phone, const KeyId& lane, const CommandId& id) {
  const std::string topic = ReceiptTopic(Ref("demo", "car-1"), lane);
  while (const auto publish = phone.NextOn(topic, std::chrono::seconds(15))) {
    const Result<Outcome> outcome = OpenReceipt(publish->payload, Ref("demo", "car-1"), {});
    if (outcome && outcome->command_id == id && IsFinal(outcome->state)) {
      return std::string(ToText(outcome->state));
    }
  }
  return "none";
}

}  // namespace

TEST_CASE("a command that is taken back while the car sleeps never acts when it wakes") {
  Household home;
  int flashes = 0;
  for (const std::string mqtt : {"5", "3.1.1"}) {
    CAPTURE(mqtt);
    home.Sleeps();
    const Ran sent = home.Phone({"send", "anna", "car-1", "lock", "--mqtt", mqtt});
    INFO(sent.output);
    REQUIRE(sent.exit_code == 0);
    CHECK(CountLines(sent.output, "HELD  (bridge)") == 1);
    REQUIRE_FALSE(home.Sent().empty());
    const json listed = home.Sent().back();
    CHECK(listed["state"] == "HELD");
    CHECK(listed["action"] == "lock");
    CHECK(listed["over"] == false);

    const Ran cancelled =
        home.Phone({"cancel", "anna", "car-1", "--timeout", "20s", "--mqtt", mqtt});
    INFO(cancelled.output);
    CHECK(cancelled.exit_code == 0);
    CHECK(CountLines(cancelled.output, "CANCELLED  (bridge)  cancelled: ") == 1);
    CHECK(CountLines(cancelled.output, "taken back: lock will not act any more") == 1);
    CHECK(home.Sent().back()["state"] == "CANCELLED");
    const std::string id = listed["command_id"];
    // It went to sleep a moment ago: the server cannot rule out that it had the command before.
    const Ran asked = home.Phone({"send", "anna", "--resume", id});
    CHECK(asked.exit_code == kUnknown);
    CHECK(CountLines(asked.output, "is over: CANCELLED") == 1);
    const Ran twice = home.Phone({"cancel", "anna", "car-1", id});
    CHECK(twice.exit_code == 1);
    CHECK(CountLines(twice.output, "nothing to take back") == 1);

    home.Wakes();
    CHECK(home.Flashes(++flashes));
    CHECK(home.Acts("lock") == 0);
  }
}

TEST_CASE("a cancel that comes too late is refused and says what became of the command") {
  Household home;
  REQUIRE(home.Flashes());
  const std::string id = home.Sent().back()["command_id"];
  // Another device with this key knows nothing but the id.
  std::filesystem::remove(home.cell.path() / "phones" / "anna" / "sent.json");
  const Ran late = home.Phone({"cancel", "anna", "car-1", id, "--timeout", "20s"});
  INFO(late.output);
  CHECK(late.exit_code == 1);
  CHECK(CountLines(late.output, "cancel: REFUSED  (car)  ended: ") == 1);
  CHECK(CountLines(late.output, "DONE  (car)") == 1);
  CHECK(CountLines(late.output, "too late: ") == 1);
  const Ran nothing = home.Phone({"cancel", "anna", "car-1"});
  CHECK(nothing.exit_code == 1);
  CHECK(CountLines(nothing.output, "has sent nothing to car demo/car-1 that may still act") == 1);
  CHECK(home.Flashes(2));
}

TEST_CASE("nobody takes back what another key has sent, not even before it is sent") {
  Household home;
  REQUIRE(home.Phone({"init", "bob"}).exit_code == 0);
  const PrivateKey bob = home.cell.PhoneKey("bob");
  const PrivateKey anna = home.cell.PhoneKey("anna");
  const Ran added = home.Phone({"send", "anna", "car-1", "add-key", "--arg",
                                "key=" + Base64UrlEncode(bob.Public().ToPoint()), "--arg",
                                "role=guest", "--wait"});
  INFO(added.output);
  REQUIRE(added.exit_code == 0);
  RawClient bobs(home.cell.AsPhone(bob));
  RawClient annas(home.cell.AsPhone(anna, 4));
  REQUIRE(bobs.Connect() == 0);
  REQUIRE(annas.Connect() == 0);
  const CarRef ref = Ref("demo", "car-1");
  REQUIRE(bobs.Subscribe(ReceiptTopic(ref, bob.Public().Id())) == 1);
  REQUIRE(annas.Subscribe(ReceiptTopic(ref, anna.Public().Id())) == 1);
  const auto send = [&](RawClient& client, const PrivateKey& key, const std::string& wire) {
    return client.Send({CommandTopic(ref, key.Public().Id()), wire, 1, Retain::kNo, 0});
  };
  const auto taking_back = [](const CommandId& id) {
    v1::Command action;
    action.mutable_cancel()->set_command_id(id.ToBytes());
    return action;
  };
  v1::Command lock;
  lock.mutable_lock();
  int asked = 0;
  const auto fresh = [&] {
    return CommandId::Make(UnixMs(), std::string(10, static_cast<char>('a' + asked++)));
  };

  // The car is awake and hears bob first.
  const CommandId early = fresh();
  const CommandId bobs_first = fresh();
  REQUIRE(send(bobs, bob, SealedAs(bob, bobs_first, taking_back(early))) == 0);
  CHECK(LastWord(bobs, bob.Public().Id(), bobs_first) != "none");
  REQUIRE(send(annas, anna, SealedAs(anna, early, lock)) == 0);
  CHECK(LastWord(annas, anna.Public().Id(), early) == "DONE");
  CHECK(home.Acts("lock") == 1);

  // The car sleeps, the bridge holds hers, then his.
  home.Sleeps();
  const CommandId held = fresh();
  const CommandId bobs_second = fresh();
  REQUIRE(send(annas, anna, SealedAs(anna, held, lock)) == 0);
  REQUIRE(annas.NextOn(ReceiptTopic(ref, anna.Public().Id())).has_value());
  REQUIRE(send(bobs, bob, SealedAs(bob, bobs_second, taking_back(held))) == 0);
  REQUIRE(bobs.NextOn(ReceiptTopic(ref, bob.Public().Id())).has_value());
  home.Wakes();
  CHECK(LastWord(annas, anna.Public().Id(), held) == "DONE");
  CHECK(home.Acts("lock") == 2);
}

TEST_CASE("a phone that was killed goes on with the same bytes and hears the outcome") {
  Household home;
  home.Sleeps();
  const auto sending =
      home.cell.StartLatchkey({"phone", "send", "anna", "car-1", "lock", "--wait"}, "sending");
  REQUIRE(Eventually([&] { return CountLines(sending->Output(), "HELD") == 1; }));
  REQUIRE(Eventually([&] { return home.Sent().back().value("state", "") == "HELD"; }));
  sending->Kill();
  const json sent = home.Sent().back();
  const std::string id = sent["command_id"];
  CHECK(sent["over"] == false);
  CHECK(sent["age_ms"].get<int64_t>() >= sent["state_age_ms"].get<int64_t>());
  const std::filesystem::path file = home.cell.path() / "phones" / "anna" / "sent.json";
  CHECK((std::filesystem::status(file).permissions() & std::filesystem::perms::mask) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));

  // Everybody who knows of it dies.
  home.cell.bridge().Kill();
  home.cell.broker().Kill();
  home.cell.StartBroker();
  home.cell.StartBridge();
  const auto resumed = home.cell.StartLatchkey(
      {"phone", "send", "anna", "--resume", id.substr(0, 23), "--timeout", "60s"}, "resumed");
  REQUIRE(Eventually([&] { return CountLines(resumed->Output(), id) == 1; }));
  home.Wakes();
  CHECK(resumed->Wait() == 0);
  INFO(resumed->Output());
  CHECK(CountLines(resumed->Output(), "DONE  (car)") == 1);
  CHECK(home.Acts("lock") == 1);
  CHECK(home.Sent().back()["state"] == "DONE");
  CHECK(home.Sent().size() == 1);
}

TEST_CASE("a phone that is stopped with Ctrl-C says how to go on and how to take it back") {
  Household home;
  home.Sleeps();
  const auto sending =
      home.cell.StartLatchkey({"phone", "send", "anna", "car-1", "lock", "--wait"}, "sending");
  REQUIRE(Eventually([&] { return CountLines(sending->Output(), "HELD") == 1; }));
  sending->Signal(SIGINT);
  CHECK(sending->Wait() == kTimedOut);
  const std::string id = home.Sent().back()["command_id"];
  CHECK(CountLines(sending->Output(), "latchkey phone send anna --resume " + id) == 1);
  CHECK(CountLines(sending->Output(), "latchkey phone cancel anna demo/car-1 " + id) == 1);
  const Ran cancelled =
      home.Phone({"cancel", "anna", "demo/car-1", id.substr(0, 23), "--timeout", "20s"});
  INFO(cancelled.output);
  CHECK(cancelled.exit_code == 0);
  home.Wakes();
  CHECK(home.Flashes());
  CHECK(home.Acts("lock") == 0);
}

TEST_CASE("without a bridge a car that is awake hears of a cancel, and a later copy does nothing") {
  Household home;
  home.cell.bridge().Stop();
  const PrivateKey anna = home.cell.PhoneKey("anna");
  const CommandId id = CommandId::Make(UnixMs(), "0123456789");
  const Ran cancelled = home.Phone({"cancel", "anna", "car-1", id.ToText(), "--timeout", "20s"});
  INFO(cancelled.output);
  CHECK(cancelled.exit_code == 0);
  CHECK(CountLines(cancelled.output, "CANCELLED  (car)  cancelled: ") == 1);
  RawClient phone(home.cell.AsPhone(anna));
  REQUIRE(phone.Connect() == 0);
  const CarRef ref = Ref("demo", "car-1");
  REQUIRE(phone.Subscribe(ReceiptTopic(ref, anna.Public().Id())) == 1);
  v1::Command lock;
  lock.mutable_lock();
  REQUIRE(phone.Send({CommandTopic(ref, anna.Public().Id()), SealedAs(anna, id, lock), 1,
                      Retain::kNo, 0}) == 0);
  CHECK(LastWord(phone, anna.Public().Id(), id) == "CANCELLED");
  CHECK(home.Flashes());
  CHECK(home.Acts("lock") == 0);
}

}  // namespace latchkey::testing
