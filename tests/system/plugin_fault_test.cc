// When a plugin throws, the broker denies and goes on: the door of our plugins around one that
// fails on demand.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

constexpr int kNotAuthorized = 0x87;
constexpr std::chrono::milliseconds kQuiet{300};
constexpr const char* kFaulty = LK_BINARY_DIR "/tests/system/faulty_plugin.so";

// The cell's broker with the faulty plugin in the place of ours.
void UseFaulty(const Cell& cell, const std::string& more = "") {
  const std::filesystem::path path = cell.path() / "broker" / "mosquitto.conf";
  std::istringstream lines(ReadAll(path));
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("plugin", 0) != 0) {
      text += line + "\n";
      continue;
    }
    if (line.find("latchkey_auth.so") != std::string::npos) {
      text += std::string("plugin ") + kFaulty + "\n" + more;
    }
  }
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

RawOptions As(const Cell& cell, const std::string& client_id, int version = 5) {
  RawOptions options;
  options.port = cell.phone_port();
  options.version = version;
  options.client_id = client_id;
  options.user_name = "user";
  options.password = "password";
  return options;
}

}  // namespace

TEST_CASE("a fault in a plugin denies what was asked, and the broker goes on") {
  Cell cell;
  UseFaulty(cell);
  cell.StartBroker();
  RawClient sender(As(cell, "sender"));
  RawClient reader(As(cell, "reader"));
  REQUIRE(sender.Connect() == 0);
  REQUIRE(reader.Connect() == 0);
  REQUIRE(reader.Subscribe("t/#") == 1);
  for (const std::string fault : {"fault-std", "fault-int", "fault-assert", "fault-twice"}) {
    CAPTURE(fault);
    for (const int version : {5, 4}) {
      RawClient refused(As(cell, fault, version));
      CHECK(refused.Connect() == (version == 5 ? kNotAuthorized : 5));
    }
    CHECK(sender.Send({"t/" + fault, "x", 1, Retain::kNo, 0}) == kNotAuthorized);
    CHECK(sender.Send({"t/message/" + fault, "x", 1, Retain::kNo, 0}) == kNotAuthorized);
    CHECK(sender.Subscribe("t/" + fault) == kNotAuthorized);
    CHECK(sender.Send({"t/read", fault, 1, Retain::kNo, 0}) == 0);  // delivered to nobody
    CHECK(sender.Send({"$CONTROL/faulty/v1", fault, 1, Retain::kNo, 0}) == 0);
    CHECK_FALSE(reader.Next(kQuiet).has_value());
    CHECK(sender.Send({"t/good", "x", 1, Retain::kNo, 0}) == 0);
    CHECK(reader.NextOn("t/good").has_value());
  }
  // Every place was counted, and a fault in Tick, Disconnected and Reload harms nobody.
  cell.broker().Signal(SIGHUP);
  CHECK(Eventually(
      [&] { return CountLines(cell.BrokerLog(), "faulty counted at=connect what=standard") > 4; }));
  const std::string log = cell.BrokerLog();
  for (const std::string at : {"connect", "subscribe", "read", "write", "message", "control"}) {
    CAPTURE(at);
    CHECK(CountLines(log, "faulty counted at=" + at + " what=standard") > 0);
    CHECK(CountLines(log, "faulty counted at=" + at + " what=an exception of unknown type") > 0);
    CHECK(CountLines(log, "faulty counted at=" + at + " what=assertion failed") > 0);
  }
  CHECK(CountLines(log, "latchkey fault while counting a fault: denied") > 0);
  CHECK(sender.Ping());
  REQUIRE(cell.broker().Running());
  CHECK(cell.broker().Stop() == 0);
}

TEST_CASE("a plugin that throws while it is loaded keeps the broker from starting") {
  Cell cell;
  UseFaulty(cell, "plugin_opt_any thing\n");
  Process broker(
      {"/usr/sbin/mosquitto", "-c", (cell.path() / "broker" / "mosquitto.conf").string()},
      cell.path() / "test" / "refused.log");
  CHECK(broker.Wait() > 0);
  CHECK(CountLines(broker.Output(), "not_loaded text=\"no options, please\"") == 1);
}

}  // namespace latchkey::testing
