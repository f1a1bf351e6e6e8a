// See background.h.
#include "tools/bench/background.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <string>
#include <system_error>
#include <vector>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "latchkey/v1/state.pb.h"
#include "proto/topic.h"
#include "tools/bench/process.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {

// Written by the child alone.
struct Background::Shared {
  std::atomic<bool> sends{false};
  std::atomic<uint64_t> sent{0};
  std::atomic<uint64_t> received{0};
  std::atomic<uint64_t> late{0};
  std::atomic<double> cpu_s{0};
};

namespace {

constexpr Duration kEnterPatience = std::chrono::minutes(1);
constexpr double kLateSeconds = 0.05;
constexpr Duration kLook = Duration(1);

// All pairs of a background in one swarm: cars 0, 2, 4 ..., each before its phone.
Result<std::unique_ptr<Swarm>> Assemble(const BackgroundWish& wish) {
  auto swarm = std::make_unique<Swarm>(wish.entrance->cars());
  for (size_t i = wish.first; i < wish.first + wish.pairs; ++i) {
    LK_TRY(ClientWish car, wish.entrance->Car(i));
    LK_TRY(ClientWish phone, wish.entrance->Phone(i));
    swarm->Add(std::move(car));
    const size_t listens = swarm->Add(std::move(phone));
    swarm->Subscribe(listens, StateTopic(wish.crowd->car(i).ref, Group::kDrive), 0);
  }
  if (!swarm->Drive(kEnterPatience) || swarm->connected() != swarm->size()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "clients of the load beside do not get in: " + swarm->first_trouble());
  }
  return swarm;
}

}  // namespace

std::string NumberedState(uint64_t sequence, Timestamp at) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(at.ms));
  state.set_sequence(sequence);
  state.mutable_drive()->mutable_speed()->set_value(static_cast<float>(sequence % 130));
  state.mutable_drive()->mutable_odometer()->set_value(static_cast<double>(sequence));
  return state.SerializeAsString();
}

Result<std::unique_ptr<Background>> Background::Start(const BackgroundWish& wish) {
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "no memory to share: " + std::generic_category().message(errno));
  }
  std::unique_ptr<Background> background(new Background(new (memory) Shared));
  const pid_t parent = ::getpid();
  background->pid_ = ::fork();
  if (background->pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() == parent) {
      Run(wish, *background->shared_);
    }
    ::_exit(1);
  }
  LK_CHECK(background->AwaitSending());
  return background;
}

Result<void> Background::AwaitSending() {
  const double until = MonotonicSeconds() + static_cast<double>(kEnterPatience.count()) / 500;
  while (!shared_->sends) {
    if (pid_ < 0 || ::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
    }
    if (pid_ < 0 || MonotonicSeconds() > until) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "the load beside does not begin: its clients do not get in");
    }
    Pause(kLook);
  }
  return {};
}

// Ends only when it is killed, or one of its clients is thrown out.
void Background::Run(const BackgroundWish& wish, Shared& shared) {
  const Result<std::unique_ptr<Swarm>> swarm = Assemble(wish);
  if (!swarm) {
    return;
  }
  std::vector<std::string> topics;
  for (size_t i = wish.first; i < wish.first + wish.pairs; ++i) {
    topics.push_back(StateTopic(wish.crowd->car(i).ref, Group::kDrive));
  }
  const double began = MonotonicSeconds();
  shared.sends = true;
  for (uint64_t sent = 0;;) {
    const double now = MonotonicSeconds() - began;
    const auto due = static_cast<uint64_t>(now * wish.per_second);
    while (sent < due) {
      const size_t pair = sent % wish.pairs;
      const double planned = static_cast<double>(sent) / wish.per_second;
      const std::string payload = NumberedState(sent + 1, cli::ReadClocks().wall);
      if (!(*swarm)->Publish(pair * 2, {topics[pair], payload, 0, true, 0})) {
        return;
      }
      shared.late += now - planned > kLateSeconds ? 1 : 0;
      ++sent;
    }
    (*swarm)->DriveUntil(kLook, [] { return false; });
    shared.sent = sent;
    shared.received = (*swarm)->counters().received;
    shared.cpu_s = ThreadCpuSeconds();
  }
}

Background::~Background() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::munmap(shared_, sizeof(Shared));
}

Background::Counts Background::counts() const {
  return {shared_->sent, shared_->received, shared_->cpu_s, shared_->late};
}

}  // namespace latchkey::bench
