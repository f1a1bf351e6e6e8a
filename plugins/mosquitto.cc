// The C side of the door: Mosquitto 2.0 plugin API, version 5. Return codes are as measured on
// 2.0.11: an ACL event may give SUCCESS or ACL_DENIED only (anything else disconnects the
// publisher), BASIC_AUTH gives AUTH (anything else ends the connection without a CONNACK), RELOAD
// must DEFER (or later plugins never see it).
#include "plugins/mosquitto.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <exception>
#include <utility>

#include "proto/certificate.h"

// mosquitto_broker.h has to come before mosquitto_plugin.h (Mosquitto 2.0.11).
// clang-format off
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <mqtt_protocol.h>
// clang-format on

namespace latchkey::broker {

namespace {

Duration ReadClock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::chrono::duration_cast<Duration>(std::chrono::seconds(time.tv_sec) +
                                              std::chrono::nanoseconds(time.tv_nsec));
}

// As of the kernel's last tick, some milliseconds ago, which costs a fifth of asking the clocks:
// they are wanted with every check. No clock of a cell is truer than that.
Now ReadClocks() {
  return {Timestamp{ReadClock(CLOCK_REALTIME_COARSE).count()},
          Instant{ReadClock(CLOCK_MONOTONIC_COARSE).count()}};
}

std::string_view View(const char* text) {
  return text == nullptr ? std::string_view() : std::string_view(text);
}

std::optional<std::string_view> OptionalView(const char* text) {
  return text == nullptr ? std::nullopt : std::optional<std::string_view>(text);
}

std::string_view View(const void* bytes, size_t size) {
  return bytes == nullptr ? std::string_view()
                          : std::string_view(static_cast<const char*>(bytes), size);
}

class MosquittoNames : public Names {
 public:
  std::string_view Id(const void* connection) const override {
    return View(mosquitto_client_id(Of(connection)));
  }

  std::string_view Address(const void* connection) const override {
    return View(mosquitto_client_address(Of(connection)));
  }

  std::string_view UserName(const void* connection) const override {
    return View(mosquitto_client_username(Of(connection)));
  }

 private:
  static const mosquitto* Of(const void* connection) {
    return static_cast<const mosquitto*>(connection);
  }
};

Client ClientOf(const mosquitto* client) {
  static const MosquittoNames kNames;
  return {client, kNames};
}

class MosquittoBroker : public Broker {
 public:
  void Log(Level level, const std::string& line) override {
    int mosquitto_level = MOSQ_LOG_ERR;
    switch (level) {
      case Level::kInfo:
        mosquitto_level = MOSQ_LOG_NOTICE;
        break;
      case Level::kWarning:
        mosquitto_level = MOSQ_LOG_WARNING;
        break;
      case Level::kError:
        break;
    }
    mosquitto_log_printf(mosquitto_level, "%s", line.c_str());
  }

  bool Send(const Publish& publish) override {
    return Give(nullptr, publish, publish.retain == Retain::kYes);
  }

  bool SendTo(const std::string& client_id, const Publish& publish) override {
    return Give(client_id.c_str(), publish, false);
  }

  void Kick(const std::string& client_id) override {
    mosquitto_kick_client_by_clientid(client_id.c_str(), false);
  }

 private:
  static bool Give(const char* client_id, const Publish& publish, bool retain) {
    return mosquitto_broker_publish_copy(
               client_id, publish.topic.c_str(), static_cast<int>(publish.payload.size()),
               publish.payload.data(), publish.qos, retain, nullptr) == MOSQ_ERR_SUCCESS;
  }
};

// One loaded plugin: what Mosquitto hands back as user data.
struct Loaded {
  mosquitto_plugin_id_t* id = nullptr;
  MosquittoBroker broker;
  std::unique_ptr<Plugin> plugin;
  Events wants;
};

// Runs `body`; on a fault counts it and gives `denied`.
template <class Body>
int Guarded(void* user_data, At at, int denied, Body body) noexcept {
  auto* loaded = static_cast<Loaded*>(user_data);
  try {
    const Now now = ReadClocks();
    try {
      return body(*loaded->plugin, now);
    } catch (const std::exception& fault) {
      loaded->plugin->CountFault(at, fault.what(), now);
    } catch (...) {
      loaded->plugin->CountFault(at, "an exception of unknown type", now);
    }
  } catch (...) {
    mosquitto_log_printf(MOSQ_LOG_ERR, "latchkey fault while counting a fault: denied");
  }
  return denied;
}

int OnBasicAuth(int /*event*/, void* event_data, void* user_data) {
  auto* event = static_cast<mosquitto_evt_basic_auth*>(event_data);
  return Guarded(user_data, At::kConnect, MOSQ_ERR_AUTH, [event](Plugin& plugin, Now now) -> int {
    const SignInRequest request{
        ClientOf(event->client), TakeX509Der(mosquitto_client_certificate(event->client)),
        OptionalView(event->username), OptionalView(event->password),
        static_cast<uint32_t>(std::max(0, mosquitto_client_keepalive(event->client)))};
    const SignInAnswer answer = plugin.SignIn(request, now);
    if (!answer.verdict.allowed()) {
      return answer.refused_by == RefusedBy::kHangingUp ? MOSQ_ERR_CONN_REFUSED : MOSQ_ERR_AUTH;
    }
    if (!answer.user_name.empty() &&
        mosquitto_set_username(event->client, answer.user_name.c_str()) != MOSQ_ERR_SUCCESS) {
      return MOSQ_ERR_AUTH;
    }
    return MOSQ_ERR_SUCCESS;
  });
}

std::optional<At> AtOf(int access) {
  if (access == MOSQ_ACL_READ) {
    return At::kRead;
  }
  if (access == MOSQ_ACL_WRITE) {
    return At::kWrite;
  }
  return access == MOSQ_ACL_SUBSCRIBE ? std::optional(At::kSubscribe) : std::nullopt;
}

int OnAclCheck(int /*event*/, void* event_data, void* user_data) {
  auto* event = static_cast<mosquitto_evt_acl_check*>(event_data);
  const Events& wants = static_cast<Loaded*>(user_data)->wants;
  const int allowed = wants.access == Word::kDecides ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
  if (event->access == MOSQ_ACL_UNSUBSCRIBE) {
    return allowed;
  }
  if (event->access == MOSQ_ACL_READ && !wants.deliveries) {
    return MOSQ_ERR_PLUGIN_DEFER;
  }
  const std::optional<At> at = AtOf(event->access);
  if (!at) {
    return MOSQ_ERR_ACL_DENIED;
  }
  return Guarded(user_data, *at, MOSQ_ERR_ACL_DENIED, [&](Plugin& plugin, Now now) -> int {
    const AccessRequest request{ClientOf(event->client), *at, View(event->topic),
                                View(event->payload, event->payloadlen),
                                event->retain ? Retain::kYes : Retain::kNo};
    return plugin.CheckAccess(request, now).allowed() ? allowed : MOSQ_ERR_ACL_DENIED;
  });
}

bool IsReserved(const mosquitto_property* property, std::string_view prefix) {
  if (mosquitto_property_identifier(property) != MQTT_PROP_USER_PROPERTY) {
    return false;
  }
  char* name = nullptr;
  char* value = nullptr;
  mosquitto_property_read_string_pair(property, MQTT_PROP_USER_PROPERTY, &name, &value, false);
  const bool reserved = View(name).substr(0, prefix.size()) == prefix;
  mosquitto_free(name);
  mosquitto_free(value);
  return reserved;
}

// Copies one property of a PUBLISH (MQTT 5.0 section 3.3.2.3) to the end of `to`.
bool CopyProperty(mosquitto_property** to, const mosquitto_property* from) {
  const int id = mosquitto_property_identifier(from);
  if (id == MQTT_PROP_PAYLOAD_FORMAT_INDICATOR) {
    uint8_t value = 0;
    mosquitto_property_read_byte(from, id, &value, false);
    return mosquitto_property_add_byte(to, id, value) == MOSQ_ERR_SUCCESS;
  }
  if (id == MQTT_PROP_MESSAGE_EXPIRY_INTERVAL) {
    uint32_t value = 0;
    mosquitto_property_read_int32(from, id, &value, false);
    return mosquitto_property_add_int32(to, id, value) == MOSQ_ERR_SUCCESS;
  }
  char* text = nullptr;
  int result = MOSQ_ERR_SUCCESS;
  if (id == MQTT_PROP_CONTENT_TYPE || id == MQTT_PROP_RESPONSE_TOPIC) {
    mosquitto_property_read_string(from, id, &text, false);
    result = mosquitto_property_add_string(to, id, text);
  } else if (id == MQTT_PROP_CORRELATION_DATA) {
    void* bytes = nullptr;
    uint16_t size = 0;
    mosquitto_property_read_binary(from, id, &bytes, &size, false);
    result = mosquitto_property_add_binary(to, id, bytes, size);
    mosquitto_free(bytes);
  } else if (id == MQTT_PROP_USER_PROPERTY) {
    char* value = nullptr;
    mosquitto_property_read_string_pair(from, id, &text, &value, false);
    result = mosquitto_property_add_string_pair(to, id, text, value);
    mosquitto_free(value);
  }
  mosquitto_free(text);
  return result == MOSQ_ERR_SUCCESS;
}

// Takes reserved user properties off. False: no memory; the message must not pass.
bool StripReserved(mosquitto_property** properties, std::string_view prefix) {
  bool any = false;
  for (const mosquitto_property* p = *properties; p != nullptr; p = mosquitto_property_next(p)) {
    any = any || IsReserved(p, prefix);
  }
  if (!any) {
    return true;
  }
  mosquitto_property* kept = nullptr;
  for (const mosquitto_property* p = *properties; p != nullptr; p = mosquitto_property_next(p)) {
    if (!IsReserved(p, prefix) && !CopyProperty(&kept, p)) {
      mosquitto_property_free_all(&kept);
      return false;
    }
  }
  mosquitto_property_free_all(properties);
  *properties = kept;
  return true;
}

int OnMessage(int /*event*/, void* event_data, void* user_data) {
  auto* event = static_cast<mosquitto_evt_message*>(event_data);
  if (!static_cast<Loaded*>(user_data)->plugin->WantsMessage(View(event->topic))) {
    return MOSQ_ERR_SUCCESS;
  }
  return Guarded(user_data, At::kMessage, MOSQ_ERR_ACL_DENIED,
                 [event](Plugin& plugin, Now now) -> int {
                   const MessageRequest request{ClientOf(event->client), View(event->topic),
                                                View(event->payload, event->payloadlen),
                                                event->retain ? Retain::kYes : Retain::kNo};
                   if (!plugin.CheckMessage(request, now).allowed()) {
                     return MOSQ_ERR_ACL_DENIED;
                   }
                   const std::string_view reserved = plugin.ReservedProperty();
                   if (!reserved.empty() && !StripReserved(&event->properties, reserved)) {
                     return MOSQ_ERR_ACL_DENIED;
                   }
                   return MOSQ_ERR_SUCCESS;
                 });
}

// Any other code than SUCCESS would end the sender's connection: what went wrong is in the answer.
int OnControl(int /*event*/, void* event_data, void* user_data) {
  auto* event = static_cast<mosquitto_evt_control*>(event_data);
  return Guarded(
      user_data, At::kControl, MOSQ_ERR_SUCCESS, [event](Plugin& plugin, Now now) -> int {
        plugin.Control({ClientOf(event->client), View(event->payload, event->payloadlen)}, now);
        return MOSQ_ERR_SUCCESS;
      });
}

int OnDisconnect(int /*event*/, void* event_data, void* user_data) {
  auto* event = static_cast<mosquitto_evt_disconnect*>(event_data);
  return Guarded(user_data, At::kConnect, MOSQ_ERR_SUCCESS,
                 [event](Plugin& plugin, Now now) -> int {
                   plugin.Disconnected(event->client, now);
                   return MOSQ_ERR_SUCCESS;
                 });
}

int OnTick(int /*event*/, void* /*event_data*/, void* user_data) {
  return Guarded(user_data, At::kConnect, MOSQ_ERR_SUCCESS, [](Plugin& plugin, Now now) -> int {
    plugin.Tick(now);
    return MOSQ_ERR_SUCCESS;
  });
}

int OnReload(int /*event*/, void* /*event_data*/, void* user_data) {
  return Guarded(user_data, At::kConnect, MOSQ_ERR_PLUGIN_DEFER,
                 [](Plugin& plugin, Now now) -> int {
                   plugin.Reload(now);
                   return MOSQ_ERR_PLUGIN_DEFER;
                 });
}

int Register(Loaded* loaded) {
  const Events& wants = loaded->wants;

  const struct {
    bool wanted;
    int event;
    MOSQ_FUNC_generic_callback callback;
    const void* event_data = nullptr;
  } rows[] = {
      {wants.sign_in, MOSQ_EVT_BASIC_AUTH, OnBasicAuth},
      {wants.access != Word::kNone, MOSQ_EVT_ACL_CHECK, OnAclCheck},
      {wants.message, MOSQ_EVT_MESSAGE, OnMessage},
      {wants.sign_in, MOSQ_EVT_DISCONNECT, OnDisconnect},
      {!wants.control_topic.empty(), MOSQ_EVT_CONTROL, OnControl, wants.control_topic.c_str()},
      {true, MOSQ_EVT_TICK, OnTick},
      {true, MOSQ_EVT_RELOAD, OnReload},
  };

  for (const auto& row : rows) {
    if (!row.wanted) {
      continue;
    }
    const int result =
        mosquitto_callback_register(loaded->id, row.event, row.callback, row.event_data, loaded);
    if (result != MOSQ_ERR_SUCCESS) {
      return result;
    }
  }
  return MOSQ_ERR_SUCCESS;
}

int Load(mosquitto_plugin_id_t* identifier, void** user_data, const mosquitto_opt* options,
         int option_count) {
  std::vector<Option> given;
  for (int i = 0; i < option_count; ++i) {
    given.push_back({std::string(View(options[i].key)), std::string(View(options[i].value))});
  }
  auto loaded = std::make_unique<Loaded>();
  loaded->id = identifier;
  Result<std::unique_ptr<Plugin>> plugin = MakePlugin(given, loaded->broker, ReadClocks());
  if (!plugin) {
    loaded->broker.Log(Level::kError, "latchkey not_loaded text=" + Quoted(plugin.error().text));
    return MOSQ_ERR_INVAL;
  }
  loaded->plugin = std::move(*plugin);
  loaded->wants = loaded->plugin->Wants();
  const int result = Register(loaded.get());
  *user_data = loaded.release();
  return result;
}

}  // namespace

}  // namespace latchkey::broker

extern "C" {

int mosquitto_plugin_version(int supported_version_count, const int* supported_versions) {
  for (int i = 0; i < supported_version_count; ++i) {
    if (supported_versions[i] == MOSQ_PLUGIN_VERSION) {
      return MOSQ_PLUGIN_VERSION;
    }
  }
  return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t* identifier, void** userdata,
                          struct mosquitto_opt* options, int option_count) {
  try {
    return latchkey::broker::Load(identifier, userdata, options, option_count);
  } catch (const std::exception& fault) {
    mosquitto_log_printf(MOSQ_LOG_ERR, "latchkey not_loaded text=\"%s\"", fault.what());
  } catch (...) {
    mosquitto_log_printf(MOSQ_LOG_ERR, "latchkey not_loaded text=\"a fault of unknown type\"");
  }
  return MOSQ_ERR_UNKNOWN;
}

int mosquitto_plugin_cleanup(void* userdata, struct mosquitto_opt* /*options*/,
                             int /*option_count*/) {
  // The broker takes its callbacks off the list itself, after this.
  const std::unique_ptr<latchkey::broker::Loaded> loaded(
      static_cast<latchkey::broker::Loaded*>(userdata));
  return MOSQ_ERR_SUCCESS;
}
}
