// A reference car in a test: a clock, a phone with an owner's key, and everything the car says, as
// words. What it stores is kept, so that a test can boot it again.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "proto/pairing.h"
#include "proto/reason.h"
#include "proto/state.h"
#include "proto/topic.h"
#include "proto/wire.h"
#include "tests/support/wire_fixtures.h"
#include "tools/car/car.h"

namespace latchkey::car {

inline v1::Command Flash() {
  v1::Command action;
  action.mutable_flash_lights();
  return action;
}

inline v1::Command Lock() {
  v1::Command action;
  action.mutable_lock();
  return action;
}

inline v1::Command Adds(const RingKey& key) {
  v1::Command action;
  *action.mutable_add_key()->mutable_key() = KeyToWire(key);
  return action;
}

inline v1::Command Removes(const KeyId& key) {
  v1::Command action;
  action.mutable_remove_key()->set_key_id(key.str());
  return action;
}

inline PrivateKey CopyOf(const PrivateKey& key) {
  return std::move(PrivateKey::FromPem(key.ToPem()).value());
}

// A car with one owner on its ring, connected, and its clock.
class Story {
 public:
  // The car's clock says `now`.
  explicit Story(Timestamp now = testing::kNow)
      : phone_(PrivateKey::Generate()), now_{now, {5000}} {
    Memory memory = NewMemory(fleet_car_.ref, now);
    memory.ring.keys = {testing::OnRing(phone_.Public(), v1::ROLE_OWNER)};
    memory.ring.version = 2;
    stored_ = SerializeMemory(memory);
    Boots();
  }

  // From what is stored.
  void Boots() {
    Options options{
        .ref = fleet_car_.ref,
        .certificate_der = certificate_der_.empty() ? fleet_car_.certificate_der : certificate_der_,
        .fleet_ca_der = fleet_car_.ca_der,
        .host = "127.0.0.1",
        .phone_port = 8883,
        .cell = "local",
        .limits = limits_,
        .relay_key = relay_key_,
        .utc_offset_minutes = utc_offset_minutes_};
    car_.emplace(std::move(options), CopyOf(fleet_car_.key),
                 LoadMemory(stored_, fleet_car_.ref).value());
    said_ = "";
    Gives(Start{});
    Connects();
  }

  void Connects() {
    Gives(Connected{});
    Gives(Subscribed{{1, 1, 1}});
  }

  void Gives(const Input& input) {
    Effects effects;
    car_->Step(input, now_, effects);
    for (const Effect& effect : effects) {
      if (crash_before_ && crash_before_(effect)) {
        return;
      }
      Record(effect);
    }
    for (const Effect& effect : effects) {
      const auto* send = std::get_if<Send>(&effect);
      if (send != nullptr && send->tag != 0 && broker_answer_) {
        Gives(Published{send->tag, *broker_answer_});
      }
    }
  }

  void Passes(Duration time) {
    now_.wall = now_.wall + time;
    now_.mono = now_.mono + time;
    Gives(Tick{});
  }

  // A command of `phone_`, sealed; living `lives`.
  std::string Seals(const v1::Command& action, char id,
                    Duration lives = std::chrono::seconds(30)) const {
    return SealsAs(phone_, action, id, lives);
  }

  std::string SealsAs(const PrivateKey& phone, const v1::Command& action, char id,
                      Duration lives = std::chrono::seconds(30)) const {
    CommandRequest request{fleet_car_.ref, testing::TestId(id), now_.wall, now_.wall + lives,
                           action};
    if (action.has_remove_key()) {
      request.expires_at.reset();
    }
    return SealCommand(request, phone).value();
  }

  void Arrives(const std::string& bytes) { ArrivesOn(phone_.Public().Id(), bytes); }

  void ArrivesOn(const KeyId& lane, const std::string& bytes) {
    Gives(Arrived{{CommandTopic(fleet_car_.ref, lane), bytes, 1, Retain::kNo, 0}});
  }

  // Seals and delivers a command of another phone.
  void ArrivesFrom(const PrivateKey& phone, const v1::Command& action, char id) {
    ArrivesOn(phone.Public().Id(), SealsAs(phone, action, id));
  }

  PairingOffer Offers(v1::Role role = v1::ROLE_OWNER, char secret = 's') {
    Gives(ShowOffer{std::string(kPairingSecretBytes, secret), role});
    return ParseQrText(qr_).value();
  }

  void Claims(const PairingOffer& offer, const PrivateKey& phone, char nonce = 'n',
              std::string_view label = "new") {
    ClaimArrives(phone.Public().Id(),
                 MakeClaim(offer, phone.Public(), std::string(16, nonce), label));
  }

  void ClaimArrives(const KeyId& lane, const std::string& bytes) {
    Gives(Arrived{{PairingTopic(fleet_car_.ref, lane), bytes, 1, Retain::kNo, 0}});
  }

  // What the phone makes of the last answer: "allowed" or the reason.
  std::string Answered(const PairingOffer& offer, const PrivateKey& phone, char nonce = 'n',
                       std::string_view label = "new") const {
    return testing::Said(
        CheckAnswer(last_answer_, offer, phone.Public(), std::string(16, nonce), label));
  }

  // What was said since the last call: "write DELIVERED act:lock write body DONE ".
  std::string Heard() { return std::exchange(said_, ""); }

  // How often `word` was said since the last Heard, which this is.
  size_t Told(std::string_view word) {
    const std::string heard = Heard();
    size_t count = 0;
    for (size_t at = heard.find(word); at != std::string::npos; at = heard.find(word, at + 1)) {
      ++count;
    }
    return count;
  }

  // Notes, and why offers were over, since the last call; one a line.
  std::string Read() { return std::exchange(notes_, ""); }

  uint64_t Refused(Reason reason) const {
    const auto found = car_->counters().refused.find(reason);
    return found == car_->counters().refused.end() ? 0 : found->second;
  }

  testing::TestCar fleet_car_ = testing::MakeTestCar("demo", "F3-17");
  PrivateKey phone_;
  std::string certificate_der_;  // another than the fleet car's
  Limits limits_;
  std::string relay_key_;
  int utc_offset_minutes_ = 0;
  std::optional<Car> car_;
  std::string stored_;
  Now now_;
  std::string qr_;
  std::string last_answer_;
  std::string last_ring_;
  std::string last_request_;
  std::vector<std::string> certificates_;
  Timestamp hidden_at_;  // newest observed_at_ms of messages that hid the place
  int connects_ = 0;     // how often the car wanted a connection
  std::function<bool(const Effect&)> crash_before_;
  std::optional<int> broker_answer_ = 0;  // to each receipt that wants one; nullopt: none

 private:
  void Record(const Effect& effect) {
    if (const auto* persist = std::get_if<Persist>(&effect)) {
      stored_ = persist->bytes;
      said_ += "write ";
    } else if (const auto* fresh = std::get_if<NewCertificate>(&effect)) {
      certificates_.push_back(fresh->der);
      said_ += "certificate ";
    } else if (const auto* act = std::get_if<Act>(&effect)) {
      said_ += "act:" + act->text + " ";
    } else if (const auto* shown = std::get_if<OfferShown>(&effect)) {
      qr_ = shown->qr_text;
    } else if (const auto* over = std::get_if<OfferOver>(&effect)) {
      said_ += "over ";
      notes_ += over->why + "\n";
    } else if (const auto* ask = std::get_if<AskPerson>(&effect)) {
      said_ += ask->known ? "ask-known " : "ask ";
    } else if (std::holds_alternative<HangUp>(effect)) {
      said_ += "hangup ";
    } else if (std::holds_alternative<Connect>(effect)) {
      ++connects_;
    } else if (const auto* note = std::get_if<Note>(&effect)) {
      notes_ += note->text + "\n";
    } else if (const auto* send = std::get_if<Send>(&effect)) {
      RecordSend(send->message);
    }
  }

  void RecordSend(const Publish& message) {
    const Topic topic = ParseTopic(message.topic).value();
    if (topic.kind == TopicKind::kReceipt) {
      const Outcome outcome =
          OpenReceipt(message.payload, fleet_car_.ref, fleet_car_.key.Public()).value();
      said_ += std::string(ToText(outcome.state));
      said_ += outcome.reason == v1::REASON_UNSPECIFIED ? " "
                                                        : ":" + testing::Said(outcome.reason) + " ";
    } else if (topic.kind == TopicKind::kKeyRing) {
      last_ring_ = message.payload;
      said_ += "ring" + std::to_string(car_->ring().version) + " ";
    } else if (topic.kind == TopicKind::kState) {
      said_ += std::string(ToText(topic.group)) + " ";
      const Result<v1::StateGroup> state = ParseState(message.payload, topic.group);
      REQUIRE(state);
      if (HidesPlace(topic.group, *state)) {
        hidden_at_ = std::max(hidden_at_, Timestamp{VersionOf(*state).observed_at_ms});
      }
    } else if (topic.kind == TopicKind::kCertificateRequest) {
      last_request_ = message.payload;
      said_ += "request ";
    } else {
      RecordAnswer(message.payload);
    }
  }

  void RecordAnswer(const std::string& payload) {
    const Result<KeyNotice> notice = ReadKeyNotice(payload);
    if (notice) {
      said_ += notice->on_ring ? "notice:on " : "notice:off ";
      return;
    }
    last_answer_ = payload;
    said_ += "answer ";
  }

  std::string said_;
  std::string notes_;
};

}  // namespace latchkey::car
