// MQTT 5.0, OASIS Standard of 7 March 2019; sections are named where a rule is not obvious.
#include "tools/bench/wire.h"

#include "proto/result.h"

namespace latchkey::bench {

namespace {

constexpr char kSessionExpiryProperty = 0x11;
constexpr char kReceiveMaximumProperty = 0x21;
constexpr char kMessageExpiryProperty = 0x02;

char Byte(size_t value) {
  return static_cast<char>(value & 0xFFU);
}

void Append16(size_t value, std::string& out) {
  out += Byte(value >> 8U);
  out += Byte(value);
}

void Append32(size_t value, std::string& out) {
  Append16(value >> 16U, out);
  Append16(value & 0xFFFFU, out);
}

void AppendText(std::string_view text, std::string& out) {
  LK_ASSERT(text.size() <= 65535);
  Append16(text.size(), out);
  out += text;
}

void AppendLength(size_t length, std::string& out) {
  LK_ASSERT(length <= kRemainingBytesMax);
  do {
    const size_t low = length & 0x7FU;
    length >>= 7U;
    out += Byte(length == 0 ? low : low | 0x80U);
  } while (length != 0);
}

void AppendHeader(PacketType type, size_t flags, size_t length, std::string& out) {
  out += Byte((static_cast<size_t>(type) << 4U) | flags);
  AppendLength(length, out);
}

uint8_t Value(char byte) {
  return static_cast<uint8_t>(byte);
}

// Reads on from the front; once something was missing, all that follows is missing, too.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  uint8_t Take8() {
    const std::string_view bytes = Take(1);
    return bytes.empty() ? uint8_t{0} : Value(bytes[0]);
  }

  uint16_t Take16() {
    const std::string_view bytes = Take(2);
    return bytes.empty() ? uint16_t{0}
                         : static_cast<uint16_t>((Value(bytes[0]) << 8U) | Value(bytes[1]));
  }

  std::string_view TakeText() { return Take(Take16()); }

  // Over the properties, which nobody here asks for.
  void SkipProperties() {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) {
      const uint8_t byte = Take8();
      length |= static_cast<size_t>(byte & 0x7FU) << (7 * i);
      if ((byte & 0x80U) == 0) {
        Take(length);
        return;
      }
    }
    whole_ = false;
  }

  std::string_view Take(size_t bytes) {
    if (!whole_ || bytes > rest_.size()) {
      whole_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  bool whole() const { return whole_; }

  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool whole_ = true;
};

}  // namespace

void AppendConnect(const ConnectWords& words, std::string& out) {
  constexpr size_t kPropertyBytes = 5 + 3;
  size_t length = 6 + 1 + 1 + 2 + 1 + kPropertyBytes + 2 + words.client_id.size();
  size_t flags = words.clean_start ? 0x02U : 0U;
  if (words.user_name) {
    flags |= 0x80U;
    length += 2 + words.user_name->size();
  }
  if (words.password) {
    flags |= 0x40U;
    length += 2 + words.password->size();
  }
  AppendHeader(PacketType::kConnect, 0, length, out);
  AppendText("MQTT", out);
  out += '\x05';
  out += Byte(flags);
  Append16(words.keep_alive_s, out);
  AppendLength(kPropertyBytes, out);
  out += kSessionExpiryProperty;
  Append32(words.session_expiry_s, out);
  out += kReceiveMaximumProperty;
  Append16(words.receive_maximum, out);
  AppendText(words.client_id, out);
  if (words.user_name) {
    AppendText(*words.user_name, out);
  }
  if (words.password) {
    AppendText(*words.password, out);
  }
}

void AppendConnectAcknowledged(uint8_t reason, std::string& out) {
  AppendHeader(PacketType::kConnectAcknowledged, 0, 3, out);
  out += '\0';
  out += Byte(reason);
  out += '\0';
}

void AppendSubscribe(const SubscribeWords& words, std::string& out) {
  AppendHeader(PacketType::kSubscribe, 0x02U, 2 + 1 + 2 + words.filter.size() + 1, out);
  Append16(words.packet_id, out);
  out += '\0';
  AppendText(words.filter, out);
  out += Byte(static_cast<size_t>(words.qos) | (static_cast<size_t>(words.retained) << 4U));
}

void AppendSubscribeAcknowledged(uint16_t packet_id, uint8_t reason, std::string& out) {
  AppendHeader(PacketType::kSubscribeAcknowledged, 0, 4, out);
  Append16(packet_id, out);
  out += '\0';
  out += Byte(reason);
}

void AppendPublish(const PublishWords& words, std::string& out) {
  const bool acknowledged = words.qos > 0;
  LK_ASSERT(words.qos <= 1);
  const size_t property_bytes = words.expiry_s != 0 ? 5 : 0;
  const size_t flags =
      (words.duplicate ? 0x08U : 0U) | (acknowledged ? 0x02U : 0U) | (words.retain ? 0x01U : 0U);
  AppendHeader(
      PacketType::kPublish, flags,
      2 + words.topic.size() + (acknowledged ? 2 : 0) + 1 + property_bytes + words.payload.size(),
      out);
  AppendText(words.topic, out);
  if (acknowledged) {
    Append16(words.packet_id, out);
  }
  out += Byte(property_bytes);
  if (words.expiry_s != 0) {
    out += kMessageExpiryProperty;
    Append32(words.expiry_s, out);
  }
  out += words.payload;
}

void AppendPublishAcknowledged(uint16_t packet_id, std::string& out) {
  AppendHeader(PacketType::kPublishAcknowledged, 0, 2, out);
  Append16(packet_id, out);
}

void AppendPingRequest(std::string& out) {
  AppendHeader(PacketType::kPingRequest, 0, 0, out);
}

void AppendPingResponse(std::string& out) {
  AppendHeader(PacketType::kPingResponse, 0, 0, out);
}

void AppendDisconnect(std::string& out) {
  AppendHeader(PacketType::kDisconnect, 0, 0, out);
}

CutOff FirstPacket(std::string_view stream, size_t body_bytes_max) {
  size_t length = 0;
  for (size_t i = 1; i <= 4; ++i) {
    if (i >= stream.size()) {
      return {};
    }
    const uint8_t byte = Value(stream[i]);
    length |= static_cast<size_t>(byte & 0x7FU) << (7 * (i - 1));
    if ((byte & 0x80U) != 0) {
      continue;
    }
    if (length > body_bytes_max) {
      return {Cut::kBroken, {}, 0};
    }
    if (stream.size() - i - 1 < length) {
      return {};
    }
    const uint8_t first = Value(stream[0]);
    return {Cut::kPacket,
            {static_cast<PacketType>(first >> 4U), static_cast<uint8_t>(first & 0x0FU),
             stream.substr(i + 1, length)},
            i + 1 + length};
  }
  return {Cut::kBroken, {}, 0};
}

std::optional<PublishWords> ReadPublish(const Packet& packet) {
  PublishWords words;
  words.qos = (packet.flags >> 1U) & 0x03;
  words.retain = (packet.flags & 0x01U) != 0;
  words.duplicate = (packet.flags & 0x08U) != 0;
  Reader reader(packet.body);
  words.topic = reader.TakeText();
  if (words.qos > 0) {
    words.packet_id = reader.Take16();
  }
  reader.SkipProperties();
  words.payload = reader.rest();
  if (packet.type != PacketType::kPublish || !reader.whole() || words.qos > 2) {
    return std::nullopt;
  }
  return words;
}

std::optional<Answer> ReadAnswer(const Packet& packet) {
  Reader reader(packet.body);
  Answer answer;
  if (packet.type == PacketType::kConnectAcknowledged) {
    reader.Take8();
    answer.reason = reader.Take8();
  } else if (packet.type == PacketType::kPublishAcknowledged) {
    answer.packet_id = reader.Take16();
    answer.reason = reader.rest().empty() ? uint8_t{0} : reader.Take8();
  } else if (packet.type == PacketType::kSubscribeAcknowledged) {
    answer.packet_id = reader.Take16();
    reader.SkipProperties();
    answer.reason = reader.Take8();
  } else {
    return std::nullopt;
  }
  return reader.whole() ? std::optional(answer) : std::nullopt;
}

std::optional<std::string_view> ReadClientId(const Packet& packet) {
  Reader reader(packet.body);
  const std::string_view name = reader.TakeText();
  const uint8_t version = reader.Take8();
  reader.Take8();
  reader.Take16();
  reader.SkipProperties();
  const std::string_view client_id = reader.TakeText();
  const bool ours = packet.type == PacketType::kConnect && name == "MQTT" && version == 5;
  return reader.whole() && ours ? std::optional(client_id) : std::nullopt;
}

std::optional<SubscribeWords> ReadSubscribe(const Packet& packet) {
  Reader reader(packet.body);
  SubscribeWords words;
  words.packet_id = reader.Take16();
  reader.SkipProperties();
  words.filter = reader.TakeText();
  const uint8_t options = reader.Take8();
  words.qos = options & 0x03;
  const int retained = (options >> 4U) & 0x03;
  words.retained = static_cast<RetainHandling>(retained);
  const bool ours = packet.type == PacketType::kSubscribe && words.qos <= 1 && retained <= 2;
  return reader.whole() && ours ? std::optional(words) : std::nullopt;
}

}  // namespace latchkey::bench
