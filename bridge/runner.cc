// See runner.h. The commits are here; nothing else in the bridge publishes or writes. What happens
// while the store fails is in runner_failing.cc.
#include "bridge/runner.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "bridge/sms.h"

namespace latchkey::bridge {

namespace {

constexpr Duration kBacklogPause = std::chrono::milliseconds(10);
constexpr size_t kDamagedLogged = 20;
constexpr Duration kCountFor = std::chrono::milliseconds(10);

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
  sum.sms_sent += other.sms_sent;
  sum.sms_delivered += other.sms_delivered;
  sum.sms_failed += other.sms_failed;
  sum.wakes_skipped += other.wakes_skipped;
  sum.events_left_out += other.events_left_out;
  sum.sessions_kept += other.sessions_kept;
  sum.sessions_left_out += other.sessions_left_out;
  sum.clocks_jumped_forward += other.clocks_jumped_forward;
  sum.clocks_jumped_back += other.clocks_jumped_back;
  sum.history_samples += other.history_samples;
  sum.history_left_out += other.history_left_out;
  sum.history_written += other.history_written;
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
      core_(std::make_unique<Bridge>(limits_, fleet_cas_)),
      log_book_(runner_limits.log),
      migrating_(runner_limits.migration) {}

Result<void> Runner::Load() {
  return LoadRest(nullptr);
}

Result<void> Runner::LoadRest(std::unique_ptr<Bridge> warm) {
  LK_TRY(std::unique_ptr<Bridge> core, Loaded(std::move(warm)));
  Replace(std::move(core), Keeps::kYes);
  GoOnMigrating();
  UpdateStatus();
  return {};
}

void Runner::Replace(std::unique_ptr<Bridge> core, Keeps keeps) {
  before_ = Sum(std::move(before_), Counted());
  core_ = std::move(core);
  keeps_ = keeps;
}

// A core as the store says. What the log owes goes into effects_.
Result<std::unique_ptr<Bridge>> Runner::Loaded(std::unique_ptr<Bridge> warm) {
  std::vector<storage::Kind> kinds = {storage::Kind::kCommand, storage::Kind::kBlock,
                                      storage::Kind::kWake};
  if (warm == nullptr) {
    kinds.insert(kinds.begin(),
                 {storage::Kind::kRing, storage::Kind::kPresence, storage::Kind::kState});
  }
  auto core = warm != nullptr ? std::move(warm) : std::make_unique<Bridge>(limits_, fleet_cas_);
  const auto reader = parts_.store.Snapshot();
  uint64_t damaged = 0;
  uint64_t records = 0;
  const auto name_damaged = [&](std::string_view key, const Error& error) {
    if (++damaged <= kDamagedLogged) {
      Say(LogEvent::Level::kWarning, "record_damaged",
          {{"key",
            storage::ParseLogKey(key) ? std::to_string(*storage::ParseLogKey(key)) : KeyText(key)},
           {"why", error.text}});
    }
  };
  for (const storage::Kind kind : kinds) {
    LK_CHECK(reader->Scan(
        kind, std::nullopt,
        [&](const storage::Record& record) {
          core->Load(record);
          ++records;
        },
        name_damaged));
  }
  LK_TRY(std::vector<v1::LogEntry> owed, log_book_.Load(*reader, parts_.clock(), name_damaged));
  effects_.clear();
  for (v1::LogEntry& entry : owed) {
    effects_.emplace_back(Journal{std::move(entry)});
  }
  if (const auto& restored = log_book_.restored()) {
    core->Restored(
        restored->state() == v1::RECEIPT_STATE_HELD ? Bridge::Held::kDeliver : Bridge::Held::kEnd,
        parts_.clock(), effects_);
  }
  core->TakeRefused(*core_);
  Say(LogEvent::Level::kInfo, "store_loaded",
      {{"records", std::to_string(records)}, {"damaged", std::to_string(damaged)}});
  {
    const std::scoped_lock lock(mutex_);
    status_.records_damaged = damaged;
  }
  return core;
}

// No longer than `wait`, and not past the core's deadline or the next sync.
Duration Runner::WaitFor(Duration wait) const {
  const Instant now = parts_.clock().mono;
  if (const std::optional<Instant> deadline = core_->NextDeadline()) {
    const Duration least =
        parts_.publisher.backlog() > runner_limits_.backlog_max ? kBacklogPause : Duration(0);
    wait = std::min(wait, std::max(*deadline - now, least));
  }
  if (!blankings_.empty()) {
    wait = Duration(0);
  }
  if (const std::optional<Duration> sweep = SweepsIn()) {
    wait = std::min(wait, *sweep);
  }
  if (unsynced_) {
    wait = std::min(wait, synced_at_ + runner_limits_.sync_every - now);
  }
  return std::max(wait, Duration(0));
}

void Runner::Step(const Input& input, const Now& now, Effects& out) {
  core_->Step(input, now, out);
  if (std::holds_alternative<BrokerUp>(input)) {
    broker_connected_ = true;
  } else if (std::holds_alternative<BrokerDown>(input)) {
    broker_connected_ = false;
  } else if (const auto* cas = std::get_if<FleetCas>(&input)) {
    fleet_cas_ = *cas;  // for the next core
  } else if (const auto* contacts = std::get_if<Contacts>(&input)) {
    contacts_ = *contacts;
  } else if (const auto* erasure = std::get_if<Erasure>(&input)) {
    Begin(*erasure);
  } else if (const auto* request = std::get_if<MigrationRequest>(&input); request && !failure_) {
    migrating_.orders.push_back(*request);
  } else if (const auto* end = std::get_if<ComparisonEnd>(&input); end && !failure_) {
    Take(*end);
  }
}

void Runner::StepAll(const std::vector<Input>& inputs) {
  for (const Input& input : inputs) {
    Step(input, parts_.clock(), effects_);
  }
}

void Runner::TickIfDue() {
  const std::optional<Instant> deadline = core_->NextDeadline();
  const Now now = parts_.clock();
  if (!deadline || *deadline > now.mono) {
    return;
  }
  if (parts_.publisher.backlog() <= runner_limits_.backlog_max) {
    core_->Step(Tick{}, now, effects_);
  } else {
    core_->WriteHistory(now, effects_);
  }
}

std::vector<Input> Runner::TakeInputs(Duration wait) {
  std::vector<Input> inputs = parts_.intake.Drain(runner_limits_.inputs_per_turn_max, wait,
                                                  busy_ ? runner_limits_.gathering : Gathering{});
  const Instant now = parts_.clock().mono;
  counted_ += inputs.size();
  const Duration passed = now - counted_since_;
  if (passed >= kCountFor) {
    busy_ = counted_ >= runner_limits_.busy_inputs * static_cast<size_t>(passed / kCountFor);
    counted_ = 0;
    counted_since_ = now;
  }
  return inputs;
}

void Runner::Turn(Duration wait) {
  if (failure_) {
    Recover(wait);
    return;
  }
  const std::vector<Input> inputs = TakeInputs(WaitFor(wait));
  StepAll(inputs);
  TickIfDue();
  if (Release(inputs)) {
    SyncIfDue(parts_.clock().mono);
    PruneLog();
    BlankLog();
    Migrate();
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
    } else if (const auto* journal = std::get_if<Journal>(&effect)) {
      log_book_.Add(journal->entry, changes);
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
    LetOut(effect);
  }
  effects_.clear();
  return true;
}

void Runner::LetOut(const Effect& effect) const {
  if (const auto* publish = std::get_if<Publish>(&effect)) {
    parts_.publisher.Send(*publish);
  } else if (const auto* event = std::get_if<LogEvent>(&effect)) {
    parts_.log(*event);
  } else if (const auto* sms = std::get_if<SendSms>(&effect);
             sms != nullptr && parts_.sms != nullptr) {
    parts_.sms->Send(*sms);
  } else if (const auto* answer = std::get_if<ImportAnswer>(&effect);
             answer != nullptr && parts_.imported != nullptr) {
    parts_.imported(*answer);
  }
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
    log_book_.Kept();
    if (!changes.empty()) {
      migrating_.pace.Committed(seconds, durability == storage::Durability::kDurable,
                                parts_.clock().mono);
    }
  } else {
    log_book_.Lost();
  }
  const std::scoped_lock lock(mutex_);
  const auto bucket =
      std::lower_bound(kCommitSecondsBounds.begin(), kCommitSecondsBounds.end(), seconds);
  ++status_.commit_seconds.at(static_cast<size_t>(bucket - kCommitSecondsBounds.begin()));
  status_.commit_seconds_sum += seconds;
  ++(committed ? status_.commits : status_.commits_failed);
  return committed;
}

void Runner::PruneLog() {
  const Now now = parts_.clock();
  if (!log_book_.Due(now.mono)) {
    return;
  }
  const Result<std::vector<storage::Change>> changes =
      log_book_.Prune(*parts_.store.Snapshot(), now);
  if (!changes) {
    Say(LogEvent::Level::kWarning, "log_not_read", {{"why", changes.error().text}});
    return;
  }
  if (changes->empty()) {
    return;
  }
  const Result<void> committed = Commit(*changes, storage::Durability::kSoon);
  if (!committed) {
    Failed({}, committed.error());
    return;
  }
  Say(LogEvent::Level::kInfo, "log_pruned",
      {{"through", std::to_string(std::get<storage::EraseLog>(changes->front()).through)}});
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
  core_->Close(parts_.clock(), effects_);
  if (!Release({})) {
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
  Counters counters = Sum(before_, Counted());
  const std::scoped_lock lock(mutex_);
  status_.counters = std::move(counters);
  status_.gauges = core_->gauges();
  status_.log = log_book_.figures();
  status_.broker_connected = broker_connected_;
  status_.intake = parts_.intake.size();
  status_.backlog = parts_.publisher.backlog();
}

void Runner::Say(LogEvent::Level level, std::string event,
                 std::vector<std::pair<std::string, std::string>> fields) const {
  parts_.log(LogEvent{level, std::move(event), std::move(fields)});
}

}  // namespace latchkey::bridge
