// Packets of the load generator: their bytes as MQTT 5.0 has them, and streams that lie.
#include "tools/bench/wire.h"

#include <array>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/hex.h"

namespace latchkey::bench {

namespace {

Packet Whole(const std::string& bytes) {
  const CutOff first = FirstPacket(bytes);
  REQUIRE(first.cut == Cut::kPacket);
  CHECK(first.bytes == bytes.size());
  return first.packet;
}

}  // namespace

TEST_CASE("bench wire: a CONNECT has the bytes of the standard") {
  std::string out;
  AppendConnect({"c", "u", "p", 60, true, 7, 20}, out);
  CHECK(testing::ToHex(out) ==
        "101c"
        "00044d515454"
        "05"
        "c2"
        "003c"
        "08"
        "1100000007"
        "210014"
        "000163"
        "000175"
        "000170");
  CHECK(ReadClientId(Whole(out)) == "c");
}

TEST_CASE("bench wire: a PUBLISH is read back as it was built, at both QoS") {
  for (const int qos : {0, 1}) {
    CAPTURE(qos);
    const std::string payload(200, 'x');
    PublishWords words{"a/b", payload, qos, static_cast<uint16_t>(qos * 513), true, false, 0};
    std::string out;
    AppendPublish(words, out);
    const std::optional<PublishWords> read = ReadPublish(Whole(out));
    REQUIRE(read);
    CHECK(read->topic == "a/b");
    CHECK(read->payload == payload);
    CHECK(read->qos == qos);
    CHECK(read->packet_id == qos * 513);
    CHECK(read->retain);
    words.expiry_s = 9;
    std::string with_expiry;
    AppendPublish(words, with_expiry);
    CHECK(with_expiry.size() == out.size() + 5);
    CHECK(ReadPublish(Whole(with_expiry))->payload == payload);
  }
}

TEST_CASE("bench wire: a SUBSCRIBE is read back as it was built") {
  std::string out;
  AppendSubscribe({5, "lk/1/#", 1, RetainHandling::kDoNotSend}, out);
  CHECK(testing::ToHex(out) ==
        "820c"
        "0005"
        "00"
        "00066c6b2f312f23"
        "21");
  const std::optional<SubscribeWords> read = ReadSubscribe(Whole(out));
  REQUIRE(read);
  CHECK(read->packet_id == 5);
  CHECK(read->filter == "lk/1/#");
  CHECK(read->qos == 1);
  CHECK(read->retained == RetainHandling::kDoNotSend);
}

TEST_CASE("bench wire: answers give their packet id and reason code") {
  std::string out;
  AppendConnectAcknowledged(0x87, out);
  CHECK(ReadAnswer(Whole(out))->reason == 0x87);
  out.clear();
  AppendSubscribeAcknowledged(300, 1, out);
  CHECK(ReadAnswer(Whole(out))->packet_id == 300);
  CHECK(ReadAnswer(Whole(out))->reason == 1);
  out.clear();
  AppendPublishAcknowledged(301, out);
  CHECK(ReadAnswer(Whole(out))->packet_id == 301);
  CHECK(ReadAnswer(Whole(out))->reason == 0);
  const std::string refused("\x40\x03\x00\x09\x87", 5);
  CHECK(ReadAnswer(Whole(refused))->reason == 0x87);
}

TEST_CASE("bench wire: packets come out of a stream whole, wherever it was cut") {
  std::string stream;
  AppendPingResponse(stream);
  AppendPublish({"t", std::string(130, 'p'), 0, 0, false, false, 0}, stream);
  AppendDisconnect(stream);
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    std::string held;
    std::string types;
    for (const std::string& part : {stream.substr(0, cut), stream.substr(cut)}) {
      held += part;
      for (CutOff first = FirstPacket(held); first.cut == Cut::kPacket; first = FirstPacket(held)) {
        types += std::to_string(static_cast<int>(first.packet.type)) + " ";
        held.erase(0, first.bytes);
      }
    }
    CHECK(types == "13 3 14 ");
    CHECK(held.empty());
  }
}

TEST_CASE("bench wire: lengths that lie are refused and never followed") {
  CHECK(FirstPacket(std::string("\x30\xFF\xFF\xFF\xFF\x01", 6)).cut == Cut::kBroken);
  CHECK(FirstPacket(std::string("\x30\xFF\xFF\xFF\x7F", 5)).cut == Cut::kMore);
  CHECK(FirstPacket(std::string("\x30\xFF\xFF\xFF\x7F", 5), 1000).cut == Cut::kBroken);
  CHECK(FirstPacket(std::string("\x30\x7F", 2)).cut == Cut::kMore);

  struct Row {
    const char* what;
    Packet packet;
  };

  const std::array<Row, 6> publishes = {{
      {"nothing", {PacketType::kPublish, 0, ""}},
      {"a topic longer than the packet", {PacketType::kPublish, 0, std::string_view("\0\x09t", 3)}},
      {"no packet id", {PacketType::kPublish, 2, std::string_view("\0\x01t", 3)}},
      {"no properties", {PacketType::kPublish, 0, std::string_view("\0\x01t", 3)}},
      {"properties longer than the packet",
       {PacketType::kPublish, 0, std::string_view("\0\x01t\x05", 4)}},
      {"QoS 3", {PacketType::kPublish, 6, std::string_view("\0\x01t\0\x01\0", 6)}},
  }};
  for (const Row& row : publishes) {
    CAPTURE(row.what);
    CHECK(!ReadPublish(row.packet));
  }
  CHECK(
      !ReadPublish({PacketType::kPublish, 0, std::string_view("\0\x01t\xFF\xFF\xFF\xFF\x01", 8)}));
  CHECK(!ReadAnswer({PacketType::kPublishAcknowledged, 0, std::string_view("\0", 1)}));
  CHECK(!ReadAnswer({PacketType::kSubscribeAcknowledged, 0, std::string_view("\0\x01", 2)}));
  CHECK(!ReadAnswer({PacketType::kConnectAcknowledged, 0, std::string_view("\0", 1)}));
  CHECK(!ReadAnswer({PacketType::kPingResponse, 0, ""}));
  CHECK(!ReadSubscribe({PacketType::kSubscribe, 2,
                        std::string_view("\0\x01\0\0\x05"
                                         "ab",
                                         7)}));
  CHECK(!ReadClientId(
      {PacketType::kConnect, 0, std::string_view("\0\x04MQTT\x04\x02\0\0\0\0\0", 13)}));
}

}  // namespace latchkey::bench
