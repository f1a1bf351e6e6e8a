// The manifest of a backup, as somebody brings it from another machine with a checksum that is
// right: nothing that it names lies outside the folder that is restored.
#include <algorithm>
#include <filesystem>
#include <string>

#include "tests/fuzz/fuzz.h"
#include "tools/latchkey/backup_files.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  const Result<cli::Manifest> manifest = cli::ParseManifest(input);
  if (!manifest) {
    return;
  }
  for (const cli::KeptFile& file : manifest->files) {
    const std::filesystem::path path = std::filesystem::path("/root") / file.path;
    Require(path.lexically_normal() == path && path.string().rfind("/root/", 0) == 0 &&
                file.path.find('\0') == std::string::npos,
            "a file of a backup stays inside");
  }
  const Result<cli::Manifest> again = cli::ParseManifest(cli::ManifestText(*manifest));
  Require(again && again->files.size() == manifest->files.size() &&
              again->backup == manifest->backup && again->root == manifest->root,
          "a manifest that parses is written so that it parses alike");
}

}  // namespace latchkey::fuzz
