// The door to cpp-httplib. It serves programs of this machine; a Host header that names anything
// but this machine is refused, so that a web page cannot read it through a name it controls.
#include "bridge/http.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "bridge/http_cars.h"
#include "bridge/http_export.h"
#include "bridge/http_history.h"
#include "bridge/http_links.h"
#include "bridge/http_log.h"
#include "bridge/metrics.h"
#include "proto/reason.h"
#include "proto/receipt.h"
#include "proto/state.h"

namespace latchkey::bridge {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kThreads = 4;
constexpr size_t kCommandsMax = 10000;
constexpr size_t kBlocksDefault = 10000;
constexpr size_t kBlocksShownMax = 200000;
constexpr time_t kTimeoutSeconds = 5;

enum class LogForm : uint8_t { kEntries, kRaw };

Timestamp WallNow() {
  return {std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch())
              .count()};
}

Json BlockJson(const Block& block, Timestamp now) {
  const auto name = [](const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
  };
  Json json;
  json["key_id"] = block.scope.key.str();
  json["fleet"] = name(block.scope.fleet.str());
  json["car"] = name(block.scope.car.str());
  json["lifted"] = block.lifted;
  json["changed_at_ms"] = block.changed_at.ms;
  json["age_ms"] = AgeOf(block.changed_at, now).count();
  json["cause"] = block.cause == v1::BLOCK_CAUSE_OWNER ? "owner" : "administrator";
  json["note"] = block.note;
  json["command_id"] = block.command ? Json(block.command->ToText()) : Json(nullptr);
  return json;
}

// ?limit=N. nullopt: it is none.
std::optional<size_t> LimitOf(const httplib::Request& request, size_t otherwise) {
  if (!request.has_param("limit")) {
    return otherwise;
  }
  size_t limit = 0;
  const std::string text = request.get_param_value("limit");
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || limit < 1 ||
      limit > kBlocksShownMax) {
    return std::nullopt;
  }
  return limit;
}

Json CommandJson(const storage::CommandRecord& record, Timestamp now) {
  Json json;
  json["fleet"] = record.ref.fleet.str();
  json["car"] = record.ref.car.str();
  json["command_id"] = record.id.ToText();
  json["key_id"] = record.lane.str();
  json["state"] = ToText(record.state);
  json["reason"] = FactsOf(record.reason).word;
  json["final"] = IsFinal(record.state);
  json["order"] = record.order;
  json["received_at_ms"] = record.received_at.ms;
  json["changed_at_ms"] = record.changed_at.ms;
  json["age_ms"] = AgeOf(record.changed_at, now).count();
  return json;
}

void Answer(httplib::Response& response, int status, const Json& json) {
  response.status = status;
  // Text of the wire that is not UTF-8 cannot get here, but nothing here may throw over it either.
  response.set_content(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n",
                       "application/json");
}

void Complain(httplib::Response& response, int status, const std::string& text) {
  Answer(response, status, Json{{"error", text}});
}

// Of a request that outlives it.
Parameter ParametersOf(const httplib::Request& request) {
  return [&request](const std::string& name) {
    return request.has_param(name) ? std::optional(request.get_param_value(name)) : std::nullopt;
  };
}

void Give(httplib::Response& response, const HttpAnswer& answer) {
  response.status = answer.status;
  response.set_content(answer.json, "application/json");
}

bool NamesThisMachine(const std::string& host_header) {
  for (const std::string_view name : {"127.0.0.1", "localhost", "[::1]"}) {
    if (host_header == name || host_header.rfind(std::string(name) + ":", 0) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

struct Http::Impl {
  Impl(const storage::Store& store_given, std::function<Status()> status_given,
       HttpDoors doors_given)
      : store(store_given), status(std::move(status_given)), doors(std::move(doors_given)) {}

  void AddRoutes();
  void AddPosts();
  CarsNow AtNow() const;
  void Ready(httplib::Response& response) const;
  void Cars(const httplib::Request& request, httplib::Response& response) const;
  void GivePlace(httplib::Response& response, const CarRef& ref, const HttpAnswer& answer) const;
  void OneCar(const httplib::Request& request, httplib::Response& response) const;
  void Commands(const httplib::Request& request, httplib::Response& response) const;
  void BlocksOf(const httplib::Request& request, httplib::Response& response) const;
  void Log(const httplib::Request& request, httplib::Response& response, LogForm form) const;
  void History(const httplib::Request& request, httplib::Response& response) const;
  void Export(const httplib::Request& request, httplib::Response& response) const;

  const storage::Store& store;
  const std::function<Status()> status;
  const HttpDoors doors;
  httplib::Server server;
  std::thread thread;
};

void Http::Impl::Ready(httplib::Response& response) const {
  const Status now = status();
  std::string why;
  if (!now.store_error.empty()) {
    why += "the store cannot write: " + now.store_error + "\n";
  }
  if (!now.broker_connected) {
    why += "the broker is not connected: it is tried again by itself\n";
  }
  response.status = why.empty() ? 200 : 503;
  response.set_content(why.empty() ? "ready\n" : why, "text/plain");
}

CarsNow Http::Impl::AtNow() const {
  const Status now = status();
  return {WallNow(), now.broker_connected, now.gauges.wrong_clocks};
}

void Http::Impl::Cars(const httplib::Request& request, httplib::Response& response) const {
  Give(response, CarsPage(*store.Snapshot(), ParametersOf(request), AtNow()));
}

// An answer that may say where a car is. Of one of which nothing is kept nothing is read.
void Http::Impl::GivePlace(httplib::Response& response, const CarRef& ref,
                           const HttpAnswer& answer) const {
  if (answer.status == 200) {
    doors.location_read(ref);
  }
  Give(response, answer);
}

void Http::Impl::OneCar(const httplib::Request& request, httplib::Response& response) const {
  const auto fleet = FleetId::Parse(request.matches[1].str());
  const auto car = CarId::Parse(request.matches[2].str());
  if (!fleet || !car) {
    return Complain(response, 400, "not the name of a fleet and a car");
  }
  GivePlace(response, {*fleet, *car}, CarPage(*store.Snapshot(), CarRef{*fleet, *car}, AtNow()));
}

void Http::Impl::Commands(const httplib::Request& request, httplib::Response& response) const {
  const auto fleet = FleetId::Parse(request.get_param_value("fleet"));
  const auto car = CarId::Parse(request.get_param_value("car"));
  if (!fleet || !car) {
    return Complain(response, 400, "fleet and car must name a car: /v1/commands?fleet=F&car=C");
  }
  const Timestamp now = WallNow();
  std::vector<storage::CommandRecord> commands;
  const Result<void> read = store.Snapshot()->Scan(
      storage::Kind::kCommand, CarRef{*fleet, *car},
      [&](const storage::Record& record) {
        const auto* command = std::get_if<storage::CommandRecord>(&record);
        if (command != nullptr && commands.size() < kCommandsMax) {
          commands.push_back(*command);
        }
      },
      [](std::string_view, const Error&) {});
  if (!read) {
    return Complain(response, 503, read.error().text);
  }
  std::sort(commands.begin(), commands.end(),
            [](const auto& one, const auto& other) { return one.order < other.order; });
  Json json;
  json["now_ms"] = now.ms;
  json["commands"] = Json::array();
  for (const storage::CommandRecord& command : commands) {
    json["commands"].push_back(CommandJson(command, now));
  }
  Answer(response, 200, json);
}

void Http::Impl::BlocksOf(const httplib::Request& request, httplib::Response& response) const {
  const std::optional<size_t> limit = LimitOf(request, kBlocksDefault);
  if (!limit) {
    return Complain(response, 400, "limit must be from 1 to " + std::to_string(kBlocksShownMax));
  }
  const std::string lifted = request.get_param_value("lifted");
  if (!lifted.empty() && lifted != "0" && lifted != "1") {
    return Complain(response, 400, "lifted must be 0 or 1");
  }
  std::optional<KeyId> key;
  if (request.has_param("key")) {
    key = KeyId::Parse(request.get_param_value("key"));
    if (!key) {
      return Complain(response, 400, "key is not a key id: 22 characters of base64url");
    }
  }
  Json json;
  const Timestamp now = WallNow();
  json["now_ms"] = now.ms;
  json["truncated"] = false;
  json["blocks"] = Json::array();
  const Result<void> read = store.Snapshot()->Scan(
      storage::Kind::kBlock, std::nullopt,
      [&](const storage::Record& record) {
        const auto* one = std::get_if<storage::BlockRecord>(&record);
        if (one == nullptr || (one->block.lifted && lifted != "1") ||
            (key && one->block.scope.key != *key)) {
          return;
        }
        if (json["blocks"].size() == *limit) {
          json["truncated"] = true;
        } else {
          json["blocks"].push_back(BlockJson(one->block, now));
        }
      },
      [](std::string_view, const Error&) {});
  if (!read) {
    return Complain(response, 503, read.error().text);
  }
  Answer(response, 200, json);
}

void Http::Impl::Log(const httplib::Request& request, httplib::Response& response,
                     LogForm form) const {
  const auto reader = store.Snapshot();
  Give(response, form == LogForm::kRaw ? RawLogPage(*reader, ParametersOf(request))
                                       : LogPage(*reader, ParametersOf(request), WallNow()));
}

void Http::Impl::History(const httplib::Request& request, httplib::Response& response) const {
  const auto fleet = FleetId::Parse(request.get_param_value("fleet"));
  const auto car = CarId::Parse(request.get_param_value("car"));
  const HttpAnswer answer = HistoryPage(*store.Snapshot(), ParametersOf(request), WallNow());
  if (fleet && car && request.get_param_value("signal").rfind("location.", 0) == 0) {
    GivePlace(response, {*fleet, *car}, answer);
  } else {
    Give(response, answer);
  }
}

void Http::Impl::Export(const httplib::Request& request, httplib::Response& response) const {
  const auto fleet = FleetId::Parse(request.get_param_value("fleet"));
  const auto car = CarId::Parse(request.get_param_value("car"));
  const auto key = KeyId::Parse(request.get_param_value("key"));
  if (key) {
    Give(response, ExportKey(*store.Snapshot(), *key, WallNow()));
  } else if (fleet && car) {
    GivePlace(response, {*fleet, *car}, ExportCar(*store.Snapshot(), {*fleet, *car}, WallNow()));
  } else {
    Complain(response, 400, "fleet and car must name a car, or key a key");
  }
}

void Http::Impl::AddPosts() {
  using httplib::Request;
  using httplib::Response;
  const auto post = [](const Request& request) {
    return AdminPost{request.get_header_value("Authorization"), request.body};
  };
  server.set_payload_max_length(kImportPostBytesMax);  // of others their own doors judge
  server.Post("/v1/import", [this, post](const Request& request, Response& response) {
    Give(response, TakeImportPost(doors.import, post(request), status().store_error));
  });
  server.Post("/v1/backup", [this, post](const Request& request, Response& response) {
    Give(response, BeginBackup(doors.backup, post(request)));
  });
  server.Get("/v1/backup", [this](const Request&, Response& response) {
    Give(response, BackupPage(doors.backup));
  });
  server.Post("/v1/erase", [this, post](const Request& request, Response& response) {
    Give(response, BeginErasure(doors.erase, post(request), status().broker_connected));
  });
  server.Post("/v1/scrub", [this, post](const Request& request, Response& response) {
    Give(response, ScrubStore(doors.erase, post(request), store));
  });
  server.Get("/v1/migration", [this](const Request&, Response& response) {
    Give(response, MigrationPage(status(), WallNow()));
  });
  server.Get("/v1/migration/plan", [this](const Request&, Response& response) {
    Give(response, MigrationPlanPage(store));
  });
  server.Post("/v1/migration", [this, post](const Request& request, Response& response) {
    Give(response, OrderMigration(doors.migration, post(request), status, WallNow()));
  });
  server.Get("/v1/erase", [this](const Request& request, Response& response) {
    Give(response, ErasurePage(ParametersOf(request), status().erasures));
  });
  if (doors.sms_post) {
    server.Post("/v1/sms/report", [this](const Request& request, Response& response) {
      if (request.body.size() > kSmsPostBytesMax) {
        return Complain(response, 413, "a report is smaller");
      }
      const SmsPostAnswer answer =
          doors.sms_post({request.get_header_value("Authorization"), request.body});
      response.status = answer.status;
      response.set_content(answer.text.empty() ? "" : answer.text + "\n", "text/plain");
    });
  }
}

void Http::Impl::AddRoutes() {
  using httplib::Request;
  using httplib::Response;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_read_timeout(kTimeoutSeconds);
  server.set_write_timeout(kTimeoutSeconds);
  server.set_keep_alive_timeout(1);
  // httplib's default lets two processes listen on one port; here that is a mistake to be told of.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    static_cast<void>(setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)));
  });
  server.set_pre_routing_handler([](const Request& request, Response& response) {
    if (NamesThisMachine(request.get_header_value("Host"))) {
      return httplib::Server::HandlerResponse::Unhandled;
    }
    Complain(response, 403, "only programs of this machine are served");
    return httplib::Server::HandlerResponse::Handled;
  });
  server.Get("/healthz", [](const Request&, Response& response) {
    response.set_content("alive\n", "text/plain");
  });
  server.Get("/readyz", [this](const Request&, Response& response) { Ready(response); });
  server.Get("/metrics", [this](const Request&, Response& response) {
    response.set_content(MetricsText(status()), "text/plain; version=0.0.4");
  });
  server.Get("/v1/cars",
             [this](const Request& request, Response& response) { Cars(request, response); });
  server.Get("/v1/cars/([^/]+)/([^/]+)",
             [this](const Request& request, Response& response) { OneCar(request, response); });
  server.Get("/v1/commands",
             [this](const Request& request, Response& response) { Commands(request, response); });
  server.Get("/v1/blocks",
             [this](const Request& request, Response& response) { BlocksOf(request, response); });
  server.Get("/v1/sessions", [this](const Request& request, Response& response) {
    Give(response, SessionsPage(*store.Snapshot(), ParametersOf(request), WallNow()));
  });
  server.Get("/v1/doctor", [this](const Request& request, Response& response) {
    Give(response, DoctorPage(*store.Snapshot(), ParametersOf(request), WallNow()));
  });
  server.Get("/v1/history",
             [this](const Request& request, Response& response) { History(request, response); });
  server.Get("/v1/log", [this](const Request& request, Response& response) {
    Log(request, response, LogForm::kEntries);
  });
  server.Get("/v1/log/raw", [this](const Request& request, Response& response) {
    Log(request, response, LogForm::kRaw);
  });
  server.Get("/v1/export",
             [this](const Request& request, Response& response) { Export(request, response); });
  AddPosts();
}

Http::Http(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Http::~Http() {
  impl_->server.stop();
  impl_->thread.join();
}

Result<std::unique_ptr<Http>> Http::Listen(const std::string& host, int port,
                                           const storage::Store& store,
                                           std::function<Status()> status, HttpDoors doors) {
  auto impl = std::make_unique<Impl>(store, std::move(status), std::move(doors));
  impl->AddRoutes();
  if (!impl->server.bind_to_port(host.c_str(), port)) {
    return Fail(v1::REASON_INTERNAL, "HTTP cannot listen on " + host + ":" + std::to_string(port) +
                                         ": another program has it; choose another http.port");
  }
  impl->thread = std::thread([server = &impl->server] { server->listen_after_bind(); });
  while (!impl->server.is_running()) {  // stop() before that would be lost
    std::this_thread::yield();
  }
  return std::unique_ptr<Http>(new Http(std::move(impl)));
}

}  // namespace latchkey::bridge
