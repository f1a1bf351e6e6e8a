// Runs the reference phone over a link until what the person waits for has happened. Decides
// nothing about commands: it carries, waits, and connects again.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/mqtt/link.h"
#include "tools/phone/phone.h"

namespace latchkey::cli {

class Session {
 public:
  enum class End : uint8_t {
    kDone,     // the handler said so
    kFenced,   // everything the broker had retained has arrived
    kTimeout,  // the deadline came first
    kRefused,  // the broker refuses this client; error() says why
    kStopped,  // StopWhen said so
  };

  // Sees every effect that is not a message to send. True: what was waited for has happened.
  using Handler = std::function<bool(const tools::Phone::Effect& effect)>;

  Session(tools::Phone& phone, tools::LinkOptions options, Handler handler);

  // Ends kFenced once the retained messages of the subscriptions have arrived: the answer to a
  // subscription asked for after them comes after them. Empty: no fence.
  void FenceWith(std::string filter) { fence_ = std::move(filter); }

  // Asked five times a second: true ends the run with kStopped. For signals.
  void StopWhen(std::function<bool()> stop) { stop_ = std::move(stop); }

  // Called about once a second while nothing else happens.
  void OnIdle(std::function<void()> idle) { idle_ = std::move(idle); }

  // What the handler says to it ends the next Run.
  void Do(const tools::Phone::Input& input);
  // May be called again after its end: the connection stays.
  End Run(std::optional<Duration> timeout);

  // Why the last connection could not be made or ended; empty: none has failed.
  const std::string& trouble() const { return trouble_; }

  const Error& error() const { return error_; }

 private:
  void On(const tools::LinkEvent& event);
  void Handle(const tools::Phone::Effects& effects);
  void Subscribe(const std::vector<std::string>& filters, bool fence);
  void OnSubscribed(const tools::LinkEvent& event);
  void Retry(const std::string& text, bool now);

  tools::Phone& phone_;
  Handler handler_;
  std::function<void()> idle_;
  std::function<bool()> stop_;
  std::string fence_;
  std::deque<bool> asked_;  // subscriptions without answer; true: the fence
  tools::Inbox inbox_;
  tools::Link link_;
  bool begun_ = false;
  std::optional<End> end_;
  std::optional<Instant> connect_at_;
  Duration back_off_;
  std::string trouble_;
  Error error_;
};

// How phone `key` connects to the broker of `pairing`'s cell; `purpose` keeps two programs that use
// one key from taking each other's place. The key must outlive the options.
tools::LinkOptions PhoneLink(const PrivateKey& key, const std::string& host, int port,
                             const std::string& cell, const std::string& ca_file,
                             const std::string& purpose);

}  // namespace latchkey::cli
