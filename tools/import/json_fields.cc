// See json_fields.h. No recursion: the depth is bounded while parsing, and counting uses a list.
#include "tools/import/json_fields.h"

#include <utility>
#include <vector>

#include "tools/import/record.h"

namespace latchkey::legacy {

std::optional<Json> ParseJson(std::string_view bytes) {
  bool deep = false;
  const auto bound = [&deep](int depth, Json::parse_event_t, Json&) {
    deep = deep || depth > kJsonDepthMax;
    return !deep;
  };
  if (bytes.substr(0, 3) == "\xEF\xBB\xBF") {
    bytes.remove_prefix(3);
  }
  Json json = Json::parse(bytes.begin(), bytes.end(), bound, false);
  if (deep || json.is_discarded()) {
    return std::nullopt;
  }
  return json;
}

std::string TextOf(const Json* json) {
  return json != nullptr && json->is_string() ? json->get<std::string>() : std::string();
}

const Json* JsonFields::Look(const std::string& path) const {
  const Json* at = &root_;
  std::string_view rest = path;
  while (!rest.empty()) {
    const size_t dot = rest.find('.');
    const std::string key(rest.substr(0, dot));
    rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
    if (!at->is_object()) {
      return nullptr;
    }
    const auto found = at->find(key);
    if (found == at->end() || found->is_null()) {
      return nullptr;
    }
    at = &*found;
  }
  return at;
}

const Json* JsonFields::Find(const std::string& path) {
  kept_.insert(path);
  return Look(path);
}

std::optional<double> JsonFields::Number(const std::string& path) {
  const Json* json = Find(path);
  if (json == nullptr) {
    return std::nullopt;
  }
  return json->is_number() ? std::optional(json->get<double>()) : NumberOf(TextOf(json));
}

std::string JsonFields::Text(const std::string& path) {
  const std::string text = TextOf(Find(path));
  return IsNothing(text) ? std::string() : text;
}

std::optional<bool> JsonFields::Flag(const std::string& path) {
  const Json* json = Find(path);
  if (json == nullptr) {
    return std::nullopt;
  }
  return json->is_boolean() ? std::optional(json->get<bool>()) : FlagOf(TextOf(json));
}

std::optional<double> JsonFields::Smallest(const std::string& list, const std::string& key) {
  const Json* json = Look(list);
  std::optional<double> smallest;
  if (json == nullptr || !json->is_array()) {
    return smallest;
  }
  kept_.insert(list + "[]." + key);
  for (const Json& one : *json) {
    JsonFields fields(one);
    const std::optional<double> value = fields.Number(key);
    if (value && (!smallest || *value < *smallest)) {
      smallest = value;
    }
  }
  return smallest;
}

void JsonFields::CountRest(std::map<std::string, uint64_t>& not_kept) const {
  struct Place {
    std::string path;
    const Json* json;
  };

  std::vector<Place> places = {{"", &root_}};
  while (!places.empty()) {
    const Place place = std::move(places.back());
    places.pop_back();
    if (kept_.count(place.path) > 0) {
      continue;
    }
    if (place.json->is_object()) {
      for (const auto& [key, value] : place.json->items()) {
        places.push_back({place.path.empty() ? key : place.path + "." + key, &value});
      }
    } else if (place.json->is_array()) {
      for (const Json& value : *place.json) {
        places.push_back({place.path + "[]", &value});
      }
    } else if (!place.json->is_null()) {
      ++not_kept[Shown(place.path)];
    }
  }
}

}  // namespace latchkey::legacy
