// What a conversation costs on the wire, a module's text topics, and a day of both.
#include "tools/bench/car_day.h"

#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "tools/bench/line_bytes.h"
#include "tools/bench/text_topics.h"
#include "tools/fleet/file.h"

namespace latchkey::bench {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

const fleet::Drive& RecordedDrive() {
  static const fleet::Drive drive =
      fleet::LoadDrive(std::filesystem::path(LK_SOURCE_DIR) / "tools" / "fleet" / "drives" /
                       "T3_04_22_2021_1.csv.gz")
          .value();
  return drive;
}

DayPlan Plan() {
  DayPlan plan;
  plan.drive = &RecordedDrive();
  return plan;
}

}  // namespace

TEST_CASE("line bytes: a PUBLISH is as long as MQTT says") {
  // 30 07 0001 61 ... : header 2, topic 2 + 1, value 2.
  CHECK(BytesOf({1, 2, 0, 0, 4}) == 7);
  CHECK(BytesOf({1, 2, 0, 1, 4}) == 9);
  // MQTT 5: one byte that says there is no property, or three of a topic alias after it.
  CHECK(BytesOf({1, 2, 0, 1, 5}) == 10);
  CHECK(BytesOf({0, 2, 3, 1, 5}) == 12);
  // From 128 bytes after it on, the length takes two.
  CHECK(BytesOf({25, 100, 0, 0, 4}) == 129);
  CHECK(BytesOf({26, 100, 0, 0, 4}) == 131);
}

TEST_CASE("line bytes: what is written at one time shares a record, a segment and its answer") {
  const LineBytes none = Flush({}, Writer::kOneBuffer);
  CHECK(none == LineBytes{});
  const PublishSizes one{25, 5, 0, 0, 4};
  const LineBytes single = Flush({one}, Writer::kOneBuffer);
  CHECK(single.sum() == 34 + 29 + 40 + 40);  // packet, record, segment, its acknowledgement
  CHECK(Flush({one, one}, Writer::kOneBuffer).sum() == single.sum() + 34);
  // 50 packets are 1,700 bytes: two records of the module, two segments, acknowledged once.
  const LineBytes many =
      Flush(std::vector<PublishSizes>(50, one), Writer::kOneBuffer, kRecordPlainBytesMax);
  CHECK(many.sum() == 50 * 34 + 29 + 3 * 40);
  CHECK(Flush(std::vector<PublishSizes>(50, one), Writer::kOneBuffer, 1460).sum() ==
        many.sum() + 29);
}

TEST_CASE("line bytes: packets written one by one are records of their own and answered so") {
  const PublishSizes one{25, 5, 0, 1, 5};
  const size_t answer = 4 + 29 + 40;
  // Packet, record, segment; its answer, which is acknowledged.
  CHECK(Flush({one}, Writer::kEachPacket).sum() == 37 + 29 + 40 + answer + 40);
  // Two answers that come together are acknowledged by one segment.
  CHECK(Flush({one, one}, Writer::kEachPacket).sum() == 2 * (37 + 29 + 40 + answer) + 40);
  CHECK(Flush({one, one, one}, Writer::kEachPacket).sum() == 3 * (37 + 29 + 40 + answer) + 80);
  CHECK(Ping().sum() == 2 * (2 + 29) + 3 * 40);
}

TEST_CASE("text topics: names and values are a module's") {
  CHECK(TextTopic("energy.soc") == "metric/v/b/soc");
  CHECK(TextTopic("service.tyre_rear_left") == "metric/v/t/pressure");
  CHECK(TextTopic("drive.torque") == "metric/x/drive/torque");
  CHECK(TextValue("energy.soc", 93.42) == "93.42");
  CHECK(TextValue("drive.speed", 0.0) == "0");
  CHECK(TextValue("location.latitude", 33.986145) == "33.986145");
  CHECK(TextValue("body.is_locked", 1.0) == "yes");
  CHECK(TextValue("drive.is_moving", 0.0) == "no");
  CHECK(TextValue("link.radio", std::string("LTE")) == "LTE");
}

TEST_CASE(
    "text topics: what changed is said once a second, all at the start and every 20 minutes") {
  TextTopics text({.prefix = "o/"});
  CHECK(text.Run(Instant{0}).messages == 0);
  text.Observe("energy.soc", 50.0);
  text.Observe("energy.range", 100.0);
  text.Observe("drive.speed", 0.0);
  CHECK(text.Run(Instant{0}).messages == 3);
  text.Observe("drive.speed", 0.0);
  CHECK(text.Run(Instant{5000}).messages == 0);
  text.Observe("drive.speed", 1.0);
  CHECK(text.Run(Instant{5000}).messages == 1);
  text.Observe("drive.speed", 2.0);
  CHECK(text.Run(Instant{5500}).messages == 0);
  CHECK(text.NextAt() == Instant{6000});
  CHECK(text.Run(Instant{6000}).messages == 1);
  CHECK(text.NextAt() == Instant{1'200'000});
  CHECK(text.Run(Instant{1'200'000}).messages == 3);

  TextTopics whole({.form = TextForm::kWholeGroup, .keep_alive = minutes(5)});
  whole.Observe("energy.soc", 50.0);
  whole.Observe("energy.range", 100.0);
  whole.Observe("drive.speed", 0.0);
  whole.Run(Instant{0});
  whole.Observe("energy.soc", 49.0);
  CHECK(whole.Run(Instant{5000}).messages == 2);
  CHECK(whole.Run(Instant{5000} + minutes(5)).pings == 1);
}

TEST_CASE("car day: a day that is lived twice costs the same twice, each hour its own") {
  const DayPlan plan = Plan();
  const DayCar car = MakeDayCar(plan.midnight).value();
  const DayBytes first = LiveAsCar(plan, car, {});
  CHECK(LiveAsCar(plan, car, {}).All() == first.All());
  CHECK(first.lasted[0] + first.lasted[1] == hours(24));
  CHECK(first.of(DayPart::kDriving).messages > 1000);
  CHECK(first.of(DayPart::kDriving).topics > 0);
  const DayBytes text = LiveAsText(plan, {});
  CHECK(text.of(DayPart::kDriving).messages > 1000);
  // 71 times everything while it stands or drives, and once at the start.
  DayPlan still = plan;
  still.drives_at.clear();
  CHECK(LiveAsText(still, {}).All().flushes == 72);
  CHECK(LiveAsText(still, {}).All().pings == 0);
}

}  // namespace latchkey::bench
