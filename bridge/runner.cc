// See runner.h. The commit happens in Release; nothing else in the bridge publishes or writes.
#include "bridge/runner.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace latchkey::bridge {

namespace {

constexpr Duration kBacklogPause = std::chrono::milliseconds(10);
constexpr size_t kDamagedLogged = 20;

Counters Sum(Counters sum, const Counters& other) {
  sum.messages += other.messages;
  sum.state_stored += other.state_stored;
  sum.state_older += other.state_older;
  sum.rings_stored += other.rings_stored;
  sum.commands_seen += other.commands_seen;
  sum.commands_held += other.commands_held;
  sum.commands_delivered += other.commands_delivered;
  sum.commands_closed += other.commands_closed;
  sum.republished += other.republished;
  sum.conflicts += other.conflicts;
  sum.blocks_set += other.blocks_set;
  sum.blocks_lifted += other.blocks_lifted;
  sum.blocks_taken += other.blocks_taken;
  sum.block_requests_unanswered += other.block_requests_unanswered;
  for (const auto& [reason, count] : other.refused) {
    sum.refused[reason] += count;
  }
  for (const auto& [state, count] : other.outcomes) {
    sum.outcomes[state] += count;
  }
  return sum;
}

// A record's key as text: its 00 separators are shown as '/', what cannot be printed as '.'.
std::string KeyText(std::string_view key) {
  std::string text;
  for (const char byte : key) {
    text += byte == '\0' ? '/' : (byte > ' ' && byte < '\x7f' ? byte : '.');
  }
  return text;
}

}  // namespace

Now SystemNow() {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  const auto mono = std::chrono::steady_clock::now().time_since_epoch();
  return {{std::chrono::duration_cast<Duration>(wall).count()},
          {std::chrono::duration_cast<Duration>(mono).count()}};
}

Runner::Runner(const Limits& limits, FleetCas fleet_cas, RunnerLimits runner_limits, Parts parts)
    : limits_(limits),
      fleet_cas_(std::move(fleet_cas)),
      runner_limits_(runner_limits),
      parts_(std::move(parts)),
      core_(std::make_unique<Bridge>(limits_, fleet_cas_)) {}

Result<void> Runner::Load() {
  auto core = std::make_unique<Bridge>(limits_, fleet_cas_);
  const auto reader = parts_.store.Snapshot();
  uint64_t damaged = 0;
  uint64_t records = 0;
  for (const storage::Kind kind :
       {storage::Kind::kRing, storage::Kind::kPresence, storage::Kind::kState,
        storage::Kind::kCommand, storage::Kind::kBlock}) {
    LK_CHECK(reader->Scan(
        kind, std::nullopt,
        [&](const storage::Record& record) {
          core->Load(record);
          ++records;
        },
        [&](std::string_view key, const Error& error) {
          if (++damaged <= kDamagedLogged) {
            Say(LogEvent::Level::kWarning, "record_damaged",
                {{"key", KeyText(key)}, {"why", error.text}});
          }
        }));
  }
  before_ = Sum(std::move(before_), core_->counters());
  core_ = std::move(core);
  Say(LogEvent::Level::kInfo, "store_loaded",
      {{"records", std::to_string(records)}, {"damaged", std::to_string(damaged)}});
  {
    const std::scoped_lock lock(mutex_);
    status_.records_damaged = damaged;
  }
  UpdateStatus();
  return {};
}

// No longer than `wait`, and not past the core's deadline or the next sync.
Duration Runner::WaitFor(Duration wait) const {
  const Instant now = parts_.clock().mono;
  if (const std::optional<Instant> deadline = core_->NextDeadline()) {
    const Duration least =
        parts_.publisher.backlog() > runner_limits_.backlog_max ? kBacklogPause : Duration(0);
    wait = std::min(wait, std::max(*deadline - now, least));
  }
  if (unsynced_) {
    wait = std::min(wait, synced_at_ + runner_limits_.sync_every - now);
  }
  return std::max(wait, Duration(0));
}

void Runner::StepAll(const std::vector<Input>& inputs) {
  for (const Input& input : inputs) {
    core_->Step(input, parts_.clock(), effects_);
    if (std::holds_alternative<BrokerUp>(input)) {
      broker_connected_ = true;
    } else if (std::holds_alternative<BrokerDown>(input)) {
      broker_connected_ = false;
    } else if (const auto* cas = std::get_if<FleetCas>(&input)) {
      fleet_cas_ = *cas;  // for the next core
    }
  }
}

void Runner::TickIfDue() {
  const std::optional<Instant> deadline = core_->NextDeadline();
  const Now now = parts_.clock();
  if (deadline && *deadline <= now.mono &&
      parts_.publisher.backlog() <= runner_limits_.backlog_max) {
    core_->Step(Tick{}, now, effects_);
  }
}

void Runner::Turn(Duration wait) {
  if (failure_) {
    Recover(wait);
    return;
  }
  const std::vector<Input> inputs =
      parts_.intake.Drain(runner_limits_.inputs_per_turn_max, WaitFor(wait));
  StepAll(inputs);
  TickIfDue();
  if (Release(inputs)) {
    SyncIfDue(parts_.clock().mono);
  }
  UpdateStatus();
}

bool Runner::Release(const std::vector<Input>& inputs) {
  std::vector<storage::Change> changes;
  auto durability = storage::Durability::kSoon;
  for (const Effect& effect : effects_) {
    if (const auto* write = std::get_if<Write>(&effect)) {
      changes.push_back(write->change);
      if (write->durable) {
        durability = storage::Durability::kDurable;
      }
    }
  }
  if (!changes.empty()) {
    const Result<void> committed = Commit(changes, durability);
    if (!committed) {
      effects_.clear();
      Failed(inputs, committed.error());
      return false;
    }
  }
  parts_.intake.Finish();
  for (const Effect& effect : effects_) {
    if (const auto* publish = std::get_if<Publish>(&effect)) {
      parts_.publisher.Send(*publish);
    } else if (const auto* event = std::get_if<LogEvent>(&effect)) {
      parts_.log(*event);
    }
  }
  effects_.clear();
  return true;
}

Result<void> Runner::Commit(const std::vector<storage::Change>& changes,
                            storage::Durability durability) {
  const auto before = std::chrono::steady_clock::now();
  Result<void> committed = parts_.store.Commit(changes, durability);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  if (committed) {
    if (durability == storage::Durability::kDurable) {
      unsynced_ = false;
    } else if (!unsynced_) {
      unsynced_ = true;
      synced_at_ = parts_.clock().mono;  // the second begins with the first unsynced write
    }
  }
  const std::scoped_lock lock(mutex_);
  const auto bucket =
      std::lower_bound(kCommitSecondsBounds.begin(), kCommitSecondsBounds.end(), seconds);
  ++status_.commit_seconds.at(static_cast<size_t>(bucket - kCommitSecondsBounds.begin()));
  status_.commit_seconds_sum += seconds;
  ++(committed ? status_.commits : status_.commits_failed);
  return committed;
}

void Runner::Failed(const std::vector<Input>& inputs, const Error& error) {
  Failure failure;
  failure.inputs = inputs;
  failure.back_off = runner_limits_.retry_first;
  failure.retry_at = parts_.clock().mono + failure.back_off;
  failure_ = std::move(failure);
  {
    const std::scoped_lock lock(mutex_);
    status_.store_error = error.text;
  }
  Say(LogEvent::Level::kWarning, "store_failed",
      {{"why", error.text}, {"inputs_kept", std::to_string(inputs.size())}});
}

// Waits out the back-off, asks the store whether it can write, and begins again from what it has.
void Runner::Recover(Duration wait) {
  const Duration left = failure_->retry_at - parts_.clock().mono;
  if (left > Duration(0)) {
    parts_.intake.Rest(std::min(wait, left));
    return;
  }
  Result<void> works = Commit({}, storage::Durability::kDurable);
  if (works) {
    works = Load();
  }
  if (works) {
    const Failure failure = std::move(*failure_);
    failure_.reset();
    {
      const std::scoped_lock lock(mutex_);
      status_.store_error.clear();
    }
    if (broker_connected_) {
      core_->Step(BrokerUp{}, parts_.clock(), effects_);
    }
    StepAll(failure.inputs);
    if (Release(failure.inputs)) {
      Say(LogEvent::Level::kInfo, "store_recovered", {});
      parts_.publisher.Reconnect();
    } else {
      failure_->back_off = std::min(failure.back_off * 2, runner_limits_.retry_max);
      failure_->retry_at = parts_.clock().mono + failure_->back_off;
    }
  } else {
    failure_->back_off = std::min(failure_->back_off * 2, runner_limits_.retry_max);
    failure_->retry_at = parts_.clock().mono + failure_->back_off;
    const std::scoped_lock lock(mutex_);
    status_.store_error = works.error().text;
  }
  UpdateStatus();
}

void Runner::SyncIfDue(Instant now) {
  if (!unsynced_ || now < synced_at_ + runner_limits_.sync_every) {
    return;
  }
  const Result<void> synced = parts_.store.Sync();
  if (synced) {
    unsynced_ = false;
  } else {
    Failed({}, synced.error());
  }
}

bool Runner::Finish() {
  while (!failure_ && parts_.intake.size() > 0) {
    Turn(Duration(0));
  }
  if (failure_) {
    return false;
  }
  const bool synced = parts_.store.Sync().has_value();
  UpdateStatus();
  return synced;
}

Status Runner::status() const {
  const std::scoped_lock lock(mutex_);
  return status_;
}

void Runner::UpdateStatus() {
  Counters counters = Sum(before_, core_->counters());
  const std::scoped_lock lock(mutex_);
  status_.counters = std::move(counters);
  status_.gauges = core_->gauges();
  status_.broker_connected = broker_connected_;
  status_.intake = parts_.intake.size();
  status_.backlog = parts_.publisher.backlog();
}

void Runner::Say(LogEvent::Level level, std::string event,
                 std::vector<std::pair<std::string, std::string>> fields) const {
  parts_.log(LogEvent{level, std::move(event), std::move(fields)});
}

}  // namespace latchkey::bridge
