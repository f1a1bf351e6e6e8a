// Files in the folders of gammu-smsd: anybody's SMS gets into its inbox. The first line is the
// name, the rest what is in it.
#include <algorithm>
#include <string>

#include "bridge/sms_gammu.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  const size_t end = std::min(input.find('\n'), input.size());
  const std::string_view name = input.substr(0, end);
  const std::string_view text = input.substr(std::min(end + 1, input.size()));
  if (const auto report = bridge::ReadGammuReport(name, text)) {
    Require(name.find("_" + report->number + "_") != std::string_view::npos,
            "the number is the one of the name");
    Require(bridge::ReadGammuReport(name, text)->what == report->what, "one file has one meaning");
  }
  static_cast<void>(bridge::ReadGammuReference(text));
  if (const auto sms = bridge::ReadGammuName(name)) {
    const bridge::SendSms same{sms->id, testing::Ref("f1", "car1"), sms->number, std::string(text),
                               sms->expires_at};
    const auto again = bridge::ReadGammuName(bridge::GammuName(same, testing::kNow, 0));
    Require(again && again->id == sms->id && again->number == sms->number &&
                again->expires_at == sms->expires_at,
            "what a name says can be written again");
  }
}

}  // namespace latchkey::fuzz
