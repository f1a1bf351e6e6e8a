// See handed_over.h.
#include "bridge/handed_over.h"

#include <cstdint>
#include <utility>

namespace latchkey::bridge {

namespace {

constexpr int kByteBits = 8;
constexpr size_t kNumberBytes = 4;
constexpr int kQosMax = 2;

void PutNumber(std::string& out, uint32_t number) {
  for (size_t i = kNumberBytes; i-- > 0;) {
    out.push_back(static_cast<char>(number >> (kByteBits * i) & 0xff));
  }
}

void PutText(std::string& out, std::string_view text) {
  PutNumber(out, static_cast<uint32_t>(text.size()));
  out += text;
}

// Takes from the front; nullopt: there is too little.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : left_(bytes) {}

  bool empty() const { return left_.empty(); }

  std::optional<std::string_view> Take(size_t count) {
    if (left_.size() < count) {
      return std::nullopt;
    }
    const std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }

  std::optional<uint8_t> Byte() {
    const auto taken = Take(1);
    return taken ? std::optional(static_cast<uint8_t>(taken->front())) : std::nullopt;
  }

  std::optional<uint32_t> Number() {
    const auto taken = Take(kNumberBytes);
    if (!taken) {
      return std::nullopt;
    }
    uint32_t number = 0;
    for (const char byte : *taken) {
      number = number << kByteBits | static_cast<uint8_t>(byte);
    }
    return number;
  }

  std::optional<std::string> Text() {
    const auto size = Number();
    const auto taken = size ? Take(*size) : std::nullopt;
    return taken ? std::optional(std::string(*taken)) : std::nullopt;
  }

 private:
  std::string_view left_;
};

std::optional<Publish> WordOf(Bytes& bytes) {
  std::optional<std::string> topic = bytes.Text();
  std::optional<std::string> payload = bytes.Text();
  const auto qos = bytes.Byte();
  const auto retain = bytes.Byte();
  const auto expiry = bytes.Number();
  if (!topic || topic->empty() || !payload || !qos || *qos > kQosMax || !retain || *retain > 1 ||
      !expiry) {
    return std::nullopt;
  }
  return Publish{*std::move(topic), *std::move(payload), *qos,
                 *retain == 1 ? Retain::kYes : Retain::kNo, *expiry};
}

}  // namespace

std::string EncodeHandedOver(const HandedOver& handed) {
  std::string out(1, '\0');
  bool whole = true;
  for (const Publish& word : handed.words) {
    if (out.size() + word.topic.size() + word.payload.size() + 4 * kNumberBytes >
        kHandedOverBytesMax) {
      whole = false;
      break;
    }
    PutText(out, word.topic);
    PutText(out, word.payload);
    out.push_back(static_cast<char>(word.qos));
    out.push_back(word.retain == Retain::kYes ? '\1' : '\0');
    PutNumber(out, word.expiry_s);
  }
  out.front() = handed.kept && whole ? '\1' : '\0';
  return out;
}

std::optional<HandedOver> DecodeHandedOver(std::string_view given) {
  Bytes bytes(given);
  const auto kept = bytes.Byte();
  if (!kept || *kept > 1 || given.size() > kHandedOverBytesMax) {
    return std::nullopt;
  }
  HandedOver handed;
  handed.kept = *kept == 1;
  while (!bytes.empty()) {
    std::optional<Publish> word = WordOf(bytes);
    if (!word) {
      return std::nullopt;
    }
    handed.words.push_back(*std::move(word));
  }
  return handed;
}

}  // namespace latchkey::bridge
