// One JSON object of a legacy cloud, read by paths; what nobody asked for is counted. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace latchkey::legacy {

using Json = nlohmann::json;

inline constexpr int kJsonDepthMax = 64;

// nullopt: not valid JSON, or nested deeper than kJsonDepthMax.
std::optional<Json> ParseJson(std::string_view bytes);

// A text as UTF-8; empty: it is none.
std::string TextOf(const Json* json);

// Not copyable: `root` outlives it.
class JsonFields {
 public:
  explicit JsonFields(const Json& root) : root_(root) {}

  JsonFields(const JsonFields&) = delete;
  JsonFields& operator=(const JsonFields&) = delete;

  // The value at "state.location.heading"; nullptr: there is none. It counts as kept.
  const Json* Find(const std::string& path);
  // A number, or a text that is one; nullopt: neither, or nothing.
  std::optional<double> Number(const std::string& path);
  // A text; empty: there is none, or a word for nothing (IsNothing).
  std::string Text(const std::string& path);
  // true, false, or a text that says so.
  std::optional<bool> Flag(const std::string& path);
  // The smallest number that the objects of a list have under `key`.
  std::optional<double> Smallest(const std::string& list, const std::string& key);

  // Is there something, kept or not?
  bool Has(const std::string& path) const { return Look(path) != nullptr; }

  // Adds the fields that were not asked for, by path; places in lists are "[]".
  void CountRest(std::map<std::string, uint64_t>& not_kept) const;

 private:
  const Json* Look(const std::string& path) const;

  const Json& root_;
  std::set<std::string> kept_;  // paths; also what lies below
};

}  // namespace latchkey::legacy
