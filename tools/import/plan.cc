// See plan.h.
#include "tools/import/plan.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "proto/crypto.h"
#include "proto/state.h"

namespace latchkey::legacy {

namespace {

constexpr size_t kVinBytes = 17;
constexpr size_t kCarIdBytesMax = 32;
constexpr size_t kHashedBytes = 12;
constexpr size_t kVinShown = 6;

bool IsLetterOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsVin(std::string_view text) {
  return text.size() == kVinBytes && std::all_of(text.begin(), text.end(), IsLetterOrDigit);
}

// Vehicles of one name in other letters are one: a VIN has no small letters.
std::string Canonical(std::string_view vehicle) {
  std::string text(vehicle);
  if (IsVin(text)) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  }
  return text;
}

std::string HashedId(std::string_view vehicle, const FleetId& fleet) {
  const std::string digest =
      Sha256("latchkey import\n" + fleet.str() + "\n" + std::string(vehicle));
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string id = "v-";
  for (const char c : digest.substr(0, kHashedBytes)) {
    id += kHex[static_cast<uint8_t>(c) >> 4U];
    id += kHex[static_cast<uint8_t>(c) & 15U];
  }
  return id;
}

using Cars = std::map<std::string, PlannedVehicle>;  // by canonical name

Cars NameCars(const Reading& reading, const PlanOptions& options) {
  Cars cars;
  for (const LegacyRecord& record : reading.records) {
    PlannedVehicle& vehicle = cars[Canonical(record.vehicle)];
    vehicle.vehicle = Canonical(record.vehicle);
    ++vehicle.records;
  }
  std::map<CarId, size_t> users;
  for (auto& [name, vehicle] : cars) {
    const auto named = options.map.find(name);
    vehicle.car = named != options.map.end() ? named->second : CarIdOf(name, options.fleet);
    if (vehicle.car) {
      ++users[*vehicle.car];
    }
  }
  for (auto& [name, vehicle] : cars) {
    if (!vehicle.car) {
      vehicle.why = "its name has no letter or digit: give it one with --map";
    } else if (users.at(*vehicle.car) > 1) {
      vehicle.why = "another vehicle of the source would be car " + vehicle.car->str() +
                    " as well: name both with --map";
      vehicle.car.reset();
    } else if (vehicle.car->str() == "operator" || vehicle.car->str() == "registrar") {
      vehicle.why = "no car may be called " + vehicle.car->str() + ": name it with --map";
      vehicle.car.reset();
    }
  }
  return cars;
}

std::optional<Group> GroupOf(std::string_view signal) {
  return ParseGroup(signal.substr(0, signal.find('.')));
}

Timestamp NewestOf(const LegacyRecord& record) {
  Timestamp newest = record.location_hidden_at.value_or(Timestamp{});
  for (const Observed& one : record.observed) {
    newest = std::max(newest, one.at);
  }
  return newest;
}

// What one car has said up to a record.
class Teller {
 public:
  Teller(CarRef ref, const std::string& source) : ref_(std::move(ref)), source_(source) {}

  // Adds what the record changes to `plan`, whose last record it is.
  void Take(const LegacyRecord& record, Plan& plan) {
    std::set<Group> touched;
    bool contradicts = false;
    for (const Observed& one : record.observed) {
      const std::optional<Group> group = GroupOf(one.signal);
      LK_ASSERT(group);
      if (*group == Group::kLocation && one.at <= hidden_at_) {
        continue;
      }
      car::SignalBoard& board = boards_[static_cast<size_t>(*group)];
      const auto held_at = board.ObservedAt(one.signal);
      if (held_at && *held_at >= one.at) {
        contradicts = contradicts || (*held_at == one.at && board.Find(one.signal) != one.value);
        continue;
      }
      if (board.Set(one.signal, one.value, one.at).allowed()) {
        touched.insert(*group);
      }
    }
    PlannedRecord& planned = plan.records.back();
    if (contradicts) {
      planned.changes.emplace_back("what another record says otherwise for the same time left out");
    }
    planned.contradicts = contradicts;
    planned.repeated = touched.empty() && !record.location_hidden_at;
    for (const Group group : touched) {
      Say(group, plan);
    }
    if (record.location_hidden_at) {
      Hide(*record.location_hidden_at, plan);
    }
  }

 private:
  void Say(Group group, Plan& plan) {
    car::SignalBoard& board = boards_[static_cast<size_t>(group)];
    board.SetSource(group, source_);
    const std::optional<v1::StateGroup> state = board.Build(group, 0);
    LK_ASSERT(state);
    Add({ref_, group, {VersionOf(*state).observed_at_ms}, state->SerializeAsString(), {}}, plan);
  }

  // Of two messages of one time the bridge would keep the first: they become one.
  void Add(PlannedGroup said, Plan& plan) {
    const size_t record = plan.records.size() - 1;
    std::optional<size_t>& last = last_[static_cast<size_t>(said.group)];
    if (last && plan.groups[*last].observed_at == said.observed_at) {
      plan.groups[*last].payload = std::move(said.payload);
      plan.groups[*last].records.push_back(record);
      return;
    }
    said.records = {record};
    last = plan.groups.size();
    plan.groups.push_back(std::move(said));
  }

  // As a car says it in privacy mode: a location without a signal.
  void Hide(Timestamp at, Plan& plan) {
    boards_[static_cast<size_t>(Group::kLocation)] = {};
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(at.ms));
    state.set_source(source_);
    state.mutable_location();
    hidden_at_ = at;
    Add({ref_, Group::kLocation, at, state.SerializeAsString(), {}}, plan);
  }

  CarRef ref_;
  const std::string& source_;
  Timestamp hidden_at_;
  std::array<car::SignalBoard, kGroupCount> boards_;
  std::array<std::optional<size_t>, kGroupCount> last_;  // in Plan.groups
};

}  // namespace

std::optional<CarId> CarIdOf(std::string_view vehicle, const FleetId& fleet) {
  const size_t slash = vehicle.rfind('/');
  const std::string_view name =
      slash == std::string_view::npos ? vehicle : vehicle.substr(slash + 1);
  if (IsVin(name) || name.size() > kCarIdBytesMax) {
    return CarId::Parse(HashedId(Canonical(name), fleet));
  }
  std::string id(name);
  bool any = false;
  for (char& c : id) {
    any = any || IsLetterOrDigit(c);
    if (!IsLetterOrDigit(c) && c != '-' && c != '_') {
      c = '-';
    }
  }
  id.erase(0, std::min(id.find_first_not_of('-'), id.size()));
  return any ? CarId::Parse(id) : std::nullopt;
}

Plan MakePlan(Reading reading, const PlanOptions& options) {
  Plan plan;
  plan.refused = std::move(reading.refused);
  const Cars cars = NameCars(reading, options);
  std::stable_sort(reading.records.begin(), reading.records.end(),
                   [](const LegacyRecord& one, const LegacyRecord& other) {
                     const auto key = [](const LegacyRecord& record) {
                       return std::pair(Canonical(record.vehicle), NewestOf(record));
                     };
                     const auto first = key(one);
                     const auto second = key(other);
                     return first != second ? first < second : WhereBefore(one.where, other.where);
                   });
  std::map<CarId, Teller> tellers;
  for (const LegacyRecord& record : reading.records) {
    const PlannedVehicle& vehicle = cars.at(Canonical(record.vehicle));
    if (!vehicle.car) {
      plan.refused.push_back({record.where, vehicle.why});
      continue;
    }
    plan.records.push_back(
        {record.where, vehicle.car, {record.changes.begin(), record.changes.end()}, false});
    tellers.try_emplace(*vehicle.car, CarRef{options.fleet, *vehicle.car}, options.source)
        .first->second.Take(record, plan);
  }
  for (const auto& [name, vehicle] : cars) {
    plan.vehicles.push_back(vehicle);
  }
  return plan;
}

std::string ShownVehicle(std::string_view vehicle) {
  if (IsVin(vehicle)) {
    return "..." + std::string(vehicle.substr(vehicle.size() - kVinShown));
  }
  return Shown(vehicle);
}

}  // namespace latchkey::legacy
