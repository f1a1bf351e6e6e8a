// Figures of the broker: topics into names, texts into numbers.
#include "bridge/figures.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>
#include <vector>

#include "proto/blocks.h"
#include "proto/topic.h"

namespace latchkey::bridge {

namespace {

constexpr std::string_view kPrefix = "$SYS/broker/latchkey/";
constexpr size_t kWordMax = 32;
constexpr size_t kLevelsMax = 3;

bool IsWord(std::string_view text) {
  return !text.empty() && text.size() <= kWordMax && text.front() >= 'a' && text.front() <= 'z' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

// Empty: not a name of figures.
std::vector<std::string> Words(std::string_view name) {
  std::vector<std::string> words;
  for (;;) {
    const size_t slash = name.find('/');
    const std::string_view word = name.substr(0, slash);
    if (!IsWord(word) || words.size() == kLevelsMax) {
      return {};
    }
    words.emplace_back(word);
    if (slash == std::string_view::npos) {
      return words;
    }
    name.remove_prefix(slash + 1);
  }
}

std::optional<uint64_t> NumberOf(const std::string& text) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(number) : std::nullopt;
}

template <class Map>
void Put(Map& map, const typename Map::key_type& key, uint64_t number) {
  if (map.size() < kFiguresMax || map.contains(key)) {
    map[key] = number;
  }
}

}  // namespace

bool FigureBoard::Take(const Publish& publish) {
  const std::string_view topic = publish.topic;
  if (topic.substr(0, kPrefix.size()) != kPrefix || topic == kBlocksChangedTopic ||
      topic == kEventTopic) {
    return false;
  }
  const std::vector<std::string> words = Words(topic.substr(kPrefix.size()));
  const std::optional<uint64_t> number = NumberOf(publish.payload);
  if (words.empty() || !number) {
    return true;
  }
  const std::lock_guard lock(mutex_);
  if (words.front() == "refused" && words.size() == 3) {
    Put(figures_.refused, {words[1], words[2]}, *number);
    return true;
  }
  std::string name = words.front();
  for (size_t i = 1; i < words.size(); ++i) {
    name += "_" + words[i];
  }
  Put(figures_.numbers, name, *number);
  return true;
}

void FigureBoard::Clear() {
  const std::lock_guard lock(mutex_);
  figures_ = {};
}

BrokerFigures FigureBoard::Show() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

}  // namespace latchkey::bridge
