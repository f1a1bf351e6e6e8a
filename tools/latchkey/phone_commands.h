// The parts of `latchkey phone`, one file each; phone.cc adds them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proto/result.h"
#include "tools/latchkey/commands.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/phone_file.h"
#include "tools/mqtt/link.h"
#include "tools/phone/phone.h"

namespace latchkey::cli {

void AddPhoneSend(CLI::App& phone, Context& context);    // phone_send.cc
void AddPhoneCancel(CLI::App& phone, Context& context);  // phone_cancel.cc: cancel, commands
void AddPhoneWatch(CLI::App& phone, Context& context);   // phone_watch.cc
void AddPhoneShare(CLI::App& phone, Context& context);   // phone_share.cc: key, share
void AddPhoneAccept(CLI::App& phone, Context& context);  // phone_accept.cc
void AddPhoneKeys(CLI::App& phone, Context& context);    // phone_keys.cc: keys, remove

// A saved phone that talks to one of its cars.
struct Talk {
  std::string name;
  std::vector<tools::Pairing> others;  // its pairings with other cars
  tools::Phone phone;                  // knows this car only
  tools::LinkOptions link;             // refers to `phone`: do not move a Talk once made
};

// Where phone `name` looks for a broker of `cell`: `link` has the one it was told of, and is given
// all that it knows. Errors as UseBrokers.
Result<void> UsePhoneBrokers(const Context& context, const std::string& name,
                             const std::string& cell, tools::LinkOptions& link);

// Errors: those of LoadPhone, FindPairing and UsePhoneBrokers.
Result<std::unique_ptr<Talk>> OpenTalk(const Context& context, const std::string& name,
                                       const std::string& car, const std::string& purpose);

// Writes the phone's pairings back, for example with a newer ring.
Result<void> SaveTalk(const Context& context, const Talk& talk);

// The phone's pairings with `pairing` in the place of one with the same car.
Result<void> SavePairing(const Folder& folder, const std::string& name, SavedPhone& saved,
                         const tools::Pairing& pairing);

// The CA for the broker of `cell`: `ca_file`, copied, so that the phone needs it only once; empty:
// as CaFile. Error REASON_STORE_UNAVAILABLE.
Result<std::string> ChooseCa(const Folder& folder, const std::string& name,
                             const std::string& ca_file, const std::string& cell);

// The CA that signs the broker of `cell`: the phone's own copy, else the data folder's.
std::string CaFile(const Folder& folder, const std::string& name, const std::string& cell);

}  // namespace latchkey::cli
