// A process that commits and migrates without end is killed at random again and again: what it had
// said is there, in whatever phase it died, and nothing is in one shape alone.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/rocksdb_store.h"
#include "storage/shape.h"

namespace latchkey::storage {

namespace {

constexpr const char* kFolderVariable = "LK_STORAGE_TEST_CHILD";
constexpr const char* kChildCase = "kill: the process that is killed";
constexpr Timestamp kStart{1'700'000'000'000};
constexpr uint64_t kCommandsAtStart = 3000;

CommandRecord Command(uint64_t number, v1::ReceiptState state) {
  CommandRecord record;
  record.ref = {FleetId::Parse("f").value(), CarId::Parse("car").value()};
  record.lane = KeyId::Parse("abcdefghijklmnopqrstuA").value();
  record.id = CommandId::Make(static_cast<int64_t>(number) + 1, "0123456789");
  record.order = number;
  record.state = state;
  record.payload = state == v1::RECEIPT_STATE_DONE ? "" : std::string(100, 'p');
  return record;
}

std::unique_ptr<RocksDbStore> Open(const std::filesystem::path& folder) {
  RocksDbOptions options;
  options.path = folder;
  options.free_bytes_min = 0;
  options.fresh_schema = 1;
  auto opened = RocksDbStore::Open(options);
  REQUIRE_MESSAGE(opened.has_value(), (opened ? "" : opened.error().text));
  return *std::move(opened);
}

// How many commands there are, each of them once and in its order, without damage.
uint64_t Count(const Store& store) {
  uint64_t count = 0;
  REQUIRE(store.Snapshot()->Scan(
      Kind::kCommand, std::nullopt,
      [&](const Record& record) {
        const auto& command = std::get<CommandRecord>(record);
        const bool done = command.order % 3 == 0;
        REQUIRE(
            (command == Command(count, done ? v1::RECEIPT_STATE_DONE : v1::RECEIPT_STATE_HELD)));
        ++count;
      },
      [](std::string_view, const Error& error) { FAIL(error.text); }));
  return count;
}

// A new store of schema 1 with commands in it; gives how many.
uint64_t Fill(const std::filesystem::path& folder) {
  std::filesystem::remove_all(folder);
  std::vector<Change> changes;
  for (uint64_t i = 0; i < kCommandsAtStart; ++i) {
    changes.emplace_back(Command(i, i % 3 == 0 ? v1::RECEIPT_STATE_DONE : v1::RECEIPT_STATE_HELD));
  }
  REQUIRE(Open(folder)->Commit(changes, Durability::kDurable));
  return kCommandsAtStart;
}

// Goes on with the migration from wherever it stands, forth and back.
void Advance(Store& store, std::mt19937_64& random) {
  const MigrationStatus status = store.Migration();
  switch (status.phase) {
    case MigrationPhase::kNone:
      if (status.schema < kSchemaVersionMax) {
        REQUIRE(store.Migrate(MigrationOrder::kStart, kStart));
      }
      break;
    case MigrationPhase::kBackfill:
      REQUIRE(store.Sweep(256, kStart).has_value());
      break;
    case MigrationPhase::kFilled:
    case MigrationPhase::kDiffers: {
      const Comparison comparison = store.Compare([](uint64_t) { return true; }).value();
      REQUIRE(comparison.differences == 0);
      REQUIRE(store.Compared(comparison, kStart));
      break;
    }
    case MigrationPhase::kVerified:
      REQUIRE(store.Migrate(
          random() % 3 == 0 ? MigrationOrder::kRollback : MigrationOrder::kCutOver, kStart));
      break;
    case MigrationPhase::kCutOver:
      REQUIRE(store.Migrate(random() % 3 == 0 ? MigrationOrder::kFinish : MigrationOrder::kRollback,
                            kStart));
      break;
  }
}

// Says on its output what is durable: one byte for each step.
void BeTheChild(const std::filesystem::path& folder) {
  const auto store = Open(folder);
  std::mt19937_64 random(static_cast<uint64_t>(::getpid()));
  uint64_t next = Count(*store);
  for (int step = 0; step < 100'000; ++step, ++next) {
    const bool done = next % 3 == 0;
    std::vector<Change> changes = {Command(next, v1::RECEIPT_STATE_HELD)};
    if (done) {
      changes.emplace_back(Command(next, v1::RECEIPT_STATE_DONE));
    }
    REQUIRE(store->Commit(changes, Durability::kDurable));
    REQUIRE(::write(STDOUT_FILENO, ".", 1) == 1);
    Advance(*store, random);
  }
}

// Runs the child until it has said `steps`, then kills it; gives what it has said.
uint64_t RunAndKill(const std::filesystem::path& folder, uint64_t steps) {
  int ends[2] = {};
  REQUIRE(::pipe(ends) == 0);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addclose(&actions, ends[0]);
  const std::string variable = std::string(kFolderVariable) + "=" + folder.string();
  const std::string only = std::string("--test-case=") + kChildCase;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  std::vector<std::string> arguments = {self, only, "--no-intro=true"};
  std::vector<std::string> environment = {variable};
  for (char** one = environ; *one != nullptr; ++one) {
    environment.emplace_back(*one);
  }
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> list;
    for (std::string& text : texts) {
      list.push_back(text.data());
    }
    list.push_back(nullptr);
    return list;
  };
  pid_t child = -1;
  REQUIRE(::posix_spawn(&child, self.c_str(), &actions, nullptr, pointers(arguments).data(),
                        pointers(environment).data()) == 0);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  uint64_t said = 0;
  char byte = 0;
  const auto reads = [&] { return ::read(ends[0], &byte, 1) == 1; };
  while (said < steps && reads()) {
    REQUIRE(byte == '.');
    ++said;
  }
  ::kill(child, SIGKILL);
  while (reads()) {
    said += byte == '.' ? 1 : 0;
  }
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE_MESSAGE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL), "it ended by itself");
  return said;
}

}  // namespace

TEST_CASE("kill: the process that is killed") {
  if (const char* folder = std::getenv(kFolderVariable)) {
    BeTheChild(folder);
  }
}

TEST_CASE("kill: wherever a migration is killed, what was said is there and both shapes agree") {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("lk_kill_" + std::to_string(::getpid()));
  uint64_t there = Fill(folder);
  std::mt19937_64 random(7);
  std::set<MigrationPhase> phases;
  int through = 0;  // stores that came to the newest version
  for (int round = 0; round < 12; ++round) {
    there += RunAndKill(folder, random() % 40 + 1);
    auto store = Open(folder);
    const uint64_t found = Count(*store);
    CHECK(found >= there);
    CHECK(found <= there + 1);  // one it had not said yet
    there = found;
    const MigrationStatus status = store->Migration();
    phases.insert(status.phase);
    if (MayMigrate(status, MigrationOrder::kVerify)) {
      const Comparison comparison = store->Compare([](uint64_t) { return true; }).value();
      CHECK(comparison.differences == 0);
      CHECK((comparison.compared == there || status.from == 2));
    }
    if (status.schema == kSchemaVersionMax && status.phase == MigrationPhase::kNone) {
      ++through;
      store.reset();
      there = Fill(folder);
    }
  }
  CHECK(through > 0);
  CHECK(phases.size() >= 2);
  std::filesystem::remove_all(folder);
}

}  // namespace latchkey::storage
