// faults [--only NAME]... [--commands N] [--list]: does each fault to a cell of real processes
// under load and prints the table. Exit code 0: no command that was held is lost, none was done
// twice, late or unasked, no word was untrue, in any row. Each row is a child process, so that
// one's settling runs beside the next one's load.
#define DOCTEST_CONFIG_IMPLEMENT
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include "tests/faults/fault.h"

namespace latchkey::faults {

namespace {

using std::chrono::steady_clock;
using testing::Eventually;
using testing::Process;

constexpr std::chrono::milliseconds kLoadPatience{300000};
constexpr std::chrono::milliseconds kSettlePatience{60000};
constexpr size_t kBesideMax = 3;  // rows at a time, the ones that mostly wait not counted

std::vector<Fault> AllFaults() {
  std::vector<Fault> all;
  for (const auto& faults : {ProcessFaults(), WorldFaults(), DiskFaults(), Controls()}) {
    all.insert(all.end(), faults.begin(), faults.end());
  }
  return all;
}

// One load at a time, over processes.
class Turn {
 public:
  explicit Turn(const std::string& path)
      : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    ::flock(file_, LOCK_EX);
  }

  ~Turn() { End(); }

  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  void End() {
    if (file_ >= 0) {
      ::close(file_);
      file_ = -1;
    }
  }

 private:
  int file_;
};

double Since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

nlohmann::json Row(const Tally& tally, const std::string& note, double seconds) {
  return {{"commands", tally.commands},
          {"held", tally.held},
          {"done", tally.done},
          {"failed", tally.failed},
          {"refused", tally.refused},
          {"expired", tally.expired},
          {"superseded", tally.superseded},
          {"untold", tally.untold},
          {"asked", tally.asked},
          {"lost", tally.lost},
          {"twice", tally.twice},
          {"late", tally.late},
          {"unasked", tally.unasked},
          {"untrue", tally.untrue},
          {"open", tally.open},
          {"over_ms", tally.stopped_late_ms},
          {"note", note},
          {"seconds", seconds}};
}

// The whole life of a row, in its own process.
nlohmann::json RunRow(const Fault& fault, const std::string& turn_file) {
  const auto began = steady_clock::now();
  // Without the right to mount there is no small disk to fill: to be said aloud, not by default.
  if (fault.needs_mount && std::getenv("LATCHKEY_FAULTS_NO_MOUNT") != nullptr) {
    return {{"good", true}, {"note", "SKIPPED: LATCHKEY_FAULTS_NO_MOUNT is set"}};
  }
  World world(fault.options);
  std::string note;
  try {
    world.StartAll();
    std::unique_ptr<Turn> turn;
    if (!fault.beside) {
      turn = std::make_unique<Turn>(turn_file);
    }
    world.load().Start();
    note = fault.inject(world);
    const bool sent = Eventually([&] { return world.load().AllSent(); }, kLoadPatience);
    Expect(sent, "only " + std::to_string(world.load().sent()) + " commands could be sent");
    turn.reset();
    world.Heal();
    Eventually([&] { return world.load().open() == 0; }, kSettlePatience);
    world.load().Stop();
    if (fault.afterwards) {
      note += fault.afterwards(world);
    }
    // For who looks into a row: LATCHKEY_FAULTS_KEEP names a folder.
    const char* keep = std::getenv("LATCHKEY_FAULTS_KEEP");
    std::ofstream stories;
    if (keep != nullptr) {
      world.KeepLogs(keep);
      stories.open(std::filesystem::path(keep) / "commands.txt");
    }
    const Tally tally = Judge(world, keep == nullptr ? nullptr : &stories);
    nlohmann::json row = Row(tally, note, Since(began));
    const bool loaded = tally.commands >= fault.options.load.commands &&
                        tally.held * 20 >= tally.commands && tally.done > 0;
    row["good"] = loaded && (fault.seen ? fault.seen(tally) : tally.wrongs() == 0);
    if (!row["good"]) {
      row["note"] = note + (tally.first_wrong.empty() ? "" : "; ") + tally.first_wrong;
      world.PrintLogs();
    }
    return row;
  } catch (const std::exception& surprise) {
    world.load().Stop();
    world.PrintLogs();
    return {{"good", false}, {"note", surprise.what()}, {"seconds", Since(began)}};
  }
}

std::string Padded(const std::string& text, size_t width) {
  return text + std::string(text.size() < width ? width - text.size() : 0, ' ');
}

std::string PaddedLeft(const std::string& text, size_t width) {
  return std::string(text.size() < width ? width - text.size() : 0, ' ') + text;
}

struct Column {
  const char* title;
  const char* field;
};

constexpr Column kColumns[] = {
    {"commands", "commands"},  {"held", "held"},       {"done", "done"},
    {"failed", "failed"},      {"refused", "refused"}, {"expired", "expired"},
    {"supers.", "superseded"}, {"untold", "untold"},   {"asked", "asked"},
    {"LOST", "lost"},          {"TWICE", "twice"},     {"LATE", "late"},
    {"UNASKED", "unasked"},    {"UNTRUE", "untrue"},   {"OPEN", "open"},
    {"over ms", "over_ms"}};

struct Running {
  const Fault* fault = nullptr;
  std::filesystem::path file;
  std::unique_ptr<Process> process;
  nlohmann::json row;
};

void PrintTable(const std::vector<Running>& rows, double seconds) {
  size_t width = 5;
  for (const Running& row : rows) {
    width = std::max(width, row.fault->name.size());
  }
  std::cout << Padded("fault", width);
  for (const Column& column : kColumns) {
    std::cout << " | " << column.title;
  }
  std::cout << " | sec | what was done\n" << std::string(width + 140, '-') << "\n";
  int bad = 0;
  for (const Running& row : rows) {
    std::cout << Padded(row.fault->name, width);
    for (const Column& column : kColumns) {
      const auto found = row.row.find(column.field);
      const std::string text = found == row.row.end() ? "?" : std::to_string(found->get<int64_t>());
      std::cout << " | " << PaddedLeft(text, std::string(column.title).size());
    }
    const bool good = row.row.value("good", false);
    bad += good ? 0 : 1;
    std::cout << " | " << PaddedLeft(std::to_string(row.row.value("seconds", 0)), 3) << " | "
              << (good ? "" : "FAILED: ") << row.row.value("note", "no report") << "\n";
  }
  std::cout << rows.size() << " faults in " << static_cast<int>(seconds) << " s, " << bad
            << " failed\n"
            << "untold: never held, and nobody reachable until it had expired. LOST: held, without "
               "an outcome. LATE: begun after its expiry (where cars' clocks are set back: 1 s "
               "after). UNASKED: done by a car that nobody had "
               "asked. UNTRUE: a final word that the car's acts belie. over ms: how long after its "
               "expiry an act ended that had begun before, at most. A control breaks what Latchkey "
               "rests on: there the suite must find fault.\n";
}

// Rows side by side, their loads one after the other.
int RunAll(const std::vector<const Fault*>& faults) {
  const auto began = steady_clock::now();
  const testing::TempDir folder;
  std::vector<Running> rows;
  for (const Fault* fault : faults) {
    rows.push_back({fault, folder.path() / (std::to_string(rows.size()) + ".json"), nullptr, {}});
  }
  // The long ones first.
  std::vector<size_t> order;
  for (const bool beside : {true, false}) {
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].fault->beside == beside) {
        order.push_back(i);
      }
    }
  }
  size_t next = 0;
  const auto running = [&](const Running& row) { return row.process && row.process->Running(); };
  for (;;) {
    const size_t busy =
        static_cast<size_t>(std::count_if(rows.begin(), rows.end(), [&](const Running& row) {
          return running(row) && !row.fault->beside;
        }));
    if (next < order.size() && (busy < kBesideMax || rows[order[next]].fault->beside)) {
      Running& row = rows[order[next++]];
      row.process = std::make_unique<Process>(
          std::vector<std::string>{"/proc/self/exe", "--row", row.fault->name, row.file.string(),
                                   (folder.path() / "turn").string(),
                                   std::to_string(row.fault->options.load.commands)},
          row.file.string() + ".log");
      continue;
    }
    if (next == order.size() && std::none_of(rows.begin(), rows.end(), running)) {
      break;
    }
    Eventually([&] { return false; }, std::chrono::milliseconds(50));
  }
  int bad = 0;
  for (Running& row : rows) {
    row.row = nlohmann::json::parse(testing::ReadAll(row.file), nullptr, false);
    if (!row.row.is_object()) {
      row.row = nlohmann::json::object();
    }
    if (!row.row.value("good", false)) {
      ++bad;
      std::cerr << "===== " << row.fault->name << "\n" << row.process->Output() << "\n";
    }
  }
  PrintTable(rows, Since(began));
  return bad == 0 ? 0 : 1;
}

const Fault* Find(const std::vector<Fault>& all, const std::string& name) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Fault& fault) { return fault.name == name; });
  return found == all.end() ? nullptr : &*found;
}

// A REQUIRE of tests/support outside a doctest case.
void OnAssert(const doctest::AssertData& assert) {
  std::ostringstream text;
  text << assert.m_file << ":" << assert.m_line << ": " << assert.m_expr << " "
       << assert.m_decomp.c_str();
  throw Surprise(text.str());
}

int Main(const std::vector<std::string>& arguments) {
  if (arguments.size() == 5 && arguments[0] == "--cars") {
    return load::RunCars(
        {arguments[1], arguments[2], std::stoi(arguments[3]), std::stoul(arguments[4])});
  }
  std::vector<Fault> all = AllFaults();
  if (arguments.size() == 5 && arguments[0] == "--row") {
    Fault fault = *Find(all, arguments[1]);
    fault.options.load.commands = std::stoul(arguments[4]);
    std::ofstream(arguments[2]) << RunRow(fault, arguments[3]).dump();
    return 0;
  }
  std::vector<const Fault*> chosen;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--list") {
      for (const Fault& fault : all) {
        std::cout << fault.name << "\n";
      }
      return 0;
    }
    if (arguments[i] == "--commands" && i + 1 < arguments.size()) {
      const size_t commands = std::stoul(arguments[++i]);
      for (Fault& fault : all) {
        fault.options.load.commands = commands;
      }
      continue;
    }
    const Fault* fault =
        arguments[i] == "--only" && i + 1 < arguments.size() ? Find(all, arguments[++i]) : nullptr;
    if (fault == nullptr) {
      std::cerr
          << "usage: faults [--only NAME]... [--commands N] [--list]; --list shows all names\n";
      return 2;
    }
    chosen.push_back(fault);
  }
  if (chosen.empty()) {
    for (const Fault& fault : all) {
      chosen.push_back(&fault);
    }
  }
  return RunAll(chosen);
}

}  // namespace

}  // namespace latchkey::faults

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  context.setAssertHandler(latchkey::faults::OnAssert);
  return latchkey::faults::Main({argv + 1, argv + argc});
}
