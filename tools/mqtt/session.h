// What paho's callbacks know of a link: which connection is wanted, which there is, and what waits
// for an answer. Under its mutex, for paho's threads and the loop's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <MQTTAsync.h>

#include "tools/mqtt/aliases.h"
#include "tools/mqtt/link.h"
#include "tools/mqtt/queue.h"

namespace latchkey::tools {

struct Session;

// One request that waits for its answer.
struct Request {
  Session* session = nullptr;
  std::string topic;   // of a publish
  size_t filters = 0;  // of a subscribe
  uint64_t tag = 0;    // of a publish
};

struct Session {
  Session(Queue& q, size_t i, LinkOptions o)
      : queue(q), index(i), options(std::move(o)), brokers(All(options)) {}

  static std::vector<BrokerAddress> All(const LinkOptions& options) {
    std::vector<BrokerAddress> all = {{options.host, options.port}};
    all.insert(all.end(), options.others.begin(), options.others.end());
    return all;
  }

  static Instant MonoNow() {
    const auto mono = std::chrono::steady_clock::now().time_since_epoch();
    return {std::chrono::duration_cast<Duration>(mono).count()};
  }

  LinkEvent Event(LinkEvent::Kind kind) const {
    LinkEvent event;
    event.link = index;
    event.kind = kind;
    return event;
  }

  // `sent_away`: the broker gave a reason that is not about this client's other connection.
  void Lost(int reason_code, std::string text, bool sent_away = false) {
    LinkEvent event = Event(LinkEvent::Kind::kDisconnected);
    {
      const std::scoped_lock lock(mutex);
      pending = false;
      if (closing || !(connected || connecting)) {
        return;
      }
      const BrokerEnd how = sent_away    ? BrokerEnd::kSentAway
                            : connecting ? BrokerEnd::kUnreachable
                                         : BrokerEnd::kLost;
      event.try_now = brokers.Ended(how, MonoNow());
      connected = false;
      connecting = false;
    }
    event.reason_code = reason_code;
    event.text = std::move(text);
    queue.Put(std::move(event));
  }

  Request* Add(std::string topic, size_t filters, uint64_t tag) {
    auto request = std::make_unique<Request>(Request{this, std::move(topic), filters, tag});
    Request* const key = request.get();
    const std::scoped_lock lock(mutex);
    requests.emplace(key, std::move(request));
    return key;
  }

  std::unique_ptr<Request> Take(void* key) {
    const std::scoped_lock lock(mutex);
    const auto found = requests.find(static_cast<Request*>(key));
    if (found == requests.end()) {
      return nullptr;
    }
    std::unique_ptr<Request> request = std::move(found->second);
    requests.erase(found);
    return request;
  }

  Queue& queue;
  const size_t index;
  const LinkOptions options;
  BrokerList brokers;    // whose turn it is
  std::string password;  // for the connection that is wanted
  std::mutex mutex;
  std::condition_variable closed;
  MQTTAsync client = nullptr;  // set before the first callback, and by the loop's thread only
  bool pending = false;        // paho makes a connection, which nothing can stop
  bool connecting = false;     // and it is wanted
  bool connected = false;
  bool closing = false;      // our own Disconnect: what ends now is not news
  bool disconnected = true;  // paho is done with the last connection
  TopicAliases aliases;      // of the connection
  std::unordered_map<const Request*, std::unique_ptr<Request>> requests;
};

struct Link::Impl {
  std::shared_ptr<void> inbox;  // kept as long as paho may call back
  std::shared_ptr<Session> session;
};

}  // namespace latchkey::tools
