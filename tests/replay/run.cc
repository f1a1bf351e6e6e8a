// See run.h.
#include "tests/replay/run.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <sstream>
#include <stdexcept>

#include <nlohmann/json.hpp>
#include <unistd.h>

namespace latchkey::replay {

namespace {

using std::chrono::steady_clock;
using testing::Eventually;
using testing::UnixMs;

constexpr std::chrono::milliseconds kStartPatience{120000};
constexpr std::chrono::milliseconds kTick{100};
constexpr int64_t kLookEvery = 1000;
constexpr int64_t kQuietBegin = 3000;  // before the first kill
constexpr int64_t kDownMax = 3000;
constexpr int64_t kFlush = 60000;  // bridge/core/history.h: kHistoryFlush
constexpr int64_t kAlone = 150000;
// Until a service that is back has what the others say: they try within 1, 2 and 4 s.
constexpr int64_t kBack = 10000;
constexpr double kRounding = 2;  // of two clocks in milliseconds

void Pause() {
  Eventually([] { return false; }, kTick);
}

int64_t MonoMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             steady_clock::now().time_since_epoch())
      .count();
}

// User and system time of a process in seconds; negative: there is none.
double CpuOf(pid_t pid) {
  const std::string stat = testing::ReadAll("/proc/" + std::to_string(pid) + "/stat");
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) {
    return -1;
  }
  std::istringstream fields(stat.substr(name_end + 1));
  std::string field;
  constexpr int kUser = 12;  // counted from the field after the name
  double ticks = 0;
  for (int i = 1; i <= kUser + 1 && fields >> field; ++i) {
    ticks += i >= kUser ? std::stod(field) : 0;
  }
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

uint64_t MetricOf(const testing::Cell& cell, const std::string& name) {
  const std::string page = testing::HttpGet(cell.http_port(), "/metrics").body;
  const size_t at = page.find("\n" + name + " ");
  return at == std::string::npos
             ? 0
             : static_cast<uint64_t>(std::stod(page.substr(at + name.size() + 2)));
}

}  // namespace

Run::Run(const Options& options, const std::map<std::string, ExpectedDrive>& expected)
    : options_(options), random_(options.seed) {
  cell_.StartBroker();
  cell_.StartBridge();
  std::ostringstream speed;
  speed << options_.speed;
  const std::string data = LK_SHARED_DATA;
  cars_ = cell_.StartLatchkey({"--json",
                               "fleet",
                               "simulate",
                               "--fleet",
                               "demo",
                               "--cars",
                               std::to_string(options_.cars),
                               "--prefix",
                               "car-",
                               "--once",
                               "--speed",
                               speed.str(),
                               "--drives",
                               data + "/bmw_i3",
                               "--drives",
                               data + "/nissan_leaf_leafspy",
                               "--drives",
                               data + "/renault_twizy",
                               "--drives",
                               data + "/escooter"},
                              "cars");
  WaitForCars(expected);
}

void Run::WaitForCars(const std::map<std::string, ExpectedDrive>& expected) {
  const auto count = static_cast<size_t>(options_.cars);
  const bool all = Eventually(
      [&] {
        return !cars_->Running() ||
               static_cast<size_t>(testing::CountLines(cars_->Output(), "\"drive\":")) >= count;
      },
      kStartPatience);
  std::istringstream lines(cars_->Output());
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("drive")) {
      continue;
    }
    Driver driver{json["car"], &expected.at(json["drive"]), json["at_ms"], {}};
    for (const auto& each : json["refused"]) {
      driver.refused[{each["signal"], each["reason"]}] = each["count"];
    }
    drivers_.push_back(std::move(driver));
  }
  if (!all || !cars_->Running() || drivers_.size() != count) {
    throw std::runtime_error("the cars do not begin: " + cars_->Output().substr(0, 4000));
  }
}

int64_t Run::LastEnd() const {
  const Timing timing{options_.speed, 0};
  double last = 0;
  for (const Driver& driver : drivers_) {
    last = std::max(last, timing.At(driver, driver.drive->length));
  }
  return std::llround(last);
}

std::vector<Run::Kill> Run::Plan(int64_t length_ms) {
  std::vector<Kill> kills;
  std::uniform_int_distribution<int64_t> down(0, kDownMax);
  // The bridge is left alone for a while somewhere: kills that come faster than it writes history
  // leave none to be judged.
  const int64_t alone = std::min(kAlone, length_ms / 2);
  const int64_t from =
      std::uniform_int_distribution<int64_t>(0, std::max<int64_t>(0, length_ms - alone))(random_);
  for (int i = 0; i < 2 * options_.kills; ++i) {
    const bool broker = i % 2 == 0;
    const int64_t most = broker ? length_ms : length_ms - alone;
    int64_t after =
        std::uniform_int_distribution<int64_t>(kQuietBegin, std::max(kQuietBegin, most))(random_);
    after += !broker && after >= from ? alone : 0;
    kills.push_back({after, down(random_), broker});
  }
  std::sort(kills.begin(), kills.end(),
            [](const Kill& a, const Kill& b) { return a.after_ms < b.after_ms; });
  return kills;
}

void Run::Drive() {
  const int64_t began = UnixMs();
  const int64_t mono_began = MonoMs();
  const int64_t length = LastEnd() - began;
  const std::vector<Kill> kills = Plan(length);
  auto next = kills.begin();
  int64_t looked = 0;
  Look();
  for (int64_t passed = 0; passed < length || next != kills.end(); passed = MonoMs() - mono_began) {
    if (!cars_->Running()) {
      throw std::runtime_error("the cars' process has ended");
    }
    LookAtClock();
    if (next != kills.end() && passed >= next->after_ms) {
      Do(*next++);
    } else if (passed >= looked + kLookEvery) {
      looked = passed;
      Look();
    } else {
      Pause();
    }
  }
  Look();
  seconds_ = static_cast<double>(MonoMs() - mono_began) / 1000;
}

void Run::Do(const Kill& kill) {
  Look();
  testing::Process& victim = kill.broker ? cell_.broker() : cell_.bridge();
  Outage outage{kill.broker, UnixMs(), 0};
  victim.Kill();
  if (!kill.broker) {
    messages_ended_ += std::exchange(messages_, 0);
  }
  Eventually([] { return false; }, std::chrono::milliseconds(kill.down_ms));
  kill.broker ? cell_.StartBroker() : cell_.StartBridge();
  outage.back_ms = UnixMs();
  outages_.push_back(outage);
}

void Run::Look() {
  LookAt("broker", cell_.broker().pid());
  LookAt("bridge", cell_.bridge().pid());
  LookAt("cars", cars_->pid());
  messages_ = std::max(messages_, MetricOf(cell_, "latchkey_messages_total"));
}

void Run::LookAt(const std::string& who, pid_t pid) {
  const double cpu = CpuOf(pid);
  if (cpu >= 0) {
    // What was done before the first look, starting, counts for services that were killed.
    const auto [at, fresh] = cpu_.try_emplace({who, pid}, outages_.empty() ? cpu : 0, cpu);
    at->second.second = cpu;
  }
}

void Run::LookAtClock() {
  const int64_t apart = UnixMs() - MonoMs();
  clock_least_ = std::min(clock_least_, apart);
  clock_most_ = std::max(clock_most_, apart);
}

std::map<std::string, double> Run::cpu_seconds() const {
  std::map<std::string, double> sums;
  for (const auto& [who, seen] : cpu_) {
    sums[who.first] += seen.second - seen.first;
  }
  return sums;
}

std::vector<std::string> Run::CarNames() const {
  std::vector<std::string> names;
  for (const Driver& driver : drivers_) {
    names.push_back(driver.car);
  }
  return names;
}

Timing Run::TimingNow() const {
  const int64_t drift = clock_most_ < clock_least_ ? 0 : clock_most_ - clock_least_;
  return {options_.speed, kRounding + static_cast<double>(drift)};
}

Times Run::Excused(const std::string& car, int64_t interval_ms) const {
  std::vector<int64_t> online;
  std::istringstream lines(cars_->Output());
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.value("car", "") == car &&
        json.value("event", "").rfind("online", 0) == 0) {
      online.push_back(json["at_ms"]);
    }
  }
  Times times;
  for (const Outage& outage : outages_) {
    int64_t end = outage.back_ms + kBack;
    if (outage.broker) {
      const auto again = std::upper_bound(online.begin(), online.end(), outage.killed_ms);
      end = std::max(end, again == online.end() ? end : *again);
    }
    times.emplace_back(outage.killed_ms - (outage.broker ? 0 : kFlush), end + interval_ms);
  }
  return times;
}

void Run::KeepLogs() const {
  if (options_.keep.empty()) {
    return;
  }
  std::filesystem::create_directories(options_.keep);
  std::filesystem::copy(
      cell_.path() / "test", options_.keep,
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
}

}  // namespace latchkey::replay
