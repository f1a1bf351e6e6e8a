// Where the bench works: a folder of its own with a cell in it (CAs, the broker's certificate,
// configurations), made as `latchkey fleet init` makes one, and removed at the end.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "proto/result.h"
#include "proto/types.h"
#include "tools/ca/ca.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/folder.h"

namespace latchkey::bench {

struct PlaceWish {
  std::filesystem::path keep;  // a folder to work below and to leave; empty: a temporary one
  std::filesystem::path
      plugins;  // folder of the broker's plugins; empty: as `fleet init` takes them
};

// One thread.
class Place {
 public:
  // Errors of cli::MakeCell, and REASON_STORE_UNAVAILABLE: no folder, or no plugins in theirs.
  static Result<std::unique_ptr<Place>> Make(const PlaceWish& wish);
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  const std::filesystem::path& root() const { return folder_.root(); }

  const cli::Folder& folder() const { return folder_; }

  const cli::Cell& cell() const { return cell_; }

  const FleetId& fleet() const { return fleet_; }

  const tools::Issued& fleet_ca() const { return fleet_ca_; }

  const tools::Issued& cell_ca() const { return cell_ca_; }

  // PEM of the CA that signed the broker's certificate: whom clients believe.
  std::filesystem::path ca_file() const { return folder_.CellCa(); }

  const std::filesystem::path& plugins() const { return plugins_; }

  // The bridge's program, beside this one or as installed.
  std::filesystem::path BridgeProgram() const;

  // A new, empty folder below root() whose name begins with `name`. Error
  // REASON_STORE_UNAVAILABLE.
  Result<std::filesystem::path> NewFolder(const std::string& name) const;

 private:
  Place(std::filesystem::path root, bool kept, std::filesystem::path plugins, FleetId fleet)
      : folder_(std::move(root)),
        kept_(kept),
        plugins_(std::move(plugins)),
        fleet_(std::move(fleet)) {}

  cli::Folder folder_;
  bool kept_;
  std::filesystem::path plugins_;
  FleetId fleet_;
  cli::Cell cell_;
  tools::Issued fleet_ca_;
  tools::Issued cell_ca_;
  mutable size_t folders_ = 0;
};

// Two ports of loopback that are free.
inline Result<std::pair<int, int>> FreePorts() {
  return cli::TwoPorts(0, 0);
}

}  // namespace latchkey::bench
