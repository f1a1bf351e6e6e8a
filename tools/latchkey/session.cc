// The loop between link and phone.
#include "tools/latchkey/session.h"

#include <algorithm>
#include <utility>

#include <unistd.h>

#include "proto/token.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

constexpr Duration kRetryFirst = std::chrono::milliseconds(250);
constexpr Duration kRetryMax = std::chrono::seconds(5);
constexpr Duration kIdle = std::chrono::seconds(1);
constexpr Duration kLookForStop = std::chrono::milliseconds(200);
constexpr Duration kTokenLifetime = std::chrono::minutes(10);

// May the broker think otherwise soon? MQTT 5: unavailable, busy; MQTT 3.1.1: unavailable.
bool Passing(int reason_code) {
  return reason_code == 0x88 || reason_code == 0x89 || reason_code == 3;
}

}  // namespace

Session::Session(tools::Phone& phone, tools::LinkOptions options, Handler handler)
    : phone_(phone),
      handler_(std::move(handler)),
      link_(0, std::move(options), inbox_),
      back_off_(kRetryFirst) {}

void Session::Do(const tools::Phone::Input& input) {
  tools::Phone::Effects effects;
  phone_.Step(input, ReadClocks(), effects);
  Handle(effects);
}

void Session::Handle(const tools::Phone::Effects& effects) {
  for (const tools::Phone::Effect& effect : effects) {
    if (const auto* publish = std::get_if<Publish>(&effect)) {
      // A publish that paho does not take is sent again: the phone resends until it is answered.
      const Result<void> sent = link_.Send(*publish);
      if (!sent) {
        trouble_ = sent.error().text;
      }
    } else if (const auto* ask = std::get_if<tools::Phone::Subscribe>(&effect)) {
      Subscribe(ask->filters, false);
    } else if (handler_(effect) && !end_) {
      end_ = End::kDone;
    }
  }
}

void Session::Subscribe(const std::vector<std::string>& filters, bool fence) {
  asked_.push_back(fence);
  link_.Subscribe(filters, 1);
}

// Answers come in the order of the questions. The fence is asked for when nothing else is open.
void Session::OnSubscribed(const tools::LinkEvent& event) {
  const bool fence = !asked_.empty() && asked_.front();
  if (!asked_.empty()) {
    asked_.pop_front();
  }
  if (fence) {
    if (!fence_.empty() && !end_) {
      end_ = End::kFenced;
    }
    return;
  }
  Do(tools::Phone::Subscribed{event.reason_codes});
  if (!fence_.empty() && asked_.empty()) {
    Subscribe({fence_}, true);
  }
}

// `now`: at another broker, which need not be waited for.
void Session::Retry(const std::string& text, bool now) {
  trouble_ = text;
  asked_.clear();
  Do(tools::Phone::Disconnected{});
  connect_at_ = ReadClocks().mono + (now ? Duration(0) : back_off_);
  back_off_ = now ? back_off_ : std::min(back_off_ * 2, kRetryMax);
}

void Session::On(const tools::LinkEvent& event) {
  switch (event.kind) {
    case tools::LinkEvent::Kind::kConnected:
      back_off_ = kRetryFirst;
      Do(tools::Phone::Connected{});
      break;
    case tools::LinkEvent::Kind::kRefused:
      if (Passing(event.reason_code)) {
        Retry("the broker is busy: " + ReasonCodeText(event.reason_code), event.try_now);
      } else {
        error_ = {v1::REASON_NOT_ALLOWED,
                  "the broker refuses this client: " + ReasonCodeText(event.reason_code) +
                      "; its key may be blocked, or the clock or the cell's name wrong"};
        end_ = End::kRefused;
      }
      break;
    case tools::LinkEvent::Kind::kDisconnected:
      Retry(event.text + (event.reason_code != 0 ? " " + ReasonCodeText(event.reason_code) : ""),
            event.try_now);
      break;
    case tools::LinkEvent::Kind::kSubscribed:
      OnSubscribed(event);
      break;
    case tools::LinkEvent::Kind::kPublished:
      Do(tools::Phone::Published{event.message.topic, event.reason_code});
      break;
    case tools::LinkEvent::Kind::kMessage:
      Do(tools::Phone::Arrived{event.message});
      break;
  }
}

Session::End Session::Run(std::optional<Duration> timeout) {
  const Instant begin = ReadClocks().mono;
  Instant idle_at = begin + kIdle;
  if (!begun_) {
    begun_ = true;
    connect_at_ = begin;
  }
  while (!end_) {
    const Instant now = ReadClocks().mono;
    if (connect_at_ && now >= *connect_at_) {
      connect_at_.reset();
      link_.Connect();
    }
    const std::optional<Instant> due = phone_.NextDeadline();
    if (due && now >= *due) {
      Do(tools::Phone::Tick{});
      continue;
    }
    if (timeout && now - begin >= *timeout) {
      return End::kTimeout;
    }
    if (stop_ && stop_()) {
      return End::kStopped;
    }
    if (now >= idle_at) {
      idle_at = now + kIdle;
      if (idle_) {
        idle_();
      }
    }
    Duration wait = stop_ ? std::min(idle_at - now, kLookForStop) : idle_at - now;
    if (due) {
      wait = std::min(wait, *due - now);
    }
    if (connect_at_) {
      wait = std::min(wait, *connect_at_ - now);
    }
    if (timeout) {
      wait = std::min(wait, (begin + *timeout) - now);
    }
    const std::optional<tools::LinkEvent> event = inbox_.Wait(std::max(wait, Duration(0)));
    if (event) {
      On(*event);
    }
  }
  const End end = *end_;
  end_.reset();
  return end;
}

tools::LinkOptions PhoneLink(const PrivateKey& key, const std::string& host, int port,
                             const std::string& cell, const std::string& ca_file,
                             const std::string& purpose) {
  tools::LinkOptions options;
  options.host = host;
  options.port = port;
  options.ca_file = ca_file;
  options.user_name = key.Public().Id().str();
  options.client_id = options.user_name + "/" + purpose + "-" + std::to_string(::getpid());
  options.password = [&key, cell] {
    return MintToken(key, cell, ReadClocks().wall, kTokenLifetime);
  };
  return options;
}

}  // namespace latchkey::cli
