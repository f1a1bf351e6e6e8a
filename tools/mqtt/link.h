// One MQTT connection for the tools (reference car, phone, tap): paho behind a queue.
// The door to paho in tools/; all events of any number of links meet in one Inbox that one loop
// reads. Thread rule: Link and Inbox are used by one thread; paho's threads only put into the
// Inbox.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"
#include "tools/mqtt/brokers.h"

namespace latchkey::tools {

struct LinkOptions {
  std::string host = "127.0.0.1";
  int port = 0;
  // Brokers of the same cell beside host:port, in the order in which they are tried.
  std::vector<BrokerAddress> others;
  // Called with the broker that took the connection, by Inbox::Wait; empty: nobody asks.
  std::function<void(const BrokerAddress& broker)> served;
  std::string client_id;
  std::string ca_file;                    // trust this CA only (PEM)
  std::string certificate_file;           // PEM; empty: none
  std::string private_key_file;           // PEM; empty: none
  std::string user_name;                  // empty: none
  std::function<std::string()> password;  // called before each connect; empty: none
  Duration keep_alive = std::chrono::seconds(20);
  int mqtt_version = 5;  // 5 or 4 (3.1.1)
};

struct LinkEvent {
  enum class Kind : uint8_t {
    kConnected,     // CONNACK accepted
    kRefused,       // CONNACK refused; reason_code, text
    kDisconnected,  // connection lost or never made; text
    kSubscribed,    // SUBACK for the last Subscribe; reason_codes per filter
    kPublished,     // PUBACK for a Send; reason_code, topic, tag
    kMessage,       // a PUBLISH arrived
  };
  size_t link = 0;  // which link (its index given at construction)
  Kind kind = Kind::kDisconnected;
  int reason_code = 0;
  std::vector<int> reason_codes;
  std::string text;
  uint64_t tag = 0;      // kPublished: as given to Send
  BrokerAddress broker;  // kConnected: which one
  // kRefused, kDisconnected: another broker of the list is next and may be tried at once; else
  // after the usual back-off.
  bool try_now = false;
  Publish message;  // kMessage; retain = arrived as retained
};

// Where events of links arrive. Bounded: at `capacity` messages paho's thread waits.
class Inbox {
 public:
  explicit Inbox(size_t capacity = 10000);
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  // Next event, waiting at most `timeout`; nullopt: none came, or Wake was called.
  std::optional<LinkEvent> Wait(Duration timeout);
  // Makes a Wait return; callable from a signal-watching thread.
  void Wake();

 private:
  friend class Link;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

class Link {
 public:
  Link(size_t index, LinkOptions options, Inbox& inbox);
  ~Link();  // disconnects, waits at most 2 s
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Starts connecting (clean start) to the broker whose turn it is; kConnected, kRefused or
  // kDisconnected follows. No automatic reconnect: the caller decides when to try again.
  void Connect();
  void Subscribe(const std::vector<std::string>& filters, int qos);
  // Queues a publish; `tag` comes back with its PUBACK. Error REASON_FULL: not connected or paho's
  // buffer is full.
  Result<void> Send(const Publish& publish, uint64_t tag = 0);
  void Disconnect();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace latchkey::tools
