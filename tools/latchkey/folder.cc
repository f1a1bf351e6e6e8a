// The data folder on disk. Secrets are written with their mode from the start: a key is never
// readable by others, not even between two system calls.
#include "tools/latchkey/folder.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

tl::unexpected<Error> Broken(const char* what, const fs::path& path, int error) {
  return Fail(v1::REASON_STORE_UNAVAILABLE, std::string(what) + " " + path.string() + ": " +
                                                std::generic_category().message(error));
}

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}

  ~Descriptor() {
    if (number_ >= 0) {
      ::close(number_);
    }
  }

  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }

 private:
  int number_;
};

Result<void> WriteAll(const Descriptor& file, const fs::path& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.number(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written < 0) {
      return Broken("cannot write", path, errno);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (::fsync(file.number()) != 0) {
    return Broken("cannot sync", path, errno);
  }
  return {};
}

bool ValidPort(const nlohmann::json& json, const char* key) {
  const auto port = json.find(key);
  return port != json.end() && port->is_number_integer() && port->get<int64_t>() >= 1 &&
         port->get<int64_t>() <= 65535;
}

bool IsBroker(const nlohmann::json& json) {
  return json.is_object() && json.contains("name") && json["name"].is_string() &&
         json.contains("host") && json["host"].is_string() && ValidPort(json, "phone_port") &&
         ValidPort(json, "car_port");
}

bool BrokersAreGood(const nlohmann::json& cell) {
  const bool named = !cell.contains("broker") || cell["broker"].is_string();
  const auto others = cell.find("brokers");
  return named && (others == cell.end() ||
                   (others->is_array() && std::all_of(others->begin(), others->end(), IsBroker)));
}

}  // namespace

Folder::Folder(fs::path root) : root_(std::move(root)) {
  std::error_code ignored;  // LoadCell and ReadFile say what is wrong with a path
  const fs::path absolute = fs::absolute(root_, ignored);
  if (!ignored) {
    root_ = absolute.lexically_normal();
  }
  if (!root_.has_filename() && root_.has_parent_path()) {
    root_ = root_.parent_path();  // "demo/" is "demo"
  }
}

fs::path Folder::CellCa() const {
  return root_ / "ca" / "cell.pem";
}

fs::path Folder::Broker() const {
  return root_ / "broker";
}

fs::path Folder::Bridge() const {
  return root_ / "bridge";
}

fs::path Folder::Fleet(const FleetId& fleet) const {
  return root_ / "fleets" / fleet.str();
}

fs::path Folder::Car(const CarRef& ref) const {
  return root_ / "cars" / ref.fleet.str() / ref.car.str();
}

fs::path Folder::Phone(std::string_view name) const {
  return root_ / "phones" / std::string(name);
}

fs::path Folder::Operator(const FleetId& fleet, std::string_view name) const {
  return root_ / "operators" / fleet.str() / std::string(name);
}

Result<Cell> Folder::LoadCell() const {
  const fs::path path = root_ / "cell.json";
  const Result<std::string> text = ReadFile(path);
  if (!text) {
    return Fail(v1::REASON_MALFORMED, "no cell in " + root_.string() + " (" + text.error().text +
                                          "): make one with `latchkey fleet init FLEET`, or "
                                          "name another folder with --data");
  }
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  const bool good = json.is_object() && json.contains("name") && json["name"].is_string() &&
                    json.contains("host") && json["host"].is_string() &&
                    ValidPort(json, "phone_port") && ValidPort(json, "car_port") &&
                    ValidPort(json, "http_port") && BrokersAreGood(json);
  if (!good) {
    return Fail(v1::REASON_MALFORMED, path.string() +
                                          " is not a cell's description: restore it, or remove it "
                                          "and run `latchkey fleet init FLEET`");
  }
  Cell cell{json["name"],     json["host"],      json["phone_port"],
            json["car_port"], json["http_port"], json.value("broker", std::string())};
  if (json.contains("brokers")) {
    for (const nlohmann::json& other : json["brokers"]) {
      LK_ASSERT(IsBroker(other));
      cell.others.push_back({other["name"], other["host"], other["phone_port"], other["car_port"]});
    }
  }
  return cell;
}

Result<void> Folder::SaveCell(const Cell& cell) const {
  nlohmann::ordered_json json = {{"name", cell.name},
                                 {"host", cell.host},
                                 {"phone_port", cell.phone_port},
                                 {"car_port", cell.car_port},
                                 {"http_port", cell.http_port}};
  if (!cell.broker.empty()) {
    json["broker"] = cell.broker;
  }
  for (const CellBroker& other : cell.others) {
    json["brokers"].push_back({{"name", other.name},
                               {"host", other.host},
                               {"phone_port", other.phone_port},
                               {"car_port", other.car_port}});
  }
  return WriteFile(root_ / "cell.json", json.dump(2) + "\n", Secrecy::kPublic);
}

FileLock::FileLock(const fs::path& path, Patience patience)
    : number_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)),
      error_(number_ < 0 ? errno : 0) {
  const int how = LOCK_EX | (patience == Patience::kTry ? LOCK_NB : 0);
  while (number_ >= 0 && ::flock(number_, how) != 0) {
    if (errno != EINTR) {
      error_ = errno;
      ::close(number_);
      number_ = -1;
    }
  }
}

FileLock::~FileLock() {
  if (number_ >= 0) {
    ::close(number_);
  }
}

Result<FleetId> ParseFleet(const std::string& text) {
  const std::optional<FleetId> fleet = FleetId::Parse(text);
  if (!fleet) {
    return Fail(v1::REASON_MALFORMED, "fleet \"" + text + "\" is not 1 to 32 of a-z, 0-9 and '-'");
  }
  return *fleet;
}

Result<std::string> ReadFile(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.number() < 0) {
    return Broken("cannot read", path, errno);
  }
  std::string bytes;
  char block[65536];
  for (;;) {
    const ssize_t count = ::read(file.number(), block, sizeof block);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return Broken("cannot read", path, errno);
    }
    if (count == 0) {
      return bytes;
    }
    bytes.append(block, static_cast<size_t>(count));
  }
}

Result<void> WriteFile(const fs::path& path, std::string_view bytes, Secrecy secrecy) {
  std::error_code error;
  const fs::path folder = path.parent_path();
  if (!folder.empty() && !fs::exists(folder, error)) {
    const mode_t before = ::umask(077);
    fs::create_directories(folder, error);
    ::umask(before);
    if (error) {
      return Broken("cannot make folder", folder, error.value());
    }
  }
  const fs::path next = path.string() + ".new." + std::to_string(::getpid());
  {
    const mode_t mode = secrecy == Secrecy::kSecret ? 0600 : 0644;
    const Descriptor file(
        ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
    if (file.number() < 0) {
      return Broken("cannot write", next, errno);
    }
    ::fchmod(file.number(), mode);
    const Result<void> written = WriteAll(file, next, bytes);
    if (!written) {
      ::unlink(next.c_str());
      return written;
    }
  }
  if (::rename(next.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(next.c_str());
    return Broken("cannot replace", path, why);
  }
  const Descriptor parent(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.number() >= 0) {
    ::fsync(parent.number());
  }
  return {};
}

}  // namespace latchkey::cli
