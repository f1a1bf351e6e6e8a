// See contacts_folder.h.
#include "bridge/contacts_folder.h"

#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "proto/phone_number.h"
#include "proto/sms.h"
#include "proto/types.h"

namespace latchkey::bridge {

namespace {

namespace fs = std::filesystem;

constexpr size_t kContactBytesMax = 1024;
constexpr mode_t kOthers = 077;
constexpr auto kLookAtAllEvery = std::chrono::minutes(1);
// A folder may change twice within one tick of the file system's clock.
constexpr auto kFresh = std::chrono::seconds(5);

Result<Contact> ReadContactFile(const fs::path& path) {
  struct stat about{};
  if (::stat(path.c_str(), &about) == 0 && (about.st_mode & kOthers) != 0) {
    return Fail(v1::REASON_MALFORMED, "others can read its relay key: chmod 600 it");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(kContactBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return ReadContact(text);
}

}  // namespace

Result<Contact> ReadContact(std::string_view text) {
  const nlohmann::json json = text.size() <= kContactBytesMax
                                  ? nlohmann::json::parse(text, nullptr, false)
                                  : nlohmann::json();
  const auto word = [&](const char* name) -> std::string {
    const auto found = json.find(name);
    return found != json.end() && found->is_string() ? found->get<std::string>() : "";
  };
  if (!json.is_object() || json.size() != 2) {
    return Fail(v1::REASON_MALFORMED, "it is not {\"number\": ..., \"relay_key\": ...}");
  }
  Contact contact{word("number"), Base64UrlDecode(word("relay_key")).value_or("")};
  if (!IsPhoneNumber(contact.number)) {
    return Fail(v1::REASON_MALFORMED, "its number is not E.164: '+' and 8 to 15 digits");
  }
  if (contact.relay_key.size() != kRelayKeyBytes) {
    return Fail(v1::REASON_MALFORMED, "its relay_key is not 32 bytes as base64url");
  }
  return contact;
}

ContactsFolder::ContactsFolder(fs::path folder, LogSink log)
    : folder_(std::move(folder)), log_(std::move(log)) {}

bool ContactsFolder::Forget(const FleetId& fleet, const FleetFolder& known,
                            const std::map<CarId, Mark>& there) {
  bool changed = false;
  for (const auto& [car, mark] : known.cars) {
    if (there.count(car) == 0) {
      changed |= contacts_.erase(CarRef{fleet, car}) > 0;
    }
  }
  return changed;
}

bool ContactsFolder::LookInto(const FleetId& fleet, const fs::path& path, FleetFolder& known) {
  std::map<CarId, Mark> there;
  std::error_code error;
  fs::directory_iterator at(path, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const auto car = CarId::Parse(at->path().stem().string());
    std::error_code gone;
    const Mark mark{fs::file_size(at->path(), gone), fs::last_write_time(at->path(), gone),
                    fs::status(at->path(), gone).permissions()};
    if (car && at->path().extension() == ".json" && !gone) {
      there.emplace(*car, mark);
    }
  }
  if (error) {
    return false;  // what cannot be listed is not gone
  }
  bool changed = Forget(fleet, known, there);
  for (const auto& [car, mark] : there) {
    const auto before = known.cars.find(car);
    if (before != known.cars.end() && before->second == mark) {
      continue;
    }
    const CarRef ref{fleet, car};
    const Result<Contact> contact = ReadContactFile(path / (car.str() + ".json"));
    if (!contact) {
      log_({LogEvent::Level::kWarning,
            "contact_unusable",
            {{"car", ref.ToText()}, {"why", contact.error().text}}});
    } else if (const auto had = contacts_.find(ref);
               had == contacts_.end() || had->second != *contact) {
      contacts_.insert_or_assign(ref, *contact);
      changed = true;
    }
  }
  known.cars = std::move(there);
  return changed;
}

std::optional<Contacts> ContactsFolder::Poll() {
  const auto now = std::chrono::steady_clock::now();
  const bool all = !looked_at_all_ || now - *looked_at_all_ >= kLookAtAllEvery;
  looked_at_all_ = all ? now : looked_at_all_;
  bool changed = false;
  std::map<FleetId, fs::path> there;
  std::error_code error;
  fs::directory_iterator at(folder_, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    if (const auto fleet = FleetId::Parse(at->path().filename().string())) {
      there.emplace(*fleet, at->path());
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return std::nullopt;
  }
  for (const auto& [fleet, path] : there) {
    std::error_code gone;
    const auto written = fs::last_write_time(path, gone);
    FleetFolder& known = fleets_[fleet];
    const bool fresh = fs::file_time_type::clock::now() - written < kFresh;
    if (all || gone || fresh || written != known.written) {
      changed |= LookInto(fleet, path, known);
      known.written = written;
    }
  }
  for (auto known = fleets_.begin(); known != fleets_.end();) {
    if (there.count(known->first) > 0) {
      ++known;
      continue;
    }
    changed |= Forget(known->first, known->second, {});
    known = fleets_.erase(known);
  }
  return changed ? std::optional(contacts_) : std::nullopt;
}

}  // namespace latchkey::bridge
