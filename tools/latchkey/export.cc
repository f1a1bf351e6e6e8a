// latchkey car export, phone export: everything that is kept of one car or one key, as one JSON.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "tools/latchkey/api.h"
#include "tools/latchkey/car.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/kept.h"
#include "tools/latchkey/key_text.h"
#include "tools/latchkey/phone_file.h"
#include "tools/latchkey/relay_key.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using Json = nlohmann::ordered_json;

// Who a key is must be found out from every ring of the cell.
constexpr Duration kPatience = std::chrono::minutes(5);

std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

// All entries of the log that name it, page by page.
Result<Json> LogOf(int port, const Subject& subject) {
  Json entries = Json::array();
  uint64_t from = 1;
  for (;;) {
    const std::string path =
        "/v1/log?limit=5000&from=" + std::to_string(from) + "&" + QueryOf(subject);
    LK_TRY(const Json page, AskJson(port, path, std::nullopt));
    for (const Json& entry : page.value("entries", Json::array())) {
      entries.push_back(entry);
    }
    const uint64_t next = page.value("next", uint64_t{0});
    if (page.value("end", true) || next <= from) {
      return entries;
    }
    from = next;
  }
}

// How the bridge reaches a car by SMS, without what is secret; null: it does not.
Json ContactOf(const Folder& folder, const CarRef& ref) {
  const Result<std::string> text = ReadFile(ContactFile(folder, ref));
  const Json contact = text ? Json::parse(*text, nullptr, false) : Json();
  return contact.is_object() ? Json{{"number", contact.value("number", "")}} : Json();
}

Result<Json> Gather(const Context& context, const Subject& subject) {
  const Folder folder(context.data);
  LK_TRY(const Cell cell, folder.LoadCell());
  LK_TRY(const Answer answer,
         AskBridge(cell.http_port, "/v1/export?" + QueryOf(subject), kPatience));
  Json kept = Json::parse(answer.body, nullptr, false);
  if (answer.status != 404 && (answer.status != 200 || !kept.is_object())) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, "the bridge does not show what it keeps (HTTP " +
                                                  std::to_string(answer.status) +
                                                  "): update it, or look at its log");
  }
  if (answer.status == 404) {
    kept = Json::object();  // the log may know it all the same
  }
  LK_TRY(kept["log"], LogOf(cell.http_port, subject));
  if (const auto* ref = std::get_if<CarRef>(&subject)) {
    kept["contact"] = ContactOf(folder, *ref);
  }
  if (answer.status == 404 && kept["log"].empty() && kept["contact"].is_null()) {
    return Fail(v1::REASON_UNKNOWN_TOPIC, "nothing is kept of " + NameOf(subject));
  }
  return kept;
}

struct ExportOptions {
  std::string what;
  std::string fleet;
  std::string output;
};

Result<void> Export(const Context& context, const Subject& subject, const std::string& output) {
  LK_TRY(const Json kept, Gather(context, subject));
  if (output.empty()) {
    Say(Dump(kept));
    return {};
  }
  LK_CHECK(WriteFile(output, Dump(kept) + "\n", Secrecy::kSecret));
  Say("all that is kept of " + NameOf(subject) + ": " + output);
  return {};
}

void Finish(Context& context, const Result<void>& done) {
  if (!done) {
    Complain(context, done.error());
  }
}

constexpr const char* kOutputHelp = "Write to this file (0600) instead of printing";

}  // namespace

std::string NameOf(const Subject& subject) {
  if (const auto* ref = std::get_if<CarRef>(&subject)) {
    return "car " + ref->ToText();
  }
  return "key " + std::get<KeyId>(subject).str();
}

std::string QueryOf(const Subject& subject) {
  if (const auto* ref = std::get_if<CarRef>(&subject)) {
    return "fleet=" + ref->fleet.str() + "&car=" + ref->car.str();
  }
  return "key=" + std::get<KeyId>(subject).str();
}

Result<KeyId> ParsePhoneOrKey(const Folder& folder, const std::string& text) {
  const Result<SavedPhone> phone = LoadPhone(folder, text);
  if (phone) {
    return phone->key.Public().Id();
  }
  if (std::optional<KeyId> key = ParseKeyText(text)) {
    return *std::move(key);
  }
  return Fail(v1::REASON_MALFORMED, "\"" + text +
                                        "\" is neither a phone in this data folder nor a key id of "
                                        "22 characters");
}

Result<Json> AskJson(int port, const std::string& path, const std::optional<Json>& missing) {
  LK_TRY(const Answer answer, AskBridge(port, path));
  Json json = Json::parse(answer.body, nullptr, false);
  if (answer.status == 404 && missing) {
    return *missing;
  }
  if (answer.status != 200 || !json.is_object()) {
    const std::string why = json.is_object() ? json.value("error", "") : "";
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "the bridge does not answer as it should" +
                    (why.empty() ? " (HTTP " + std::to_string(answer.status) + ")" : ": " + why));
  }
  return json;
}

void AddCarExport(CLI::App& car, Context& context) {
  const auto options = std::make_shared<ExportOptions>();
  CLI::App* command = car.add_subcommand(
      "export",
      "All that the cell keeps of a car as one JSON: state, ring, commands, history, log");
  command->add_option("CAR", options->what, "The car")->required();
  command->add_option("--fleet", options->fleet, "Its fleet")->required();
  command->add_option("--output", options->output, kOutputHelp);
  command->footer(
      "That somebody read the place of the car is in the log.\n"
      "Example:\n  latchkey car export F3-17 --fleet demo --output F3-17.json\n");
  command->callback([&context, options] {
    const Result<CarRef> ref = ParseCar(options->fleet, options->what);
    Finish(context, ref ? Export(context, *ref, options->output)
                        : Result<void>(tl::unexpected<Error>(ref.error())));
  });
}

void AddPhoneExport(CLI::App& phone, Context& context) {
  const auto options = std::make_shared<ExportOptions>();
  CLI::App* command = phone.add_subcommand(
      "export",
      "All that the cell keeps of a phone's key as one JSON: rings, commands, blocks, log");
  command->add_option("KEY", options->what, "A key id, or a phone in this data folder")->required();
  command->add_option("--output", options->output, kOutputHelp);
  command->callback([&context, options] {
    const Result<KeyId> key = ParsePhoneOrKey(Folder(context.data), options->what);
    Finish(context, key ? Export(context, *key, options->output)
                        : Result<void>(tl::unexpected<Error>(key.error())));
  });
}

}  // namespace latchkey::cli
