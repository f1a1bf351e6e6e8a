// What the pages that HTTP serves have in common: what they are asked and what they answer.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace latchkey::bridge {

// Reads a parameter of the query; nullopt: it is not there.
using Parameter = std::function<std::optional<std::string>(const std::string& name)>;

struct HttpAnswer {
  int status = 200;  // HTTP
  std::string json;
};

}  // namespace latchkey::bridge
