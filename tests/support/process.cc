// Child processes and small waits for system tests.
#include "tests/support/process.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace latchkey::testing {

namespace {

constexpr std::chrono::milliseconds kPoll{20};

[[noreturn]] void Become(std::vector<std::string>& arguments, int log) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that crashes leaves nothing behind
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "latchkey-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error("cannot make " + name);
  }
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Process::Process(std::vector<std::string> arguments, std::filesystem::path log)
    : log_(std::move(log)) {
  const int file = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) {
    throw std::runtime_error("cannot write " + log_.string());
  }
  pid_ = ::fork();
  if (pid_ == 0) {
    Become(arguments, file);
  }
  ::close(file);
  if (pid_ < 0) {
    throw std::runtime_error("cannot fork");
  }
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

void Process::Signal(int signal) {
  if (Running()) {
    ::kill(pid_, signal);
  }
}

int Process::Stop() {
  Signal(SIGTERM);
  const int code = Wait(std::chrono::milliseconds(10000));
  Kill();
  return code;
}

void Process::Kill() {
  Signal(SIGKILL);
  Reap(0);
}

int Process::Wait(std::chrono::milliseconds patience) {
  Eventually([this] { return !Running(); }, patience);
  return ended_ ? exit_code_ : -1;
}

std::string Process::Output() const {
  return ReadAll(log_);
}

Ran Run(const std::vector<std::string>& arguments, std::chrono::milliseconds patience) {
  const TempDir folder;
  Process process(arguments, folder.path() / "output");
  const int code = process.Wait(patience);
  process.Kill();
  return {code, process.Output()};
}

bool Eventually(const std::function<bool()>& condition, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

namespace {

HttpAnswer HttpAsk(int port, const std::string& request, int seconds) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{seconds, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string bytes;
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    ::send(socket, request.data(), request.size(), MSG_NOSIGNAL);
    char block[8192];
    for (ssize_t count = 0; (count = ::recv(socket, block, sizeof block, 0)) > 0;) {
      bytes.append(block, static_cast<size_t>(count));
    }
  }
  ::close(socket);
  const size_t body = bytes.find("\r\n\r\n");
  if (body == std::string::npos || bytes.size() < 12) {
    return {};
  }
  return {std::atoi(bytes.c_str() + 9), bytes.substr(body + 4)};
}

constexpr const char* kHttpHeaders = " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n";

}  // namespace

HttpAnswer HttpGet(int port, const std::string& path) {
  return HttpAsk(port, "GET " + path + kHttpHeaders + "\r\n", 5);
}

HttpAnswer HttpPost(int port, const std::string& path, const std::string& body,
                    const std::string& authorization) {
  return HttpAsk(port,
                 "POST " + path + kHttpHeaders + "Authorization: " + authorization +
                     "\r\nContent-Type: application/json\r\nContent-Length: " +
                     std::to_string(body.size()) + "\r\n\r\n" + body,
                 30);
}

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

int CountLines(const std::string& text, const std::string& part) {
  std::istringstream stream(text);
  int count = 0;
  for (std::string line; std::getline(stream, line);) {
    count += line.find(part) != std::string::npos ? 1 : 0;
  }
  return count;
}

int64_t UnixMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace latchkey::testing
