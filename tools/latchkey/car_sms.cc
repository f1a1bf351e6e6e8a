// latchkey car sms: gives a car a number, or takes it away. The relay key lands in the car's folder
// and in the bridge's contact of the car; neither key nor number is ever printed.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proto/crypto.h"
#include "proto/phone_number.h"
#include "proto/sms.h"
#include "tools/latchkey/car.h"
#include "tools/latchkey/relay_key.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

struct SmsOptions {
  std::string car;
  std::string fleet;
  std::string number;
  bool off = false;
  bool new_key = false;
};

Result<bool> Remove(const fs::path& path) {
  std::error_code error;
  const bool there = fs::remove(path, error);
  if (error) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "cannot remove " + path.string() + ": " + error.message());
  }
  return there;
}

Result<void> TurnOff(const Context& context, const CarRef& ref) {
  const Folder folder(context.data);
  // The contact first: the bridge then sends nothing that the car cannot read.
  LK_TRY(const bool contact, Remove(ContactFile(folder, ref)));
  LK_TRY(const bool key, Remove(RelayKeyFile(folder, ref)));
  if (context.json) {
    Say(nlohmann::ordered_json{{"fleet", ref.fleet.str()},
                               {"car", ref.car.str()},
                               {"sms", "off"},
                               {"was_on", contact || key}}
            .dump());
  } else {
    Say("car " + ref.ToText() +
        (contact || key ? ": no SMS any more, its number and relay key are gone"
                        : ": had no number"));
  }
  return {};
}

Result<void> TurnOn(const Context& context, const CarRef& ref, const SmsOptions& options) {
  if (!IsPhoneNumber(options.number)) {
    return Fail(v1::REASON_MALFORMED,
                "the number is not in international form (E.164): '+', country code and number, 8 "
                "to 15 digits and nothing else, like +436601234567");
  }
  const Folder folder(context.data);
  std::optional<std::string> key;
  if (!options.new_key) {
    LK_TRY(key, ReadRelayKey(folder, ref));
  }
  const bool fresh = !key;
  if (fresh) {
    key = RandomBytes(kRelayKeyBytes);
    LK_CHECK(WriteRelayKey(folder, ref, *key));
  }
  const nlohmann::ordered_json contact = {{"number", options.number},
                                          {"relay_key", Base64UrlEncode(*key)}};
  LK_CHECK(WriteFile(ContactFile(folder, ref), contact.dump(2) + "\n", Secrecy::kSecret));
  if (context.json) {
    Say(nlohmann::ordered_json{{"fleet", ref.fleet.str()},
                               {"car", ref.car.str()},
                               {"sms", "on"},
                               {"new_relay_key", fresh},
                               {"relay_key_file", RelayKeyFile(folder, ref).string()},
                               {"contact_file", ContactFile(folder, ref).string()}}
            .dump());
    return {};
  }
  Say("car " + ref.ToText() +
      ": the bridge wakes it by SMS, within 2 s if it has a gateway ([sms] " + "in " +
      (folder.Bridge() / "latchkey.toml").string() + ")");
  if (fresh) {
    Say("relay key: " + RelayKeyFile(folder, ref).string() +
        "; a car that runs elsewhere needs this file");
  }
  Say("next: latchkey car run " + ref.car.str() + " --fleet " + ref.fleet.str() +
      " --sms-inbox FOLDER");
  return {};
}

Result<void> SetSms(const Context& context, const SmsOptions& options) {
  LK_TRY(const CarRef ref, ParseCar(options.fleet, options.car));
  const Folder folder(context.data);
  if (!HasCarFiles(folder, ref)) {
    return Fail(v1::REASON_MALFORMED, "no car " + ref.ToText() + " in " + folder.root().string() +
                                          ": add it with `latchkey car add " + ref.car.str() +
                                          " --fleet " + ref.fleet.str() + "`");
  }
  return options.off ? TurnOff(context, ref) : TurnOn(context, ref, options);
}

}  // namespace

void AddCarSms(CLI::App& car, Context& context) {
  const auto options = std::make_shared<SmsOptions>();
  CLI::App* sms = car.add_subcommand(
      "sms", "Give a car a number: the bridge then wakes it by SMS when a command waits for it");
  sms->add_option("CAR", options->car, "A car that `car add` made")->required();
  sms->add_option("--fleet", options->fleet, "Its fleet")->required();
  CLI::Option_group* what = sms->add_option_group("what");
  what->add_option("--number", options->number, "The number of its modem, like +436601234567");
  CLI::Option* off = what->add_flag("--off", options->off, "Never send it an SMS again");
  what->require_option(1);
  sms->add_flag("--new-key", options->new_key,
                "Make a new relay key, for the car and the bridge; the old one is void")
      ->excludes(off);
  sms->callback([&context, options] {
    const Result<void> done = SetSms(context, *options);
    if (!done) {
      Complain(context, done.error());
    }
  });
}

}  // namespace latchkey::cli
