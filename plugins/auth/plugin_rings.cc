// The plugin's files: whom the cell believes, and the rings and blocks it holds.
#include <algorithm>
#include <utility>

#include "plugins/auth/auth_plugin.h"
#include "plugins/auth/control.h"
#include "proto/reason.h"

namespace latchkey::auth {

using broker::Level;

Result<void> AuthPlugin::TakeTrust(Now now) {
  LK_TRY(TrustRead read, trust_files_.Read(trust_.cell.empty() ? nullptr : &trust_, now.wall));
  for (const std::string& complaint : read.complaints) {
    broker_.Log(Level::kError, "latchkey trust text=" + Quoted(complaint));
  }
  const Trust before = std::exchange(trust_, std::move(read.trust));
  for (std::string& client_id : sessions_.ClientsWhere([&](const Principal& principal) {
         const std::string* ca_before = before.CaOf(principal);
         const std::string* ca = trust_.CaOf(principal);
         const bool other_ca = ca_before != nullptr && (ca == nullptr || *ca != *ca_before);
         return other_ca || trust_.Revoked(principal);
       })) {
    believed_no_more_.push_back(std::move(client_id));
  }
  FindWaitingRings(before);
  size_t revoked = trust_.cell_revoked.serials.size();
  for (const auto& [fleet, list] : trust_.fleet_revoked) {
    revoked += list.serials.size();
  }
  broker_.Log(Level::kInfo, "latchkey trust fleets=" + std::to_string(trust_.fleet_cas.size()) +
                                " revoked=" + std::to_string(revoked));
  return {};
}

// Rings in the file of fleets that were not believed until now. They are verified a few at a time,
// for the broker waits for each.
void AuthPlugin::FindWaitingRings(const Trust& before) {
  const auto is_new = [&](std::string_view fleet) {
    return before.FindFleetCa(fleet) == nullptr && trust_.FindFleetCa(fleet) != nullptr;
  };
  const bool any = std::any_of(trust_.fleet_cas.begin(), trust_.fleet_cas.end(),
                               [&](const auto& fleet) { return is_new(fleet.first); });
  if (ring_file_ == nullptr || !any) {
    return;
  }
  const Result<void> read = ring_file_->ReadAgain([&](RecordKind kind, std::string_view content) {
    const bool ring = kind == RecordKind::kRing;
    const Result<FleetId> fleet = ring ? FleetOfKeyRing(content) : Fail(v1::REASON_MALFORMED, "");
    if (fleet && is_new(fleet->str())) {
      waiting_rings_.emplace_back(content);
    }
    return Judged{Fate::kKept, {}};
  });
  if (!read) {
    broker_.Log(Level::kError, "latchkey ring_file text=" + Quoted(read.error().text));
  }
}

Judged AuthPlugin::JudgeRing(std::string_view signed_ring) {
  if (IsErasedMark(signed_ring)) {
    return {Fate::kNewest, directory_.ForgetMarked(signed_ring)};
  }
  const Result<FleetId> fleet = FleetOfKeyRing(signed_ring);
  if (fleet && trust_.FindFleetCa(fleet->str()) == nullptr) {
    broker_.Log(Level::kWarning, "latchkey ring_file fleet=" + fleet->str() +
                                     " text=\"this fleet's CA is not here: its ring is kept in the "
                                     "file and not in force\"");
    return {Fate::kKept, {}};
  }
  const Result<Applied> applied = directory_.Apply(signed_ring, trust_, std::nullopt);
  if (applied) {
    return {Fate::kNewest, applied->ref.ToText()};
  }
  if (applied.error().reason == v1::REASON_OLDER_VERSION) {
    return {Fate::kDropped, {}};
  }
  broker_.Log(Level::kError,
              "latchkey ring_file reason=" + std::string(FactsOf(applied.error().reason).word) +
                  " text=" + Quoted(applied.error().text));
  // A CA that was replaced or is wrong must not cost the file: only false bytes are dropped.
  return {applied.error().reason == v1::REASON_BAD_CERTIFICATE ? Fate::kKept : Fate::kDropped, {}};
}

Judged AuthPlugin::JudgeBlock(std::string_view record) {
  const Result<Block> block = BlockOfRecord(record);
  const Result<bool> taken = block ? directory_.blocks().Merge(*block)
                                   : Result<bool>(tl::unexpected<Error>(block.error()));
  if (taken) {
    return *taken ? Judged{Fate::kNewest, ScopeText(block->scope)} : Judged{Fate::kDropped, {}};
  }
  broker_.Log(Level::kError, "latchkey ring_file text=" + Quoted(taken.error().text));
  return {taken.error().reason == v1::REASON_FULL ? Fate::kKept : Fate::kDropped, {}};
}

Result<void> AuthPlugin::ReadRings(const std::string& path) {
  LK_TRY(ring_file_, RingFile::Open(path, [this](RecordKind kind, std::string_view content) {
           return kind == RecordKind::kRing ? JudgeRing(content) : JudgeBlock(content);
         }));
  const Opening& opening = ring_file_->opening();
  std::string line = "latchkey ring_file records=" + std::to_string(opening.records) +
                     " cars=" + std::to_string(directory_.size()) +
                     " blocks=" + std::to_string(directory_.blocks().size()) +
                     " dropped=" + std::to_string(opening.dropped) +
                     " damaged=" + std::to_string(opening.damaged) +
                     " bytes_cut=" + std::to_string(opening.bytes_cut) +
                     " rewritten=" + (opening.rewritten ? "yes" : "no");
  if (!opening.rewrite_text.empty()) {
    line += " text=" + Quoted(opening.rewrite_text);
  }
  const bool loss = opening.damaged > 0 || opening.bytes_cut > 0 || !opening.rewrite_text.empty();
  broker_.Log(loss ? Level::kError : Level::kInfo, line);
  directory_.ForEachCar([this](const CarRef& ref) { offline_at_start_.push_back(ref); });
  return {};
}

void AuthPlugin::Remember(std::string_view signed_ring, const Applied& applied, Now now) {
  if (!applied.changed) {
    return;
  }
  broker_.Log(Level::kInfo, "latchkey ring car=" + applied.ref.ToText() +
                                " version=" + std::to_string(applied.version) +
                                " keys=" + std::to_string(applied.keys) +
                                " fell_off=" + std::to_string(applied.fell_off.size()));
  // The ring is in force whether it is saved or not; only a restart before the car's next publish
  // would miss it.
  Save(RecordKind::kRing, signed_ring, applied.ref.ToText(), now);
  Kick(sessions_.ClientsOf(applied.fell_off), "its key fell off a ring");
}

bool AuthPlugin::Save(RecordKind kind, std::string_view content, const std::string& what, Now now) {
  const Result<void> added = ring_file_->Append(kind, content);
  if (!added) {
    teller_.Refuse({At::kRingFile, added.error().reason, what, {}, added.error().text}, now);
    broker_.Log(Level::kError,
                "latchkey ring_file of=" + Quoted(what) + " text=" + Quoted(added.error().text));
  }
  return added.has_value();
}

}  // namespace latchkey::auth
