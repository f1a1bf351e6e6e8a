// The store of a story (story.h): what was written, by the text of its key; what of it a power cut
// leaves; and all samples of history that are in it, as text.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "bridge/core/bridge.h"
#include "bridge/core/history_chunk.h"
#include "bridge/core/step.h"
#include "bridge/core/story_parts.h"
#include "storage/records.h"

namespace latchkey::bridge {

// What the store holds: key text -> record. `durable` is what a power cut leaves.
struct StoryStore {
  // Records that no core is made from again, and what forgets them.
  static bool IsHistory(const storage::Change& change) {
    return std::holds_alternative<storage::HistoryRecord>(change) ||
           std::holds_alternative<storage::EraseHistory>(change) ||
           std::holds_alternative<storage::SessionRecord>(change) ||
           std::holds_alternative<storage::EraseSessions>(change);
  }

  static std::string KeyOf(const storage::Change& change) {
    if (const auto* state = std::get_if<storage::StateRecord>(&change)) {
      return "state " + state->ref.ToText() + " " + std::string(ToText(state->group));
    }
    if (const auto* ring = std::get_if<storage::RingRecord>(&change)) {
      return "ring " + ring->ref.ToText();
    }
    if (const auto* presence = std::get_if<storage::PresenceRecord>(&change)) {
      return "presence " + presence->ref.ToText();
    }
    if (const auto* command = std::get_if<storage::CommandRecord>(&change)) {
      return "command " + command->ref.ToText() + " " + command->id.ToText();
    }
    if (const auto* block = std::get_if<storage::BlockRecord>(&change)) {
      return "block " + TextOf(block->block.scope) + block->block.scope.key.str();
    }
    if (const auto* block = std::get_if<storage::EraseBlock>(&change)) {
      return "block " + TextOf(block->scope) + block->scope.key.str();
    }
    if (const auto* wake = std::get_if<storage::WakeRecord>(&change)) {
      return "wake " + wake->ref.ToText();
    }
    const auto& erase = std::get<storage::EraseCommand>(change);
    return "command " + erase.ref.ToText() + " " + erase.id.ToText();
  }

  static storage::Record RecordOf(const storage::Change& change) {
    if (const auto* state = std::get_if<storage::StateRecord>(&change)) {
      return *state;
    }
    if (const auto* ring = std::get_if<storage::RingRecord>(&change)) {
      return *ring;
    }
    if (const auto* presence = std::get_if<storage::PresenceRecord>(&change)) {
      return *presence;
    }
    if (const auto* block = std::get_if<storage::BlockRecord>(&change)) {
      return *block;
    }
    if (const auto* wake = std::get_if<storage::WakeRecord>(&change)) {
      return *wake;
    }
    return std::get<storage::CommandRecord>(change);
  }

  // In the order of their times.
  static std::string HistoryKey(const CarRef& ref, Group group, Timestamp begins_at) {
    return "history " + ref.ToText() + " " + std::string(ToText(group)) + " " +
           storage::LogKey(static_cast<uint64_t>(begins_at.ms) + 1);
  }

  // One turn of the runner: all its writes, and a sync when one is durable.
  void Commit(const Effects& effects) {
    bool sync = false;
    for (const Effect& effect : effects) {
      if (const auto* write = std::get_if<Write>(&effect)) {
        sync = sync || write->durable;
        if (const auto* session = std::get_if<storage::SessionRecord>(&write->change)) {
          sessions.push_back(*session);
        }
        if (const auto* erase = std::get_if<storage::EraseHistory>(&write->change)) {
          const std::string begin = HistoryKey(erase->ref, erase->group, {0});
          current.erase(current.lower_bound(begin),
                        current.lower_bound(HistoryKey(erase->ref, erase->group, erase->before)));
          continue;
        }
        if (const auto* chunk = std::get_if<storage::HistoryRecord>(&write->change)) {
          current.insert_or_assign(HistoryKey(chunk->ref, chunk->group, chunk->begins_at), *chunk);
          continue;
        }
        if (const auto* car = std::get_if<storage::EraseCar>(&write->change)) {
          EraseCar(car->ref);
          continue;
        }
        if (IsHistory(write->change)) {
          continue;
        }
        if (std::holds_alternative<storage::EraseCommand>(write->change) ||
            std::holds_alternative<storage::EraseBlock>(write->change)) {
          current.erase(KeyOf(write->change));
        } else {
          current.insert_or_assign(KeyOf(write->change), RecordOf(write->change));
        }
      }
    }
    if (sync) {
      Sync();
    }
  }

  void Sync() { durable = current; }

  // All but blocks, whose keys of the map do not end with the car.
  void EraseCar(const CarRef& ref) {
    const std::string name = " " + ref.ToText();
    std::erase_if(current, [&name](const auto& one) {
      const size_t at = one.first.find(name);
      const size_t end = at + name.size();
      return at != std::string::npos && (end == one.first.size() || one.first[end] == ' ');
    });
  }

  void PowerCut() { current = durable; }

  void LoadInto(Bridge& bridge) const {
    for (const auto& [key, record] : current) {
      if (!std::holds_alternative<storage::HistoryRecord>(record)) {
        bridge.Load(record);
      }
    }
  }

  std::vector<storage::Record> All() const {
    std::vector<storage::Record> all;
    for (const auto& [key, record] : current) {
      all.push_back(record);
    }
    return all;
  }

  std::map<std::string, storage::Record> current;
  std::map<std::string, storage::Record> durable;
  std::vector<storage::SessionRecord> sessions;
};

}  // namespace latchkey::bridge
