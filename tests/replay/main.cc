// replay [--kills] [--seed N] [--cars N] [--speed N] [--keep FOLDER]: every recorded drive at 20x
// by 66 cars at once, each on its own TLS session, into a cell of real processes; with --kills
// broker and bridge die 12 times each on the way. At the end the bridge's answer, the store's
// records and the broker's retained messages must equal what an independent reading of the files
// says, signal by signal, value and time; so must the refused values, by reason. Exit code 0: they
// do.
#define DOCTEST_CONFIG_IMPLEMENT
#include <algorithm>
#include <csignal>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/replay/run.h"

namespace latchkey::replay {

namespace {

constexpr int kKills = 12;
constexpr std::chrono::milliseconds kSettlePatience{120000};
constexpr size_t kWrongsShown = 40;
constexpr int64_t kSlack = 2000;      // of a message on its way
constexpr int64_t kCoalesced = 1000;  // a car says a group this often at most
// bridge/core/history.cc: how far samples are apart at first, and after a start of the bridge.
constexpr int64_t kInterval = 5000;
constexpr int64_t kIntervalAfterStart = 10000;

// All that was found out, in the order of the table.
struct Table {
  std::vector<std::pair<std::string, std::string>> rows;
  std::vector<std::string> wrongs;

  void Row(const std::string& title, const std::string& text) { rows.emplace_back(title, text); }

  void Row(const std::string& title, uint64_t number) { Row(title, std::to_string(number)); }

  void Wrong(const std::vector<std::string>& more) {
    wrongs.insert(wrongs.end(), more.begin(), more.end());
  }

  void Print() const {
    for (const auto& [title, text] : rows) {
      std::cout << std::left << std::setw(34) << title << text << "\n";
    }
    for (size_t i = 0; i < std::min(wrongs.size(), kWrongsShown); ++i) {
      std::cout << "WRONG " << wrongs[i] << "\n";
    }
    std::cout << wrongs.size() << " wrongs" << std::endl;
  }
};

std::string OneDigit(double number) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << number;
  return text.str();
}

std::string BadText(const BadCounts& bad) {
  std::string text;
  for (const auto& [key, count] : bad) {
    text +=
        (text.empty() ? "" : ", ") + key.second + " " + std::to_string(count) + " of " + key.first;
  }
  return text.empty() ? "none" : text;
}

// Every drive is driven; what the car tool refuses is what is bad, value by value.
void JudgeRefused(const Run& run, const std::map<std::string, ExpectedDrive>& expected,
                  Table& table) {
  std::map<std::string, int> driven;
  for (const Driver& driver : run.drivers()) {
    ++driven[driver.drive->name];
    if (driver.refused != driver.drive->bad) {
      table.wrongs.push_back("refused: " + driver.car + " (" + driver.drive->name + "): " +
                             BadText(driver.refused) + "; the file: " + BadText(driver.drive->bad));
    }
  }
  BadCounts bad;
  uint64_t rows = 0;
  for (const auto& [name, drive] : expected) {
    if (driven[name] == 0) {
      table.wrongs.push_back("nobody drove " + name);
    }
    rows += drive.rows * static_cast<uint64_t>(driven[name]);
    for (const auto& [key, count] : drive.bad) {
      bad[key] += count;
    }
  }
  table.Row("drives", expected.size());
  table.Row("cars", run.drivers().size());
  table.Row("rows replayed", rows);
  table.Row("bad values (each drive once)", BadText(bad));
}

// Waits until the bridge's answer is right, then takes it and the broker's as they are.
void JudgeLive(Run& run, Table& table) {
  const auto settling = std::chrono::steady_clock::now();
  Verdict http;
  testing::Eventually(
      [&] {
        http =
            Compare("bridge", ByHttp(run.cell(), run.CarNames()), run.drivers(), run.TimingNow());
        return http.wrongs.empty();
      },
      kSettlePatience);
  table.Row(
      "right after the last row, s",
      OneDigit(std::chrono::duration<double>(std::chrono::steady_clock::now() - settling).count()));
  table.Row("values of the bridge compared", http.compared);
  table.Wrong(http.wrongs);
  const Verdict broker = Compare("broker", ByBroker(run.cell()), run.drivers(), run.TimingNow());
  table.Row("values of the broker compared", broker.compared);
  table.Wrong(broker.wrongs);
}

// The bridge ends, its store is read as it lies there.
void JudgeStore(Run& run, Table& table) {
  const int ended = run.cell().bridge().Stop();
  if (ended != 0) {
    table.wrongs.push_back("the bridge ends with " + std::to_string(ended));
  }
  const Verdict store = Compare("store", ByStore(run.cell()), run.drivers(), run.TimingNow());
  table.Row("values of the store compared", store.compared);
  table.Wrong(store.wrongs);
  run.cell().StartBridge();
}

void JudgeHistories(Run& run, Table& table) {
  const bool killed = !run.outages().empty();
  const int64_t interval = killed ? kIntervalAfterStart : kInterval;
  HistoryVerdict sum;
  std::vector<int64_t> lags;
  for (const Driver& driver : run.drivers()) {
    const Times excused = run.Excused(driver.car, interval);
    for (const std::string signal : {"energy.soc", "drive.speed"}) {
      const auto samples = HistoryOf(run.cell(), driver.car, signal);
      const auto widest =
          static_cast<double>(driver.drive->signals.at(signal).widest) / run.TimingNow().speed;
      const HistoryVerdict verdict =
          JudgeHistory(driver, signal, samples, run.TimingNow(),
                       interval + kCoalesced + kSlack + static_cast<int64_t>(widest), excused);
      sum.samples += verdict.samples;
      sum.judged_s += verdict.judged_s;
      sum.excused_s += verdict.excused_s;
      table.Wrong(verdict.wrongs);
      for (const Sample& sample : samples) {
        lags.push_back(sample.received_at_ms - sample.observed_at_ms);
      }
    }
  }
  std::sort(lags.begin(), lags.end());
  table.Row("samples of history compared", sum.samples);
  table.Row("seconds of history judged", std::to_string(sum.judged_s) + ", not judged for a kill " +
                                             std::to_string(sum.excused_s));
  if (lags.empty()) {
    table.wrongs.emplace_back("there is no history");
    return;
  }
  table.Row("observed to stored, ms", "median " + std::to_string(lags[lags.size() / 2]) + ", p99 " +
                                          std::to_string(lags[lags.size() * 99 / 100]) + ", most " +
                                          std::to_string(lags.back()));
  // Who cannot keep up falls behind more and more.
  if (!killed && lags[lags.size() * 99 / 100] > kCoalesced + kSlack) {
    table.wrongs.emplace_back("the replay does not keep real time");
  }
}

void SayRun(const Run& run, Table& table) {
  const auto brokers = std::count_if(run.outages().begin(), run.outages().end(),
                                     [](const Outage& outage) { return outage.broker; });
  table.Row("kills", std::to_string(brokers) + " of the broker, " +
                         std::to_string(run.outages().size() - static_cast<size_t>(brokers)) +
                         " of the bridge");
  table.Row("messages the bridge took", run.messages());
  table.Row("seconds of replay", OneDigit(run.seconds()));
  std::string cpu;
  for (const auto& [who, seconds] : run.cpu_seconds()) {
    cpu += (cpu.empty() ? "" : ", ") + who + " " + OneDigit(100 * seconds / run.seconds());
  }
  table.Row("CPU, percent of one core", cpu);
  table.Row("tolerance of times, ms", OneDigit(run.TimingNow().tolerance_ms));
}

int Replay(const Options& options) {
  const auto began = std::chrono::steady_clock::now();
  std::cout << "replay --seed " << options.seed << (options.kills > 0 ? " --kills" : "") << ": "
            << options.cars << " cars at " << options.speed << "x" << std::endl;
  const auto expected = ReadExpected();
  Run run(options, expected);
  Table table;
  try {
    run.Drive();
    JudgeRefused(run, expected, table);
    SayRun(run, table);
    JudgeLive(run, table);
    JudgeStore(run, table);
    JudgeHistories(run, table);
  } catch (const std::exception& surprise) {
    table.wrongs.emplace_back(surprise.what());
  }
  run.KeepLogs();
  table.Row(
      "seconds in all",
      OneDigit(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count()));
  table.Print();
  return table.wrongs.empty() ? 0 : 1;
}

// A REQUIRE of tests/support outside a doctest case.
void OnAssert(const doctest::AssertData& assert) {
  std::ostringstream text;
  text << assert.m_file << ":" << assert.m_line << ": " << assert.m_expr << " "
       << assert.m_decomp.c_str();
  throw std::runtime_error(text.str());
}

int Main(const std::vector<std::string>& arguments) {
  Options options;
  options.seed = std::random_device{}();
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    const bool more = i + 1 < arguments.size();
    if (name == "--kills") {
      options.kills = kKills;
    } else if (name == "--seed" && more) {
      options.seed = std::stoull(arguments[++i]);
    } else if (name == "--cars" && more) {
      options.cars = std::stoi(arguments[++i]);
    } else if (name == "--speed" && more) {
      options.speed = std::stod(arguments[++i]);
    } else if (name == "--keep" && more) {
      options.keep = arguments[++i];
    } else {
      std::cerr << "usage: replay [--kills] [--seed N] [--cars N] [--speed N] [--keep FOLDER]\n";
      return 2;
    }
  }
  try {
    return Replay(options);
  } catch (const std::exception& surprise) {
    std::cerr << surprise.what() << "\n";
    return 1;
  }
}

}  // namespace

}  // namespace latchkey::replay

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  context.setAssertHandler(latchkey::replay::OnAssert);
  return latchkey::replay::Main({argv + 1, argv + argc});
}
