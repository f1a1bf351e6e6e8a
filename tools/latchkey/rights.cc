// Words for rights are the schema's own: PERMISSION_OPEN is "open", PERMISSION_READ_BODY "body".
#include "tools/latchkey/rights.h"

#include <algorithm>
#include <array>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/latchkey/hours.h"
#include "tools/latchkey/key_text.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

struct Word {
  std::string_view text;
  v1::Permission permission;
};

constexpr std::array<Word, 6> kCommands = {{{"open", v1::PERMISSION_OPEN},
                                            {"signal", v1::PERMISSION_SIGNAL},
                                            {"close", v1::PERMISSION_CLOSE},
                                            {"comfort", v1::PERMISSION_COMFORT},
                                            {"settings", v1::PERMISSION_SETTINGS},
                                            {"keys", v1::PERMISSION_KEYS}}};

constexpr std::array<std::pair<std::string_view, v1::Role>, 4> kRoles = {
    {{"owner", v1::ROLE_OWNER},
     {"driver", v1::ROLE_DRIVER},
     {"guest", v1::ROLE_GUEST},
     {"fleet", v1::ROLE_FLEET}}};

std::vector<Word> Readings() {
  std::vector<Word> words;
  for (const Group group : kGroups) {
    words.push_back({ToText(group), ReadPermission(group)});
  }
  return words;
}

std::vector<Word> Commands() {
  return {kCommands.begin(), kCommands.end()};
}

uint32_t MaskOf(const std::vector<Word>& words) {
  uint32_t mask = 0;
  for (const Word& word : words) {
    mask |= Bit(word.permission);
  }
  return mask;
}

std::vector<std::string> WordsOf(uint32_t permissions, const std::vector<Word>& words) {
  std::vector<std::string> texts;
  for (const Word& word : words) {
    if ((permissions & Bit(word.permission)) != 0) {
      texts.emplace_back(word.text);
    }
  }
  return texts;
}

std::string Joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) {
    all += (all.empty() ? "" : ", ") + text;
  }
  return all;
}

Result<uint32_t> ParseWords(const std::vector<std::string>& texts, const std::vector<Word>& words,
                            std::string_view option) {
  uint32_t mask = 0;
  for (const std::string& text : texts) {
    const auto found = std::find_if(words.begin(), words.end(),
                                    [&](const Word& word) { return word.text == text; });
    if (found != words.end()) {
      mask |= Bit(found->permission);
    } else if (text == "all") {
      mask |= MaskOf(words);
    } else if (text != "none" || texts.size() != 1) {
      return Fail(v1::REASON_MALFORMED,
                  std::string(option) + " does not know \"" + text +
                      "\"; there are: " + Joined(WordsOf(MaskOf(words), words)) + ", all, none");
    }
  }
  return mask;
}

Result<void> ApplyTimes(const RightsWish& wish, RingKey& key, Timestamp now,
                        int utc_offset_minutes) {
  if (wish.from) {
    key.not_before = {};
    if (*wish.from != "now") {
      LK_TRY(key.not_before, ParseWhen(*wish.from, now));
    }
  }
  if (wish.until) {
    key.not_after = {};
    if (*wish.until != "never") {
      LK_TRY(key.not_after, ParseWhen(*wish.until, now));
      if (key.not_after <= now) {
        return Fail(v1::REASON_MALFORMED,
                    "--until " + *wish.until + " is over already (" + DateText(key.not_after) +
                        "): give a later time, or take the key away with `latchkey phone remove`");
      }
    }
  }
  if (key.not_after.ms != 0 && key.not_after <= key.not_before) {
    return Fail(v1::REASON_MALFORMED, "the key would end (" + DateText(key.not_after) +
                                          ") before it begins (" + DateText(key.not_before) +
                                          "): change --from or --until");
  }
  if (!wish.hours.empty()) {
    LK_TRY(key.week, ParseHours(wish.hours, utc_offset_minutes));
  }
  return {};
}

}  // namespace

void AddRightsOptions(CLI::App& command, RightsWish& wish) {
  command.add_option("--role", wish.role,
                     "owner (everything), driver (everything but keys) or guest (signal, close, "
                     "comfort; body, energy, climate, drive); a new key is a guest's");
  command
      .add_option("--may", wish.may,
                  "Commands, instead of the role's: open,signal,close,comfort,settings,keys, all "
                  "or none")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      .add_option("--sees", wish.sees,
                  "State groups, instead of the role's: body,energy,location,climate,drive,"
                  "service,apps,link,area, all or none")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--from", wish.from, "Valid from: 2h, 3d, 2026-12-01T08:00, or now");
  command.add_option("--until", wish.until, "Valid until: 2h, 3d, 2026-12-01T08:00, or never");
  command
      .add_option("--hours", wish.hours,
                  "Valid only then, in local time, repeated: \"mon-fri 08:00-18:00\", "
                  "\"22:00-06:00\"; or always")
      ->take_all()
      ->allow_extra_args(false);
  command.add_option("--label", wish.label, "What the ring shall call the key");
}

std::string RoleText(v1::Role role) {
  for (const auto& [word, each] : kRoles) {
    if (each == role) {
      return std::string(word);
    }
  }
  return "unknown role";
}

Result<v1::Role> ParseRole(std::string_view text) {
  for (const auto& [word, role] : kRoles) {
    if (word == text) {
      return role;
    }
  }
  return Fail(v1::REASON_MALFORMED,
              "\"" + std::string(text) + "\" is not owner, driver, guest or fleet");
}

RingKey NewGuest(const PublicKey& key, const std::string& label) {
  RingKey made;
  made.id = key.Id();
  made.public_key = key.ToPoint();
  made.role = v1::ROLE_GUEST;
  made.permissions = PermissionsOf(v1::ROLE_GUEST);
  made.label = label;
  return made;
}

Result<RingKey> Apply(const RightsWish& wish, RingKey key, const Now& now, int utc_offset_minutes) {
  if (wish.role) {
    LK_TRY(key.role, ParseRole(*wish.role));
    if (key.role == v1::ROLE_FLEET) {
      return Fail(v1::REASON_MALFORMED,
                  "a fleet's key comes with the car: make it with `latchkey fleet key FLEET` "
                  "before `latchkey car add`");
    }
    key.permissions = PermissionsOf(key.role);
  }
  if (!wish.may.empty()) {
    LK_TRY(const uint32_t mask, ParseWords(wish.may, Commands(), "--may"));
    key.permissions = (key.permissions & ~MaskOf(Commands())) | mask;
  }
  if (!wish.sees.empty()) {
    LK_TRY(const uint32_t mask, ParseWords(wish.sees, Readings(), "--sees"));
    key.permissions = (key.permissions & ~MaskOf(Readings())) | mask;
  }
  key.permissions = WithImplied(key.permissions);
  LK_CHECK(ApplyTimes(wish, key, now.wall, utc_offset_minutes));
  if (wish.label) {
    key.label = *wish.label;
  }
  if (key.label.size() > kLabelBytesMax) {
    return Fail(v1::REASON_TOO_LARGE,
                "a label has at most " + std::to_string(kLabelBytesMax) + " bytes: shorten it");
  }
  return key;
}

Result<void> MayGive(const RingKey& signer, const RingKey& key) {
  if ((signer.permissions & Bit(v1::PERMISSION_KEYS)) == 0) {
    return Fail(v1::REASON_NOT_PERMITTED, "this phone's key (" + RoleText(signer.role) +
                                              ") may not give, change or remove keys: ask an "
                                              "owner of the car");
  }
  const uint32_t missing = key.permissions & ~signer.permissions;
  if (missing != 0) {
    std::vector<std::string> words = WordsOf(missing, Commands());
    const std::vector<std::string> readings = WordsOf(missing, Readings());
    words.insert(words.end(), readings.begin(), readings.end());
    return Fail(v1::REASON_NOT_PERMITTED, "this phone's key does not have " + Joined(words) +
                                              " itself, so it cannot give that: leave it out with "
                                              "--may or --sees, or ask an owner who has it");
  }
  return {};
}

std::string RightsText(uint32_t permissions) {
  const auto side = [permissions](std::string_view verb, const std::vector<Word>& words) {
    const std::vector<std::string> texts = WordsOf(permissions, words);
    return std::string(verb) + " " +
           (texts.empty()                  ? "nothing"
            : texts.size() == words.size() ? "everything"
                                           : Joined(texts));
  };
  return side("may", Commands()) + "; " + side("sees", Readings());
}

std::string TimesText(const RingKey& key, int utc_offset_minutes) {
  std::vector<std::string> parts;
  if (key.not_before.ms != 0) {
    parts.push_back("from " + DateText(key.not_before));
  }
  if (key.not_after.ms != 0) {
    parts.push_back("until " + DateText(key.not_after));
  }
  if (!key.week.empty()) {
    parts.push_back(HoursText(key.week, utc_offset_minutes) + " (" +
                    OffsetText(utc_offset_minutes) + ")");
  }
  return Joined(parts);
}

nlohmann::ordered_json KeyJson(const RingKey& key, int utc_offset_minutes) {
  nlohmann::ordered_json json = {{"key_id", key.id.str()},
                                 {"label", key.label},
                                 {"role", RoleText(key.role)},
                                 {"may", WordsOf(key.permissions, Commands())},
                                 {"sees", WordsOf(key.permissions, Readings())}};
  if (key.not_before.ms != 0) {
    json["from_ms"] = key.not_before.ms;
  }
  if (key.not_after.ms != 0) {
    json["until_ms"] = key.not_after.ms;
  }
  if (!key.week.empty()) {
    json["hours"] = HoursText(key.week, utc_offset_minutes);
    json["week"] = nlohmann::ordered_json::array();
    for (const WeekWindow& window : key.week) {
      json["week"].push_back({{"start_minute", window.start}, {"end_minute", window.end}});
    }
  }
  return json;
}

Result<RingKey> FindKey(const KeyRing& ring, std::string_view text) {
  const std::optional<KeyId> id = ParseKeyText(text);
  const RingKey* by_id = id ? ring.Find(*id) : nullptr;
  if (by_id != nullptr) {
    return *by_id;
  }
  const auto named = [text](const RingKey& key) { return key.label == text; };
  const auto count = std::count_if(ring.keys.begin(), ring.keys.end(), named);
  if (count == 1) {
    return *std::find_if(ring.keys.begin(), ring.keys.end(), named);
  }
  std::string all;
  for (const RingKey& key : ring.keys) {
    all += (all.empty() ? "" : ", ") + key.id.str() + " (" + Printable(key.label) + ")";
  }
  return Fail(v1::REASON_NOT_ON_RING,
              count == 0
                  ? "no key \"" + std::string(text) + "\" on the ring of car " + ring.ref.ToText() +
                        "; there are: " + all
                  : "several keys on the ring of car " + ring.ref.ToText() + " are called \"" +
                        std::string(text) + "\": name one by its id: " + all);
}

}  // namespace latchkey::cli
