// The disk is full in the middle of a migration: before it, so that it does not begin; in the midst
// of the sweep, which stops, says what it needs and goes on when there is room.
#include <chrono>
#include <fstream>

#include "tests/migration/act.h"
#include "tests/migration/live.h"

namespace latchkey::migration {

namespace {

using load::Expect;
using std::chrono::milliseconds;
using testing::Eventually;

constexpr int kDiskMb = 4000;  // of memory, as far as it is used
constexpr int kStoreMb = 256;  // the store does not write below
constexpr int kRoomMb = 1;     // too little for the migration
constexpr int kNearlyMb = 40;  // enough for it
constexpr int kLeftMb = 200;
constexpr milliseconds kNotice{45000};
constexpr milliseconds kSweepPatience{600000};
constexpr int kBeginsMs = 60;
constexpr int kTriesMax = 20;

class DiskAct {
 public:
  DiskAct(const Options& options, Report& report)
      : report_(report), live_(options, kDiskMb, report), orders_(live_.orders()) {}

  void Play() {
    live_.Start();
    RefuseToStart();
    const bool stopped = StopMidway();
    Expect(stopped, "the sweep was over each time before the disk was full");
    orders_.Verify("verified", kSweepPatience);
    orders_.Give("cutover");
    orders_.Give("finish");
    live_.End(2);
    report_.Row("commands refused for the full disk", live_.world().load().refused_by_store());
  }

 private:
  void RefuseToStart() {
    // The store itself still writes: only the migration needs more.
    const auto plan = nlohmann::json::parse(
        testing::HttpGet(live_.world().cell().http_port(), "/v1/migration/plan").body, nullptr,
        false);
    const uint64_t bytes = plan.is_object() && plan.contains("plan") && plan["plan"].is_object()
                               ? plan["plan"].value("bytes", uint64_t{0})
                               : 0;
    report_.Row("the plan", plan.dump());
    Expect(bytes > uint64_t{kRoomMb} << 20, "there is too little to move for this act");
    live_.world().FillDisk(kStoreMb + kRoomMb);
    const size_t refused = live_.world().load().refused_by_store();
    const testing::HttpAnswer answer = orders_.Post("start");
    live_.Wait(1000);
    live_.world().EmptyDisk();
    Expect(answer.status == 503 && answer.body.find("MB") != std::string::npos,
           "started on a full disk: " + std::to_string(answer.status) + " " + answer.body);
    Expect(live_.world().load().refused_by_store() == refused,
           "commands are refused although only the migration lacks room");
    report_.Row("start on a full disk", answer.body.substr(0, answer.body.find('\n')));
    // Until it takes writes again.
    const size_t held = live_.world().load().held();
    Expect(Eventually([&] { return live_.world().load().held() > held; }, kNotice),
           "nothing is held although there is room again");
  }

  // False: it never stood in the midst of it. It is paused while most of the disk is filled, which
  // takes longer than all of it; the order to go on is written, so it comes before the rest.
  bool StopMidway() {
    for (int i = 0; i < kTriesMax; ++i) {
      orders_.Give("start");
      live_.Wait(live_.world().Between(0, kBeginsMs));
      orders_.Post("pause");
      live_.world().FillDisk(kStoreMb + kNearlyMb);
      orders_.Post("resume");
      live_.world().FillDisk(kLeftMb);
      Standing standing;
      const bool waits = Eventually(
          [&] {
            standing = orders_.Now();
            return standing.known && (standing.phase != "backfill" || !standing.waits_for.empty());
          },
          kNotice);
      if (waits && standing.phase == "backfill") {
        StandsStill(standing);
        return true;
      }
      live_.world().EmptyDisk();
      orders_.Post("resume");
      orders_.Await("filled", kSweepPatience);
      orders_.Give("rollback");
    }
    return false;
  }

  void StandsStill(const Standing& standing) {
    report_.Row("full in the midst", standing.waits_for + " (" + std::to_string(standing.done) +
                                         " of " + std::to_string(standing.expected) + " rows)");
    Expect(standing.waits_for.find("MB") != std::string::npos,
           "it does not say what room it needs: " + standing.text);
    live_.Wait(1500);
    const Standing later = orders_.Now();
    Expect(!later.known || later.done == standing.done,
           "the sweep goes on although the disk is full: " + later.text);
    live_.world().EmptyDisk();
    const Standing filled = orders_.Await("filled", kSweepPatience);
    Expect(filled.waits_for.empty(), "it still waits: " + filled.text);
  }

  Report& report_;
  Live live_;
  const Orders& orders_;
};

}  // namespace

void FillDiskMidway(const Options& options, Report& report) {
  Options calm = options;
  calm.kills = 0;
  DiskAct(calm, report).Play();
}

}  // namespace latchkey::migration
