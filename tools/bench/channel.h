// One connection of the load generator or of its sink that never waits: TCP, or TLS over it. The
// only door to OpenSSL's TLS, and it counts the bytes that TLS made of the words.
//
// Sessions are not resumed unless asked for: cars come back with a full handshake, since Mosquitto
// 2.0 makes its ticket keys anew when it starts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "proto/result.h"

struct ssl_st;
struct ssl_ctx_st;
struct x509_st;
struct evp_pkey_st;

namespace latchkey::bench {

// Who a client is in TLS: a certificate and its private key, shared by its connections.
class Identity {
 public:
  // Error REASON_BAD_CERTIFICATE: either is not PEM.
  static Result<std::shared_ptr<const Identity>> FromPem(const std::string& certificate_pem,
                                                         const std::string& private_key_pem);
  ~Identity();
  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;

  x509_st* certificate() const { return certificate_; }

  evp_pkey_st* private_key() const { return private_key_; }

 private:
  Identity() = default;
  x509_st* certificate_ = nullptr;
  evp_pkey_st* private_key_ = nullptr;
};

enum class TlsVersion : uint8_t { kAny, kTls12, kTls13 };  // kAny: 1.2 or 1.3, as both ends like

// What all connections of one side have in common.
class Tls {
 public:
  // A client's side: the server's certificate must come from this CA (PEM) and name the host.
  // Error REASON_BAD_CERTIFICATE.
  static Result<std::shared_ptr<const Tls>> Client(const std::string& ca_pem,
                                                   TlsVersion version = TlsVersion::kAny);
  // A server's side. `client_ca_pem` empty: clients need no certificate. Error
  // REASON_BAD_CERTIFICATE.
  static Result<std::shared_ptr<const Tls>> Server(const std::string& certificate_pem,
                                                   const std::string& private_key_pem,
                                                   const std::string& client_ca_pem);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  ssl_ctx_st* context() const { return context_; }

 private:
  Tls() = default;
  ssl_ctx_st* context_ = nullptr;
};

// Where a server listens.
struct Endpoint {
  std::string host;  // an IPv4 address in digits
  int port = 0;
  std::shared_ptr<const Tls> tls;  // null: plain TCP
};

enum class Phase : uint8_t {
  kConnecting,   // TCP
  kHandshaking,  // TLS
  kOpen,
  kClosed,
};

// What a read or write came to. `bytes` 0 and not closed: nothing more for now.
struct Moved {
  size_t bytes = 0;
  bool closed = false;
};

// Not thread-safe. Closing says no goodbye in TLS.
class Channel {
 public:
  // Begins to connect. `identity` may be null. Errors REASON_FULL (no socket, no port left),
  // REASON_MALFORMED (host is no IPv4 address).
  static Result<std::unique_ptr<Channel>> Connect(const Endpoint& endpoint,
                                                  std::shared_ptr<const Identity> identity);
  // A connection that was accepted: takes `socket` over. `tls` null: plain TCP.
  static std::unique_ptr<Channel> Accepted(int socket, const std::shared_ptr<const Tls>& tls);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Goes on connecting as far as it can; to be called when the socket is ready.
  Phase Step();

  // Only when open. Reads until `into` is full or nothing is left; what TLS holds beyond is not
  // seen by epoll, so call until 0.
  Moved Read(std::span<char> into);
  // As much as the socket takes.
  Moved Write(std::string_view bytes);

  Phase phase() const { return phase_; }

  int socket() const { return socket_; }

  // Waits for the socket to be writable, not readable.
  bool wants_write() const { return wants_write_; }

  // On the wire above TCP: with TLS its records and handshake, too.
  uint64_t bytes_in() const;
  uint64_t bytes_out() const;

  // "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty without TLS.
  std::string Cipher() const;

  // Why it is closed, for people; empty: the other side hung up.
  const std::string& why() const { return why_; }

 private:
  explicit Channel(int socket) : socket_(socket) {}

  Phase Close(std::string why);
  Phase Handshake();
  // What an SSL_ call that gave `result` waits for. False: the connection is over.
  bool Waits(int result);

  int socket_ = -1;
  ssl_st* ssl_ = nullptr;
  std::shared_ptr<const Tls> tls_;
  std::shared_ptr<const Identity> identity_;
  Phase phase_ = Phase::kConnecting;
  bool wants_write_ = true;
  uint64_t plain_in_ = 0;
  uint64_t plain_out_ = 0;
  std::string why_;
};

}  // namespace latchkey::bench
