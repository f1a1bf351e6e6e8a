// See held.h.
#include "tests/replay/held.h"

#include <cmath>
#include <optional>
#include <set>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "proto/state.h"
#include "proto/topic.h"
#include "storage/rocksdb_store.h"

namespace latchkey::replay {

namespace {

constexpr std::chrono::milliseconds kQuiet{1000};

// What drives say something of; the rest of a simulated car is simulated.
const std::set<std::string>& RecordedGroups() {
  static const std::set<std::string> groups = {"energy", "location", "climate", "drive", "service"};
  return groups;
}

std::string GroupOf(const std::string& signal) {
  return signal.substr(0, signal.find('.'));
}

std::optional<double> Number(const SignalRow& row) {
  if (const auto* number = std::get_if<double>(&row.value)) {
    return *number;
  }
  if (const auto* whole = std::get_if<int64_t>(&row.value)) {
    return static_cast<double>(*whole);
  }
  if (const auto* flag = std::get_if<bool>(&row.value)) {
    return *flag ? 1 : 0;
  }
  return std::nullopt;
}

// A payload as carried. What does not parse is not held.
void Take(const std::string& payload, Group group, HeldCar& car) {
  const auto state = ParseState(payload, group);
  if (!state) {
    return;
  }
  car.sources[std::string(ToText(group))] = state->source();
  for (const SignalRow& row : SignalsOf(*state)) {
    if (const auto number = Number(row)) {
      car.signals[row.name] = {*number, row.observed_at.ms};
    }
  }
}

std::string TimeText(double ms) {
  return std::to_string(std::llround(ms)) + " ms";
}

class Comparison {
 public:
  Comparison(std::string where, const Timing& timing) : where_(std::move(where)), timing_(timing) {}

  void Car(const Driver& driver, const HeldCar& held) {
    for (const auto& [signal, course] : driver.drive->signals) {
      const auto found = held.signals.find(signal);
      if (found == held.signals.end()) {
        Complain(driver, signal + " is missing");
        continue;
      }
      One(driver, signal, course, found->second);
      const auto source = held.sources.find(GroupOf(signal));
      const std::string wanted = "replay:" + driver.drive->name;
      if (source == held.sources.end() ||
          (source->second != wanted && source->second.rfind(wanted + " (", 0) != 0)) {
        Complain(driver, signal + " is not said to come from " + wanted);
      }
    }
    for (const auto& [signal, value] : held.signals) {
      if (RecordedGroups().count(GroupOf(signal)) > 0 && signal != "service.warnings" &&
          driver.drive->signals.count(signal) == 0) {
        Complain(driver, signal + " is held and not in the file");
      }
    }
    const auto refused = held.signals.find("link.values_refused");
    const auto bad = static_cast<double>(SumOf(driver.drive->bad));
    ++verdict_.compared;
    if (refused == held.signals.end() || refused->second.value != bad) {
      Complain(driver, "link.values_refused is " +
                           (refused == held.signals.end() ? std::string("missing")
                                                          : std::to_string(refused->second.value)) +
                           ", not " + std::to_string(bad));
    }
  }

  Verdict Done() { return std::move(verdict_); }

 private:
  void One(const Driver& driver, const std::string& signal, const Course& course,
           const Held& held) {
    ++verdict_.compared;
    if (!SameValue(signal, course.last, held.value)) {
      Complain(driver, signal + " is " + std::to_string(held.value) + ", not " +
                           std::to_string(course.last));
    }
    const double late =
        static_cast<double>(held.observed_at_ms) - timing_.At(driver, course.last_at);
    if (std::abs(late) > timing_.tolerance_ms) {
      Complain(driver, signal + " is observed " + TimeText(late) + " after its row");
    }
  }

  void Complain(const Driver& driver, const std::string& what) {
    verdict_.wrongs.push_back(where_ + ": " + driver.car + " (" + driver.drive->name +
                              "): " + what);
  }

  std::string where_;
  const Timing& timing_;
  Verdict verdict_;
};

}  // namespace

View ByHttp(const testing::Cell& cell, const std::vector<std::string>& cars) {
  View view;
  for (const std::string& car : cars) {
    const auto json = nlohmann::json::parse(
        testing::HttpGet(cell.http_port(), "/v1/cars/demo/" + car).body, nullptr, false);
    if (!json.is_object() || !json.contains("groups")) {
      continue;
    }
    HeldCar& held = view[car];
    for (const auto& [name, group] : json["groups"].items()) {
      held.sources[name] = group.value("source", "");
      for (const auto& row : group["signals"]) {
        if (row["value"].is_number() || row["value"].is_boolean()) {
          const double value = row["value"].is_boolean() ? (row["value"].get<bool>() ? 1 : 0)
                                                         : row["value"].get<double>();
          held.signals[row["name"]] = {value, row["observed_at_ms"]};
        }
      }
    }
  }
  return view;
}

View ByStore(const testing::Cell& cell) {
  storage::RocksDbOptions options;
  options.path = cell.path() / "bridge" / "store";
  const auto store = storage::RocksDbStore::Open(options);
  if (!store) {
    throw std::runtime_error(store.error().text);
  }
  View view;
  std::string damage;
  const Result<void> scanned = (*store)->Snapshot()->Scan(
      storage::Kind::kState, std::nullopt,
      [&](const storage::Record& record) {
        const auto& state = std::get<storage::StateRecord>(record);
        Take(state.payload, state.group, view[state.ref.car.str()]);
      },
      [&](std::string_view key, const Error& error) {
        damage += std::string(key) + ": " + error.text;
      });
  if (!scanned || !damage.empty()) {
    throw std::runtime_error(damage.empty() ? scanned.error().text : damage);
  }
  return view;
}

View ByBroker(const testing::Cell& cell) {
  OperatorIdentity judge{FleetId::Parse("demo").value(), "judge", 0};
  for (const Group group : kGroups) {
    judge.permissions |= Bit(ReadPermission(group));
  }
  testing::RawClient client(
      cell.WithCertificate(judge, cell.FleetCa("demo"), "demo/operator/judge"));
  const int connected = client.Connect();
  if (connected != 0) {
    throw std::runtime_error("the broker does not let an operator in: " +
                             std::to_string(connected));
  }
  View view;
  for (const Group group : kGroups) {
    client.Subscribe("lk/1/demo/+/state/" + std::string(ToText(group)));
    while (const auto publish = client.Next(kQuiet)) {
      const auto topic = ParseTopic(publish->topic);
      if (topic && topic->kind == TopicKind::kState && publish->retain == Retain::kYes) {
        Take(publish->payload, topic->group, view[std::string(topic->car)]);
      }
    }
  }
  return view;
}

bool SameValue(const std::string& signal, double expected, double held) {
  const bool precise =
      signal == "location.latitude" || signal == "location.longitude" || signal == "drive.odometer";
  const double part = precise ? 1e-12 : 2e-7;
  return std::abs(expected - held) <= part * std::abs(expected) + 1e-12;
}

Verdict Compare(const std::string& where, const View& view, const std::vector<Driver>& drivers,
                const Timing& timing) {
  Comparison comparison(where, timing);
  for (const Driver& driver : drivers) {
    const auto held = view.find(driver.car);
    comparison.Car(driver, held == view.end() ? HeldCar{} : held->second);
  }
  return comparison.Done();
}

}  // namespace latchkey::replay
