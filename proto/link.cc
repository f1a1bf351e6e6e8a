// Splitting links strictly, and the part that says where a car is.
#include "proto/link.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

namespace latchkey {
namespace {

constexpr size_t kHostBytesMax = 253;
constexpr size_t kCellBytesMax = 64;
constexpr size_t kPlaceValues = 5;

bool Plain(std::string_view text, std::string_view more, size_t bytes_max) {
  return !text.empty() && text.size() <= bytes_max &&
         std::all_of(text.begin(), text.end(), [more](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  more.find(c) != std::string_view::npos;
         });
}

bool ValidHost(std::string_view host) {
  return Plain(host, ".-_:", kHostBytesMax);
}

bool ValidCell(std::string_view cell) {
  return Plain(cell, ".-_", kCellBytesMax);
}

std::optional<int> ParsePort(std::string_view text) {
  if (text.empty()) {
    return std::nullopt;
  }
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || text.front() < '1' || port < 1 || port > 65535) {
    return std::nullopt;
  }
  return port;
}

// nullopt: a name missing, repeated or foreign.
std::optional<std::vector<std::string_view>> SplitPairs(std::string_view rest,
                                                        std::span<const std::string_view> names) {
  std::vector<std::optional<std::string_view>> values(names.size());
  for (size_t seen = 0; seen < names.size(); ++seen) {
    const size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    const size_t equals = pair.find('=');
    const auto name = std::find(names.begin(), names.end(), pair.substr(0, equals));
    if (equals == std::string_view::npos || name == names.end()) {
      return std::nullopt;
    }
    std::optional<std::string_view>& value =
        values[static_cast<size_t>(std::distance(names.begin(), name))];
    const bool last = seen + 1 == names.size();
    if (value || last != (end == std::string_view::npos)) {
      return std::nullopt;
    }
    value = pair.substr(equals + 1);
    rest = last ? std::string_view() : rest.substr(end + 1);
  }
  std::vector<std::string_view> all;
  all.reserve(values.size());
  for (const std::optional<std::string_view>& value : values) {
    all.push_back(value.value_or(""));
  }
  return all;
}

}  // namespace

tl::unexpected<Error> BadLink(const LinkKind& kind, std::string_view what) {
  std::string text = "the ";
  text.append(kind.title).append(" ").append(what).append(": ").append(kind.remedy);
  return Fail(v1::REASON_MALFORMED, std::move(text));
}

Result<std::vector<std::string_view>> SplitLink(std::string_view text, const LinkKind& kind) {
  if (text.size() > kLinkBytesMax) {
    return BadLink(kind, "is longer than 512 bytes");
  }
  if (!text.starts_with(kind.prefix)) {
    return BadLink(kind, "does not begin with " + std::string(kind.prefix));
  }
  std::optional<std::vector<std::string_view>> values =
      SplitPairs(text.substr(kind.prefix.size()), kind.names);
  if (!values) {
    std::string names;
    for (const std::string_view name : kind.names) {
      names.append(names.empty() ? "" : ", ").append(name);
    }
    return BadLink(kind, "does not have each of " + names + " exactly once");
  }
  if (values->front() != "1") {
    return BadLink(kind, "is of another version than 1");
  }
  return std::move(*values);
}

std::string PlaceText(const LinkPlace& place) {
  LK_ASSERT(ValidHost(place.host) && ValidCell(place.cell));
  LK_ASSERT(place.port >= 1 && place.port <= 65535);
  LK_ASSERT(!place.ref.fleet.empty() && !place.ref.car.empty());
  return "h=" + place.host + "&p=" + std::to_string(place.port) + "&cell=" + place.cell +
         "&f=" + place.ref.fleet.str() + "&c=" + place.ref.car.str();
}

Result<LinkPlace> ReadPlace(std::span<const std::string_view> values, const LinkKind& kind) {
  LK_ASSERT(values.size() == kPlaceValues);
  const std::optional<int> port = ParsePort(values[1]);
  if (!ValidHost(values[0]) || !port || !ValidCell(values[2])) {
    return BadLink(kind, "has a host, port or cell that cannot be");
  }
  std::optional<FleetId> fleet = FleetId::Parse(values[3]);
  std::optional<CarId> car = CarId::Parse(values[4]);
  if (!fleet || !car) {
    return BadLink(kind, "names a fleet or car that breaks the rules");
  }
  return LinkPlace{
      std::string(values[0]), *port, std::string(values[2]), {std::move(*fleet), std::move(*car)}};
}

}  // namespace latchkey
