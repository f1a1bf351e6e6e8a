// latchkey import connecteddrive | ovms-sql | teslafi | kamereon: reads a legacy system's files,
// says of every record what becomes of it, and hands the state to the bridge.
#include "tools/latchkey/import.h"

#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>

#include "tools/fleet/file.h"
#include "tools/import/connecteddrive.h"
#include "tools/import/kamereon.h"
#include "tools/import/ovms.h"
#include "tools/import/quoted_table.h"
#include "tools/import/teslafi.h"
#include "tools/latchkey/car.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr size_t kFileBytesMax = size_t{16} << 20;  // of one JSON file
constexpr size_t kFilesMax = 100'000;
constexpr const char* kZones = "/usr/share/zoneinfo";

struct ImportOptions {
  std::string path;
  std::string fleet;
  std::string map;
  std::string undated;
  std::string zone;
  std::string invitations;
  int days = 90;
  bool folders_name_vehicles = false;
  bool dry_run = false;
  bool provision = false;
};

// A legacy system: its name on the command line, and what reads it.
struct System {
  std::string name;
  std::function<Result<legacy::Reading>(const ImportOptions&, const legacy::ReaderOptions&)> read;
};

using FileReader = void (*)(const legacy::SourceFile&, const legacy::ReaderOptions&,
                            legacy::Reading&);

// Regular files below a folder by name; links are not followed.
Result<std::vector<std::string>> FilesBelow(const fs::path& root) {
  std::error_code error;
  std::vector<std::string> files;
  fs::recursive_directory_iterator at(root, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    if (at->symlink_status().type() == fs::file_type::regular) {
      files.push_back(at->path().lexically_relative(root).generic_string());
    }
    if (files.size() > kFilesMax) {
      return Fail(v1::REASON_TOO_LARGE, root.string() +
                                            " holds more than 100000 files: import its "
                                            "folders one by one");
    }
  }
  if (error) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, root.string() + ": " + error.message());
  }
  std::sort(files.begin(), files.end());
  return files;
}

Result<legacy::Reading> ReadFolder(const fs::path& root, const legacy::ReaderOptions& options,
                                   FileReader read) {
  LK_TRY(const std::vector<std::string> files, FilesBelow(root));
  legacy::Reading reading;
  for (const std::string& name : files) {
    const auto refuse = [&](std::string why) { reading.refused.push_back({name, std::move(why)}); };
    std::error_code error;
    const auto size = fs::file_size(root / name, error);
    if (fs::path(name).extension() != ".json") {
      refuse("is no JSON file");
    } else if (error || size > kFileBytesMax) {
      refuse(error ? error.message() : "is larger than 16 MiB");
    } else if (const Result<std::string> bytes = ReadFile(root / name); !bytes) {
      refuse("cannot be read");
    } else {
      read({name, *bytes}, options, reading);
    }
    if (reading.records.size() > legacy::kRecordsMax) {
      return Fail(v1::REASON_TOO_LARGE, "more than 200000 records: import folders one by one");
    }
  }
  return reading;
}

Result<legacy::SourceFile> ReadOne(const fs::path& path) {
  LK_TRY(std::string bytes, fleet::ReadMaybeZipped(path));
  return legacy::SourceFile{path.filename().string(), std::move(bytes)};
}

Result<legacy::Reading> ReadOvms(const fs::path& path) {
  LK_TRY(const legacy::SourceFile file, ReadOne(path));
  legacy::Reading reading;
  legacy::ReadOvmsDump(file, reading);
  return reading;
}

// Of the system's zone database; a name that leaves its folder is none.
Result<std::optional<legacy::Zone>> ReadZone(const std::string& name) {
  if (name.empty()) {
    return std::optional<legacy::Zone>();
  }
  if (name.front() == '/' || name.find("..") != std::string::npos) {
    return Fail(v1::REASON_MALFORMED, "--zone is a name like Europe/Berlin");
  }
  const Result<std::string> bytes = ReadFile(fs::path(kZones) / name);
  if (!bytes) {
    return Fail(v1::REASON_MALFORMED, "zone \"" + Printable(name) + "\" is not in " + kZones +
                                          ": a name like Europe/Berlin, with tzdata installed");
  }
  LK_TRY(legacy::Zone zone, legacy::Zone::Parse(*bytes));
  return std::optional(std::move(zone));
}

Result<legacy::Reading> ReadTesla(const fs::path& path, const std::string& zone_name) {
  LK_TRY(const std::optional<legacy::Zone> zone, ReadZone(zone_name));
  LK_TRY(const legacy::SourceFile file, ReadOne(path));
  legacy::Reading reading;
  legacy::ReadTeslaFi(file, zone, reading);
  return reading;
}

// Lines "vehicle,car" in UTF-8, as the source names the vehicle.
Result<std::map<std::string, CarId>> ReadMap(const std::string& path) {
  std::map<std::string, CarId> map;
  if (path.empty()) {
    return map;
  }
  LK_TRY(const std::string bytes, ReadFile(path));
  const std::string text = "vehicle,car\n" + bytes;
  legacy::QuotedTable table(text);
  for (size_t line = 1; table.Next(); ++line) {
    const auto car =
        table.cells().size() == 2 ? CarId::Parse(table.cells()[1]) : std::optional<CarId>();
    if (!car || !map.emplace(table.cells()[0], *car).second) {
      return Fail(v1::REASON_MALFORMED,
                  path + " line " + std::to_string(line) +
                      " is not a vehicle, a comma and a car's name, or names a vehicle again");
    }
  }
  return map;
}

Result<legacy::ReaderOptions> ReaderOptionsOf(const ImportOptions& options) {
  legacy::ReaderOptions reader{{}, options.folders_name_vehicles};
  if (!options.undated.empty()) {
    reader.undated = legacy::TimeOf(options.undated, legacy::WithoutZone::kRefuse);
    if (!reader.undated) {
      return Fail(v1::REASON_MALFORMED, "--undated is a time like 2020-11-17T09:00:00Z");
    }
  }
  return reader;
}

void SayReport(const Context& context, const legacy::Report& report) {
  if (!context.json) {
    std::cout << legacy::TextOf(report) << std::flush;
    return;
  }
  for (const nlohmann::ordered_json& line : legacy::LinesOf(report)) {
    Say(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
}

void SayHandedOver(const Context& context, const HandedOver& handed) {
  if (context.json) {
    Say(nlohmann::ordered_json{{"history_kept", handed.history_kept},
                               {"history_old", handed.history_old}}
            .dump());
  } else {
    Say("history: " + std::to_string(handed.history_kept) + " states kept, " +
        std::to_string(handed.history_old) + " older than it goes back");
  }
}

void SayProvisioned(const Context& context, const Provisioned& provisioned) {
  if (context.json) {
    Say(nlohmann::ordered_json{{"invited", provisioned.made}, {"there", provisioned.there}}.dump());
    return;
  }
  for (const std::string& car : provisioned.made) {
    Say("car " + car + ": made, and an invitation for its owner");
  }
  for (const std::string& car : provisioned.there) {
    Say("car " + car + ": was there; its owner and its keys are as they were");
  }
}

Result<void> Run(const Context& context, const System& system, const ImportOptions& options) {
  const Folder folder(context.data);
  LK_TRY(const FleetId fleet, ParseFleet(options.fleet));
  LK_TRY(const legacy::ReaderOptions reader, ReaderOptionsOf(options));
  LK_TRY(auto map, ReadMap(options.map));
  LK_TRY(legacy::Reading reading, system.read(options, reader));
  std::map<std::string, uint64_t> not_kept = std::move(reading.not_kept);
  const std::string source = "import:" + system.name;
  const legacy::Plan plan = legacy::MakePlan(std::move(reading), {fleet, source, std::move(map)});
  if (options.dry_run) {
    SayReport(context, legacy::MakeReport(plan, std::move(not_kept),
                                          std::vector<legacy::GroupOutcome>(plan.groups.size())));
    return {};
  }
  LK_CHECK(TellBegin(folder, source, plan.records.size() + plan.refused.size()));
  LK_TRY(const HandedOver handed, HandOver(folder, plan));
  const legacy::Report report = legacy::MakeReport(plan, std::move(not_kept), handed.outcomes);
  SayReport(context, report);
  SayHandedOver(context, handed);
  LK_CHECK(TellEnd(folder, source, report.totals));
  if (options.provision) {
    const fs::path invitations =
        options.invitations.empty() ? folder.root() / "invitations" : fs::path(options.invitations);
    LK_TRY(const Provisioned provisioned,
           Provision(folder, plan, fleet, {invitations, std::chrono::hours(24 * options.days)}));
    SayProvisioned(context, provisioned);
  }
  return {};
}

CLI::App* AddSystem(CLI::App& import, Context& context, const System& system,
                    const std::shared_ptr<ImportOptions>& options, const std::string& what) {
  CLI::App* app = import.add_subcommand(system.name, what);
  app->add_option("--fleet", options->fleet, "The fleet that its cars join")->required();
  app->add_option("--map", options->map,
                  "File of lines VEHICLE,CAR: names for vehicles; others get one of their own")
      ->check(CLI::ExistingFile);
  app->add_flag("--dry-run", options->dry_run, "Read and report only; the bridge is not asked");
  app->add_flag("--provision", options->provision,
                "Make an identity for each car that has none, and an invitation for its owner");
  app->add_option("--invitations", options->invitations,
                  "Folder for the invitations (default: invitations/ in the data folder)");
  app->add_option("--days", options->days, "How long an invitation lives (default 90)")
      ->check(CLI::Range(1, 365));
  app->callback([&context, system, options] {
    const Result<void> done = Run(context, system, *options);
    if (!done) {
      Complain(context, done.error());
    }
  });
  return app;
}

void AddFolderSystem(CLI::App& import, Context& context, const std::string& name,
                     const std::string& what, FileReader read) {
  const auto options = std::make_shared<ImportOptions>();
  const System system{name, [read](const ImportOptions& given, const legacy::ReaderOptions& how) {
                        return ReadFolder(given.path, how, read);
                      }};
  CLI::App* app = AddSystem(import, context, system, options, what);
  app->add_option("DIR", options->path, "Folder of its JSON files, also in folders below")
      ->required()
      ->check(CLI::ExistingDirectory);
  app->add_option("--undated", options->undated,
                  "When records without a time of their own were observed, like "
                  "2020-11-17T09:00:00Z (default: they are refused)");
  if (name == "connecteddrive") {
    app->add_flag("--folders-name-vehicles", options->folders_name_vehicles,
                  "The first folder below DIR names the vehicle of files that name none");
  }
}

}  // namespace

void AddImport(CLI::App& app, Context& context) {
  CLI::App* import = app.add_subcommand(
      "import",
      "Bring a legacy system in: its cars' last-known state, each value with its own time");
  import->require_subcommand(1);
  AddFolderSystem(*import, context, "connecteddrive",
                  "Answers of BMW ConnectedDrive, three generations", legacy::ReadConnectedDrive);
  AddFolderSystem(*import, context, "kamereon", "Answers of Renault's Kamereon interface",
                  legacy::ReadKamereon);
  const auto of_file = std::make_shared<ImportOptions>();
  CLI::App* ovms =
      AddSystem(*import, context,
                {"ovms-sql", [](const ImportOptions& given,
                                const legacy::ReaderOptions&) { return ReadOvms(given.path); }},
                of_file, "A MySQL dump of an OVMS server");
  ovms->add_option("FILE", of_file->path, "As mysqldump prints it, gzipped or not")
      ->required()
      ->check(CLI::ExistingFile);
  const auto of_rows = std::make_shared<ImportOptions>();
  CLI::App* teslafi = AddSystem(
      *import, context,
      {"teslafi", [](const ImportOptions& given,
                     const legacy::ReaderOptions&) { return ReadTesla(given.path, given.zone); }},
      of_rows, "A month's export of TeslaFi");
  teslafi->add_option("FILE", of_rows->path, "As it was downloaded, gzipped or not")
      ->required()
      ->check(CLI::ExistingFile);
  teslafi->add_option("--zone", of_rows->zone,
                      "Zone of its local times, like Europe/Berlin, where rows do not tell it");
}

}  // namespace latchkey::cli
