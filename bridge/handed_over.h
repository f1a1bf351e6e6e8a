// What a bridge gives to the one that takes over from it, beside the store and the MQTT session.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/message.h"

namespace latchkey::bridge {

// Of its bytes; words beyond are left out, and then `kept` is false.
inline constexpr size_t kHandedOverBytesMax = size_t{8} << 20;

struct HandedOver {
  // The MQTT session has been left to the broker with everything seen and everything said but
  // `words`: the broker need not show again what it retains.
  bool kept = false;
  // What rests on the store and the broker did not get any more: receipts above all.
  std::vector<Publish> words;
  bool operator==(const HandedOver&) const = default;
};

// kept(1), then for each word: topic payload, each with its length(4) before it, qos(1) retain(1)
// expiry_s(4). Numbers are big-endian.
std::string EncodeHandedOver(const HandedOver& handed);
// nullopt: these are no such bytes.
std::optional<HandedOver> DecodeHandedOver(std::string_view bytes);

}  // namespace latchkey::bridge
