// The raw MQTT client: framing, TCP and TLS. Server certificates are not checked here: what is
// tested is the broker's judgement of clients.
#include "tests/support/raw.h"

#include <csignal>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace latchkey::testing {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kAnswer{10000};

std::string Short(uint32_t value) {
  return {static_cast<char>(static_cast<uint8_t>(value >> 8)),
          static_cast<char>(static_cast<uint8_t>(value))};
}

uint8_t At(const std::string& bytes, size_t at) {
  return at < bytes.size() ? static_cast<uint8_t>(bytes[at]) : uint8_t{0};
}

size_t ShortAt(const std::string& bytes, size_t at) {
  return static_cast<size_t>(At(bytes, at)) << 8 | At(bytes, at + 1);
}

std::string Byte(int value) {
  return {static_cast<char>(static_cast<uint8_t>(value))};
}

std::string VariableByteInteger(size_t value) {
  std::string bytes;
  do {
    const auto digit = static_cast<uint8_t>(value % 128);
    value /= 128;
    bytes += static_cast<char>(static_cast<uint8_t>(value > 0 ? digit | 0x80 : digit));
  } while (value > 0);
  return bytes;
}

// Takes the variable byte integer at `at`, and moves `at` behind it.
size_t TakeLength(const std::string& bytes, size_t& at) {
  size_t length = 0;
  for (unsigned shift = 0;; shift += 7) {
    const uint8_t byte = At(bytes, at++);
    length |= static_cast<size_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0 || shift > 21) {
      return length;
    }
  }
}

// Properties with their length; nothing in 3.1.1.
std::string Properties(int version, const std::string& properties) {
  return version == 5 ? VariableByteInteger(properties.size()) + properties : "";
}

// Certificates differ by client, all others share one context: a thousand would cost seconds.
SSL_CTX* SharedContext() {
  static SSL_CTX* const context = [] {
    SSL_CTX* made = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(made, SSL_VERIFY_NONE, nullptr);
    SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS);
    return made;
  }();
  return context;
}

// Of a PUBACK, PUBREC or PUBCOMP; 0x10, nobody has subscribed, counts as 0.
int CodeOf(const std::string& body) {
  constexpr int kNoSubscriber = 0x10;
  const int code = body.size() > 2 ? At(body, 2) : 0;
  return code == kNoSubscriber ? 0 : code;
}

milliseconds Left(steady_clock::time_point deadline) {
  return std::max(milliseconds(0),
                  std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now()));
}

}  // namespace

std::string RawString(const std::string& text) {
  return Short(static_cast<uint32_t>(text.size())) + text;
}

std::string RawPacket(uint8_t header, const std::string& body) {
  return Byte(header) + VariableByteInteger(body.size()) + body;
}

std::string RawUserProperty(const std::string& name, const std::string& value) {
  return Byte(0x26) + RawString(name) + RawString(value);
}

std::string RawTopicAlias(uint16_t alias) {
  return Byte(0x23) + Short(alias);
}

std::string RawResponseTopic(const std::string& topic) {
  return Byte(0x08) + RawString(topic);
}

std::string RawCorrelationData(const std::string& bytes) {
  return Byte(0x09) + RawString(bytes);
}

std::string RawReceiveMaximum(uint16_t maximum) {
  return Byte(0x21) + Short(maximum);
}

std::string RawTopicAliasMaximum(uint16_t maximum) {
  return Byte(0x22) + Short(maximum);
}

std::string RawMessageExpiry(uint32_t seconds) {
  return Byte(0x02) + Short(seconds >> 16) + Short(seconds & 0xffff);
}

struct RawClient::Impl {
  SSL_CTX* context = nullptr;  // own; null: the shared one, or no TLS
  SSL* tls = nullptr;          // null: TCP
  int socket = -1;
  std::string buffer;

  ~Impl() {
    SSL_free(tls);
    SSL_CTX_free(context);
    if (socket >= 0) {
      ::close(socket);
    }
  }

  bool Dial(const RawOptions& options) {
    socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const timeval patience{5, 0};
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (options.receive_buffer_bytes > 0) {
      ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer_bytes,
                   sizeof options.receive_buffer_bytes);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    if (!options.source_address.empty() &&
        (::inet_pton(AF_INET, options.source_address.c_str(), &address.sin_addr) != 1 ||
         ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)) {
      return false;
    }
    address.sin_port = htons(static_cast<uint16_t>(options.port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }

  bool Secure(const RawOptions& options) {
    SSL_CTX* used = SharedContext();
    if (!options.certificate_pem.empty()) {
      used = context = SSL_CTX_new(TLS_client_method());
      SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
      if (!UseCertificate(options)) {
        return false;
      }
    }
    tls = SSL_new(used);
    SSL_set_fd(tls, socket);
    return SSL_connect(tls) == 1;
  }

  bool UseCertificate(const RawOptions& options) const {
    BIO* certificate_bio = BIO_new_mem_buf(options.certificate_pem.data(), -1);
    BIO* key_bio = BIO_new_mem_buf(options.private_key_pem.data(), -1);
    X509* certificate = PEM_read_bio_X509(certificate_bio, nullptr, nullptr, nullptr);
    EVP_PKEY* key = PEM_read_bio_PrivateKey(key_bio, nullptr, nullptr, nullptr);
    const bool used = SSL_CTX_use_certificate(context, certificate) == 1 &&
                      SSL_CTX_use_PrivateKey(context, key) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    BIO_free(certificate_bio);
    BIO_free(key_bio);
    return used;
  }

  // False: closed, or broken.
  bool Fill(milliseconds patience) {
    if (tls == nullptr || SSL_pending(tls) == 0) {
      pollfd wait{socket, POLLIN, 0};
      if (::poll(&wait, 1, static_cast<int>(patience.count())) <= 0) {
        return true;  // nothing yet
      }
    }
    char block[16384];
    const auto count = tls != nullptr ? SSL_read(tls, block, sizeof block)
                                      : static_cast<int>(::recv(socket, block, sizeof block, 0));
    if (count > 0) {
      buffer.append(block, static_cast<size_t>(count));
      return true;
    }
    return tls != nullptr && SSL_get_error(tls, count) == SSL_ERROR_WANT_READ;
  }

  // How many bytes went out; 0 or less: none, it is over.
  int Put(const char* bytes, size_t size) const {
    return tls != nullptr ? SSL_write(tls, bytes, static_cast<int>(size))
                          : static_cast<int>(::send(socket, bytes, size, MSG_NOSIGNAL));
  }
};

RawClient::RawClient(RawOptions options) : options_(std::move(options)) {
  std::signal(SIGPIPE, SIG_IGN);
}

RawClient::~RawClient() = default;

bool RawClient::Open() {
  impl_ = std::make_unique<Impl>();
  return impl_->Dial(options_) &&
         (options_.transport == Transport::kTcp || impl_->Secure(options_));
}

std::string RawClient::ConnectPacket() const {
  uint8_t flags = options_.clean ? 0x02 : 0x00;
  std::string payload = RawString(options_.client_id);
  if (options_.will) {
    const bool retained = options_.will->retain == Retain::kYes;
    flags = static_cast<uint8_t>(flags | 0x04 | options_.will->qos << 3 | (retained ? 0x20 : 0));
    payload += Properties(options_.version, "") + RawString(options_.will->topic) +
               RawString(options_.will->payload);
  }
  if (options_.user_name) {
    flags |= 0x80;
    payload += RawString(*options_.user_name);
  }
  if (options_.password) {
    flags |= 0x40;
    payload += RawString(*options_.password);
  }
  const uint32_t expiry = options_.session_expiry_s;
  const std::string properties =
      Byte(0x11) + Short(expiry >> 16) + Short(expiry & 0xffff) + options_.connect_properties;
  return RawPacket(0x10, RawString("MQTT") + Byte(options_.version) + Byte(flags) +
                             Short(options_.keep_alive_s) +
                             Properties(options_.version, properties) + payload);
}

int RawClient::Connect() {
  arrived_.clear();
  answers_.clear();
  over_ = !Open();
  if (over_ || !Write(options_.before_connect)) {
    return kHungUp;
  }
  if (options_.no_connect) {
    return 0;
  }
  if (!Write(ConnectPacket())) {
    return kHungUp;
  }
  const std::optional<Packet> answer = Await(2, kAnswer);
  if (!answer) {
    return over_ ? kHungUp : kNoAnswer;
  }
  return At(answer->body, 1);
}

int RawClient::Subscribe(const std::string& filter, int qos) {
  const std::vector<int> codes = SubscribeAll({{filter, qos, 0}});
  return codes.empty() ? Silence() : codes.back();
}

std::vector<int> RawClient::SubscribeAll(const std::vector<RawFilter>& filters,
                                         const std::string& properties) {
  std::string body = Short(++packet_id_) + Properties(options_.version, properties);
  for (const RawFilter& filter : filters) {
    body += RawString(filter.filter) + Byte(filter.qos | filter.flags);
  }
  if (!Write(RawPacket(0x82, body))) {
    return {};
  }
  const std::optional<Packet> answer = Await(9, kAnswer);
  if (!answer || answer->body.size() < filters.size()) {
    return {};
  }
  std::vector<int> codes;
  for (size_t i = answer->body.size() - filters.size(); i < answer->body.size(); ++i) {
    codes.push_back(At(answer->body, i));
  }
  return codes;
}

bool RawClient::Unsubscribe(const std::string& filter) {
  const std::string body =
      Short(++packet_id_) + Properties(options_.version, "") + RawString(filter);
  return Write(RawPacket(0xa2, body)) && Await(11, kAnswer).has_value();
}

std::string RawClient::PublishPacket(const Publish& publish, const std::string& properties) {
  const auto header =
      static_cast<uint8_t>(0x30 | publish.qos << 1 | (publish.retain == Retain::kYes ? 1 : 0));
  std::string body = RawString(publish.topic);
  if (publish.qos > 0) {
    packet_id_ = static_cast<uint16_t>(packet_id_ == 0xffff ? 1 : packet_id_ + 1);
    body += Short(packet_id_);
  }
  return RawPacket(header, body + Properties(options_.version, properties) + publish.payload);
}

int RawClient::Send(const Publish& publish, const std::string& properties) {
  if (publish.qos == 2) {
    const RawAnswer begun = SendQos2Begin(publish, properties);
    return begun.code < 0 || begun.code >= 0x80 ? begun.code : Release(begun.id);
  }
  if (!Write(PublishPacket(publish, properties))) {
    return kHungUp;
  }
  if (publish.qos == 0) {
    return 0;
  }
  const std::optional<Packet> answer = Await(4, kAnswer);
  return answer ? CodeOf(answer->body) : Silence();
}

RawAnswer RawClient::SendQos2Begin(const Publish& publish, const std::string& properties) {
  Publish exactly_once = publish;
  exactly_once.qos = 2;
  const std::string packet = PublishPacket(exactly_once, properties);
  const uint16_t id = packet_id_;
  if (!Write(packet)) {
    return {id, kHungUp};
  }
  const std::optional<Packet> answer = Await(5, kAnswer);
  return {id, answer ? CodeOf(answer->body) : Silence()};
}

int RawClient::Release(uint16_t id) {
  if (!Write(RawPacket(0x62, Short(id)))) {
    return kHungUp;
  }
  const std::optional<Packet> answer = Await(7, kAnswer);
  return answer ? CodeOf(answer->body) : Silence();
}

uint16_t RawClient::Post(const Publish& publish) {
  Publish once = publish;
  once.qos = 1;
  const std::string packet = PublishPacket(once, "");
  return Write(packet) ? packet_id_ : uint16_t{0};
}

std::vector<RawAnswer> RawClient::TakeAnswers() {
  return std::exchange(answers_, {});
}

int RawClient::socket() const {
  return impl_ == nullptr ? -1 : impl_->socket;
}

std::optional<Publish> RawClient::Next(milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (arrived_.empty()) {
    const std::optional<Packet> packet = Read(Left(deadline));
    if (!packet) {
      return std::nullopt;
    }
    Keep(*packet);
  }
  Publish publish = std::move(arrived_.front().publish);
  properties_ = std::move(arrived_.front().properties);
  arrived_.pop_front();
  return publish;
}

std::optional<Publish> RawClient::NextOn(const std::string& topic, milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  for (;;) {
    std::optional<Publish> publish = Next(Left(deadline));
    if (!publish || publish->topic == topic) {
      return publish;
    }
  }
}

bool RawClient::Ping() {
  return Write(RawPacket(0xc0, "")) && Await(13, kAnswer).has_value();
}

int RawClient::Ended(milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (!over_ && Left(deadline) > milliseconds(0)) {
    if (const std::optional<Packet> packet = Read(Left(deadline))) {
      Keep(*packet);
    }
  }
  return over_ ? disconnect_code_ : kNoAnswer;
}

void RawClient::Disconnect() {
  Write(RawPacket(0xe0, ""));
  over_ = true;
}

bool RawClient::Write(const std::string& bytes) {
  if (over_ || impl_ == nullptr) {
    return false;
  }
  size_t done = 0;
  while (done < bytes.size()) {
    const int count = impl_->Put(bytes.data() + done, bytes.size() - done);
    if (count <= 0) {
      over_ = true;
      return false;
    }
    done += static_cast<size_t>(count);
  }
  return true;
}

std::string RawClient::ReadRaw(milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (!over_ && Left(deadline) > milliseconds(0)) {
    over_ = !impl_->Fill(Left(deadline));
  }
  return std::exchange(impl_->buffer, {});
}

std::optional<RawClient::Packet> RawClient::Read(milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (!over_) {
    const std::string& buffer = impl_->buffer;
    size_t length = 0;
    size_t at = 1;
    bool whole = false;
    for (unsigned shift = 0; at < buffer.size() && shift < 28; shift += 7) {
      const uint8_t byte = At(buffer, at++);
      length |= static_cast<size_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) {
        whole = buffer.size() >= at + length;
        break;
      }
    }
    if (whole) {
      Packet packet{At(buffer, 0), buffer.substr(at, length)};
      impl_->buffer.erase(0, at + length);
      return packet;
    }
    if (Left(deadline) == milliseconds(0) && patience > milliseconds(0)) {
      return std::nullopt;
    }
    over_ = !impl_->Fill(Left(deadline));
    if (patience == milliseconds(0) && impl_->buffer.empty()) {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<RawClient::Packet> RawClient::Await(int type, milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  for (;;) {
    std::optional<Packet> packet = Read(Left(deadline));
    if (!packet || packet->header >> 4 == type) {
      return packet;
    }
    Keep(*packet);
    if (over_) {
      return std::nullopt;
    }
  }
}

void RawClient::Keep(const Packet& packet) {
  const int type = packet.header >> 4;
  if (type == 14) {
    disconnect_code_ = packet.body.empty() ? 0 : At(packet.body, 0);
    over_ = true;
    return;
  }
  if (type == 4) {
    answers_.push_back({static_cast<uint16_t>(ShortAt(packet.body, 0)), CodeOf(packet.body)});
  } else if (type == 6) {
    Write(RawPacket(0x70, packet.body.substr(0, 2)));
  } else if (type == 3) {
    KeepPublish(packet);
  }
}

void RawClient::KeepPublish(const Packet& packet) {
  Arrived arrived;
  Publish& publish = arrived.publish;
  publish.qos = packet.header >> 1 & 3;
  publish.retain = (packet.header & 1) != 0 ? Retain::kYes : Retain::kNo;
  const size_t length = ShortAt(packet.body, 0);
  publish.topic = packet.body.substr(2, length);
  size_t at = 2 + length;
  if (publish.qos > 0) {
    if (options_.acknowledge == Acknowledge::kYes) {
      Write(RawPacket(publish.qos == 1 ? 0x40 : 0x50, packet.body.substr(at, 2)));
    }
    at += 2;
  }
  if (options_.version == 5) {
    const size_t size = TakeLength(packet.body, at);
    arrived.properties = at <= packet.body.size() ? packet.body.substr(at, size) : "";
    at += size;
  }
  publish.payload = at <= packet.body.size() ? packet.body.substr(at) : "";
  arrived_.push_back(std::move(arrived));
}

}  // namespace latchkey::testing
