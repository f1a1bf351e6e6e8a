// The files that say whom the cell believes: CAs and revocation lists. Read whole at start and
// whenever one of them changes; asking whether one changed is a stat of each and nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

#include "plugins/auth/identity.h"
#include "proto/result.h"
#include "proto/time.h"

namespace latchkey::auth {

struct TrustPaths {
  std::string cell;          // the cell's name, not a path
  std::string cell_ca;       // PEM
  std::string cell_crl;      // PEM or DER; empty: none
  std::string fleet_ca_dir;  // {fleet}.pem, and beside it {fleet}.crl.pem where there is one
};

struct TrustRead {
  Trust trust;
  std::vector<std::string> complaints;  // each: what is wrong and what is done about it
};

// Not thread-safe; used from the broker's thread.
class TrustFiles {
 public:
  explicit TrustFiles(TrustPaths paths) : paths_(std::move(paths)) {}

  // `before`: what is in force; nullptr at start. What cannot be read is as it was before, with a
  // complaint. With nothing before, a fleet whose revocation list cannot be read is not taken over,
  // for nobody knows whom it has revoked; a file of the cell, a CA that cannot be read, and a file
  // that is not named after a fleet are errors. A list that is gone or has a lower number than the
  // one in force is a complaint too: a revocation is not taken back by losing a file. `now`: lists
  // past their next update are complained of and used. Errors REASON_MALFORMED,
  // REASON_BAD_CERTIFICATE.
  Result<TrustRead> Read(const Trust* before, Timestamp now);

  // Has one of the files, or what the folder holds, changed since the last Read?
  bool Changed() const;

 private:
  // What stat says of a path; all 0: nothing is there.
  struct Stamp {
    std::string path;
    uint64_t inode = 0;
    int64_t size = 0;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };

  struct Reading;

  static Stamp StampOf(const std::string& path);
  Result<std::vector<std::string>> ListFolder() const;
  Result<void> ReadFleet(const std::string& path, const Trust* before, Reading& reading) const;

  TrustPaths paths_;
  std::vector<Stamp> stamps_;
};

}  // namespace latchkey::auth
