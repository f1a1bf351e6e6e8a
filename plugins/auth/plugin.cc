// latchkey_auth.so: options, files and wiring. Decisions are in identity, directory, access and
// sessions; this file carries them out, counts and logs.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "plugins/auth/access.h"
#include "plugins/auth/directory.h"
#include "plugins/auth/identity.h"
#include "plugins/auth/ring_file.h"
#include "plugins/auth/sessions.h"
#include "plugins/mosquitto.h"
#include "plugins/refusals.h"
#include "proto/certificate.h"
#include "proto/reason.h"
#include "proto/topic.h"

namespace latchkey::auth {

namespace {

using broker::Level;

constexpr Duration kTellEvery = std::chrono::seconds(10);
constexpr size_t kOfflinePerTick = 500;

struct Options {
  std::string cell;
  std::string cell_ca;
  std::string fleet_ca_dir;
  std::string ring_file;
};

Result<Options> ReadOptions(const std::vector<broker::Option>& given) {
  Options options;
  const std::array<std::pair<std::string_view, std::string*>, 4> known = {
      {{"cell", &options.cell},
       {"cell_ca", &options.cell_ca},
       {"fleet_ca_dir", &options.fleet_ca_dir},
       {"ring_file", &options.ring_file}}};
  for (const broker::Option& option : given) {
    const auto* const row = std::find_if(known.begin(), known.end(),
                                         [&](const auto& k) { return k.first == option.key; });
    if (row == known.end()) {
      return Fail(v1::REASON_MALFORMED, "plugin_opt_" + option.key +
                                            " is not an option of latchkey_auth; it has cell, "
                                            "cell_ca, fleet_ca_dir, ring_file");
    }
    *row->second = option.value;
  }
  for (const auto& [key, value] : known) {
    if (value->empty()) {
      return Fail(v1::REASON_MALFORMED,
                  "plugin_opt_" + std::string(key) + " is missing or empty: set it");
    }
  }
  return options;
}

Result<std::string> ReadCa(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) {
    return Fail(v1::REASON_MALFORMED, "CA file " + path.string() + " cannot be read: check it");
  }
  Result<std::string> der = PemToDer(text.str());
  if (!der) {
    return Fail(der.error().reason, "CA file " + path.string() + ": " + der.error().text);
  }
  return der;
}

Result<Trust> ReadTrust(const Options& options) {
  Trust trust;
  trust.cell = options.cell;
  LK_TRY(trust.cell_ca, ReadCa(options.cell_ca));
  std::error_code failed;
  for (std::filesystem::directory_iterator it(options.fleet_ca_dir, failed), end;
       !failed && it != end; it.increment(failed)) {
    if (it->path().extension() != ".pem") {
      continue;
    }
    const std::string fleet = it->path().stem().string();
    if (!FleetRule::Valid(fleet)) {
      return Fail(v1::REASON_MALFORMED,
                  it->path().string() + " is not named after a fleet: rename or remove it");
    }
    LK_TRY(trust.fleet_cas[fleet], ReadCa(it->path()));
  }
  if (failed) {
    return Fail(v1::REASON_MALFORMED,
                "fleet_ca_dir " + options.fleet_ca_dir + " cannot be listed: " + failed.message());
  }
  return trust;
}

Access AccessOf(At at) {
  if (at == At::kSubscribe) {
    return Access::kSubscribe;
  }
  return at == At::kWrite ? Access::kWrite : Access::kRead;
}

class AuthPlugin : public broker::Plugin {
 public:
  AuthPlugin(Options options, Trust trust, broker::Broker& broker, Now now)
      : options_(std::move(options)),
        trust_(std::move(trust)),
        broker_(broker),
        sessions_(now.wall),
        told_at_(now.mono) {}

  Result<void> ReadRings();

  broker::Events Wants() const override { return {true, broker::Word::kDecides, true, {}}; }

  broker::SignInAnswer SignIn(const broker::SignInRequest& request, Now now) override;
  Verdict CheckAccess(const broker::AccessRequest& request, Now now) override;
  Verdict CheckMessage(const broker::MessageRequest& request, Now now) override;
  void Disconnected(const void* connection, Now now) override;
  void Reload(Now now) override;
  void Tick(Now now) override;

  void CountFault(At at, const std::string& what, Now now) override {
    Refuse({at, v1::REASON_INTERNAL, {}, {}, what}, now);
  }

 private:
  Judged JudgeRecord(std::string_view signed_ring);
  void Remember(std::string_view signed_ring, const Applied& applied, Now now);
  void Say(const std::optional<Publish>& presence);
  void SayNumber(std::string_view name, uint64_t value);

  void Refuse(const Refused& refused, Now now) {
    if (const std::optional<std::string> line = refusals_.Count(refused, now.mono)) {
      broker_.Log(Level::kWarning, *line);
    }
  }

  Options options_;
  Trust trust_;
  broker::Broker& broker_;
  Directory directory_;
  Sessions sessions_;
  std::unique_ptr<RingFile> ring_file_;
  Refusals refusals_;
  std::vector<CarRef> offline_at_start_;  // presence not yet published
  Instant told_at_;
};

Judged AuthPlugin::JudgeRecord(std::string_view signed_ring) {
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

Result<void> AuthPlugin::ReadRings() {
  LK_TRY(ring_file_, RingFile::Open(options_.ring_file,
                                    [this](std::string_view ring) { return JudgeRecord(ring); }));
  const Opening& opening = ring_file_->opening();
  std::string line = "latchkey ring_file records=" + std::to_string(opening.records) +
                     " cars=" + std::to_string(directory_.size()) +
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

broker::SignInAnswer AuthPlugin::SignIn(const broker::SignInRequest& request, Now now) {
  Credentials credentials{{}, request.user_name, request.password, request.client.id};
  if (request.certificate) {
    credentials.certificate = *request.certificate;
  }
  // SIGHUP asks again for every connection: what was good when it connected stays good.
  const Session* known = sessions_.Find(request.client.connection);
  const bool again = known != nullptr && known->client_id == request.client.id;
  const Result<Principal> principal =
      Identify(credentials, trust_, again ? known->signed_in_at : now.wall);
  if (!principal) {
    const Error& error = principal.error();
    Refuse({At::kConnect, error.reason, request.client.id, {}, error.text}, now);
    return {Verdict::Refuse(error.reason), {}};
  }
  std::string name = principal->ToText();
  Say(sessions_.Begin(request.client.connection,
                      Session{*principal, std::string(request.client.id), now.wall},
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
  if (!verdict.allowed()) {
    const std::string who =
        principal == nullptr ? std::string(request.client.id) : principal->ToText();
    Refuse({request.at, verdict.reason, who, request.topic, {}}, now);
  }
  return verdict;
}

Verdict AuthPlugin::CheckMessage(const broker::MessageRequest& request, Now now) {
  const std::optional<Topic> topic = ParseTopic(request.topic);
  if (!topic || topic->kind != TopicKind::kKeyRing) {
    return Verdict::Allow();  // what it may carry is guard's to say
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
  Refuse({At::kRing, error.reason, request.client.id, request.topic, error.text}, now);
  return Verdict::Refuse(error.reason);
}

void AuthPlugin::Remember(std::string_view signed_ring, const Applied& applied, Now now) {
  if (!applied.changed) {
    return;
  }
  sessions_.Drop(applied.fell_off);
  broker_.Log(Level::kInfo, "latchkey ring car=" + applied.ref.ToText() +
                                " version=" + std::to_string(applied.version) +
                                " keys=" + std::to_string(applied.keys) +
                                " fell_off=" + std::to_string(applied.fell_off.size()));
  const Result<void> added = ring_file_->Append(signed_ring);
  if (!added) {
    // The ring is in force all the same; only a restart before the car's next publish would miss
    // it.
    Refuse({At::kRingFile, added.error().reason, applied.ref.ToText(), {}, added.error().text},
           now);
    broker_.Log(Level::kError, "latchkey ring_file car=" + applied.ref.ToText() +
                                   " text=" + Quoted(added.error().text));
  }
}

void AuthPlugin::Disconnected(const void* connection, Now now) {
  Say(sessions_.End(connection, now.wall));
}

void AuthPlugin::Reload(Now /*now*/) {
  Result<Trust> trust = ReadTrust(options_);
  if (!trust) {
    broker_.Log(Level::kError, "latchkey reload text=" +
                                   Quoted(trust.error().text + "; the CAs before stay in force"));
    return;
  }
  trust_ = std::move(*trust);
  broker_.Log(Level::kInfo, "latchkey reload fleets=" + std::to_string(trust_.fleet_cas.size()));
}

void AuthPlugin::Tick(Now now) {
  for (const std::string& client_id : sessions_.TakeDropped()) {
    broker_.Log(Level::kInfo,
                "latchkey kicked who=" + Quoted(client_id) + " text=\"its key fell off a ring\"");
    broker_.Kick(client_id);
  }
  for (size_t i = 0; i < kOfflinePerTick && !offline_at_start_.empty(); ++i) {
    Say(sessions_.OfflineAtStart(offline_at_start_.back()));
    offline_at_start_.pop_back();
  }
  if (const std::optional<std::string> line = refusals_.TakeSuppressed(now.mono)) {
    broker_.Log(Level::kWarning, *line);
  }
  if (now.mono - told_at_ < kTellEvery) {
    return;
  }
  told_at_ = now.mono;
  for (const Publish& publish : refusals_.TakeChanged()) {
    Say(publish);
  }
  SayNumber("rings", directory_.size());
  SayNumber("sessions", sessions_.size());
}

void AuthPlugin::Say(const std::optional<Publish>& publish) {
  if (publish && !broker_.Send(*publish)) {
    broker_.Log(Level::kError, "latchkey not_published topic=" + Quoted(publish->topic));
  }
}

void AuthPlugin::SayNumber(std::string_view name, uint64_t value) {
  Say(Publish{"$SYS/broker/latchkey/" + std::string(name), std::to_string(value), 0, Retain::kYes,
              0});
}

}  // namespace

}  // namespace latchkey::auth

namespace latchkey::broker {

Result<std::unique_ptr<Plugin>> MakePlugin(const std::vector<Option>& options, Broker& broker,
                                           Now now) {
  LK_TRY(auth::Options read, auth::ReadOptions(options));
  LK_TRY(auth::Trust trust, auth::ReadTrust(read));
  auto plugin = std::make_unique<auth::AuthPlugin>(std::move(read), std::move(trust), broker, now);
  LK_CHECK(plugin->ReadRings());
  return std::unique_ptr<Plugin>(std::move(plugin));
}

}  // namespace latchkey::broker
