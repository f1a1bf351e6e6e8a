// Which connections send at once, with real sockets on loopback.
#include "proto/no_delay.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/result.h"

namespace latchkey {
namespace {

// A listener on a free port and a connection to it.
struct Pair {
  explicit Pair(int family)
      : listener(::socket(family, SOCK_STREAM, 0)), client(::socket(family, SOCK_STREAM, 0)) {
    sockaddr_storage at{};
    socklen_t size = 0;
    if (family == AF_INET) {
      auto* address = reinterpret_cast<sockaddr_in*>(&at);
      address->sin_family = AF_INET;
      address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      size = sizeof(*address);
    } else {
      auto* address = reinterpret_cast<sockaddr_in6*>(&at);
      address->sin6_family = AF_INET6;
      address->sin6_addr = in6addr_loopback;
      size = sizeof(*address);
    }
    auto* const name = reinterpret_cast<sockaddr*>(&at);
    connected = ::bind(listener, name, size) == 0 && ::listen(listener, 1) == 0 &&
                ::getsockname(listener, name, &size) == 0 && ::connect(client, name, size) == 0;
    // In both families the port comes second.
    port = ntohs(reinterpret_cast<const sockaddr_in*>(&at)->sin_port);
  }

  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  ~Pair() {
    ::close(client);
    ::close(listener);
  }

  bool SendsAtOnce() const {
    int on = 0;
    socklen_t size = sizeof(on);
    return ::getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0 && on != 0;
  }

  int listener;
  int client;
  bool connected = false;
  uint16_t port = 0;
};

TEST_CASE("no delay: connections to the port send at once, those to another are left alone") {
  const Pair wanted(AF_INET);
  const Pair other(AF_INET);
  REQUIRE(wanted.connected);
  REQUIRE(other.connected);
  REQUIRE_FALSE(wanted.SendsAtOnce());
  CHECK(SendAtOnceTo(wanted.port) == 1);
  CHECK(wanted.SendsAtOnce());
  CHECK_FALSE(other.SendsAtOnce());
  CHECK_MESSAGE(SendAtOnceTo(wanted.port) == 1, "once more does no harm");
}

TEST_CASE("no delay: IPv6 too") {
  const Pair wanted(AF_INET6);
  if (!wanted.connected) {
    MESSAGE("this machine has no IPv6 on loopback: not tried");
    return;
  }
  CHECK(SendAtOnceTo(wanted.port) == 1);
  CHECK(wanted.SendsAtOnce());
}

TEST_CASE("no delay: without a connection there is nothing to set") {
  uint16_t free_port = 0;
  {
    const Pair gone(AF_INET);
    REQUIRE(gone.connected);
    free_port = gone.port;
  }
  CHECK(SendAtOnceTo(free_port) == 0);
}

}  // namespace
}  // namespace latchkey
