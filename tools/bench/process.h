// Child processes of the bench, and what a process has used: CPU time, memory, bytes to disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::bench {

// As the kernel says it.
struct Usage {
  double cpu_s = 0;                 // user and system, all threads, to the nanosecond
  uint64_t resident_bytes = 0;      // pages in memory
  uint64_t proportional_bytes = 0;  // Pss: shared pages by how many share them
  uint64_t private_bytes = 0;       // RssAnon: pages of its own, without code and files it maps
  uint64_t written_bytes = 0;  // what it had written to a disk, as pages; not what syncs wait for
};

// Of any process of this user. Error REASON_STORE_UNAVAILABLE: it has ended.
Result<Usage> UsageOf(pid_t pid);
// Only its CPU seconds: cheap enough for many looks a second. Error as UsageOf.
Result<double> CpuSecondsOf(pid_t pid);
// Of the calling thread.
double ThreadCpuSeconds();
// Monotonic seconds since an arbitrary start.
double MonotonicSeconds();
// Waits that long. For between looks; load is paced by Swarm.
void Pause(Duration time);

// One child, started with its output appended to a file; it never outlives this process. One
// thread.
class Process {
 public:
  // Error REASON_STORE_UNAVAILABLE: no log or no child. A program that is not there ends at once
  // with 127.
  static Result<std::unique_ptr<Process>> Start(std::vector<std::string> arguments,
                                                std::filesystem::path log);
  ~Process();  // Kill
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool Running();
  // SIGTERM and a wait; killed after 20 s.
  void Stop();
  // SIGKILL, as a crash would, and a wait.
  void Kill();

  // 128 + signal when a signal ended it; -1 while it runs.
  int exit_code() const { return exit_code_; }

  pid_t pid() const { return pid_; }

  // The last 4 KB of its output, for the text of an error.
  std::string Tail() const;

 private:
  Process(pid_t pid, std::filesystem::path log) : pid_(pid), log_(std::move(log)) {}

  bool Reap(int options);

  pid_t pid_;
  std::filesystem::path log_;
  bool ended_ = false;
  int exit_code_ = -1;
};

// Runs a program to its end, at most `patience`. Error REASON_STORE_UNAVAILABLE: it does not start,
// does not end or ends with another code than 0; the text has the end of its output.
Result<void> RunToEnd(const std::vector<std::string>& arguments, const std::filesystem::path& log,
                      Duration patience);

// Processors that are switched on.
size_t ProcessorCount();

// As many open files as the system lets this process and its children have; how many that are.
size_t AllowFiles();

}  // namespace latchkey::bench
