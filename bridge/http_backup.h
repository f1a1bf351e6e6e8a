// What HTTP takes and shows of backups. Whoever posts proves by the token of admin_token.h that he
// may. The folder is the configuration's, never the request's: who holds the token cannot have the
// bridge write elsewhere.
//
//   POST /v1/backup    Authorization: Bearer {token}
//        {"who": "alice", "keep": N}, keep from 1 to 10000, or left out: as configured
//        202 {"run": N}: it is being made; 401; 400; 409: another one is; 503: the bridge ends
//   GET  /v1/backup    {"folder", "last": null or {"run", "done", "bytes", "total", "id", "error"},
//        "backups": [{"id", "at_ms", "bytes", "files", "damaged"}]}: last is the one that is being
//        made, or was made last since the bridge's start; bytes of total are copied, about; id is
//        null until it is made, and when it failed: then error says why. 503: the folder cannot be
//        read
#pragma once

#include <string>

#include "bridge/backup_desk.h"
#include "bridge/http_answer.h"
#include "bridge/http_erase.h"

namespace latchkey::bridge {

// Where backups are asked for. From any thread.
struct BackupDoor {
  std::string token;           // secret
  BackupDesk* desk = nullptr;  // nullptr: none are made
};

HttpAnswer BeginBackup(const BackupDoor& door, const AdminPost& post);
HttpAnswer BackupPage(const BackupDoor& door);

}  // namespace latchkey::bridge
