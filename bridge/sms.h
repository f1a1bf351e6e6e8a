// Where SMS leave the bridge: what a gateway is, and what all gateways share: a thread of their
// own with a bounded queue, so that no modem and no server ever holds up the bridge, and reports
// that come once each and in order.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "bridge/core/step.h"
#include "bridge/queue.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::bridge {

// A gateway, for who has an SMS to send. Never waits; what becomes of it comes as SmsReports.
class SmsSender {
 public:
  virtual ~SmsSender() = default;
  virtual void Send(const SendSms& sms) = 0;
};

// Where reports go: the intake. From any thread; it does not call back.
using SmsReportSink = std::function<void(SmsReport)>;

inline constexpr size_t kSmsQueueMax = 10000;  // a fleet that is to be woken at once
inline constexpr size_t kSmsReportsKept = 20000;
inline constexpr size_t kSmsReportTextMax = 120;
inline constexpr size_t kSmsPostBytesMax = 4096;

// Lets each report of each SMS through once and in order: sent before delivered, nothing after
// delivered or failed. Knows the last kSmsReportsKept SMS. From any thread.
class SmsReports {
 public:
  explicit SmsReports(SmsReportSink sink) : sink_(std::move(sink)) {}

  // This SMS is on its way; before that nothing is let through. An id that comes again is another
  // SMS.
  void Expect(uint64_t id);
  // False: nothing of this id is known here. `text` is cut, and what cannot be printed replaced.
  bool Tell(uint64_t id, SmsReport::What what, std::string_view text);

 private:
  std::mutex mutex_;
  std::map<uint64_t, std::optional<SmsReport::What>> last_;  // under mutex_
  std::deque<uint64_t> order_;                               // under mutex_
  const SmsReportSink sink_;
};

// What there is without a gateway: every SMS fails at once.
class NoSms : public SmsSender {
 public:
  explicit NoSms(SmsReportSink sink) : sink_(std::move(sink)) {}

  void Send(const SendSms& sms) override;

 private:
  const SmsReportSink sink_;
};

// A gateway's thread: SMS in order, and a look around at least every `look_every`. The subclass
// calls Start at the end of its making and Stop at the begin of its destruction.
class SmsWorker : public SmsSender {
 public:
  // Queued, or kFailed at once when kSmsQueueMax wait already.
  void Send(const SendSms& sms) override;

 protected:
  SmsWorker(SmsReportSink sink, Duration look_every);

  void Start();
  // What still waits is dropped: it is not on its way, and the bridge that comes next decides anew.
  void Stop();

  bool stopping() const { return stop_; }

  // Sleeps; true: it is time to stop.
  bool Pause(Duration time);

  // On the thread.
  virtual void Carry(const SendSms& sms) = 0;

  virtual void Look() {}

  SmsReports& reports() { return reports_; }

 private:
  void Loop();

  SmsReports reports_;
  const Duration look_every_;
  BoundedQueue<SendSms> queue_{kSmsQueueMax};
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// A program that posts reports: the words of its HTTP request, and what to answer.
struct SmsPost {
  std::string authorization;  // the header's value
  std::string body;
};

struct SmsPostAnswer {
  int status = 0;  // HTTP
  std::string text;
};

// POST /v1/sms/report; empty when the gateway reports in another way. From any thread, never waits.
using SmsPostDoor = std::function<SmsPostAnswer(const SmsPost&)>;

}  // namespace latchkey::bridge
