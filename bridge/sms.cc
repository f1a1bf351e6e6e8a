// See sms.h.
#include "bridge/sms.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>
#include <vector>

namespace latchkey::bridge {

namespace {

// Fit for a log: somebody else's words.
std::string Printable(std::string_view text) {
  std::string out(text.substr(0, kSmsReportTextMax));
  std::replace_if(out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

}  // namespace

void SmsReports::Expect(uint64_t id) {
  const std::scoped_lock lock(mutex_);
  if (last_.insert_or_assign(id, std::nullopt).second) {
    order_.push_back(id);
  }
  while (order_.size() > kSmsReportsKept) {
    last_.erase(order_.front());
    order_.pop_front();
  }
}

bool SmsReports::Tell(uint64_t id, SmsReport::What what, std::string_view text) {
  // The sink is called under the lock, so that two threads do not turn the order around.
  const std::scoped_lock lock(mutex_);
  const auto found = last_.find(id);
  if (found == last_.end()) {
    return false;
  }
  std::optional<SmsReport::What>& last = found->second;
  const bool over = last == SmsReport::What::kDelivered || last == SmsReport::What::kFailed;
  if (over || last == what) {
    return true;
  }
  if (what == SmsReport::What::kDelivered && !last) {
    sink_({id, SmsReport::What::kSent, ""});
  }
  last = what;
  sink_({id, what, Printable(text)});
  return true;
}

void NoSms::Send(const SendSms& sms) {
  sink_({sms.id, SmsReport::What::kFailed, "this bridge has no SMS gateway"});
}

SmsWorker::SmsWorker(SmsReportSink sink, Duration look_every)
    : reports_(std::move(sink)), look_every_(look_every) {}

void SmsWorker::Send(const SendSms& sms) {
  reports_.Expect(sms.id);
  if (!queue_.Put(sms, Duration(0))) {
    reports_.Tell(sms.id, SmsReport::What::kFailed,
                  stop_ ? "the bridge stops" : "too many SMS wait for the gateway");
  }
}

void SmsWorker::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void SmsWorker::Stop() {
  stop_ = true;
  queue_.Close();
  if (thread_.joinable()) {
    thread_.join();
  }
}

bool SmsWorker::Pause(Duration time) {
  if (!stop_) {
    queue_.Rest(time);
  }
  return stop_;
}

void SmsWorker::Loop() {
  using std::chrono::steady_clock;
  steady_clock::time_point look_at = steady_clock::now();
  while (!stop_) {
    const auto left = std::chrono::duration_cast<Duration>(look_at - steady_clock::now());
    for (const SendSms& sms : queue_.Drain(1, std::clamp(left, Duration(0), look_every_))) {
      try {
        Carry(sms);
      } catch (const std::exception& fault) {  // of a library: this SMS fails, the bridge goes on
        reports_.Tell(sms.id, SmsReport::What::kFailed, fault.what());
      }
    }
    if (steady_clock::now() >= look_at) {
      Look();
      look_at = steady_clock::now() + look_every_;
    }
  }
}

}  // namespace latchkey::bridge
