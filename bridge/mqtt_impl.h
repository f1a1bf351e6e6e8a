// What is behind bridge/mqtt.h: the link thread, what it is told, and what paho's threads may
// touch. Paho holds its own lock while it runs a callback, so a callback that waits for a commit
// would stop any thread that calls paho: only the link thread calls it, callbacks (mqtt_answers.cc)
// only put tasks into its queue, and the runner never waits for either.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <MQTTAsync.h>

#include "bridge/back_off.h"
#include "bridge/mqtt.h"
#include "bridge/queue.h"
#include "proto/types.h"

namespace latchkey::bridge {

inline constexpr size_t kInFlightMax = 500;
inline constexpr size_t kOutgoingMax = 200000;
inline constexpr size_t kOwedMax = 50000;  // receipts of about 200 bytes
inline constexpr int kFirstError = 0x80;   // MQTT 5.0 section 2.4
// Asked for at once, with all that is new of ShownFilters.
inline constexpr std::string_view kFiguresFilter = "$SYS/broker/latchkey/#";
inline constexpr std::array<std::string_view, 3> kFilters = {"lk/1/+/+/command/+",
                                                             "lk/1/+/+/receipt/+", kFiguresFilter};
// Of bridges before this way of asking: left, as the broker may give twice what matches twice.
inline constexpr const char* kFormerFilter = "lk/1/+/+/state/+";

// What the broker retains, asked for one after the other in this order: kShownParts of them. A
// command does not wait behind all of it.
std::vector<std::string> ShownFilters();
inline constexpr size_t kShownParts = 2 + kGroupCount;
// kFilters and ShownFilters, in the order in which they are subscribed to.
std::vector<std::string> SubscribedFilters();

// What the link thread is told.
struct Connected {};

struct Subscribed {};

struct Shows {};  // the broker has been asked for the next of ShownFilters, and shows it

struct Shown {        // it has shown all of it
  uint64_t mark = 0;  // of the Echo
};

struct Sent {};  // publishes got their answer, good or bad, and that is waited for

struct Lost {
  std::string why;
};

struct Again {};  // disconnect and connect

struct Quit {};

using Task = std::variant<Publish, Connected, Subscribed, Shows, Shown, Sent, Lost, Again, Quit>;

enum class State : uint8_t { kDown, kConnecting, kSubscribing, kUp, kClosing };

// What the broker shows of what it retains, when it is subscribed to. MQTT 5.0 section 3.8.3.1,
// Retain Handling.
enum class Retained : uint8_t { kAll, kOfNew, kNone };

struct Wish {
  std::string filter;
  Retained retained = Retained::kAll;
};

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
  bool AskFor(const std::vector<Wish>& wishes, MQTTAsync_onSuccess5* answered);
  void ShowNext(Instant now);
  void AskForEnd();
  void PartShown();
  void Close();
  void Down(const std::string& why);
  void Queue(Publish publish);
  void Owe(Publish publish);
  void TakeAnswers();
  void Flush();
  bool SendNow(const Publish& publish);

  // Paho's threads.
  void Arrived(const char* topic, int topic_length, const MQTTAsync_message& message);
  void Answered();
  bool IsEnd(const Publish& publish);
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
  std::atomic<size_t> answers{0};       // to publishes, not yet taken off in_flight
  std::atomic<bool> wants_sent{false};  // the link thread waits for answers: it is told of each
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
  std::atomic<size_t> shown{0};   // of ShownFilters, whole
  std::atomic<uint64_t> mark{0};  // of the Echo that ends the part being shown; 0: none
  uint64_t last_mark = static_cast<uint64_t>(SystemNow().wall.ms);  // no other process's
  bool asking = false;                                              // for a part, and not answered
  Instant asked_at;                                                 // or answered
  std::atomic<int64_t> retained_at_ms{0};  // the last retained message arrived, of the steady clock
  std::atomic<bool> kept{false};           // of the connection that there is
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
void OnShows(void* context, MQTTAsync_successData5* response);
void OnSubscribeFailure(void* context, MQTTAsync_failureData5* failure);
void OnSent(void* context, MQTTAsync_successData5* response);
void OnSendFailure(void* context, MQTTAsync_failureData5* failure);
int OnMessage(void* context, char* topic, int topic_length, MQTTAsync_message* message);
int OnTlsError(const char* text, size_t length, void* context);

}  // namespace latchkey::bridge
