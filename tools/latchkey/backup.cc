// latchkey backup make | list | verify: copies of a cell from which it can be set up again.
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "storage/rocksdb_backup.h"
#include "tools/latchkey/api.h"
#include "tools/latchkey/backup_files.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr Duration kPostPatience = std::chrono::seconds(15);
constexpr useconds_t kLookEveryMicroseconds = 200'000;
constexpr int kTimedOut = 3;

struct BackupOptions {
  std::string from;
  std::string timeout = "6h";
  uint32_t keep = 0;
  uint32_t backup = 0;
  bool without_keys = false;
};

std::string UserName() {
  const char* name = ::getlogin();
  return name == nullptr ? "user " + std::to_string(::getuid()) : name;
}

std::string Megabytes(uint64_t bytes) {
  return bytes < 10'000'000 ? std::to_string(bytes / 1000) + " kB"
                            : std::to_string(bytes / 1'000'000) + " MB";
}

Result<std::string> ReadToken(const Folder& folder) {
  LK_TRY(std::string token, ReadFile(folder.Bridge() / "admin.token"));
  while (!token.empty() && token.back() == '\n') {
    token.pop_back();
  }
  return token;
}

Result<Json> Understood(const Answer& answer) {
  Json json = Json::parse(answer.body, nullptr, false);
  if (answer.status / 100 != 2 || !json.is_object()) {
    const std::string why = json.is_object() ? json.value("error", "") : "";
    return Fail(answer.status == 401 ? v1::REASON_NOT_ALLOWED : v1::REASON_STORE_UNAVAILABLE,
                "the bridge makes no backup: " +
                    (why.empty() ? "HTTP " + std::to_string(answer.status) : why));
  }
  return json;
}

Result<Json> Look(int port) {
  LK_TRY(const Answer answer, AskBridge(port, "/v1/backup"));
  return Understood(answer);
}

// Until the bridge has made it: what it says of it last.
Result<Json> Await(int port, uint64_t run, Duration patience) {
  const Instant began = ReadClocks().mono;
  const bool watched = ::isatty(STDERR_FILENO) == 1;
  for (;;) {
    LK_TRY(const Json page, Look(port));
    const Json last = page.value("last", Json());
    if (!last.is_object() || last.value("run", uint64_t{0}) != run) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "the bridge started again while it made the backup: nothing of it is kept; run "
                  "this again");
    }
    if (watched) {
      SayInPlace(last.value("done", false) ? ""
                                           : ProgressText(last.value("bytes", uint64_t{0}) >> 20U,
                                                          last.value("total", uint64_t{0}) >> 20U,
                                                          ReadClocks().mono - began) +
                                                 " MB");
    }
    if (last.value("done", false)) {
      return page;
    }
    if (ReadClocks().mono - began >= patience) {
      return Fail(v1::REASON_EXPIRED,
                  "the backup is still being made; `latchkey backup list` shows it when it is, "
                  "without the cell's files: run this again for those");
    }
    ::usleep(kLookEveryMicroseconds);
  }
}

void SayMade(const Context& context, const Manifest& manifest, const fs::path& dir,
             size_t backups) {
  if (context.json) {
    Say(Json{{"backup", manifest.backup},
             {"at_ms", manifest.store.at.ms},
             {"store_bytes", manifest.store.bytes},
             {"files", manifest.files.size()},
             {"keys", manifest.keys == Keys::kWith},
             {"dir", dir.string()},
             {"backups", backups}}
            .dump());
    return;
  }
  Say("backup " + std::to_string(manifest.backup) + " of cell " + manifest.cell + " as of " +
      DateText(manifest.store.at) + ": store " + Megabytes(manifest.store.bytes) + ", " +
      std::to_string(manifest.files.size()) + " files; " + std::to_string(backups) +
      " backups in " + dir.string());
  Say(manifest.keys == Keys::kWith
          ? "  it holds the CAs' and the cell's private keys and the numbers of cars: whoever "
            "reads it can be the cell. Keep it as you keep those (or make it --without-keys)"
          : "  it holds no private key, token or number of a car: keep those apart, a restored "
            "cell needs them");
  Say("  not in it: what the broker retains, which bridge and cars say again; cars' and phones' "
      "own folders; logs");
}

Result<void> Make(const Context& context, const BackupOptions& options) {
  const Folder folder(context.data);
  LK_TRY(const Duration patience, ParseDuration(options.timeout));
  LK_TRY(const Cell cell, folder.LoadCell());
  LK_TRY(const std::string token, ReadToken(folder));
  Json wish = {{"who", UserName()}};
  if (options.keep > 0) {
    wish["keep"] = options.keep;
  }
  LK_TRY(const Answer answer,
         TellBridge(cell.http_port, "/v1/backup", token, wish.dump(), kPostPatience));
  LK_TRY(const Json begun, Understood(answer));
  LK_TRY(const Json page, Await(cell.http_port, begun.value("run", uint64_t{0}), patience));
  const Json last = page["last"];
  if (!last["id"].is_number_unsigned()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "the backup was not made: " + Printable(last["error"].is_string()
                                                            ? last["error"].get<std::string>()
                                                            : "the bridge says no reason"));
  }
  const fs::path dir = page.value("folder", "");
  LK_TRY(const auto backups, storage::ListBackups(StoreOf(dir)));
  for (const storage::BackupFacts& one : backups) {
    if (one.id == last["id"].get<uint32_t>()) {
      LK_TRY(const Manifest manifest,
             KeepCell(folder, dir, one, options.without_keys ? Keys::kWithout : Keys::kWith));
      ForgetCells(dir, backups);
      SayMade(context, manifest, dir, backups.size());
      return {};
    }
  }
  return Fail(v1::REASON_STORE_UNAVAILABLE,
              "the backup is not in " + dir.string() +
                  ": is this the bridge's machine, and may you read its folder?");
}

// As the bridge says; when it does not run, where it is by default.
fs::path DirOf(const Context& context, const BackupOptions& options) {
  if (!options.from.empty()) {
    return options.from;
  }
  const Folder folder(context.data);
  if (const Result<Cell> cell = folder.LoadCell()) {
    const Result<Json> page = Look(cell->http_port);
    if (page && page->value("folder", "") != "") {
      return page->value("folder", "");
    }
  }
  return folder.Bridge() / "backup";
}

// What a backup is, in a word.
std::string KindOf(const storage::BackupFacts& facts,
                   const Result<std::optional<Manifest>>& manifest) {
  if (facts.damaged || !manifest) {
    return "damaged";
  }
  if (!*manifest) {
    return "store alone";
  }
  return (*manifest)->keys == Keys::kWith ? "whole" : "whole without keys";
}

Result<void> List(const Context& context, const BackupOptions& options) {
  const fs::path dir = DirOf(context, options);
  LK_TRY(const auto backups, storage::ListBackups(StoreOf(dir)));
  for (const storage::BackupFacts& one : backups) {
    const std::string kind = KindOf(one, ReadManifest(dir, one.id));
    const Duration age = ReadClocks().wall - one.at;
    if (context.json) {
      Say(Json{{"backup", one.id},
               {"at_ms", one.at.ms},
               {"age_ms", age.count()},
               {"store_bytes", one.bytes},
               {"kind", kind}}
              .dump());
    } else {
      Say(std::to_string(one.id) + "  " + (one.damaged ? "-" : DateText(one.at)) + "  " +
          Megabytes(one.bytes) + "  " + kind);
    }
  }
  if (backups.empty() && !context.json) {
    Say("no backup in " + dir.string() + ": `latchkey backup make` makes one");
  }
  return {};
}

Result<void> VerifyOne(const fs::path& dir, uint32_t backup) {
  LK_TRY(const std::optional<Manifest> manifest, ReadManifest(dir, backup));
  if (manifest) {
    LK_CHECK(CheckFiles(dir, *manifest));
  }
  return storage::VerifyBackup(StoreOf(dir), backup);
}

Result<void> Verify(Context& context, const BackupOptions& options) {
  const fs::path dir = DirOf(context, options);
  LK_TRY(const auto backups, storage::ListBackups(StoreOf(dir)));
  size_t looked_at = 0;
  for (const storage::BackupFacts& one : backups) {
    if (options.backup != 0 && options.backup != one.id) {
      continue;
    }
    ++looked_at;
    const Result<void> good = VerifyOne(dir, one.id);
    if (context.json) {
      Json json = {{"backup", one.id}, {"good", good.has_value()}};
      if (!good) {
        json["why"] = good.error().text;
      }
      Say(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    } else if (good) {
      Say("backup " + std::to_string(one.id) + ": every byte is as it was written");
    }
    if (!good) {
      Complain(context, good.error());
    }
  }
  if (looked_at == 0) {
    return Fail(v1::REASON_MALFORMED, "no such backup in " + dir.string() +
                                          ": `latchkey backup list` shows what there is");
  }
  return {};
}

void Finish(Context& context, const Result<void>& done) {
  if (!done) {
    Complain(context, done.error(), done.error().reason == v1::REASON_EXPIRED ? kTimedOut : 1);
  }
}

CLI::App* AddOne(CLI::App& backup, const std::string& name, const std::string& what,
                 std::function<void()> run) {
  CLI::App* command = backup.add_subcommand(name, what);
  command->callback(std::move(run));
  return command;
}

}  // namespace

void AddBackup(CLI::App& app, Context& context) {
  CLI::App* backup = app.add_subcommand(
      "backup", "Copies of the cell, made while it runs, from which `latchkey restore` sets it up");
  backup->require_subcommand(1);
  const auto options = std::make_shared<BackupOptions>();
  CLI::App* make = AddOne(*backup, "make", "Make one, on the bridge's machine",
                          [&context, options] { Finish(context, Make(context, *options)); });
  make->add_option("--keep", options->keep, "The newest so many stay (default: as configured)")
      ->check(CLI::Range(1, 10000));
  make->add_flag("--without-keys", options->without_keys,
                 "Leave out private keys, the administrator's token and the numbers of cars");
  make->add_option("--timeout", options->timeout, "Wait at most this long (exit code 3)")
      ->capture_default_str();
  make->footer(
      "Only what is new since the last one is copied. The folder is [backup] dir of\n"
      "latchkey.toml (bridge/backup by default): give it a disk of its own.\n"
      "Once an hour, by cron:\n  0 * * * * latchkey --data /srv/cell backup make\n");
  CLI::App* list = AddOne(*backup, "list", "What backups there are",
                          [&context, options] { Finish(context, List(context, *options)); });
  CLI::App* verify = AddOne(*backup, "verify", "Read every byte of them (exit code 1: one is bad)",
                            [&context, options] { Finish(context, Verify(context, *options)); });
  verify->add_option("--backup", options->backup, "This one alone");
  for (CLI::App* command : {list, verify}) {
    command->add_option("--from", options->from, "Their folder (default: as the bridge says)");
  }
}

}  // namespace latchkey::cli
