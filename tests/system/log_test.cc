// The log as people read, keep and verify it; and many commands that share a commit.
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/command.h"
#include "proto/receipt.h"
#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;

std::string ReadBytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteBytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// What the log says of commands, as "lock HELD".
std::vector<std::string> Steps(const Cell& cell) {
  std::vector<std::string> steps;
  const Ran ran = cell.Latchkey(
      {"--json", "log", "--car", "demo/car-1", "--event", "command", "--since", "1h"});
  std::istringstream lines(ran.output);
  for (std::string line; std::getline(lines, line);) {
    const json entry = json::parse(line, nullptr, false);
    if (entry.is_object() && entry.contains("state")) {
      steps.push_back(entry.value("action", "?") + " " + entry["state"].get<std::string>());
    }
  }
  return steps;
}

int64_t Metric(const Cell& cell, const std::string& name) {
  std::istringstream lines(HttpGet(cell.http_port(), "/metrics").body);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name + " ", 0) == 0) {
      return static_cast<int64_t>(std::stod(line.substr(name.size() + 1)));
    }
  }
  return -1;
}

}  // namespace

TEST_CASE("each step of a command is in the log, which stays one chain over kills of the bridge") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  Process& car = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const auto follow = cell.StartLatchkey({"log", "--follow", "--event", "command"}, "follow");
  car.Stop();
  const Ran held = cell.Latchkey({"phone", "send", "anna", "car-1", "lock", "--timeout", "15s"});
  INFO(held.output);
  REQUIRE(CountLines(held.output, "HELD") >= 1);
  cell.bridge().Kill();
  cell.StartBridge();
  cell.StartCar("car-1");
  const std::vector<std::string> all = {"lock ARRIVED", "lock HELD", "lock DELIVERED", "lock DONE"};
  std::vector<std::string> steps;
  Eventually([&] {
    steps = Steps(cell);
    return steps == all;
  });
  CHECK(steps == all);
  // Who follows has seen the same over the death of the bridge, with the name of the phone.
  CHECK(Eventually([&] { return CountLines(follow->Output(), "lock DONE") == 1; }));
  CHECK(CountLines(follow->Output(), "lock HELD") == 1);
  CHECK(follow->Output().find("key anna (") != std::string::npos);
  follow->Stop();
  const Ran verified = cell.Latchkey({"log", "--verify"});
  INFO(verified.output);
  CHECK(verified.exit_code == 0);
  CHECK(verified.output.find("are one chain") != std::string::npos);
  // Filters: nothing of another key, nothing of another time; what cannot be is said.
  CHECK(cell.Latchkey({"log", "--key", std::string(22, 'k')}).output.empty());
  CHECK(cell.Latchkey({"log", "--since", "1h", "--until", "1h"}).output.empty());
  CHECK(cell.Latchkey({"log", "--car", "no car"}).exit_code == 2);
}

TEST_CASE("an exported log goes on where it ended, and what was done to it is found") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  const std::filesystem::path file = cell.path() / "cell.log";
  const auto run = [&](const std::vector<std::string>& words) {
    std::vector<std::string> all = {"log"};
    all.insert(all.end(), words.begin(), words.end());
    return cell.Latchkey(all);
  };
  REQUIRE(cell.Latchkey({"phone", "send", "anna", "car-1", "lock", "--wait"}).exit_code == 0);
  REQUIRE(Eventually([&] { return Steps(cell).size() >= 3; }));
  const Ran first = run({"--export", file.string()});
  INFO(first.output);
  REQUIRE(first.exit_code == 0);
  const std::string head = first.output.substr(first.output.rfind("head ") + 5, 66);
  const std::string before = ReadBytes(file);
  REQUIRE(cell.Latchkey({"phone", "send", "anna", "car-1", "flash", "--wait"}).exit_code == 0);
  REQUIRE(Eventually([&] { return Steps(cell).size() >= 6; }));
  // A torn end is cut off, and the copy goes on.
  WriteBytes(file, before.substr(0, before.size() - 7));
  const Ran torn = run({"--verify", file.string()});
  CHECK(torn.exit_code == 0);
  CHECK(torn.output.find("torn record") != std::string::npos);
  CHECK(run({"--export", file.string()}).exit_code == 0);
  const std::string whole = ReadBytes(file);
  CHECK(whole.size() > before.size());
  CHECK(whole.substr(0, before.size()) == before);
  CHECK(run({"--verify", file.string()}).exit_code == 0);
  const std::string kept = head.substr(0, head.find('\n'));
  CHECK(run({"--verify", file.string(), "--head", kept}).exit_code == 0);
  CHECK(run({"--verify", "--head", kept}).exit_code == 0);
  std::string other = kept;
  other.back() = other.back() == '0' ? '1' : '0';
  CHECK(run({"--verify", "--head", other}).exit_code == 1);
  // A flipped byte in the middle, and a record that is gone.
  std::string flipped = whole;
  flipped[whole.size() / 2] = static_cast<char>(flipped[whole.size() / 2] ^ 1);
  WriteBytes(file, flipped);
  const Ran found = run({"--verify", file.string()});
  CHECK(found.exit_code == 1);
  CHECK(found.output.find("broken") != std::string::npos);
  const size_t begin = std::string("latchkey log 1\n").size();
  const auto length = [&](size_t at) {
    return 4 + static_cast<size_t>(static_cast<unsigned char>(whole[at + 2])) * 256 +
           static_cast<unsigned char>(whole[at + 3]);
  };
  const size_t second = begin + length(begin);
  WriteBytes(file, whole.substr(0, second) + whole.substr(second + length(second)));
  const Ran missing = run({"--verify", file.string()});
  CHECK(missing.exit_code == 1);
  CHECK(missing.output.find("record 3: records 2 to 2 are missing") != std::string::npos);
  CHECK(run({"--export", file.string()}).exit_code == 1);  // it does not go on from that
}

TEST_CASE("commands that come together share commits, and each is held") {
  constexpr int kCars = 8;
  constexpr int kPerCar = 15;
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  const PrivateKey key = PrivateKey::Generate();
  for (int i = 0; i < kCars; ++i) {
    RawCar car(cell, "demo", "car-" + std::to_string(i));
    REQUIRE(car.PublishRing({{key.Public(), v1::ROLE_OWNER}}) == 0);
    car.client().Disconnect();
  }
  REQUIRE(Eventually([&] { return Metric(cell, "latchkey_rings_stored_total") >= kCars; }));
  RawClient phone(cell.AsPhone(key));
  REQUIRE(phone.Connect() == 0);
  const KeyId lane = key.Public().Id();
  const int64_t commits = Metric(cell, "latchkey_store_commits_total");
  std::vector<Publish> commands;
  for (int i = 0; i < kCars * kPerCar; ++i) {
    CommandRequest request;
    request.ref = {FleetId::Parse("demo").value(),
                   CarId::Parse("car-" + std::to_string(i % kCars)).value()};
    std::string random = "0123456789";
    random.back() = static_cast<char>(i);
    request.id = CommandId::Make(UnixMs(), random);
    request.issued_at = Timestamp{UnixMs()};
    request.expires_at = request.issued_at + std::chrono::minutes(1);
    request.action.mutable_flash_lights();
    commands.push_back(
        {CommandTopic(request.ref, lane), SealCommand(request, key).value(), 1, Retain::kNo, 0});
  }
  for (const Publish& command : commands) {
    REQUIRE(phone.Post(command) != 0);
  }
  REQUIRE(
      Eventually([&] { return Metric(cell, "latchkey_commands_held_total") >= kCars * kPerCar; }));
  const int64_t used = Metric(cell, "latchkey_store_commits_total") - commits;
  const std::string figures =
      std::to_string(kCars * kPerCar) + " commands held with " + std::to_string(used) + " commits";
  MESSAGE(figures);
  CHECK(used <= kCars * kPerCar / 3);
}

}  // namespace latchkey::testing
