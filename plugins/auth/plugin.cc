// latchkey_auth.so: the wiring. Decisions are in identity, directory, access, control and
// sessions; this file carries them out, counts and logs.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/auth/access.h"
#include "plugins/auth/auth_plugin.h"
#include "plugins/auth/control.h"
#include "proto/reason.h"
#include "proto/wire.h"

namespace latchkey::auth {

using broker::Level;

namespace {

constexpr Duration kTellEvery = std::chrono::seconds(10);
constexpr Duration kLookEvery = std::chrono::seconds(2);
constexpr Duration kTellAdmissionEvery = std::chrono::seconds(2);
constexpr size_t kOfflinePerTick = 500;
constexpr size_t kRingsPerTick = 20;
constexpr size_t kBlockLinesPerRequest = 10;

Access AccessOf(At at) {
  if (at == At::kSubscribe) {
    return Access::kSubscribe;
  }
  return at == At::kWrite ? Access::kWrite : Access::kRead;
}

// nullptr: not signed in.
const Principal* PrincipalOf(const Live* live) {
  return live == nullptr ? nullptr : &live->session.principal;
}

}  // namespace

Result<Principal> AuthPlugin::Identify(const broker::SignInRequest& request, Now now) {
  Credentials credentials{{}, request.user_name, request.password, request.client.id()};
  if (request.certificate) {
    credentials.certificate = *request.certificate;
  }
  // SIGHUP asks again for every connection: what was good when it connected stays good.
  const Live* known = sessions_.Find(request.client.connection);
  const bool again = known != nullptr && known->session.client_id == request.client.id();
  // TLS has verified who has a certificate, so cars and bridges behind one address with an attacker
  // are not held up by him.
  const bool limited = !again && !request.certificate;
  const std::string address = limited ? RateName(request.client.address()) : std::string();
  if (limited && !failed_sign_ins_.Has(address, now.mono)) {
    return Fail(v1::REASON_FULL,
                "too many failed sign-ins from this address: refused unread; wait and try again");
  }
  Result<Principal> principal =
      auth::Identify(credentials, trust_, again ? known->session.signed_in_at : now.wall);
  if (principal) {
    const Verdict verdict = CheckSignIn(*principal, directory_);
    if (!verdict.allowed()) {
      principal = Fail(verdict.reason, "key " + principal->key.str() +
                                           " is blocked everywhere: refused; who blocked it can "
                                           "lift the block");
    }
  }
  if (!principal && limited) {
    failed_sign_ins_.Take(address, now.mono);
  }
  return principal;
}

broker::SignInAnswer AuthPlugin::SignIn(const broker::SignInRequest& request, Now now) {
  // SIGHUP asks again for every connection.
  const Live* known = sessions_.Find(request.client.connection);
  const bool inside = known != nullptr && known->session.client_id == request.client.id();
  const std::optional<Crowd> crowd =
      inside ? std::nullopt : CrowdOf(request.client.id(), request.certificate.has_value());
  if (crowd && !admission_.Ask(*crowd, now)) {
    teller_.Refuse({At::kAdmit, v1::REASON_FULL, request.client.id(), {}, "admit_rate"}, now);
    return {Verdict::Refuse(v1::REASON_FULL), {}, broker::RefusedBy::kHangingUp};
  }
  const Result<Principal> principal = Identify(request, now);
  if (!principal) {
    const Error& error = principal.error();
    // A blocked key has shown that it is who it says; any other may have made its name up.
    const bool shown = error.reason == v1::REASON_BLOCKED && request.user_name;
    teller_.RefuseSignIn(request.client, shown ? *request.user_name : std::string_view(), error,
                         now);
    return {Verdict::Refuse(error.reason), {}};
  }
  // Hung up on, as every library takes it: the next broker of the list is tried.
  if (!inside && moving_.IsMoved(*principal) && joined_.Here(now.mono)) {
    moving_.KeptOut();
    teller_.Refuse({At::kAdmit, v1::REASON_MOVED, request.client.id(), {}, {}}, now);
    return {Verdict::Refuse(v1::REASON_MOVED), {}, broker::RefusedBy::kHangingUp};
  }
  if (crowd) {
    admission_.Entered(*crowd, now);
  }
  std::string name = principal->ToText();
  teller_.Say(sessions_.Begin(request.client.connection,
                              Session{*principal, std::string(request.client.id()), now.wall,
                                      now.mono, request.keep_alive_s},
                              request.client.address()));
  // A phone's user name is its key id; SIGHUP needs it again to check the token. A client with a
  // certificate gets a name, for SIGHUP disconnects those without.
  return {Verdict::Allow(),
          principal->kind == PrincipalKind::kPhone ? std::string() : std::move(name)};
}

Verdict AuthPlugin::CheckAccess(const broker::AccessRequest& request, Now now) {
  Live* live = sessions_.Find(request.client.connection);
  const Principal* principal = PrincipalOf(live);
  std::optional<Principal> resting;
  if (request.at == At::kWrite && live != nullptr && !live->may_write) {
    principal = nullptr;  // a will: the broker publishes it for a connection that is over
  }
  if (principal == nullptr && request.at == At::kRead) {
    // A persistent session whose client is away.
    resting = RestingPrincipal(request.client.id(), trust_);
    principal = resting ? &*resting : nullptr;
  }
  const Question question{AccessOf(request.at), request.topic, request.payload};
  Verdict verdict = Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  if (principal != nullptr && question.access == Access::kSubscribe) {
    verdict = auth::CheckAccess(*principal, question, directory_, now.wall);
  } else if (principal != nullptr) {
    // One message is written once and then delivered to each who reads it.
    verdict = auth::CheckAccess(*principal, question, last_topic_.Parse(request.topic), directory_,
                                now.wall);
  }
  if (live != nullptr && live->session.principal.kind == PrincipalKind::kCar) {
    if (request.at == At::kWrite) {
      live->traffic.Heard(request.payload.size(), now.mono);
    } else if (request.at == At::kRead && verdict.allowed()) {
      live->traffic.Gave(request.payload.size());
    }
  }
  teller_.Judged(request, principal, verdict, now);
  return verdict;
}

Verdict AuthPlugin::CheckMessage(const broker::MessageRequest& request, Now now) {
  if (request.topic == kPeerTopic) {
    return CheckPeerWord(request, now);
  }
  const std::optional<Topic> topic = ParseTopic(request.topic);
  if (topic && topic->kind == TopicKind::kPresence) {
    return CheckPresence(request, *topic);
  }
  if (!topic || topic->kind != TopicKind::kKeyRing) {
    return Verdict::Allow();  // what it may carry is guard's to say
  }
  if (request.payload.empty()) {  // the bridge has the car erased
    const Place place{topic->fleet, topic->car};
    Kick(sessions_.ClientsOf(directory_.Forget(place)), "its car was erased");
    Save(RecordKind::kRing, directory_.ErasedMark(place), "an erased car", now);
    return Verdict::Allow();
  }
  Error error;
  if (request.retain != Retain::kYes) {
    error = {v1::REASON_RETAIN_NOT_ALLOWED, "a ring must be retained: ignored"};
  } else if (request.payload.size() > RuleOf(TopicKind::kKeyRing).payload_bytes_max) {
    error = {v1::REASON_TOO_LARGE, "a ring is larger than its topic allows: ignored"};
  } else {
    const Result<Applied> applied =
        directory_.Apply(request.payload, trust_, Place{topic->fleet, topic->car});
    if (applied) {
      Remember(request.payload, *applied, now);
      return Verdict::Allow();
    }
    error = applied.error();
  }
  teller_.RefuseClient({At::kRing, error.reason, request.client.id(), request.topic, error.text},
                       PrincipalOf(sessions_.Find(request.client.connection)), now);
  return Verdict::Refuse(error.reason);
}

void AuthPlugin::Kick(const std::vector<std::string>& clients, std::string_view why) {
  for (const std::string& client_id : clients) {
    broker_.Log(Level::kInfo, "latchkey kicked who=" + Quoted(client_id) + " text=" + Quoted(why));
    sessions_.WillKick(client_id);
    broker_.Kick(client_id);
  }
}

void AuthPlugin::Control(const broker::ControlRequest& request, Now now) {
  const Principal* principal = PrincipalOf(sessions_.Find(request.client.connection));
  const auto kind = principal == nullptr ? PrincipalKind::kPhone : principal->kind;
  if (kind != PrincipalKind::kAdministrator && kind != PrincipalKind::kBridge) {
    teller_.RefuseClient({At::kControl, v1::REASON_NOT_ALLOWED, request.client.id(), {}, {}},
                         principal, now);
    return;
  }
  const std::string by = principal->ToText();
  const std::string client_id(request.client.id());
  const auto control = FromWire<v1::Control>(request.payload, kControlBytesMax);
  Controlled done;
  if (control && control->has_move_clients()) {
    done.answer = Move(*control, *principal, now);
  } else {
    done = DoControl(request.payload, directory_.blocks());
  }
  if (done.answer.reason() != v1::REASON_UNSPECIFIED) {
    teller_.RefuseClient({At::kControl, done.answer.reason(), by, {}, done.answer.text()},
                         principal, now);
  }
  bool saved = true;
  for (const Block& block : done.changed) {
    saved = Save(RecordKind::kBlock, BlockRecord(block), ScopeText(block.scope), now) && saved;
  }
  if (!saved) {
    done.answer.set_text(
        "in force, but the broker could not save it: a restart forgets it; check the ring file");
  }
  Carry(done.changed, by, true);
  if (!broker_.SendTo(client_id, {std::string(kControlAnswerTopic), done.answer.SerializeAsString(),
                                  1, Retain::kNo, 0})) {
    broker_.Log(Level::kError, "latchkey not_answered who=" + Quoted(client_id));
  }
}

// What follows when blocks have changed. `tell_peer`: the broker this one is joined with, unless it
// said so itself.
void AuthPlugin::Carry(const std::vector<Block>& changed, const std::string& by, bool tell_peer) {
  if (changed.empty()) {
    return;
  }
  for (size_t i = 0; i < changed.size() && i < kBlockLinesPerRequest; ++i) {
    const Block& block = changed[i];
    broker_.Log(Level::kInfo, "latchkey block of=" + Quoted(ScopeText(block.scope)) +
                                  " lifted=" + (block.lifted ? "yes" : "no") + " by=" + Quoted(by) +
                                  " note=" + Quoted(block.note));
  }
  broker_.Log(Level::kInfo, "latchkey blocks changed=" + std::to_string(changed.size()) +
                                " standing=" + std::to_string(directory_.blocks().standing()) +
                                " by=" + Quoted(by));
  Kick(sessions_.ClientsOf(KeysToDrop(changed)), "its key is blocked");
  teller_.Say(TellBlocksChanged(changed));
  joined_.Changed(tell_peer ? changed : std::vector<Block>());
}

void AuthPlugin::Disconnected(const void* connection, Now now) {
  const Live* live = sessions_.Find(connection);
  if (live != nullptr && live->session.principal.kind == PrincipalKind::kPeer && live->may_write) {
    joined_.Left();
  }
  teller_.Say(sessions_.End(connection, now));
}

void AuthPlugin::Reload(Now now) {
  const Result<void> taken = TakeTrust(now);
  if (!taken) {
    broker_.Log(Level::kError,
                "latchkey trust text=" + Quoted(taken.error().text + "; what was before stays in "
                                                                     "force"));
  }
}

void AuthPlugin::Tick(Now now) {
  if (now.mono - looked_at_ >= kLookEvery) {
    looked_at_ = now.mono;
    if (trust_files_.Changed()) {
      Reload(now);
    }
  }
  Kick(std::exchange(believed_no_more_, {}), "its certificate or CA is not believed any more");
  for (size_t i = 0; i < kRingsPerTick && !waiting_rings_.empty(); ++i) {
    JudgeRing(waiting_rings_.front());
    waiting_rings_.pop_front();
  }
  for (size_t i = 0; i < kOfflinePerTick && !offline_at_start_.empty(); ++i) {
    teller_.Say(sessions_.OfflineAtStart(offline_at_start_.back()));
    offline_at_start_.pop_back();
    if (offline_at_start_.empty()) {
      offline_at_start_.shrink_to_fit();  // as long as there are cars
    }
  }
  JoinedTick(now);
  teller_.Tick(now);
  if (now.mono - admission_told_at_ >= kTellAdmissionEvery) {
    admission_told_at_ = now.mono;
    TellAdmission(now);
  }
  if (now.mono - told_at_ >= kTellEvery) {
    told_at_ = now.mono;
    Tell(now);
  }
}

void AuthPlugin::TellAdmission(Now now) {
  for (const Publish& publish : admission_.TakeChanged(now)) {
    teller_.Say(publish);
  }
  if (const std::optional<std::string> word = admission_.TakeWord(now)) {
    teller_.Storm(*word, now);
  }
}

void AuthPlugin::Tell(Now now) {
  teller_.Tell(now);
  SayNumber("rings", directory_.size());
  SayNumber("sessions", sessions_.size());
  SayNumber("blocks_standing", directory_.blocks().standing());
  SayNumber("blocks_held", directory_.blocks().size());
}

void AuthPlugin::SayNumber(std::string_view name, uint64_t value) {
  teller_.Say(Publish{"$SYS/broker/latchkey/" + std::string(name), std::to_string(value), 0,
                      Retain::kYes, 0});
}

}  // namespace latchkey::auth

namespace latchkey::broker {

Result<std::unique_ptr<Plugin>> MakePlugin(const std::vector<Option>& options, Broker& broker,
                                           Now now) {
  LK_TRY(const auth::Options read, auth::ReadOptions(options));
  auto plugin = std::make_unique<auth::AuthPlugin>(read, broker, now);
  LK_CHECK(plugin->TakeTrust(now));
  LK_CHECK(plugin->ReadRings(read.ring_file));
  return std::unique_ptr<Plugin>(std::move(plugin));
}

}  // namespace latchkey::broker
