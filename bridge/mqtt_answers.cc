// What paho calls, on threads of its own: see mqtt_impl.h.
#include <algorithm>
#include <string>
#include <vector>

#include "bridge/mqtt_impl.h"
#include "proto/no_delay.h"

namespace latchkey::bridge {

namespace {

// Nothing may leave a callback: paho is C.
template <class Body>
void Guarded(Body body) noexcept {
  try {
    body();
  } catch (...) {  // out of memory: what is lost is found again after the next connect
    return;
  }
}

Mqtt::Impl& ImplOf(void* context) {
  return *static_cast<Mqtt::Impl*>(context);
}

std::string TextOf(const char* text, const char* otherwise) {
  return text != nullptr && *text != '\0' ? text : otherwise;
}

std::string TextOf(const MQTTAsync_failureData5* failure, const char* otherwise) {
  if (failure != nullptr && failure->reasonCode >= kFirstError) {
    return "the broker says: " + TextOf(MQTTReasonCode_toString(failure->reasonCode), "refused");
  }
  return failure == nullptr ? otherwise : TextOf(failure->message, otherwise);
}

}  // namespace

// On paho's receiving thread, which is the busiest: it wakes the link thread only when that waits.
void Mqtt::Impl::Answered() {
  ++answers;
  if (wants_sent) {
    tasks.PutAlways(Sent{});
  }
}

// What is beyond the broker's receive maximum paho keeps, and looks at again only every second.
void OnConnected(void* context, MQTTAsync_successData5* response) {
  Guarded([&] {
    const auto most =
        MQTTProperties_getNumericValue(&response->properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM);
    ImplOf(context).in_flight_max = most > 0 ? std::min<size_t>(most, kInFlightMax) : kInFlightMax;
    Mqtt::Impl& impl = ImplOf(context);
    impl.kept = impl.options.kept && !impl.connected_before &&
                response->alt.connect.sessionPresent != 0 &&
                SystemNow().mono - impl.begun < kKeptFor;
    impl.connected_before = true;
    SendAtOnceTo(static_cast<uint16_t>(impl.options.port));
    impl.tasks.PutAlways(Connected{});
  });
}

void OnConnectFailure(void* context, MQTTAsync_failureData5* failure) {
  Guarded([&] {
    ImplOf(context).tasks.PutAlways(Lost{TextOf(failure, "no connection (network or TLS)")});
  });
}

void OnLost(void* context, char* cause) {
  Guarded([&] { ImplOf(context).Ended(TextOf(cause, "the connection was lost")); });
}

void OnServerDisconnect(void* context, MQTTProperties* /*properties*/, MQTTReasonCodes reason) {
  Guarded([&] {
    ImplOf(context).Ended("the broker disconnected: " +
                          TextOf(MQTTReasonCode_toString(reason), "no reason"));
  });
}

void OnClosed(void* context, MQTTAsync_successData5* /*response*/) {
  Guarded([&] { ImplOf(context).Ended("closed"); });
}

void OnCloseFailure(void* context, MQTTAsync_failureData5* /*failure*/) {
  Guarded([&] { ImplOf(context).Ended("closed"); });
}

namespace {

// True: the broker granted all. Else it is said, and the connection begins anew.
bool Granted(Mqtt::Impl& impl, const MQTTAsync_successData5& response,
             const std::vector<std::string>& filters) {
  std::vector<MQTTReasonCodes> codes = {response.reasonCode};  // the only one, or the first
  for (int i = 1; i < response.alt.sub.reasonCodeCount; ++i) {
    codes.push_back(response.alt.sub.reasonCodes[i]);
  }
  for (size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] >= kFirstError) {
      impl.Say(LogEvent::Level::kWarning, "mqtt_subscription_refused",
               {{"filter", i < filters.size() ? filters[i] : "one more"},
                {"why", TextOf(MQTTReasonCode_toString(codes[i]), "")}});
      impl.tasks.PutAlways(Again{});
      return false;
    }
  }
  return true;
}

}  // namespace

// On paho's receiving thread, so that the core learns of it before the retained messages.
void OnSubscribed(void* context, MQTTAsync_successData5* response) {
  Guarded([&] {
    Mqtt::Impl& impl = ImplOf(context);
    if (response != nullptr && Granted(impl, *response, SubscribedFilters())) {
      impl.intake.PutAlways(BrokerUp{impl.kept});
      if (!impl.kept) {
        impl.intake.PutAlways(BrokerShows{});
      }
      impl.tasks.PutAlways(Subscribed{});
    }
  });
}

void OnShows(void* context, MQTTAsync_successData5* response) {
  Guarded([&] {
    Mqtt::Impl& impl = ImplOf(context);
    if (response != nullptr && Granted(impl, *response, {ShownFilters().at(impl.shown)})) {
      impl.tasks.PutAlways(Shows{});
    }
  });
}

void OnSubscribeFailure(void* context, MQTTAsync_failureData5* failure) {
  Guarded([&] {
    Mqtt::Impl& impl = ImplOf(context);
    impl.Say(LogEvent::Level::kWarning, "mqtt_subscription_refused",
             {{"why", TextOf(failure, "no answer")}});
    impl.tasks.PutAlways(Again{});
  });
}

void OnSent(void* context, MQTTAsync_successData5* /*response*/) {
  Guarded([&] { ImplOf(context).Answered(); });
}

void OnSendFailure(void* context, MQTTAsync_failureData5* failure) {
  Guarded([&] {
    Mqtt::Impl& impl = ImplOf(context);
    if (failure != nullptr && failure->reasonCode >= kFirstError) {
      impl.Say(LogEvent::Level::kWarning, "mqtt_publish_refused",
               {{"why", TextOf(failure, "refused")}});
    }
    impl.Answered();
  });
}

int OnMessage(void* context, char* topic, int topic_length, MQTTAsync_message* message) {
  Guarded([&] { ImplOf(context).Arrived(topic, topic_length, *message); });
  MQTTAsync_freeMessage(&message);
  MQTTAsync_free(topic);
  return 1;
}

int OnTlsError(const char* text, size_t length, void* context) {
  Guarded([&] {
    std::string line(text, length);
    line.erase(std::remove(line.begin(), line.end(), '\n'), line.end());
    ImplOf(context).Say(LogEvent::Level::kWarning, "mqtt_tls_error", {{"why", line}});
  });
  return 1;
}

}  // namespace latchkey::bridge
