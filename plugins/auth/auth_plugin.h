// latchkey_auth.so's plugin: carries out what identity, directory, access, control, sessions,
// joined and moving decide. plugin.cc has the events, plugin_rings.cc the files, plugin_joined.cc
// what has to do with another broker.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/auth/access.h"
#include "plugins/auth/admission.h"
#include "plugins/auth/directory.h"
#include "plugins/auth/identity.h"
#include "plugins/auth/joined.h"
#include "plugins/auth/moving.h"
#include "plugins/auth/options.h"
#include "plugins/auth/ring_file.h"
#include "plugins/auth/sessions.h"
#include "plugins/auth/teller.h"
#include "plugins/auth/trust_files.h"
#include "plugins/mosquitto.h"
#include "plugins/rate.h"
#include "plugins/refusals.h"
#include "proto/blocks.h"
#include "proto/topic.h"

namespace latchkey::auth {

inline constexpr size_t kAddressesMax = 20'000;

class AuthPlugin : public broker::Plugin {
 public:
  AuthPlugin(const Options& options, broker::Broker& broker, Now now)
      : trust_files_(options.trust),
        broker_(broker),
        teller_(broker),
        sessions_(now.wall, options.broker),
        failed_sign_ins_(options.rate_sign_in, kAddressesMax),
        admission_(options.admit_rate),
        joined_(options.broker, now.wall),
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

  bool WantsMessage(std::string_view topic) const override { return MayConcernAuth(topic); }

  Verdict CheckMessage(const broker::MessageRequest& request, Now now) override;
  void Control(const broker::ControlRequest& request, Now now) override;
  void Disconnected(const void* connection, Now now) override;
  void Reload(Now now) override;
  void Tick(Now now) override;

  void CountFault(At at, const std::string& what, Now now) override {
    teller_.Refuse({at, v1::REASON_INTERNAL, {}, {}, what}, now);
  }

 private:
  // Is the sender the broker that this one is joined with? Here a client with a peer's certificate,
  // or this broker's own end of the connection.
  bool FromPeer(const broker::Client& client) const;
  Verdict CheckPeerWord(const broker::MessageRequest& request, Now now);
  Verdict CheckPresence(const broker::MessageRequest& request, const Topic& topic);
  v1::ControlAnswer Move(const v1::Control& control, const Principal& by, Now now);
  void JoinedTick(Now now);
  size_t MergeBlocks(const std::vector<Block>& blocks, const std::string& by, Now now);
  Judged JudgeRing(std::string_view signed_ring);
  Judged JudgeBlock(std::string_view record);
  Result<Principal> Identify(const broker::SignInRequest& request, Now now);
  void TellAdmission(Now now);
  void FindWaitingRings(const Trust& before);
  void Remember(std::string_view signed_ring, const Applied& applied, Now now);
  bool Save(RecordKind kind, std::string_view content, const std::string& what, Now now);
  void Carry(const std::vector<Block>& changed, const std::string& by, bool tell_peer);
  void Kick(const std::vector<std::string>& clients, std::string_view why);
  void Tell(Now now);
  void SayNumber(std::string_view name, uint64_t value);

  TrustFiles trust_files_;
  Trust trust_;
  broker::Broker& broker_;
  Teller teller_;
  Directory directory_;
  LastTopic last_topic_;
  Sessions sessions_;
  RateLimiter failed_sign_ins_;  // by RateName of the address
  Admission admission_;
  Joined joined_;
  Moving moving_;
  bool peer_gone_ = false;  // the cars that were connected there are not yet said to be offline
  std::unique_ptr<RingFile> ring_file_;
  std::vector<CarRef> offline_at_start_;       // presence not yet published
  std::deque<std::string> waiting_rings_;      // from the file, not yet verified
  std::vector<std::string> believed_no_more_;  // client ids to disconnect at the next Tick
  Instant told_at_;
  Instant looked_at_;
  Instant admission_told_at_;
};

}  // namespace latchkey::auth
