// attacks [--only NAME]... [--list]: runs the cases and prints the table. Exit code 0: every weak
// run showed what it should, every one of ours was refused, and every row of the threat table has a
// case or a reason.
#define DOCTEST_CONFIG_IMPLEMENT
#include <algorithm>
#include <chrono>
#include <csignal>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/attacks/attack.h"

namespace latchkey::attacks {

namespace {

std::vector<Case> AllCases() {
  std::vector<Case> all;
  for (const auto& cases :
       {IdentityCases(), TokenCases(), CommandCases(), RingCases(), PairingCases(), TopicCases(),
        SessionCases(), ResourceCases(), DataCases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

struct Row {
  const Case* attack = nullptr;
  std::string weak;
  std::string ours;
  bool weak_failed = false;
  bool ours_failed = false;
  double seconds = 0;
};

std::string Try(const RunCase& run, World& world, bool& failed) {
  try {
    return run(world);
  } catch (const std::exception& surprise) {
    failed = true;
    std::string text = surprise.what();
    std::replace(text.begin(), text.end(), '\n', ' ');
    constexpr size_t kMost = 400;
    return text.substr(0, kMost);
  }
}

Row RunOne(const Case& attack, World& world) {
  const auto began = std::chrono::steady_clock::now();
  Row row;
  row.attack = &attack;
  row.weak = Try(attack.weak, world, row.weak_failed);
  row.ours = Try(attack.ours, world, row.ours_failed);
  row.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return row;
}

std::string Padded(const std::string& text, size_t width) {
  return text + std::string(text.size() < width ? width - text.size() : 0, ' ');
}

void PrintTable(const std::vector<Row>& rows) {
  size_t name = 4;
  size_t source = 6;
  size_t weak = 12;
  for (const Row& row : rows) {
    name = std::max(name, row.attack->name.size());
    source = std::max(source, row.attack->source.size());
    weak = std::max(weak, std::min<size_t>(row.weak.size(), 60));
  }
  std::cout << Padded("case", name) << " | " << Padded("source", source) << " | "
            << Padded("plain broker", weak + 2) << " | Latchkey\n"
            << std::string(name + source + weak + 40, '-') << "\n";
  for (const Row& row : rows) {
    const bool too = row.attack->weak_shows == Weak::kRefusedToo;
    const std::string mark = row.weak_failed ? "?  " : (too ? "-  " : "!  ");
    std::cout << Padded(row.attack->name, name) << " | " << Padded(row.attack->source, source)
              << " | " << Padded(mark + row.weak, weak + 3) << " | "
              << (row.ours_failed ? "NOT REFUSED: " : "refused: ") << row.ours << "\n";
  }
}

// Rows of the threat table that no case names and no reason excuses.
std::vector<std::string> MissingRows(const std::vector<Case>& cases) {
  std::set<std::string> named;
  for (const Case& attack : cases) {
    std::istringstream words(attack.rows);
    for (std::string word; words >> word;) {
      named.insert(word);
    }
  }
  for (const NotCovered& row : NotCoveredRows()) {
    named.insert(row.row);
  }
  std::vector<std::string> missing;
  for (const std::string& row : ThreatRows()) {
    if (named.count(row) == 0) {
      missing.push_back(row);
    }
  }
  return missing;
}

int Report(const std::vector<Row>& rows, const std::vector<Case>& all, double seconds) {
  PrintTable(rows);
  int succeeded = 0;
  int refused_too = 0;
  int weak_failed = 0;
  int ours_failed = 0;
  for (const Row& row : rows) {
    weak_failed += row.weak_failed ? 1 : 0;
    ours_failed += row.ours_failed ? 1 : 0;
    const bool too = row.attack->weak_shows == Weak::kRefusedToo;
    succeeded += !row.weak_failed && !too ? 1 : 0;
    refused_too += !row.weak_failed && too ? 1 : 0;
  }
  std::cout << "\nnot covered here, because\n";
  for (const NotCovered& row : NotCoveredRows()) {
    std::cout << "  " << Padded(row.row, 16) << row.why << "\n";
  }
  const std::vector<std::string> missing = MissingRows(all);
  for (const std::string& row : missing) {
    std::cout << "  " << Padded(row, 16) << "NO CASE AND NO REASON\n";
  }
  std::cout << "\n"
            << rows.size() << " cases in " << static_cast<int>(seconds) << " s: plain broker "
            << succeeded << " broken (!), " << refused_too << " closed there too (-), "
            << weak_failed << " unproven (?); Latchkey "
            << rows.size() - static_cast<size_t>(ours_failed) << " refused, " << ours_failed
            << " not refused\n";
  return weak_failed + ours_failed + static_cast<int>(missing.size()) == 0 ? 0 : 1;
}

// A REQUIRE of tests/support outside a doctest case.
void OnAssert(const doctest::AssertData& assert) {
  std::ostringstream text;
  text << assert.m_file << ":" << assert.m_line << ": " << assert.m_expr << " "
       << assert.m_decomp.c_str();
  throw Surprise(text.str());
}

int Main(const std::vector<std::string>& arguments) {
  std::set<std::string> only;
  bool list = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--list") {
      list = true;
    } else if (arguments[i] == "--only" && i + 1 < arguments.size()) {
      only.insert(arguments[++i]);
    } else {
      std::cerr << "usage: attacks [--only NAME]... [--list]\n";
      return 2;
    }
  }
  const std::vector<Case> all = AllCases();
  if (list) {
    for (const Case& attack : all) {
      std::cout << attack.name << "  " << attack.rows << "\n";
    }
    return 0;
  }
  std::set<std::string> names;
  for (const Case& attack : all) {
    if (!names.insert(attack.name).second) {
      std::cerr << "two cases are called " << attack.name << "\n";
      return 2;
    }
  }
  for (const std::string& name : only) {
    if (names.count(name) == 0) {
      std::cerr << "no case is called " << name << "; --list shows all\n";
      return 2;
    }
  }
  const auto began = std::chrono::steady_clock::now();
  World world;
  std::vector<Row> rows;
  int number = 0;
  for (const Case& attack : all) {
    world.SetCase(++number);
    if (only.empty() || only.count(attack.name) > 0) {
      rows.push_back(RunOne(attack, world));
      std::cerr << "[" << number << "/" << all.size() << "] " << attack.name << " "
                << static_cast<int>(rows.back().seconds * 1000) << " ms\n";
    }
  }
  return Report(rows, all,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
}

}  // namespace

}  // namespace latchkey::attacks

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  context.setAssertHandler(latchkey::attacks::OnAssert);
  return latchkey::attacks::Main({argv + 1, argv + argc});
}
