// What was read last of bytes that are costly to read: who asks for the same bytes again is given
// what was made of them, without a second reading. An X.509 certificate is such: libcrypto takes
// longer to read one than to check its signature, and a car's comes at its sign-in, with each of
// its rings, and several times within one check.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace latchkey {

// Not thread-safe. Holds at most `slots` values, each with its bytes; the slot is chosen by a hash
// of the bytes, so a value stays until other bytes of the same slot are kept.
template <class Value>
class LastRead {
 public:
  // `slots` at least 1.
  explicit LastRead(size_t slots) : slots_(slots) {}

  // nullptr: these bytes are not among the last. Valid until the next Keep. Allocates nothing.
  const Value* Find(std::string_view bytes) const {
    const Slot& slot = slots_[SlotOf(bytes)];
    return slot.value && slot.bytes == bytes ? &*slot.value : nullptr;
  }

  void Keep(std::string_view bytes, Value value) {
    Slot& slot = slots_[SlotOf(bytes)];
    slot.bytes = std::string(bytes);
    slot.value = std::move(value);
  }

 private:
  struct Slot {
    std::string bytes;
    std::optional<Value> value;
  };

  size_t SlotOf(std::string_view bytes) const {
    return std::hash<std::string_view>{}(bytes) % slots_.size();
  }

  std::vector<Slot> slots_;
};

}  // namespace latchkey
