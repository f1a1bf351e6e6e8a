// See judge.h.
#include "tests/load/judge.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "proto/reason.h"

namespace latchkey::load {

namespace {

using testing::HttpGet;

using std::chrono::steady_clock;

constexpr int kComplaintsMax = 20;
constexpr std::chrono::milliseconds kAskPatience{20000};  // for all commands together

class Judgement {
 public:
  Judgement(World& world, std::ostream* stories) : world_(world), stories_(stories) {}

  Tally Say() {
    for (size_t car = 0; car < world_.options().load.cars; ++car) {
      for (const ActLine& act : ReadActs(world_.cell().path(), car)) {
        Take(car, act);
      }
    }
    for (const auto& [id, record] : world_.load().records()) {
      Take(id, record);
      if (stories_ != nullptr) {
        *stories_ << id.ToText() << Story(record) << " end="
                  << (record.end ? std::string(ToText(record.end->state)) + "/" +
                                       std::to_string(record.end->source)
                                 : "")
                  << " habit=" << static_cast<int>(HabitOf(record.car))
                  << " acts=" << acts_.count(id) << "\n";
      }
    }
    return tally_;
  }

 private:
  void Complain(const CommandId& id, const std::string& what) {
    const std::string complaint = "command " + id.ToText() + ": " + what;
    if (tally_.first_wrong.empty()) {
      tally_.first_wrong = complaint;
    }
    if (++complaints_ <= kComplaintsMax) {
      std::cerr << complaint << "\n";
    }
  }

  // All words there are about it, for a complaint.
  static std::string Story(const Record& record) {
    std::string text = " car=" + std::to_string(record.car) +
                       " issued=" + std::to_string(record.issued_at.ms) +
                       " expires=" + std::to_string(record.expires_at.ms) +
                       (record.asleep ? " asleep" : "") + (record.held ? " held" : "");
    for (const Outcome& word : record.words) {
      text += " [" + std::string(ToText(word.state)) + " " +
              std::string(FactsOf(word.reason).word) +
              (word.source == v1::RECEIPT_SOURCE_CAR ? " car" : " bridge") +
              " at=" + std::to_string(word.at.ms) + (word.may_have_acted ? " may have acted" : "") +
              "]";
    }
    return text;
  }

  void Take(size_t car, const ActLine& act) {
    acts_[act.id].push_back(act);
    const auto found = world_.load().records().find(act.id);
    if (found == world_.load().records().end() || found->second.car != car) {
      ++tally_.unasked;
      Complain(act.id, "car " + std::to_string(car) + " acted and nobody had asked it to");
      return;
    }
    const Record& record = found->second;
    if (acts_[act.id].size() > 1) {
      ++tally_.twice;
      Complain(act.id, "done again at " + std::to_string(act.acted.ms) + Story(record));
    }
    if (act.decided >= record.expires_at + world_.options().late_by) {
      ++tally_.late;
      Complain(act.id, "begun at " + std::to_string(act.decided.ms) + Story(record));
    } else {
      tally_.stopped_late_ms =
          std::max(tally_.stopped_late_ms, (act.acted - record.expires_at).count());
    }
  }

  void Take(const CommandId& id, const Record& record) {
    ++tally_.commands;
    tally_.held += record.held ? 1 : 0;
    if (!record.end) {
      ++tally_.open;
      Complain(id, "its phone still waits" + Story(record));
      return;
    }
    v1::ReceiptState state = record.end->state;
    if (record.end->source == v1::RECEIPT_SOURCE_UNSPECIFIED) {
      if (!record.words.empty()) {
        state = record.words.front().state;
      } else if (!record.held) {
        ++tally_.untold;
        return;
      } else {
        state = AskBridge(id, record);
      }
    }
    Count(state);
    CheckTruth(id, record);
  }

  void Count(v1::ReceiptState state) {
    tally_.done += state == v1::RECEIPT_STATE_DONE ? 1 : 0;
    tally_.failed += state == v1::RECEIPT_STATE_FAILED ? 1 : 0;
    tally_.refused += state == v1::RECEIPT_STATE_REFUSED ? 1 : 0;
    tally_.expired += state == v1::RECEIPT_STATE_EXPIRED ? 1 : 0;
    tally_.superseded += state == v1::RECEIPT_STATE_SUPERSEDED ? 1 : 0;
  }

  v1::ReceiptState AskBridge(const CommandId& id, const Record& record) {
    // What the bridge waited for when it was killed it waits for again.
    std::optional<v1::ReceiptState> state;
    testing::Eventually(
        [&] {
          state = Ask(id, record);
          return state.has_value() || steady_clock::now() > ask_until_;
        },
        kAskPatience);
    if (state) {
      ++tally_.asked;
      return *state;
    }
    ++tally_.lost;
    const auto said = states_.find(id.ToText());
    Complain(id, "held, and the bridge says " +
                     (said == states_.end() ? "nothing of it" : said->second) + Story(record));
    return v1::RECEIPT_STATE_UNSPECIFIED;
  }

  // The final state of a command as the bridge has it.
  std::optional<v1::ReceiptState> Ask(const CommandId& id, const Record& record) {
    if (!EndOf(states_[id.ToText()])) {
      const std::string path = "/v1/commands?fleet=demo&car=" + CarOf(record.car).car.str();
      const auto page =
          nlohmann::json::parse(HttpGet(world_.cell().http_port(), path).body, nullptr, false);
      if (page.is_object() && page.contains("commands")) {
        for (const auto& command : page["commands"]) {
          states_[command["command_id"]] = command["state"];
        }
      }
    }
    const auto state = states_.find(id.ToText());
    return state == states_.end() ? std::nullopt : EndOf(state->second);
  }

  // A final state by its text; nullopt: not final.
  static std::optional<v1::ReceiptState> EndOf(const std::string& text) {
    for (const v1::ReceiptState final :
         {v1::RECEIPT_STATE_DONE, v1::RECEIPT_STATE_FAILED, v1::RECEIPT_STATE_REFUSED,
          v1::RECEIPT_STATE_EXPIRED, v1::RECEIPT_STATE_SUPERSEDED, v1::RECEIPT_STATE_CANCELLED}) {
      if (text == ToText(final)) {
        return final;
      }
    }
    return std::nullopt;
  }

  // A word is untrue when it says that nothing was done and something was, or the other way round;
  // of two different ones, the first must have left room for the second.
  void CheckTruth(const CommandId& id, const Record& record) {
    const bool acted = acts_.count(id) > 0;
    for (const Outcome& word : record.words) {
      const bool idle = word.state != v1::RECEIPT_STATE_DONE && !word.may_have_acted;
      if ((word.state == v1::RECEIPT_STATE_DONE && !acted) || (idle && acted)) {
        ++tally_.untrue;
        Complain(id, std::string(acted ? "acted" : "not acted") + Story(record));
        return;
      }
    }
  }

  World& world_;
  std::ostream* stories_;
  Tally tally_;
  int complaints_ = 0;
  std::unordered_map<CommandId, std::vector<ActLine>> acts_;
  std::unordered_map<std::string, std::string> states_;  // as the bridge says them, by id
  const steady_clock::time_point ask_until_ = steady_clock::now() + kAskPatience;
};

}  // namespace

Tally Judge(World& world, std::ostream* stories) {
  return Judgement(world, stories).Say();
}

}  // namespace latchkey::load
