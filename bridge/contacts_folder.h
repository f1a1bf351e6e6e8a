// The folder of contacts, {fleet}/{car}.json, and what changed in it: a car that gets a number is
// woken by SMS from then on, without a restart. `latchkey car sms` writes these files.
//
//   {"number": "+436601234567", "relay_key": "{32 bytes, base64url}"}
//
// A relay key is secret, so a file that others can read is not used. Files are put in place by a
// rename; one that is written in place is noticed within a minute.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "bridge/core/step.h"
#include "bridge/runner.h"
#include "proto/result.h"

namespace latchkey::bridge {

// One thread.
class ContactsFolder {
 public:
  ContactsFolder(std::filesystem::path folder, LogSink log);

  // nullopt: the same as last time, or as nothing at first. Looks only into the folders of fleets
  // that changed, and into all once a minute. A file that cannot be used is said in the log once,
  // and what was known of its car stays; a car whose file is gone has no number any more. A folder
  // that is not there holds nothing.
  std::optional<Contacts> Poll();

 private:
  struct Mark {
    std::uintmax_t size = 0;
    std::filesystem::file_time_type written;
    std::filesystem::perms mode = std::filesystem::perms::none;
    bool operator==(const Mark&) const = default;
  };

  struct FleetFolder {
    std::filesystem::file_time_type written;
    std::map<CarId, Mark> cars;
  };

  // False: nothing changed.
  bool LookInto(const FleetId& fleet, const std::filesystem::path& path, FleetFolder& known);
  bool Forget(const FleetId& fleet, const FleetFolder& known, const std::map<CarId, Mark>& there);

  const std::filesystem::path folder_;
  const LogSink log_;
  std::map<FleetId, FleetFolder> fleets_;
  Contacts contacts_;
  std::optional<std::chrono::steady_clock::time_point> looked_at_all_;
};

// One file's text. Error REASON_MALFORMED: what is wrong with it; never number or key.
Result<Contact> ReadContact(std::string_view text);

}  // namespace latchkey::bridge
