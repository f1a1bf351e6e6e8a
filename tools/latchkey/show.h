// How the command shows times, values with how far they can be trusted, and failures, and reads
// times from the command line.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "proto/freshness.h"
#include "proto/result.h"
#include "proto/state.h"
#include "proto/time.h"
#include "tools/latchkey/commands.h"

namespace latchkey::cli {

Now ReadClocks();

// Local time: "09:41:12.345".
std::string ClockText(Timestamp time);
// Local date and time: "2026-11-21 09:41:12.345".
std::string DateText(Timestamp time);

// "500ms", "30s", "10m", "2h", "1d"; a bare number is seconds. Error REASON_MALFORMED.
Result<Duration> ParseDuration(std::string_view text);

// When and how a value came to whoever shows it, and how its car was then.
struct Moment {
  Timestamp now;
  Timestamp received_at;  // by the clock that `now` is by
  Group group = Group::kBody;
  CarMode mode = CarMode::kOffline;
  bool retained = false;  // the broker had kept it: it was said before it was received
};

// "live    3 s ago", "recent  2 min ago, by when it came: car's clock is 3 min ahead"
std::string AgeWords(const Age& age);
// "energy.soc     87.5 percent   live    3 s ago  observed 2026-11-21 09:41:12.345  received
// 09:41:12.401 (retained)"
std::string RowText(const SignalRow& row, const Moment& moment);
// {"signal","vss","value","unit","observed_at_ms","received_at_ms","age_ms","freshness","retained"};
// empty texts are left out.
nlohmann::ordered_json RowJson(const SignalRow& row, const Moment& moment);
// Without what only a Moment says: {"signal","vss","value","unit","observed_at_ms","age_ms"}.
nlohmann::ordered_json RowJson(const SignalRow& row, Timestamp now);

// Text that somebody else chose, fit for a terminal: control characters are '?'.
std::string Printable(std::string_view text);

// "[#######-------------]  35/100  12.3/s  5 s left"; before anything is done without rate and
// rest.
std::string ProgressText(size_t done, size_t total, Duration elapsed);

// Draws a line on stderr's terminal in the place of the one before; empty: erases it.
void SayInPlace(const std::string& line);

// "0x87 Not authorized"
std::string ReasonCodeText(int code);

// Says on stderr what went wrong; the command ends with `exit_code`.
void Complain(Context& context, const Error& error, int exit_code = 1);

// Prints one line and flushes it, so that who reads a pipe sees it at once.
void Say(const std::string& line);

}  // namespace latchkey::cli
