// A TCP proxy between cars and broker, on a thread of its own: passes bytes on, late, or not at
// all.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace latchkey::testing {

class Proxy {
 public:
  enum class Mode : uint8_t {
    kPass,
    kDelay,  // bytes go on 150 to 600 ms later, in order
    kHole,   // nothing goes on and nothing ends: both sides believe in the connection
    kCut,    // connections end, in the midst of what they carry; new ones end at once
  };

  // Listens on a free port of loopback; `to` is the broker's.
  explicit Proxy(int to);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  int port() const { return port_; }

  void Set(Mode mode) { mode_ = mode; }

 private:
  void Run();

  int to_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<Mode> mode_ = Mode::kPass;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace latchkey::testing
