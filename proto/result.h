// What a call that was supposed to work gives back: a value, or a Reason with a text for people.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <tl/expected.hpp>

#include "latchkey/v1/reason.pb.h"

namespace latchkey {

using Reason = v1::Reason;

// Why something outside failed. `text` says what happened, to what, and what to do next.
struct Error {
  Reason reason = v1::REASON_INTERNAL;
  std::string text;
  bool operator==(const Error&) const = default;
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> Fail(Reason reason, std::string text) {
  return tl::unexpected<Error>(Error{reason, std::move(text)});
}

// What a check of something somebody else sent gives back. REASON_UNSPECIFIED means allowed.
struct Verdict {
  Reason reason = v1::REASON_UNSPECIFIED;

  bool allowed() const { return reason == v1::REASON_UNSPECIFIED; }

  bool operator==(const Verdict&) const = default;

  static constexpr Verdict Allow() { return {}; }

  static constexpr Verdict Refuse(Reason reason) { return {reason}; }
};

// We are wrong: thrown by LK_ASSERT, caught only at a door.
class Fault : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void ThrowFault(const char* what) {
  throw Fault(what);
}

}  // namespace latchkey

#define LK_ASSERT(condition) \
  (static_cast<bool>(condition) ? void() : ::latchkey::ThrowFault("assertion failed: " #condition))

#define LK_CONCAT_INNER(a, b) a##b
#define LK_CONCAT(a, b) LK_CONCAT_INNER(a, b)
// LK_TRY(Command command, Open(...)): unpacks a Result or returns its error from this function.
#define LK_TRY(declaration, expression)                                             \
  auto LK_CONCAT(lk_try_, __LINE__) = (expression);                                 \
  if (!LK_CONCAT(lk_try_, __LINE__)) {                                              \
    return tl::unexpected<::latchkey::Error>(LK_CONCAT(lk_try_, __LINE__).error()); \
  }                                                                                 \
  declaration = std::move(*LK_CONCAT(lk_try_, __LINE__))
// LK_CHECK(Validate(...)): for Result<void>.
#define LK_CHECK(expression)                                             \
  do {                                                                   \
    auto lk_check_result = (expression);                                 \
    if (!lk_check_result) {                                              \
      return tl::unexpected<::latchkey::Error>(lk_check_result.error()); \
    }                                                                    \
  } while (false)
