// The folder with the CA certificate of each fleet, {fleet}.pem, and what changed in it: a fleet
// added while the bridge runs is served without a restart.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "bridge/core/step.h"
#include "bridge/runner.h"
#include "proto/result.h"

namespace latchkey::bridge {

// One thread.
class CaFolder {
 public:
  CaFolder(std::filesystem::path folder, LogSink log);

  // Everything in it, at start. Error REASON_BAD_CERTIFICATE: the folder cannot be read, or a file
  // in it is not named after a fleet or holds no certificate.
  Result<FleetCas> Read();
  // nullopt: the same as last time. Looks at names, sizes and times alone unless these changed. A
  // file that cannot be used is said in the log once and its fleet's CA stays what it was; a
  // fleet whose file is gone keeps its CA until the bridge starts again.
  std::optional<FleetCas> Poll();

 private:
  struct Mark {
    std::uintmax_t size = 0;
    std::filesystem::file_time_type written;
    bool operator==(const Mark&) const = default;
  };

  using Marks = std::map<std::filesystem::path, Mark>;

  Result<Marks> Look() const;
  // Puts the CA of one file into `cas`.
  static Result<void> ReadFile(const std::filesystem::path& path, FleetCas& cas);

  const std::filesystem::path folder_;
  const LogSink log_;
  Marks marks_;
  FleetCas cas_;
};

}  // namespace latchkey::bridge
