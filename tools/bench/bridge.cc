// See bridge.h.
#include "tools/bench/bridge.h"

#include <array>
#include <cstdlib>
#include <sstream>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/latchkey/cell.h"
#include "tools/latchkey/folder.h"

namespace latchkey::bench {

namespace {

constexpr Duration kReadyPatience = std::chrono::minutes(1);
constexpr Duration kLook = Duration(20);
constexpr time_t kAnswerSeconds = 5;

// What `fleet init` would write, with a store elsewhere.
std::string ConfigurationOf(const std::string& text, const std::filesystem::path& store) {
  std::istringstream stream(text);
  std::string all;
  for (std::string line; std::getline(stream, line);) {
    all += line.compare(0, 7, "path = ") == 0 ? "path = \"" + store.string() + "\"" : line;
    all += "\n";
  }
  return all;
}

}  // namespace

std::string HttpBody(int port, std::string_view path) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{kAnswerSeconds, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string request =
      "GET " + std::string(path) + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
  std::string answer;
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::send(socket, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    std::array<char, 16384> block{};
    for (ssize_t count = 0; (count = ::recv(socket, block.data(), block.size(), 0)) > 0;) {
      answer.append(block.data(), static_cast<size_t>(count));
    }
  }
  ::close(socket);
  const size_t body = answer.find("\r\n\r\n");
  return body == std::string::npos || answer.compare(9, 3, "200") != 0 ? ""
                                                                       : answer.substr(body + 4);
}

Result<double> MetricIn(std::string_view page, std::string_view name) {
  double sum = 0;
  bool found = false;
  while (!page.empty()) {
    const size_t end = std::min(page.find('\n'), page.size());
    const std::string_view line = page.substr(0, end);
    page.remove_prefix(std::min(end + 1, page.size()));
    const size_t space = line.rfind(' ');
    if (line.substr(0, name.size()) == name && space != std::string_view::npos &&
        (line[name.size()] == ' ' || line[name.size()] == '{')) {
      sum += std::strtod(std::string(line.substr(space + 1)).c_str(), nullptr);
      found = true;
    }
  }
  if (!found) {
    return Fail(v1::REASON_MALFORMED, "the bridge has no metric " + std::string(name));
  }
  return sum;
}

Result<std::unique_ptr<BenchBridge>> BenchBridge::Start(const Place& place,
                                                        const BenchBroker& broker) {
  std::unique_ptr<BenchBridge> bridge(new BenchBridge());
  LK_TRY(bridge->folder_, place.NewFolder("bridge"));
  cli::Cell cell = place.cell();
  cell.car_port = broker.car_port();
  cell.phone_port = broker.phone_port();
  LK_TRY(std::tie(cell.http_port, std::ignore), FreePorts());
  bridge->http_port_ = cell.http_port;
  const std::filesystem::path file = bridge->folder_ / "latchkey.toml";
  LK_CHECK(cli::WriteFile(
      file,
      ConfigurationOf(cli::BridgeConfiguration(place.folder(), cell), bridge->folder_ / "store"),
      cli::Secrecy::kPublic));
  LK_TRY(bridge->process_,
         Process::Start({place.BridgeProgram().string(), "--config", file.string()},
                        bridge->folder_ / "bridge.log"));
  const double until = MonotonicSeconds() + static_cast<double>(kReadyPatience.count()) / 1000;
  while (HttpBody(bridge->http_port_, "/readyz").empty()) {
    if (!bridge->process_->Running() || MonotonicSeconds() > until) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "the bridge is not ready: " + bridge->process_->Tail());
    }
    Pause(kLook);
  }
  return bridge;
}

Result<double> BenchBridge::Metric(std::string_view name) const {
  const std::string page = HttpBody(http_port_, "/metrics");
  if (page.empty()) {
    return Fail(v1::REASON_STORE_UNAVAILABLE, "the bridge does not answer: " + process_->Tail());
  }
  return MetricIn(page, name);
}

}  // namespace latchkey::bench
