// See take_over.h.
#include "bridge/take_over.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <optional>

#include <unistd.h>

namespace latchkey::bridge {

namespace {

constexpr int kRoundsMax = 20;
constexpr uint64_t kCaughtUp = 200;  // records of a round: what is left is read in no time
constexpr Duration kLockWait = std::chrono::seconds(30);
constexpr Duration kDyingWait = std::chrono::seconds(2);  // until the kernel has ended it
constexpr Duration kConnectWait = std::chrono::seconds(15);
constexpr useconds_t kLookEveryMicroseconds = 1000;

std::string Ms(Duration duration) {
  return std::to_string(duration.count());
}

Result<void> AwaitLock(const TakeOverParts& parts) {
  const Instant until = parts.clock().mono + kLockWait;
  while (const std::optional<pid_t> holder = parts.holder()) {
    if (parts.clock().mono >= until) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "process " + std::to_string(*holder) + " has had the store for " +
                      std::to_string(kLockWait.count() / 1000) +
                      " s since it was asked to let go: look what it waits for, then try again");
    }
    ::usleep(kLookEveryMicroseconds);
  }
  return {};
}

// Whether it is a bridge that can be taken over from. nullptr: it is told to end instead, or there
// is none.
Result<std::unique_ptr<HandOverCall>> CallOld(const TakeOverParts& parts,
                                              std::optional<pid_t> holder) {
  LK_TRY(std::unique_ptr<HandOverCall> call, HandOverCall::Connect(parts.store.parent_path()));
  if (call == nullptr && holder && *holder != parts.stop_old) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "process " + std::to_string(*holder) +
                    " has the store and does not know how to hand over: say --stop-old " +
                    std::to_string(*holder) + " to end it when this one is warm");
  }
  return call;
}

// One that dies over it is no obstacle.
Result<void> Prepare(const TakeOverParts& parts, const HandOverCall& call) {
  Result<void> prepared = call.Prepare();
  const Instant until = parts.clock().mono + kDyingWait;
  while (!prepared && prepared.error().reason == v1::REASON_STORE_UNAVAILABLE &&
         parts.clock().mono < until) {
    if (!parts.holder()) {
      return {};
    }
    ::usleep(kLookEveryMicroseconds);
  }
  return prepared;
}

Result<void> WarmUp(const TakeOverParts& parts, WarmCore& core) {
  const Instant begun = parts.clock().mono;
  LK_TRY(const uint64_t records, core.Load());
  parts.tell("warmed_up",
             {{"records", std::to_string(records)}, {"ms", Ms(parts.clock().mono - begun)}});
  for (int i = 0; i < kRoundsMax; ++i) {
    LK_TRY(const uint64_t caught, core.CatchUp());
    if (caught <= kCaughtUp) {
      break;
    }
  }
  return {};
}

}  // namespace

WarmCore::WarmCore(storage::Follower& follower, Make make,
                   std::function<void(uint64_t records, uint64_t of)> loaded)
    : follower_(follower), make_(std::move(make)), loaded_(std::move(loaded)) {}

Result<uint64_t> WarmCore::Load() {
  core_ = make_();
  const uint64_t expected = follower_.Expected();
  uint64_t records = 0;
  return follower_.Load([&](const storage::Record& record) {
    core_->Load(record);
    if (++records % kTellEvery == 0) {
      loaded_(records, std::max(records, expected));
    }
  });
}

Result<uint64_t> WarmCore::CatchUp() {
  LK_TRY(const storage::Follower::Caught caught,
         follower_.CatchUp([this](const storage::Record& record) { core_->Load(record); }));
  if (caught.whole) {
    return caught.records;
  }
  ++reloaded_;
  return Load();
}

Result<Taken> TakeOver(const TakeOverParts& parts) {
  Taken taken;
  taken.asked_at = parts.clock().mono;
  const std::optional<pid_t> holder = parts.holder();
  LK_TRY(taken.call, CallOld(parts, holder));
  if (taken.call == nullptr && !holder) {
    parts.tell("nobody_serves", {});
    return taken;
  }
  parts.tell("found", {{"old_pid", std::to_string(taken.call ? taken.call->pid() : *holder)},
                       {"hands_over", taken.call ? "yes" : "no"}});
  if (taken.call != nullptr) {
    LK_CHECK(Prepare(parts, *taken.call));
  }
  LK_TRY(const std::unique_ptr<storage::Follower> follower, parts.follow());
  WarmCore core(*follower, parts.make, [&parts](uint64_t records, uint64_t of) {
    parts.tell("warms_up", {{"records", std::to_string(records)}, {"of", std::to_string(of)}});
  });
  LK_CHECK(WarmUp(parts, core));
  parts.tell("asks", {{"reloaded", std::to_string(core.reloaded())}});
  taken.asked_at = parts.clock().mono;
  if (taken.call == nullptr) {
    ::kill(*holder, SIGTERM);
  } else {
    LK_TRY(std::optional<HandedOver> handed, taken.call->Yield());
    if (handed) {
      taken.handed = *std::move(handed);
    } else {
      parts.tell("old_one_died", {});
    }
  }
  LK_CHECK(AwaitLock(parts));
  const Instant free = parts.clock().mono;
  const uint64_t reloaded = core.reloaded();
  LK_TRY(const uint64_t caught, core.CatchUp());
  parts.tell("took", {{"old_let_go_ms", Ms(free - taken.asked_at)},
                      {"records", std::to_string(caught)},
                      {"reloaded", core.reloaded() > reloaded ? "yes" : "no"},
                      {"words", std::to_string(taken.handed.words.size())},
                      {"session", taken.handed.kept ? "kept" : "shown_again"},
                      {"ms", Ms(parts.clock().mono - free)}});
  taken.core = core.Take();
  return taken;
}

Result<void> Serves(const Taken& taken, const std::function<bool()>& connected,
                    const TakeOverParts& parts) {
  const Instant until = parts.clock().mono + kConnectWait;
  while (!connected()) {
    if (taken.call != nullptr && parts.clock().mono >= until) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "this bridge did not get the broker's session within " +
                      std::to_string(kConnectWait.count() / 1000) +
                      " s: the one before takes its place again");
    }
    if (parts.clock().mono >= until) {
      break;  // there is nobody to give it back to
    }
    ::usleep(kLookEveryMicroseconds);
  }
  if (taken.call != nullptr) {
    taken.call->Serving();
  }
  parts.tell("serves", {{"pid", std::to_string(::getpid())},
                        {"gap_ms", Ms(parts.clock().mono - taken.asked_at)},
                        {"broker", connected() ? "connected" : "away"}});
  return {};
}

}  // namespace latchkey::bridge
