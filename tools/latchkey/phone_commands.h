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

void AddPhoneSend(CLI::App& phone, Context& context);   // phone_send.cc
void AddPhoneWatch(CLI::App& phone, Context& context);  // phone_watch.cc

// A saved phone that talks to one of its cars.
struct Talk {
  std::string name;
  std::vector<tools::Pairing> others;  // its pairings with other cars
  tools::Phone phone;                  // knows this car only
  tools::LinkOptions link;             // refers to `phone`: do not move a Talk once made
};

// Errors: those of LoadPhone and FindPairing.
Result<std::unique_ptr<Talk>> OpenTalk(const Context& context, const std::string& name,
                                       const std::string& car, const std::string& purpose);

// Writes the phone's pairings back, for example with a newer ring.
Result<void> SaveTalk(const Context& context, const Talk& talk);

// The CA that signs the broker of `cell`: the phone's own copy, else the data folder's.
std::string CaFile(const Folder& folder, const std::string& name, const std::string& cell);

}  // namespace latchkey::cli
