// The topic table: every topic of Latchkey once, with who may write it, who may read it, whether it
// is retained and how large it may be. Parsing allocates nothing: views point into the input.
//
//   lk/1/{fleet}/{car}/state/{group}          lk/1/{fleet}/{car}/pairing/{key id}
//   lk/1/{fleet}/{car}/presence               lk/1/{fleet}/{car}/pairing/{key id}/answer
//   lk/1/{fleet}/{car}/keyring                lk/1/{fleet}/{car}/command/{key id}
//   lk/1/{fleet}/{car}/certificate            lk/1/{fleet}/{car}/receipt/{key id}
//   lk/1/{fleet}/{car}/certificate/request
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proto/types.h"

namespace latchkey {

enum class TopicKind : uint8_t {
  kState,
  kPresence,
  kKeyRing,
  kPairingClaim,
  kPairingAnswer,
  kCommand,
  kReceipt,
  kCertificate,         // registrar -> car
  kCertificateRequest,  // car -> registrar
};

inline constexpr size_t kTopicKindCount = 9;

// Not below lk/1: where the broker's plugin says what belongs into the log, a v1.LogEntry each.
// Only bridges may read it; only the plugin writes it.
inline constexpr std::string_view kEventTopic = "$SYS/broker/latchkey/event";

// Not below lk/1: where the plugins of two brokers that are joined speak to each other, a
// v1.PeerWord each. Only they may write and read it.
inline constexpr std::string_view kPeerTopic = "lk/peer";

// One parsed topic name. Views live as long as the parsed string. `fleet`, `car`, `lane` obey their
// rules.
struct Topic {
  TopicKind kind = TopicKind::kState;
  std::string_view fleet;
  std::string_view car;
  std::string_view lane;       // key id; empty where the kind has no lane
  Group group = Group::kBody;  // kState only
};

// What the table says of a kind, beside who may write and read (plugins/auth/access.h).
struct TopicRule {
  std::string_view word;     // "state", "presence", ...
  bool retained;             // true: must be retained; false: must not
  size_t payload_bytes_max;  // larger is refused with REASON_TOO_LARGE
};

const TopicRule& RuleOf(TopicKind kind);

// nullopt: not one of ours, a wildcard in it, or a name that breaks its rule.
std::optional<Topic> ParseTopic(std::string_view name);

// ParseTopic for who is asked about the same name several times in a row. Not thread-safe.
class LastTopic {
 public:
  LastTopic() = default;
  LastTopic(const LastTopic&) = delete;  // what it gives points into it
  LastTopic& operator=(const LastTopic&) = delete;
  ~LastTopic() = default;

  // Views of what it gives live until the next call.
  const std::optional<Topic>& Parse(std::string_view name);

 private:
  std::string name_;
  std::optional<Topic> topic_;
};

std::string StateTopic(const CarRef& ref, Group group);
std::string PresenceTopic(const CarRef& ref);
std::string KeyRingTopic(const CarRef& ref);
std::string PairingTopic(const CarRef& ref, const KeyId& lane);
std::string PairingAnswerTopic(const CarRef& ref, const KeyId& lane);
std::string CommandTopic(const CarRef& ref, const KeyId& lane);
std::string ReceiptTopic(const CarRef& ref, const KeyId& lane);
std::string CertificateTopic(const CarRef& ref);
std::string CertificateRequestTopic(const CarRef& ref);

// One parsed subscription filter, `$share/{name}/` taken off. Each level after lk/1 is a fixed
// word,
// '+', or ended by '#'. Only filters below lk/1 parse.
struct Filter {
  std::string_view share;                 // share name; empty when not shared
  std::optional<std::string_view> fleet;  // nullopt: wildcard
  std::optional<std::string_view> car;    // nullopt: wildcard
  std::string_view
      rest;  // levels after the car, wildcards included; "#" when the filter ended earlier with '#'
};

// nullopt: malformed, or could match a topic outside lk/1.
std::optional<Filter> ParseFilter(std::string_view filter);

// MQTT 5.0 section 4.7: does `filter` (without $share) match `name`?
bool FilterMatches(std::string_view filter, std::string_view name);

}  // namespace latchkey
