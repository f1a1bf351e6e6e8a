// What one bridge gives to the next. Input: a HandedOver's bytes.
#include "bridge/handed_over.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  const std::optional<bridge::HandedOver> handed = bridge::DecodeHandedOver(input);
  if (handed) {
    Require(bridge::EncodeHandedOver(*handed) == input, "there is one way to say it");
  }
}

}  // namespace latchkey::fuzz
