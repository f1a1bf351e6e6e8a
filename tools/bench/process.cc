// See process.h.
#include "tools/bench/process.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace latchkey::bench {

namespace {

constexpr Duration kLook = Duration(10);
constexpr Duration kStopPatience = std::chrono::seconds(20);
constexpr std::streamoff kTailBytes = 4096;

double Seconds(const timespec& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double SecondsOf(clockid_t clock) {
  timespec time{};
  return ::clock_gettime(clock, &time) == 0 ? Seconds(time) : 0;
}

Error Gone(pid_t pid) {
  return {v1::REASON_STORE_UNAVAILABLE, "process " + std::to_string(pid) + " has ended"};
}

// "Pss:     12 kB" and "write_bytes: 4096" alike; kB as bytes.
std::map<std::string, uint64_t> FieldsOf(const std::string& path) {
  std::map<std::string, uint64_t> fields;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    std::string unit;
    uint64_t value = 0;
    if (words >> key >> value && key.size() > 1) {
      words >> unit;
      fields[key.substr(0, key.size() - 1)] = value * (unit == "kB" ? 1024 : 1);
    }
  }
  return fields;
}

[[noreturn]] void Become(std::vector<char*>& argv, int log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(127);  // the parent has died before it could be watched
  }
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(null, STDIN_FILENO);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

Result<double> CpuSecondsOf(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
    return tl::unexpected<Error>(Gone(pid));
  }
  return Seconds(time);
}

Result<Usage> UsageOf(pid_t pid) {
  Usage usage;
  LK_TRY(usage.cpu_s, CpuSecondsOf(pid));
  const std::string folder = "/proc/" + std::to_string(pid);
  auto status = FieldsOf(folder + "/status");
  auto memory = FieldsOf(folder + "/smaps_rollup");
  auto written = FieldsOf(folder + "/io");
  if (status.find("VmRSS") == status.end()) {
    return tl::unexpected<Error>(Gone(pid));  // its memory is given back: it is ending
  }
  usage.resident_bytes = status["VmRSS"];
  usage.private_bytes = status["RssAnon"];
  usage.proportional_bytes = memory["Pss"];
  usage.written_bytes = written["write_bytes"];
  return usage;
}

double ThreadCpuSeconds() {
  return SecondsOf(CLOCK_THREAD_CPUTIME_ID);
}

double MonotonicSeconds() {
  return SecondsOf(CLOCK_MONOTONIC);
}

void Pause(Duration time) {
  const double until = MonotonicSeconds() + static_cast<double>(time.count()) / 1000;
  for (double left = until - MonotonicSeconds(); left > 0; left = until - MonotonicSeconds()) {
    ::poll(nullptr, 0, static_cast<int>(left * 1000) + 1);
  }
}

Result<std::unique_ptr<Process>> Process::Start(std::vector<std::string> arguments,
                                                std::filesystem::path log) {
  const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "cannot write " + log.string() + ": " + std::generic_category().message(errno));
  }
  // Before the fork: a child of a process with threads may not allocate.
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    Become(argv, file, parent);
  }
  const int error = errno;
  ::close(file);
  if (pid < 0) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "cannot start " + arguments[0] + ": " + std::generic_category().message(error));
  }
  return std::unique_ptr<Process>(new Process(pid, std::move(log)));
}

Process::~Process() {
  Kill();
}

bool Process::Reap(int options) {
  int status = 0;
  if (!ended_ && ::waitpid(pid_, &status, options) == pid_) {
    ended_ = true;
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return ended_;
}

bool Process::Running() {
  return !Reap(WNOHANG);
}

void Process::Stop() {
  if (Running()) {
    ::kill(pid_, SIGTERM);
  }
  const double until = MonotonicSeconds() + static_cast<double>(kStopPatience.count()) / 1000;
  while (Running() && MonotonicSeconds() < until) {
    Pause(kLook);
  }
  Kill();
}

void Process::Kill() {
  if (Running()) {
    ::kill(pid_, SIGKILL);
    Reap(0);
  }
}

std::string Process::Tail() const {
  std::ifstream file(log_, std::ios::binary | std::ios::ate);
  const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : 0;
  file.seekg(std::max<std::streamoff>(size - kTailBytes, 0));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Result<void> RunToEnd(const std::vector<std::string>& arguments, const std::filesystem::path& log,
                      Duration patience) {
  LK_TRY(const std::unique_ptr<Process> process, Process::Start(arguments, log));
  const double until = MonotonicSeconds() + static_cast<double>(patience.count()) / 1000;
  while (process->Running() && MonotonicSeconds() < until) {
    Pause(kLook);
  }
  if (process->Running() || process->exit_code() != 0) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                arguments[0] + (process->Running() ? " does not end" : " failed with code ") +
                    (process->Running() ? "" : std::to_string(process->exit_code())) + ": " +
                    process->Tail());
  }
  return {};
}

size_t ProcessorCount() {
  return static_cast<size_t>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 1L));
}

size_t AllowFiles() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return 1024;  // what every system has
  }
  rlimit most = limit;
  most.rlim_cur = most.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &most) == 0 ? most.rlim_cur : limit.rlim_cur;
}

}  // namespace latchkey::bench
