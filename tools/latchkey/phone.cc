// latchkey phone init, pair, token: a phone's key, its pairings and its password.
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/crypto.h"
#include "proto/pairing.h"
#include "proto/token.h"
#include "tools/latchkey/broker_list.h"
#include "tools/latchkey/kept.h"
#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/session.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr size_t kNonceBytes = 16;

struct PairOptions {
  std::string name;
  std::string text;
  std::string ca_file;
  std::string timeout;
};

struct TokenOptions {
  std::string name;
  std::string lives = "10m";
  std::string cell;
};

void SayKey(const Context& context, const std::string& name, const PublicKey& key) {
  if (context.json) {
    Say(nlohmann::ordered_json{
        {"phone", name}, {"key_id", key.Id().str()}, {"public_key", Base64UrlEncode(key.ToPoint())}}
            .dump());
    return;
  }
  Say("phone " + name + ": key id " + key.Id().str() + ", public key " +
      Base64UrlEncode(key.ToPoint()));
}

void Init(Context& context, const std::string& name, const std::string& label) {
  const Result<PublicKey> made =
      MakePhone(Folder(context.data), name, label.empty() ? name : label);
  if (!made) {
    Complain(context, made.error());
    return;
  }
  SayKey(context, name, *made);
}

void SayPaired(const Context& context, const std::string& name, const tools::Pairing& pairing,
               const KeyId& id) {
  const RingKey* key = pairing.ring.Find(id);
  if (context.json) {
    Say(nlohmann::ordered_json{{"event", "paired"},
                               {"phone", name},
                               {"car", pairing.ref.ToText()},
                               {"role", key == nullptr ? "" : v1::Role_Name(key->role)},
                               {"ring_version", pairing.ring.version}}
            .dump());
    return;
  }
  Say("paired: phone " + name + " holds a key to car " + pairing.ref.ToText() + " (ring version " +
      std::to_string(pairing.ring.version) + ", " + std::to_string(pairing.ring.keys.size()) +
      " key" + (pairing.ring.keys.size() == 1 ? "" : "s") + ")");
}

void Pair(Context& context, const PairOptions& options) {
  const Folder folder(context.data);
  const Result<Duration> timeout = ParseDuration(options.timeout);
  const Result<PairingOffer> offer = ParseQrText(options.text);
  Result<SavedPhone> saved = LoadPhone(folder, options.name);
  if (!timeout || !offer || !saved) {
    Complain(context, !timeout ? timeout.error() : !offer ? offer.error() : saved.error());
    return;
  }
  const Result<std::string> ca = ChooseCa(folder, options.name, options.ca_file, offer->cell);
  if (!ca) {
    Complain(context, ca.error());
    return;
  }
  // The same key once more: one stays with what is saved, one goes to the running phone.
  Result<PrivateKey> key = PrivateKey::FromPem(saved->key.ToPem());
  LK_ASSERT(key.has_value());
  tools::Phone phone(std::move(*key), saved->label, {});
  std::optional<Error> failed;
  int broker_reason = 0;
  tools::LinkOptions link =
      PhoneLink(phone.key(), offer->host, offer->port, offer->cell, *ca, "pair");
  const Result<void> used = UsePhoneBrokers(context, options.name, offer->cell, link);
  if (!used) {
    Complain(context, used.error());
    return;
  }
  Session session(phone, std::move(link), [&](const tools::Phone::Effect& effect) {
    if (const auto* failure = std::get_if<tools::Phone::Failed>(&effect)) {
      failed = failure->error;
      broker_reason = failure->broker_reason;
      return true;
    }
    const auto* learned = std::get_if<tools::Phone::Learned>(&effect);
    return learned != nullptr && learned->paired_now;
  });
  if (!context.json) {
    Say("asking car " + offer->ref.ToText() + " at " + offer->host + ":" +
        std::to_string(offer->port) + "; confirm in the car if it asks");
  }
  session.Do(tools::Phone::Pair{*offer, RandomBytes(kNonceBytes)});
  const Session::End end = session.Run(*timeout);
  const tools::CarView* car = phone.Find(offer->ref);
  if (car != nullptr) {
    const Result<void> written = SavePairing(folder, options.name, *saved, car->pairing);
    if (!written) {
      Complain(context, written.error());
      return;
    }
    SayPaired(context, options.name, car->pairing, phone.id());
  } else if (failed) {
    Complain(context, {failed->reason,
                       "not paired: " + failed->text +
                           (broker_reason != 0 ? " (" + ReasonCodeText(broker_reason) + ")" : "")});
  } else if (end == Session::End::kRefused) {
    Complain(context, session.error());
  } else {
    Complain(context,
             {v1::REASON_NO_OFFER,
              "not paired: no answer from car " + offer->ref.ToText() + " within " +
                  options.timeout + "; is it running with --offer?" +
                  (session.trouble().empty() ? "" : " (last: " + session.trouble() + ")")},
             3);
  }
}

void PrintToken(Context& context, const TokenOptions& options) {
  const Folder folder(context.data);
  const auto token = [&]() -> Result<std::pair<std::string, std::string>> {
    LK_TRY(const Duration lives, ParseDuration(options.lives));
    if (lives > kTokenLifetimeMax) {
      return Fail(v1::REASON_LIFETIME_TOO_LONG, "a token lives at most 1 h: choose less");
    }
    LK_TRY(const SavedPhone phone, LoadPhone(folder, options.name));
    std::string cell = options.cell;
    if (cell.empty() && !phone.pairings.empty()) {
      cell = phone.pairings.front().cell;
    }
    if (cell.empty()) {
      LK_TRY(const Cell known, folder.LoadCell());
      cell = known.name;
    }
    return std::pair(phone.key.Public().Id().str(),
                     MintToken(phone.key, cell, ReadClocks().wall, lives));
  }();
  if (!token) {
    Complain(context, token.error());
    return;
  }
  if (context.json) {
    Say(nlohmann::ordered_json{{"key_id", token->first}, {"token", token->second}}.dump());
    return;
  }
  Say("key id (user name): " + token->first);
  Say("token (password):   " + token->second);
}

// The cell of this data folder, when phone `name` means it by `cell`.
std::optional<Cell> CellHere(const Folder& folder, const std::string& name,
                             const std::string& cell) {
  Result<Cell> here = folder.LoadCell();
  const bool same =
      here && here->name == cell && CaFile(folder, name, cell) == folder.CellCa().string();
  return same ? std::optional(std::move(*here)) : std::nullopt;
}

}  // namespace

Result<std::string> ChooseCa(const Folder& folder, const std::string& name,
                             const std::string& ca_file, const std::string& cell) {
  if (ca_file.empty()) {
    return CaFile(folder, name, cell);
  }
  LK_TRY(const std::string pem, ReadFile(ca_file));
  const fs::path copy = folder.Phone(name) / ("ca-" + cell + ".pem");
  LK_CHECK(WriteFile(copy, pem, Secrecy::kPublic));
  return copy.string();
}

Result<void> SavePairing(const Folder& folder, const std::string& name, SavedPhone& saved,
                         const tools::Pairing& pairing) {
  std::erase_if(saved.pairings, [&](const tools::Pairing& old) { return old.ref == pairing.ref; });
  saved.pairings.push_back(pairing);
  return SavePhone(folder, name, saved.label, saved.key.Public(), saved.pairings);
}

std::string CaFile(const Folder& folder, const std::string& name, const std::string& cell) {
  const fs::path own = folder.Phone(name) / ("ca-" + cell + ".pem");
  std::error_code ignored;
  return fs::exists(own, ignored) ? own.string() : folder.CellCa().string();
}

Result<void> UsePhoneBrokers(const Context& context, const std::string& name,
                             const std::string& cell, tools::LinkOptions& link) {
  const Folder folder(context.data);
  const std::optional<Cell> here = CellHere(folder, name, cell);
  // First where the offer, the letter or the pairing says.
  std::vector<tools::BrokerAddress> known = {{link.host, link.port}};
  if (here) {
    const std::vector<tools::BrokerAddress> of_cell = BrokersOf(*here, Port::kPhones);
    known.insert(known.end(), of_cell.begin(), of_cell.end());
  }
  return UseBrokers(folder.Phone(name), cell, known, context.phone_brokers, link);
}

Result<std::unique_ptr<Talk>> OpenTalk(const Context& context, const std::string& name,
                                       const std::string& car, const std::string& purpose) {
  const Folder folder(context.data);
  LK_TRY(SavedPhone saved, LoadPhone(folder, name));
  LK_TRY(tools::Pairing pairing, FindPairing(saved, name, car));
  std::erase_if(saved.pairings,
                [&](const tools::Pairing& other) { return other.ref == pairing.ref; });
  // A cell in this data folder may have got other ports since the phone was paired.
  const std::optional<Cell> cell = CellHere(folder, name, pairing.cell);
  if (cell) {
    pairing.host = cell->host;
    pairing.port = cell->phone_port;
  }
  const std::string host = pairing.host;
  const int port = pairing.port;
  const std::string cell_name = pairing.cell;
  auto talk = std::make_unique<Talk>(
      Talk{name,
           std::move(saved.pairings),
           tools::Phone(std::move(saved.key), saved.label, {std::move(pairing)}),
           {}});
  talk->link =
      PhoneLink(talk->phone.key(), host, port, cell_name, CaFile(folder, name, cell_name), purpose);
  LK_CHECK(UsePhoneBrokers(context, name, cell_name, talk->link));
  return talk;
}

Result<void> SaveTalk(const Context& context, const Talk& talk) {
  std::vector<tools::Pairing> pairings = talk.others;
  for (const auto& [ref, car] : talk.phone.cars()) {
    pairings.push_back(car.pairing);
  }
  return SavePhone(Folder(context.data), talk.name, talk.phone.label(), talk.phone.key().Public(),
                   pairings);
}

void AddPhone(CLI::App& app, Context& context) {
  CLI::App* phone =
      app.add_subcommand("phone", "Phones: pair with a car, watch it, command it, share keys");
  phone->require_subcommand(1);
  phone
      ->add_option("--broker", context.phone_brokers,
                   "HOST:PORT of a broker's port for phones, repeated: tried in this order before "
                   "those known already; kept for later")
      ->take_all()
      ->allow_extra_args(false);

  CLI::App* init = phone->add_subcommand("init", "Make a phone: a key of its own, nothing else");
  const auto names = std::make_shared<std::pair<std::string, std::string>>();
  init->add_option("NAME", names->first, "Name of the phone here")->required();
  init->add_option("--label", names->second, "What the car's ring shall call it (default: NAME)");
  init->footer("Example:\n  latchkey phone init anna --label \"Anna's phone\"\n");
  init->callback([&context, names] { Init(context, names->first, names->second); });

  CLI::App* pair = phone->add_subcommand("pair", "Pair with the car whose QR code this is");
  const auto pairing = std::make_shared<PairOptions>();
  pairing->timeout = "60s";
  pair->add_option("NAME", pairing->name, "The phone")->required();
  pair->add_option("QRTEXT", pairing->text, "latchkey://pair?... as the car shows it")->required();
  pair->add_option("--ca", pairing->ca_file,
                   "CA of the broker, PEM (default: the data folder's cell)");
  pair->add_option("--timeout", pairing->timeout, "Wait at most this long")->capture_default_str();
  pair->footer(
      "Example:\n  latchkey phone pair anna 'latchkey://pair?...'\n"
      "Exit codes: 0 paired, 1 refused, 3 no answer from the car.");
  pair->callback([&context, pairing] { Pair(context, *pairing); });

  AddPhoneWatch(*phone, context);
  AddPhoneSend(*phone, context);
  AddPhoneCancel(*phone, context);
  AddPhoneShare(*phone, context);
  AddPhoneAccept(*phone, context);
  AddPhoneKeys(*phone, context);
  AddPhoneExport(*phone, context);
  AddPhoneErase(*phone, context);

  CLI::App* token =
      phone->add_subcommand("token", "Print user name and password for any MQTT client library");
  const auto minting = std::make_shared<TokenOptions>();
  token->add_option("NAME", minting->name, "The phone")->required();
  token->add_option("--lives", minting->lives, "How long the token is valid, at most 1h")
      ->capture_default_str();
  token->add_option("--cell", minting->cell, "Cell it is for (default: that of the first pairing)");
  token->footer("Example:\n  latchkey phone token anna --lives 1h\n");
  token->callback([&context, minting] { PrintToken(context, *minting); });
}

}  // namespace latchkey::cli
