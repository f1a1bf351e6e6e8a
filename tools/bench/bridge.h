// A bridge of the bench: the real process with its real store, beside one of the bench's brokers,
// and what its /metrics say.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "proto/result.h"
#include "tools/bench/brokers.h"
#include "tools/bench/place.h"
#include "tools/bench/process.h"

namespace latchkey::bench {

// One thread.
class BenchBridge {
 public:
  // Beside a broker that is dressed kLatchkey; with a new, empty store. Waits until it is ready.
  // Error REASON_STORE_UNAVAILABLE: it ends or is not ready within a minute; the text has the end
  // of its log.
  static Result<std::unique_ptr<BenchBridge>> Start(const Place& place, const BenchBroker& broker);

  // The sum of a metric over its labels. Error REASON_STORE_UNAVAILABLE: no answer, or no such
  // metric.
  Result<double> Metric(std::string_view name) const;

  pid_t pid() const { return process_->pid(); }

  // All zero: it has ended.
  Usage Used() const { return UsageOf(process_->pid()).value_or(Usage{}); }

  // Where its store is: the disk that its syncs wait for.
  const std::filesystem::path& folder() const { return folder_; }

  void Stop() { process_->Stop(); }

 private:
  BenchBridge() = default;

  std::filesystem::path folder_;
  int http_port_ = 0;
  std::unique_ptr<Process> process_;
};

// The body of what loopback answers to a GET; empty: no answer with status 200 within 5 s.
std::string HttpBody(int port, std::string_view path);

// The sum over its labels of a metric in Prometheus' text format (version 0.0.4). Error
// REASON_MALFORMED: there is none of that name.
Result<double> MetricIn(std::string_view page, std::string_view name);

}  // namespace latchkey::bench
