// What all gateways share: reports come once and in order, a full queue fails at once, and nobody
// who sends ever waits.
#include "bridge/sms.h"

#include <chrono>
#include <condition_variable>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace latchkey::bridge {

namespace {

using What = SmsReport::What;

const CarRef kCar{FleetId::Parse("demo").value(), CarId::Parse("car-1").value()};

SendSms Sms(uint64_t id) {
  return {id, kCar, "+436601234567", "bytes", std::nullopt};
}

// "7 sent, 7 delivered, "
class Heard {
 public:
  SmsReportSink Sink() {
    return [this](const SmsReport& report) {
      const std::scoped_lock lock(mutex_);
      constexpr const char* kWords[] = {"sent", "delivered", "failed"};
      text_ += std::to_string(report.id) + " " + kWords[static_cast<int>(report.what)] + ", ";
      last_ = report.text;
    };
  }

  std::string Text() {
    const std::scoped_lock lock(mutex_);
    return text_;
  }

  std::string Last() {
    const std::scoped_lock lock(mutex_);
    return last_;
  }

 private:
  std::mutex mutex_;
  std::string text_;
  std::string last_;
};

// Carries nothing on before its gate is open.
class Gated final : public SmsWorker {
 public:
  explicit Gated(SmsReportSink sink) : SmsWorker(std::move(sink), std::chrono::seconds(1)) {
    Start();
  }

  ~Gated() override {
    Open();
    Stop();
  }

  Gated(const Gated&) = delete;
  Gated& operator=(const Gated&) = delete;

  void Open() {
    {
      const std::scoped_lock lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }

  void AwaitCarried(uint64_t count) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return carried_ >= count; }));
  }

  void AwaitBusy() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return busy_; }));
  }

 private:
  void Carry(const SendSms& sms) override {
    {
      std::unique_lock lock(mutex_);
      busy_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return open_; });
      ++carried_;
    }
    changed_.notify_all();
    if (sms.id == 3) {
      throw std::runtime_error("library trouble");
    }
    reports().Tell(sms.id, What::kSent, "ok");
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  bool busy_ = false;
  uint64_t carried_ = 0;
};

}  // namespace

TEST_CASE("sms: each report comes once, in order, and of SMS that were sent alone") {
  Heard heard;
  SmsReports reports(heard.Sink());
  CHECK_FALSE(reports.Tell(1, What::kSent, ""));
  reports.Expect(1);
  reports.Expect(2);
  reports.Expect(3);
  CHECK(reports.Tell(1, What::kSent, ""));
  CHECK(reports.Tell(1, What::kSent, ""));
  CHECK(reports.Tell(2, What::kDelivered, ""));  // says sent, too
  CHECK(reports.Tell(2, What::kSent, ""));
  CHECK(reports.Tell(1, What::kFailed, ""));
  CHECK(reports.Tell(1, What::kDelivered, ""));
  CHECK(reports.Tell(3, What::kFailed, ""));
  CHECK(heard.Text() == "1 sent, 2 sent, 2 delivered, 1 failed, 3 failed, ");
}

TEST_CASE("sms: a gateway's words are cut and made fit for a log") {
  Heard heard;
  SmsReports reports(heard.Sink());
  reports.Expect(1);
  reports.Tell(1, What::kSent, "two\nlines \x1b[31m\xc3\xa4");
  CHECK(heard.Last() == "two?lines ?[31m??");
  reports.Tell(1, What::kFailed, std::string(1000, 'x'));
  CHECK(heard.Last().size() == kSmsReportTextMax);
}

TEST_CASE("sms: the oldest are forgotten when very many were sent") {
  Heard heard;
  SmsReports reports(heard.Sink());
  for (uint64_t id = 1; id <= kSmsReportsKept + 1; ++id) {
    reports.Expect(id);
  }
  CHECK_FALSE(reports.Tell(1, What::kSent, ""));
  CHECK(reports.Tell(2, What::kSent, ""));
}

TEST_CASE("sms: a gateway that stands still holds up nobody; above its bound SMS fail at once") {
  Heard heard;
  Gated gateway(heard.Sink());
  gateway.Send(Sms(1));
  gateway.AwaitBusy();
  const auto before = std::chrono::steady_clock::now();
  for (uint64_t id = 2; id <= kSmsQueueMax + 2; ++id) {
    gateway.Send(Sms(id));
  }
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(2));
  CHECK(heard.Text() == std::to_string(kSmsQueueMax + 2) + " failed, ");
  gateway.Open();
  gateway.AwaitCarried(kSmsQueueMax + 1);
  gateway.Send(Sms(9999));
  gateway.AwaitCarried(kSmsQueueMax + 2);  // so that the one before has been told
  CHECK(heard.Text().find("1 sent, 2 sent, 3 failed, 4 sent, ") != std::string::npos);
}

TEST_CASE("sms: without a gateway every SMS fails at once") {
  Heard heard;
  NoSms none(heard.Sink());
  none.Send(Sms(5));
  CHECK(heard.Text() == "5 failed, ");
}

}  // namespace latchkey::bridge
