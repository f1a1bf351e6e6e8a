// What a key shall be allowed to do, as people say it: a role, words for commands and state groups,
// a time and hours. Both `phone share` and `fleet give` read it from the same options.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "proto/keyring.h"
#include "proto/result.h"
#include "proto/time.h"

namespace CLI {
class App;
}

namespace latchkey::cli {

// Options as given; what is not given leaves what there is.
struct RightsWish {
  std::optional<std::string> role;   // owner, driver, guest
  std::vector<std::string> may;      // open, signal, close, comfort, settings, keys, all, none
  std::vector<std::string> sees;     // state groups, all, none
  std::optional<std::string> from;   // a time, or "now": from always
  std::optional<std::string> until;  // a time, or "never"
  std::vector<std::string> hours;    // see ParseHours
  std::optional<std::string> label;  // at most kLabelBytesMax
  bool operator==(const RightsWish&) const = default;
};

// --role, --may, --sees, --from, --until, --hours, --label.
void AddRightsOptions(CLI::App& command, RightsWish& wish);

// "owner", "driver", "guest" or "fleet", and back. Error REASON_MALFORMED.
std::string RoleText(v1::Role role);
Result<v1::Role> ParseRole(std::string_view text);

// What a new key has before the wish: a guest's rights, at any time.
RingKey NewGuest(const PublicKey& key, const std::string& label);

// `key` with the wish applied. A role brings its own rights; --may and --sees then replace those
// to command and those to read. Errors REASON_MALFORMED, REASON_TOO_LARGE: what cannot be read, a
// time that is over, an end before the beginning.
Result<RingKey> Apply(const RightsWish& wish, RingKey key, const Now& now, int utc_offset_minutes);

// REASON_NOT_PERMITTED when `signer` may not give `key`: it keeps no keys, or it lacks a right that
// `key` has; the text names what is missing. The car decides the same.
Result<void> MayGive(const RingKey& signer, const RingKey& key);

// "may signal, close; sees body, energy"
std::string RightsText(uint32_t permissions);
// "from 2026-12-01 08:00:00, until ..., mon-fri 08:00-18:00"; empty: at any time.
std::string TimesText(const RingKey& key, int utc_offset_minutes);
// key_id, label, role, may, sees, from_ms, until_ms, hours (local), week (UTC minutes).
nlohmann::ordered_json KeyJson(const RingKey& key, int utc_offset_minutes);

// The key of `ring` that `text` names: a key id, or the label of one key only. Error
// REASON_NOT_ON_RING with what there is.
Result<RingKey> FindKey(const KeyRing& ring, std::string_view text);

}  // namespace latchkey::cli
