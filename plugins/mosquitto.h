// The door to Mosquitto: what a plugin of ours is asked and may ask for, without Mosquitto's
// headers. All calls come on the broker's one thread; a call that waits stops the broker. Whatever
// a plugin throws is caught in mosquitto.cc, denied, counted and logged.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/refusals.h"
#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::broker {

enum class Level : uint8_t { kInfo, kWarning, kError };

// What a plugin may ask of the broker.
class Broker {
 public:
  Broker() = default;
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;
  virtual ~Broker() = default;
  virtual void Log(Level level, const std::string& line) = 0;
  // Queued and sent at the top of the broker's next turn, never checked for WRITE. False: the
  // broker did not take it.
  virtual bool Send(const Publish& publish) = 0;
  // The same to one client, whatever it has subscribed, not checked for READ; retain is ignored.
  virtual bool SendTo(const std::string& client_id, const Publish& publish) = 0;
  // Disconnects a client (MQTT 5: 0x98); Plugin::Disconnected is called inside this call. Never
  // from a callback about this client itself.
  virtual void Kick(const std::string& client_id) = 0;
};

// One line `plugin_opt_{key} {value}`.
struct Option {
  std::string key;
  std::string value;
};

// What a connection is called. Views live as long as the call they were asked in.
class Names {
 public:
  Names() = default;
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;
  virtual ~Names() = default;
  virtual std::string_view Id(const void* connection) const = 0;
  virtual std::string_view Address(const void* connection) const = 0;
  // After sign-in what SignInAnswer called it, else as the client said; empty: it has none.
  virtual std::string_view UserName(const void* connection) const = 0;
};

// Who asks. Its names are looked up when they are wanted: most checks want none.
class Client {
 public:
  // `names` outlives it.
  Client(const void* connection_given, const Names& names)
      : connection(connection_given), names_(&names) {}

  std::string_view id() const { return names_->Id(connection); }

  std::string_view address() const { return names_->Address(connection); }

  std::string_view user_name() const { return names_->UserName(connection); }

  const void* connection;  // compared, never followed

 private:
  const Names* names_;
};

// Views in requests live as long as the call.
struct SignInRequest {
  Client client;
  std::optional<std::string> certificate;  // DER; present when the listener asked for one
  std::optional<std::string_view> user_name;
  std::optional<std::string_view> password;
  uint32_t keep_alive_s = 0;  // as the client asked; 0: none
};

// How a refusal is told. Mosquitto 2.0 leaves a plugin no code for "server busy": a client that is
// to try again is hung up on without an answer, which every library takes as a lost connection,
// while "not authorized" makes some give up.
enum class RefusedBy : uint8_t { kNotAuthorized, kHangingUp };

struct SignInAnswer {
  Verdict verdict = Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  std::string user_name;  // what the client is called from here on; empty: as it said
  RefusedBy refused_by = RefusedBy::kNotAuthorized;
};

struct AccessRequest {
  Client client;
  At at = At::kRead;       // kRead, kWrite or kSubscribe
  std::string_view topic;  // kSubscribe: a filter
  std::string_view payload;
  Retain retain = Retain::kNo;  // kWrite only
};

struct MessageRequest {
  Client client;
  std::string_view topic;
  std::string_view payload;
  Retain retain = Retain::kNo;
};

// A message on the plugin's own $CONTROL topic, after CheckAccess let it pass.
struct ControlRequest {
  Client client;
  std::string_view payload;
};

// A plugin's word on an access: the broker asks plugins in the order of its configuration until one
// decides. kMayRefuse: a refusal is final, anything else is left to the next plugin.
enum class Word : uint8_t { kNone, kMayRefuse, kDecides };

// Which events a plugin answers. Asked for once.
struct Events {
  bool sign_in = false;
  Word access = Word::kNone;
  bool message = false;
  std::string control_topic;  // empty: none
  bool deliveries = true;     // false: accesses of kRead are left to the next plugin, unasked
};

class Plugin {
 public:
  Plugin() = default;
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;
  virtual ~Plugin() = default;

  virtual Events Wants() const = 0;

  virtual SignInAnswer SignIn(const SignInRequest& /*request*/, Now /*now*/) { return {}; }

  virtual Verdict CheckAccess(const AccessRequest& /*request*/, Now /*now*/) {
    return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }

  // False: messages on this topic pass without CheckMessage, their properties as they are.
  virtual bool WantsMessage(std::string_view /*topic*/) const { return true; }

  virtual Verdict CheckMessage(const MessageRequest& /*request*/, Now /*now*/) {
    return Verdict::Refuse(v1::REASON_NOT_ALLOWED);
  }

  // The broker passes such a message on to nobody and always answers PUBACK 0 (Mosquitto 2.0).
  virtual void Control(const ControlRequest& /*request*/, Now /*now*/) {}

  // User properties of passing messages whose name begins like this are taken off; empty: none.
  virtual std::string_view ReservedProperty() const { return {}; }

  // Also called for connections that never signed in.
  virtual void Disconnected(const void* /*connection*/, Now /*now*/) {}

  // SIGHUP.
  virtual void Reload(Now /*now*/) {}

  // Ten times a second when the broker is idle, up to sixty when it is busy.
  virtual void Tick(Now now) = 0;
  // Something in here threw: it was denied; count it.
  virtual void CountFault(At at, const std::string& what, Now now) = 0;
};

// Defined once by each plugin. Errors: an option is unknown, missing or names something unusable;
// the broker then does not start.
Result<std::unique_ptr<Plugin>> MakePlugin(const std::vector<Option>& options, Broker& broker,
                                           Now now);

}  // namespace latchkey::broker
