// Dispatch: each input to the part whose noun it is, and the parts to each other.
#include "bridge/core/bridge.h"

#include <algorithm>
#include <utility>

#include "bridge/core/denials.h"
#include "bridge/core/erasure.h"
#include "bridge/core/history.h"
#include "bridge/core/imports.h"
#include "bridge/core/journal.h"
#include "bridge/core/last_known.h"
#include "bridge/core/links.h"
#include "bridge/core/outbox.h"
#include "bridge/core/rings.h"
#include "bridge/core/sessions.h"
#include "proto/command.h"
#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kRepublishedPerStepMax = 500;
constexpr Duration kReconcilePause = std::chrono::milliseconds(10);  // other input gets its turn
// As long as the broker shows what it retains, reconciliation waits; so many times reconcile_after
// at most: ten minutes, in which a broker shows some ten million.
constexpr int kReconcileAfterMax = 300;

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace

struct Bridge::Impl {
  Impl(const Limits& limits_given, FleetCas fleet_cas_given)
      : limits(limits_given),
        fleet_cas(std::move(fleet_cas_given)),
        last_known(limits, counters),
        history(limits, counters),
        rings(limits, fleet_cas, counters),
        links(limits, counters),
        sessions(limits, counters),
        denials(counters),
        events(counters),
        outbox(limits, links, rings, denials, counters) {}

  void Arrived(const Publish& publish, const Now& now, Effects& out);
  void ArrivedCommand(const CarRef& ref, const KeyId& lane, const Publish& publish, const Now& now,
                      Effects& out);
  void ArrivedState(const CarRef& ref, Group group, const Publish& publish, const Now& now,
                    Effects& out);
  void ArrivedPresence(const CarRef& ref, const Publish& publish, const Now& now, Effects& out);
  // True: it was from the broker's plugin.
  bool ArrivedFromPlugin(const Publish& publish, const Now& now, Effects& out);
  void CasChanged(const FleetCas& cas, const Now& now, Effects& out);
  void Erase(const Erasure& erasure, const Now& now, Effects& out);
  void Take(const Import& import, const Now& now, Effects& out);
  void BrokerUp(bool kept, const Now& now, Effects& out);
  void BrokerDown();
  void BrokerShows();
  void BrokerShown(const Now& now);
  void Reconcile(const Now& now, Effects& out);

  const Limits limits;
  FleetCas fleet_cas;
  Counters counters;
  LastKnown last_known;
  History history;
  Rings rings;
  Links links;
  CarSessions sessions;
  Denials denials;
  BrokerEvents events;
  LocationReads location_reads;
  Outbox outbox;
  bool broker_up = false;
  // While the broker shows what it retains and we have not answered: when we do.
  std::optional<Instant> reconcile_at;
  Instant reconcile_latest;
  bool showing = false;  // the broker, and BrokerShown is still to come
  bool unseen_dropped = false;
  bool had_broker = false;
  bool owed = false;  // when the broker went it lacked something that is held
};

void Bridge::Impl::ArrivedCommand(const CarRef& ref, const KeyId& lane, const Publish& publish,
                                  const Now& now, Effects& out) {
  if (publish.retain == Retain::kYes) {
    ++counters.refused[v1::REASON_RETAIN_NOT_ALLOWED];
    return;
  }
  const Result<Command> command = ParseCommand(publish.payload, ref, lane);
  if (!command) {
    ++counters.refused[command.error().reason];
    return;
  }
  outbox.Arrived(*command, now, out);
}

void Bridge::Impl::ArrivedState(const CarRef& ref, Group group, const Publish& publish,
                                const Now& now, Effects& out) {
  const StateTaken taken = last_known.Arrived(ref, group, publish, now, out);
  if (taken != StateTaken::kRefused) {
    sessions.Saw(ref, group, publish.payload, now);
  }
  if (taken == StateTaken::kStored) {
    history.Stored(ref, group, publish.payload, now, out);
  }
  if (taken == StateTaken::kBrokerOlder && broker_up && !reconcile_at) {
    reconcile_at = now.mono + kReconcilePause;
  }
}

void Bridge::Impl::ArrivedPresence(const CarRef& ref, const Publish& publish, const Now& now,
                                   Effects& out) {
  v1::Presence presence;
  const LinkChange change = links.Arrived(ref, publish.payload, now, out, &presence);
  if (presence.broker_started_at_ms() != 0) {
    sessions.Told(ref, presence, now, out);
  }
  switch (change) {
    case LinkChange::kNone:
      break;
    case LinkChange::kOnline:
    case LinkChange::kShown:
      outbox.CarOnline(ref, now);
      break;
    case LinkChange::kReconnected:
      outbox.CarOffline(ref, now, out);
      outbox.CarOnline(ref, now);
      break;
    case LinkChange::kOffline:
      outbox.CarOffline(ref, now, out);
      break;
  }
}

bool Bridge::Impl::ArrivedFromPlugin(const Publish& publish, const Now& now, Effects& out) {
  if (publish.topic == kControlAnswerTopic) {
    outbox.BlocksChanged(denials.Answered(publish.payload, now, out));
    return true;
  }
  if (publish.topic == kBlocksChangedTopic) {
    outbox.BlocksChanged(denials.Changed(publish.payload, now, out));
    return true;
  }
  if (publish.topic == kEventTopic) {
    events.Arrived(publish.payload, now, out);
    return true;
  }
  return false;
}

void Bridge::Impl::CasChanged(const FleetCas& cas, const Now& now, Effects& out) {
  fleet_cas = cas;
  for (const CarRef& ref : rings.CasChanged(now.wall, out)) {
    outbox.RingChanged(ref);
  }
}

void Bridge::Impl::Erase(const Erasure& erasure, const Now& now, Effects& out) {
  if (const auto* key = std::get_if<KeyId>(&erasure.of)) {
    outbox.Forget(*key, now, out);
    return;
  }
  const CarRef& ref = std::get<CarRef>(erasure.of);
  outbox.Forget(ref, now, out);
  last_known.Forget(ref);
  history.Forget(ref);
  rings.Forget(ref);
  links.Forget(ref);
  sessions.Forget(ref);
  location_reads.Forget(ref);
  out.emplace_back(Write{storage::EraseCar{ref}, true});
  denials.Keep(ref, out);
  EmptyTopics(ref, out);
}

void Bridge::Impl::Take(const Import& import, const Now& now, Effects& out) {
  if (TakeImport({last_known, history, fleet_cas}, import, now, out) && broker_up &&
      !reconcile_at) {
    reconcile_at = now.mono + kReconcilePause;
  }
}

void Bridge::Impl::Arrived(const Publish& publish, const Now& now, Effects& out) {
  ++counters.messages;
  if (ArrivedFromPlugin(publish, now, out)) {
    return;
  }
  const std::optional<Topic> topic = ParseTopic(publish.topic);
  if (!topic) {
    ++counters.refused[v1::REASON_UNKNOWN_TOPIC];
    return;
  }
  const std::optional<FleetId> fleet = FleetId::Parse(topic->fleet);
  const std::optional<CarId> car = CarId::Parse(topic->car);
  const std::optional<KeyId> lane = KeyId::Parse(topic->lane);
  LK_ASSERT(fleet && car);
  const CarRef ref{*fleet, *car};
  if (publish.payload.empty() && RuleOf(topic->kind).retained) {
    return;  // a car was erased: this empties what the broker retains of it
  }
  if (publish.retain == Retain::kYes && reconcile_at && !showing && !unseen_dropped) {
    reconcile_at = std::min(now.mono + limits.reconcile_after, reconcile_latest);
  }
  switch (topic->kind) {
    case TopicKind::kState:
      ArrivedState(ref, topic->group, publish, now, out);
      return;
    case TopicKind::kPresence:
      ArrivedPresence(ref, publish, now, out);
      return;
    case TopicKind::kKeyRing:
      if (rings.Arrived(ref, publish, now.wall, out)) {
        outbox.RingChanged(ref);
      }
      return;
    case TopicKind::kCommand:
      LK_ASSERT(lane);
      ArrivedCommand(ref, *lane, publish, now, out);
      return;
    case TopicKind::kReceipt:
      LK_ASSERT(lane);
      outbox.Receipt(ref, *lane, publish.payload, now, out);
      return;
    case TopicKind::kPairingClaim:
    case TopicKind::kPairingAnswer:
    case TopicKind::kCertificate:
    case TopicKind::kCertificateRequest:
      ++counters.refused[v1::REASON_UNKNOWN_TOPIC];
      return;
  }
}

void Bridge::Impl::BrokerUp(bool kept, const Now& now, Effects& out) {
  if (broker_up) {
    BrokerDown();  // inputs that are stepped again can say it twice: a new session all the same
  }
  broker_up = true;
  had_broker = true;
  if (kept) {
    links.BrokerKept(now);
    outbox.BrokerUp(now, out);
    denials.BrokerUp(now, out);
    for (const CarRef& ref : links.online()) {
      outbox.CarOnline(ref, now);
    }
    unseen_dropped = true;
    return;
  }
  last_known.BrokerUp();
  rings.BrokerUp();
  links.BrokerUp();
  outbox.BrokerUp(now, out);
  denials.BrokerUp(now, out);
  reconcile_at = now.mono + limits.reconcile_after;
  reconcile_latest = now.mono + limits.reconcile_after * kReconcileAfterMax;
  showing = false;
  rings.Showing(false);
  unseen_dropped = false;
}

void Bridge::Impl::BrokerDown() {
  broker_up = false;
  owed = reconcile_at.has_value();
  reconcile_at.reset();
  outbox.BrokerDown();
  denials.BrokerDown();
}

void Bridge::Impl::BrokerShows() {
  if (reconcile_at && !unseen_dropped) {
    showing = true;
    rings.Showing(true);
    reconcile_at = reconcile_latest;
  }
}

void Bridge::Impl::BrokerShown(const Now& now) {
  if (reconcile_at && showing) {
    reconcile_at = now.mono;  // at the end of this step
  }
}

// The broker has shown what it retains: it gets what it lacks, and cars it says nothing about are
// away.
void Bridge::Impl::Reconcile(const Now& now, Effects& out) {
  showing = false;
  rings.Showing(false);
  if (!unseen_dropped) {
    unseen_dropped = true;
    for (const CarRef& ref : links.DropUnseen(now)) {
      outbox.CarOffline(ref, now, out);
    }
  }
  const bool done = rings.Reconcile(kRepublishedPerStepMax, out) &&
                    last_known.Reconcile(kRepublishedPerStepMax, out);
  reconcile_at = done ? std::nullopt : std::optional<Instant>(now.mono + kReconcilePause);
}

Bridge::Bridge(const Limits& limits, FleetCas fleet_cas)
    : impl_(std::make_unique<Impl>(limits, std::move(fleet_cas))) {}

Bridge::~Bridge() = default;

void Bridge::Load(const storage::Record& record) {
  std::visit(Overloaded{
                 [&](const storage::StateRecord& state) {
                   impl_->last_known.Load(state);
                   impl_->history.Load(state);
                 },
                 [&](const storage::RingRecord& ring) { impl_->rings.Load(ring); },
                 [&](const storage::PresenceRecord& presence) {
                   impl_->links.Load(presence);
                   impl_->sessions.Load(presence);
                 },
                 [&](const storage::CommandRecord& command) { impl_->outbox.Load(command); },
                 [&](const storage::BlockRecord& block) { impl_->denials.Load(block); },
                 [](const storage::LogRecord&) {},
                 [&](const storage::WakeRecord& wake) { impl_->outbox.Load(wake); },
                 [](const storage::HistoryRecord&) {},
                 [](const storage::SessionRecord&) {},
             },
             record);
}

void Bridge::TakeRefused(const Bridge& before) {
  impl_->outbox.TakeRefused(before.impl_->outbox);
}

void Bridge::StoreFails(const Bridge& before, const Now& now, Effects& out) {
  impl_->links.See(before.impl_->links);
  impl_->outbox.StoreFails();
  impl_->broker_up = before.impl_->broker_up;
  impl_->outbox.Passes(now, out);
  if (impl_->broker_up) {
    impl_->outbox.BrokerUp(now, out);
  }
  impl_->outbox.Settle(now, out);
}

void Bridge::Restored(Held held, const Now& now, Effects& out) {
  impl_->outbox.Passes(now, out);
  if (held == Held::kEnd) {
    impl_->outbox.EndUnknown(now, out);
  }
  impl_->outbox.Settle(now, out);
}

void Bridge::Step(const Input& input, const Now& now, Effects& out) {
  Impl& impl = *impl_;
  impl.rings.Passes(now);
  impl.links.Passes(now, out);
  impl.sessions.Passes(now, out);
  impl.last_known.Passes(now, impl.links);
  impl.history.Passes(now, out);
  impl.outbox.Passes(now, out);
  impl.denials.Passes(now, out);
  impl.events.Passes(now, out);
  std::visit(Overloaded{
                 [&](const Message& message) { impl.Arrived(message.publish, now, out); },
                 [&](const BrokerUp& up) { impl.BrokerUp(up.kept, now, out); },
                 [&](const BrokerShows&) { impl.BrokerShows(); },
                 [&](const BrokerShown&) { impl.BrokerShown(now); },
                 [&](const BrokerDown&) { impl.BrokerDown(); },
                 [](const Tick&) {},
                 [&](const Told& told) { out.emplace_back(JournalOf(told, now.wall)); },
                 [&](const FleetCas& cas) { impl.CasChanged(cas, now, out); },
                 [&](const Contacts& contacts) { impl.outbox.ContactsAre(contacts); },
                 [&](const SmsReport& report) { impl.outbox.Reported(report, now, out); },
                 [&](const Erasure& erasure) { impl.Erase(erasure, now, out); },
                 [&](const LocationRead& read) { impl.location_reads.Arrived(read, now, out); },
                 [&](const Import& import) { impl.Take(import, now, out); },
                 [](const MigrationRequest&) {},
                 [](const ComparisonEnd&) {},
             },
             input);
  if (impl.reconcile_at && *impl.reconcile_at <= now.mono) {
    impl.Reconcile(now, out);
  }
  impl.outbox.Settle(now, out);
}

void Bridge::Close(const Now& now, Effects& out) {
  impl_->history.Close(now, out);
}

void Bridge::WriteHistory(const Now& now, Effects& out) {
  impl_->history.Passes(now, out);
}

std::optional<Instant> Bridge::NextDeadline() const {
  std::optional<Instant> next = impl_->reconcile_at;
  for (const std::optional<Instant>& due :
       {impl_->outbox.NextDeadline(), impl_->denials.NextDeadline(), impl_->rings.NextDeadline(),
        impl_->events.NextDeadline(), impl_->links.NextDeadline(), impl_->last_known.NextDeadline(),
        impl_->history.NextDeadline()}) {
    if (due && (!next || *due < *next)) {
      next = due;
    }
  }
  return next;
}

const Counters& Bridge::counters() const {
  return impl_->counters;
}

Gauges Bridge::gauges() const {
  Gauges gauges;
  gauges.cars = std::max({impl_->last_known.cars(), impl_->rings.cars(), impl_->links.cars()});
  gauges.cars_online = impl_->links.cars_online();
  gauges.cars_awaited = impl_->links.cars_awaited();
  gauges.commands_open = impl_->outbox.open();
  gauges.commands_held = impl_->outbox.held();
  gauges.blocks = impl_->denials.size();
  gauges.blocks_standing = impl_->denials.standing();
  gauges.history_cars = impl_->history.cars_open();
  gauges.blocks_agreed = impl_->denials.agreed();
  gauges.broker_has_all =
      impl_->broker_up ? !impl_->reconcile_at : impl_->had_broker && !impl_->owed;
  gauges.certificates_expiring_30d = impl_->rings.expiring_soon();
  gauges.cars_by_freshness = impl_->last_known.cars_by_freshness();
  gauges.clocks_ahead = impl_->last_known.clocks().ahead();
  gauges.clocks_behind = impl_->last_known.clocks().behind();
  gauges.wrong_clocks = impl_->last_known.clocks().wrong();
  gauges.certificate_first_expiry_ms = impl_->rings.first_expiry().value_or(Timestamp{0}).ms;
  return gauges;
}

void Bridge::CheckInvariants() const {
  impl_->last_known.CheckInvariants();
  impl_->history.CheckInvariants();
  impl_->rings.CheckInvariants();
  impl_->links.CheckInvariants();
  impl_->sessions.CheckInvariants();
  impl_->denials.CheckInvariants();
  impl_->outbox.CheckInvariants();
  LK_ASSERT(impl_->broker_up || !impl_->reconcile_at);
}

}  // namespace latchkey::bridge
