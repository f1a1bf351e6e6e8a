// The car's life: connection, state, ring, memory. Commands are in car_commands.cc, SMS in
// car_sms.cc, schedules in car_schedules.cc, pairing and the factory reset in car_pairing.cc, the
// certificate in car_certificate.cc.
#include "tools/car/car.h"

#include <algorithm>
#include <utility>

#include "proto/area.h"
#include "proto/freshness.h"
#include "proto/state.h"
#include "proto/topic.h"

namespace latchkey::car {
namespace {

constexpr uint64_t kSequenceBlock = 1024;  // sequences reserved by one write
constexpr int kRefusedSuback = 0x80;       // MQTT 5.0 section 3.9.3
constexpr int kDoublingsMax = 16;
constexpr Duration kAreaAgain = std::chrono::minutes(15);  // said again though it is the same
// What has expired is remembered so much longer: a command that takes it back may live so long.
constexpr Duration kTakenBackLate{60000};
// And so long when its outcome is not told: nobody waits longer for it.
constexpr Duration kUntoldLate = std::chrono::hours(24);

// A sensor that says nothing for so long has stopped, and what it said last is told. Longer than
// sensors pause.
constexpr Duration kSettled{10000};

// Of the filters the car subscribes to, in order. Without the last it works and only cannot renew.
constexpr size_t kCommandFilter = 0;
constexpr size_t kPairingFilter = 1;
constexpr size_t kCertificateFilter = 2;

// How long a group goes unsaid while it is observed again and again and stays the same. Who looks
// at a car that drives is shown what is live, and of one that stands or charges at least what is
// recent, also when a message is lost.
Duration RepeatAfter(Group group, CarMode mode) {
  const FreshnessLimits limits = LimitsOf(group, mode);
  return mode == CarMode::kDriving ? limits.live : limits.recent / 2;
}

}  // namespace

Car::Car(Options options, PrivateKey key, Memory memory)
    : options_(std::move(options)), key_(std::move(key)), memory_(std::move(memory)) {
  LK_ASSERT(memory_.ring.ref == options_.ref);
  for (const auto& [signal, setting] : memory_.settings) {
    board_.Set(signal, setting.value, setting.observed_at);
  }
  time_ = memory_.time_floor;
  if (auto certificate = Certificate::FromDer(options_.certificate_der)) {
    certificate_ = std::move(*certificate);
  }
  for (Remembered& command : memory_.commands) {
    if (!IsFinal(command.state)) {
      command.state = v1::RECEIPT_STATE_FAILED;
      command.reason = v1::REASON_OUTCOME_UNKNOWN;
      command.at = memory_.time_floor;
      command.told = false;
      unsaid_.push_back(command);
    }
  }
  TellAgain(memory_.time_floor);
  StandInvitation();
  ReadSchedules();
  for (GroupClock& group : groups_) {
    group.sequence = memory_.sequence_ceiling - 1;
  }
}

void Car::Step(const Input& input, const Now& now, Effects& out) {
  // A clock that is set back does not make the car younger: its time runs on with the monotonic
  // clock and is at least the wall clock and the floor.
  const Duration passed = stepped_ ? std::max(Duration(0), now.mono - time_at_) : Duration(0);
  const bool stepped_before = std::exchange(stepped_, true);
  time_ = std::max({time_ + passed, now.wall, memory_.time_floor});
  time_at_ = now.mono;
  if (stepped_before && now.wall < now_.wall + passed - kClockSlack) {
    board_.NotAfter(now.wall);
  }
  now_ = now;
  std::visit([this, &out](const auto& each) { On(each, out); }, input);
  ActOnSchedules(out);
  if (!std::holds_alternative<Observe>(input)) {
    PublishDue(out);
  }
  AskForCertificate(out);
}

void Car::On(const Start& /*input*/, Effects& out) {
  started_ = true;
  board_.Set("link.radio", std::string("wired"), time_);
  board_.Set("link.software", options_.software, time_);
  board_.Set("link.values_refused", 0.0, time_);
  std::map<std::string, SignalBoard::App> apps;
  for (const auto& [app_id, app] : memory_.apps) {
    apps[app_id] = {app.version, app.observed_at};
  }
  board_.SetApps(std::move(apps), time_);
  Save(out);
  Dial(out);
}

void Car::On(const Connected& /*input*/, Effects& out) {
  const std::string base = "lk/1/" + options_.ref.ToText();
  BeginTelling();
  out.push_back(Note{"connected"});
  out.push_back(
      Subscribe{{base + "/command/+", base + "/pairing/+", CertificateTopic(options_.ref)}});
}

void Car::On(const Subscribed& input, Effects& out) {
  const auto granted = [&input](size_t filter) {
    return filter < input.reason_codes.size() && input.reason_codes[filter] < kRefusedSuback;
  };
  if (!granted(kCommandFilter) || !granted(kPairingFilter)) {
    out.push_back(Note{"the broker refuses the car's lanes: trying again later"});
    out.push_back(HangUp{});
    subscribed_ = false;
    connecting_ = false;
    retry_at_ = now_.mono + options_.limits.retry_max;
    return;
  }
  subscribed_ = true;
  connecting_ = false;
  tries_ = 0;
  retry_at_.reset();
  out.push_back(Note{"online, ring version " + std::to_string(memory_.ring.version) + " with " +
                     std::to_string(memory_.ring.keys.size()) + " keys"});
  certificate_lane_ = granted(kCertificateFilter);
  if (!certificate_lane_ && !options_.fleet_ca_der.empty()) {
    out.push_back(
        Note{"the broker does not let the car hear its registrar: its certificate will "
             "not be renewed; update the broker's plugins"});
  }
  PublishRingAndTell(out);
  PublishAll(out);
  if (memory_.privacy) {
    HideLocation(out);
  }
  SayUnsaid(out);
}

void Car::On(const Disconnected& input, Effects& out) {
  out.push_back(Note{"offline: " + input.text});
  TellAgain(time_);
  say_again_at_.reset();
  subscribed_ = false;
  connecting_ = false;
  Retry(input.random, out);
}

void Car::Dial(Effects& out) {
  connecting_ = true;
  dial_by_ = now_.mono + options_.limits.dial_max;
  out.push_back(Connect{});
}

void Car::Retry(uint64_t random, Effects& out) {
  const int doublings = std::min(tries_, kDoublingsMax);
  const Duration most =
      std::min(options_.limits.retry_max, options_.limits.retry_min * (1 << doublings));
  const auto wait = static_cast<int64_t>(random % static_cast<uint64_t>(most.count()));
  ++tries_;
  retry_at_ = now_.mono + Duration(wait);
  out.push_back(Note{"next try in " + std::to_string(wait) + " ms"});
}

void Car::On(const Arrived& input, Effects& out) {
  const auto topic = ParseTopic(input.message.topic);
  const bool ours =
      topic && topic->fleet == options_.ref.fleet.str() && topic->car == options_.ref.car.str();
  const auto lane = ours ? KeyId::Parse(topic->lane) : std::nullopt;
  const bool certificate = ours && topic->kind == TopicKind::kCertificate;
  if (!lane && !certificate) {
    ++counters_.refused[v1::REASON_UNKNOWN_TOPIC];
    return;
  }
  if (input.message.retain == Retain::kYes) {
    ++counters_.refused[v1::REASON_RETAIN_NOT_ALLOWED];
    return;
  }
  if (certificate) {
    TakeCertificate(input.message, out);
  } else if (topic->kind == TopicKind::kCommand) {
    TakeCommand(input.message, *lane, out);
  } else if (topic->kind == TopicKind::kPairingClaim) {
    TakeClaim(input.message, *lane, out);
  }
}

void Car::On(const Observe& input, Effects& /*out*/) {
  const Verdict verdict = board_.Set(input.signal, input.value, input.observed_at);
  if (!verdict.allowed()) {
    ++counters_.refused[verdict.reason];
    CountRefusedValues(1);
    return;
  }
  const auto group = ParseGroup(input.signal.substr(0, input.signal.find('.')));
  if (group) {
    board_.SetSource(*group, input.source);
    groups_[static_cast<size_t>(*group)].settled_at = now_.mono + kSettled;
  }
  if (group == Group::kLocation) {
    ObserveArea(input.source);
  }
}

// The cell of a place whose two numbers were observed together, when it is another than before or
// has not been said for a while.
void Car::ObserveArea(std::string_view source) {
  const auto latitude = board_.Find("location.latitude");
  const auto longitude = board_.Find("location.longitude");
  const auto observed_at = board_.ObservedAt("location.latitude");
  if (!latitude || !longitude || observed_at != board_.ObservedAt("location.longitude")) {
    return;
  }
  const std::string cell = AreaOf(std::get<double>(*latitude), std::get<double>(*longitude));
  const auto held = board_.Find("area.cell");
  const auto held_at = board_.ObservedAt("area.cell");
  const bool same = held && std::get<std::string>(*held) == cell;
  if (cell.empty() || (same && *observed_at < *held_at + kAreaAgain && !area_hidden_)) {
    return;
  }
  board_.Set("area.cell", cell, *observed_at);
  board_.Insist(Group::kArea);
  board_.SetSource(Group::kArea, source);
  area_hidden_ = memory_.privacy;
}

void Car::On(const ValuesRefused& input, Effects& /*out*/) {
  CountRefusedValues(input.count);
}

void Car::CountRefusedValues(uint64_t count) {
  counters_.values_refused += count;
  board_.Set("link.values_refused", static_cast<double>(counters_.values_refused), time_);
}

void Car::On(const StillSo& /*input*/, Effects& /*out*/) {
  board_.Reobserve(now_.wall);
}

void Car::On(const Tick& /*input*/, Effects& out) {
  if (retry_at_ && now_.mono >= *retry_at_) {
    retry_at_.reset();
    Dial(out);
  }
  if (connecting_ && now_.mono >= dial_by_) {
    out.push_back(Note{"no answer to a connection: trying again"});
    out.push_back(HangUp{});
    connecting_ = false;
    subscribed_ = false;
    retry_at_ = now_.mono + options_.limits.retry_min;
  }
  if (restart_at_ && now_.mono >= *restart_at_) {
    restart_at_.reset();
    subscribed_ = false;
    out.push_back(HangUp{});
    Dial(out);
  }
  TellAgain(out);
  SayAgain(out);
  const auto offer_ends_at = desk_.ends_at();
  if (offer_ends_at && time_ >= *offer_ends_at) {
    const Claim* waiting = desk_.waiting();
    if (waiting != nullptr) {
      On(Confirm{Confirm::Word::kYes}, out);  // too late: refused with REASON_NO_OFFER
    } else {
      EndOffer("five minutes are over", out);
    }
  }
  TickInvitation(out);
  if (memory_.climate_ends_at && time_ >= *memory_.climate_ends_at) {
    memory_.climate_ends_at.reset();
    Put("climate.is_active", 0);
    Save(out);
    out.push_back(Note{"climate control ends"});
  }
}

std::optional<Instant> Car::NextDeadline() const {
  std::optional<Instant> next = retry_at_;
  const auto sooner = [&next](Instant at) { next = next ? std::min(*next, at) : at; };
  if (restart_at_) {
    sooner(*restart_at_);
  }
  if (connecting_) {
    sooner(dial_by_);
  }
  if (tell_again_at_) {
    sooner(*tell_again_at_);
  }
  if (say_again_at_ && subscribed_) {
    sooner(*say_again_at_);
  }
  if (const auto ends_at = desk_.ends_at()) {
    sooner(time_at_ + std::max(Duration(0), *ends_at - time_));
  }
  if (const auto ends_at = invitation_.ends_at()) {
    const Timestamp due =
        invitation_.waiting() != nullptr ? std::min(invited_by_, *ends_at) : *ends_at;
    sooner(time_at_ + std::max(Duration(0), due - time_));
  }
  if (const auto ask_at = AskForCertificateAt()) {
    sooner(*ask_at);
  }
  if (memory_.climate_ends_at) {
    sooner(time_at_ + std::max(Duration(0), *memory_.climate_ends_at - time_));
  }
  if (const auto scheduled_at = NextScheduled()) {
    sooner(time_at_ + std::max(Duration(0), *scheduled_at - time_));
  }
  for (const Group group : kGroups) {
    if (const auto say_at = SayAt(group)) {
      sooner(*say_at);
    }
  }
  return next;
}

// Sets a signal of the car's own: it is remembered, and overrides what was observed before.
void Car::Put(std::string_view signal, double value) {
  memory_.settings[std::string(signal)] = {value, time_};
  board_.Set(signal, value, time_);
}

// A car that is offline publishes its ring when it is subscribed again.
void Car::PublishRing(Effects& out) {
  if (!subscribed_) {
    return;
  }
  out.push_back(
      Send{{KeyRingTopic(options_.ref), SealKeyRing(memory_.ring, key_, options_.certificate_der),
            1, Retain::kYes, 0}});
}

void Car::PublishGroup(Group group, Effects& out) {
  GroupClock& clock = groups_[static_cast<size_t>(group)];
  clock.next_at = now_.mono + options_.limits.publish_interval_min;
  clock.settled_at.reset();
  if ((group == Group::kLocation || group == Group::kArea) && memory_.privacy) {
    board_.Build(group, 0);  // taken note of, told to nobody
    return;
  }
  const auto state = board_.Build(group, clock.sequence + 1);
  if (!state) {
    return;
  }
  clock.said_at = Timestamp{VersionOf(*state).observed_at_ms};
  clock.spoke_at = now_.mono;
  motion_.Take(group, *state);
  ++clock.sequence;
  ++counters_.published;
  if (clock.sequence >= memory_.sequence_ceiling) {
    Save(out);
  }
  out.push_back(
      Send{{StateTopic(options_.ref, group), state->SerializeAsString(), 1, Retain::kYes, 0}});
}

// The groups with no signal in them: what broker and bridge keep of the place is no longer known.
// Said once, and not with each change, which would tell that the car moves. Never older than what
// was said before, which would stay; and by the clock as it is, for nobody takes what is far ahead.
void Car::HideLocation(Effects& out) {
  area_hidden_ = true;
  if (!subscribed_) {
    return;
  }
  for (const Group group : {Group::kLocation, Group::kArea}) {
    GroupClock& clock = groups_[static_cast<size_t>(group)];
    ++clock.sequence;
    ++counters_.published;
    if (clock.sequence >= memory_.sequence_ceiling) {
      Save(out);
    }
    v1::StateGroup state;
    const Timestamp now = now_.wall >= kClockEpoch ? now_.wall : time_;
    clock.said_at = clock.said_at > now + kStateAheadMax ? now : std::max(now, clock.said_at);
    state.set_observed_at_ms(static_cast<uint64_t>(clock.said_at.ms));
    state.set_sequence(clock.sequence);
    if (group == Group::kLocation) {
      state.mutable_location();
    } else {
      state.mutable_area();
    }
    out.push_back(
        Send{{StateTopic(options_.ref, group), state.SerializeAsString(), 1, Retain::kYes, 0}});
  }
}

void Car::PublishAll(Effects& out) {
  for (const Group group : kGroups) {
    PublishGroup(group, out);
  }
}

// When the group is to be said; nullopt: there is no connection, or nothing new of it.
std::optional<Instant> Car::SayAt(Group group) const {
  const GroupClock& clock = groups_[static_cast<size_t>(group)];
  if (!subscribed_ || !(board_.Changed(group) || board_.Observed(group))) {
    return std::nullopt;
  }
  if (board_.Changed(group)) {
    return clock.next_at;
  }
  const Instant again_at = clock.spoke_at + RepeatAfter(group, ModeOf(true, motion_));
  const Instant same_at = std::min(again_at, clock.settled_at.value_or(again_at));
  return std::max(clock.next_at, same_at);
}

void Car::PublishDue(Effects& out) {
  for (const Group group : kGroups) {
    const auto say_at = SayAt(group);
    if (say_at && now_.mono >= *say_at) {
      PublishGroup(group, out);
    }
  }
}

// Raises the time floor, forgets what it makes safe to forget, reserves sequences and persists.
void Car::Save(Effects& out) {
  memory_.time_floor = TimeKnown() ? std::max(memory_.time_floor, time_) : memory_.time_floor;
  Forget();
  uint64_t highest = 0;
  for (const GroupClock& group : groups_) {
    highest = std::max(highest, group.sequence);
  }
  if (highest + kSequenceBlock / 2 >= memory_.sequence_ceiling) {
    memory_.sequence_ceiling = highest + kSequenceBlock;
  }
  out.push_back(Persist{SerializeMemory(memory_)});
}

void Car::Forget() {
  std::erase_if(memory_.refused, [this](const RefusedCommand& command) {
    return command.forget_at <= memory_.time_floor;
  });
  const auto expired = [this](const Remembered& command, Duration late) {
    return command.expires_at && *command.expires_at + late <= memory_.time_floor &&
           IsFinal(command.state);
  };
  std::erase_if(memory_.commands, [&](const Remembered& command) {
    return expired(command, command.told ? kTakenBackLate : kUntoldLate);
  });
  // Those that are dead and only kept to say so go first when there are many, the oldest first.
  auto dead = static_cast<size_t>(
      std::count_if(memory_.commands.begin(), memory_.commands.end(),
                    [&](const Remembered& command) { return expired(command, Duration(0)); }));
  std::erase_if(memory_.commands, [&](const Remembered& command) {
    const bool goes = dead > options_.limits.remembered_max && expired(command, Duration(0));
    dead -= goes ? 1 : 0;
    return goes;
  });
  auto unlimited = static_cast<size_t>(
      std::count_if(memory_.commands.begin(), memory_.commands.end(),
                    [](const Remembered& command) { return !command.expires_at; }));
  std::erase_if(memory_.commands, [this, &unlimited](const Remembered& command) {
    if (command.expires_at || unlimited <= options_.limits.unlimited_max) {
      return false;
    }
    --unlimited;
    memory_.unlimited_floor = std::max(memory_.unlimited_floor, command.issued_at);
    return true;
  });
}

}  // namespace latchkey::car
