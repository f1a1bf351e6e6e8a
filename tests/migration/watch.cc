// See watch.h.
#include "tests/migration/watch.h"

#include <chrono>
#include <optional>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "proto/state.h"
#include "proto/topic.h"

namespace latchkey::migration {

namespace {

using std::chrono::milliseconds;
using testing::HttpAnswer;
using testing::HttpGet;

constexpr size_t kWrongsMax = 20;
constexpr milliseconds kBetween{20};
constexpr size_t kMessagesMax = 500;  // of the broker, between two looks at the bridge

testing::RawOptions AsJudge(const testing::Cell& cell) {
  OperatorIdentity judge{FleetId::Parse("demo").value(), "watch", 0};
  for (const Group group : kGroups) {
    judge.permissions |= Bit(ReadPermission(group));
  }
  return cell.WithCertificate(judge, cell.FleetCa("demo"), "demo/operator/watch");
}

}  // namespace

Watch::Watch(const testing::Cell& cell, std::vector<std::string> still,
             std::vector<std::string> moving)
    : cell_(cell), still_(std::move(still)), moving_(std::move(moving)) {}

Watch::~Watch() {
  Stop();
}

void Watch::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Watch::Stop() {
  stop_ = true;
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Watch::Run() {
  testing::RawClient broker(AsJudge(cell_));
  if (broker.Connect() != 0) {
    Complain("the broker does not let an operator in");
    return;
  }
  for (const auto* cars : {&still_, &moving_}) {
    for (const std::string& car : *cars) {
      broker.Subscribe("lk/1/demo/" + car + "/state/+");
    }
  }
  for (size_t round = 0; !stop_; ++round) {
    for (size_t i = 0; i < kMessagesMax; ++i) {
      const std::optional<Publish> publish = broker.Next(kBetween);
      const auto topic = publish ? ParseTopic(publish->topic) : std::nullopt;
      if (!publish) {
        break;
      }
      const auto state = topic && topic->kind == TopicKind::kState
                             ? ParseState(publish->payload, topic->group)
                             : Result<v1::StateGroup>(Fail(v1::REASON_MALFORMED, "not a state"));
      if (state) {
        ++retained_;
        Compare("broker, " + publish->topic, static_cast<int64_t>(VersionOf(*state).observed_at_ms),
                "");
      }
    }
    if (broker.over()) {
      Complain("the broker ended the operator's connection");
      return;
    }
    const bool still = round % 2 == 0;
    const auto& cars = still ? still_ : moving_;
    if (!cars.empty()) {
      LookAtBridge(cars[round / 2 % cars.size()], still);
    }
  }
}

void Watch::LookAtBridge(const std::string& car, bool still) {
  const HttpAnswer answer = HttpGet(cell_.http_port(), "/v1/cars/demo/" + car);
  if (answer.status == 404 && of_.count(car) > 0) {
    Complain("the bridge knows " + car + " no more");
  }
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !json.is_object() || !json.contains("groups")) {
    return;  // it is down, or does not know the car yet
  }
  ++looks_;
  for (const auto& [name, group] : json["groups"].items()) {
    of_[car][name] = 1;
    std::string content;
    if (still) {
      for (const auto& row : group["signals"]) {
        content += row["name"].dump() + row["value"].dump() + row["observed_at_ms"].dump();
      }
    }
    Compare("bridge, " + car + " " + name, group.value("observed_at_ms", int64_t{0}), content);
  }
  if (json["groups"].size() < of_[car].size()) {
    Complain("the bridge lacks groups of " + car + " that it had");
  }
  if (still) {
    LookAtCommands(car);
  }
}

void Watch::LookAtCommands(const std::string& car) {
  const HttpAnswer answer = HttpGet(cell_.http_port(), "/v1/commands?fleet=demo&car=" + car);
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !json.is_object() || !json.contains("commands")) {
    return;
  }
  std::string commands;
  for (const auto& command : json["commands"]) {
    commands += command.value("command_id", "") + command.value("state", "") +
                std::to_string(command.value("order", uint64_t{0})) + " ";
  }
  const auto [before, fresh] = commands_.try_emplace(car, commands);
  if (!fresh && before->second != commands) {
    Complain("commands of " + car + " were " + before->second + " and are " + commands);
    before->second = commands;
  }
}

void Watch::Compare(const std::string& where, int64_t observed_ms, const std::string& content) {
  const auto [before, fresh] = seen_.try_emplace(where, Seen{observed_ms, content});
  if (fresh) {
    return;
  }
  if (observed_ms < before->second.observed_ms) {
    Complain(where + ": observed " + std::to_string(before->second.observed_ms - observed_ms) +
             " ms before what was said last");
  }
  if (content != before->second.content) {
    Complain(where + ": not what it was, of a car that stands still");
  }
  before->second = Seen{observed_ms, content};
}

void Watch::Complain(const std::string& what) {
  if (++wrong_ <= kWrongsMax) {
    wrongs_.push_back(what);
  }
}

}  // namespace latchkey::migration
