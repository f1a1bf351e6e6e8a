// See place.h.
#include "tools/bench/place.h"

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

namespace fs = std::filesystem;

constexpr const char* kFleet = "bench";
constexpr const char* kCell = "bench";

fs::path BesideProgram(const fs::path& relative) {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/exe", ignored).parent_path().parent_path() / relative;
}

Result<fs::path> MakeFolder(std::string name) {
  if (::mkdtemp(name.data()) == nullptr) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "cannot make " + name + ": " + std::generic_category().message(errno));
  }
  return fs::path(name);
}

Result<fs::path> FindPlugins(const fs::path& wished) {
  std::error_code ignored;
  fs::path found = wished;
  if (found.empty()) {
    const fs::path beside = BesideProgram("plugins");
    found = fs::exists(beside, ignored) ? beside : fs::path("/usr/lib/latchkey");
  }
  found = fs::absolute(found, ignored).lexically_normal();
  for (const char* plugin : {"latchkey_auth.so", "latchkey_guard.so"}) {
    if (!fs::exists(found / plugin, ignored)) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  (found / plugin).string() +
                      " is not there: build it or name its folder with --plugin-dir");
    }
  }
  return found;
}

}  // namespace

Result<std::unique_ptr<Place>> Place::Make(const PlaceWish& wish) {
  LK_TRY(const fs::path plugins, FindPlugins(wish.plugins));
  std::error_code error;
  const bool keep = !wish.keep.empty();
  const fs::path parent = keep ? fs::absolute(wish.keep, error) : fs::temp_directory_path(error);
  fs::create_directories(parent, error);
  LK_TRY(const fs::path root, MakeFolder((parent / "latchkey-bench-XXXXXX").string()));
  std::unique_ptr<Place> place(new Place(root, keep, plugins, FleetId::Parse(kFleet).value()));
  cli::CellWish cell;
  cell.name = kCell;
  cell.plugins = plugins;
  LK_TRY(place->cell_, cli::MakeCell(place->folder_, place->fleet_, cell, cli::ReadClocks().wall));
  LK_TRY(place->fleet_ca_, cli::LoadIssued(place->folder_.Fleet(place->fleet_), "ca"));
  LK_TRY(place->cell_ca_, cli::LoadIssued(root / "ca", "cell"));
  return place;
}

Place::~Place() {
  if (!kept_) {
    std::error_code ignored;
    fs::remove_all(root(), ignored);
  }
}

fs::path Place::BridgeProgram() const {
  std::error_code ignored;
  const fs::path beside = BesideProgram("bin/latchkey-bridge");
  return fs::exists(beside, ignored) ? beside : fs::path("latchkey-bridge");
}

Result<fs::path> Place::NewFolder(const std::string& name) const {
  return MakeFolder((root() / (name + "-" + std::to_string(folders_++) + "-XXXXXX")).string());
}

}  // namespace latchkey::bench
