// The attack suite's vocabulary: a case is one published break or one known weakness of a broker,
// tried twice. `weak` must succeed against a plain Mosquitto, a configuration as people write it,
// or a car and a service of the kind that was broken; `ours` must be refused by a real Latchkey
// cell, and shows beside the refusal that the rightful owner still gets through.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/cell.h"
#include "tests/support/process.h"
#include "tests/support/raw.h"

namespace latchkey::attacks {

using std::chrono::milliseconds;
using testing::Cell;
using testing::RawClient;
using testing::RawOptions;

inline constexpr int kNotAuthorized = 0x87;       // MQTT 5.0 section 2.4
inline constexpr int kOldNotAuthorized = 5;       // 3.1.1 CONNACK
inline constexpr int kOldSubscribeFailed = 0x80;  // 3.1.1 SUBACK

// A run saw what it must not: a weak run that failed, or a refusal that did not come.
class Surprise : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws Surprise with `otherwise` when `holds` is false.
void Expect(bool holds, const std::string& otherwise);

// Throws Surprise when `seen` is not `wanted`; `what` names it.
template <class Seen, class Wanted>
void ExpectEqual(const Seen& seen, const Wanted& wanted, const std::string& what) {
  if (!(seen == wanted)) {
    std::ostringstream text;
    text << what << ": " << seen << ", wanted " << wanted;
    throw Surprise(text.str());
  }
}

// "0x87".
std::string Hex(int code);

// A plain Mosquitto on loopback, over TLS when `lines` give it a certificate.
class PlainBroker {
 public:
  // `lines` follow the listener in its configuration, which lives in `folder`.
  PlainBroker(std::filesystem::path folder, const std::string& lines);

  void Start();
  // SIGTERM, so that it writes what it keeps, and starts again.
  void Restart();

  // A client of it. `user` is also its password's stem: "{user}-pw"; empty: anonymous.
  RawOptions As(const std::string& client_id, const std::string& user = "") const;

  testing::Process& process() { return *process_; }

  const std::filesystem::path& folder() const { return folder_; }

  int port() const { return port_; }

 private:
  std::filesystem::path folder_;
  int port_ = 0;
  testing::Transport transport_;
  std::unique_ptr<testing::Process> process_;
};

// What all cases share; started when first asked for.
class World {
 public:
  World() = default;

  // allow_anonymous true and nothing else, as found on the open Internet.
  PlainBroker& Open();
  // Users with passwords and a pattern ACL, as tutorials have it: car/%u/#, phone/%u/#.
  PlainBroker& Patterned();
  // A broker with naive_plugin.cc: an auth plugin of the kind people write.
  PlainBroker& Naive();
  // One with these lines in its configuration, for one case. `name` is its folder's.
  std::unique_ptr<PlainBroker> MakePlain(const std::string& name, const std::string& lines);

  // Fleets demo and rival, broker and bridge, shared by all cases.
  Cell& Ours();
  // A cell of the case's own, with its broker, for those that restart or damage it.
  std::unique_ptr<Cell> MakeCell(const std::vector<std::string>& fleets = {"demo"});

  // Names no other case has: "w17".
  std::string FreshName();

  // Loopback address of the attacker of this case; SetCase gives each its own.
  const std::string& address() const { return address_; }

  void SetCase(int number);

  const std::filesystem::path& folder() const { return folder_.path(); }

  // Every folder with files of ours: cells made so far.
  std::vector<std::filesystem::path> CellFolders() const { return cell_folders_; }

 private:
  testing::TempDir folder_;
  std::unique_ptr<PlainBroker> open_;
  std::unique_ptr<PlainBroker> patterned_;
  std::unique_ptr<PlainBroker> naive_;
  std::unique_ptr<Cell> ours_;
  std::vector<std::filesystem::path> cell_folders_;
  std::string address_ = "127.0.0.1";
  int named_ = 0;
};

// One run: gives the text for the table, throws Surprise.
using RunCase = std::function<std::string(World&)>;

// What a weak run shows.
enum class Weak : uint8_t {
  kSucceeds,    // the attack works there
  kRefusedToo,  // today's plain broker has the fix as well; ours is held to it all the same
};

struct Case {
  std::string name;    // snake_case, with the year where one is published
  std::string source;  // where it was published, or the section of the standard
  std::string rows;    // of the threat table, separated by spaces: "T7 T17", "CVE-2021-34434"
  RunCase weak;
  RunCase ours;
  Weak weak_shows = Weak::kSucceeds;
};

// By theme, one file each.
std::vector<Case> IdentityCases();
std::vector<Case> TokenCases();
std::vector<Case> CommandCases();
std::vector<Case> RingCases();
std::vector<Case> PairingCases();
std::vector<Case> TopicCases();
std::vector<Case> SessionCases();
std::vector<Case> ResourceCases();
std::vector<Case> DataCases();

// A row of the threat table that has no case, and why.
struct NotCovered {
  std::string row;
  std::string why;
};

// Every row there is, and those without a case.
const std::vector<std::string>& ThreatRows();
const std::vector<NotCovered>& NotCoveredRows();

}  // namespace latchkey::attacks
