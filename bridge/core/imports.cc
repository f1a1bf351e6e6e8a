// See imports.h.
#include "bridge/core/imports.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bridge/core/journal.h"
#include "proto/state.h"

namespace latchkey::bridge {

namespace {

constexpr size_t kWhoBytesMax = 64;

using Taken = std::map<std::pair<CarRef, Group>, std::vector<v1::StateGroup>>;

Told ToldOf(const ImportBegin& begin) {
  return {"import_begins", LineOf(begin.who, kWhoBytesMax),
          begin.source + ": " + std::to_string(begin.records) + " records"};
}

Journal JournalOf(const ImportEnd& end, Timestamp now) {
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(std::max<int64_t>(0, now.ms)));
  entry.set_event("imported");
  entry.set_who(LineOf(end.who, kWhoBytesMax));
  entry.set_note(LineOf(end.source + ": " + std::to_string(end.taken) + " taken, " +
                            std::to_string(end.changed) + " taken changed, " +
                            std::to_string(end.unchanged) + " unchanged, " +
                            std::to_string(end.refused) + " refused",
                        kLogNoteBytesMax));
  return Journal{std::move(entry)};
}

}  // namespace

bool TakeImport(const ImportParts& parts, const Import& import, const Now& now, Effects& out) {
  ImportAnswer answer{import.id, {}, 0, 0};
  Taken taken;
  bool any = false;
  for (const ImportedState& state : import.states) {
    StateImported& said = answer.states.emplace_back();
    if (answer.states.size() > kImportStatesMax || parts.fleets.count(state.ref.fleet) == 0) {
      said = {StateImported::Word::kRefused, answer.states.size() > kImportStatesMax
                                                 ? v1::REASON_TOO_LARGE
                                                 : v1::REASON_NOT_ALLOWED};
      continue;
    }
    said = parts.last_known.Imported(state, now, out);
    if (said.word != StateImported::Word::kTaken) {
      continue;
    }
    any = true;
    const Result<v1::StateGroup> parsed = ParseState(state.payload, state.group);
    LK_ASSERT(parsed);
    if (parts.history.Reaches(Timestamp{VersionOf(*parsed).observed_at_ms}, now.wall)) {
      taken[{state.ref, state.group}].push_back(*parsed);
    } else {
      ++answer.history_old;
    }
  }
  for (const auto& [name, states] : taken) {
    if (parts.history.Imported(name.first, name.second, states, now, out)) {
      answer.history_kept += states.size();
    }
  }
  if (import.begin) {
    out.emplace_back(latchkey::bridge::JournalOf(ToldOf(*import.begin), now.wall));
  }
  if (import.end) {
    out.emplace_back(JournalOf(*import.end, now.wall));
  }
  out.emplace_back(std::move(answer));
  return any;
}

}  // namespace latchkey::bridge
