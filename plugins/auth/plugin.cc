// latchkey_auth.so: the wiring. Decisions are in identity, directory, access, control and
// sessions; this file carries them out, counts and logs.
#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/auth/access.h"
#include "plugins/auth/admission.h"
#include "plugins/auth/control.h"
#include "plugins/auth/directory.h"
#include "plugins/auth/identity.h"
#include "plugins/auth/options.h"
#include "plugins/auth/ring_file.h"
#include "plugins/auth/sessions.h"
#include "plugins/auth/teller.h"
#include "plugins/auth/trust_files.h"
#include "plugins/mosquitto.h"
#include "plugins/rate.h"
#include "plugins/refusals.h"
#include "proto/blocks.h"
#include "proto/reason.h"
#include "proto/topic.h"

namespace latchkey::auth {

namespace {

using broker::Level;

constexpr Duration kTellEvery = std::chrono::seconds(10);
constexpr Duration kLookEvery = std::chrono::seconds(2);
constexpr Duration kTellAdmissionEvery = std::chrono::seconds(2);
constexpr size_t kOfflinePerTick = 500;
constexpr size_t kRingsPerTick = 20;
constexpr size_t kAddressesMax = 20'000;
constexpr size_t kBlockLinesPerRequest = 10;

Access AccessOf(At at) {
  if (at == At::kSubscribe) {
    return Access::kSubscribe;
  }
  return at == At::kWrite ? Access::kWrite : Access::kRead;
}

class AuthPlugin : public broker::Plugin {
 public:
  AuthPlugin(const Options& options, broker::Broker& broker, Now now)
      : trust_files_(options.trust),
        broker_(broker),
        teller_(broker),
        sessions_(now.wall),
        failed_sign_ins_(options.rate_sign_in, kAddressesMax),
        admission_(options.admit_rate),
        told_at_(now.mono),
        looked_at_(now.mono),
        admission_told_at_(now.mono) {}

  // Whom the cell believes, from its files. Error: what was in force stays.
  Result<void> TakeTrust(Now now);
  Result<void> ReadRings(const std::string& path);

  broker::Events Wants() const override {
    return {true, broker::Word::kDecides, true, std::string(kControlTopic)};
  }

  broker::SignInAnswer SignIn(const broker::SignInRequest& request, Now now) override;
  Verdict CheckAccess(const broker::AccessRequest& request, Now now) override;
  Verdict CheckMessage(const broker::MessageRequest& request, Now now) override;
  void Control(const broker::ControlRequest& request, Now now) override;
  void Disconnected(const void* connection, Now now) override;
  void Reload(Now now) override;
  void Tick(Now now) override;

  void CountFault(At at, const std::string& what, Now now) override {
    teller_.Refuse({at, v1::REASON_INTERNAL, {}, {}, what}, now);
  }

 private:
  Judged JudgeRing(std::string_view signed_ring);
  Judged JudgeBlock(std::string_view record);
  Result<Principal> Identify(const broker::SignInRequest& request, Now now);
  void TellAdmission(Now now);
  void FindWaitingRings(const Trust& before);
  void Remember(std::string_view signed_ring, const Applied& applied, Now now);
  bool Save(RecordKind kind, std::string_view content, const std::string& what, Now now);
  void Carry(const std::vector<Block>& changed, const std::string& by);
  void Kick(const std::vector<std::string>& clients, std::string_view why);
  void Tell(Now now);
  void SayNumber(std::string_view name, uint64_t value);

  TrustFiles trust_files_;
  Trust trust_;
  broker::Broker& broker_;
  Teller teller_;
  Directory directory_;
  Sessions sessions_;
  RateLimiter failed_sign_ins_;  // by RateName of the address
  Admission admission_;
  std::unique_ptr<RingFile> ring_file_;
  std::vector<CarRef> offline_at_start_;       // presence not yet published
  std::deque<std::string> waiting_rings_;      // from the file, not yet verified
  std::vector<std::string> believed_no_more_;  // client ids to disconnect at the next Tick
  Instant told_at_;
  Instant looked_at_;
  Instant admission_told_at_;
};

Result<void> AuthPlugin::TakeTrust(Now now) {
  LK_TRY(TrustRead read, trust_files_.Read(trust_.cell.empty() ? nullptr : &trust_, now.wall));
  for (const std::string& complaint : read.complaints) {
    broker_.Log(Level::kError, "latchkey trust text=" + Quoted(complaint));
  }
  const Trust before = std::exchange(trust_, std::move(read.trust));
  for (std::string& client_id : sessions_.ClientsWhere([&](const Principal& principal) {
         const std::string* ca_before = before.CaOf(principal);
         const std::string* ca = trust_.CaOf(principal);
         const bool other_ca = ca_before != nullptr && (ca == nullptr || *ca != *ca_before);
         return other_ca || trust_.Revoked(principal);
       })) {
    believed_no_more_.push_back(std::move(client_id));
  }
  FindWaitingRings(before);
  size_t revoked = trust_.cell_revoked.serials.size();
  for (const auto& [fleet, list] : trust_.fleet_revoked) {
    revoked += list.serials.size();
  }
  broker_.Log(Level::kInfo, "latchkey trust fleets=" + std::to_string(trust_.fleet_cas.size()) +
                                " revoked=" + std::to_string(revoked));
  return {};
}

// Rings in the file of fleets that were not believed until now. They are verified a few at a time,
// for the broker waits for each.
void AuthPlugin::FindWaitingRings(const Trust& before) {
  const auto is_new = [&](std::string_view fleet) {
    return before.FindFleetCa(fleet) == nullptr && trust_.FindFleetCa(fleet) != nullptr;
  };
  const bool any = std::any_of(trust_.fleet_cas.begin(), trust_.fleet_cas.end(),
                               [&](const auto& fleet) { return is_new(fleet.first); });
  if (ring_file_ == nullptr || !any) {
    return;
  }
  const Result<void> read = ring_file_->ReadAgain([&](RecordKind kind, std::string_view content) {
    const bool ring = kind == RecordKind::kRing;
    const Result<FleetId> fleet = ring ? FleetOfKeyRing(content) : Fail(v1::REASON_MALFORMED, "");
    if (fleet && is_new(fleet->str())) {
      waiting_rings_.emplace_back(content);
    }
    return Judged{Fate::kKept, {}};
  });
  if (!read) {
    broker_.Log(Level::kError, "latchkey ring_file text=" + Quoted(read.error().text));
  }
}

Judged AuthPlugin::JudgeRing(std::string_view signed_ring) {
  if (IsErasedMark(signed_ring)) {
    return {Fate::kNewest, directory_.ForgetMarked(signed_ring)};
  }
  const Result<FleetId> fleet = FleetOfKeyRing(signed_ring);
  if (fleet && trust_.FindFleetCa(fleet->str()) == nullptr) {
    broker_.Log(Level::kWarning, "latchkey ring_file fleet=" + fleet->str() +
                                     " text=\"this fleet's CA is not here: its ring is kept in the "
                                     "file and not in force\"");
    return {Fate::kKept, {}};
  }
  const Result<Applied> applied = directory_.Apply(signed_ring, trust_, std::nullopt);
  if (applied) {
    return {Fate::kNewest, applied->ref.ToText()};
  }
  if (applied.error().reason == v1::REASON_OLDER_VERSION) {
    return {Fate::kDropped, {}};
  }
  broker_.Log(Level::kError,
              "latchkey ring_file reason=" + std::string(FactsOf(applied.error().reason).word) +
                  " text=" + Quoted(applied.error().text));
  // A CA that was replaced or is wrong must not cost the file: only false bytes are dropped.
  return {applied.error().reason == v1::REASON_BAD_CERTIFICATE ? Fate::kKept : Fate::kDropped, {}};
}

Judged AuthPlugin::JudgeBlock(std::string_view record) {
  const Result<Block> block = BlockOfRecord(record);
  const Result<bool> taken = block ? directory_.blocks().Merge(*block)
                                   : Result<bool>(tl::unexpected<Error>(block.error()));
  if (taken) {
    return *taken ? Judged{Fate::kNewest, ScopeText(block->scope)} : Judged{Fate::kDropped, {}};
  }
  broker_.Log(Level::kError, "latchkey ring_file text=" + Quoted(taken.error().text));
  return {taken.error().reason == v1::REASON_FULL ? Fate::kKept : Fate::kDropped, {}};
}

Result<void> AuthPlugin::ReadRings(const std::string& path) {
  LK_TRY(ring_file_, RingFile::Open(path, [this](RecordKind kind, std::string_view content) {
           return kind == RecordKind::kRing ? JudgeRing(content) : JudgeBlock(content);
         }));
  const Opening& opening = ring_file_->opening();
  std::string line = "latchkey ring_file records=" + std::to_string(opening.records) +
                     " cars=" + std::to_string(directory_.size()) +
                     " blocks=" + std::to_string(directory_.blocks().size()) +
                     " dropped=" + std::to_string(opening.dropped) +
                     " damaged=" + std::to_string(opening.damaged) +
                     " bytes_cut=" + std::to_string(opening.bytes_cut) +
                     " rewritten=" + (opening.rewritten ? "yes" : "no");
  if (!opening.rewrite_text.empty()) {
    line += " text=" + Quoted(opening.rewrite_text);
  }
  const bool loss = opening.damaged > 0 || opening.bytes_cut > 0 || !opening.rewrite_text.empty();
  broker_.Log(loss ? Level::kError : Level::kInfo, line);
  directory_.ForEachCar([this](const CarRef& ref) { offline_at_start_.push_back(ref); });
  return {};
}

Result<Principal> AuthPlugin::Identify(const broker::SignInRequest& request, Now now) {
  Credentials credentials{{}, request.user_name, request.password, request.client.id};
  if (request.certificate) {
    credentials.certificate = *request.certificate;
  }
  // SIGHUP asks again for every connection: what was good when it connected stays good.
  const Session* known = sessions_.Find(request.client.connection);
  const bool again = known != nullptr && known->client_id == request.client.id;
  // TLS has verified who has a certificate, so cars and bridges behind one address with an attacker
  // are not held up by him.
  const bool limited = !again && !request.certificate;
  const std::string address = limited ? RateName(request.client.address) : std::string();
  if (limited && !failed_sign_ins_.Has(address, now.mono)) {
    return Fail(v1::REASON_FULL,
                "too many failed sign-ins from this address: refused unread; wait and try again");
  }
  Result<Principal> principal =
      auth::Identify(credentials, trust_, again ? known->signed_in_at : now.wall);
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
  const Session* known = sessions_.Find(request.client.connection);
  const bool inside = known != nullptr && known->client_id == request.client.id;
  const std::optional<Crowd> crowd =
      inside ? std::nullopt : CrowdOf(request.client.id, request.certificate.has_value());
  if (crowd && !admission_.Ask(*crowd, now)) {
    teller_.Refuse({At::kAdmit, v1::REASON_FULL, request.client.id, {}, "admit_rate"}, now);
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
  if (crowd) {
    admission_.Entered(*crowd, now);
  }
  std::string name = principal->ToText();
  teller_.Say(sessions_.Begin(
      request.client.connection,
      Session{*principal, std::string(request.client.id), now.wall, now.mono, request.keep_alive_s},
      request.client.address));
  // A phone's user name is its key id; SIGHUP needs it again to check the token. A client with a
  // certificate gets a name, for SIGHUP disconnects those without.
  return {Verdict::Allow(),
          principal->kind == PrincipalKind::kPhone ? std::string() : std::move(name)};
}

Verdict AuthPlugin::CheckAccess(const broker::AccessRequest& request, Now now) {
  const Session* session = sessions_.Find(request.client.connection);
  const Principal* principal = session == nullptr ? nullptr : &session->principal;
  std::optional<Principal> resting;
  if (request.at == At::kWrite && !sessions_.MayWrite(request.client.connection)) {
    principal = nullptr;  // a will: the broker publishes it for a connection that is over
  }
  if (principal == nullptr && request.at == At::kRead) {
    // A persistent session whose client is away.
    resting = RestingPrincipal(request.client.id, trust_);
    principal = resting ? &*resting : nullptr;
  }
  const Verdict verdict =
      principal == nullptr
          ? Verdict::Refuse(v1::REASON_NOT_ALLOWED)
          : auth::CheckAccess(*principal, {AccessOf(request.at), request.topic, request.payload},
                              directory_, now.wall);
  if (session != nullptr && session->principal.kind == PrincipalKind::kCar) {
    if (request.at == At::kWrite) {
      sessions_.Heard(request.client.connection, request.payload.size(), now.mono);
    } else if (request.at == At::kRead && verdict.allowed()) {
      sessions_.Gave(request.client.connection, request.payload.size());
    }
  }
  teller_.Judged(request, principal, verdict, now);
  return verdict;
}

Verdict AuthPlugin::CheckMessage(const broker::MessageRequest& request, Now now) {
  const std::optional<Topic> topic = ParseTopic(request.topic);
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
  const Session* session = sessions_.Find(request.client.connection);
  teller_.RefuseClient({At::kRing, error.reason, request.client.id, request.topic, error.text},
                       session == nullptr ? nullptr : &session->principal, now);
  return Verdict::Refuse(error.reason);
}

void AuthPlugin::Remember(std::string_view signed_ring, const Applied& applied, Now now) {
  if (!applied.changed) {
    return;
  }
  broker_.Log(Level::kInfo, "latchkey ring car=" + applied.ref.ToText() +
                                " version=" + std::to_string(applied.version) +
                                " keys=" + std::to_string(applied.keys) +
                                " fell_off=" + std::to_string(applied.fell_off.size()));
  // The ring is in force whether it is saved or not; only a restart before the car's next publish
  // would miss it.
  Save(RecordKind::kRing, signed_ring, applied.ref.ToText(), now);
  Kick(sessions_.ClientsOf(applied.fell_off), "its key fell off a ring");
}

bool AuthPlugin::Save(RecordKind kind, std::string_view content, const std::string& what, Now now) {
  const Result<void> added = ring_file_->Append(kind, content);
  if (!added) {
    teller_.Refuse({At::kRingFile, added.error().reason, what, {}, added.error().text}, now);
    broker_.Log(Level::kError,
                "latchkey ring_file of=" + Quoted(what) + " text=" + Quoted(added.error().text));
  }
  return added.has_value();
}

void AuthPlugin::Kick(const std::vector<std::string>& clients, std::string_view why) {
  for (const std::string& client_id : clients) {
    broker_.Log(Level::kInfo, "latchkey kicked who=" + Quoted(client_id) + " text=" + Quoted(why));
    sessions_.WillKick(client_id);
    broker_.Kick(client_id);
  }
}

void AuthPlugin::Control(const broker::ControlRequest& request, Now now) {
  const Session* session = sessions_.Find(request.client.connection);
  const auto kind = session == nullptr ? PrincipalKind::kPhone : session->principal.kind;
  if (kind != PrincipalKind::kAdministrator && kind != PrincipalKind::kBridge) {
    teller_.RefuseClient({At::kControl, v1::REASON_NOT_ALLOWED, request.client.id, {}, {}},
                         session == nullptr ? nullptr : &session->principal, now);
    return;
  }
  const std::string by = session->principal.ToText();
  const std::string client_id(request.client.id);
  Controlled done = DoControl(request.payload, directory_.blocks());
  if (done.answer.reason() != v1::REASON_UNSPECIFIED) {
    teller_.RefuseClient({At::kControl, done.answer.reason(), by, {}, done.answer.text()},
                         &session->principal, now);
  }
  bool saved = true;
  for (const Block& block : done.changed) {
    saved = Save(RecordKind::kBlock, BlockRecord(block), ScopeText(block.scope), now) && saved;
  }
  if (!saved) {
    done.answer.set_text(
        "in force, but the broker could not save it: a restart forgets it; check the ring file");
  }
  Carry(done.changed, by);
  if (!broker_.SendTo(client_id, {std::string(kControlAnswerTopic), done.answer.SerializeAsString(),
                                  1, Retain::kNo, 0})) {
    broker_.Log(Level::kError, "latchkey not_answered who=" + Quoted(client_id));
  }
}

// What follows when blocks have changed.
void AuthPlugin::Carry(const std::vector<Block>& changed, const std::string& by) {
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
}

void AuthPlugin::Disconnected(const void* connection, Now now) {
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
  }
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

}  // namespace

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
