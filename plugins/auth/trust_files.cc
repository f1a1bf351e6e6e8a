// Stamps are taken before the files are read, so that a change during the reading is seen next
// time.
#include "plugins/auth/trust_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include <sys/stat.h>

#include "proto/certificate.h"

namespace latchkey::auth {

namespace {

constexpr std::string_view kPem = ".pem";
constexpr std::string_view kCrlPem = ".crl.pem";

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return file ? std::optional(text.str()) : std::nullopt;
}

Result<std::string> ReadCa(const std::string& path) {
  const std::optional<std::string> text = ReadFile(path);
  if (!text) {
    return Fail(v1::REASON_MALFORMED, "CA file " + path + " cannot be read: check it");
  }
  Result<std::string> der = PemToDer(*text);
  if (!der) {
    return Fail(der.error().reason, "CA file " + path + ": " + der.error().text);
  }
  return der;
}

// The CA's list in force, if it is of this very CA.
const Revocations* ListBefore(const std::string* ca_before, const std::string& ca,
                              const Revocations* list) {
  const bool any = list != nullptr && (list->this_update.ms != 0 || !list->serials.empty());
  return any && ca_before != nullptr && *ca_before == ca ? list : nullptr;
}

// The list at `path`, or the one before with a complaint. Error: it cannot be read and there is
// none before. A file that never was is an empty list.
Result<Revocations> ReadList(const std::string& path, const std::string& ca,
                             const Revocations* before, std::vector<std::string>& complaints) {
  std::error_code failed;
  const bool missing = !std::filesystem::exists(path, failed) && !failed;
  if (missing && before == nullptr) {
    return Revocations();
  }
  const std::optional<std::string> text = missing ? std::nullopt : ReadFile(path);
  Result<Revocations> list =
      text ? ReadRevocations(*text, ca)
           : Result<Revocations>(Fail(v1::REASON_MALFORMED, missing ? "is gone: put it back"
                                                                    : "cannot be read: check it"));
  if (list && before != nullptr && list->number < before->number) {
    list = Fail(v1::REASON_OLDER_VERSION,
                "number " + std::to_string(list->number) + " is older than number " +
                    std::to_string(before->number) + ", which is in force");
  }
  if (list) {
    return list;
  }
  const std::string what = "revocation list " + path + ": " + list.error().text;
  if (before == nullptr) {
    return Fail(list.error().reason, what);
  }
  complaints.push_back(what + "; the list before stays in force");
  return *before;
}

}  // namespace

struct TrustFiles::Reading {
  TrustRead read;
  Timestamp now;

  void WarnIfOld(const Revocations& list, const std::string& path) {
    if (list.next_update && now >= *list.next_update) {
      read.complaints.push_back("revocation list " + path +
                                ": is past its next update and still used; make a new one");
    }
  }
};

TrustFiles::Stamp TrustFiles::StampOf(const std::string& path) {
  Stamp stamp{path, 0, 0, 0, 0};
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0) {
    constexpr int64_t kNanos = 1'000'000'000;
    stamp.inode = status.st_ino;
    stamp.size = status.st_size;
    stamp.modified_ns = status.st_mtim.tv_sec * kNanos + status.st_mtim.tv_nsec;
    stamp.changed_ns = status.st_ctim.tv_sec * kNanos + status.st_ctim.tv_nsec;
  }
  return stamp;
}

bool TrustFiles::Changed() const {
  return std::any_of(stamps_.begin(), stamps_.end(),
                     [](const Stamp& stamp) { return StampOf(stamp.path) != stamp; });
}

Result<std::vector<std::string>> TrustFiles::ListFolder() const {
  std::vector<std::string> paths;
  std::error_code failed;
  for (std::filesystem::directory_iterator it(paths_.fleet_ca_dir, failed), end;
       !failed && it != end; it.increment(failed)) {
    if (EndsWith(it->path().string(), kPem)) {
      paths.push_back(it->path().string());
    }
  }
  if (failed) {
    return Fail(v1::REASON_MALFORMED,
                "fleet_ca_dir " + paths_.fleet_ca_dir + " cannot be listed: " + failed.message());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Result<void> TrustFiles::ReadFleet(const std::string& path, const Trust* before,
                                   Reading& reading) const {
  Trust& trust = reading.read.trust;
  std::vector<std::string>& complaints = reading.read.complaints;
  const std::string fleet = std::filesystem::path(path).stem().string();
  if (!FleetRule::Valid(fleet)) {
    const std::string what = path + " is not named after a fleet: rename or remove it";
    if (before == nullptr) {
      return Fail(v1::REASON_MALFORMED, what);
    }
    complaints.push_back(what);
    return {};
  }
  const std::string* ca_before = before == nullptr ? nullptr : before->FindFleetCa(fleet);
  Result<std::string> ca = ReadCa(path);
  if (!ca && before == nullptr) {
    return tl::unexpected<Error>(ca.error());
  }
  if (!ca) {
    complaints.push_back(ca.error().text + (ca_before == nullptr
                                                ? "; the fleet is not taken over"
                                                : "; the CA before stays in force"));
    if (ca_before == nullptr) {
      return {};
    }
    ca = *ca_before;
  }
  const std::string crl = path.substr(0, path.size() - kPem.size()) + std::string(kCrlPem);
  const Revocations* list_before =
      before == nullptr ? nullptr : ListBefore(ca_before, *ca, before->FindFleetRevoked(fleet));
  Result<Revocations> list = ReadList(crl, *ca, list_before, complaints);
  if (!list) {
    complaints.push_back(list.error().text + "; fleet " + fleet +
                         " is not taken over: nobody knows whom it has revoked");
    return {};
  }
  reading.WarnIfOld(*list, crl);
  trust.fleet_cas[fleet] = std::move(*ca);
  trust.fleet_revoked[fleet] = std::move(*list);
  return {};
}

Result<TrustRead> TrustFiles::Read(const Trust* before, Timestamp now) {
  std::vector<Stamp> stamps = {StampOf(paths_.cell_ca), StampOf(paths_.fleet_ca_dir)};
  if (!paths_.cell_crl.empty()) {
    stamps.push_back(StampOf(paths_.cell_crl));
  }
  Result<std::vector<std::string>> listed = ListFolder();
  if (listed) {
    for (const std::string& path : *listed) {
      stamps.push_back(StampOf(path));
    }
  }
  // Also when this reading fails: it is tried again when something changes, not all the time.
  stamps_ = std::move(stamps);
  LK_TRY(const std::vector<std::string> paths, std::move(listed));
  Reading reading{{}, now};
  Trust& trust = reading.read.trust;
  trust.cell = paths_.cell;
  LK_TRY(trust.cell_ca, ReadCa(paths_.cell_ca));
  if (!paths_.cell_crl.empty()) {
    const Revocations* list_before =
        before == nullptr ? nullptr
                          : ListBefore(&before->cell_ca, trust.cell_ca, &before->cell_revoked);
    LK_TRY(trust.cell_revoked,
           ReadList(paths_.cell_crl, trust.cell_ca, list_before, reading.read.complaints));
    reading.WarnIfOld(trust.cell_revoked, paths_.cell_crl);
  }
  for (const std::string& path : paths) {
    if (!EndsWith(path, kCrlPem)) {
      LK_CHECK(ReadFleet(path, before, reading));
    }
  }
  return std::move(reading.read);
}

}  // namespace latchkey::auth
