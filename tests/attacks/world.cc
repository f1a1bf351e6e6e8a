// The brokers and cells of the suite, each started when a case first asks for it.
#include <cstdio>
#include <fstream>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/attacks/attack.h"

namespace latchkey::attacks {

namespace {

constexpr const char* kBroker = "/usr/sbin/mosquitto";
constexpr const char* kPasswords = "/usr/bin/mosquitto_passwd";
constexpr const char* kNaivePlugin = LK_BINARY_DIR "/tests/attacks/naive_plugin.so";

int FreePort() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(socket);
  return ntohs(address.sin_port);
}

void WriteText(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

void Expect(bool holds, const std::string& otherwise) {
  if (!holds) {
    throw Surprise(otherwise);
  }
}

std::string Hex(int code) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%02x", static_cast<unsigned>(code));
  return code < 0 ? (code == testing::kHungUp ? "hung up" : "no answer") : text;
}

PlainBroker::PlainBroker(std::filesystem::path folder, const std::string& lines)
    : folder_(std::move(folder)),
      port_(FreePort()),
      transport_(lines.find("certfile") == std::string::npos ? testing::Transport::kTcp
                                                             : testing::Transport::kTls) {
  std::filesystem::create_directories(folder_);
  WriteText(folder_ / "mosquitto.conf", "user root\nlog_dest stderr\nlistener " +
                                            std::to_string(port_) + " 127.0.0.1\n" + lines);
}

void PlainBroker::Start() {
  process_.reset();
  process_ = std::make_unique<testing::Process>(
      std::vector<std::string>{kBroker, "-c", (folder_ / "mosquitto.conf").string()},
      folder_ / "broker.log");
  const bool serves = testing::Eventually([this] {
    RawClient probe(As("probe"));
    return !process_->Running() || probe.Connect() >= 0;
  });
  Expect(serves && process_->Running(), "a plain broker did not start: " + process_->Output());
}

void PlainBroker::Restart() {
  process_->Stop();
  Start();
}

RawOptions PlainBroker::As(const std::string& client_id, const std::string& user) const {
  RawOptions options;
  options.port = port_;
  options.client_id = client_id;
  options.transport = transport_;
  if (!user.empty()) {
    options.user_name = user;
    options.password = user + "-pw";
  }
  return options;
}

std::unique_ptr<PlainBroker> World::MakePlain(const std::string& name, const std::string& lines) {
  auto broker = std::make_unique<PlainBroker>(folder_.path() / name, lines);
  broker->Start();
  return broker;
}

PlainBroker& World::Open() {
  if (!open_) {
    open_ = MakePlain("open", "allow_anonymous true\n");
  }
  return *open_;
}

PlainBroker& World::Patterned() {
  if (!patterned_) {
    const std::filesystem::path folder = folder_.path() / "patterned";
    std::filesystem::create_directories(folder);
    WriteText(folder / "acl",
              "pattern readwrite car/%u/#\npattern readwrite phone/%u/#\nuser service\ntopic "
              "readwrite #\n");
    WriteText(folder / "passwords", "");
    for (const char* user : {"VIN0001", "VIN0002", "alice", "mallory", "service"}) {
      testing::Run(
          {kPasswords, "-b", (folder / "passwords").string(), user, std::string(user) + "-pw"});
    }
    patterned_ = MakePlain("patterned", "allow_anonymous false\npassword_file " +
                                            (folder / "passwords").string() + "\nacl_file " +
                                            (folder / "acl").string() + "\n");
  }
  return *patterned_;
}

PlainBroker& World::Naive() {
  if (!naive_) {
    const std::filesystem::path revoked = folder_.path() / "naive" / "revoked";
    naive_ = MakePlain("naive", "allow_anonymous false\nplugin " + std::string(kNaivePlugin) +
                                    "\nplugin_opt_revoked " + revoked.string() + "\n");
  }
  return *naive_;
}

Cell& World::Ours() {
  if (!ours_) {
    ours_ = MakeCell({"demo", "rival"});
    ours_->StartBridge();
  }
  return *ours_;
}

std::unique_ptr<Cell> World::MakeCell(const std::vector<std::string>& fleets) {
  auto cell = std::make_unique<Cell>(fleets);
  cell->StartBroker();
  cell_folders_.push_back(cell->path());
  return cell;
}

std::string World::FreshName() {
  return "w" + std::to_string(++named_);
}

void World::SetCase(int number) {
  address_ = "127.9." + std::to_string(number / 200) + "." + std::to_string(number % 200 + 1);
}

}  // namespace latchkey::attacks
