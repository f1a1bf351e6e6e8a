// Sockets and OpenSSL 3. TLS reads ahead, so that one system call takes in many records.
#include "tools/bench/channel.h"

#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

namespace latchkey::bench {

namespace {

constexpr uint64_t kBothWays = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;

struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};

using BioPtr = std::unique_ptr<BIO, BioDeleter>;

BioPtr Reading(const std::string& pem) {
  return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

std::string LastTlsError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) {
    return "";
  }
  std::string text(256, '\0');
  ERR_error_string_n(code, text.data(), text.size());
  return text.substr(0, text.find('\0'));
}

tl::unexpected<Error> BadCertificate(const std::string& what) {
  return Fail(v1::REASON_BAD_CERTIFICATE, what + ": " + LastTlsError());
}

// Every certificate of `pem` is believed.
bool TrustAll(SSL_CTX* context, const std::string& pem) {
  const BioPtr bio = Reading(pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  int certificates = 0;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    certificates += X509_STORE_add_cert(store, certificate);
    X509_free(certificate);
  }
  ERR_clear_error();  // the end of the text is reported as an error
  return certificates > 0;
}

void SetUp(SSL_CTX* context) {
  // OpenSSL writes to sockets without MSG_NOSIGNAL: who hangs up must not end this process.
  ::signal(SIGPIPE, SIG_IGN);
  SSL_CTX_set_mode(context, static_cast<long>(kBothWays));
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // A peer that hangs up without a goodbye is one that hung up.
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
}

}  // namespace

Identity::~Identity() {
  X509_free(certificate_);
  EVP_PKEY_free(private_key_);
}

Result<std::shared_ptr<const Identity>> Identity::FromPem(const std::string& certificate_pem,
                                                          const std::string& private_key_pem) {
  std::shared_ptr<Identity> identity(new Identity());
  identity->certificate_ =
      PEM_read_bio_X509(Reading(certificate_pem).get(), nullptr, nullptr, nullptr);
  identity->private_key_ =
      PEM_read_bio_PrivateKey(Reading(private_key_pem).get(), nullptr, nullptr, nullptr);
  if (identity->certificate_ == nullptr || identity->private_key_ == nullptr) {
    return BadCertificate("a client's certificate or key is not PEM");
  }
  return std::shared_ptr<const Identity>(std::move(identity));
}

Tls::~Tls() {
  SSL_CTX_free(context_);
}

Result<std::shared_ptr<const Tls>> Tls::Client(const std::string& ca_pem, TlsVersion version) {
  std::shared_ptr<Tls> tls(new Tls());
  tls->context_ = SSL_CTX_new(TLS_client_method());
  if (tls->context_ == nullptr || !TrustAll(tls->context_, ca_pem)) {
    return BadCertificate("the CA of a server is not PEM");
  }
  SetUp(tls->context_);
  SSL_CTX_set_verify(tls->context_, SSL_VERIFY_PEER, nullptr);
  if (version == TlsVersion::kTls12) {
    SSL_CTX_set_max_proto_version(tls->context_, TLS1_2_VERSION);
  } else if (version == TlsVersion::kTls13) {
    SSL_CTX_set_min_proto_version(tls->context_, TLS1_3_VERSION);
  }
  return std::shared_ptr<const Tls>(std::move(tls));
}

Result<std::shared_ptr<const Tls>> Tls::Server(const std::string& certificate_pem,
                                               const std::string& private_key_pem,
                                               const std::string& client_ca_pem) {
  std::shared_ptr<Tls> tls(new Tls());
  tls->context_ = SSL_CTX_new(TLS_server_method());
  LK_TRY(const std::shared_ptr<const Identity> identity,
         Identity::FromPem(certificate_pem, private_key_pem));
  if (tls->context_ == nullptr ||
      SSL_CTX_use_certificate(tls->context_, identity->certificate()) != 1 ||
      SSL_CTX_use_PrivateKey(tls->context_, identity->private_key()) != 1) {
    return BadCertificate("a server's certificate and key do not fit");
  }
  SetUp(tls->context_);
  if (!client_ca_pem.empty()) {
    if (!TrustAll(tls->context_, client_ca_pem)) {
      return BadCertificate("the CA of clients is not PEM");
    }
    SSL_CTX_set_verify(tls->context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return std::shared_ptr<const Tls>(std::move(tls));
}

Channel::~Channel() {
  SSL_free(ssl_);
  if (socket_ >= 0) {
    ::close(socket_);
  }
}

Result<std::unique_ptr<Channel>> Channel::Connect(const Endpoint& endpoint,
                                                  std::shared_ptr<const Identity> identity) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(endpoint.port));
  if (::inet_pton(AF_INET, endpoint.host.c_str(), &address.sin_addr) != 1) {
    return Fail(v1::REASON_MALFORMED, "host " + endpoint.host + " is not an IPv4 address");
  }
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket < 0) {
    return Fail(v1::REASON_FULL, "no socket for one more client: " +
                                     std::generic_category().message(errno) + "; see ulimit -n");
  }
  std::unique_ptr<Channel> channel(new Channel(socket));
  const int yes = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno != EINPROGRESS) {
    return Fail(v1::REASON_FULL, "cannot connect to port " + std::to_string(endpoint.port) + ": " +
                                     std::generic_category().message(errno));
  }
  if (endpoint.tls) {
    channel->tls_ = endpoint.tls;
    channel->identity_ = std::move(identity);
    channel->ssl_ = SSL_new(endpoint.tls->context());
    if (channel->ssl_ == nullptr || SSL_set_fd(channel->ssl_, socket) != 1) {
      return Fail(v1::REASON_FULL, "no memory for one more TLS connection");
    }
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(channel->ssl_), endpoint.host.c_str());
    if (channel->identity_ &&
        (SSL_use_certificate(channel->ssl_, channel->identity_->certificate()) != 1 ||
         SSL_use_PrivateKey(channel->ssl_, channel->identity_->private_key()) != 1)) {
      return BadCertificate("a client's certificate and key do not fit");
    }
    SSL_set_connect_state(channel->ssl_);
  }
  return channel;
}

std::unique_ptr<Channel> Channel::Accepted(int socket, const std::shared_ptr<const Tls>& tls) {
  std::unique_ptr<Channel> channel(new Channel(socket));
  const int yes = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  ::fcntl(socket, F_SETFL, O_NONBLOCK);
  channel->phase_ = Phase::kOpen;
  channel->wants_write_ = false;
  if (tls) {
    channel->tls_ = tls;
    channel->ssl_ = SSL_new(tls->context());
    SSL_set_fd(channel->ssl_, socket);
    SSL_set_accept_state(channel->ssl_);
    channel->phase_ = Phase::kHandshaking;
  }
  return channel;
}

Phase Channel::Close(std::string why) {
  phase_ = Phase::kClosed;
  why_ = std::move(why);
  return phase_;
}

Phase Channel::Step() {
  if (phase_ == Phase::kConnecting) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      return Close(std::generic_category().message(error));
    }
    phase_ = ssl_ == nullptr ? Phase::kOpen : Phase::kHandshaking;
    wants_write_ = false;
  }
  return phase_ == Phase::kHandshaking ? Handshake() : phase_;
}

Phase Channel::Handshake() {
  ERR_clear_error();
  wants_write_ = false;
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) {
    phase_ = Phase::kOpen;
    wants_write_ = false;
  } else {
    Waits(result);
  }
  return phase_;
}

bool Channel::Waits(int result) {
  const int error = SSL_get_error(ssl_, result);
  // A read that finds nothing says nothing of the bytes that a write could not get rid of.
  wants_write_ = wants_write_ || error == SSL_ERROR_WANT_WRITE;
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    return true;
  }
  Close(LastTlsError());
  return false;
}

Moved Channel::Read(std::span<char> into) {
  Moved moved;
  while (moved.bytes < into.size()) {
    const std::span<char> rest = into.subspan(moved.bytes);
    if (ssl_ != nullptr) {
      const int got = SSL_read(ssl_, rest.data(), static_cast<int>(rest.size()));
      if (got <= 0) {
        moved.closed = !Waits(got);
        return moved;
      }
      moved.bytes += static_cast<size_t>(got);
      continue;
    }
    const ssize_t got = ::recv(socket_, rest.data(), rest.size(), 0);
    if (got <= 0) {
      moved.closed = got == 0 || (errno != EAGAIN && errno != EINTR);
      if (moved.closed) {
        Close(got == 0 ? "" : std::generic_category().message(errno));
      }
      return moved;
    }
    plain_in_ += static_cast<uint64_t>(got);
    moved.bytes += static_cast<size_t>(got);
    if (static_cast<size_t>(got) < rest.size()) {
      return moved;  // the socket is empty: asking again would say so
    }
  }
  return moved;
}

Moved Channel::Write(std::string_view bytes) {
  Moved moved;
  wants_write_ = false;
  while (moved.bytes < bytes.size()) {
    const std::string_view rest = bytes.substr(moved.bytes);
    if (ssl_ != nullptr) {
      const int sent = SSL_write(ssl_, rest.data(), static_cast<int>(rest.size()));
      if (sent <= 0) {
        moved.closed = !Waits(sent);
        return moved;
      }
      moved.bytes += static_cast<size_t>(sent);
      continue;
    }
    const ssize_t sent = ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      wants_write_ = errno == EAGAIN || errno == EINTR;
      moved.closed = !wants_write_;
      if (moved.closed) {
        Close(std::generic_category().message(errno));
      }
      return moved;
    }
    plain_out_ += static_cast<uint64_t>(sent);
    moved.bytes += static_cast<size_t>(sent);
  }
  return moved;
}

uint64_t Channel::bytes_in() const {
  return ssl_ == nullptr ? plain_in_ : BIO_number_read(SSL_get_rbio(ssl_));
}

uint64_t Channel::bytes_out() const {
  return ssl_ == nullptr ? plain_out_ : BIO_number_written(SSL_get_wbio(ssl_));
}

std::string Channel::Cipher() const {
  if (ssl_ == nullptr || phase_ != Phase::kOpen) {
    return "";
  }
  return std::string(SSL_get_version(ssl_)) + " " + SSL_get_cipher_name(ssl_);
}

}  // namespace latchkey::bench
