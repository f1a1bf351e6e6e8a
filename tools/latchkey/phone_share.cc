// latchkey phone key, share: a guest's phone shows its key as a link; an owner's phone has the car
// put it on its ring and shows where the car is. The car need not be near, nor awake.
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/invite.h"
#include "tools/latchkey/exit_codes.h"
#include "tools/latchkey/hours.h"
#include "tools/latchkey/key_talk.h"
#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/qr.h"
#include "tools/latchkey/rights.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr int kUsage = 2;
constexpr int kTimedOut = 3;
constexpr std::string_view kLinkStart = "latchkey://";

struct ShareOptions {
  std::string name;
  std::string car;
  std::string who;
  RightsWish wish;
  std::string timeout = "60s";
};

std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void ShowKey(Context& context, const std::string& name) {
  const Result<SavedPhone> phone = LoadPhone(Folder(context.data), name);
  if (!phone) {
    Complain(context, phone.error());
    return;
  }
  const PublicKey key = phone->key.Public();
  const std::string link = ToLink(KeyRequest{key, phone->label});
  if (context.json) {
    Say(Dump(
        {{"phone", name}, {"label", phone->label}, {"key_id", key.Id().str()}, {"link", link}}));
    return;
  }
  SayLink("key request", link);
  Say("It is no secret: show it to an owner of the car, who runs");
  Say("  latchkey phone share OWNER CAR '" + link + "'");
}

// The key as it shall stand: a new guest's, or the one on the ring, with the wish applied.
struct Plan {
  RingKey key;
  bool on_ring = false;
  bool changes = true;  // false: it stands like that already
};

Result<Plan> MakePlan(const KeyTalk& talk, const ShareOptions& options) {
  const KeyRing& ring = talk.pairing().ring;
  const Now now = ReadClocks();
  Plan plan;
  if (options.who.rfind(kLinkStart, 0) == 0) {
    LK_TRY(const KeyRequest request, ParseKeyRequest(options.who));
    const RingKey* held = ring.Find(request.key.Id());
    plan.on_ring = held != nullptr;
    plan.key = held != nullptr ? *held : NewGuest(request.key, request.label);
  } else {
    LK_TRY(plan.key, FindKey(ring, options.who));
    plan.on_ring = true;
  }
  const RingKey before = plan.key;
  LK_TRY(plan.key, Apply(options.wish, plan.key, now, UtcOffsetMinutes(now.wall)));
  plan.changes = !plan.on_ring || plan.key != before;
  LK_TRY(const RingKey mine, talk.MyKey());
  LK_CHECK(MayGive(mine, plan.key));
  return plan;
}

void SayPlan(const Plan& plan, const CarRef& ref) {
  const int offset = UtcOffsetMinutes(ReadClocks().wall);
  const std::string times = TimesText(plan.key, offset);
  Say(std::string(plan.on_ring ? "changing" : "sharing") + " car " + ref.ToText() +
      (plan.on_ring ? " for " : " with ") + Printable(plan.key.label) + " (" +
      RoleText(plan.key.role) + ", key " + plan.key.id.str() +
      "): " + RightsText(plan.key.permissions) + (times.empty() ? "; at any time" : "; " + times));
  if (!plan.key.week.empty()) {
    Say("  hours are sent in UTC, turned by today's offset (" + OffsetText(offset) +
        "): share again when summer time begins or ends");
  }
}

void SayShared(const Context& context, const KeyTalk& talk, const Plan& plan,
               v1::ReceiptState state) {
  const tools::Pairing& pairing = talk.pairing();
  const std::string link =
      ToLink(Invitation{pairing.host, pairing.port, pairing.cell, pairing.ref, pairing.car_key});
  const bool held = state == v1::RECEIPT_STATE_HELD;
  if (context.json) {
    nlohmann::ordered_json json = {{"event", "shared"},
                                   {"car", pairing.ref.ToText()},
                                   {"state", plan.changes ? ToText(state) : "UNCHANGED"},
                                   {"ring_version", pairing.ring.version},
                                   {"invitation", link}};
    json.update(KeyJson(plan.key, UtcOffsetMinutes(ReadClocks().wall)));
    Say(Dump(json));
    return;
  }
  if (!plan.changes) {
    Say("nothing to change: the key stands like that on ring version " +
        std::to_string(pairing.ring.version));
  } else if (held) {
    Say(HeldText(pairing.ref) +
        (talk.expires_at() ? ", until " + DateText(*talk.expires_at()) : "") + ".");
    Say(plan.on_ring ? "Until then the key keeps the rights it has; to shut it out at once, use "
                       "`latchkey phone remove`."
                     : "The invitation can be sent now; it works from the moment the car has it.");
  } else {
    Say(std::string(plan.on_ring ? "changed" : "shared") + ": the car has written it to its ring");
  }
  SayLink("invitation", link);
  Say("It is no secret either: the guest runs\n  latchkey phone accept GUEST '" + link + "'");
}

void Share(Context& context, const ShareOptions& options) {
  const Now now = ReadClocks();
  const Result<Duration> timeout = ParseDuration(options.timeout);
  // Words that nobody can read are a matter of usage, before anything is sent.
  const PublicKey nobody = PrivateKey::Generate().Public();
  const Result<RingKey> readable =
      Apply(options.wish, NewGuest(nobody, ""), now, UtcOffsetMinutes(now.wall));
  if (!timeout || !readable) {
    Complain(context, !timeout ? timeout.error() : readable.error(), kUsage);
    return;
  }
  Result<std::unique_ptr<KeyTalk>> talk =
      KeyTalk::Open(context, options.name, options.car, "share");
  if (!talk) {
    Complain(context, talk.error());
    return;
  }
  const Result<void> met = (*talk)->Meet(*timeout);
  if (!met) {
    Complain(context, met.error(), met.error().reason == v1::REASON_EXPIRED ? kTimedOut : 1);
    return;
  }
  const Result<Plan> plan = MakePlan(**talk, options);
  if (!plan) {
    Complain(context, plan.error());
    return;
  }
  if (!plan->changes) {
    SayShared(context, **talk, *plan, v1::RECEIPT_STATE_UNSPECIFIED);
    return;
  }
  if (!context.json) {
    SayPlan(*plan, (*talk)->ref());
  }
  v1::Command action;
  *action.mutable_add_key()->mutable_key() = KeyToWire(plan->key);
  const Result<Outcome> outcome =
      (*talk)->Send(std::move(action), "add_key", KeyTalk::Until::kHeldOrFinal, *timeout);
  if (!outcome) {
    Complain(context, outcome.error(),
             outcome.error().reason == v1::REASON_EXPIRED ? kTimedOut : 1);
    return;
  }
  context.exit_code = ExitCode(*outcome);
  if (context.exit_code != 0) {
    Complain(context, {outcome->reason, "not shared: " + Printable(outcome->text)});
    return;
  }
  SayShared(context, **talk, *plan, outcome->state);
}

}  // namespace

void AddPhoneShare(CLI::App& phone, Context& context) {
  CLI::App* key = phone.add_subcommand(
      "key", "Show this phone's key as a link and QR code, to be given a key to a car");
  const auto name = std::make_shared<std::string>();
  key->add_option("NAME", *name, "The phone")->required();
  key->footer("Example:\n  latchkey phone key bob\n");
  key->callback([&context, name] { ShowKey(context, *name); });

  CLI::App* share = phone.add_subcommand(
      "share", "Give a key to a car, or change one: the car need not be near, nor awake");
  const auto options = std::make_shared<ShareOptions>();
  share->add_option("OWNER", options->name, "This phone: one that may give keys")->required();
  share->add_option("CAR", options->car, "The car: demo-car, or demo/demo-car")->required();
  share
      ->add_option("LINK|KEYID", options->who,
                   "What `latchkey phone key` shows on the guest's phone; or id or label of a key "
                   "that is on the ring, to change it: what no option names stays as it is")
      ->required();
  AddRightsOptions(*share, options->wish);
  share->add_option("--timeout", options->timeout, "Wait at most this long (exit code 3)")
      ->capture_default_str();
  share->footer(
      "Examples:\n"
      "  latchkey phone share anna demo-car 'latchkey://key?...' --until 3d\n"
      "  latchkey phone share anna demo-car 'latchkey://key?...' --may signal,close --sees body "
      "--hours 'mon-fri 08:00-18:00'\n"
      "  latchkey phone share anna demo-car bob --may signal          # narrow bob's key\n"
      "Exit codes: 0 the car has it, or it is held for a car that sleeps; 1 refused; 3 timed out.");
  share->callback([&context, options] { Share(context, *options); });
}

}  // namespace latchkey::cli
