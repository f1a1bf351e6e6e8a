// An MQTT 5 and 3.1.1 client over raw TLS bytes, for tests: it can send what a decent library will
// not, and gives back every reason code as it was on the wire. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/message.h"

namespace latchkey::testing {

struct RawOptions {
  int port = 0;
  int version = 5;  // 5, or 4 for 3.1.1
  std::string client_id;
  std::optional<std::string> user_name;
  std::optional<std::string> password;
  std::string certificate_pem;  // empty: none
  std::string private_key_pem;
  bool clean = true;
  uint32_t session_expiry_s = 0;  // MQTT 5
};

// What a call gives when the broker said nothing and hung up, or TLS failed.
inline constexpr int kHungUp = -1;
inline constexpr int kNoAnswer = -2;

class RawClient {
 public:
  explicit RawClient(RawOptions options);
  ~RawClient();  // hangs up without DISCONNECT
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // CONNACK's code: 0 accepted, an MQTT 5 reason code, or a 3.1.1 return code.
  int Connect();
  // SUBACK's code.
  int Subscribe(const std::string& filter, int qos = 1);
  // PUBACK's code (always 0 in 3.1.1) for QoS 1; 0 for QoS 0. 0x10, accepted but nobody has
  // subscribed, counts as 0.
  int Send(const Publish& publish);
  // Next PUBLISH that arrived; acknowledges it.
  std::optional<Publish> Next(std::chrono::milliseconds patience = std::chrono::milliseconds(5000));
  // Next PUBLISH on `topic`; others are dropped.
  std::optional<Publish> NextOn(const std::string& topic, std::chrono::milliseconds patience =
                                                              std::chrono::milliseconds(5000));
  // PINGRESP came: everything sent before has been handled.
  bool Ping();
  // The broker ended the connection: DISCONNECT's code, or kHungUp; kNoAnswer: it still stands.
  int Ended(std::chrono::milliseconds patience);
  void Disconnect();
  // Bytes as they are.
  bool Write(const std::string& bytes);

 private:
  struct Packet {
    uint8_t header = 0;
    std::string body;
  };

  struct Impl;

  bool Open();
  std::optional<Packet> Read(std::chrono::milliseconds patience);
  // The next packet of type `type`; publishes on the way are kept.
  std::optional<Packet> Await(int type, std::chrono::milliseconds patience);
  void Keep(const Packet& packet);

  RawOptions options_;
  std::unique_ptr<Impl> impl_;
  std::deque<Publish> arrived_;
  uint16_t packet_id_ = 0;
  int disconnect_code_ = kHungUp;
  bool over_ = false;
};

// One fixed header and body; the remaining length is right.
std::string RawPacket(uint8_t header, const std::string& body);
// A length-prefixed string of MQTT.
std::string RawString(const std::string& text);

}  // namespace latchkey::testing
