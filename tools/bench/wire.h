// The packets of MQTT 5 that a load generator needs, as bytes: built by appending to a buffer, so
// that many go out in one write, and read where they lie, so that nothing is copied.
//
// Not a library for clients: no QoS 2, no wills, no topic aliases, and of the properties only those
// that the benchmark uses. Paho, which the tools use elsewhere, costs more per message than the
// broker that is measured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace latchkey::bench {

// MQTT 5.0 section 2.1.2.
enum class PacketType : uint8_t {
  kConnect = 1,
  kConnectAcknowledged = 2,
  kPublish = 3,
  kPublishAcknowledged = 4,
  kSubscribe = 8,
  kSubscribeAcknowledged = 9,
  kPingRequest = 12,
  kPingResponse = 13,
  kDisconnect = 14,
};

// The largest remaining length that four bytes can say (section 1.5.5).
inline constexpr size_t kRemainingBytesMax = 268'435'455;

struct ConnectWords {
  std::string_view client_id;
  std::optional<std::string_view> user_name;
  std::optional<std::string_view> password;
  uint16_t keep_alive_s = 60;
  bool clean_start = true;
  uint32_t session_expiry_s = 0;
  uint16_t receive_maximum = 65535;  // of QoS 1 messages to this client, 1 to 65535
};

// How a subscription treats what is retained (section 3.8.3.1).
enum class RetainHandling : uint8_t { kSend = 0, kSendIfNew = 1, kDoNotSend = 2 };

struct SubscribeWords {
  uint16_t packet_id = 0;  // not 0
  std::string_view filter;
  int qos = 0;  // 0 or 1
  RetainHandling retained = RetainHandling::kSend;
};

// A PUBLISH, to send or as it came. Views.
struct PublishWords {
  std::string_view topic;
  std::string_view payload;
  int qos = 0;             // 0 or 1; 2 is never built
  uint16_t packet_id = 0;  // not 0 with QoS 1; 0 with QoS 0
  bool retain = false;
  bool duplicate = false;
  uint32_t expiry_s = 0;  // message expiry interval; 0: none
};

// Each appends one whole packet. Texts are at most 65,535 bytes (LK_ASSERT), and a packet at most
// kRemainingBytesMax.
void AppendConnect(const ConnectWords& words, std::string& out);
void AppendConnectAcknowledged(uint8_t reason, std::string& out);
void AppendSubscribe(const SubscribeWords& words, std::string& out);
void AppendSubscribeAcknowledged(uint16_t packet_id, uint8_t reason, std::string& out);
void AppendPublish(const PublishWords& words, std::string& out);
void AppendPublishAcknowledged(uint16_t packet_id, std::string& out);
void AppendPingRequest(std::string& out);
void AppendPingResponse(std::string& out);
void AppendDisconnect(std::string& out);

// One packet as it lies in the bytes that were received. A view.
struct Packet {
  PacketType type = PacketType::kDisconnect;
  uint8_t flags = 0;  // the low four bits of the first byte
  std::string_view body;
};

enum class Cut : uint8_t {
  kPacket,  // one is there
  kMore,    // its end has not come yet
  kBroken,  // a length of five bytes, or above the bound: the stream means nothing from here on
};

struct CutOff {
  Cut cut = Cut::kMore;
  Packet packet;     // with kPacket
  size_t bytes = 0;  // that it took, its header included
};

// The first packet of `stream`. `body_bytes_max`: a longer one is kBroken, before any of it is
// waited for.
CutOff FirstPacket(std::string_view stream, size_t body_bytes_max = kRemainingBytesMax);

// Of bodies; nullopt: cut short, a length that leads out of it, or QoS 3.
std::optional<PublishWords> ReadPublish(const Packet& packet);

// PUBACK, SUBACK, CONNACK: its packet id (0 in a CONNACK) and its (first) reason code. A PUBACK
// without a reason code is 0, success (section 3.4.2.1).
struct Answer {
  uint16_t packet_id = 0;
  uint8_t reason = 0;
};

std::optional<Answer> ReadAnswer(const Packet& packet);

// What a server reads of a CONNECT: who it is.
std::optional<std::string_view> ReadClientId(const Packet& packet);

// What a server reads of a SUBSCRIBE: its first filter.
std::optional<SubscribeWords> ReadSubscribe(const Packet& packet);

}  // namespace latchkey::bench
