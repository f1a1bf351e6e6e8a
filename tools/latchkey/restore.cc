// latchkey restore: a cell, or its store alone, as it was when a backup was made. Everything is
// written beside and checked, then takes its place by one rename.
#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <pwd.h>
#include <unistd.h>

#include "proto/crypto.h"
#include "proto/log_chain.h"
#include "proto/receipt.h"
#include "storage/rocksdb_backup.h"
#include "tools/latchkey/backup_files.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kSaltBytes = 16;

struct RestoreOptions {
  std::string from;
  std::string to;
  uint32_t backup = 0;
  bool store_only = false;
  bool replace = false;
  bool deliver_held = false;
};

// What is to be restored.
struct Chosen {
  storage::BackupFacts facts;
  std::optional<Manifest> manifest;
};

// What the restored store holds.
struct Contents {
  uint64_t cars = 0;
  uint64_t rings = 0;
  uint64_t held = 0;  // commands
  uint64_t blocks = 0;
  uint64_t damaged = 0;
  LogHead log;
  Timestamp last_at;  // of the newest record
};

std::string UserName() {
  const char* name = ::getlogin();
  return name == nullptr ? "user " + std::to_string(::getuid()) : name;
}

// A folder beside the target that goes again unless it takes the target's place.
class Stage {
 public:
  explicit Stage(const fs::path& target)
      : path_(target.string() + ".restoring." + std::to_string(::getpid())) {}

  ~Stage() {
    if (!taken_) {
      std::error_code ignored;
      fs::remove_all(path_, ignored);
    }
  }

  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  const fs::path& path() const { return path_; }

  // Becomes `target`; what was there is put aside: its new name, empty when nothing was.
  Result<std::string> Take(const fs::path& target) {
    std::error_code error;
    std::string aside;
    if (fs::exists(target, error) && !fs::remove(target, error)) {
      aside = target.string() + ".before-" + std::to_string(ReadClocks().wall.ms);
      fs::rename(target, aside, error);
      if (error) {
        return Fail(v1::REASON_STORE_UNAVAILABLE,
                    target.string() + " cannot be put aside: " + error.message());
      }
    }
    fs::rename(path_, target, error);
    if (error) {
      const std::string why = error.message();
      if (!aside.empty()) {
        fs::rename(aside, target, error);
      }
      return Fail(v1::REASON_STORE_UNAVAILABLE, target.string() + " cannot be made: " + why);
    }
    taken_ = true;
    const int parent = ::open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0) {
      ::fsync(parent);
      ::close(parent);
    }
    return aside;
  }

 private:
  fs::path path_;
  bool taken_ = false;
};

// The one that is asked for, else the newest that has what is needed.
Result<Chosen> Choose(const RestoreOptions& options) {
  LK_TRY(const auto backups, storage::ListBackups(StoreOf(options.from)));
  for (auto one = backups.rbegin(); one != backups.rend(); ++one) {
    if (options.backup != 0 && options.backup != one->id) {
      continue;
    }
    if (one->damaged) {
      if (options.backup == 0) {
        std::cerr << "backup " << one->id << " is damaged: an older one is looked for\n";
        continue;
      }
      return Fail(v1::REASON_MALFORMED, "backup " + std::to_string(one->id) +
                                            " is damaged: use another (`latchkey backup list`)");
    }
    LK_TRY(std::optional<Manifest> manifest, ReadManifest(options.from, one->id));
    if (!manifest && !options.store_only) {
      if (options.backup == 0) {
        continue;
      }
      return Fail(v1::REASON_MALFORMED, "backup " + std::to_string(one->id) +
                                            " has the store alone: restore it with --store-only "
                                            "into a cell that has the rest");
    }
    return Chosen{*one, std::move(manifest)};
  }
  return Fail(v1::REASON_MALFORMED,
              "no such backup in " + options.from +
                  ": `latchkey backup list --from` shows what there is; --from is the folder that "
                  "has store/ and cells/");
}

Result<void> Verify(const fs::path& dir, const Chosen& chosen) {
  if (chosen.manifest) {
    LK_CHECK(CheckFiles(dir, *chosen.manifest));
  }
  return storage::VerifyBackup(StoreOf(dir), chosen.facts.id);
}

// Does a process have this store open?
bool IsOpen(const fs::path& store) {
  const int file = ::open((store / "LOCK").c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) {
    return false;
  }
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  const bool open = ::fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  ::close(file);
  return open;
}

Result<void> CheckTarget(const RestoreOptions& options, const Folder& folder,
                         const fs::path& target) {
  if (IsOpen(folder.Bridge() / "store")) {
    return Fail(v1::REASON_NOT_ALLOWED, "the bridge of " + folder.root().string() +
                                            " is running: stop it first, nothing is changed");
  }
  std::error_code error;
  if (fs::exists(target, error) && !fs::is_directory(target, error)) {
    return Fail(v1::REASON_NOT_ALLOWED, target.string() + " is no folder: name another --to");
  }
  const bool there = fs::exists(target, error) && !fs::is_empty(target, error);
  if (there && !options.replace) {
    return Fail(v1::REASON_NOT_ALLOWED,
                target.string() +
                    " is not empty: name another --to, or say --replace, which puts what is there "
                    "aside");
  }
  if (options.store_only && !fs::exists(folder.Bridge() / "latchkey.toml", error)) {
    return Fail(v1::REASON_NOT_ALLOWED, folder.root().string() +
                                            " has no cell to which a store could belong: restore "
                                            "without --store-only");
  }
  return {};
}

void Newer(Timestamp& last, Timestamp at) {
  last = std::max(last, at);
}

Result<void> CountRecords(const storage::Reader& reader, Contents& contents) {
  std::set<CarRef> cars;
  const auto look = [&](const storage::Record& record) {
    if (const auto* ring = std::get_if<storage::RingRecord>(&record)) {
      ++contents.rings;
      cars.insert(ring->ref);
      Newer(contents.last_at, ring->received_at);
    } else if (const auto* state = std::get_if<storage::StateRecord>(&record)) {
      cars.insert(state->ref);
      Newer(contents.last_at, state->received_at);
    } else if (const auto* presence = std::get_if<storage::PresenceRecord>(&record)) {
      cars.insert(presence->ref);
      Newer(contents.last_at, presence->received_at);
    } else if (const auto* command = std::get_if<storage::CommandRecord>(&record)) {
      contents.held += command->state == v1::RECEIPT_STATE_HELD ? 1 : 0;
      Newer(contents.last_at, command->changed_at);
    } else if (const auto* block = std::get_if<storage::BlockRecord>(&record)) {
      contents.blocks += block->block.lifted ? 0 : 1;
    }
  };
  for (const storage::Kind kind :
       {storage::Kind::kRing, storage::Kind::kState, storage::Kind::kPresence,
        storage::Kind::kCommand, storage::Kind::kBlock}) {
    LK_CHECK(reader.Scan(kind, std::nullopt, look,
                         [&](std::string_view, const Error&) { ++contents.damaged; }));
  }
  contents.cars = cars.size();
  return {};
}

Result<void> FindLogEnd(const storage::Reader& reader, Contents& contents) {
  uint64_t through = storage::kWholeLog;
  while (through > 0) {
    LK_TRY(const std::optional<storage::LogRecord> last,
           reader.LastLog(through, [&](std::string_view, const Error&) { ++contents.damaged; }));
    if (!last) {
      return {};
    }
    const Result<LogLink> link = OpenLogRecord(last->payload);
    if (link && link->head.sequence == last->sequence) {
      contents.log = link->head;
      if (link->entry) {
        Newer(contents.last_at, Timestamp{static_cast<int64_t>(link->entry->at_ms())});
      }
      return {};
    }
    through = last->sequence - 1;
  }
  return {};
}

// What the store holds; and its log says from here on that it was restored, from when.
Result<Contents> Enter(const fs::path& path, const RestoreOptions& options, const Chosen& chosen) {
  storage::RocksDbOptions how;
  how.path = path;
  LK_TRY(const std::unique_ptr<storage::RocksDbStore> store, storage::RocksDbStore::Open(how));
  Contents contents;
  {
    const auto reader = store->Snapshot();
    LK_CHECK(CountRecords(*reader, contents));
    LK_CHECK(FindLogEnd(*reader, contents));
  }
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(ReadClocks().wall.ms));
  entry.set_event("restored");
  entry.set_who(UserName());
  entry.set_note("backup " + std::to_string(chosen.facts.id) + " as of " +
                 std::to_string(chosen.facts.at.ms / 1000) +
                 " s since 1970: what was written here after it is gone");
  entry.set_state(options.deliver_held ? v1::RECEIPT_STATE_HELD : v1::RECEIPT_STATE_UNSPECIFIED);
  entry.set_salt(RandomBytes(kSaltBytes));
  LogHead head = contents.log;
  storage::LogRecord record;
  record.payload = AppendToLog(head, std::move(entry));
  record.sequence = head.sequence;
  LK_CHECK(store->Commit(std::vector<storage::Change>{std::move(record)},
                         storage::Durability::kDurable));
  return contents;
}

// What this machine lacks, or must be told.
std::vector<std::string> ToDo(const Folder& folder, const Manifest& manifest) {
  std::vector<std::string> todo;
  if (manifest.keys == Keys::kWithout) {
    todo.emplace_back(
        "put the private keys where they were (ca/, fleets/, broker/server.key, "
        "bridge/bridge.key): the backup was made without");
  }
  const Result<std::string> broker = ReadFile(folder.Broker() / "mosquitto.conf");
  std::istringstream lines(broker ? *broker : "");
  for (std::string line; std::getline(lines, line);) {
    std::error_code error;
    if (line.rfind("plugin ", 0) == 0 && !fs::exists(line.substr(7), error)) {
      todo.push_back("the plugin " + line.substr(7) + " is not on this machine: install it, or `" +
                     "latchkey fleet init FLEET --plugin-dir DIR`");
    }
    if (line.rfind("user ", 0) == 0 && ::getpwnam(line.substr(5).c_str()) == nullptr) {
      todo.push_back("the user " + line.substr(5) +
                     " is not on this machine: make it, or change broker/mosquitto.conf");
    }
  }
  todo.push_back("the broker listens at " + manifest.host +
                 " and its certificate names it: cars and phones must reach it by that name, or `" +
                 "latchkey fleet init FLEET --host HOST` gives it another (and other ports)");
  return todo;
}

Json JsonOf(const Chosen& chosen, const Contents& contents, const std::string& aside,
            const std::vector<std::string>& todo) {
  return {{"backup", chosen.facts.id},
          {"at_ms", chosen.facts.at.ms},
          {"age_ms", (ReadClocks().wall - chosen.facts.at).count()},
          {"last_record_at_ms", contents.last_at.ms},
          {"cars", contents.cars},
          {"rings", contents.rings},
          {"commands_held", contents.held},
          {"blocks", contents.blocks},
          {"log_through", contents.log.sequence},
          {"damaged", contents.damaged},
          {"aside", aside.empty() ? Json(nullptr) : Json(aside)},
          {"to_do", todo}};
}

void SayHeld(const RestoreOptions& options, uint64_t held) {
  if (held == 0) {
    return;
  }
  Say(options.deliver_held
          ? "  " + std::to_string(held) +
                " commands are held: those that have not expired go to their cars, which do none "
                "twice"
          : "  " + std::to_string(held) +
                " commands were held: those that make safe or take away go to their cars; the "
                "others end with a receipt that says that their outcome is not known, for they may "
                "have been taken back since (--deliver-held: all go)");
}

void SayRestored(const RestoreOptions& options, const Chosen& chosen, const Contents& contents,
                 const std::string& aside, const std::vector<std::string>& todo) {
  const Timestamp now = ReadClocks().wall;
  const auto ago = std::chrono::duration_cast<std::chrono::minutes>(now - chosen.facts.at).count();
  Say("restored: backup " + std::to_string(chosen.facts.id) + ", to " + DateText(chosen.facts.at) +
      " (" + std::to_string(ago) + " minutes ago)");
  Say("  " + std::to_string(contents.cars) + " cars, " + std::to_string(contents.rings) +
      " rings, " + std::to_string(contents.blocks) + " blocks, log entries up to " +
      std::to_string(contents.log.sequence) + "; newest record " + DateText(contents.last_at));
  SayHeld(options, contents.held);
  if (contents.damaged > 0) {
    Say("  " + std::to_string(contents.damaged) + " records were damaged before the backup");
  }
  Say("  not in it: what happened since. State, rings and blocks come back from the broker, if it "
      "still has them, and from the cars when they connect; commands from phones that still wait. "
      "What was erased since is here again: erase it anew. A key that was taken away since, and "
      "whose block the broker has lost, too, is denied again when its car connects: `latchkey "
      "block` denies it now");
  if (!aside.empty()) {
    Say("  what was there is in " + aside);
  }
  for (const std::string& one : todo) {
    Say("  to do: " + one);
  }
}

Result<void> Restore(const Context& context, const RestoreOptions& options) {
  const Folder folder(options.to);
  const fs::path target = options.store_only ? folder.Bridge() / "store" : folder.root();
  LK_CHECK(CheckTarget(options, folder, target));
  LK_TRY(const Chosen chosen, Choose(options));
  if (::isatty(STDERR_FILENO) == 1) {
    std::cerr << "backup " << chosen.facts.id << ": every byte is being checked ...\n";
  }
  LK_CHECK(Verify(options.from, chosen));
  Stage stage(target);
  const fs::path store = options.store_only ? stage.path() : stage.path() / "bridge" / "store";
  LK_CHECK(storage::RestoreBackup(StoreOf(options.from), chosen.facts.id, store));
  if (!options.store_only) {
    LK_CHECK(GiveBack(options.from, *chosen.manifest, stage.path(), folder.root()));
    std::error_code error;
    fs::permissions(stage.path(), fs::perms::owner_all, error);
  }
  LK_TRY(const Contents contents, Enter(store, options, chosen));
  LK_TRY(const std::string aside, stage.Take(target));
  const std::vector<std::string> todo =
      options.store_only ? std::vector<std::string>() : ToDo(folder, *chosen.manifest);
  if (context.json) {
    Say(JsonOf(chosen, contents, aside, todo).dump(-1, ' ', false, Json::error_handler_t::replace));
  } else {
    SayRestored(options, chosen, contents, aside, todo);
  }
  return {};
}

}  // namespace

void AddRestore(CLI::App& app, Context& context) {
  const auto options = std::make_shared<RestoreOptions>();
  CLI::App* command = app.add_subcommand(
      "restore", "Set a cell up from a backup, here or on another machine: all of it or nothing");
  command->add_option("--from", options->from, "Folder of backups, as `backup list` names it")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->add_option("--to", options->to, "Data folder that is made")->required();
  command->add_option("--backup", options->backup, "Which (default: the newest)");
  command->add_flag("--store-only", options->store_only,
                    "The bridge's store alone, into a cell that is there");
  command->add_flag("--replace", options->replace, "Put aside what is there");
  command->add_flag("--deliver-held", options->deliver_held,
                    "Deliver all commands that were held; right when nothing can have been taken "
                    "back since, as after a move");
  command->footer(
      "Each byte is checked before anything is written; broker and bridge of the folder must not\n"
      "run. Exit code 1: nothing was changed.\n"
      "Example:\n  latchkey restore --from /backup/cell --to /srv/cell\n");
  command->callback([&context, options] {
    const Result<void> done = Restore(context, *options);
    if (!done) {
      Complain(context, done.error());
    }
  });
}

}  // namespace latchkey::cli
