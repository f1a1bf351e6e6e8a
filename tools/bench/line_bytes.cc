// Counting.
#include "tools/bench/line_bytes.h"

#include <algorithm>

namespace latchkey::bench {
namespace {

constexpr size_t kLengthBytes = 2;    // of a text in MQTT
constexpr size_t kPacketIdBytes = 2;  // with QoS 1
constexpr size_t kDelayedEvery = 2;   // a receiver acknowledges each second segment at the latest

size_t Ceil(size_t what, size_t by) {
  return (what + by - 1) / by;
}

// Of MQTT's variable byte integer.
size_t BytesOfLength(size_t length) {
  size_t bytes = 1;
  while (length > 127) {
    length /= 128;
    ++bytes;
  }
  return bytes;
}

// Bare acknowledgements of `segments` that came together and that nothing is said to.
size_t BareAcknowledgements(size_t segments) {
  return Ceil(segments, kDelayedEvery);
}

}  // namespace

LineBytes& LineBytes::operator+=(const LineBytes& other) {
  payload += other.payload;
  topics += other.topics;
  packets += other.packets;
  records += other.records;
  segments += other.segments;
  messages += other.messages;
  flushes += other.flushes;
  pings += other.pings;
  return *this;
}

size_t BytesOf(const PublishSizes& publish) {
  const size_t properties =
      publish.mqtt_version == 5 ? BytesOfLength(publish.properties) + publish.properties : 0;
  const size_t after = kLengthBytes + publish.topic + (publish.qos > 0 ? kPacketIdBytes : 0) +
                       properties + publish.payload;
  return 1 + BytesOfLength(after) + after;
}

LineBytes Flush(const std::vector<PublishSizes>& publishes, Writer writer,
                size_t record_plain_bytes_max) {
  LineBytes out;
  if (publishes.empty()) {
    return out;
  }
  out.flushes = 1;
  out.messages = publishes.size();
  size_t plain = 0;
  size_t answers = 0;
  size_t records = 0;
  size_t segments = 0;
  for (const PublishSizes& publish : publishes) {
    const size_t bytes = BytesOf(publish);
    const size_t own_records = Ceil(bytes, record_plain_bytes_max);
    out.payload += publish.payload;
    out.topics += kLengthBytes + publish.topic + publish.properties;
    out.packets += bytes - publish.payload - kLengthBytes - publish.topic - publish.properties;
    answers += publish.qos > 0 ? 1 : 0;
    plain += bytes;
    records += own_records;
    segments += Ceil(bytes + own_records * kRecordOverheadBytes, kSegmentBytesMax);
  }
  if (writer == Writer::kOneBuffer) {
    records = Ceil(plain, record_plain_bytes_max);
    segments = Ceil(plain + records * kRecordOverheadBytes, kSegmentBytesMax);
  }
  // An answer acknowledges what it answers; what is not answered, and the answers, are acknowledged
  // bare.
  const size_t bare = BareAcknowledgements(answers == 0 ? segments : answers);
  out.packets += answers * kAcknowledgementBytes;
  out.records += (records + answers) * kRecordOverheadBytes;
  out.segments += (segments + answers + bare) * kSegmentHeaderBytes;
  return out;
}

LineBytes Ping() {
  LineBytes out;
  out.pings = 1;
  out.packets = 2 * kPacketHeaderBytes;
  out.records = 2 * kRecordOverheadBytes;
  out.segments = 3 * kSegmentHeaderBytes;
  return out;
}

}  // namespace latchkey::bench
