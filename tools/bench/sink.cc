// The same round as the swarm's, from the other side.
#include "tools/bench/sink.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/topic.h"
#include "tools/bench/wire.h"

namespace latchkey::bench {

namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr size_t kOutBytesMax = size_t{64} << 20;  // of one client; who reads slower is cut off
constexpr uint32_t kListener = UINT32_MAX;

// Looked up by the view that lies in a packet, without a copy.
struct TextHash {
  using is_transparent = void;

  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

class Server {
 public:
  Server(int listener, std::shared_ptr<const Tls> tls)
      : listener_(listener),
        tls_(std::move(tls)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        buffer_(kBufferBytes) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = kListener;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
  }

  [[noreturn]] void Serve() {
    std::array<epoll_event, 512> events{};
    while (true) {
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<size_t>(i)];
        if (event.data.u32 == kListener) {
          Accept();
        } else {
          Handle(event.data.u32, event.events);
        }
      }
      std::swap(flushing_, dirty_);
      for (const size_t index : flushing_) {
        peers_[index].dirty = false;
        Flush(index);
      }
      flushing_.clear();
    }
  }

 private:
  struct Subscriber {
    size_t peer = 0;
    uint64_t generation = 0;
    int qos = 0;
    std::string filter{};  // with a wildcard; empty: it is known by the topic
  };

  // A place of the table; used again for who comes later, with another generation.
  struct Peer {
    std::unique_ptr<Channel> channel{};
    uint64_t generation = 0;
    bool dirty = false;
    bool polls_write = false;
    uint16_t last_packet_id = 0;
    size_t out_at = 0;
    std::string out{};
    std::string held{};
  };

  void Accept() {
    while (true) {
      const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (socket < 0) {
        return;
      }
      size_t index = peers_.size();
      if (free_.empty()) {
        peers_.emplace_back();
      } else {
        index = free_.back();
        free_.pop_back();
      }
      peers_[index].channel = Channel::Accepted(socket, tls_);
      peers_[index].polls_write = false;
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u32 = static_cast<uint32_t>(index);
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
    }
  }

  void Close(size_t index) {
    Peer& peer = peers_[index];
    peer.channel.reset();
    peer.out.clear();
    peer.held.clear();
    peer.out_at = 0;
    ++peer.generation;
    free_.push_back(index);
  }

  void Handle(size_t index, uint32_t events) {
    Peer& peer = peers_[index];
    if (!peer.channel) {
      return;
    }
    if (peer.channel->phase() == Phase::kHandshaking) {
      const Phase phase = peer.channel->Step();
      if (phase == Phase::kClosed) {
        Close(index);
        return;
      }
      Watch(index);
      if (phase != Phase::kOpen) {
        return;
      }
      events |= EPOLLIN;  // TLS may have read beyond the handshake
    }
    if ((events & EPOLLOUT) != 0) {
      Mark(index);
    }
    if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) {
      Read(index);
    }
  }

  void Read(size_t index) {
    Peer& peer = peers_[index];
    for (bool more = true; more;) {
      const size_t held = peer.held.size();
      std::memcpy(buffer_.data(), peer.held.data(), held);
      const std::span<char> room = std::span(buffer_).subspan(held);
      const Moved moved = peer.channel->Read(room);
      more = moved.bytes == room.size();
      std::string_view bytes(buffer_.data(), held + moved.bytes);
      CutOff first = FirstPacket(bytes, kBufferBytes / 2);
      for (; first.cut == Cut::kPacket; first = FirstPacket(bytes, kBufferBytes / 2)) {
        if (!Take(index, first.packet)) {
          Close(index);
          return;
        }
        bytes.remove_prefix(first.bytes);
      }
      if (moved.closed || first.cut == Cut::kBroken) {
        Close(index);
        return;
      }
      peer.held.assign(bytes);
    }
    Watch(index);
  }

  // False: it leaves, or what it says is not understood.
  bool Take(size_t index, const Packet& packet) {
    Peer& peer = peers_[index];
    if (packet.type == PacketType::kPublish) {
      const std::optional<PublishWords> words = ReadPublish(packet);
      if (!words || words->qos > 1) {
        return false;
      }
      if (words->qos > 0) {
        AppendPublishAcknowledged(words->packet_id, peer.out);
        Mark(index);
      }
      HandOn(*words);
      return true;
    }
    if (packet.type == PacketType::kConnect) {
      AppendConnectAcknowledged(0, peer.out);
    } else if (packet.type == PacketType::kSubscribe) {
      const std::optional<SubscribeWords> words = ReadSubscribe(packet);
      if (!words) {
        return false;
      }
      const std::string filter(words->filter);
      if (filter.find_first_of("#+") != std::string::npos) {
        wild_.push_back({index, peer.generation, words->qos, filter});
      } else {
        subscribers_[filter].push_back({index, peer.generation, words->qos});
      }
      AppendSubscribeAcknowledged(words->packet_id, static_cast<uint8_t>(words->qos), peer.out);
    } else if (packet.type == PacketType::kPingRequest) {
      AppendPingResponse(peer.out);
    } else {
      return packet.type == PacketType::kPublishAcknowledged;
    }
    Mark(index);
    return true;
  }

  void HandOn(const PublishWords& words) {
    const auto found = subscribers_.find(words.topic);
    if (found != subscribers_.end()) {
      HandTo(found->second, words);
    }
    HandTo(wild_, words);
  }

  void HandTo(const std::vector<Subscriber>& subscribers, PublishWords words) {
    const int came_with = words.qos;
    for (const Subscriber& subscriber : subscribers) {
      Peer& peer = peers_[subscriber.peer];
      const bool left = peer.generation != subscriber.generation;
      if (left || (!subscriber.filter.empty() && !FilterMatches(subscriber.filter, words.topic))) {
        continue;
      }
      words.qos = std::min(came_with, subscriber.qos);
      words.retain = false;
      if (words.qos > 0) {
        peer.last_packet_id = static_cast<uint16_t>(peer.last_packet_id % 65535 + 1);
        words.packet_id = peer.last_packet_id;
      }
      AppendPublish(words, peer.out);
      Mark(subscriber.peer);
    }
  }

  void Mark(size_t index) {
    if (!peers_[index].dirty) {
      peers_[index].dirty = true;
      dirty_.push_back(index);
    }
  }

  void Flush(size_t index) {
    Peer& peer = peers_[index];
    if (!peer.channel || peer.channel->phase() != Phase::kOpen) {
      return;
    }
    const Moved moved = peer.channel->Write(std::string_view(peer.out).substr(peer.out_at));
    peer.out_at += moved.bytes;
    if (moved.closed || peer.out.size() - peer.out_at > kOutBytesMax) {
      Close(index);
      return;
    }
    if (peer.out_at == peer.out.size()) {
      peer.out.clear();
      peer.out_at = 0;
    }
    Watch(index);
  }

  void Watch(size_t index) {
    Peer& peer = peers_[index];
    const bool write = peer.channel->wants_write();
    if (write != peer.polls_write) {
      epoll_event event{};
      event.events = write ? EPOLLIN | EPOLLOUT : EPOLLIN;
      event.data.u32 = static_cast<uint32_t>(index);
      peer.polls_write = write;
      ::epoll_ctl(epoll_, EPOLL_CTL_MOD, peer.channel->socket(), &event);
    }
  }

  int listener_;
  std::shared_ptr<const Tls> tls_;
  int epoll_;
  std::vector<char> buffer_;
  std::vector<Peer> peers_;
  std::vector<size_t> free_;
  std::vector<size_t> dirty_;
  std::vector<size_t> flushing_;
  std::unordered_map<std::string, std::vector<Subscriber>, TextHash, std::equal_to<>> subscribers_;
  std::vector<Subscriber> wild_;
};

}  // namespace

Result<std::unique_ptr<Sink>> Sink::Start(std::shared_ptr<const Tls> tls) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (listener < 0 ||
      ::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 4096) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return Fail(v1::REASON_FULL, "no port for the sink: " + std::generic_category().message(errno));
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    ::close(listener);
    return Fail(v1::REASON_FULL,
                "no process for the sink: " + std::generic_category().message(errno));
  }
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
      ::_exit(0);  // the parent ended before it was asked to tell
    }
    Server(listener, std::move(tls)).Serve();
  }
  ::close(listener);
  return std::unique_ptr<Sink>(new Sink(pid, ntohs(address.sin_port)));
}

Sink::~Sink() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace latchkey::bench
