// See proxy.h. What was in a hole when the hole closes goes on then, as a network does that comes
// back.
#include "tests/support/proxy.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <list>
#include <random>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace latchkey::testing {

namespace {

using std::chrono::steady_clock;

constexpr int kLookMs = 10;
constexpr int kDelayMinMs = 150;
constexpr int kDelayMaxMs = 600;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// One direction of a connection.
struct Lane {
  struct Piece {
    std::string bytes;
    steady_clock::time_point not_before;
  };

  int from = -1;
  int to = -1;
  std::deque<Piece> waiting;
  bool ended = false;  // this side is gone; what it said before still goes on

  void Read(steady_clock::time_point not_before) {
    std::array<char, 16384> block{};
    const ssize_t count = ::recv(from, block.data(), block.size(), MSG_DONTWAIT);
    if (count > 0) {
      waiting.push_back({std::string(block.data(), static_cast<size_t>(count)), not_before});
    }
    ended = count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
  }

  // False: there is nothing more to do for this direction.
  bool Write(steady_clock::time_point now) {
    while (!waiting.empty() && waiting.front().not_before <= now) {
      std::string& bytes = waiting.front().bytes;
      const ssize_t count = ::send(to, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count < 0) {
        return errno == EAGAIN || errno == EINTR;
      }
      bytes.erase(0, static_cast<size_t>(count));
      if (!bytes.empty()) {
        return true;
      }
      waiting.pop_front();
    }
    return !ended || !waiting.empty();
  }
};

struct Connection {
  Lane up;
  Lane down;

  Connection(int car, int broker) : up{car, broker, {}}, down{broker, car, {}} {}

  ~Connection() {
    ::close(up.from);
    ::close(up.to);
  }

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
};

}  // namespace

Proxy::Proxy(int to) : to_(to), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::listen(listener_, 256);
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Run(); });
}

Proxy::~Proxy() {
  stop_ = true;
  thread_.join();
  ::close(listener_);
}

void Proxy::Run() {
  std::list<Connection> connections;
  std::mt19937 random(static_cast<unsigned>(port_));
  while (!stop_) {
    const Mode mode = mode_;
    std::vector<pollfd> files = {{listener_, POLLIN, 0}};
    for (const Connection& connection : connections) {
      for (const Lane* lane : {&connection.up, &connection.down}) {
        files.push_back({lane->ended ? -1 : lane->from, POLLIN, 0});
      }
    }
    // In a hole the kernel's buffers fill, as they do when nobody answers.
    ::poll(files.data(), mode == Mode::kHole ? 0 : files.size(), kLookMs);
    const auto now = steady_clock::now();
    if (mode == Mode::kHole) {
      continue;
    }
    if (mode == Mode::kCut) {
      connections.clear();
    }
    size_t at = 1;
    for (auto each = connections.begin(); each != connections.end(); at += 2) {
      auto not_before = now;
      if (mode == Mode::kDelay) {
        not_before += std::chrono::milliseconds(
            std::uniform_int_distribution<int>(kDelayMinMs, kDelayMaxMs)(random));
        for (const Lane* lane : {&each->up, &each->down}) {  // in order
          not_before = lane->waiting.empty()
                           ? not_before
                           : std::max(not_before, lane->waiting.back().not_before);
        }
      }
      if (files[at].revents != 0 && !each->up.ended) {
        each->up.Read(not_before);
      }
      if (files[at + 1].revents != 0 && !each->down.ended) {
        each->down.Read(not_before);
      }
      const bool lives = each->up.Write(now) && each->down.Write(now);
      each = lives ? std::next(each) : connections.erase(each);
    }
    if ((files[0].revents & POLLIN) == 0) {
      continue;
    }
    const int car = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int broker = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(to_);
    const bool joined =
        mode != Mode::kCut &&
        ::connect(broker, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    const int on = 1;
    ::setsockopt(car, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (joined) {
      connections.emplace_back(car, broker);
    } else {
      ::close(car);
      ::close(broker);
    }
  }
}

}  // namespace latchkey::testing
