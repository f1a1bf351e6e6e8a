// Child processes for system tests: started with their output in a file, stopped by pid, and never
// left behind. Waiting is always for a condition with a deadline.
#pragma once

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace latchkey::testing {

inline constexpr std::chrono::milliseconds kPatience{30000};

// A folder of its own below the system's temporary folder, removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// One child. Its output and errors go to `log`, appended.
class Process {
 public:
  Process(std::vector<std::string> arguments, std::filesystem::path log);
  ~Process();  // Kill
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // False: never started, or ended.
  bool Running();
  void Signal(int signal);
  // SIGTERM, then waits; -1 when it had to be killed. Else as ExitCode.
  int Stop();
  // SIGKILL, as a power cut would, then waits.
  void Kill();
  // Exit code; 128 + signal when a signal ended it; -1 when it did not end within `patience`.
  int Wait(std::chrono::milliseconds patience = kPatience);
  std::string Output() const;

  const std::filesystem::path& log() const { return log_; }

  // To look at it in /proc or to bound it; it may have ended.
  pid_t pid() const { return pid_; }

 private:
  bool Reap(int options);
  std::filesystem::path log_;
  pid_t pid_ = -1;
  bool ended_ = false;
  int exit_code_ = -1;
};

struct Ran {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

// Runs a program to its end.
Ran Run(const std::vector<std::string>& arguments,
        std::chrono::milliseconds patience = std::chrono::milliseconds(60000));

// Polls until `condition` holds; false when the deadline passed.
bool Eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds patience = kPatience);

// Body of an HTTP answer from loopback; `status` 0: no answer.
struct HttpAnswer {
  int status = 0;
  std::string body;
};

HttpAnswer HttpGet(int port, const std::string& path);
// JSON, with this Authorization header.
HttpAnswer HttpPost(int port, const std::string& path, const std::string& body,
                    const std::string& authorization);

std::string ReadAll(const std::filesystem::path& path);
// How many lines of `text` contain `part`.
int CountLines(const std::string& text, const std::string& part);
int64_t UnixMs();

}  // namespace latchkey::testing
