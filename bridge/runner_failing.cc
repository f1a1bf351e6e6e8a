// The runner while the store cannot write, see runner.h: commands are answered, the rest is kept.
#include <algorithm>
#include <utility>

#include "bridge/runner.h"
#include "proto/command.h"
#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

constexpr int64_t kMsPerSecond = 1000;

// Commands refused because the store cannot write.
uint64_t Unkept(const Counters& counters) {
  const auto found = counters.refused.find(v1::REASON_STORE_UNAVAILABLE);
  return found == counters.refused.end() ? 0 : found->second;
}

bool IsCommand(const Input& input) {
  const auto* message = std::get_if<Message>(&input);
  const std::optional<Topic> topic =
      message == nullptr ? std::nullopt : ParseTopic(message->publish.topic);
  return topic && topic->kind == TopicKind::kCommand;
}

// The car and the id of a command that arrived; nullopt: it is none that can be read.
std::optional<std::pair<CarRef, CommandId>> NameOf(const Input& input) {
  const auto* message = std::get_if<Message>(&input);
  if (message == nullptr) {
    return std::nullopt;
  }
  const std::optional<Topic> topic = ParseTopic(message->publish.topic);
  LK_ASSERT(topic);
  const std::optional<FleetId> fleet = FleetId::Parse(topic->fleet);
  const std::optional<CarId> car = CarId::Parse(topic->car);
  const std::optional<KeyId> lane = KeyId::Parse(topic->lane);
  if (!fleet || !car || !lane) {
    return std::nullopt;
  }
  const Result<Command> command = ParseCommand(message->publish.payload, {*fleet, *car}, *lane);
  return command ? std::optional(std::pair(command->ref, command->id)) : std::nullopt;
}

}  // namespace

void Runner::Failed(const std::vector<Input>& inputs, const Error& error) {
  Failure failure;
  failure.since = parts_.clock().mono;
  failure.back_off = runner_limits_.retry_first;
  failure.retry_at = failure.since + failure.back_off;
  failure.why = error.text;
  failure_ = std::move(failure);
  {
    const std::scoped_lock lock(mutex_);
    status_.store_error = error.text;
  }
  RefuseOrders(error.text);
  Say(LogEvent::Level::kWarning, "store_failed",
      {{"why", error.text}, {"inputs", std::to_string(inputs.size())}});
  Result<std::unique_ptr<Bridge>> core = Loaded();
  effects_.clear();
  failure_->answers = core.has_value();
  if (core) {
    Effects unkept;
    (*core)->StoreFails(*core_, parts_.clock(), unkept);
    NoteUnsaved(unkept);
    Replace(*std::move(core), Keeps::kNo);
    for (const Input& input : inputs) {
      StepUnkept(input);
    }
    parts_.intake.Finish();
  } else {
    failure_->inputs = inputs;
    std::erase_if(failure_->inputs, [](const Input& input) {
      return std::holds_alternative<MigrationRequest>(input);  // refused by now
    });
  }
}

void Runner::NoteUnsaved(const Effects& out) {
  for (const Effect& effect : out) {
    const auto* write = std::get_if<Write>(&effect);
    if (write == nullptr) {
      continue;
    }
    if (const auto* record = std::get_if<storage::CommandRecord>(&write->change)) {
      failure_->unsaved.insert({record->ref, record->id});
    } else if (const auto* erased = std::get_if<storage::EraseCommand>(&write->change)) {
      failure_->unsaved.insert({erased->ref, erased->id});
    }
  }
}

// Steps what comes while the store fails. Only answers to commands leave, and none that rests on
// what is not in the store.
void Runner::StepUnkept(const Input& input) {
  const Now now = parts_.clock();
  const auto step = [&](const Input& one) {
    Effects out;
    Step(one, now, out);
    NoteUnsaved(out);
    return out;
  };
  if (const auto* request = std::get_if<MigrationRequest>(&input)) {
    Refuse(*request, failure_->why);
    return;
  }
  if (!IsCommand(input)) {
    step(input);
    if (failure_->inputs.size() < runner_limits_.kept_max) {
      failure_->inputs.push_back(input);
    } else {
      ++failure_->dropped;
    }
    return;
  }
  step(Tick{});  // so that what the time brings is not taken for the command's doing
  const uint64_t refused = Unkept(core_->counters());
  const Effects out = step(input);
  failure_->refused += Unkept(core_->counters()) - refused;
  const std::optional<CommandName> name = NameOf(input);
  if (!name || failure_->unsaved.count(*name) > 0) {
    return;
  }
  const std::string receipts = ReceiptTopic(
      name->first, *KeyId::Parse(ParseTopic(std::get<Message>(input).publish.topic)->lane));
  for (const Effect& effect : out) {
    const auto* publish = std::get_if<Publish>(&effect);
    if ((publish != nullptr && publish->topic == receipts) ||
        std::holds_alternative<LogEvent>(effect)) {
      LetOut(effect);
    }
  }
}

// Answers commands until it is time to ask the store whether it can write again.
void Runner::Recover(Duration wait) {
  const Duration left = failure_->retry_at - parts_.clock().mono;
  if (left <= Duration(0)) {
    TryAgain();
  } else if (failure_->answers) {
    for (const Input& input :
         parts_.intake.Drain(runner_limits_.inputs_per_turn_max, std::min(wait, left))) {
      StepUnkept(input);
    }
    parts_.intake.Finish();
  } else {
    parts_.intake.Rest(std::min(wait, left));
  }
  UpdateStatus();
}

void Runner::RetryLater() {
  failure_->back_off = std::min(failure_->back_off * 2, runner_limits_.retry_max);
  failure_->retry_at = parts_.clock().mono + failure_->back_off;
}

// When the store can write: begins again from what it has.
void Runner::TryAgain() {
  Result<void> works = Commit({}, storage::Durability::kDurable);
  if (works) {
    works = Load();
  }
  if (!works) {
    RetryLater();
    const std::scoped_lock lock(mutex_);
    status_.store_error = works.error().text;
    return;
  }
  Failure failure = std::move(*failure_);
  failure_.reset();
  {
    const std::scoped_lock lock(mutex_);
    status_.store_error.clear();
  }
  const Now now = parts_.clock();
  // What the broker has said and shown is not known until the link has connected anew.
  const auto begin = [&] {
    if (broker_connected_) {
      core_->Step(BrokerUp{}, parts_.clock(), effects_);
      core_->Step(BrokerShows{}, parts_.clock(), effects_);
    }
  };
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(std::max<int64_t>(now.wall.ms, 0)));
  entry.set_event("store");
  entry.set_note("could not write for " +
                 std::to_string((now.mono - failure.since).count() / kMsPerSecond) + " s; " +
                 std::to_string(failure.refused) + " commands refused; " + failure.why);
  effects_.emplace_back(Journal{std::move(entry)});
  begin();
  if (!contacts_.empty()) {
    core_->Step(contacts_, now, effects_);
  }
  StepAll(failure.inputs);
  if (failure.dropped > 0) {
    begin();  // among these may have been that it has shown all, and not what came after
  }
  if (Release(failure.inputs)) {
    Say(LogEvent::Level::kInfo, "store_recovered",
        {{"refused", std::to_string(failure.refused)},
         {"inputs", std::to_string(failure.inputs.size())},
         {"dropped", std::to_string(failure.dropped)}});
    parts_.publisher.Reconnect();
    return;
  }
  failure_->since = failure.since;
  failure_->refused += failure.refused;
  failure_->dropped += failure.dropped;
  failure_->back_off = failure.back_off;
  RetryLater();
}

// What a core that keeps nothing does is done again, but for its refusals.
Counters Runner::Counted() const {
  if (keeps_ == Keeps::kYes) {
    return core_->counters();
  }
  Counters counters;
  counters.refused[v1::REASON_STORE_UNAVAILABLE] = Unkept(core_->counters());
  return counters;
}

}  // namespace latchkey::bridge
