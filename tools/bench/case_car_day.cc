// The car's side: what a day costs on its SIM card and its processor, beside the text topics of an
// OVMS module with the same sensors.
#include <chrono>
#include <ctime>
#include <functional>
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
constexpr std::string_view kText = "text";
constexpr size_t kRounds = 5;
constexpr Target kTarget{Goal::kAtMost, 0.25};

struct Subject {
  std::string name;
  std::function<DayBytes()> live;
  DayBytes day = {};
  std::vector<double> cpu_s = {};
};

std::vector<Subject> Subjects(const DayPlan& plan, const DayCar& car) {
  const auto text = [&plan](TextOptions options) {
    return [&plan, options = std::move(options)] { return LiveAsText(plan, options); };
  };
  TextOptions whole;
  whole.form = TextForm::kWholeGroup;
  TextOptions as_alive;
  as_alive.keep_alive = CarKeepAlive();
  TextOptions slow;
  slow.every = std::chrono::seconds(5);
  const auto as_car = [&plan, &car](CarLine line) {
    return [&plan, &car, line] { return LiveAsCar(plan, car, line); };
  };
  CarLine shared;
  shared.writer = Writer::kOneBuffer;
  CarLine unanswered = shared;
  unanswered.qos_max = 0;
  CarLine quiet = unanswered;
  quiet.keep_alive = TextOptions{}.keep_alive;
  return {{"car", as_car({})},
          {"text, changed only", text({})},
          {"text, whole groups", text(whole)},
          {"text, changed only, the car's keep-alive", text(as_alive)},
          {"text, changed only, every 5 s", text(slow)},
          {"what if: car, a moment in one write", as_car(shared)},
          {"what if: and at QoS 0", as_car(unanswered)},
          {"what if: and keep-alive 1740 s", as_car(quiet)}};
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
  const Subject& car = subjects.front();
  const auto car_bytes = static_cast<double>(car.day.All().sum());
  for (const Subject& subject : subjects) {
    const LineBytes all = subject.day.All();
    const auto bytes = static_cast<double>(all.sum());
    report.Figure(kCase, subject.name, "bytes a day", "B", once(bytes));
    report.Figure(kCase, subject.name, "bytes an hour, driving", "B/h",
                  once(PerHour(subject.day, DayPart::kDriving)));
    report.Figure(kCase, subject.name, "bytes an hour, parked", "B/h",
                  once(PerHour(subject.day, DayPart::kParked)));
    report.Figure(kCase, subject.name, "CPU a day", "s", SpreadOf(subject.cpu_s));
    report.Note(kCase, subject.name + ": " + Parts(all), Validity::kInformation);
    if (subject.name.starts_with(kText)) {
      const bool aimed_at = &subject == &subjects[1];
      report.Ratio(kCase, "bytes a day", car.name, subject.name, {car_bytes / bytes},
                   aimed_at ? std::optional(kTarget) : std::nullopt);
    } else if (&subject != &car) {
      const auto text = static_cast<double>(subjects[1].day.All().sum());
      report.Ratio(kCase, "bytes a day", subject.name, subjects[1].name, {bytes / text});
    }
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
  SayAssumptions(plan, subjects[1].day, report);
  return {};
}

}  // namespace latchkey::bench
