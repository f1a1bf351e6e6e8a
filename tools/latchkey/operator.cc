// latchkey operator add: a certificate that may read some state groups of one fleet.
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include "proto/certificate.h"
#include "proto/keyring.h"
#include "tools/ca/ca.h"
#include "tools/latchkey/ca_inventory.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/phone_file.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

struct AddOptions {
  std::string name;
  std::string fleet;
  std::vector<std::string> groups;
  int days = kOperatorDays;
};

Result<OperatorIdentity> IdentityOf(const AddOptions& options) {
  LK_CHECK(CheckName(options.name));
  const std::optional<FleetId> fleet = FleetId::Parse(options.fleet);
  if (!fleet) {
    return Fail(v1::REASON_MALFORMED,
                "fleet \"" + options.fleet + "\" is not 1 to 32 of a-z, 0-9 and '-'");
  }
  OperatorIdentity identity{*fleet, options.name, 0};
  for (const std::string& word : options.groups) {
    const std::optional<Group> group = ParseGroup(word);
    if (!group) {
      std::string all;
      for (const Group known : kGroups) {
        all += (all.empty() ? "" : ", ") + std::string(ToText(known));
      }
      return Fail(v1::REASON_MALFORMED, "no state group \"" + word + "\"; there are: " + all);
    }
    identity.permissions |= Bit(ReadPermission(*group));
  }
  identity.permissions = WithImplied(identity.permissions);
  return identity;
}

Result<std::string> Add(const Context& context, const AddOptions& options) {
  const Folder folder(context.data);
  LK_TRY(const Cell cell, folder.LoadCell());
  LK_TRY(const OperatorIdentity identity, IdentityOf(options));
  const std::filesystem::path path = folder.Operator(identity.fleet, identity.name);
  if (!LoadIssued(folder.Fleet(identity.fleet), "ca")) {
    return Fail(v1::REASON_MALFORMED, "no fleet " + identity.fleet.str() + " in cell " + cell.name +
                                          " here: make it with `latchkey fleet init " +
                                          identity.fleet.str() + "`");
  }
  LK_TRY(const tools::Issued issued,
         IssueAndKeep(folder, identity, ReadClocks().wall, options.days));
  LK_CHECK(SaveIssued(path, "operator", issued));
  return path.string();
}

}  // namespace

void AddOperator(CLI::App& app, Context& context) {
  CLI::App* staff = app.add_subcommand("operator", "Operators: a fleet's staff, who read state");
  staff->require_subcommand(1);
  CLI::App* add = staff->add_subcommand(
      "add", "Issue an operator's certificate; again: a new one with other groups");
  const auto options = std::make_shared<AddOptions>();
  add->add_option("NAME", options->name, "Name: letters, digits, '-', '_'")->required();
  add->add_option("--fleet", options->fleet, "Fleet whose cars may be read")->required();
  add->add_option("--groups", options->groups, "State groups, for example energy,link")
      ->required()
      ->delimiter(',');
  add->add_option("--days", options->days, "Days that the certificate lives")
      ->check(CLI::Range(1, 3650))
      ->capture_default_str();
  add->callback([&context, options] {
    const Result<std::string> path = Add(context, *options);
    if (!path) {
      Complain(context, path.error());
      return;
    }
    Say("operator " + options->name + " of fleet " + options->fleet + ": " + *path);
    Say("next: latchkey tap " + options->name + " --fleet " + options->fleet);
  });
}

}  // namespace latchkey::cli
