// A cell with two brokers that are joined, as `latchkey upgrade broker prepare` makes them.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/cell.h"
#include "tests/support/process.h"

namespace latchkey::testing {

struct TwoBrokers {
  // Both brokers run and have met. `more` are lines of options of guard, for both.
  explicit TwoBrokers(const std::string& more = "") {
    const std::filesystem::path first = cell.path() / "broker" / "mosquitto.conf";
    AddToGuard(first, more);
    cell.StartBroker();
    const Ran made = cell.Latchkey({"--json", "upgrade", "broker", "prepare", "b2"});
    INFO(made.output);
    REQUIRE(made.exit_code == 0);
    const auto json = nlohmann::json::parse(made.output);
    phone_port = json["phone_port"];
    car_port = json["car_port"];
    configuration = json["configuration"];
    AddToGuard(configuration, more);
    StartSecond();
  }

  static void AddToGuard(const std::filesystem::path& file, const std::string& more) {
    std::string text = ReadAll(file);
    const std::string mark = "latchkey_guard.so\n";
    const size_t at = text.find(mark);
    REQUIRE(at != std::string::npos);
    text.insert(at + mark.size(), more);
    std::ofstream(file) << text;
  }

  void StartSecond() {
    const int before = CountLines(cell.BrokerLog(), "latchkey joined");
    second = std::make_unique<Process>(
        std::vector<std::string>{"/usr/sbin/mosquitto", "-c", configuration},
        cell.path() / "test" / "broker-b2.log");
    REQUIRE(Eventually([&] {
      REQUIRE(second->Running());
      return CountLines(cell.BrokerLog(), "latchkey joined") > before;
    }));
    REQUIRE(Eventually([&] { return CountLines(ReadAll(second->log()), "latchkey joined") > 0; }));
  }

  // Its --json answer.
  nlohmann::json Move(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--json", "upgrade", "broker",    "--from", "main",
                                          "--to",   "b2",      "--timeout", "60s"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ran ran = cell.Latchkey(arguments);
    INFO(ran.output);
    REQUIRE(ran.exit_code == 0);
    return nlohmann::json::parse(ran.output.substr(ran.output.find('{')));
  }

  Cell cell;
  int phone_port = 0;
  int car_port = 0;
  std::string configuration;
  std::unique_ptr<Process> second;
};

}  // namespace latchkey::testing
