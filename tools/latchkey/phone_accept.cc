// latchkey phone accept: a guest's phone takes an invitation and waits until the car, whose key the
// invitation pins, names it on its ring.
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/invite.h"
#include "tools/latchkey/hours.h"
#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/rights.h"
#include "tools/latchkey/session.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr int kTimedOut = 3;

struct AcceptOptions {
  std::string name;
  std::string link;
  std::string ca_file;
  std::string timeout = "60s";
};

void SayAccepted(const Context& context, const std::string& name, const tools::Pairing& pairing,
                 const RingKey& mine) {
  const int offset = UtcOffsetMinutes(ReadClocks().wall);
  if (context.json) {
    nlohmann::ordered_json json = {{"event", "accepted"},
                                   {"phone", name},
                                   {"car", pairing.ref.ToText()},
                                   {"ring_version", pairing.ring.version}};
    json.update(KeyJson(mine, offset));
    Say(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  const std::string times = TimesText(mine, offset);
  Say("accepted: phone " + name + " holds a key to car " + pairing.ref.ToText() + " (" +
      RoleText(mine.role) + ", ring version " + std::to_string(pairing.ring.version) +
      "): " + RightsText(mine.permissions) + (times.empty() ? "; at any time" : "; " + times));
  Say("next: latchkey phone watch " + name + " " + pairing.ref.ToText());
}

// A pairing with this car that is there already goes on; others are not touched.
std::vector<tools::Pairing> Held(const SavedPhone& saved, const CarRef& ref) {
  std::vector<tools::Pairing> held;
  for (const tools::Pairing& pairing : saved.pairings) {
    if (pairing.ref == ref) {
      held.push_back(pairing);
    }
  }
  return held;
}

// What the waiting ended with.
struct End {
  Session::End how = Session::End::kTimeout;
  std::optional<Error> failed;
  Error refused;
  std::string trouble;
};

End Wait(tools::Phone& phone, const tools::LinkOptions& link, const Invitation& invitation,
         Duration timeout) {
  End end;
  Session session(phone, link, [&](const tools::Phone::Effect& effect) {
    if (const auto* failure = std::get_if<tools::Phone::Failed>(&effect)) {
      // A filter that is refused is asked for again: the key may not be on the ring yet.
      if (failure->filter.empty()) {
        end.failed = failure->error;
        return true;
      }
    }
    const auto* learned = std::get_if<tools::Phone::Learned>(&effect);
    return learned != nullptr && learned->on_ring;
  });
  session.Do(tools::Phone::Accept{invitation});
  end.how = session.Run(timeout);
  end.refused = session.error();
  end.trouble = session.trouble();
  return end;
}

void Accept(Context& context, const AcceptOptions& options) {
  const Folder folder(context.data);
  const Result<Duration> timeout = ParseDuration(options.timeout);
  const Result<Invitation> invitation = ParseInvitation(options.link);
  if (!timeout || !invitation) {
    Complain(context, !timeout ? timeout.error() : invitation.error(), 2);
    return;
  }
  Result<SavedPhone> saved = LoadPhone(folder, options.name);
  const Result<std::string> ca =
      saved ? ChooseCa(folder, options.name, options.ca_file, invitation->cell)
            : Result<std::string>(tl::unexpected<Error>(saved.error()));
  if (!ca) {
    Complain(context, ca.error());
    return;
  }
  // The same key once more: one stays with what is saved, one goes to the running phone.
  Result<PrivateKey> key = PrivateKey::FromPem(saved->key.ToPem());
  LK_ASSERT(key.has_value());
  tools::Phone phone(std::move(*key), saved->label, Held(*saved, invitation->ref));
  if (!context.json) {
    Say("waiting until car " + invitation->ref.ToText() + " names this phone on its ring");
  }
  tools::LinkOptions link =
      PhoneLink(phone.key(), invitation->host, invitation->port, invitation->cell, *ca, "accept");
  const Result<void> used = UsePhoneBrokers(context, options.name, invitation->cell, link);
  if (!used) {
    Complain(context, used.error());
    return;
  }
  const End end = Wait(phone, link, *invitation, *timeout);
  const tools::CarView* car = phone.Find(invitation->ref);
  if (car != nullptr && !end.failed) {
    const Result<void> written = SavePairing(folder, options.name, *saved, car->pairing);
    if (!written) {
      Complain(context, written.error());
      return;
    }
  }
  const RingKey* mine = car == nullptr ? nullptr : car->pairing.ring.Find(phone.id());
  if (end.failed) {
    Complain(context, {end.failed->reason, "not accepted: " + end.failed->text});
  } else if (mine != nullptr) {
    SayAccepted(context, options.name, car->pairing, *mine);
  } else if (end.how == Session::End::kRefused) {
    Complain(context, end.refused);
  } else {
    Complain(context,
             {v1::REASON_NOT_ON_RING,
              "the car has not named this phone within " + options.timeout +
                  ": it may be asleep, or the owner has not shared yet. The invitation is kept: "
                  "run this again, or `latchkey phone watch " +
                  options.name + " " + invitation->ref.ToText() + "` later" +
                  (end.trouble.empty() ? "" : " (last trouble: " + end.trouble + ")")},
             kTimedOut);
  }
}

}  // namespace

void AddPhoneAccept(CLI::App& phone, Context& context) {
  CLI::App* accept = phone.add_subcommand(
      "accept", "Take an invitation: wait until the car has this phone's key on its ring");
  const auto options = std::make_shared<AcceptOptions>();
  accept->add_option("GUEST", options->name, "This phone: the one whose key was shared")
      ->required();
  accept->add_option("INVITATION", options->link, "latchkey://invite?... as the owner shows it")
      ->required();
  accept->add_option("--ca", options->ca_file,
                     "CA of the broker, PEM (default: the data folder's cell)");
  accept->add_option("--timeout", options->timeout, "Wait at most this long (exit code 3)")
      ->capture_default_str();
  accept->footer(
      "Example:\n  latchkey phone accept bob 'latchkey://invite?...'\n"
      "Exit codes: 0 the key works, 1 refused, 3 the car has not said so in time.");
  accept->callback([&context, options] { Accept(context, *options); });
}

}  // namespace latchkey::cli
