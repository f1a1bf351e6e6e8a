// See http_cars.h.
#include "bridge/http_cars.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "latchkey/v1/presence.pb.h"
#include "proto/certificate.h"
#include "proto/clock_check.h"
#include "proto/freshness.h"
#include "proto/keyring.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "proto/wire.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;

enum class Signals : uint8_t { kNo, kYes };

HttpAnswer AnswerOf(int status, const Json& json) {
  // Text of the wire that is not UTF-8 cannot get here, but nothing here may throw over it either.
  return {status, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

HttpAnswer Complaint(int status, const std::string& text) {
  return AnswerOf(status, Json{{"error", text}});
}

// ?limit=N. nullopt: it is none.
std::optional<size_t> LimitOf(const Parameter& parameter) {
  const std::optional<std::string> text = parameter("limit");
  if (!text) {
    return kCarsDefault;
  }
  size_t limit = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), limit);
  if (parsed.ec != std::errc() || parsed.ptr != text->data() + text->size() || limit < 1 ||
      limit > kCarsMax) {
    return std::nullopt;
  }
  return limit;
}

// A car as the store has it.
struct Known {
  struct Held {
    Observation observation;
    std::string source;
    std::unique_ptr<const v1::StateGroup> state;  // with Signals::kYes
  };

  std::array<std::optional<Held>, kGroupCount> groups;
  std::optional<v1::Presence> presence;
  std::optional<uint64_t> ring_version;
  std::string ring;  // as signed
  Motion motion;
};

// Everything the store says of cars, by car.
class Cars {
 public:
  Cars(const storage::Reader& reader, std::optional<FleetId> fleet, Signals signals)
      : reader_(reader), fleet_(std::move(fleet)), signals_(signals) {}

  Result<void> Read(const std::optional<CarRef>& ref) {
    const auto skip = [](std::string_view, const Error&) {};
    for (const storage::Kind kind :
         {storage::Kind::kState, storage::Kind::kPresence, storage::Kind::kRing}) {
      LK_CHECK(reader_.Scan(
          kind, ref,
          [this](const storage::Record& record) {
            std::visit([this](const auto& one) { Add(one); }, record);
          },
          skip));
    }
    return {};
  }

  std::map<CarRef, Known> cars;

 private:
  template <class Other>
  void Add(const Other&) {}

  void Add(const storage::StateRecord& record) {
    if (Known* car = Of(record.ref)) {
      auto state = FromWire<v1::StateGroup>(record.payload, kStateBytesMax);
      if (state) {
        car->motion.Take(record.group, *state);
        Known::Held& held = car->groups.at(static_cast<size_t>(record.group)).emplace();
        held.observation = {Timestamp{VersionOf(*state).observed_at_ms}, record.received_at};
        held.source = state->source();
        if (signals_ == Signals::kYes) {
          held.state = std::make_unique<const v1::StateGroup>(std::move(*state));
        }
      }
    }
  }

  void Add(const storage::PresenceRecord& record) {
    if (Known* car = Of(record.ref)) {
      car->presence =
          FromWire<v1::Presence>(record.payload, RuleOf(TopicKind::kPresence).payload_bytes_max);
    }
  }

  void Add(const storage::RingRecord& record) {
    if (Known* car = Of(record.ref)) {
      car->ring_version = record.version;
      car->ring = record.payload;
    }
  }

  // nullptr: it was not asked for.
  Known* Of(const CarRef& ref) { return fleet_ && ref.fleet != *fleet_ ? nullptr : &cars[ref]; }

  const storage::Reader& reader_;
  const std::optional<FleetId> fleet_;
  const Signals signals_;
};

// When the certificate that a stored ring carries runs out; null: it cannot be read.
Json CertificateEnd(const std::string& signed_ring) {
  const auto ring = FromWire<v1::SignedKeyRing>(signed_ring, kKeyRingBytesMax);
  if (!ring) {
    return nullptr;
  }
  const Result<Certificate> certificate = Certificate::FromDer(ring->certificate());
  return certificate ? Json(certificate->not_after.ms) : Json(nullptr);
}

void AddTimes(const Observation& observation, const Age& age, Json& json) {
  json["observed_at_ms"] = observation.observed_at.ms;
  json["received_at_ms"] = observation.received_at.ms;
  json["age_ms"] = age.age.count();
  json["freshness"] = ToText(age.freshness);
}

Json SignalJson(const SignalRow& row, const Observation& observation, const Age& age) {
  Json json;
  json["name"] = row.name;
  json["vss"] = row.vss;
  json["unit"] = row.unit;
  std::visit([&](const auto& value) { json["value"] = value; }, row.value);
  AddTimes(observation, age, json);
  return json;
}

// What one car says, as JSON.
class CarJson {
 public:
  CarJson(const CarRef& ref, const Known& car, const CarsNow& at, Signals signals)
      : ref_(ref),
        car_(car),
        at_(at),
        signals_(signals),
        mode_(ModeOf(car.presence ? std::optional(car.presence->online()) : std::nullopt,
                     car.motion)) {}

  Json Make() {
    Json groups = Json::object();
    Json never = Json::array();
    Freshness best = Freshness::kNever;
    for (const Group group : kGroups) {
      const std::optional<Known::Held>& held = car_.groups.at(static_cast<size_t>(group));
      const std::string name(ToText(group));
      if (held) {
        groups[name] = GroupJson(group, *held, best);
      } else {
        never.push_back(name);
      }
    }
    Json json;
    json["fleet"] = ref_.fleet.str();
    json["car"] = ref_.car.str();
    json["online"] = car_.presence ? Json(car_.presence->online()) : Json(nullptr);
    json["since_ms"] = car_.presence ? Json(car_.presence->since_ms()) : Json(nullptr);
    json["mode"] = ToText(mode_);
    json["freshness"] = ToText(best);
    json["clock"] = ClockJson();
    json["ring_version"] = car_.ring_version ? Json(*car_.ring_version) : Json(nullptr);
    json["certificate_not_after_ms"] =
        car_.ring_version ? CertificateEnd(car_.ring) : Json(nullptr);
    json["groups"] = std::move(groups);
    if (signals_ == Signals::kYes) {
      json["never"] = std::move(never);
    }
    return json;
  }

 private:
  Json GroupJson(Group group, const Known::Held& held, Freshness& best) {
    const Age age = AgeAt(held.observation, group, mode_, at_.now);
    best = std::min(best, age.freshness);
    ahead_ = std::max(ahead_, age.ahead);
    Json json;
    AddTimes(held.observation, age, json);
    if (!held.source.empty()) {
      json["source"] = held.source;
    }
    if (!held.state) {
      return json;
    }
    json["signals"] = Json::array();
    for (const SignalRow& row : SignalsOf(*held.state)) {
      const Observation seen{row.observed_at, held.observation.received_at};
      json["signals"].push_back(SignalJson(row, seen, AgeAt(seen, group, mode_, at_.now)));
    }
    json["never"] = Json::array();
    for (const std::string& name : NeverObserved(group, held.state.get())) {
      json["never"].push_back(name.substr(name.find('.') + 1));
    }
    return json;
  }

  // As the bridge has found it out; after its start, by the times that are held.
  Json ClockJson() const {
    ClockState state{ClockWord::kAhead, ahead_};
    Json since = nullptr;
    static const WrongClocks kNone;
    const WrongClocks& all = at_.wrong_clocks ? *at_.wrong_clocks : kNone;
    const auto wrong = all.find(ref_);
    if (wrong != all.end()) {
      state = wrong->second.state;
      since = wrong->second.since.ms;
    } else if (ahead_ == Duration(0)) {
      return nullptr;
    }
    return Json{{"word", ToText(state.word)},
                {"by_ms", state.by.count()},
                {"since_ms", since},
                {"text", ClockText(state)}};
  }

  const CarRef& ref_;
  const Known& car_;
  const CarsNow& at_;
  const Signals signals_;
  const CarMode mode_;
  Duration ahead_{0};  // the most of any group
};

}  // namespace

HttpAnswer CarsPage(const storage::Reader& reader, const Parameter& parameter, const CarsNow& at) {
  std::optional<FleetId> fleet;
  if (const std::optional<std::string> text = parameter("fleet")) {
    fleet = FleetId::Parse(*text);
    if (!fleet) {
      return Complaint(400, "fleet is not the name of a fleet");
    }
  }
  const std::optional<size_t> limit = LimitOf(parameter);
  if (!limit) {
    return Complaint(400, "limit must be from 1 to " + std::to_string(kCarsMax));
  }
  Cars known(reader, fleet, Signals::kNo);
  const Result<void> read = known.Read(std::nullopt);
  if (!read) {
    return Complaint(503, read.error().text);
  }
  Json json;
  json["now_ms"] = at.now.ms;
  json["broker_connected"] = at.broker_connected;
  json["truncated"] = known.cars.size() > *limit;
  json["cars"] = Json::array();
  for (const auto& [ref, car] : known.cars) {
    if (json["cars"].size() == *limit) {
      break;
    }
    json["cars"].push_back(CarJson(ref, car, at, Signals::kNo).Make());
  }
  return AnswerOf(200, json);
}

HttpAnswer CarPage(const storage::Reader& reader, const CarRef& ref, const CarsNow& at) {
  Cars known(reader, std::nullopt, Signals::kYes);
  const Result<void> read = known.Read(ref);
  if (!read) {
    return Complaint(503, read.error().text);
  }
  const auto found = known.cars.find(ref);
  if (found == known.cars.end()) {
    return Complaint(404, "nothing is known of car " + ref.ToText());
  }
  Json json;
  json["now_ms"] = at.now.ms;
  json["broker_connected"] = at.broker_connected;
  json.update(CarJson(ref, found->second, at, Signals::kYes).Make());
  return AnswerOf(200, json);
}

}  // namespace latchkey::bridge
