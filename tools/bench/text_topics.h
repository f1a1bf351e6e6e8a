// The form in which an OVMS module says a car's state: each metric on a topic of its own, its value
// as text, QoS 0, retained, MQTT 3.1.1, and nothing of when it was observed. The baseline that a
// car's bytes are compared with. Pure.
//
// The module says what has changed every so often and all it knows at each connect and every 20
// minutes, and what it says at one time it writes at one time (one buffer, records of at most 1460
// bytes): so it is counted here. Values are as its C++ streams write them: six significant digits,
// yes and no, six decimals of a degree.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/time.h"
#include "tools/bench/line_bytes.h"
#include "tools/car/signals.h"

namespace latchkey::bench {

// The topic of a signal below the car's prefix ("energy.soc": "metric/v/b/soc"); the four tyres are
// one list. For the few that OVMS has no metric for: where it would stand
// ("metric/x/drive/torque").
std::string TextTopic(std::string_view signal);

// The value as text. `signal` says whether a number is a yes or a no, or a degree.
std::string TextValue(std::string_view signal, const car::SignalValue& value);

// What is said of a change.
enum class TextForm : uint8_t {
  kChangedOnly,  // the metric that changed, as the module does
  kWholeGroup,   // all metrics of its group, so that a reader has what belongs together together
};

struct TextOptions {
  TextForm form = TextForm::kChangedOnly;
  std::string prefix = "ovms/demo/F3-17/";  // ovms/{user}/{vehicle id}/
  Duration every{1000};                     // at most so often
  Duration all_every = std::chrono::seconds(1200);
  Duration keep_alive = std::chrono::seconds(1740);
};

// One module's day. One thread.
class TextTopics {
 public:
  explicit TextTopics(TextOptions options) : options_(std::move(options)) {}

  void Observe(std::string_view signal, const car::SignalValue& value);

  // What goes over the line at `now`. To be called at each time at which something was observed,
  // after all of it, and at NextAt.
  LineBytes Run(Instant now);

  // When something is due; nullopt: nothing has been observed yet.
  std::optional<Instant> NextAt() const;

 private:
  struct Metric {
    std::string group;
    std::map<std::string, std::string, std::less<>> texts;  // by signal; several are a list
    bool changed = false;

    size_t TextBytes() const;
  };

  enum class What : uint8_t { kAll, kChanged };
  LineBytes Say(Instant now, What what);

  TextOptions options_;
  std::map<std::string, Metric> metrics_;  // by topic
  bool changed_ = false;
  bool begun_ = false;
  Instant said_at_;      // something
  Instant all_said_at_;  // everything
  Instant spoke_at_;     // something, or a ping
};

}  // namespace latchkey::bench
