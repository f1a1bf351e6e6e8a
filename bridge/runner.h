// The loop of the bridge: inputs from the queue, steps of the core, one commit, then the words.
// Writes before words: nothing leaves before what it rests on is in the store. What the core says
// for the log (Journal) is chained and committed with the writes of the same turn.
//
// When a commit fails, the words of that turn are dropped and the bridge is not ready. The core is
// rebuilt from the store and told that nothing can be kept; then it steps the inputs of that turn
// and all that follow, and of what it says only this leaves: answers to commands, REFUSED with
// REASON_STORE_UNAVAILABLE for those that it would hold, the last word for those that it knows.
// Commands are done with then: what was said REFUSED is never stepped again, and its id stays
// refused. All other inputs are kept, and once the store can write again the core is rebuilt from
// it once more, they are stepped, and MQTT connects anew so that the broker shows what it holds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bridge/core/bridge.h"
#include "bridge/core/migration_pace.h"
#include "bridge/core/step.h"
#include "bridge/figures.h"
#include "bridge/log_book.h"
#include "bridge/queue.h"
#include "storage/store.h"

namespace latchkey::bridge {

using Intake = BoundedQueue<Input>;
class SmsSender;  // bridge/sms.h

using LogSink = std::function<void(const LogEvent&)>;
using Clock = std::function<Now()>;

// Both clocks of this machine.
Now SystemNow();

// Where words leave; the MQTT adapter. Never waits.
class Publisher {
 public:
  virtual ~Publisher() = default;
  virtual void Send(const Publish& publish) = 0;
  // How many words have not been handed to the network yet.
  virtual size_t backlog() const = 0;
  // Ends the connection and makes another, with the same session.
  virtual void Reconnect() = 0;
};

// Upper bounds of the commit latency histogram, seconds; the last bucket has no bound.
inline constexpr std::array<double, 10> kCommitSecondsBounds = {0.0002, 0.0005, 0.001, 0.002, 0.005,
                                                                0.01,   0.05,   0.1,   0.5,   2.0};

// When something the bridge rests on runs out.
struct CertificateEnd {
  std::string holder;  // "bridge", "broker_ca", "fleet_ca"
  std::string fleet;   // fleet_ca only
  Timestamp not_after;
};

// How far an erasure is: first the store, at once, then the log.
struct ErasureProgress {
  uint64_t id = 0;
  bool done = false;
  bool failed = false;       // the log could not be read: to be asked for again
  uint64_t log_entries = 0;  // that lost their content
  uint64_t unreadable = 0;   // entries of the log that are damaged
};

// What became of an order for a migration.
struct MigrationAnswer {
  uint64_t id = 0;
  // Errors: REASON_NOT_ALLOWED, with what to do instead; REASON_STORE_UNAVAILABLE.
  Result<void> done;
  uint64_t comparison = 0;  // that runs for the order kVerify
};

// Who gives orders for migrations, and who compares, on threads of their own; each is called from
// the loop and never waits.
struct MigrationDoor {
  std::function<void(const MigrationAnswer&)> answered = [](const MigrationAnswer&) {};
  // Begins a comparison, or goes on with the one that runs: its id. Its end comes through the
  // intake. Error REASON_NOT_ALLOWED: not now.
  std::function<Result<uint64_t>()> compare = [] { return Result<uint64_t>(0); };
  // What a comparison found is not of use any more.
  std::function<void()> stop_comparing = [] {};
  // What it found is kept, or not and why.
  std::function<void(uint64_t id, const Result<void>& kept)> compared = [](uint64_t,
                                                                           const Result<void>&) {};
};

// A migration of the store as the loop sees it.
struct MigrationFigures {
  storage::MigrationStatus status;
  std::optional<double> rows_per_second;  // within the last minute; nullopt: not known
  std::optional<Duration> left;           // nullopt: not known
  uint64_t slices = 0;                    // since the bridge's start
  double slice_seconds_sum = 0;
  double share = 0;  // of time that slices take at most now
};

// A comparison of both shapes that runs, or ran last since the bridge's start.
struct ComparisonFigures {
  uint64_t id = 0;  // 0: there was none
  bool running = false;
  uint64_t compared = 0;
  std::optional<double> records_per_second;  // nullopt: not known
  std::string error;                         // why it came to no result
};

// What the outside may know of the bridge; copied whole.
struct Status {
  Counters counters;
  Gauges gauges;
  // These are added by who shows it: the runner knows nothing of them.
  BrokerFigures broker;
  std::vector<CertificateEnd> certificates;
  ComparisonFigures comparison;
  MigrationFigures migration;
  bool broker_connected = false;
  std::string store_error;  // empty: the store can write
  uint64_t commits = 0;
  uint64_t commits_failed = 0;
  uint64_t records_damaged = 0;
  LogFigures log;
  double commit_seconds_sum = 0;
  std::array<uint64_t, kCommitSecondsBounds.size() + 1> commit_seconds{};  // per bucket
  std::vector<ErasureProgress> erasures;                                   // the last ones
  size_t intake = 0;                                                       // waiting inputs
  size_t backlog = 0;                                                      // waiting words
};

struct RunnerLimits {
  size_t inputs_per_turn_max = 1000;
  // When so many inputs have come within 10 ms, the next are waited for a little, so that more of
  // them share a commit: else a commit costs more than all else about an input.
  size_t busy_inputs = 80;
  Gathering gathering{256, std::chrono::milliseconds(4)};
  size_t backlog_max = 5000;  // words above this: no ticks, so that reconciliation waits
  Duration sync_every = std::chrono::milliseconds(500);
  Duration retry_first = std::chrono::milliseconds(500);
  Duration retry_max = std::chrono::seconds(15);
  // Inputs that are kept while the store fails; what comes above is dropped and counted: it is
  // retained at the broker, or said again by who did not hear an answer.
  size_t kept_max = 20000;
  size_t blanked_per_turn_max = 5000;  // entries of the log that are looked at for an erasure
  PaceBounds migration;
  LogBounds log;
};

// Not copyable. Thread rule: Load, Turn and Finish from one thread, the loop's; status from any.
class Runner {
 public:
  struct Parts {
    Intake& intake;
    storage::Store& store;
    Publisher& publisher;
    Clock clock;
    LogSink log;
    SmsSender* sms = nullptr;  // nullptr: none leave
    // Who imports is told; nullptr: nobody is.
    std::function<void(const ImportAnswer&)> imported = nullptr;
    MigrationDoor migration = {};
  };

  Runner(const Limits& limits, FleetCas fleet_cas, RunnerLimits runner_limits, Parts parts);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Fills the core from the store; damaged records are logged and counted. Error
  // REASON_STORE_UNAVAILABLE: the store cannot be read.
  Result<void> Load();
  // As Load, with a core that has all rings, presence and state already, exactly as the store holds
  // them; it was made with the same limits and CAs.
  Result<void> LoadRest(std::unique_ptr<Bridge> warm);
  // One turn: waits at most `wait` for input or the core's deadline. Throws Fault when the core is
  // wrong: the process must end.
  void Turn(Duration wait);
  // Deals with what is in the queue, then syncs. True: everything is in the store.
  bool Finish();
  Status status() const;

  // To look at, on the loop's thread; after a failure of the store it is another one.
  const Bridge& core() const { return *core_; }

 private:
  // A command of one car.
  using CommandName = std::pair<CarRef, CommandId>;

  struct Failure {
    std::vector<Input> inputs;  // stepped again after recovery; no commands
    Duration back_off{0};
    Instant retry_at;
    Instant since;
    std::string why;
    // The core was rebuilt from the store and answers commands.
    bool answers = false;
    std::set<CommandName> unsaved;  // what the core knows of these is not in the store
    uint64_t refused = 0;           // commands
    uint64_t dropped = 0;           // inputs above kept_max
  };

  // What is still to be taken out of the log.
  struct Blanking {
    Erasure erasure;
    uint64_t next = 0;  // sequence
    ErasureProgress progress;
  };

  // A migration that sweeps, and what is asked for.
  struct Migrating {
    explicit Migrating(const PaceBounds& bounds) : pace(bounds) {}

    std::deque<MigrationRequest> orders;
    std::deque<ComparisonEnd> ends;
    uint64_t comparison = 0;  // whose end is of use
    MigrationFigures figures;
    MigrationPace pace;
    MigrationRate rate;
    Instant told_at;
    Instant next_at;       // when to look for a slice again
    Duration back_off{0};  // after a sweep that failed
    Instant retry_at;
  };

  // `warm`: see LoadRest; nullptr: everything is loaded.
  Result<std::unique_ptr<Bridge>> Loaded(std::unique_ptr<Bridge> warm = nullptr);
  Duration WaitFor(Duration wait) const;
  std::vector<Input> TakeInputs(Duration wait);
  void Step(const Input& input, const Now& now, Effects& out);
  void StepAll(const std::vector<Input>& inputs);
  void TickIfDue();
  // Commits what effects_ says and lets its words out. False: the commit failed.
  bool Release(const std::vector<Input>& inputs);
  void LetOut(const Effect& effect) const;
  Result<void> Commit(const std::vector<storage::Change>& changes, storage::Durability durability);
  void Failed(const std::vector<Input>& inputs, const Error& error);
  void StepUnkept(const Input& input);
  void NoteUnsaved(const Effects& out);
  void Recover(Duration wait);
  void TryAgain();
  void RetryLater();
  void PruneLog();
  void Begin(const Erasure& erasure);
  void BlankLog();
  void Tell(const ErasureProgress& progress);
  // All of these are in runner_migrating.cc.
  void GoOnMigrating();
  void Migrate();
  void CarryOut(const MigrationRequest& request);
  Result<uint64_t> Obey(const MigrationRequest& request);
  void RefuseOrders(const std::string& why);
  void Refuse(const MigrationRequest& request, const std::string& why);
  void Take(const ComparisonEnd& end);
  void Keep(const ComparisonEnd& end);
  void Sweep();
  bool Sweeps() const;
  std::optional<Duration> SweepsIn() const;
  Result<void> Enter(v1::LogEntry entry);
  void ReadMigration();
  void TellMigration();
  void SyncIfDue(Instant now);
  void Say(LogEvent::Level level, std::string event,
           std::vector<std::pair<std::string, std::string>> fields) const;
  enum class Keeps : uint8_t { kYes, kNo };  // no: it was told that the store fails

  void Replace(std::unique_ptr<Bridge> core, Keeps keeps);
  Counters Counted() const;
  void UpdateStatus();

  const Limits limits_;
  FleetCas fleet_cas_;
  const RunnerLimits runner_limits_;
  Parts parts_;
  std::unique_ptr<Bridge> core_;
  Effects effects_;
  Counters before_;  // of cores that were dropped
  std::optional<Failure> failure_;
  LogBook log_book_;
  std::deque<Blanking> blankings_;
  Migrating migrating_;
  Contacts contacts_;          // for the next core
  Keeps keeps_ = Keeps::kYes;  // of core_
  bool unsynced_ = false;
  Instant synced_at_;
  size_t counted_ = 0;  // inputs since
  Instant counted_since_;
  bool busy_ = false;
  bool broker_connected_ = false;

  mutable std::mutex mutex_;
  Status status_;  // under mutex_
};

}  // namespace latchkey::bridge
