// HTTP on loopback, to be read but for the reports of an SMS gateway: metrics, health, and what the
// store says of cars and commands.
//
//   GET /healthz    200 while the process runs
//   GET /readyz     200, or 503 with why: the broker is away, or the store cannot write
//   GET /metrics    Prometheus text
//   GET /v1/cars, /v1/cars/{fleet}/{car}   who is online and the newest state, see http_cars.h
//   GET /v1/commands?fleet=F&car=C     {"now_ms", "commands": [{"fleet", "car", "command_id",
//   "key_id",
//       "state", "reason", "final", "order", "received_at_ms", "changed_at_ms", "age_ms"}]}; the
//       commands that were held or closed, in order of arrival
//   GET /v1/blocks[?key=K][&lifted=1][&limit=N]   {"now_ms", "truncated", "blocks": [{"key_id",
//       "fleet", "car", "lifted", "changed_at_ms", "age_ms", "cause", "note", "command_id"}]}: the
//       keys that are denied; fleet and car are null when it is everywhere, car when it is the
//       fleet; cause is owner or administrator; command_id, of the owner's RemoveKey, may be null;
//       with lifted=1 also what was denied once
//   GET /v1/sessions, /v1/doctor       links of cars, see http_links.h
//   GET /v1/history                    what signals were, see http_history.h
//   GET /v1/log, /v1/log/raw           the log, see http_log.h
//   GET /v1/export                     all that is kept of a car or a key, see http_export.h
//   POST /v1/erase, GET /v1/erase, POST /v1/scrub   see http_erase.h
//   POST /v1/backup, GET /v1/backup    see http_backup.h
//   POST /v1/import                    see http_import.h
//   GET /v1/migration, /v1/migration/plan, POST /v1/migration   see http_migration.h
//   POST /v1/sms/report    what became of an SMS, see sms_http.h; 404 without such a gateway
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bridge/http_backup.h"
#include "bridge/http_erase.h"
#include "bridge/http_import.h"
#include "bridge/http_migration.h"
#include "bridge/runner.h"
#include "bridge/sms.h"
#include "storage/store.h"

namespace latchkey::bridge {

// What HTTP can set going. Each may be called from any thread.
struct HttpDoors {
  SmsPostDoor sms_post = {};       // empty: reports are not taken
  EraseDoor erase = {};            // empty: nothing can be erased
  ImportDoor import = {};          // empty: nothing can be imported
  BackupDoor backup = {};          // empty: no backup can be made
  MigrationOrders migration = {};  // empty: nobody may order anything
  // Somebody reads where a car is.
  std::function<void(const CarRef&)> location_read = [](const CarRef&) {};
};

// Not copyable. Thread rule: made and destroyed by one thread; serves from its own, reading only
// snapshots of `store` and copies of the status. Both outlive it.
class Http {
 public:
  // Listens at once. Error REASON_INTERNAL: the address
  // cannot be bound.
  static Result<std::unique_ptr<Http>> Listen(const std::string& host, int port,
                                              const storage::Store& store,
                                              std::function<Status()> status, HttpDoors doors = {});
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

 private:
  struct Impl;
  explicit Http(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace latchkey::bridge
