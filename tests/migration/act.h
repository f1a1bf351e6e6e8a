// What the suite shows, act by act, and what it found out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace latchkey::migration {

struct Options {
  size_t cars = 100'000;  // in the store, beside those that are there
  uint64_t seed = 0;
  int seconds = 60;  // of each stretch that is measured
  int kills = 20;
  int per_second = 200;  // commands
  std::string keep;      // folder for the logs; empty: they go
};

struct Report {
  std::vector<std::pair<std::string, std::string>> rows;
  std::vector<std::string> wrongs;

  void Row(const std::string& title, const std::string& text) { rows.emplace_back(title, text); }

  void Row(const std::string& title, uint64_t number) { Row(title, std::to_string(number)); }

  void Wrong(const std::vector<std::string>& more) {
    wrongs.insert(wrongs.end(), more.begin(), more.end());
  }
};

// Both migrations of a live cell, with everything that may be ordered, and kills.
void MigrateLive(const Options& options, Report& report);

// The disk is full in the middle of a migration of a live cell.
void FillDiskMidway(const Options& options, Report& report);

// A migration that drops a field in one record of all. No bridge: it has no door for such a thing.
void CatchPlantedBug(const Options& options, Report& report);

}  // namespace latchkey::migration
