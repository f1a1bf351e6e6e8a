// What the phone listens to: subscriptions of its cars, asked for again until the broker grants
// them.
#include <algorithm>
#include <utility>

#include "proto/topic.h"
#include "tools/phone/phone.h"

namespace latchkey::tools {

namespace {

constexpr int kFirstRefusal = 0x80;

CarRef RefOf(std::string_view fleet, std::string_view car) {
  return {FleetId::Parse(fleet).value_or(FleetId()), CarId::Parse(car).value_or(CarId())};
}

}  // namespace

void Phone::On(const Connected& /*input*/, const Now& /*now*/, Effects& out) {
  connected_ = true;
  asked_.clear();
  unanswered_.clear();
  for (const auto& [id, open] : open_) {
    listening_.try_emplace(open.ref);
  }
  std::erase_if(listening_,
                [&](const auto& each) { return !each.second.watched && !HasOpen(each.first); });
  for (auto& [ref, listening] : listening_) {
    listening.asked_lanes = false;
    listening.asked_state = false;
    listening.again.clear();
    listening.again_at.reset();
    Listen(ref, false, out);
  }
  if (claiming_) {
    claiming_->subscribed = false;
    Ask({PairingAnswerTopic(claiming_->offer.ref, id_)}, out);
  }
}

void Phone::On(const Disconnected& /*input*/, const Now& /*now*/, Effects& /*out*/) {
  connected_ = false;
  asked_.clear();
  unanswered_.clear();
  if (claiming_) {
    claiming_->subscribed = false;
  }
}

// Answers come in the order of the questions.
void Phone::On(const Subscribed& input, const Now& now, Effects& out) {
  if (asked_.empty()) {
    return;
  }
  const std::vector<std::string> filters = std::move(asked_.front());
  asked_.pop_front();
  for (size_t i = 0; i < filters.size(); ++i) {
    const int code = i < input.reason_codes.size() ? input.reason_codes[i] : kFirstRefusal;
    const std::optional<Filter> filter = ParseFilter(filters[i]);
    if (!filter || !filter->fleet || !filter->car) {
      continue;
    }
    const CarRef ref = RefOf(*filter->fleet, *filter->car);
    if (code >= kFirstRefusal) {
      Refused(ref, filters[i], code, now, out);
    } else {
      Granted(ref, filters[i], now, out);
    }
  }
  for (auto& [ref, listening] : listening_) {
    const bool asked =
        std::find(filters.begin(), filters.end(), ReceiptTopic(ref, id_)) != filters.end();
    if (asked && listening.again.empty()) {
      listening.step = Duration(0);
      listening.told.clear();
    }
    if (asked || !listening.again.empty()) {
      listening.granted = listening.again.empty();
    }
  }
}

void Phone::Refused(const CarRef& ref, const std::string& filter, int code, const Now& now,
                    Effects& out) {
  const auto found = listening_.find(ref);
  const auto car = cars_.find(ref);
  if (found != listening_.end()) {
    Listening& listening = found->second;
    if (!listening.again_at) {
      listening.step = listening.step.count() == 0
                           ? limits_.listen_again_first
                           : std::min(listening.step * 2, limits_.listen_again_max);
      listening.again_at = now.mono + listening.step;
    }
    listening.again.push_back(filter);
    const bool waits = car != cars_.end() && car->second.pairing.ring.version == 0;
    if (waits || listening.granted || !listening.told.insert(filter).second) {
      return;
    }
  }
  out.emplace_back(
      Failed{ref,
             {v1::REASON_NOT_ALLOWED, "the broker does not let this phone listen to " + filter +
                                          ": its key is not on the ring of car " + ref.ToText() +
                                          ", blocked, or outside its hours; ask the owner, or "
                                          "pair again"},
             code,
             filter});
}

// What waited for its receipt lane goes out when the lane is there: a receipt that nobody hears is
// lost.
void Phone::Granted(const CarRef& ref, const std::string& filter, const Now& now, Effects& out) {
  if (claiming_ && filter == PairingAnswerTopic(claiming_->offer.ref, id_)) {
    claiming_->subscribed = true;
    SendClaim(now, out);
  }
  if (filter != ReceiptTopic(ref, id_)) {
    return;
  }
  for (auto& [id, open] : open_) {
    const bool over = open.settled || (open.expires_at && now.wall >= *open.expires_at);
    if (open.ref == ref && !over) {
      SendCommand(id, open, now, out);
    }
  }
}

void Phone::On(const Watch& input, const Now& /*now*/, Effects& out) {
  if (Find(input.ref) != nullptr) {
    Listen(input.ref, true, out);
  }
}

void Phone::On(const Unwatch& input, const Now& /*now*/, Effects& /*out*/) {
  const auto found = listening_.find(input.ref);
  if (found != listening_.end()) {
    found->second.watched = false;
  }
}

void Phone::ListenAgain(const Now& now, Effects& out) {
  for (auto& [ref, listening] : listening_) {
    if (listening.again_at && now.mono >= *listening.again_at) {
      listening.again_at.reset();
      std::vector<std::string> filters = std::exchange(listening.again, {});
      if (listening.watched || HasOpen(ref)) {
        Ask(std::move(filters), out);
      }
    }
  }
}

void Phone::Ask(std::vector<std::string> filters, Effects& out) {
  asked_.push_back(filters);
  out.emplace_back(Subscribe{std::move(filters)});
}

// Asks for what is not asked for yet in this connection.
void Phone::Listen(const CarRef& ref, bool watch, Effects& out) {
  Listening& listening = listening_[ref];
  listening.watched = listening.watched || watch;
  if (!connected_) {
    return;
  }
  std::vector<std::string> filters;
  if (!std::exchange(listening.asked_lanes, true)) {
    filters = {ReceiptTopic(ref, id_), KeyRingTopic(ref), PairingAnswerTopic(ref, id_)};
  }
  if (listening.watched && !std::exchange(listening.asked_state, true)) {
    filters.push_back(PresenceTopic(ref));
    filters.push_back("lk/1/" + ref.ToText() + "/state/+");
  }
  if (!filters.empty()) {
    Ask(std::move(filters), out);
  }
}

bool Phone::HasOpen(const CarRef& ref) const {
  return std::any_of(open_.begin(), open_.end(),
                     [&](const auto& each) { return each.second.ref == ref; });
}

bool Phone::WaitsForLane(const CarRef& ref) const {
  const std::string lane = ReceiptTopic(ref, id_);
  return std::any_of(asked_.begin(), asked_.end(), [&](const std::vector<std::string>& filters) {
    return std::find(filters.begin(), filters.end(), lane) != filters.end();
  });
}

}  // namespace latchkey::tools
