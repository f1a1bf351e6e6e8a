// Walks the data folder for everything that has an end.
#include "tools/latchkey/ca_expiry.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

#include "proto/certificate.h"
#include "proto/types.h"
#include "tools/latchkey/ca_inventory.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr Duration kDay = std::chrono::hours(24);

std::vector<fs::path> FoldersIn(const fs::path& parent) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory(error)) {
      found.push_back(it->path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

class Walk {
 public:
  Walk(const Folder& folder, Timestamp now) : folder_(folder), now_(now) {}

  std::vector<Expiry> Run() {
    const std::string init = "`latchkey fleet init FLEET` renews it; then restart ";
    Certificate(folder_.CellCa(), "the cell's CA",
                "make a new cell CA and new server and bridge certificates");
    Certificate(folder_.Broker() / "server.pem", "the broker", init + "the broker");
    Certificate(folder_.Bridge() / "bridge.pem", "the bridge", init + "the bridge");
    List(CellAuthority(folder_), "`latchkey ca crl`");
    for (const fs::path& fleet : FoldersIn(folder_.root() / "fleets")) {
      const std::string name = fleet.filename().string();
      const auto id = FleetId::Parse(name);
      if (!id) {
        continue;
      }
      Certificate(fleet / "ca.pem", "the CA of fleet " + name,
                  "make a new fleet and give its cars certificates of it");
      Certificate(fleet / "registrar" / "registrar.pem", "the registrar of fleet " + name,
                  "`latchkey ca serve --fleet " + name + "` renews it");
      List(FleetAuthority(folder_, *id), "`latchkey ca crl --fleet " + name + "`");
      Holders(folder_.root() / "cars" / name, "car.pem", "car " + name + "/",
              "let the car connect while `latchkey ca serve --fleet " + name + "` runs");
      Holders(folder_.root() / "operators" / name, "operator.pem", "operator " + name + "/",
              "`latchkey operator add` again");
    }
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Expiry& a, const Expiry& b) { return a.ends < b.ends; });
    return std::move(found_);
  }

 private:
  void Certificate(const fs::path& file, const std::string& whose, const std::string& next) {
    std::error_code ignored;
    if (!fs::exists(file, ignored)) {
      return;
    }
    const Result<std::string> pem = ReadFile(file);
    const Result<std::string> der =
        pem ? PemToDer(*pem) : Result<std::string>(tl::unexpected<Error>(pem.error()));
    const Result<Timestamp> ends =
        der ? EndOf(*der) : Result<Timestamp>(tl::unexpected<Error>(der.error()));
    if (!ends || *ends < now_ + kWarnDays * kDay) {
      found_.push_back({"certificate of " + whose, file, ends.value_or(Timestamp{}), next});
    }
  }

  void Holders(const fs::path& parent, const char* file, const std::string& whose,
               const std::string& next) {
    for (const fs::path& holder : FoldersIn(parent)) {
      Certificate(holder / file, whose + holder.filename().string(), next);
    }
  }

  void List(const Authority& authority, const std::string& next) {
    std::error_code ignored;
    if (!fs::exists(authority.list, ignored)) {
      return;
    }
    const Result<std::string> ca = ReadFile(authority.folder / (authority.stem + ".pem"));
    const Result<std::string> ca_der =
        ca ? PemToDer(*ca) : Result<std::string>(tl::unexpected<Error>(ca.error()));
    const Result<std::string> bytes = ReadFile(authority.list);
    const auto list = ca_der && bytes ? ReadRevocations(*bytes, *ca_der)
                                      : Result<Revocations>(Fail(v1::REASON_MALFORMED, ""));
    if (!list || (list->next_update && *list->next_update <= now_)) {
      found_.push_back({"revocation list of " + authority.name, authority.list,
                        list ? *list->next_update : Timestamp{}, next});
    }
  }

  const Folder& folder_;
  const Timestamp now_;
  std::vector<Expiry> found_;
};

std::string Days(int64_t count) {
  return std::to_string(count) + (count == 1 ? " day" : " days");
}

}  // namespace

std::vector<Expiry> EndingSoon(const Folder& folder, Timestamp now) {
  return Walk(folder, now).Run();
}

std::string EndText(Timestamp ends, Timestamp now) {
  if (ends.ms == 0) {
    return "cannot be read";
  }
  const int64_t days = (now > ends ? now - ends : ends - now) / kDay;
  if (now > ends) {
    return days == 0 ? "ended today" : "ended " + Days(days) + " ago";
  }
  return days == 0 ? "ends within a day" : "ends in " + Days(days);
}

}  // namespace latchkey::cli
