// latchkey car erase, phone erase: nothing is left of a car or of a key in the store, at the broker
// and in the log, but that something was erased, and the log's hashes.
#include <iostream>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "tools/latchkey/api.h"
#include "tools/latchkey/car.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/kept.h"
#include "tools/latchkey/relay_key.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr Duration kPostPatience = std::chrono::seconds(15);
constexpr useconds_t kLookEveryMicroseconds = 200'000;
constexpr int kTimedOut = 3;

struct EraseOptions {
  std::string what;
  std::string fleet;
  std::string timeout = "10m";
  bool sure = false;
  bool online = false;
};

struct Job {
  const Context& context;
  Folder folder;
  Cell cell;
  std::string token;
  Subject subject;
  Duration patience;
};

// What became of it.
struct Erased {
  uint64_t log_entries = 0;
  uint64_t unreadable = 0;
  uint64_t blocks_kept = 0;
  uint64_t rings = 0;  // of a key: that still name it
  bool contact = false;
  bool known_again = false;  // of a car
};

std::string UserName() {
  const char* name = ::getlogin();
  return name == nullptr ? "user " + std::to_string(::getuid()) : name;
}

Result<std::string> ReadToken(const Folder& folder) {
  const std::filesystem::path path = folder.Bridge() / "admin.token";
  LK_TRY(std::string token, ReadFile(path));
  while (!token.empty() && token.back() == '\n') {
    token.pop_back();
  }
  return token;
}

// What is online would be there again at once.
Result<void> CheckAway(const Job& job, const EraseOptions& options) {
  const auto* ref = std::get_if<CarRef>(&job.subject);
  if (ref == nullptr || options.online) {
    return {};
  }
  LK_TRY(const Json car,
         AskJson(job.cell.http_port, "/v1/cars/" + ref->fleet.str() + "/" + ref->car.str(),
                 Json::object()));
  const auto online = car.find("online");
  if (online != car.end() && online->is_boolean() && online->get<bool>()) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "car " + ref->ToText() +
                    " is online: what is erased it would say again at once. Take it out of service "
                    "first (`latchkey ca revoke`, or stop it), or say --yes-online");
  }
  return {};
}

bool PersonSaysYes(const Subject& subject) {
  std::cout << "this erases all that is kept of " << NameOf(subject)
            << ", for good. Type yes to do it: " << std::flush;
  std::string line;
  std::getline(std::cin, line);
  return line == "yes";
}

Result<Json> Post(const Job& job, const std::string& path, const Json& body, Duration patience) {
  LK_TRY(const Answer answer,
         TellBridge(job.cell.http_port, path, job.token, body.dump(), patience));
  Json json = Json::parse(answer.body, nullptr, false);
  if (answer.status / 100 != 2 || !json.is_object()) {
    const std::string why = json.is_object() ? json.value("error", "") : "";
    return Fail(answer.status == 401 ? v1::REASON_NOT_ALLOWED : v1::REASON_STORE_UNAVAILABLE,
                "the bridge does not erase" +
                    (why.empty() ? " (HTTP " + std::to_string(answer.status) + ")" : ": " + why));
  }
  return json;
}

// Until the log was gone over.
Result<void> AwaitLog(const Job& job, uint64_t id, Erased& erased) {
  const Instant until = ReadClocks().mono + job.patience;
  for (;;) {
    LK_TRY(const Json now,
           AskJson(job.cell.http_port, "/v1/erase?id=" + std::to_string(id), Json::object()));
    erased.log_entries = now.value("log_entries", uint64_t{0});
    erased.unreadable = now.value("unreadable", uint64_t{0});
    if (now.value("done", false)) {
      return {};
    }
    if (now.empty() || now.value("failed", false)) {
      return Fail(
          v1::REASON_STORE_UNAVAILABLE,
          "the bridge did not come to the end of its log (it restarted, or cannot read it): "
          "run this again");
    }
    if (ReadClocks().mono >= until) {
      return Fail(v1::REASON_EXPIRED,
                  "the log is still being gone over; run this again to see its "
                  "end, nothing is done twice");
    }
    ::usleep(kLookEveryMicroseconds);
  }
}

// What stays, and is not said to be gone.
Result<void> LookBack(const Job& job, Erased& erased) {
  if (const auto* ref = std::get_if<CarRef>(&job.subject)) {
    LK_TRY(const Json car,
           AskJson(job.cell.http_port, "/v1/cars/" + ref->fleet.str() + "/" + ref->car.str(),
                   Json::object()));
    erased.known_again = !car.empty();
    LK_TRY(const Json blocks, AskJson(job.cell.http_port, "/v1/blocks?lifted=1", std::nullopt));
    for (const Json& block : blocks.value("blocks", Json::array())) {
      erased.blocks_kept += block.value("fleet", Json()) == ref->fleet.str() &&
                                    block.value("car", Json()) == ref->car.str()
                                ? 1
                                : 0;
    }
    return {};
  }
  LK_TRY(const Json kept,
         AskJson(job.cell.http_port, "/v1/export?" + QueryOf(job.subject), Json::object()));
  erased.rings = kept.value("rings", Json::array()).size();
  erased.blocks_kept = kept.value("blocks", Json::array()).size();
  return {};
}

Result<Erased> Run(const Job& job) {
  Json what = {{"who", UserName()}};
  if (const auto* ref = std::get_if<CarRef>(&job.subject)) {
    what["fleet"] = ref->fleet.str();
    what["car"] = ref->car.str();
  } else {
    what["key"] = std::get<KeyId>(job.subject).str();
  }
  LK_TRY(const Json begun, Post(job, "/v1/erase", what, kPostPatience));
  Erased erased;
  if (const auto* ref = std::get_if<CarRef>(&job.subject)) {
    std::error_code error;
    erased.contact = std::filesystem::remove(ContactFile(job.folder, *ref), error);
    if (error) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "cannot remove " + ContactFile(job.folder, *ref).string() + ": " +
                      error.message() + ": remove it and run this again");
    }
  }
  LK_CHECK(AwaitLog(job, begun.value("id", uint64_t{0}), erased));
  LK_CHECK(Post(job, "/v1/scrub", Json::object(), job.patience));
  LK_CHECK(LookBack(job, erased));
  return erased;
}

void SayErased(const Job& job, const Erased& erased) {
  if (job.context.json) {
    Json json = {{"what", NameOf(job.subject)},         {"log_entries", erased.log_entries},
                 {"log_unreadable", erased.unreadable}, {"contact", erased.contact},
                 {"blocks_kept", erased.blocks_kept},   {"on_rings", erased.rings},
                 {"known_again", erased.known_again}};
    Say(json.dump(-1, ' ', false, Json::error_handler_t::replace));
    return;
  }
  Say("erased: all that was kept of " + NameOf(job.subject) + "; " +
      std::to_string(erased.log_entries) + " entries of the log lost their content" +
      (erased.contact ? "; its number and relay key" : ""));
  if (erased.unreadable > 0) {
    Say("  " + std::to_string(erased.unreadable) +
        " records of the log are damaged, so whether they name it nobody can tell");
  }
  if (erased.blocks_kept > 0) {
    Say("  " + std::to_string(erased.blocks_kept) +
        " blocks that name it stay, here and at the broker: a block is never lost");
  }
  if (erased.rings > 0) {
    Say("  it is still on the rings of " + std::to_string(erased.rings) +
        " cars, which the cars alone write: `latchkey phone remove` takes it off");
  }
  if (erased.known_again) {
    Say("  the car is known again: it has said something since; run this again when it is away");
  }
  Say("  copies made before (backups, `log export`) are not touched; the broker's own file of "
      "retained messages forgets when it is written next, its ring file at its next start");
}

Result<void> Erase(const Context& context, const Subject& subject, const EraseOptions& options) {
  const Folder folder(context.data);
  LK_TRY(const Duration patience, ParseDuration(options.timeout));
  LK_TRY(const Cell cell, folder.LoadCell());
  LK_TRY(std::string token, ReadToken(folder));
  const Job job{context, folder, cell, std::move(token), subject, patience};
  LK_CHECK(CheckAway(job, options));
  if (!options.sure && !PersonSaysYes(subject)) {
    return Fail(v1::REASON_DECLINED, NameOf(subject) + " is not erased: nobody typed yes");
  }
  LK_TRY(const Erased erased, Run(job));
  SayErased(job, erased);
  return {};
}

void Finish(Context& context, const Result<void>& done) {
  if (!done) {
    Complain(context, done.error(), done.error().reason == v1::REASON_EXPIRED ? kTimedOut : 1);
  }
}

void AddOptions(CLI::App& command, EraseOptions& options) {
  command.add_flag("--yes", options.sure, "Do not ask");
  command.add_option("--timeout", options.timeout, "Wait at most this long (exit code 3)")
      ->capture_default_str();
}

}  // namespace

void AddCarErase(CLI::App& car, Context& context) {
  const auto options = std::make_shared<EraseOptions>();
  CLI::App* command = car.add_subcommand(
      "erase", "Erase all that the cell keeps of a car: store, retained messages, log, number");
  command->add_option("CAR", options->what, "The car")->required();
  command->add_option("--fleet", options->fleet, "Its fleet")->required();
  command->add_flag("--yes-online", options->online, "Also while it is online: it will be back");
  AddOptions(*command, *options);
  command->footer(
      "The log stays one chain: `latchkey log verify` shows the erased entries as such.\n"
      "Example:\n  latchkey car erase F3-17 --fleet demo\n");
  command->callback([&context, options] {
    const Result<CarRef> ref = ParseCar(options->fleet, options->what);
    Finish(context,
           ref ? Erase(context, *ref, *options) : Result<void>(tl::unexpected<Error>(ref.error())));
  });
}

void AddPhoneErase(CLI::App& phone, Context& context) {
  const auto options = std::make_shared<EraseOptions>();
  CLI::App* command = phone.add_subcommand(
      "erase", "Erase what the cell keeps of a phone's key: its commands, and its name in the log");
  command->add_option("KEY", options->what, "A key id, or a phone in this data folder")->required();
  AddOptions(*command, *options);
  command->callback([&context, options] {
    const Result<KeyId> key = ParsePhoneOrKey(Folder(context.data), options->what);
    Finish(context,
           key ? Erase(context, *key, *options) : Result<void>(tl::unexpected<Error>(key.error())));
  });
}

}  // namespace latchkey::cli
