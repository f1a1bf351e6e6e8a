// The door to spdlog.
#include "bridge/log.h"

#include <cstdint>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace latchkey::bridge {

namespace {

bool NeedsQuotes(std::string_view value) {
  if (value.empty()) {
    return true;
  }
  for (const char c : value) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == '\x7f') {
      return true;
    }
  }
  return false;
}

std::string Quoted(std::string_view value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : value) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      text += "\\x";
      text += kDigits[byte >> 4];
      text += kDigits[byte & 0x0f];
    } else {
      text += c;
    }
  }
  return text + "\"";
}

}  // namespace

std::string ToLine(const LogEvent& event) {
  std::string line = event.event;
  for (const auto& [key, value] : event.fields) {
    line += " " + key + "=" + (NeedsQuotes(value) ? Quoted(value) : value);
  }
  return line;
}

void OpenLog(std::string_view level) {
  auto logger = spdlog::stderr_logger_mt("bridge");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  logger->set_level(level == "debug"     ? spdlog::level::debug
                    : level == "warning" ? spdlog::level::warn
                    : level == "error"   ? spdlog::level::err
                                         : spdlog::level::info);
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

void Log(const LogEvent& event) {
  switch (event.level) {
    case LogEvent::Level::kInfo:
      spdlog::info("{}", ToLine(event));
      return;
    case LogEvent::Level::kWarning:
      spdlog::warn("{}", ToLine(event));
      return;
  }
}

}  // namespace latchkey::bridge
