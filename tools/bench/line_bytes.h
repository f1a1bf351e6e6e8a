// What a conversation over TLS and TCP costs on the wire, counted without one: MQTT packets become
// TLS records, records become segments, segments are acknowledged. Pure.
//
// The rules are those of Linux and of TLS 1.2 with AES-GCM, which cars use, and each is a constant
// below, so that another line can be counted by changing it. The network is taken to lose nothing
// and to answer within a delayed acknowledgement's time. What is alike for whoever speaks (the
// TCP and TLS handshakes, CONNECT, SUBSCRIBE) is not counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace latchkey::bench {

inline constexpr size_t kSegmentHeaderBytes = 40;      // IPv4 and TCP without options
inline constexpr size_t kSegmentBytesMax = 1460;       // of what a segment carries
inline constexpr size_t kRecordOverheadBytes = 29;     // TLS 1.2: header 5, nonce 8, tag 16
inline constexpr size_t kRecordPlainBytesMax = 16384;  // of one record
inline constexpr size_t kPacketHeaderBytes = 2;        // MQTT, for up to 127 bytes after it
inline constexpr size_t kAcknowledgementBytes = 4;     // a PUBACK of success

// Bytes of a conversation, both ways, by what they are.
struct LineBytes {
  uint64_t payload = 0;   // of PUBLISH
  uint64_t topics = 0;    // with their lengths, and aliases in their place
  uint64_t packets = 0;   // all else of MQTT: headers, packet ids, properties, PUBACK, pings
  uint64_t records = 0;   // what TLS adds
  uint64_t segments = 0;  // TCP/IP headers, those of bare acknowledgements with them
  uint64_t messages = 0;  // PUBLISHes, a count
  uint64_t flushes = 0;   // moments in which something was said, a count
  uint64_t pings = 0;     // a count

  uint64_t sum() const { return payload + topics + packets + records + segments; }

  LineBytes& operator+=(const LineBytes& other);
  bool operator==(const LineBytes&) const = default;
};

// One PUBLISH by its sizes.
struct PublishSizes {
  size_t topic = 0;  // bytes of the topic as sent: 0 once an alias stands for it
  size_t payload = 0;
  size_t properties = 0;  // bytes of all properties, without their length
  int qos = 0;            // 0 or 1
  int mqtt_version = 5;   // 5 or 4 (3.1.1, without properties)
};

// Of the packet, without TLS and TCP.
size_t BytesOf(const PublishSizes& publish);

// How a client's writes become records and segments.
enum class Writer : uint8_t {
  // All that a moment has goes into one buffer: records of at most `record_plain_bytes_max`,
  // segments as full as they can be.
  kOneBuffer,
  // Each packet is a write of its own, as paho does it, on a socket that sends at once: a record
  // and
  // a segment each.
  kEachPacket,
};

// All PUBLISHes of one moment to a broker that answers each of QoS 1 in a segment of its own, as
// Mosquitto with set_tcp_nodelay does.
LineBytes Flush(const std::vector<PublishSizes>& publishes, Writer writer,
                size_t record_plain_bytes_max = kRecordPlainBytesMax);

// PINGREQ, PINGRESP and the acknowledgement of that.
LineBytes Ping();

}  // namespace latchkey::bench
