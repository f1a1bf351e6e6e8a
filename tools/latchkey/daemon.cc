// See daemon.h.
#include "tools/latchkey/daemon.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace latchkey::cli {

namespace {

constexpr Duration kProgramWait = std::chrono::seconds(10);
constexpr int kCannotRun = 127;
constexpr size_t kTextMax = size_t{1} << 20;
constexpr std::string_view kDeleted = " (deleted)";

// What the child does; nothing here may fail but for exec.
[[noreturn]] void Become(std::vector<char*>& argv, int output, int errors) {
  ::setsid();
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(errors, STDERR_FILENO);
  ::execv(argv[0], argv.data());
  ::_exit(kCannotRun);
}

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::Start(const std::vector<std::string>& arguments, int log) {
  std::array<int, 2> ends = {};
  std::vector<std::string> kept = arguments;
  std::vector<char*> argv;
  for (std::string& argument : kept) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "no pipe can be made: " + std::generic_category().message(errno));
  }
  const pid_t pid = ::fork();
  if (pid == 0) {
    Become(argv, ends[1], log < 0 ? ends[1] : log);
  }
  const int code = errno;
  ::close(ends[1]);
  if (pid < 0) {
    ::close(ends[0]);
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                arguments.front() + " cannot be started: " + std::generic_category().message(code));
  }
  return std::unique_ptr<Daemon>(new Daemon(pid, ends[0]));
}

Daemon::~Daemon() {
  ::close(output_);
}

std::optional<std::string> Daemon::NextLine(Duration wait) {
  for (;;) {
    const size_t end = text_.find('\n');
    if (end != std::string::npos) {
      std::string line = text_.substr(0, end);
      text_.erase(0, end + 1);
      return line;
    }
    pollfd watched = {output_, POLLIN, 0};
    if (over_ || text_.size() > kTextMax ||
        ::poll(&watched, 1, static_cast<int>(wait.count())) <= 0) {
      return std::nullopt;
    }
    std::array<char, 4096> block = {};
    const ssize_t count = ::read(output_, block.data(), block.size());
    over_ = count <= 0;
    text_.append(block.data(), count > 0 ? static_cast<size_t>(count) : 0);
  }
}

bool Daemon::Lives() {
  ended_ = ended_ || ::waitpid(pid_, nullptr, WNOHANG) == pid_;
  return !ended_;
}

void Daemon::Kill() {
  if (Lives()) {
    ::kill(pid_, SIGKILL);
    ended_ = ::waitpid(pid_, nullptr, 0) == pid_;
  }
}

Finished RunProgram(const std::vector<std::string>& arguments) {
  Finished finished;
  Result<std::unique_ptr<Daemon>> program = Daemon::Start(arguments, -1);
  if (!program) {
    finished.text = program.error().text;
    return finished;
  }
  while (const std::optional<std::string> line = (*program)->NextLine(kProgramWait)) {
    finished.text += *line + "\n";
  }
  int status = -1;
  if ((*program)->over() && ::waitpid((*program)->pid(), &status, 0) == (*program)->pid()) {
    finished.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  } else {
    (*program)->Kill();
  }
  return finished;
}

std::filesystem::path ProgramOf(pid_t pid) {
  std::error_code error;
  const std::filesystem::path link = "/proc/" + std::to_string(pid) + "/exe";
  std::string name = std::filesystem::read_symlink(link, error).string();
  if (name.ends_with(kDeleted)) {  // it was replaced: what has its name now is the next best
    name.resize(name.size() - kDeleted.size());
  }
  return error ? std::filesystem::path() : std::filesystem::path(name);
}

int OpenErrorOf(pid_t pid) {
  const std::string name = "/proc/" + std::to_string(pid) + "/fd/2";
  return ::open(name.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
}

}  // namespace latchkey::cli
