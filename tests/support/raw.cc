// The raw MQTT client: framing and TLS. Server certificates are not checked here: what is tested is
// the broker's judgement of clients.
#include "tests/support/raw.h"

#include <csignal>

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

// Skips a variable byte integer and what it counts.
size_t AfterProperties(const std::string& bytes, size_t at) {
  size_t length = 0;
  for (unsigned shift = 0;; shift += 7) {
    const uint8_t byte = At(bytes, at++);
    length |= static_cast<size_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0 || shift > 21) {
      return at + length;
    }
  }
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
  std::string packet(1, static_cast<char>(header));
  size_t length = body.size();
  do {
    const auto digit = static_cast<uint8_t>(length % 128);
    length /= 128;
    packet += static_cast<char>(static_cast<uint8_t>(length > 0 ? digit | 0x80 : digit));
  } while (length > 0);
  return packet + body;
}

struct RawClient::Impl {
  SSL_CTX* context = nullptr;
  SSL* tls = nullptr;
  int socket = -1;
  std::string buffer;

  ~Impl() {
    SSL_free(tls);
    SSL_CTX_free(context);
    if (socket >= 0) {
      ::close(socket);
    }
  }

  bool UseCertificate(const RawOptions& options) const {
    if (options.certificate_pem.empty()) {
      return true;
    }
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
    if (SSL_pending(tls) == 0) {
      pollfd wait{socket, POLLIN, 0};
      if (::poll(&wait, 1, static_cast<int>(patience.count())) <= 0) {
        return true;  // nothing yet
      }
    }
    char block[16384];
    const int count = SSL_read(tls, block, sizeof block);
    if (count > 0) {
      buffer.append(block, static_cast<size_t>(count));
      return true;
    }
    return SSL_get_error(tls, count) == SSL_ERROR_WANT_READ;
  }
};

RawClient::RawClient(RawOptions options) : options_(std::move(options)) {
  std::signal(SIGPIPE, SIG_IGN);
}

RawClient::~RawClient() = default;

bool RawClient::Open() {
  impl_ = std::make_unique<Impl>();
  impl_->socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(impl_->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const timeval patience{5, 0};
  ::setsockopt(impl_->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(impl_->socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(options_.port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(impl_->socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return false;
  }
  impl_->context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(impl_->context, SSL_VERIFY_NONE, nullptr);
  if (!impl_->UseCertificate(options_)) {
    return false;
  }
  impl_->tls = SSL_new(impl_->context);
  SSL_set_fd(impl_->tls, impl_->socket);
  return SSL_connect(impl_->tls) == 1;
}

int RawClient::Connect() {
  arrived_.clear();
  over_ = !Open();
  if (over_) {
    return kHungUp;
  }
  uint8_t flags = options_.clean ? 0x02 : 0x00;
  std::string payload = RawString(options_.client_id);
  if (options_.user_name) {
    flags |= 0x80;
    payload += RawString(*options_.user_name);
  }
  if (options_.password) {
    flags |= 0x40;
    payload += RawString(*options_.password);
  }
  std::string body = RawString("MQTT");
  body += static_cast<char>(options_.version);
  body += static_cast<char>(flags);
  body += Short(60);
  if (options_.version == 5) {
    const uint32_t expiry = options_.session_expiry_s;
    body += static_cast<char>(5);
    body += static_cast<char>(0x11);
    body += Short(expiry >> 16) + Short(expiry & 0xffff);
  }
  if (!Write(RawPacket(0x10, body + payload))) {
    return kHungUp;
  }
  const std::optional<Packet> answer = Await(2, kAnswer);
  if (!answer) {
    return over_ ? kHungUp : kNoAnswer;
  }
  return At(answer->body, 1);
}

int RawClient::Subscribe(const std::string& filter, int qos) {
  std::string body = Short(++packet_id_);
  if (options_.version == 5) {
    body += '\0';
  }
  body += RawString(filter) + static_cast<char>(qos);
  if (!Write(RawPacket(0x82, body))) {
    return kHungUp;
  }
  const std::optional<Packet> answer = Await(9, kAnswer);
  if (!answer || answer->body.empty()) {
    return over_ ? disconnect_code_ : kNoAnswer;
  }
  return At(answer->body, answer->body.size() - 1);
}

int RawClient::Send(const Publish& publish) {
  const bool acknowledged = publish.qos > 0;
  const auto header =
      static_cast<uint8_t>(0x30 | publish.qos << 1 | (publish.retain == Retain::kYes ? 1 : 0));
  std::string body = RawString(publish.topic);
  if (acknowledged) {
    body += Short(++packet_id_);
  }
  if (options_.version == 5) {
    body += '\0';
  }
  if (!Write(RawPacket(header, body + publish.payload))) {
    return kHungUp;
  }
  if (!acknowledged) {
    return 0;
  }
  const std::optional<Packet> answer = Await(4, kAnswer);
  if (!answer) {
    return over_ ? disconnect_code_ : kNoAnswer;
  }
  const int code = answer->body.size() > 2 ? At(answer->body, 2) : 0;
  constexpr int kNoSubscriber = 0x10;
  return code == kNoSubscriber ? 0 : code;
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
  Publish publish = std::move(arrived_.front());
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
  if (over_ || impl_ == nullptr || impl_->tls == nullptr) {
    return false;
  }
  size_t done = 0;
  while (done < bytes.size()) {
    const int count =
        SSL_write(impl_->tls, bytes.data() + done, static_cast<int>(bytes.size() - done));
    if (count <= 0) {
      over_ = true;
      return false;
    }
    done += static_cast<size_t>(count);
  }
  return true;
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
  if (type != 3) {
    return;
  }
  Publish publish;
  publish.qos = packet.header >> 1 & 3;
  publish.retain = (packet.header & 1) != 0 ? Retain::kYes : Retain::kNo;
  const size_t length = ShortAt(packet.body, 0);
  publish.topic = packet.body.substr(2, length);
  size_t at = 2 + length;
  if (publish.qos > 0) {
    Write(RawPacket(0x40, packet.body.substr(at, 2)));
    at += 2;
  }
  if (options_.version == 5) {
    at = AfterProperties(packet.body, at);
  }
  publish.payload = at <= packet.body.size() ? packet.body.substr(at) : "";
  arrived_.push_back(std::move(publish));
}

}  // namespace latchkey::testing
