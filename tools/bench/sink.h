// A server that does as little as a server can: it answers PUBLISHes at once and hands them to whom
// subscribed, or throws them away. What the load generator reaches against it
// is the generator's own ceiling, which is printed beside every broker's figure.
//
// It is a process of its own, so that it has the other core, as a broker has. It lets everybody
// in, retains nothing, and writes what has gathered in one go.
#pragma once

#include <memory>

#include <sys/types.h>

#include "proto/result.h"
#include "tools/bench/channel.h"

namespace latchkey::bench {

class Sink {
 public:
  // Listens on a free port of 127.0.0.1; `tls` null: plain TCP. It ends with this process. To be
  // called before there are other threads. Error REASON_FULL: no socket, port or process.
  static Result<std::unique_ptr<Sink>> Start(std::shared_ptr<const Tls> tls);
  ~Sink();
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  int port() const { return port_; }

  // To look at its processor time in /proc.
  pid_t pid() const { return pid_; }

 private:
  Sink(pid_t pid, int port) : pid_(pid), port_(port) {}

  pid_t pid_ = -1;
  int port_ = 0;
};

}  // namespace latchkey::bench
