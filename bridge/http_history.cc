// See http_history.h.
#include "bridge/http_history.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "bridge/core/history_chunk.h"
#include "proto/state.h"
#include "proto/wire.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;

struct Query {
  CarRef ref;
  std::string signal;
  int64_t since = 0;
  int64_t until = static_cast<int64_t>(kTimestampMsMax) + 1;
  size_t limit = kHistorySamplesDefault;
};

HttpAnswer AnswerOf(int status, const Json& json) {
  return {status, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

HttpAnswer Complaint(int status, const std::string& text) {
  return AnswerOf(status, Json{{"error", text}});
}

// False: the parameter is there and no number from `min` to `max`.
template <class Number>
bool ReadNumber(const Parameter& parameter, const char* name, Number min, Number max,
                Number& number) {
  const std::optional<std::string> text = parameter(name);
  if (!text) {
    return true;
  }
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), number);
  return parsed.ec == std::errc() && parsed.ptr == text->data() + text->size() && number >= min &&
         number <= max;
}

Result<Query> QueryOf(const Parameter& parameter) {
  Query query;
  const auto fleet = FleetId::Parse(parameter("fleet").value_or(""));
  const auto car = CarId::Parse(parameter("car").value_or(""));
  if (!fleet || !car) {
    return Fail(v1::REASON_MALFORMED,
                "fleet and car must name a car: /v1/history?fleet=F&car=C&signal=energy.soc");
  }
  query.ref = {*fleet, *car};
  query.signal = parameter("signal").value_or("");
  const int64_t latest = query.until;
  if (!ReadNumber<int64_t>(parameter, "since", 0, latest, query.since) ||
      !ReadNumber<int64_t>(parameter, "until", 0, latest, query.until)) {
    return Fail(v1::REASON_MALFORMED, "since and until are milliseconds since 1970");
  }
  if (!ReadNumber<size_t>(parameter, "limit", 1, kHistorySamplesMax, query.limit)) {
    return Fail(v1::REASON_MALFORMED,
                "limit must be from 1 to " + std::to_string(kHistorySamplesMax));
  }
  return query;
}

// What all chunks of a car say of each signal.
struct Signal {
  size_t samples = 0;
  int64_t first_ms = static_cast<int64_t>(kTimestampMsMax);
  int64_t last_ms = 0;
  uint64_t thinned_ms = 0;
};

struct History {
  std::map<std::string, Signal> signals;
  std::vector<HistorySample> samples;  // of the signal that is asked for, in its time
  uint64_t thinned_ms = 0;             // of the chunks that these are in
  size_t bytes = 0;
  size_t unreadable = 0;
};

void Add(const v1::HistoryChunk& chunk, const Query& query, History& history) {
  for (const v1::HistorySeries& series : chunk.series()) {
    const std::vector<HistorySample> samples = SamplesOf(chunk, series);
    if (samples.empty()) {
      continue;
    }
    Signal& signal = history.signals[series.signal()];
    signal.samples += samples.size();
    signal.thinned_ms = std::max(signal.thinned_ms, series.thinned_ms());
    for (const HistorySample& sample : samples) {
      const int64_t observed = sample.observed_at.ms;
      signal.first_ms = std::min(signal.first_ms, observed);
      signal.last_ms = std::max(signal.last_ms, observed);
      if (series.signal() == query.signal && observed >= query.since && observed < query.until) {
        history.samples.push_back(sample);
        history.thinned_ms = std::max(history.thinned_ms, series.thinned_ms());
      }
    }
  }
}

// Each chunk begins with what was known already: that is one sample.
void SortAndUnite(std::vector<HistorySample>& samples) {
  std::stable_sort(samples.begin(), samples.end(), [](const auto& one, const auto& other) {
    return one.observed_at < other.observed_at;
  });
  samples.erase(std::unique(samples.begin(), samples.end(),
                            [](const auto& one, const auto& other) {
                              return one.observed_at == other.observed_at &&
                                     one.value == other.value;
                            }),
                samples.end());
}

Result<History> ReadHistory(const storage::Reader& reader, const Query& query) {
  History history;
  LK_CHECK(reader.Scan(
      storage::Kind::kHistory, query.ref,
      [&](const storage::Record& record) {
        const auto* one = std::get_if<storage::HistoryRecord>(&record);
        const auto chunk = one == nullptr ? std::nullopt : ParseChunk(one->payload);
        if (!chunk) {
          ++history.unreadable;
          return;
        }
        history.bytes += one->payload.size();
        Add(*chunk, query, history);
      },
      [&](std::string_view, const Error&) { ++history.unreadable; }));
  SortAndUnite(history.samples);
  return history;
}

// As the car's newest state says it.
Result<std::string> UnitOf(const storage::Reader& reader, const Query& query) {
  std::string unit;
  LK_CHECK(reader.Scan(
      storage::Kind::kState, query.ref,
      [&](const storage::Record& record) {
        const auto* one = std::get_if<storage::StateRecord>(&record);
        const auto state =
            one == nullptr ? std::nullopt : FromWire<v1::StateGroup>(one->payload, kStateBytesMax);
        if (!state) {
          return;
        }
        for (const SignalRow& row : SignalsOf(*state)) {
          unit = row.name == query.signal ? row.unit : unit;
        }
      },
      [](std::string_view, const Error&) {}));
  return unit;
}

Json HeadJson(const Query& query, Timestamp now) {
  Json json;
  json["now_ms"] = now.ms;
  json["fleet"] = query.ref.fleet.str();
  json["car"] = query.ref.car.str();
  return json;
}

HttpAnswer SignalsAnswer(const Query& query, const History& history, Timestamp now) {
  Json json = HeadJson(query, now);
  json["bytes"] = history.bytes;
  json["unreadable"] = history.unreadable;
  json["signals"] = Json::array();
  for (const auto& [name, signal] : history.signals) {
    json["signals"].push_back(Json{{"name", name},
                                   {"samples", signal.samples},
                                   {"first_ms", signal.first_ms},
                                   {"last_ms", signal.last_ms},
                                   {"thinned_ms", signal.thinned_ms}});
  }
  return AnswerOf(200, json);
}

HttpAnswer NoSuchSignal(const Query& query, const History& history) {
  std::string known;
  for (const auto& [name, signal] : history.signals) {
    known += (known.empty() ? "" : ", ") + name;
  }
  return Complaint(404, "car " + query.ref.ToText() + " has no history of " + query.signal +
                            (known.empty() ? "; it has none at all" : "; it has " + known));
}

Json SampleJson(const HistorySample& sample, Timestamp now) {
  Json json;
  json["observed_at_ms"] = sample.observed_at.ms;
  json["received_at_ms"] = sample.received_at.ms;
  json["age_ms"] = AgeOf(sample.observed_at, now).count();
  std::visit([&](const auto& value) { json["value"] = value; }, sample.value);
  return json;
}

}  // namespace

HttpAnswer HistoryPage(const storage::Reader& reader, const Parameter& parameter, Timestamp now) {
  const Result<Query> query = QueryOf(parameter);
  if (!query) {
    return Complaint(400, query.error().text);
  }
  const Result<History> history = ReadHistory(reader, *query);
  if (!history) {
    return Complaint(503, history.error().text);
  }
  if (query->signal.empty()) {
    return SignalsAnswer(*query, *history, now);
  }
  if (history->signals.count(query->signal) == 0) {
    return NoSuchSignal(*query, *history);
  }
  const Result<std::string> unit = UnitOf(reader, *query);
  if (!unit) {
    return Complaint(503, unit.error().text);
  }
  const std::vector<HistorySample>& samples = history->samples;
  const bool truncated = samples.size() > query->limit;
  Json json = HeadJson(*query, now);
  json["signal"] = query->signal;
  json["unit"] = *unit;
  json["thinned_ms"] = history->thinned_ms;
  json["again_ms"] = kHistoryAgain.count();
  json["unreadable"] = history->unreadable;
  json["truncated"] = truncated;
  if (truncated) {
    json["next_ms"] = samples[query->limit].observed_at.ms;
  }
  json["samples"] = Json::array();
  for (size_t i = 0; i < std::min(samples.size(), query->limit); ++i) {
    json["samples"].push_back(SampleJson(samples[i], now));
  }
  return AnswerOf(200, json);
}

}  // namespace latchkey::bridge
