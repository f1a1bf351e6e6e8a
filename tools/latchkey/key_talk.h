// A phone's talk with one car about its keys: first hear the newest ring, then send one command and
// wait until the car has obeyed or the server holds it for a car that sleeps.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "latchkey/v1/command.pb.h"
#include "tools/latchkey/phone_commands.h"
#include "tools/latchkey/receipts.h"
#include "tools/latchkey/session.h"

namespace latchkey::cli {

class KeyTalk {
 public:
  enum class Until : uint8_t { kHeldOrFinal, kFinal };

  // Errors: those of OpenTalk. `purpose` is part of the client id.
  static Result<std::unique_ptr<KeyTalk>> Open(Context& context, const std::string& name,
                                               const std::string& car, const std::string& purpose);

  // Connects and takes over the newest ring that the broker has. Errors: REASON_NOT_ALLOWED (the
  // broker refuses this phone), REASON_EXPIRED (no answer in time; the saved ring stays).
  Result<void> Meet(Duration patience);

  // Sends it, printing what happens. Error REASON_EXPIRED: no such receipt in time, and those of
  // Meet; else the last outcome.
  Result<Outcome> Send(v1::Command action, const std::string& action_name, Until until,
                       Duration patience);

  const CarRef& ref() const { return ref_; }

  const KeyId& me() const { return talk_->phone.id(); }

  const tools::Pairing& pairing() const { return talk_->phone.Find(ref_)->pairing; }

  // When the command that was sent last dies; nullopt: never.
  std::optional<Timestamp> expires_at() const { return expires_at_; }

  // This phone's key on the newest ring. Error REASON_NOT_ON_RING.
  Result<RingKey> MyKey() const;

 private:
  KeyTalk(Context& context, std::unique_ptr<Talk> talk);
  bool On(const tools::Phone::Effect& effect);
  Result<void> Run(Duration patience, const std::string& awaited);

  Context& context_;
  std::unique_ptr<Talk> talk_;
  CarRef ref_;
  Session session_;
  Report* report_ = nullptr;  // of the command that is out
  Until until_ = Until::kHeldOrFinal;
  std::optional<Timestamp> expires_at_;
  std::optional<Error> failed_;
  bool learned_ = false;
};

// What HELD means for a command about keys, for people.
std::string HeldText(const CarRef& ref);

}  // namespace latchkey::cli
