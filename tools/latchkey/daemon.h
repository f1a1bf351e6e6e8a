// Programs that outlive the command which starts them, and what the kernel tells of processes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::cli {

// A program in a session of its own: a Ctrl-C here does not reach it, and it goes on when this
// command ends. Its standard output is read here.
class Daemon {
 public:
  // `log`: a descriptor for its standard error, borrowed. Error REASON_STORE_UNAVAILABLE: no
  // process can be made.
  static Result<std::unique_ptr<Daemon>> Start(const std::vector<std::string>& arguments, int log);
  ~Daemon();  // it goes on
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // The next line it says. nullopt: it has ended or closed its output (`over`), or `wait` is over.
  std::optional<std::string> NextLine(Duration wait);

  bool over() const { return over_; }

  // Whether it lives.
  bool Lives();
  // Ends it for good, and waits for that.
  void Kill();

  pid_t pid() const { return pid_; }

 private:
  Daemon(pid_t pid, int output) : pid_(pid), output_(output) {}

  const pid_t pid_;
  const int output_;
  std::string text_;
  bool over_ = false;
  bool ended_ = false;
};

// Runs a program to its end, at most ten seconds; its exit code (-1: it did not end so) and all
// that it said.
struct Finished {
  int code = -1;
  std::string text;
};

Finished RunProgram(const std::vector<std::string>& arguments);

// Its program's file, as it is named now or was when it was started; empty: not known.
std::filesystem::path ProgramOf(pid_t pid);
// A descriptor that writes where its standard error goes, to be closed; -1: there is no way.
int OpenErrorOf(pid_t pid);

}  // namespace latchkey::cli
