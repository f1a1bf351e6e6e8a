// What a phone has sent outlives the process, only for its owner's eyes, and never grows.
#include "tools/latchkey/sent_file.h"

#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey::cli {
namespace {

using latchkey::testing::kNow;

// A data folder with the folder of one phone, gone at the end.
struct Place {
  Place()
      : path(std::filesystem::temp_directory_path() /
             ("latchkey-sent-" + std::to_string(std::random_device()()))) {
    std::filesystem::create_directories(Folder(path).Phone("anna"));
  }

  ~Place() { std::filesystem::remove_all(path); }

  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  SentFile File() const { return {Folder(path), "anna"}; }

  std::filesystem::path path;
};

SentCommand Command(int number, std::optional<Duration> lives = std::chrono::minutes(10)) {
  SentCommand command;
  command.id = CommandId::Make(kNow.ms + number, "0123456789");
  command.ref = testing::Ref("demo", "car-1");
  command.action = "lock";
  command.sent_at = kNow;
  if (lives) {
    command.expires_at = kNow + *lives;
  }
  command.wire = std::string("\0\xff bytes", 8);
  return command;
}

Outcome Of(const SentCommand& command, v1::ReceiptState state) {
  return MakeOutcome(command.ref, command.id, state, v1::REASON_UNSPECIFIED, kNow,
                     v1::RECEIPT_SOURCE_BRIDGE);
}

TEST_CASE("sent: what was put is read again, byte by byte, by its owner alone") {
  const Place place;
  CHECK(place.File().Read(kNow)->empty());
  SentCommand command = Command(1);
  REQUIRE(place.File().Put(command, kNow));
  REQUIRE(place.File().Put(Command(2, std::nullopt), kNow));
  CHECK(place.File().Read(kNow).value() == std::vector<SentCommand>{command, Command(2, {})});
  const auto file = Folder(place.path).Phone("anna") / "sent.json";
  CHECK((std::filesystem::status(file).permissions() & std::filesystem::perms::mask) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  REQUIRE(place.File().Note(Of(command, v1::RECEIPT_STATE_HELD), kNow + Duration(5)));
  command = place.File().Read(kNow)->front();
  CHECK(command.state == v1::RECEIPT_STATE_HELD);
  CHECK(command.state_at == kNow + Duration(5));
  CHECK_FALSE(command.ended());
  REQUIRE(place.File().Note(Of(Command(9), v1::RECEIPT_STATE_HELD), kNow));  // not known
  CHECK(place.File().Read(kNow)->size() == 2);
}

TEST_CASE("sent: what is of no use any more is dropped") {
  const Place place;
  REQUIRE(place.File().Put(Command(1), kNow));
  REQUIRE(place.File().Put(Command(2, std::nullopt), kNow));
  const Timestamp later = kNow + std::chrono::minutes(71);
  CHECK(place.File().Read(later)->size() == 1);
  REQUIRE(place.File().Note(Of(Command(2), v1::RECEIPT_STATE_DONE), kNow));
  CHECK(place.File().Read(later)->empty());
}

TEST_CASE("sent: the file is bounded; what has ended goes before what may still act") {
  const Place place;
  for (int i = 0; i < static_cast<int>(kSentMax); ++i) {
    REQUIRE(place.File().Put(Command(i), kNow));
  }
  REQUIRE(place.File().Note(Of(Command(5), v1::RECEIPT_STATE_DONE), kNow));
  REQUIRE(place.File().Put(Command(100), kNow));
  std::vector<SentCommand> held = place.File().Read(kNow).value();
  CHECK(held.size() == kSentMax);
  CHECK(held.front() == Command(0));
  CHECK(testing::Said(FindSent(held, Command(5).id.ToText())) == "REASON_MALFORMED");
  REQUIRE(place.File().Put(Command(101), kNow));
  held = place.File().Read(kNow).value();
  CHECK(held.size() == kSentMax);
  CHECK(held.front() == Command(1));
}

TEST_CASE("sent: a command is named by its id or enough of it") {
  SentCommand one = Command(1);
  SentCommand two = Command(1);
  two.id.bytes[15] = static_cast<uint8_t>(two.id.bytes[15] + 1);
  const std::string text = one.id.ToText();
  CHECK(FindSent({one, two}, text).value() == one);
  CHECK(testing::Said(FindSent({one, two}, text.substr(0, 30))) == "REASON_MALFORMED");
  CHECK(FindSent({one}, text.substr(0, 4)).value() == one);
  CHECK(testing::Said(FindSent({one}, text.substr(0, 3))) == "REASON_MALFORMED");
  CHECK(testing::Said(FindSent({one}, "")) == "REASON_MALFORMED");
}

TEST_CASE("sent: a file that somebody else wrote is refused, not overwritten") {
  const Place place;
  const auto file = Folder(place.path).Phone("anna") / "sent.json";
  for (const char* text : {"{", "{}", "[3]", "[{\"command_id\":\"x\"}]"}) {
    std::ofstream(file) << text;
    CAPTURE(text);
    CHECK(testing::Said(place.File().Read(kNow)) == "REASON_MALFORMED");
    CHECK(testing::Said(place.File().Put(Command(1), kNow)) == "REASON_MALFORMED");
    CHECK(ReadFile(file).value() == text);
  }
}

}  // namespace
}  // namespace latchkey::cli
