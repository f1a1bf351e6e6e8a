// An MQTT 5 and 3.1.1 client over raw TLS or TCP bytes, for tests: it can send what a decent
// library will not, and gives back every reason code as it was on the wire. One thread.
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

struct RawWill {
  std::string topic;
  std::string payload;
  int qos = 1;
  Retain retain = Retain::kNo;
};

enum class Transport : uint8_t { kTls, kTcp };

// What is done with a PUBLISH that arrives: acknowledged, or read and left without an answer, as a
// stuck client does.
enum class Acknowledge : uint8_t { kYes, kNo };

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
  std::string source_address{};   // 127.0.0.x to connect from; empty: as the system likes
  Transport transport = Transport::kTls;
  Acknowledge acknowledge = Acknowledge::kYes;
  std::optional<RawWill> will{};
  std::string connect_properties{};  // MQTT 5: encoded, beside the session expiry
  uint16_t keep_alive_s = 60;
  int receive_buffer_bytes = 0;  // of the socket, to be a slow reader with; 0: as the system likes
  std::string before_connect{};  // bytes that go out before CONNECT
  bool no_connect = false;       // Connect sends nothing more, waits for nothing and gives 0
};

// What a call gives when the broker said nothing and hung up, or TLS failed.
inline constexpr int kHungUp = -1;
inline constexpr int kNoAnswer = -2;

// One filter of a SUBSCRIBE. `flags` are MQTT 5's: 4 no local, 8 retain as published, 0x10 and 0x20
// retain handling.
struct RawFilter {
  std::string filter;
  int qos = 1;
  int flags = 0;
};

// One PUBACK, PUBREC or PUBCOMP.
struct RawAnswer {
  uint16_t id = 0;
  int code = 0;
};

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
  // SUBACK's codes, one for each filter; empty: no answer. `properties`: MQTT 5, encoded.
  std::vector<int> SubscribeAll(const std::vector<RawFilter>& filters,
                                const std::string& properties = "");
  // UNSUBACK came.
  bool Unsubscribe(const std::string& filter);
  // PUBACK's code (always 0 in 3.1.1) for QoS 1; 0 for QoS 0; for QoS 2 PUBREC's code when it
  // refuses, else that of PUBCOMP. 0x10, accepted but nobody has subscribed, counts as 0.
  // `properties`: MQTT 5, encoded.
  int Send(const Publish& publish, const std::string& properties = "");
  // The first half of QoS 2: PUBLISH, and PUBREC with its code. The broker keeps the message to
  // itself until Release.
  RawAnswer SendQos2Begin(const Publish& publish, const std::string& properties = "");
  // The second half: PUBREL, and PUBCOMP's code.
  int Release(uint16_t id);
  // PUBLISH with QoS 1 without waiting; its id, 0 when the connection is over. The answer comes
  // with TakeAnswers.
  uint16_t Post(const Publish& publish);
  // PUBACKs that came while something else was waited for.
  std::vector<RawAnswer> TakeAnswers();
  // Next PUBLISH that arrived; acknowledges it unless the options say no.
  std::optional<Publish> Next(std::chrono::milliseconds patience = std::chrono::milliseconds(5000));
  // Next PUBLISH on `topic`; others are dropped.
  std::optional<Publish> NextOn(const std::string& topic, std::chrono::milliseconds patience =
                                                              std::chrono::milliseconds(5000));

  // MQTT 5 properties, encoded, of the PUBLISH that Next gave last.
  const std::string& properties() const { return properties_; }

  // PINGRESP came: everything sent before has been handled.
  bool Ping();
  // The broker ended the connection: DISCONNECT's code, or kHungUp; kNoAnswer: it still stands.
  int Ended(std::chrono::milliseconds patience);
  void Disconnect();
  // Bytes as they are.
  bool Write(const std::string& bytes);
  // Bytes as they come, until the other side hangs up or `patience` is over.
  std::string ReadRaw(std::chrono::milliseconds patience);
  // To be polled for reading; -1 without a connection. TLS may hold bytes that poll does not see:
  // read with Next until there is nothing.
  int socket() const;

  bool over() const { return over_; }

 private:
  struct Packet {
    uint8_t header = 0;
    std::string body;
  };

  struct Impl;

  struct Arrived {
    Publish publish;
    std::string properties;
  };

  bool Open();
  std::string ConnectPacket() const;
  std::string PublishPacket(const Publish& publish, const std::string& properties);
  std::optional<Packet> Read(std::chrono::milliseconds patience);
  // The next packet of type `type`; publishes on the way are kept.
  std::optional<Packet> Await(int type, std::chrono::milliseconds patience);
  void Keep(const Packet& packet);
  void KeepPublish(const Packet& packet);

  // What to give when an awaited packet did not come.
  int Silence() const { return over_ ? disconnect_code_ : kNoAnswer; }

  RawOptions options_;
  std::unique_ptr<Impl> impl_;
  std::deque<Arrived> arrived_;
  std::vector<RawAnswer> answers_;
  std::string properties_;
  uint16_t packet_id_ = 0;
  int disconnect_code_ = kHungUp;
  bool over_ = false;
};

// One fixed header and body; the remaining length is right.
std::string RawPacket(uint8_t header, const std::string& body);
// A length-prefixed string of MQTT.
std::string RawString(const std::string& text);

// Encoded MQTT 5 properties, to be joined (section 2.2.2.2).
std::string RawUserProperty(const std::string& name, const std::string& value);
std::string RawTopicAlias(uint16_t alias);
std::string RawResponseTopic(const std::string& topic);
std::string RawCorrelationData(const std::string& bytes);
std::string RawReceiveMaximum(uint16_t maximum);
std::string RawTopicAliasMaximum(uint16_t maximum);
std::string RawMessageExpiry(uint32_t seconds);

}  // namespace latchkey::testing
