// A key given without the car being near, narrowed and taken away again, by people as they do it;
// and a fleet's key that does the same to a hundred cars.
#include <chrono>
#include <ctime>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/topic.h"
#include "proto/types.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;

constexpr const char* kDrives = LK_SOURCE_DIR "/tools/fleet/drives";

// The objects of JSON lines; other lines are left out.
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

// The last object that has `key`.
json With(const std::string& output, const std::string& key) {
  json found;
  for (const json& line : JsonLines(output)) {
    found = line.contains(key) ? line : found;
  }
  INFO(output);
  REQUIRE(found.is_object());
  return found;
}

std::string KeyLink(const Cell& cell, const std::string& phone) {
  const Ran made = cell.Latchkey({"phone", "init", phone});
  INFO(made.output);
  REQUIRE(made.exit_code == 0);
  const Ran key = cell.Latchkey({"--json", "phone", "key", phone});
  REQUIRE(key.exit_code == 0);
  return With(key.output, "link")["link"];
}

struct Shared {
  Ran ran;
  std::string state;  // DONE, HELD, UNCHANGED
  std::string invitation;
};

Shared Share(const Cell& cell, const std::string& who, const std::vector<std::string>& more) {
  std::vector<std::string> words = {"--json", "phone", "share", "anna", "car-1", who};
  words.insert(words.end(), more.begin(), more.end());
  Shared shared{cell.Latchkey(words), "", ""};
  for (const json& line : JsonLines(shared.ran.output)) {
    if (line.value("event", "") == "shared") {
      shared.state = line["state"];
      shared.invitation = line["invitation"];
    }
  }
  return shared;
}

Ran Send(const Cell& cell, const std::string& phone, const std::string& action) {
  return cell.Latchkey({"phone", "send", phone, "car-1", action, "--wait", "--timeout", "20s"});
}

std::string KeyIdOf(const Cell& cell, const std::string& phone) {
  return cell.PhoneKey(phone).Public().Id().str();
}

// A weekday that is two days away from now in any zone.
std::string DayAfterTomorrow() {
  static const std::vector<std::string> days = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
  const std::time_t now = UnixMs() / 1000;
  std::tm local{};
  REQUIRE(::localtime_r(&now, &local) != nullptr);
  return days[static_cast<size_t>(local.tm_wday + 2) % days.size()];
}

bool Says(const Process& process, const std::string& text) {
  return Eventually([&] { return process.Output().find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("an owner shares, narrows and removes a guest's key, and both phones are told") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar(
      "car-1", {"--offer", "--loop", "--replay", std::string(kDrives) + "/T1_06_30_2021_2.csv.gz"});
  cell.Pair("anna", "car-1");
  const std::string link = KeyLink(cell, "bob");
  const auto anna_watches = cell.StartLatchkey({"phone", "watch", "anna", "car-1"}, "anna-watch");
  REQUIRE(Says(*anna_watches, "location.latitude"));

  const Shared given =
      Share(cell, link, {"--may", "signal", "--sees", "body", "--until", "3d", "--label", "Bob"});
  INFO(given.ran.output);
  REQUIRE(given.ran.exit_code == 0);
  CHECK(given.state == "DONE");
  CHECK(Says(*anna_watches, "key added: Bob (guest)"));

  const Ran accepted = cell.Latchkey({"phone", "accept", "bob", given.invitation});
  INFO(accepted.output);
  REQUIRE(accepted.exit_code == 0);
  CHECK(accepted.output.find("may signal; sees body") != std::string::npos);

  // The guest may flash and not unlock, sees the body and not the location.
  CHECK(Send(cell, "bob", "flash").exit_code == 0);
  const Ran unlocked = Send(cell, "bob", "unlock");
  INFO(unlocked.output);
  CHECK(unlocked.exit_code == 1);
  CHECK(CountLines(cell.CarOutput("car-1"), "act unlock") == 0);
  const Ran seen = cell.Latchkey({"phone", "watch", "bob", "car-1", "--once"});
  INFO(seen.output);
  CHECK(seen.output.find("body.is_locked") != std::string::npos);
  CHECK(seen.output.find("location.") == std::string::npos);

  const auto bob_watches = cell.StartLatchkey({"phone", "watch", "bob", "car-1"}, "bob-watch");
  REQUIRE(Says(*bob_watches, "body.is_locked"));

  // The same once more changes nothing, and shows the invitation again.
  const Shared again = Share(cell, "Bob", {});
  INFO(again.ran.output);
  CHECK(again.state == "UNCHANGED");
  CHECK(again.invitation == given.invitation);

  // Hours that do not hold at this moment shut the guest out; always lets it in again.
  const Shared hours = Share(cell, "Bob", {"--hours", DayAfterTomorrow() + " 10:00-11:00"});
  INFO(hours.ran.output);
  REQUIRE(hours.ran.exit_code == 0);
  CHECK(Send(cell, "bob", "flash").exit_code == 1);
  REQUIRE(Share(cell, "Bob", {"--hours", "always"}).ran.exit_code == 0);
  CHECK(Send(cell, "bob", "flash").exit_code == 0);

  // Narrowed to looking.
  REQUIRE(Share(cell, KeyIdOf(cell, "bob"), {"--may", "none"}).ran.exit_code == 0);
  CHECK(Says(*anna_watches, "key changed: Bob (guest)"));
  CHECK(Send(cell, "bob", "flash").exit_code == 1);
  const Ran keys = cell.Latchkey({"--json", "phone", "keys", "anna", "car-1"});
  INFO(keys.output);
  const json ring = With(keys.output, "keys");
  REQUIRE(ring["keys"].size() == 2);
  CHECK(ring["keys"][1]["label"] == "Bob");
  CHECK(ring["keys"][1]["may"].empty());
  CHECK(ring["keys"][1]["sees"] == json::array({"body"}));
  CHECK(ring["keys"][0]["this_phone"] == true);

  // A guest gives nothing, and an owner cannot be pushed out by one.
  const Ran pushed = cell.Latchkey({"phone", "remove", "bob", "car-1", KeyIdOf(cell, "anna")});
  INFO(pushed.output);
  CHECK(pushed.exit_code == 1);

  const Ran removed = cell.Latchkey({"phone", "remove", "anna", "car-1", "Bob", "--wait"});
  INFO(removed.output);
  REQUIRE(removed.exit_code == 0);
  CHECK(Says(*anna_watches, "key removed: Bob"));
  const bool bob_knows = Says(*bob_watches, "has lost its key");
  INFO(bob_watches->Output());
  CHECK(bob_knows);
  CHECK(Send(cell, "bob", "flash").exit_code != 0);
}

TEST_CASE("a key is shared while the bridge is stopped") {
  Cell cell;
  cell.StartBroker();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const std::string link = KeyLink(cell, "bob");
  const Shared given = Share(cell, link, {});
  INFO(given.ran.output);
  REQUIRE(given.ran.exit_code == 0);
  CHECK(given.state == "DONE");
  const Ran accepted = cell.Latchkey({"phone", "accept", "bob", given.invitation});
  INFO(accepted.output);
  REQUIRE(accepted.exit_code == 0);
  CHECK(Send(cell, "bob", "lock").exit_code == 0);
  // The administrator needs no bridge either.
  const std::string bob = KeyIdOf(cell, "bob");
  const Ran blocked = cell.Latchkey({"block", "add", bob, "--note", "phone lost"});
  INFO(blocked.output);
  REQUIRE(blocked.exit_code == 0);
  CHECK(Send(cell, "bob", "lock").exit_code == 1);
  const Ran listed = cell.Latchkey({"block", "list"});
  INFO(listed.output);
  CHECK(listed.output.find(bob) != std::string::npos);
  CHECK(listed.output.find("phone lost") != std::string::npos);
  CHECK(listed.output.find("1 block stands") != std::string::npos);
  const Ran lifted = cell.Latchkey({"block", "lift", bob});
  INFO(lifted.output);
  REQUIRE(lifted.exit_code == 0);
  CHECK(Send(cell, "bob", "lock").exit_code == 0);
}

TEST_CASE("a key to a sleeping car waits, and so does its removal, which shuts out at once") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  Process& car = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const std::string link = KeyLink(cell, "bob");
  car.Stop();

  const Shared given = Share(cell, link, {});
  INFO(given.ran.output);
  REQUIRE(given.ran.exit_code == 0);
  CHECK(given.state == "HELD");
  const Ran early = cell.Latchkey({"phone", "accept", "bob", given.invitation, "--timeout", "1s"});
  INFO(early.output);
  CHECK(early.exit_code == 3);
  // The guest waits with the invitation, the car wakes, and the guest is in.
  const auto waits =
      cell.StartLatchkey({"phone", "accept", "bob", given.invitation}, "bob-accepts");
  REQUIRE(Says(*waits, "waiting until car"));
  cell.StartCar("car-1");
  CHECK(waits->Wait() == 0);
  CHECK(Send(cell, "bob", "flash").exit_code == 0);

  cell.StartCar("car-1").Stop();
  const std::string bob = KeyIdOf(cell, "bob");
  RawClient bob_phone(cell.AsPhone(cell.PhoneKey("bob")));
  REQUIRE(bob_phone.Connect() == 0);
  REQUIRE(bob_phone.Subscribe("lk/1/demo/car-1/presence") == 1);
  const Ran removed = cell.Latchkey({"phone", "remove", "anna", "car-1", "bob"});
  INFO(removed.output);
  REQUIRE(removed.exit_code == 0);
  CHECK(removed.output.find("blocked at the server at once") != std::string::npos);
  CHECK(bob_phone.Ended(std::chrono::seconds(10)) != kNoAnswer);
  const Ran keys = cell.Latchkey({"phone", "keys", "anna", "car-1"});
  INFO(keys.output);
  CHECK(keys.output.find("REMOVAL WAITS") != std::string::npos);
  cell.StartCar("car-1");
  CHECK(Eventually([&] {
    const Ran after = cell.Latchkey({"phone", "keys", "anna", "car-1"});
    return after.exit_code == 0 && after.output.find(bob) == std::string::npos;
  }));
}

TEST_CASE("a guest put on the ring by a plain add-key takes the invitation too") {
  Cell cell;
  cell.StartBroker();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  KeyLink(cell, "bob");
  const std::string point = Base64UrlEncode(cell.PhoneKey("bob").Public().ToPoint());
  const Ran added = cell.Latchkey({"phone", "send", "anna", "car-1", "add-key", "--arg",
                                   "key=" + point, "--arg", "role=guest", "--wait"});
  INFO(added.output);
  REQUIRE(added.exit_code == 0);
  CHECK(added.output.find("key added") != std::string::npos);
  const Shared shown = Share(cell, KeyIdOf(cell, "bob"), {});
  INFO(shown.ran.output);
  CHECK(shown.state == "UNCHANGED");
  const Ran accepted = cell.Latchkey({"phone", "accept", "bob", shown.invitation});
  INFO(accepted.output);
  CHECK(accepted.exit_code == 0);
  CHECK(Send(cell, "bob", "flash").exit_code == 0);
}

TEST_CASE("a fleet gives a key to a hundred cars and takes it back, and goes on where it stopped") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  // One car without the fleet's key, and one that sleeps.
  cell.StartCar("stranger").Stop();
  REQUIRE(cell.Latchkey({"fleet", "key", "demo"}).exit_code == 0);
  cell.StartCar("sleeper").Stop();
  const auto cars = cell.StartLatchkey({"fleet", "simulate", "--fleet", "demo", "--cars", "100",
                                        "--prefix", "r-", "--drives", kDrives},
                                       "cars");
  REQUIRE(Eventually([&] { return CountLines(cell.BrokerLog(), "as demo/r-") >= 100; }));
  const std::string link = KeyLink(cell, "bob");
  const auto begin = std::chrono::steady_clock::now();
  const auto give = [&](const std::string& which) {
    return cell.Latchkey({"--json", "fleet", "give", "demo", link, "--cars", which, "--may",
                          "signal,open,close", "--sees", "body,energy,location"});
  };
  const Ran some = give("r-01,r-02,sleeper");
  INFO(some.output);
  CHECK(some.exit_code == 0);
  const json first = With(some.output, "not_tried");
  CHECK(first["done"] == 2);
  CHECK(first["held"] == 1);

  const Ran all = give("all");
  INFO(all.output);
  CHECK(all.exit_code == 1);
  const json second = With(all.output, "not_tried");
  CHECK(second["cars"] == 102);
  CHECK(second["done"] == 98);
  CHECK(second["had"] == 2);
  CHECK(second["held"] == 1);
  CHECK(second["refused"] == 1);
  std::string invitation;
  for (const json& line : JsonLines(all.output)) {
    invitation = line.value("car", "") == "demo/r-50" ? line["invitation"] : json(invitation);
  }
  const Ran accepted = cell.Latchkey({"phone", "accept", "bob", invitation});
  INFO(accepted.output);
  CHECK(accepted.exit_code == 0);
  CHECK(cell.Latchkey({"phone", "send", "bob", "r-50", "flash", "--wait"}).exit_code == 0);

  const Ran taken =
      cell.Latchkey({"--json", "fleet", "take", "demo", KeyIdOf(cell, "bob"), "--cars", "all"});
  INFO(taken.output);
  CHECK(taken.exit_code == 1);
  const json last = With(taken.output, "not_tried");
  CHECK(last["done"] == 100);
  CHECK(last["refused"] == 1);
  CHECK(cell.Latchkey({"phone", "send", "bob", "r-50", "flash", "--wait"}).exit_code == 1);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
}

}  // namespace latchkey::testing
