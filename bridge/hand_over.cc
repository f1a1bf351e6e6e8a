// See hand_over.h. The socket's name is reached through the folder's descriptor, since names of
// sockets may have 108 bytes only.
#include "bridge/hand_over.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace latchkey::bridge {

namespace {

constexpr size_t kHeadBytes = 5;
constexpr size_t kBodyMax = kHandedOverBytesMax;
constexpr int kByteBits = 8;
constexpr int kWaiting = 4;                                  // at the door
constexpr Duration kFrameWait = std::chrono::seconds(10);    // for the rest of one begun
constexpr Duration kPrepareWait = std::chrono::seconds(60);  // a store is written out
constexpr Duration kYieldWait = std::chrono::seconds(60);    // what is acknowledged is committed
constexpr Duration kNextWord = std::chrono::hours(1);        // a new one warms up

tl::unexpected<Error> Failed(const std::string& what) {
  return Fail(v1::REASON_STORE_UNAVAILABLE, what + ": " + std::generic_category().message(errno));
}

// A socket and the name of `hand_over.sock` in `folder`, valid while `folder_fd` is open.
struct Named {
  int socket = -1;
  int folder_fd = -1;
  sockaddr_un address = {};

  explicit Named(const std::filesystem::path& folder)
      : socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        folder_fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    const std::string name =
        "/proc/self/fd/" + std::to_string(folder_fd) + "/" + std::string(kHandOverSocket);
    address.sun_family = AF_UNIX;
    name.copy(static_cast<char*>(address.sun_path), sizeof(address.sun_path) - 1);
  }

  ~Named() {
    if (folder_fd >= 0) {
      ::close(folder_fd);
    }
  }

  Named(const Named&) = delete;
  Named& operator=(const Named&) = delete;

  const sockaddr* Address() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// Whether `socket` can be read; false: the time is over, or `stop` can be.
bool AwaitInput(int socket, int stop, Duration wait) {
  std::array<pollfd, 2> watched = {{{socket, POLLIN, 0}, {stop, POLLIN, 0}}};
  const int ready = ::poll(watched.data(), stop < 0 ? 1 : 2, static_cast<int>(wait.count()));
  return ready > 0 && watched[1].revents == 0 && watched[0].revents != 0;
}

bool ReadWhole(int socket, char* to, size_t count) {
  while (count > 0) {
    const ssize_t got = ::recv(socket, to, count, 0);
    if (got <= 0) {
      return false;
    }
    to += got;
    count -= static_cast<size_t>(got);
  }
  return true;
}

bool WriteWhole(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

ucred PeerOf(int socket) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return {0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
  }
  return peer;
}

}  // namespace

HandOverTalk::~HandOverTalk() {
  ::close(socket_);
}

bool HandOverTalk::Say(Kind kind, std::string_view body) const {
  std::string bytes(1, static_cast<char>(kind));
  for (int i = static_cast<int>(kHeadBytes) - 2; i >= 0; --i) {
    bytes.push_back(static_cast<char>(body.size() >> (kByteBits * i) & 0xff));
  }
  bytes += body;
  return WriteWhole(socket_, bytes);
}

std::optional<HandOverTalk::Frame> HandOverTalk::Hear(Duration wait, int stop) const {
  if (!AwaitInput(socket_, stop, wait)) {
    return std::nullopt;
  }
  const timeval rest{static_cast<time_t>(kFrameWait.count() / 1000), 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &rest, sizeof(rest));
  std::array<char, kHeadBytes> head = {};
  if (!ReadWhole(socket_, head.data(), head.size())) {
    return std::nullopt;
  }
  size_t size = 0;
  for (size_t i = 1; i < head.size(); ++i) {
    size = size << kByteBits | static_cast<uint8_t>(head.at(i));
  }
  const auto kind = static_cast<uint8_t>(head[0]);
  if (kind < static_cast<uint8_t>(Kind::kPrepare) || kind > static_cast<uint8_t>(Kind::kServing) ||
      size > kBodyMax) {
    return std::nullopt;
  }
  Frame frame{static_cast<Kind>(kind), std::string(size, '\0')};
  return ReadWhole(socket_, frame.body.data(), size) ? std::optional(std::move(frame))
                                                     : std::nullopt;
}

pid_t HandOverTalk::peer() const {
  return PeerOf(socket_).pid;
}

bool HandOverTalk::PeerMay() const {
  const uid_t user = PeerOf(socket_).uid;
  return user == ::geteuid() || user == 0;
}

HandOverDoor::HandOverDoor(std::filesystem::path folder, int listening, int stop, Acts acts)
    : folder_(std::move(folder)),
      listening_(listening),
      stop_(stop),
      acts_(std::move(acts)),
      thread_([this] { Run(); }) {}

Result<std::unique_ptr<HandOverDoor>> HandOverDoor::Listen(const std::filesystem::path& folder,
                                                           Acts acts) {
  const Named named(folder);
  const std::filesystem::path path = folder / kHandOverSocket;
  ::unlink(path.c_str());
  if (named.socket < 0 || ::bind(named.socket, named.Address(), sizeof(named.address)) != 0 ||
      ::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0 || ::listen(named.socket, kWaiting) != 0) {
    const tl::unexpected<Error> failed = Failed("cannot listen on " + path.string());
    ::close(named.socket);
    return failed;
  }
  return std::unique_ptr<HandOverDoor>(
      new HandOverDoor(folder, named.socket, ::eventfd(0, EFD_CLOEXEC), std::move(acts)));
}

HandOverDoor::~HandOverDoor() {
  Close();
  ::close(stop_);
}

void HandOverDoor::Close() {
  if (!thread_.joinable()) {
    return;
  }
  const uint64_t one = 1;
  static_cast<void>(::write(stop_, &one, sizeof(one)));
  thread_.join();
  // Who comes later finds nobody, not this one's deaf ear.
  ::unlink((folder_ / kHandOverSocket).c_str());
  ::close(listening_);
}

void HandOverDoor::Run() {
  while (!AwaitInput(stop_, -1, Duration(0))) {
    if (!AwaitInput(listening_, stop_, kNextWord)) {
      continue;
    }
    const int socket = ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) {
      continue;
    }
    auto talk = std::make_unique<HandOverTalk>(socket);
    if (Talk(*talk)) {
      asker_ = std::move(talk);
      acts_.asked();
      return;
    }
  }
}

bool HandOverDoor::Talk(const HandOverTalk& talk) const {
  using Kind = HandOverTalk::Kind;
  if (!talk.PeerMay()) {
    static_cast<void>(talk.Say(Kind::kRefused, "only the user whose bridge this is may ask"));
    return false;
  }
  while (const std::optional<HandOverTalk::Frame> frame = talk.Hear(kNextWord, stop_)) {
    if (frame->kind == Kind::kPrepare) {
      const Result<void> done = acts_.prepare();
      if (!talk.Say(done ? Kind::kDone : Kind::kRefused, done ? "" : done.error().text)) {
        return false;
      }
    } else if (frame->kind == Kind::kYield) {
      const std::string why = acts_.refusal();
      if (why.empty()) {
        return true;
      }
      static_cast<void>(talk.Say(Kind::kRefused, why));
    } else {
      return false;
    }
  }
  return false;
}

pid_t HandOverDoor::successor() const {
  return asker_ == nullptr ? 0 : asker_->peer();
}

void HandOverDoor::Give(const HandedOver& handed) const {
  if (asker_ != nullptr) {
    static_cast<void>(asker_->Say(HandOverTalk::Kind::kYielded, EncodeHandedOver(handed)));
  }
}

bool HandOverDoor::AwaitServing(Duration wait) const {
  const auto frame = asker_ == nullptr ? std::nullopt : asker_->Hear(wait);
  return frame && frame->kind == HandOverTalk::Kind::kServing;
}

Result<std::unique_ptr<HandOverCall>> HandOverCall::Connect(const std::filesystem::path& folder) {
  const Named named(folder);
  if (named.socket < 0 || ::connect(named.socket, named.Address(), sizeof(named.address)) != 0) {
    ::close(named.socket);
    return std::unique_ptr<HandOverCall>();
  }
  auto call = std::unique_ptr<HandOverCall>(new HandOverCall(named.socket));
  if (!call->talk_.PeerMay()) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "the bridge that runs belongs to another user: take over as that user");
  }
  return call;
}

Result<void> HandOverCall::Prepare() const {
  if (talk_.Say(HandOverTalk::Kind::kPrepare)) {
    if (const auto frame = talk_.Hear(kPrepareWait)) {
      return frame->kind == HandOverTalk::Kind::kDone
                 ? Result<void>()
                 : Fail(v1::REASON_NOT_ALLOWED,
                        "the bridge that runs cannot prepare: " + frame->body);
    }
  }
  return Fail(v1::REASON_STORE_UNAVAILABLE,
              "the bridge that runs does not answer, or another one is taking over from it");
}

Result<std::optional<HandedOver>> HandOverCall::Yield() const {
  if (!talk_.Say(HandOverTalk::Kind::kYield)) {
    return std::nullopt;
  }
  const std::optional<HandOverTalk::Frame> frame = talk_.Hear(kYieldWait);
  if (!frame) {
    return std::nullopt;
  }
  if (frame->kind == HandOverTalk::Kind::kRefused) {
    return Fail(v1::REASON_NOT_ALLOWED, "the bridge that runs keeps its place: " + frame->body);
  }
  std::optional<HandedOver> handed =
      frame->kind == HandOverTalk::Kind::kYielded ? DecodeHandedOver(frame->body) : std::nullopt;
  return handed ? handed : std::optional(HandedOver{});
}

void HandOverCall::Serving() const {
  static_cast<void>(talk_.Say(HandOverTalk::Kind::kServing));
}

}  // namespace latchkey::bridge
