// What is behind bridge/mqtt.h: the link thread, what it is told, and what paho's threads may
// touch. Paho holds its own lock while it runs a callback, so a callback that waits for a commit
// would stop any thread that calls paho: only the link thread calls it, callbacks (mqtt_answers.cc)
// only put tasks into its queue, and the runner never waits for either.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <MQTTAsync.h>

#include "bridge/back_off.h"
#include "bridge/mqtt.h"
#include "bridge/queue.h"

namespace latchkey::bridge {

inline constexpr size_t kInFlightMax = 500;
inline constexpr size_t kOutgoingMax = 200000;
inline constexpr size_t kOwedMax = 50000;  // receipts of about 200 bytes
inline constexpr int kFirstError = 0x80;   // MQTT 5.0 section 2.4
inline constexpr std::array<const char*, 6> kFilters = {
    "lk/1/+/+/state/+",   "lk/1/+/+/presence",  "lk/1/+/+/keyring",
    "lk/1/+/+/command/+", "lk/1/+/+/receipt/+", "$SYS/broker/latchkey/#"};

// What the link thread is told.
struct Connected {};

struct Subscribed {};

struct Sent {};  // one publish got its answer, good or bad

struct Lost {
  std::string why;
};

struct Again {};  // disconnect and connect

struct Quit {};

using Task = std::variant<Publish, Connected, Subscribed, Sent, Lost, Again, Quit>;

enum class State : uint8_t { kDown, kConnecting, kSubscribing, kUp, kClosing };

struct Mqtt::Impl {
  Impl(MqttOptions options_given, Intake& intake_given, FigureBoard& figures_given,
       LogSink log_given)
      : options(std::move(options_given)),
        intake(intake_given),
        figures(figures_given),
        log(std::move(log_given)) {}

  // Link thread.
  void Run();
  Duration WaitFor() const;
  void Do(Task task);
  void Connect();
  void Subscribe();
  void Close();
  void Down(const std::string& why);
  void Queue(Publish publish);
  void Owe(Publish publish);
  void Flush();
  bool SendNow(const Publish& publish);

  // Paho's threads.
  void Arrived(const char* topic, int topic_length, const MQTTAsync_message& message);
  void Ended(const std::string& why);

  void Say(LogEvent::Level level, std::string event,
           std::vector<std::pair<std::string, std::string>> fields) const {
    log(LogEvent{level, std::move(event), std::move(fields)});
  }

  const MqttOptions options;
  Intake& intake;
  FigureBoard& figures;
  const LogSink log;
  BoundedQueue<Task> tasks{kOutgoingMax};
  std::atomic<size_t> waiting{0};  // size of outgoing
  std::atomic<size_t> in_flight_max{kInFlightMax};
  std::atomic<uint64_t> dropped{0};
  MQTTAsync client = nullptr;
  std::thread thread;

  // Link thread's own.
  State state = State::kDown;
  Instant since;  // of the state
  Instant connect_at;
  BackOff back_off{static_cast<uint32_t>(SystemNow().wall.ms)};
  std::deque<Publish> outgoing;           // receipts, commands, questions to the plugins
  std::deque<Publish> outgoing_retained;  // state and rings: behind those, as there can be many
  std::deque<Publish> owed;               // for the next connection
  size_t in_flight = 0;
  bool quit = false;
  bool leaving = false;         // as soon as what is on its way has its answer
  std::vector<Publish> unsaid;  // since quit
  Instant begun;
  std::atomic<bool> kept{false};  // of the connection that there is
  std::atomic<bool> connected_before{false};
};

// Callbacks for paho, with an Impl as their context.
void OnConnected(void* context, MQTTAsync_successData5* response);
void OnConnectFailure(void* context, MQTTAsync_failureData5* failure);
void OnLost(void* context, char* cause);
void OnServerDisconnect(void* context, MQTTProperties* properties, MQTTReasonCodes reason);
void OnClosed(void* context, MQTTAsync_successData5* response);
void OnCloseFailure(void* context, MQTTAsync_failureData5* failure);
void OnSubscribed(void* context, MQTTAsync_successData5* response);
void OnSubscribeFailure(void* context, MQTTAsync_failureData5* failure);
void OnSent(void* context, MQTTAsync_successData5* response);
void OnSendFailure(void* context, MQTTAsync_failureData5* failure);
int OnMessage(void* context, char* topic, int topic_length, MQTTAsync_message* message);
int OnTlsError(const char* text, size_t length, void* context);

}  // namespace latchkey::bridge
