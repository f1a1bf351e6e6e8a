// The registrar's judgement: which request for a new certificate is granted. It certifies only a
// key that the fleet's CA has certified for that very car before and that is not revoked, so a
// registrar that is asked by anybody else, or for another key, gives nothing away. No clock, no
// file, no connection.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proto/certificate.h"
#include "proto/message.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/ca/ca.h"

namespace latchkey::cli {

class Registrar {
 public:
  // What to do about one message, in this order.
  struct Answer {
    std::string keep_pem;            // not empty: keep this in the inventory first
    std::optional<Publish> publish;  // then answer
    std::string line;                // for the log
    Timestamp requested_at;          // echoed
  };

  // `days` that a new certificate lives. Error REASON_BAD_CERTIFICATE: the CA does not parse.
  static Result<Registrar> Make(FleetId fleet, tools::Issued ca, int days);

  const FleetId& fleet() const { return fleet_; }

  // A certificate issued before; those of others than cars of the fleet are ignored.
  void Learn(Certificate certificate);

  bool Knows(const CarRef& ref) const { return issued_.count(ref) > 0; }

  // All serials that are revoked now.
  void SetRevoked(std::set<std::string, std::less<>> serials) { revoked_ = std::move(serials); }

  // A message from the broker.
  Answer Handle(const Publish& message, const Now& now);
  // In place of an answer that could not be kept.
  Answer CannotKeep(const CarRef& ref, Timestamp requested_at, const std::string& why);

 private:
  // How much a car has been answered lately.
  struct Lately {
    std::optional<Instant> granted_at;
    Instant since;
    int answers = 0;
  };

  Registrar(FleetId fleet, tools::Issued ca, std::string ca_der, int days)
      : fleet_(std::move(fleet)), ca_(std::move(ca)), ca_der_(std::move(ca_der)), days_(days) {}

  Answer Refuse(const CarRef& ref, Timestamp requested_at, Reason reason, const std::string& why);
  Answer Grant(const CarRef& ref, const PublicKey& key, Timestamp requested_at, const Now& now);
  // The car's newest certificate for this key. Errors REASON_NOT_ALLOWED (never certified),
  // REASON_BAD_CERTIFICATE (a certificate of the key is revoked, or none is good now).
  Result<const Certificate*> Newest(const CarRef& ref, const PublicKey& key, Timestamp now) const;
  // False: the car is told nothing more for a while.
  bool MayAnswer(const CarRef& ref, Instant now);

  FleetId fleet_;
  tools::Issued ca_;
  std::string ca_der_;
  int days_;
  std::map<CarRef, std::vector<Certificate>> issued_;
  std::set<std::string, std::less<>> revoked_;
  std::map<CarRef, Lately> lately_;
};

}  // namespace latchkey::cli
