// Keys taken away while the car sleeps, over the death of everything; and what is left when the
// server has lost all it knew, or is given back what it knew long ago.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/command.h"
#include "proto/receipt.h"
#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

namespace fs = std::filesystem;

constexpr int kNotAuthorized = 0x87;

nlohmann::json Get(const Cell& cell, const std::string& path) {
  return nlohmann::json::parse(HttpGet(cell.http_port(), path).body, nullptr, false);
}

// State of the newest command of `key` for the car; "" when there is none.
std::string StateOf(const Cell& cell, const KeyId& key) {
  std::string state;
  const nlohmann::json all = Get(cell, "/v1/commands?fleet=demo&car=car-1");
  for (const auto& command : all.at("commands")) {
    if (command["key_id"] == key.str()) {
      state = command["state"].get<std::string>() + " " + command["reason"].get<std::string>();
    }
  }
  return state;
}

bool CarIs(const Cell& cell, bool online) {
  return Eventually([&] { return Get(cell, "/v1/cars/demo/car-1")["online"] == online; });
}

uint64_t RingVersion(const Cell& cell) {
  const auto version = Get(cell, "/v1/cars/demo/car-1")["ring_version"];
  return version.is_number() ? version.get<uint64_t>() : 0;
}

std::string LockBy(const PrivateKey& key) {
  CommandRequest request;
  request.ref = Ref("demo", "car-1");
  const Timestamp now{UnixMs()};
  request.id = CommandId::Make(now.ms, "0123456789");
  request.issued_at = now;
  request.expires_at = now + std::chrono::minutes(9);
  request.action.mutable_lock();
  return SealCommand(request, key).value();
}

// anna owns car-1, which runs; bob is her guest.
PrivateKey AnnaSharesWithBob(Cell& cell) {
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  REQUIRE(cell.Latchkey({"phone", "init", "bob"}).exit_code == 0);
  PrivateKey bob = cell.PhoneKey("bob");
  const Ran added = cell.Latchkey({"phone", "send", "anna", "car-1", "add-key", "--arg",
                                   "key=" + Base64UrlEncode(bob.Public().ToPoint()), "--arg",
                                   "role=guest", "--wait", "--timeout", "20s"});
  INFO(added.output);
  REQUIRE(added.exit_code == 0);
  return bob;
}

// Whether bob gets anything at the car.
bool BobIsDenied(const Cell& cell, const PrivateKey& bob) {
  RawClient client(cell.AsPhone(bob));
  if (client.Connect() != 0) {
    return false;
  }
  const std::string lane = CommandTopic(Ref("demo", "car-1"), bob.Public().Id());
  return client.Subscribe("lk/1/demo/car-1/presence") == kNotAuthorized &&
         client.Send({lane, LockBy(bob), 1, Retain::kNo, 0}) == kNotAuthorized;
}

bool AnnaFlashes(const Cell& cell) {
  const Ran ran =
      cell.Latchkey({"phone", "send", "anna", "car-1", "flash", "--wait", "--timeout", "30s"});
  INFO(ran.output);
  CHECK(ran.exit_code == 0);
  return ran.exit_code == 0;
}

// What the servers know that is not made by `fleet init`: store, ring file, the broker's database.
std::vector<fs::path> ServerState(const Cell& cell) {
  std::vector<fs::path> state;
  for (const fs::path& folder : {cell.path() / "broker", cell.path() / "bridge"}) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      const bool made = name == "store" || name.find(".db") != std::string::npos ||
                        name.find("rings.log") != std::string::npos;
      if (made) {
        state.push_back(entry.path());
      }
    }
  }
  return state;
}

void StopServices(Cell& cell) {
  cell.bridge().Stop();
  cell.broker().Stop();
}

}  // namespace

TEST_CASE("a guest removed while the car sleeps is denied at once, over the death of everything") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  const PrivateKey bob = AnnaSharesWithBob(cell);
  const KeyId anna_id = cell.PhoneKey("anna").Public().Id();
  const KeyId bob_id = bob.Public().Id();
  cell.StartCar("car-1").Stop();
  REQUIRE(CarIs(cell, false));

  // bob's lock waits for the car.
  RawClient phone(cell.AsPhone(bob));
  REQUIRE(phone.Connect() == 0);
  const std::string receipts = ReceiptTopic(Ref("demo", "car-1"), bob_id);
  REQUIRE(phone.Subscribe(receipts) == 1);
  const std::string lane = CommandTopic(Ref("demo", "car-1"), bob_id);
  REQUIRE(phone.Send({lane, LockBy(bob), 1, Retain::kNo, 0}) == 0);
  const auto held = phone.NextOn(receipts, std::chrono::seconds(20));
  REQUIRE(held.has_value());
  CHECK(OpenReceipt(held->payload, Ref("demo", "car-1"), {})->state == v1::RECEIPT_STATE_HELD);

  const auto anna = cell.StartLatchkey({"phone", "send", "anna", "car-1", "remove-key", "--arg",
                                        "key_id=" + bob_id.str(), "--wait", "--timeout", "110s"},
                                       "anna");
  REQUIRE(Eventually([&] { return CountLines(anna->Output(), "HELD") >= 1; }));
  // He is told, and then hears nothing more.
  const auto refused = phone.NextOn(receipts, std::chrono::seconds(20));
  REQUIRE(refused.has_value());
  const Outcome outcome = OpenReceipt(refused->payload, Ref("demo", "car-1"), {}).value();
  CHECK(outcome.state == v1::RECEIPT_STATE_REFUSED);
  CHECK(outcome.reason == v1::REASON_BLOCKED);
  CHECK(phone.Ended(std::chrono::seconds(10)) != kNoAnswer);
  CHECK(BobIsDenied(cell, bob));
  CHECK(StateOf(cell, bob_id) == "REFUSED blocked");
  const auto blocks = Get(cell, "/v1/blocks")["blocks"];
  REQUIRE(blocks.size() == 1);
  CHECK(blocks[0]["key_id"] == bob_id.str());
  CHECK(blocks[0]["car"] == "car-1");
  CHECK(blocks[0]["cause"] == "owner");

  cell.bridge().Kill();
  CHECK(BobIsDenied(cell, bob));
  cell.broker().Kill();
  cell.StartBroker();
  CHECK(BobIsDenied(cell, bob));
  cell.StartBridge();
  CHECK(BobIsDenied(cell, bob));
  CHECK(StateOf(cell, anna_id) == "HELD none");

  cell.StartCar("car-1");
  CHECK(anna->Wait(std::chrono::seconds(60)) == 0);
  INFO(anna->Output());
  CHECK(CountLines(anna->Output(), "DONE") >= 1);
  CHECK(Eventually([&] { return Get(cell, "/v1/blocks")["blocks"].empty(); }));
  CHECK(Get(cell, "/v1/blocks?lifted=1")["blocks"].size() == 1);
  CHECK(BobIsDenied(cell, bob));  // by the ring, now
  CHECK(CountLines(cell.CarOutput("car-1"), "act lock") == 0);
  CHECK(AnnaFlashes(cell));
}

TEST_CASE(
    "when all the server's disks are lost, cars bring their rings back and nobody pairs anew") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  const PrivateKey bob = AnnaSharesWithBob(cell);
  const uint64_t shared = RingVersion(cell);
  REQUIRE(shared >= 2);
  // A backup from when bob had a key.
  StopServices(cell);
  const fs::path backup = cell.path() / "backup";
  fs::create_directories(backup);
  for (const fs::path& path : ServerState(cell)) {
    const fs::path to = backup / path.parent_path().filename() / path.filename();
    fs::create_directories(to.parent_path());
    fs::copy(path, to, fs::copy_options::recursive);
  }
  REQUIRE(fs::exists(backup / "bridge"));
  REQUIRE(fs::exists(backup / "broker"));
  cell.StartBroker();
  cell.StartBridge();
  REQUIRE(CarIs(cell, true));
  const Ran removed =
      cell.Latchkey({"phone", "send", "anna", "car-1", "remove-key", "--arg",
                     "key_id=" + bob.Public().Id().str(), "--wait", "--timeout", "30s"});
  INFO(removed.output);
  REQUIRE(removed.exit_code == 0);
  CHECK(RingVersion(cell) == shared + 1);

  // Everything but the configuration and the CAs is gone. The car has run all the while.
  cell.bridge().Kill();
  cell.broker().Kill();
  for (const fs::path& path : ServerState(cell)) {
    fs::remove_all(path);
  }
  cell.StartBroker();
  cell.StartBridge();
  REQUIRE(Eventually([&] { return RingVersion(cell) == shared + 1; }));
  CHECK(AnnaFlashes(cell));
  CHECK(BobIsDenied(cell, bob));

  // The old backup is put back: the first word of the car ends it.
  StopServices(cell);
  for (const fs::path& path : ServerState(cell)) {
    fs::remove_all(path);
  }
  for (const char* folder : {"broker", "bridge"}) {
    fs::copy(backup / folder, cell.path() / folder, fs::copy_options::recursive);
  }
  cell.StartBroker();
  cell.StartBridge();
  REQUIRE(Eventually([&] { return RingVersion(cell) == shared + 1; }));
  CHECK(AnnaFlashes(cell));
  CHECK(BobIsDenied(cell, bob));
  // The broker's own copy is the newer one too: it alone decides when it starts again.
  cell.bridge().Kill();
  cell.broker().Kill();
  cell.StartBroker();
  CHECK(BobIsDenied(cell, bob));
}

}  // namespace latchkey::testing
