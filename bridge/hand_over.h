// How a bridge that starts takes over from the one that runs, without an outage: a conversation on
// a socket beside the store, `hand_over.sock`, of which each side sees at once when the other dies.
//
//   new                      old
//   kPrepare                 serves on; moves its logs into tables, so that they are short
//                            kDone, or kRefused and why
//   (warms up, catches up)   serves on
//   kYield                   kRefused and why: serves on. Else leaves MQTT and the store, then
//                            kYielded and a HandedOver
//   (opens, connects)        waits
//   kServing                 ends
//
// The new one dies before kYield: the old one has not noticed. It dies after: the old one takes the
// store back and serves again. The old one dies: the new one takes over as after any crash. Who may
// talk here: the user whose process serves, and root.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <sys/types.h>

#include "bridge/handed_over.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::bridge {

inline constexpr const char* kHandOverSocket = "hand_over.sock";

// One side of the conversation: frames of a kind, a length and a body. Not copyable; one thread.
class HandOverTalk {
 public:
  enum class Kind : uint8_t {
    kPrepare = 1,
    kDone = 2,
    kRefused = 3,
    kYield = 4,
    kYielded = 5,
    kServing = 6,
  };

  struct Frame {
    Kind kind = Kind::kPrepare;
    std::string body;
  };

  // Takes the descriptor over.
  explicit HandOverTalk(int socket) : socket_(socket) {}

  ~HandOverTalk();
  HandOverTalk(const HandOverTalk&) = delete;
  HandOverTalk& operator=(const HandOverTalk&) = delete;

  // False: the other side is gone.
  bool Say(Kind kind, std::string_view body = {}) const;
  // Waits at most `wait`, and no longer than until `stop` (a descriptor; -1: none) can be read.
  // nullopt: the other side is gone, or says what is no frame, or the time is over.
  std::optional<Frame> Hear(Duration wait, int stop = -1) const;
  // The other side's process, and whether it may talk here.
  pid_t peer() const;
  bool PeerMay() const;

 private:
  int socket_;
};

// The door of the bridge that serves.
class HandOverDoor {
 public:
  struct Acts {
    std::function<Result<void>()> prepare;
    std::function<std::string()> refusal;  // why it cannot be handed over now; empty: it can
    std::function<void()> asked;           // it shall be handed over; called once
  };

  // Listens in `folder`, over a socket that a dead bridge has left: whoever calls this holds the
  // store. Error REASON_STORE_UNAVAILABLE: the socket cannot be made.
  static Result<std::unique_ptr<HandOverDoor>> Listen(const std::filesystem::path& folder,
                                                      Acts acts);
  ~HandOverDoor();  // as Close
  HandOverDoor(const HandOverDoor&) = delete;
  HandOverDoor& operator=(const HandOverDoor&) = delete;

  // Nobody else gets in; the conversation with who asked goes on.
  void Close();
  // After `asked` and Close: who it is, and what it gets. The store is let go of before.
  pid_t successor() const;
  void Give(const HandedOver& handed) const;
  // Whether it serves; false: it died, or did not say so for `wait`.
  bool AwaitServing(Duration wait) const;

 private:
  HandOverDoor(std::filesystem::path folder, int listening, int stop, Acts acts);
  void Run();
  // True: it asked for the hand-over.
  bool Talk(const HandOverTalk& talk) const;

  const std::filesystem::path folder_;
  const int listening_;
  const int stop_;  // can be read: over
  const Acts acts_;
  std::unique_ptr<HandOverTalk> asker_;  // Run's until the thread has ended
  std::thread thread_;
};

// The bridge that runs, as the one that wants to take over sees it.
class HandOverCall {
 public:
  // nullptr: nobody listens in `folder`. Error REASON_NOT_ALLOWED: another user does.
  static Result<std::unique_ptr<HandOverCall>> Connect(const std::filesystem::path& folder);

  // Errors: what the other one says, REASON_STORE_UNAVAILABLE when it died or hangs.
  Result<void> Prepare() const;
  // As Prepare. nullopt: it died meanwhile, so nobody serves now.
  Result<std::optional<HandedOver>> Yield() const;
  void Serving() const;

  pid_t pid() const { return talk_.peer(); }

 private:
  explicit HandOverCall(int socket) : talk_(socket) {}

  HandOverTalk talk_;
};

}  // namespace latchkey::bridge
