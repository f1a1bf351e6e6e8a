// Where an administrator of the cell talks to the broker's auth plugin: over MQTT on $CONTROL, past
// the bridge.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "latchkey/v1/control.pb.h"
#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/folder.h"
#include "tools/mqtt/link.h"

namespace latchkey::cli {

// An administrator's certificate and key, valid for five minutes, in a folder that only this user
// can enter, gone with this object.
class ShortPass {
 public:
  ShortPass() = default;
  ~ShortPass();
  ShortPass(const ShortPass&) = delete;
  ShortPass& operator=(const ShortPass&) = delete;

  // Errors: REASON_BAD_CERTIFICATE (the data folder has no cell CA), REASON_STORE_UNAVAILABLE.
  Result<void> Make(const Folder& folder, const std::string& name, Timestamp now);

  std::filesystem::path certificate() const { return path_ / "administrator.pem"; }

  std::filesystem::path key() const { return path_ / "administrator.key"; }

 private:
  std::filesystem::path path_;
};

// Asks the plugin one thing after the other over one connection.
class Desk {
 public:
  // All questions together wait at most `patience`. Errors: those of ShortPass::Make.
  static Result<std::unique_ptr<Desk>> Open(const Folder& folder, const Cell& cell,
                                            Duration patience);

  // Errors: REASON_NOT_ALLOWED (the broker refuses), REASON_EXPIRED (no answer in time),
  // REASON_STORE_UNAVAILABLE (no connection), and what the plugin answers.
  Result<v1::ControlAnswer> Ask(v1::Control question);

 private:
  Desk(std::unique_ptr<ShortPass> pass, tools::LinkOptions link, Duration patience);
  Result<void> Send(const Publish& publish);
  // The next event; a connection that ends is an error, and the command can simply be run again.
  Result<tools::LinkEvent> Next();

  std::unique_ptr<ShortPass> pass_;
  tools::Inbox inbox_;
  tools::Link link_;
  Instant until_;
  bool connected_ = false;
  uint64_t request_id_ = 0;
};

}  // namespace latchkey::cli
