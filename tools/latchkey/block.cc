// latchkey block add, lift, list: what an administrator of the cell says to the broker's auth
// plugin, past the bridge, so that it works while the bridge is down.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/blocks.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/desk.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/key_text.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr int kUsage = 2;
constexpr int kTimedOut = 3;
constexpr int kTriesMax = 4;

struct BlockOptions {
  std::string key;
  std::string fleet;
  std::string car;
  std::string note;
  std::string timeout = "10s";
  bool all = false;
};

Result<BlockScope> ScopeOf(const BlockOptions& options) {
  BlockScope scope;
  const std::optional<KeyId> key = ParseKeyText(options.key);
  if (!key) {
    return Fail(v1::REASON_MALFORMED,
                "\"" + options.key +
                    "\" is not a key id of 22 characters, as `latchkey phone keys` lists them");
  }
  scope.key = *key;
  if (!options.fleet.empty()) {
    LK_TRY(scope.fleet, ParseFleet(options.fleet));
  }
  if (!options.car.empty()) {
    const std::optional<CarId> car = CarId::Parse(options.car);
    if (!car || options.fleet.empty()) {
      return Fail(v1::REASON_MALFORMED, "--car names a car of a fleet: give --fleet too");
    }
    scope.car = *car;
  }
  return scope;
}

std::string PlaceOf(const BlockScope& scope) {
  return scope.fleet.empty() ? "everywhere"
         : scope.car.empty() ? "in fleet " + scope.fleet.str()
                             : "at car " + scope.fleet.str() + "/" + scope.car.str();
}

std::string CauseText(v1::BlockCause cause) {
  return cause == v1::BLOCK_CAUSE_OWNER           ? "owner"
         : cause == v1::BLOCK_CAUSE_ADMINISTRATOR ? "administrator"
                                                  : "unknown";
}

nlohmann::ordered_json BlockJson(const Block& block) {
  nlohmann::ordered_json json = {{"key_id", block.scope.key.str()}};
  if (!block.scope.fleet.empty()) {
    json["fleet"] = block.scope.fleet.str();
  }
  if (!block.scope.car.empty()) {
    json["car"] = block.scope.car.str();
  }
  json["blocked"] = !block.lifted;
  json["changed_at_ms"] = block.changed_at.ms;
  json["cause"] = CauseText(block.cause);
  if (!block.note.empty()) {
    json["note"] = block.note;
  }
  return json;
}

std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// One page of what the plugin holds, after `after`.
struct Page {
  std::vector<Block> blocks;
  bool more = false;
};

Result<Page> List(Desk& desk, const std::optional<BlockScope>& after) {
  v1::Control question;
  v1::ListBlocks& list = *question.mutable_list_blocks();
  if (after) {
    list.mutable_after()->set_key_id(after->key.str());
    list.mutable_after()->set_fleet(after->fleet.str());
    list.mutable_after()->set_car(after->car.str());
  }
  LK_TRY(const v1::ControlAnswer answer, desk.Ask(std::move(question)));
  Page page;
  for (const v1::Block& wire : answer.blocks()) {
    LK_TRY(Block block, BlockFromWire(wire));
    page.blocks.push_back(std::move(block));
  }
  page.more = answer.more() && !page.blocks.empty();
  return page;
}

// Sets or lifts. What is held is learnt from the answer: a change must be later than it, whatever
// this machine's clock says.
Result<Block> Merge(Desk& desk, const Block& wish, bool& changed) {
  std::optional<Block> held;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    if (held && held->lifted == wish.lifted) {
      changed = false;
      return *held;
    }
    Block block = Change(held ? &*held : nullptr, wish, ReadClocks().wall);
    v1::Control question;
    *question.mutable_merge_blocks()->add_blocks() = BlockToWire(block);
    LK_TRY(const v1::ControlAnswer answer, desk.Ask(std::move(question)));
    if (answer.changed() > 0 || answer.blocks().empty()) {
      changed = answer.changed() > 0;
      return block;
    }
    LK_TRY(held, BlockFromWire(answer.blocks(0)));
  }
  return Fail(v1::REASON_OLDER_VERSION,
              "somebody else changes this block at the same time: run this again");
}

// The greatest key id below `key` in the plugin's order, which is ASCII's; nullopt: there is none.
std::optional<KeyId> KeyBefore(const KeyId& key) {
  static constexpr std::string_view kOrder =
      "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
  std::string text = key.str();
  for (size_t i = text.size(); i-- > 0;) {
    const size_t at = kOrder.find(text[i]);
    LK_ASSERT(at != std::string_view::npos);
    if (at > 0) {
      text[i] = kOrder[at - 1];
      return KeyId::Parse(text);
    }
    text[i] = kOrder.back();
  }
  return std::nullopt;
}

// What is held for exactly this scope.
Result<std::optional<Block>> Find(Desk& desk, const BlockScope& scope) {
  std::optional<BlockScope> after;
  if (const std::optional<KeyId> before = KeyBefore(scope.key)) {
    after = BlockScope{*before, {}, {}};
  }
  for (;;) {
    LK_TRY(const Page page, List(desk, after));
    for (const Block& block : page.blocks) {
      if (block.scope == scope) {
        return std::optional<Block>(block);
      }
    }
    if (!page.more || page.blocks.back().scope > scope) {
      return std::optional<Block>();
    }
    after = page.blocks.back().scope;
  }
}

void SayChanged(const Context& context, const Block& block, bool changed) {
  if (context.json) {
    nlohmann::ordered_json json = BlockJson(block);
    json["changed"] = changed;
    Say(Dump(json));
    return;
  }
  const std::string what = "key " + block.scope.key.str() + " " + PlaceOf(block.scope);
  if (block.lifted) {
    Say(changed ? "lifted: " + what + " has again what the cars' rings give it, and nothing else"
                : "nothing to lift: " + what + " is not blocked");
  } else {
    Say(std::string(changed ? "blocked: " : "blocked already: ") + what + ", since " +
        DateText(block.changed_at));
    if (changed) {
      Say("The broker refuses it from this moment on. The key is still on the rings: an owner "
          "takes it off with `latchkey phone remove`; `latchkey block lift` gives it back.");
    }
  }
}

Result<void> AddOrLift(Context& context, Desk& desk, const BlockOptions& options, bool lifted) {
  LK_TRY(const BlockScope scope, ScopeOf(options));
  LK_TRY(const std::optional<Block> held, Find(desk, scope));
  Block wish;
  wish.scope = scope;
  wish.lifted = lifted;
  wish.cause = v1::BLOCK_CAUSE_ADMINISTRATOR;
  wish.note = options.note;
  const bool stands = held && !held->lifted;
  // An owner's block that waits for its car is made the administrator's own: it then stays when
  // the car has answered.
  const bool same = lifted ? !stands : stands && held->cause == wish.cause;
  if (same) {
    SayChanged(context, held.value_or(wish), false);
    return {};
  }
  bool changed = false;
  if (held) {
    wish = Change(&*held, wish, ReadClocks().wall);
  }
  LK_TRY(const Block block, Merge(desk, wish, changed));
  SayChanged(context, block, changed);
  return {};
}

Result<void> ListAll(Context& context, Desk& desk, const BlockOptions& options) {
  std::optional<BlockScope> after;
  size_t standing = 0;
  size_t lifted = 0;
  for (;;) {
    LK_TRY(const Page page, List(desk, after));
    for (const Block& block : page.blocks) {
      ++(block.lifted ? lifted : standing);
      if (block.lifted && !options.all) {
        continue;
      }
      if (context.json) {
        Say(Dump(BlockJson(block)));
      } else {
        Say("  " + block.scope.key.str() + "  " + (block.lifted ? "lifted  " : "blocked ") +
            PlaceOf(block.scope) + "  " + DateText(block.changed_at) + "  by " +
            CauseText(block.cause) +
            (block.note.empty() ? "" : "  \"" + Printable(block.note) + "\""));
      }
    }
    if (!page.more) {
      break;
    }
    after = page.blocks.back().scope;
  }
  if (!context.json) {
    Say(std::to_string(standing) + (standing == 1 ? " block stands" : " blocks stand") +
        (lifted == 0 ? ""
                     : ", " + std::to_string(lifted) + " lifted" +
                           (options.all ? "" : " (shown with --all)")));
  }
  return {};
}

using Deed = Result<void> (*)(Context&, Desk&, const BlockOptions&);

void Talk(Context& context, const BlockOptions& options, Deed deed) {
  const Folder folder(context.data);
  const Result<Duration> timeout = ParseDuration(options.timeout);
  if (!timeout) {
    Complain(context, timeout.error(), kUsage);
    return;
  }
  if (!options.key.empty()) {
    const Result<BlockScope> scope = ScopeOf(options);
    if (!scope || options.note.size() > kBlockNoteBytesMax) {
      Complain(context,
               scope ? Error{v1::REASON_TOO_LARGE, "a note has at most " +
                                                       std::to_string(kBlockNoteBytesMax) +
                                                       " bytes: shorten it"}
                     : scope.error(),
               kUsage);
      return;
    }
  }
  const Result<Cell> cell = folder.LoadCell();
  if (!cell) {
    Complain(context, cell.error());
    return;
  }
  const auto done = [&]() -> Result<void> {
    LK_TRY(const std::unique_ptr<Desk> desk, Desk::Open(folder, *cell, *timeout));
    return deed(context, *desk, options);
  }();
  if (!done) {
    Complain(context, done.error(), done.error().reason == v1::REASON_EXPIRED ? kTimedOut : 1);
  }
}

void AddScopeOptions(CLI::App& command, BlockOptions& options) {
  command.add_option("KEYID", options.key, "The key, as `latchkey phone keys` lists it")
      ->required();
  command.add_option("--fleet", options.fleet, "Only at this fleet's cars (default: everywhere)");
  command.add_option("--car", options.car, "Only at this car of --fleet");
  command.add_option("--note", options.note, "For people who read the list, at most 64 bytes");
}

}  // namespace

void AddBlock(CLI::App& app, Context& context) {
  CLI::App* block = app.add_subcommand(
      "block", "Deny keys at the broker at once: a lost phone, abuse. Works without the bridge");
  block->require_subcommand(1);
  const auto options = std::make_shared<BlockOptions>();
  block->add_option("--timeout", options->timeout, "Wait at most this long (exit code 3)")
      ->capture_default_str();

  CLI::App* add = block->add_subcommand("add", "Deny a key; it can only take away, never grant");
  AddScopeOptions(*add, *options);
  add->footer(
      "Examples:\n"
      "  latchkey block add NgGqe5PX3xHX4b6YhG4RFZ --note 'phone lost'    # everywhere\n"
      "  latchkey block add NgGqe5PX3xHX4b6YhG4RFZ --fleet demo --car demo-car\n");
  add->callback([&context, options] {
    Talk(context, *options,
         [](Context& c, Desk& d, const BlockOptions& o) { return AddOrLift(c, d, o, false); });
  });

  CLI::App* lift = block->add_subcommand("lift", "End a block: the key has again what rings give");
  AddScopeOptions(*lift, *options);
  lift->footer("Example:\n  latchkey block lift NgGqe5PX3xHX4b6YhG4RFZ\n");
  lift->callback([&context, options] {
    Talk(context, *options,
         [](Context& c, Desk& d, const BlockOptions& o) { return AddOrLift(c, d, o, true); });
  });

  CLI::App* list = block->add_subcommand("list", "List what is blocked");
  list->add_flag("--all", options->all, "Lifted ones too");
  list->footer("Example:\n  latchkey block list --json\n");
  list->callback([&context, options] {
    Talk(context, *options,
         [](Context& c, Desk& d, const BlockOptions& o) { return ListAll(c, d, o); });
  });
}

}  // namespace latchkey::cli
