// latchkey phone keys, remove: who holds a key to a car, and taking one away.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/state.h"
#include "tools/latchkey/api.h"
#include "tools/latchkey/exit_codes.h"
#include "tools/latchkey/hours.h"
#include "tools/latchkey/key_talk.h"
#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/rights.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using nlohmann::ordered_json;

constexpr int kUsage = 2;
constexpr int kTimedOut = 3;

struct KeysOptions {
  std::string name;
  std::string car;
  std::string timeout = "10s";
};

struct RemoveOptions {
  std::string name;
  std::string car;
  std::string who;
  std::string timeout = "60s";
  bool wait = false;
};

std::string Dump(const ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string Text(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// Who denies `key` at this car, by the bridge's list: "owner" while a removal waits for the car,
// "administrator", or empty: nobody. Error: the bridge does not answer.
Result<std::string> BlockOf(int http_port, const KeyId& key, const CarRef& ref) {
  LK_TRY(const Answer answer, AskBridge(http_port, "/v1/blocks?key=" + key.str()));
  const ordered_json json = ordered_json::parse(answer.body, nullptr, false);
  std::string cause;
  if (answer.status != 200 || !json.is_object() || !json.contains("blocks") ||
      !json["blocks"].is_array()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, "the bridge does not list blocks");
  }
  for (const ordered_json& block : json["blocks"]) {
    const std::string fleet = Text(block, "fleet");
    const std::string car = Text(block, "car");
    const bool here = (fleet.empty() || fleet == ref.fleet.str()) &&
                      (car.empty() || car == ref.car.str()) && !block.value("lifted", false);
    if (here && cause != "administrator") {
      cause = Text(block, "cause");
    }
  }
  return cause;
}

// Of the keys on the ring those that the server denies, and who said so. Only on the server's own
// machine is there somebody to ask; elsewhere it is empty.
std::map<std::string, std::string> Blocked(const Context& context, const tools::Pairing& pairing) {
  std::map<std::string, std::string> blocked;
  const Result<Cell> cell = Folder(context.data).LoadCell();
  if (!cell || cell->name != pairing.cell) {
    return blocked;
  }
  for (const RingKey& key : pairing.ring.keys) {
    const Result<std::string> cause = BlockOf(cell->http_port, key.id, pairing.ref);
    if (!cause) {
      break;
    }
    if (!cause->empty()) {
      blocked[key.id.str()] = *cause;
    }
  }
  return blocked;
}

std::string BlockText(const std::string& cause) {
  return cause == "owner" ? "  REMOVAL WAITS for the car; the server denies the key already"
                          : "  BLOCKED by the server's staff";
}

void ShowRing(const Context& context, const KeyTalk& talk) {
  const tools::Pairing& pairing = talk.pairing();
  const Timestamp now = ReadClocks().wall;
  const int offset = UtcOffsetMinutes(now);
  const std::map<std::string, std::string> blocked = Blocked(context, pairing);
  if (context.json) {
    ordered_json json = {{"car", pairing.ref.ToText()},
                         {"ring_version", pairing.ring.version},
                         {"written_at_ms", pairing.ring.written_at.ms},
                         {"keys", ordered_json::array()}};
    for (const RingKey& key : pairing.ring.keys) {
      ordered_json row = KeyJson(key, offset);
      row["this_phone"] = key.id == talk.me();
      row["valid_now"] = CheckWindow(key, now).allowed();
      if (const auto found = blocked.find(key.id.str()); found != blocked.end()) {
        row["blocked"] = found->second;
      }
      json["keys"].push_back(std::move(row));
    }
    Say(Dump(json));
    return;
  }
  if (pairing.ring.version == 0) {
    Say(pairing.ref.ToText() + ": invited; the car has not named this phone yet");
    return;
  }
  Say(pairing.ref.ToText() + "  ring version " + std::to_string(pairing.ring.version) +
      ", written " + DateText(pairing.ring.written_at) + " (" +
      AgeText(AgeOf(pairing.ring.written_at, now)) + " ago)");
  for (const RingKey& key : pairing.ring.keys) {
    const auto found = blocked.find(key.id.str());
    Say("  " + key.id.str() + "  " + Printable(key.label) + "  (" + RoleText(key.role) + ")" +
        (key.id == talk.me() ? "  this phone" : "") +
        (found == blocked.end() ? "" : BlockText(found->second)));
    const std::string times = TimesText(key, offset);
    Say("      " + RightsText(key.permissions) + (times.empty() ? "; at any time" : "; " + times) +
        (CheckWindow(key, now).allowed() ? "" : "  (not valid at this moment)"));
  }
}

void Keys(Context& context, const KeysOptions& options) {
  const Result<Duration> timeout = ParseDuration(options.timeout);
  if (!timeout) {
    Complain(context, timeout.error(), kUsage);
    return;
  }
  Result<std::unique_ptr<KeyTalk>> talk = KeyTalk::Open(context, options.name, options.car, "keys");
  if (!talk) {
    Complain(context, talk.error());
    return;
  }
  const Result<void> met = (*talk)->Meet(*timeout);
  ShowRing(context, **talk);
  if (!met) {
    Complain(context,
             {met.error().reason,
              "this is the ring as this phone last saw it; it could not ask: " + met.error().text},
             met.error().reason == v1::REASON_EXPIRED ? kTimedOut : 1);
  }
}

void SayRemoved(const Context& context, const KeyTalk& talk, const RingKey& key,
                v1::ReceiptState state) {
  const bool held = state == v1::RECEIPT_STATE_HELD;
  if (context.json) {
    Say(Dump({{"event", held ? "removal_waits" : "removed"},
              {"car", talk.ref().ToText()},
              {"key_id", key.id.str()},
              {"label", key.label},
              {"state", ToText(state)},
              {"ring_version", talk.pairing().ring.version}}));
    return;
  }
  if (held) {
    Say(HeldText(talk.ref()) + ".");
    Say(Printable(key.label) +
        " is blocked at the server at once, and removed when the car wakes. Near the car, a key "
        "that works without the server would work until then.");
  } else {
    Say("removed: the car has taken " + Printable(key.label) + " off its ring");
  }
}

void Remove(Context& context, const RemoveOptions& options) {
  const Result<Duration> timeout = ParseDuration(options.timeout);
  if (!timeout) {
    Complain(context, timeout.error(), kUsage);
    return;
  }
  Result<std::unique_ptr<KeyTalk>> talk =
      KeyTalk::Open(context, options.name, options.car, "remove");
  if (!talk) {
    Complain(context, talk.error());
    return;
  }
  const auto exit_code = [](const Error& error) {
    return error.reason == v1::REASON_EXPIRED ? kTimedOut : 1;
  };
  const Result<void> met = (*talk)->Meet(*timeout);
  if (!met) {
    Complain(context, met.error(), exit_code(met.error()));
    return;
  }
  const auto key = [&]() -> Result<RingKey> {
    LK_TRY(const RingKey mine, (*talk)->MyKey());
    LK_TRY(RingKey found, FindKey((*talk)->pairing().ring, options.who));
    LK_CHECK(MayGive(mine, found));
    return found;
  }();
  if (!key) {
    Complain(context, key.error());
    return;
  }
  v1::Command action;
  action.mutable_remove_key()->set_key_id(key->id.str());
  const Result<Outcome> outcome =
      (*talk)->Send(std::move(action), "remove_key",
                    options.wait ? KeyTalk::Until::kFinal : KeyTalk::Until::kHeldOrFinal, *timeout);
  if (!outcome) {
    Complain(context, outcome.error(), exit_code(outcome.error()));
    return;
  }
  if (ExitCode(*outcome) != 0) {
    Complain(context, {outcome->reason, "not removed: " + Printable(outcome->text)});
    return;
  }
  SayRemoved(context, **talk, *key, outcome->state);
}

}  // namespace

void AddPhoneKeys(CLI::App& phone, Context& context) {
  CLI::App* keys = phone.add_subcommand("keys", "List who holds a key to a car, and what it may");
  const auto listing = std::make_shared<KeysOptions>();
  keys->add_option("PHONE", listing->name, "This phone")->required();
  keys->add_option("CAR", listing->car, "The car: demo-car, or demo/demo-car")->required();
  keys->add_option("--timeout", listing->timeout,
                   "Wait at most this long for the broker; then the ring last seen is shown")
      ->capture_default_str();
  keys->footer("Example:\n  latchkey phone keys anna demo-car\n");
  keys->callback([&context, listing] { Keys(context, *listing); });

  CLI::App* remove = phone.add_subcommand(
      "remove", "Take a key away: the server denies it at once, the car when it has heard");
  const auto removal = std::make_shared<RemoveOptions>();
  remove->add_option("PHONE", removal->name, "This phone: one that may remove keys")->required();
  remove->add_option("CAR", removal->car, "The car: demo-car, or demo/demo-car")->required();
  remove->add_option("KEYID|LABEL", removal->who, "The key, as `latchkey phone keys` lists it")
      ->required();
  remove->add_flag("--wait", removal->wait, "Wait until the car has done it, also while it sleeps");
  remove->add_option("--timeout", removal->timeout, "Wait at most this long (exit code 3)")
      ->capture_default_str();
  remove->footer(
      "Example:\n  latchkey phone remove anna demo-car bob --wait\n"
      "Exit codes: 0 removed, or held for a car that sleeps; 1 refused; 3 timed out.");
  remove->callback([&context, removal] { Remove(context, *removal); });
}

}  // namespace latchkey::cli
