// See http_links.h.
#include "bridge/http_links.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "bridge/core/doctor.h"
#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/session.pb.h"
#include "proto/wire.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kSessionBytesMax = 4096;
constexpr size_t kPresenceBytesMax = 1024;

HttpAnswer AnswerOf(int status, const Json& json) {
  return {status, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

HttpAnswer Complaint(int status, const std::string& text) {
  return AnswerOf(status, Json{{"error", text}});
}

// False: the parameter is there and no number of min to max.
bool ReadNumber(const Parameter& parameter, const char* name, int64_t min, int64_t max,
                int64_t& number) {
  const std::optional<std::string> text = parameter(name);
  if (!text) {
    return true;
  }
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), number);
  return parsed.ec == std::errc() && parsed.ptr == text->data() + text->size() && number >= min &&
         number <= max;
}

std::string_view ReasonText(v1::OfflineReason reason) {
  switch (reason) {
    case v1::OFFLINE_REASON_CONNECTION_ENDED:
      return "connection_ended";
    case v1::OFFLINE_REASON_BROKER_RESTART:
      return "broker_restart";
    case v1::OFFLINE_REASON_TIMED_OUT:
      return "timed_out";
    case v1::OFFLINE_REASON_TAKEN_OVER:
      return "taken_over";
    case v1::OFFLINE_REASON_KICKED:
      return "kicked";
    case v1::OFFLINE_REASON_UNSPECIFIED:
    case v1::OfflineReason_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::OfflineReason_INT_MAX_SENTINEL_DO_NOT_USE_:
      return "";
  }
  return "";
}

std::string_view KindText(v1::AddressKind kind) {
  switch (kind) {
    case v1::ADDRESS_KIND_IPV4:
      return "ipv4";
    case v1::ADDRESS_KIND_IPV6:
      return "ipv6";
    case v1::ADDRESS_KIND_LOOPBACK:
      return "loopback";
    case v1::ADDRESS_KIND_UNSPECIFIED:
    case v1::AddressKind_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::AddressKind_INT_MAX_SENTINEL_DO_NOT_USE_:
      return "";
  }
  return "";
}

Json SessionJson(const v1::Session& session) {
  Json json;
  json["began_at_ms"] = session.began_at_ms();
  const bool ended = session.ended_at_ms() != 0;
  json["ended_at_ms"] = ended ? Json(session.ended_at_ms()) : Json(nullptr);
  json["duration_ms"] = ended ? Json(static_cast<int64_t>(session.ended_at_ms()) -
                                     static_cast<int64_t>(session.began_at_ms()))
                              : Json(nullptr);
  json["reason"] = ReasonText(session.reason());
  json["address_kind"] = KindText(session.address_kind());
  json["messages_from_car"] = session.messages_from_car();
  json["bytes_from_car"] = session.bytes_from_car();
  json["messages_to_car"] = session.messages_to_car();
  json["bytes_to_car"] = session.bytes_to_car();
  json["longest_silence_ms"] = session.longest_silence_ms();
  json["silence_at_end_ms"] = session.silence_at_end_ms();
  json["keep_alive_s"] = session.keep_alive_s();
  json["radio"] = session.radio();
  json["network"] = session.network();
  json["signal_dbm_min"] = session.signal_dbm_min();
  json["area_at_begin"] = session.area_at_begin();
  json["area_at_end"] = session.area_at_end();
  json["stays"] = Json::array();
  for (const v1::AreaStay& stay : session.stays()) {
    json["stays"].push_back({{"area", stay.area()}, {"online_ms", stay.online_ms()}});
  }
  return json;
}

Json SharesJson(const std::vector<Share>& shares, const char* name) {
  Json json = Json::array();
  for (const Share& share : shares) {
    json.push_back(
        {{name, share.name}, {"drops", share.drops}, {"online_ms", share.online.count()}});
  }
  return json;
}

Json ReportJson(const LinkReport& report) {
  Json json;
  json["fleet"] = report.ref.fleet.str();
  json["car"] = report.ref.car.str();
  json["verdict"] = ToText(report.diagnosis);
  json["words"] = report.words;
  json["online_part"] = report.observed.count() == 0
                            ? 0
                            : static_cast<double>(report.online.count()) /
                                  static_cast<double>(report.observed.count());
  json["observed_ms"] = report.observed.count();
  json["online_ms"] = report.online.count();
  json["sessions"] = report.sessions;
  json["drops"] = report.drops;
  json["drops_per_day"] = report.DropsPerDay();
  json["fleet_drops_per_day"] = report.fleet_drops_per_day;
  json["timed_out"] = report.timed_out;
  json["taken_over"] = report.taken_over;
  json["rests"] = report.rests;
  json["server_ends"] = report.server_ends;
  json["signal_dbm_min"] = report.signal_dbm_min;
  json["areas"] = SharesJson(report.areas, "area");
  json["networks"] = SharesJson(report.networks, "network");
  return json;
}

std::optional<v1::Session> SessionOf(const storage::Record& record) {
  const auto* session = std::get_if<storage::SessionRecord>(&record);
  return session == nullptr ? std::nullopt
                            : FromWire<v1::Session>(session->payload, kSessionBytesMax);
}

// The sessions of a fleet, one car after the other.
class FleetHistory {
 public:
  FleetHistory(const storage::Reader& reader, FleetId fleet, Window window)
      : reader_(reader), fleet_(std::move(fleet)), window_(window) {}

  // Who is online, and since when.
  Result<void> ReadPresence() {
    return reader_.Scan(
        storage::Kind::kPresence, std::nullopt,
        [&](const storage::Record& record) {
          const auto* presence = std::get_if<storage::PresenceRecord>(&record);
          if (presence == nullptr || presence->ref.fleet != fleet_) {
            return;
          }
          const auto told = FromWire<v1::Presence>(presence->payload, kPresenceBytesMax);
          online_[presence->ref] =
              told && told->online() ? TimeFromWire(told->since_ms()) : std::nullopt;
        },
        [](std::string_view, const Error&) {});
  }

  // Each car of which something is known; `one` alone, or all.
  Result<void> ForEach(const std::optional<CarRef>& one,
                       const std::function<void(const LinkHistory&)>& visit) {
    LinkHistory car;
    std::map<CarRef, std::optional<Timestamp>> silent = online_;
    size_t scanned = 0;
    const auto finish = [&] {
      if (!car.sessions.empty()) {
        const auto online = online_.find(car.ref);
        car.online_since = online == online_.end() ? std::nullopt : online->second;
        silent.erase(car.ref);
        visit(car);
      }
      car = LinkHistory{};
    };
    LK_CHECK(reader_.Scan(
        storage::Kind::kSession, one,
        [&](const storage::Record& record) {
          const auto* session = std::get_if<storage::SessionRecord>(&record);
          if (session == nullptr || session->ref.fleet != fleet_) {
            return;
          }
          if (++scanned > kSessionsScannedMax) {
            truncated = true;
            return;
          }
          std::optional<v1::Session> parsed = SessionOf(record);
          if (!parsed || !InWindow(*parsed)) {
            return;
          }
          if (!(car.ref == session->ref)) {
            finish();
            car.ref = session->ref;
          }
          car.sessions.push_back(std::move(*parsed));
        },
        [](std::string_view, const Error&) {}));
    finish();
    for (const auto& [ref, since] : silent) {
      if (!one || *one == ref) {
        visit(LinkHistory{ref, {}, since});
      }
    }
    return {};
  }

  bool truncated = false;

 private:
  bool InWindow(const v1::Session& session) const {
    const auto since = static_cast<uint64_t>(std::max<int64_t>(0, window_.since.ms));
    return std::max(session.ended_at_ms(), session.began_at_ms()) >= since &&
           session.began_at_ms() < static_cast<uint64_t>(window_.until.ms);
  }

  const storage::Reader& reader_;
  const FleetId fleet_;
  const Window window_;
  std::map<CarRef, std::optional<Timestamp>> online_;
};

Result<std::vector<LinkReport>> Examine(FleetHistory& history, const Window& window,
                                        const std::optional<CarRef>& one) {
  FleetLinks links(window);
  std::vector<LinkReport> reports;
  LK_CHECK(history.ReadPresence());
  LK_CHECK(history.ForEach({}, [&](const LinkHistory& car) { links.CountEnds(car); }));
  LK_CHECK(history.ForEach({}, [&](const LinkHistory& car) { links.Weigh(car); }));
  LK_CHECK(
      history.ForEach(one, [&](const LinkHistory& car) { reports.push_back(links.Examine(car)); }));
  std::stable_sort(reports.begin(), reports.end(), [](const LinkReport& a, const LinkReport& b) {
    return a.diagnosis != b.diagnosis ? a.diagnosis > b.diagnosis
                                      : a.DropsPerDay() > b.DropsPerDay();
  });
  return reports;
}

}  // namespace

HttpAnswer SessionsPage(const storage::Reader& reader, const Parameter& parameter, Timestamp now) {
  const auto fleet = FleetId::Parse(parameter("fleet").value_or(""));
  const auto car = CarId::Parse(parameter("car").value_or(""));
  int64_t since = 0;
  int64_t until = std::numeric_limits<int64_t>::max();
  auto limit = static_cast<int64_t>(kSessionsShownDefault);
  if (!fleet || !car) {
    return Complaint(400, "fleet and car must name a car: /v1/sessions?fleet=F&car=C");
  }
  if (!ReadNumber(parameter, "since", 0, until, since) ||
      !ReadNumber(parameter, "until", 0, until, until) ||
      !ReadNumber(parameter, "limit", 1, kSessionsShownMax, limit)) {
    return Complaint(400, "since and until are milliseconds since 1970, limit is 1 to " +
                              std::to_string(kSessionsShownMax));
  }
  std::deque<Json> sessions;
  bool truncated = false;
  const Result<void> read = reader.Scan(
      storage::Kind::kSession, CarRef{*fleet, *car},
      [&](const storage::Record& record) {
        const std::optional<v1::Session> session = SessionOf(record);
        if (!session || static_cast<int64_t>(session->began_at_ms()) < since ||
            static_cast<int64_t>(session->began_at_ms()) >= until) {
          return;
        }
        sessions.push_back(SessionJson(*session));
        if (sessions.size() > static_cast<size_t>(limit)) {
          sessions.pop_front();
          truncated = true;
        }
      },
      [](std::string_view, const Error&) {});
  if (!read) {
    return Complaint(503, read.error().text);
  }
  Json json = {
      {"now_ms", now.ms}, {"fleet", fleet->str()}, {"car", car->str()}, {"truncated", truncated}};
  json["sessions"] = Json::array();
  for (Json& session : sessions) {
    json["sessions"].push_back(std::move(session));
  }
  return AnswerOf(200, json);
}

HttpAnswer DoctorPage(const storage::Reader& reader, const Parameter& parameter, Timestamp now) {
  const auto fleet = FleetId::Parse(parameter("fleet").value_or(""));
  if (!fleet) {
    return Complaint(400, "fleet must name a fleet: /v1/doctor?fleet=F or &car=C");
  }
  std::optional<CarRef> one;
  if (const std::optional<std::string> text = parameter("car")) {
    const auto car = CarId::Parse(*text);
    if (!car) {
      return Complaint(400, "car is not the name of a car");
    }
    one = CarRef{*fleet, *car};
  }
  int64_t since = (now + -kDoctorLooksBack).ms;
  if (!ReadNumber(parameter, "since", 0, now.ms - 1, since)) {
    return Complaint(400, "since is milliseconds since 1970, before now");
  }
  const Window window{Timestamp{since}, now};
  FleetHistory history(reader, *fleet, window);
  const Result<std::vector<LinkReport>> reports = Examine(history, window, one);
  if (!reports) {
    return Complaint(503, reports.error().text);
  }
  if (reports->empty()) {
    return Complaint(404, one ? "nothing is known of the links of car " + one->ToText()
                              : "nothing is known of the links of fleet " + fleet->str());
  }
  Json json = {{"now_ms", now.ms},
               {"since_ms", since},
               {"fleet", fleet->str()},
               {"truncated", history.truncated}};
  json["cars"] = Json::array();
  for (const LinkReport& report : *reports) {
    json["cars"].push_back(ReportJson(report));
  }
  return AnswerOf(200, json);
}

}  // namespace latchkey::bridge
