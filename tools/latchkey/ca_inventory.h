// What the CAs of a data folder have issued and revoked, and the revocation lists the broker reads.
//
//   fleets/{fleet}/issued/{serial}.pem   each certificate issued, serial in lower-case hex
//   fleets/{fleet}/revoked.json          what was revoked when, and the number of the last list
//   broker/fleets/{fleet}.crl.pem        the list made of it, signed by the fleet's CA
//   ca/issued/, ca/revoked.json, broker/cell.crl.pem      the same for the cell's CA
//
// In a folder that is older than the inventory the certificates that cars, operators and the bridge
// hold themselves count as issued.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proto/certificate.h"
#include "proto/result.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/ca/ca.h"
#include "tools/latchkey/folder.h"

namespace latchkey::cli {

// Days a certificate lives when nobody says otherwise.
inline constexpr int kCarDays = 730;
inline constexpr int kOperatorDays = 365;
inline constexpr int kRegistrarDays = 90;
// Days until a revocation list asks for its successor.
inline constexpr int kListDays = 30;

// One CA of the folder and where its papers are.
struct Authority {
  std::string name;              // "fleet demo", "the cell"
  std::filesystem::path folder;  // {stem}.pem and {stem}.key
  std::string stem;
  std::filesystem::path issued;                // folder
  std::filesystem::path revoked;               // revoked.json
  std::filesystem::path list;                  // the CRL
  std::vector<std::filesystem::path> holders;  // folders searched for certificates held, too
};

Authority FleetAuthority(const Folder& folder, const FleetId& fleet);
Authority CellAuthority(const Folder& folder);
// Whose CA signs such an identity.
Authority AuthorityOf(const Folder& folder, const CertificateIdentity& identity);

// The CA's certificate and key. Error REASON_MALFORMED: no such fleet or cell; the text says how it
// is made.
Result<tools::Issued> LoadCa(const Authority& authority);

// A certificate for a new key, kept in the inventory before it is given away. It ends no later than
// the CA. Errors as LoadCa and IssueClient; REASON_BAD_CERTIFICATE: the CA ends within a day.
Result<tools::Issued> IssueAndKeep(const Folder& folder, const CertificateIdentity& identity,
                                   Timestamp now, int days);
// Days that a certificate issued now may live: `days`, or what is left of the CA. Error
// REASON_BAD_CERTIFICATE: less than one.
Result<int> DaysWithin(const tools::Issued& ca, Timestamp now, int days);
// Writes {issued}/{serial}.pem.
Result<void> KeepIssued(const Authority& authority, const std::string& certificate_pem);

// Lower-case hex; and back, from either case, with or without colons and leading zeros. nullopt:
// not 1 to 20 bytes of hex.
std::string SerialText(std::string_view serial);
std::optional<std::string> ParseSerial(std::string_view text);

// Certificates of `folder`'s *.pem that `seen` does not name yet; adds their names. Files that hold
// no Latchkey certificate are named and skipped. A folder that is not there has none.
std::vector<Certificate> ReadNewCertificates(const std::filesystem::path& folder,
                                             std::set<std::string>& seen);
// Copies the certificates of `folder` that the inventory lacks into it: a renewal replaces what a
// car holds, and what was issued must stay revocable.
void Adopt(const Authority& authority, const std::filesystem::path& folder);
// Adopts what all holders hold.
void AdoptHeld(const Authority& authority);
// Every certificate known, each serial once, by identity and end.
std::vector<Certificate> ListCertificates(const Authority& authority);

// What is revoked, with times.
struct RevokedList {
  uint64_t number = 0;  // of the last list written
  std::vector<tools::Revoked> entries;

  // nullptr: not revoked.
  const tools::Revoked* Find(std::string_view serial) const;
};

// Empty when nothing was ever revoked. Error REASON_MALFORMED: the file is broken (nothing is
// forgotten silently).
Result<RevokedList> LoadRevoked(const Authority& authority);

// Revokes `serials` (those revoked already keep their time) and writes the next list, also when
// there is nothing new: that renews its time. One process at a time. Errors as LoadCa, LoadRevoked
// and WriteFile.
Result<RevokedList> Revoke(const Authority& authority, const std::vector<std::string>& serials,
                           Timestamp now);

}  // namespace latchkey::cli
