// The car's side: what a day costs on its SIM card and its processor, beside the text topics of an
// OVMS module with the same sensors.
#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tools/bench/car_day.h"
#include "tools/bench/cases.h"
#include "tools/bench/process.h"
#include "tools/fleet/file.h"

namespace latchkey::bench {
namespace {

constexpr std::string_view kCase = "car_day";
constexpr std::string_view kDriveFile = "T3_04_22_2021_1.csv.gz";
constexpr Duration kSlow = std::chrono::seconds(5);  // as a module is set up to
constexpr size_t kRounds = 5;
constexpr Target kTarget{Goal::kAtMost, 0.25};

struct Subject {
  std::string_view name;
  std::function<DayBytes()> live;
  DayBytes day = {};
  std::vector<double> cpu_s = {};
};

constexpr std::string_view kCar = "car";
constexpr std::string_view kSlowCar = "car, every 5 s";
constexpr std::string_view kText = "text, changed only";
constexpr std::string_view kWholeText = "text, whole groups";
constexpr std::string_view kAliveText = "text, changed only, the car's keep-alive";
constexpr std::string_view kSlowText = "text, changed only, every 5 s";
constexpr std::string_view kOneWrite = "what if: car, a moment in one write";
constexpr std::string_view kUnanswered = "what if: and at QoS 0";
constexpr std::string_view kQuiet = "what if: and keep-alive 1740 s";

// Who is compared with whom; the first is what the target is for.
constexpr auto kPairs = std::to_array<std::pair<std::string_view, std::string_view>>({
    {kCar, kText},
    {kCar, kWholeText},
    {kCar, kAliveText},
    {kSlowCar, kSlowText},
    {kOneWrite, kText},
    {kUnanswered, kText},
    {kQuiet, kText},
});

std::vector<Subject> Subjects(const DayPlan& plan, const DayCar& car) {
  const auto text = [&plan](TextOptions options) {
    return [&plan, options = std::move(options)] { return LiveAsText(plan, options); };
  };
  const auto as_car = [&plan, &car](const CarLine& line) {
    return [&plan, &car, line] { return LiveAsCar(plan, car, line); };
  };
  TextOptions whole;
  whole.form = TextForm::kWholeGroup;
  TextOptions alive;
  alive.keep_alive = CarKeepAlive();
  TextOptions slow;
  slow.every = kSlow;
  CarLine slow_car;
  slow_car.publish_interval = kSlow;
  CarLine one_write;
  one_write.writer = Writer::kOneBuffer;
  CarLine unanswered = one_write;
  unanswered.qos_max = 0;
  CarLine quiet = unanswered;
  quiet.keep_alive = TextOptions{}.keep_alive;
  return {{kCar, as_car({})},
          {kText, text({})},
          {kWholeText, text(whole)},
          {kAliveText, text(alive)},
          {kSlowCar, as_car(slow_car)},
          {kSlowText, text(slow)},
          {kOneWrite, as_car(one_write)},
          {kUnanswered, as_car(unanswered)},
          {kQuiet, as_car(quiet)}};
}

const DayBytes& DayOf(const std::vector<Subject>& subjects, std::string_view name) {
  const auto found = std::find_if(subjects.begin(), subjects.end(),
                                  [name](const Subject& each) { return each.name == name; });
  LK_ASSERT(found != subjects.end());
  return found->day;
}

double PerHour(const DayBytes& day, DayPart part) {
  const auto hours =
      std::chrono::duration<double, std::ratio<3600>>(day.lasted[static_cast<size_t>(part)]);
  return static_cast<double>(day.of(part).sum()) / hours.count();
}

std::string Parts(const LineBytes& bytes) {
  std::ostringstream out;
  out << bytes.messages << " messages in " << bytes.flushes << " moments, " << bytes.pings
      << " pings; bytes: payload " << bytes.payload << ", topics " << bytes.topics
      << ", other MQTT " << bytes.packets << ", TLS " << bytes.records << ", TCP/IP "
      << bytes.segments;
  return out.str();
}

void Say(const std::vector<Subject>& subjects, Report& report) {
  const auto once = [](double value) { return SpreadOf({value}); };
  for (const Subject& subject : subjects) {
    const LineBytes all = subject.day.All();
    report.Figure(kCase, subject.name, "bytes a day", "B", once(static_cast<double>(all.sum())));
    report.Figure(kCase, subject.name, "bytes an hour, driving", "B/h",
                  once(PerHour(subject.day, DayPart::kDriving)));
    report.Figure(kCase, subject.name, "bytes an hour, parked", "B/h",
                  once(PerHour(subject.day, DayPart::kParked)));
    report.Figure(kCase, subject.name, "CPU a day", "s", SpreadOf(subject.cpu_s));
    report.Note(kCase, std::string(subject.name) + ": " + Parts(all), Validity::kInformation);
  }
  for (const auto& pair : kPairs) {
    const auto bytes = static_cast<double>(DayOf(subjects, pair.first).All().sum());
    const auto baseline = static_cast<double>(DayOf(subjects, pair.second).All().sum());
    report.Ratio(kCase, "bytes a day", pair.first, pair.second, {bytes / baseline},
                 &pair == kPairs.data() ? std::optional(kTarget) : std::nullopt);
  }
}

// What the moments of a day would cost if nothing were said in them.
uint64_t EmptyMoments(const DayBytes& day) {
  return day.All().flushes * (kRecordOverheadBytes + 2 * kSegmentHeaderBytes);
}

void SayAssumptions(const DayPlan& plan, const DayBytes& as_text, Report& report) {
  const auto note = [&report](const std::string& text) {
    report.Note(kCase, text, Validity::kInformation);
  };
  note("the day: " + plan.drive->name +
       " (recorded, 1 Hz) driven in the morning and in the "
       "evening, parked else, all other sensors read each minute; one connection all day, whose "
       "handshakes are counted for nobody");
  note(
      "counted, not sent: TLS 1.2 with AES-GCM adds 29 bytes a record, TCP/IP 40 a segment; bare "
      "acknowledgements are segments; nothing is lost and nobody is slow");
  note(
      "the car: each message is a record and a segment (paho), each PUBACK likewise (Mosquitto "
      "with "
      "set_tcp_nodelay); every value has its time; keep-alive " +
      std::to_string(CarKeepAlive().count() / 1000) +
      " s; CPU is that of the car itself, without MQTT, TLS and the kernel");
  note(
      "text: OVMS topics and values, QoS 0, all changed metrics once a second at most and all of "
      "them every 20 minutes, written at one time; keep-alive 1740 s, so an absent car is noticed "
      "after 43 minutes; no value says when it was observed");
  note("the limit: a moment in which anything at all is said costs " +
       std::to_string(kRecordOverheadBytes + 2 * kSegmentHeaderBytes) +
       " bytes of TLS and TCP/IP in either form; the text form's moments alone cost " +
       std::to_string(EmptyMoments(as_text)) + " bytes of its day");
}

}  // namespace

Result<void> RunCarDay(const Wish& wish, Report& report) {
  LK_TRY(const fleet::Drive drive,
         fleet::LoadDrive(std::filesystem::path(LK_BENCH_DRIVES) / kDriveFile));
  DayPlan plan;
  plan.drive = &drive;
  LK_TRY(const DayCar car, MakeDayCar(plan.midnight));
  std::vector<Subject> subjects = Subjects(plan, car);
  const size_t rounds = wish.RoundsOr(kRounds, 1);
  for (size_t round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < subjects.size(); ++i) {
      Subject& subject = subjects[(i + round) % subjects.size()];
      const double before = ThreadCpuSeconds();
      subject.day = subject.live();
      subject.cpu_s.push_back(ThreadCpuSeconds() - before);
    }
  }
  Say(subjects, report);
  SayAssumptions(plan, DayOf(subjects, kText), report);
  return {};
}

}  // namespace latchkey::bench
