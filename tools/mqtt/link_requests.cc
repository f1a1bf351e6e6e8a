// What a link asks of its broker, and the answers: subscriptions and publishes.
#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <MQTTAsync.h>

#include "tools/mqtt/aliases.h"
#include "tools/mqtt/callbacks.h"
#include "tools/mqtt/link.h"
#include "tools/mqtt/session.h"

namespace latchkey::tools {

namespace {

void Published(void* context, int reason_code) {
  Guarded([&] {
    Session& session = *static_cast<Request*>(context)->session;
    const std::unique_ptr<Request> request = session.Take(context);
    if (request == nullptr || reason_code == kNoAnswer) {
      return;
    }
    LinkEvent event = session.Event(LinkEvent::Kind::kPublished);
    event.reason_code = reason_code;
    event.text =
        reason_code == 0
            ? ""
            : TextOf(MQTTReasonCode_toString(static_cast<MQTTReasonCodes>(reason_code)), "");
    event.message.topic = request->topic;
    event.tag = request->tag;
    session.queue.Put(std::move(event));
  });
}

template <class Success>
void OnPublished(void* context, Success* /*response*/) {
  Published(context, 0);  // codes below 0x80 all mean that the broker has it
}

template <class Failure>
void OnPublishFailure(void* context, Failure* response) {
  Published(context, AnswerOf(response) > 0 ? AnswerOf(response) : kNoAnswer);
}

std::vector<int> CodesOf(const MQTTAsync_successData* response, size_t filters) {
  const int* codes = filters == 1 ? &response->alt.qos : response->alt.qosList;
  return {codes, codes + filters};
}

std::vector<int> CodesOf(const MQTTAsync_successData5* response, size_t filters) {
  if (filters == 1 || response->alt.sub.reasonCodes == nullptr) {
    return std::vector<int>(filters, static_cast<int>(response->reasonCode));
  }
  const auto& answer = response->alt.sub;
  return {answer.reasonCodes, answer.reasonCodes + answer.reasonCodeCount};
}

template <class Codes>
void Subscribed(void* context, Codes codes) {
  Guarded([&] {
    Session& session = *static_cast<Request*>(context)->session;
    const std::unique_ptr<Request> request = session.Take(context);
    if (request == nullptr) {
      return;
    }
    LinkEvent event = session.Event(LinkEvent::Kind::kSubscribed);
    event.reason_codes = codes(request->filters);
    if (event.reason_codes.empty()) {
      return;  // no answer
    }
    for (const int code : event.reason_codes) {
      event.reason_code = std::max(event.reason_code, code >= kFirstError ? code : 0);
    }
    session.queue.Put(std::move(event));
  });
}

template <class Success>
void OnSubscribed(void* context, Success* response) {
  Subscribed(context, [response](size_t filters) { return CodesOf(response, filters); });
}

template <class Failure>
void OnSubscribeFailure(void* context, Failure* response) {
  const int answer = AnswerOf(response);
  Subscribed(context, [answer](size_t filters) {
    return std::vector<int>(answer > 0 ? filters : 0, answer);
  });
}

}  // namespace

void Link::Subscribe(const std::vector<std::string>& filters, int qos) {
  if (filters.empty() || impl_->session->client == nullptr) {
    return;
  }
  std::vector<char*> names;
  for (const std::string& filter : filters) {
    names.push_back(const_cast<char*>(filter.c_str()));
  }
  const std::vector<int> qoss(filters.size(), qos);
  MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
  Request* const request = impl_->session->Add("", filters.size(), 0);
  response.context = request;
  if (impl_->session->options.mqtt_version == 5) {
    response.onSuccess5 = OnSubscribed;
    response.onFailure5 = OnSubscribeFailure;
  } else {
    response.onSuccess = OnSubscribed;
    response.onFailure = OnSubscribeFailure;
  }
  const int sent = MQTTAsync_subscribeMany(impl_->session->client, static_cast<int>(names.size()),
                                           names.data(), qoss.data(), &response);
  if (sent != MQTTASYNC_SUCCESS) {
    impl_->session->Take(request);  // not connected: kDisconnected says it
  }
}

Result<void> Link::Send(const Publish& publish, uint64_t tag) {
  Session& session = *impl_->session;
  TopicName name;
  {
    const std::scoped_lock lock(session.mutex);
    if (!session.connected) {
      return Fail(v1::REASON_FULL, "not connected to the broker: nothing was sent");
    }
    name = session.aliases.Name(publish.topic, publish.retain);
  }
  MQTTAsync_message message = MQTTAsync_message_initializer;
  message.payload = const_cast<char*>(publish.payload.data());
  message.payloadlen = static_cast<int>(publish.payload.size());
  message.qos = publish.qos;
  message.retained = publish.retain == Retain::kYes ? 1 : 0;
  const bool v5 = session.options.mqtt_version == 5;
  if (v5 && publish.expiry_s != 0) {
    MQTTProperty expiry{};
    expiry.identifier = MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL;
    expiry.value.integer4 = publish.expiry_s;
    MQTTProperties_add(&message.properties, &expiry);
  }
  if (name.alias != 0) {
    MQTTProperty alias{};
    alias.identifier = MQTTPROPERTY_CODE_TOPIC_ALIAS;
    alias.value.integer2 = name.alias;
    MQTTProperties_add(&message.properties, &alias);
  }
  MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
  Request* const request = session.Add(publish.topic, 0, tag);
  response.context = request;
  if (v5) {
    response.onSuccess5 = OnPublished;
    response.onFailure5 = OnPublishFailure;
  } else {
    response.onSuccess = OnPublished;
    response.onFailure = OnPublishFailure;
  }
  const int sent = MQTTAsync_sendMessage(session.client, name.topic.c_str(), &message, &response);
  MQTTProperties_free(&message.properties);
  if (sent != MQTTASYNC_SUCCESS) {
    session.Take(request);
    const std::scoped_lock lock(session.mutex);
    session.aliases.Forget(publish.topic);
    return Fail(v1::REASON_FULL, "paho takes no more messages (" + std::to_string(sent) +
                                     "): nothing was sent; try again when connected");
  }
  return {};
}

}  // namespace latchkey::tools
