// What the plugin does with the broker that this one is joined with: its words, where its cars are,
// blocks of both, and sending cars and phones there.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plugins/auth/auth_plugin.h"
#include "plugins/auth/control.h"
#include "proto/reason.h"

namespace latchkey::auth {

using broker::Level;

namespace {

constexpr size_t kGonePerTick = 500;

}  // namespace

bool AuthPlugin::FromPeer(const broker::Client& client) const {
  const Live* live = sessions_.Find(client.connection);
  return live != nullptr ? live->session.principal.kind == PrincipalKind::kPeer
                         : IsPeerClientId(client.id());
}

Verdict AuthPlugin::CheckPeerWord(const broker::MessageRequest& request, Now now) {
  if (!FromPeer(request.client)) {
    return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }
  const bool was_here = joined_.Here(now.mono);
  const Result<std::vector<Block>> blocks = joined_.Heard(request.payload, now.mono);
  if (!blocks) {
    teller_.Refuse({At::kMessage, blocks.error().reason, request.client.id(), request.topic,
                    blocks.error().text},
                   now);
    return Verdict::Refuse(blocks.error().reason);
  }
  peer_gone_ = false;
  if (!was_here) {
    broker_.Log(Level::kInfo, "latchkey joined peer=" + Quoted(joined_.peer()));
  }
  MergeBlocks(*blocks, "peer:" + joined_.peer(), now);
  return Verdict::Refuse(v1::REASON_NOT_ALLOWED);  // it is for this plugin: nobody else gets it
}

size_t AuthPlugin::MergeBlocks(const std::vector<Block>& blocks, const std::string& by, Now now) {
  std::vector<Block> changed;
  for (const Block& block : blocks) {
    const Result<bool> taken = directory_.blocks().Merge(block);
    if (taken && *taken) {
      Save(RecordKind::kBlock, BlockRecord(block), ScopeText(block.scope), now);
      changed.push_back(block);
    }
  }
  Carry(changed, by, false);
  return changed.size();
}

// Only from a peer: everybody else was refused before.
Verdict AuthPlugin::CheckPresence(const broker::MessageRequest& request, const Topic& topic) {
  if (!FromPeer(request.client) && !request.payload.empty()) {
    return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }
  const std::optional<FleetId> fleet = FleetId::Parse(topic.fleet);
  const std::optional<CarId> car = CarId::Parse(topic.car);
  if (request.payload.empty() || !fleet || !car) {
    return Verdict::Allow();  // a car that is erased
  }
  return sessions_.TakePeerWord(CarRef{*fleet, *car}, request.payload)
             ? Verdict::Allow()
             : Verdict::Refuse(v1::REASON_OLDER_VERSION);
}

v1::ControlAnswer AuthPlugin::Move(const v1::Control& control, const Principal& by, Now now) {
  v1::ControlAnswer answer;
  answer.set_request_id(control.request_id());
  const v1::MoveClients& order = control.move_clients();
  Result<void> done;
  if (by.kind != PrincipalKind::kAdministrator) {
    done = Fail(v1::REASON_NOT_ALLOWED, "only administrators move clients: nothing was changed");
  } else if (!order.only_tell()) {
    const bool away = order.percent() > 0 && order.per_second() > 0;
    done =
        away && !joined_.Here(now.mono)
            ? Fail(v1::REASON_STORE_UNAVAILABLE,
                   "this broker is joined with no other one just now: nobody was sent away; look "
                   "at the other broker's log")
            : moving_.Order(order, now.mono);
    if (done) {
      broker_.Log(Level::kInfo, "latchkey move percent=" + std::to_string(order.percent()) +
                                    " per_second=" + std::to_string(order.per_second()) +
                                    " by=" + Quoted(by.ToText()));
    }
  }
  if (!done) {
    answer.set_reason(done.error().reason);
    answer.set_text(done.error().text.substr(0, kControlTextBytesMax));
    return answer;
  }
  *answer.mutable_moving() = moving_.Tell(sessions_);
  answer.mutable_moving()->set_broker(joined_.broker());
  answer.mutable_moving()->set_peer(joined_.Here(now.mono) ? joined_.peer() : "");
  return answer;
}

void AuthPlugin::JoinedTick(Now now) {
  for (const Publish& publish : joined_.Due(directory_.blocks(), now.mono)) {
    teller_.Say(publish);
  }
  if (joined_.TakeGone(now.mono)) {
    peer_gone_ = true;
    broker_.Log(Level::kWarning, "latchkey peer_gone peer=" + Quoted(joined_.peer()));
  }
  if (peer_gone_) {
    const std::vector<Publish> said = sessions_.TakePeerGone(kGonePerTick, now.wall);
    peer_gone_ = !said.empty();
    for (const Publish& publish : said) {
      teller_.Say(publish);
    }
  }
  if (joined_.Here(now.mono)) {
    Kick(moving_.TakeDue(sessions_, now.mono), "it belongs to the other broker now");
  }
}

}  // namespace latchkey::auth
