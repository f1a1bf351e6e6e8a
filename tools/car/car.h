// The reference car: a pure state machine that owns its key ring, obeys signed commands and
// publishes its state. `latchkey car run`, the fleet simulator and the tests share it.
//
// Step takes one input and says by effects, in order, what to do; the adapter does them in order
// and stops at the first Persist that fails. Writes before words: a command is in lasting storage
// before it has an effect, and its outcome before anybody hears of it. So after a crash the car
// knows that it had begun, says OUTCOME_UNKNOWN, and never does it again.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "proto/certificate.h"
#include "proto/command.h"
#include "proto/crypto.h"
#include "proto/freshness.h"
#include "proto/keyring.h"
#include "proto/message.h"
#include "proto/receipt.h"
#include "proto/time.h"
#include "proto/types.h"
#include "tools/car/actions.h"
#include "tools/car/memory.h"
#include "tools/car/pairing_desk.h"
#include "tools/car/signals.h"

namespace latchkey::car {

// Every bound of a car.
struct Limits {
  Duration publish_interval_min{1000};  // per group; commands publish at once
  size_t remembered_max = 512;          // commands whose expiry is ahead; more are refused kFull
  size_t unlimited_max = 64;            // remembered commands without expiry
  size_t cancelled_max = 32;            // remembered ids that one key has taken back
  size_t refused_max = 128;  // refusals remembered; the one that expires first makes room
  Duration retry_min{1000};  // first reconnect within this, then doubling
  Duration retry_max{60000};
  Duration dial_max{60000};  // from Connect until the car is subscribed; then it hangs up
  Duration certificate_retry_first{60000};  // from the first request for a certificate
  Duration certificate_retry{3600000};      // and from then on
};

// What a car is, besides its memory.
struct Options {
  CarRef ref;
  std::string certificate_der;
  std::string
      fleet_ca_der;    // signs the car's certificates; empty: the car never asks for a new one
  std::string host;    // of the broker, for phones; shown in the QR code
  int phone_port = 0;  // likewise
  std::string cell;    // likewise
  std::string software = "latchkey reference car";
  Limits limits = {};
  std::string relay_key = {};  // proto/sms.h, secret; empty: the car takes no SMS
  int utc_offset_minutes = 0;  // of its local time, which schedules mean; -840 to 840
};

// --- Inputs

// The car wakes and wants a connection.
struct Start {};

struct Connected {};

// MQTT reason codes, one per filter.
struct Subscribed {
  std::vector<int> reason_codes;
};

// No connection could be made or it is lost. `random` spreads the next try.
struct Disconnected {
  std::string text;
  uint64_t random = 0;
};

struct Arrived {
  Publish message;
};

// The broker's answer to a Send: a MQTT reason code, 0x80 and more: refused.
struct Published {
  uint64_t tag = 0;
  int reason_code = 0;
};

// 8-bit data of an SMS. Repeats do no harm.
struct SmsArrived {
  std::string bytes;
};

// A sensor, or a recorded drive, says a signal's value. `source` is empty for the car's own
// sensors, else the text for StateGroup.source. The car says nothing of it in this step, so that
// what is observed in one moment leaves together, but NextDeadline is then at once.
struct Observe {
  std::string_view signal;  // "drive.speed"
  SignalValue value;
  Timestamp observed_at;
  std::string_view source;
};

// Recorded values that were refused before they came here.
struct ValuesRefused {
  uint64_t count = 0;
};

// All sensors say what they said before.
struct StillSo {};

// Shows a pairing offer with this secret, 16 random bytes. Who pairs gets `role`.
struct ShowOffer {
  std::string secret;
  v1::Role role = v1::ROLE_OWNER;
};

// What the person in the car says to the phone that waits.
struct Confirm {
  enum class Word : uint8_t { kYes, kNo };
  Word word = Word::kNo;
};

// Somebody at the head unit resets the car: no key, no settings of the people before. What protects
// from replay stays.
struct FactoryReset {};

struct Tick {};

using Input =
    std::variant<Start, Connected, Subscribed, Disconnected, Arrived, Published, SmsArrived,
                 Observe, ValuesRefused, StillSo, ShowOffer, Confirm, FactoryReset, Tick>;

// --- Effects, to be done in order

// Replace the stored memory and sync it. If that fails, nothing after it may be done.
struct Persist {
  std::string bytes;
};

// Replace the stored certificate (same key) and sync it, before it is used. If that fails, nothing
// after it may be done.
struct NewCertificate {
  std::string der;
};

struct Connect {};

struct Subscribe {
  std::vector<std::string> filters;
};

// Drop the connection; the car asks to connect again by itself.
struct HangUp {};

// `tag` comes back in Published; 0: the answer is not wanted.
struct Send {
  Publish message;
  uint64_t tag = 0;
};

// The body acts: lights flash. Text: action and arguments; of a schedule, "by schedule: " and what.
struct Act {
  std::string text;
};

struct OfferShown {
  std::string qr_text;
};

// The secret is used, burnt or over.
struct OfferOver {
  std::string why;
};

// A phone has proved that it saw the code: let it in? Answer by Confirm.
struct AskPerson {
  KeyId key;
  std::string label;
  v1::Role role = v1::ROLE_UNSPECIFIED;  // what it would get
  bool known = false;                    // its key is on the ring: its role would change
  bool invited = false;                  // it was not the screen's code but an invitation's
};

// Something a log should have.
struct Note {
  std::string text;
};

using Effect = std::variant<Persist, NewCertificate, Connect, Subscribe, HangUp, Send, Act,
                            OfferShown, OfferOver, AskPerson, Note>;
using Effects = std::vector<Effect>;

struct Counters {
  std::map<Reason, uint64_t> refused;  // messages and commands, by reason
  uint64_t values_refused = 0;
  uint64_t acted = 0;              // by command
  uint64_t acted_by_schedule = 0;  // preconditioned, began or stopped charging
  uint64_t taken_back = 0;         // commands cancelled before they were begun
  uint64_t sms_taken = 0;          // wakes and commands; what was refused is in `refused`
  uint64_t published = 0;
};

// 2020: a clock before it has lost its battery.
inline constexpr Timestamp kClockEpoch{1577836800000};

// One thread uses a car.
class Car {
 public:
  // `key` is the certificate's. Commands that had begun when the memory was written have an unknown
  // outcome, which the car persists and says once it is subscribed.
  Car(Options options, PrivateKey key, Memory memory);

  void Step(const Input& input, const Now& now, Effects& out);

  // When to Step(Tick{}) if nothing else happens; nullopt: never. The adapter waits for whichever
  // clock is nearer: `mono`.
  std::optional<Instant> NextDeadline() const;

  const CarRef& ref() const { return options_.ref; }

  const KeyRing& ring() const { return memory_.ring; }

  const SignalBoard& board() const { return board_; }

  const Counters& counters() const { return counters_; }

 private:
  struct GroupClock {
    Instant next_at;
    uint64_t sequence = 0;
    Timestamp said_at;  // observed_at_ms of what was said last, since the start
    Instant spoke_at;   // when that was
    // When what was observed since is the last for a while; nullopt: nothing was.
    std::optional<Instant> settled_at;
  };

  void On(const Start& input, Effects& out);
  void On(const Connected& input, Effects& out);
  void On(const Subscribed& input, Effects& out);
  void On(const Disconnected& input, Effects& out);
  void On(const Arrived& input, Effects& out);
  void On(const Published& input, Effects& out);
  void On(const SmsArrived& input, Effects& out);
  void On(const Observe& input, Effects& out);
  void On(const ValuesRefused& input, Effects& out);
  void On(const StillSo& input, Effects& out);
  void On(const ShowOffer& input, Effects& out);
  void On(const Confirm& input, Effects& out);
  void On(const FactoryReset& input, Effects& out);
  void On(const Tick& input, Effects& out);

  // Commands.
  void TakeCommand(const Publish& message, const KeyId& lane, Effects& out);
  void AnswerUnparsed(const Publish& message, const KeyId& lane, Reason reason, Effects& out);
  Verdict Judge(const Command& command) const;
  void Refuse(const Command& command, Reason reason, Effects& out);
  void RememberRefusal(const Command& command, Reason reason, Effects& out);
  const RefusedCommand* FindRefused(const Command& command) const;
  void Execute(const Command& command, Effects& out);
  void AfterAction(const ActionResult& result, Effects& out);
  void TakeBack(const Command& cancel, Effects& out);
  void RepeatTarget(const Command& command, Effects& out);
  void SendReceipt(const Remembered& command, Effects& out);
  void TellAgain(Timestamp broke_at);
  void BeginTelling();
  void SayAgain(Effects& out);
  void SayUnsaid(Effects& out);
  void SayUntold(Effects& out);
  Remembered* FindRemembered(const KeyId& key, const CommandId& id);
  bool TimeKnown() const;

  // SMS.
  Verdict TakeWake(Timestamp at, Effects& out);
  void RefuseSms(Reason reason, std::string_view why, Effects& out);
  void Wake(Effects& out);

  // Schedules.
  void ReadSchedules();
  void ActOnSchedules(Effects& out);
  void Precondition(Effects& out);
  void ChargeInWindows(Effects& out);
  std::optional<Timestamp> NextScheduled() const;

  Duration UtcOffset() const { return std::chrono::minutes(options_.utc_offset_minutes); }

  // Pairing.
  void TakeClaim(const Publish& message, const KeyId& lane, Effects& out);
  void TakeInvited(const Publish& message, const KeyId& lane, Effects& out);
  void SayAnswer(const PairingDesk& desk, const PairingDesk::Answer& answer, const KeyId& lane,
                 Effects& out);
  void ConfirmInvited(Confirm::Word word, Effects& out);
  void StandInvitation();
  void EndInvitation(std::string why, Effects& out);
  void TickInvitation(Effects& out);
  void Admit(PairingDesk& desk, Effects& out);
  void AnswerClaim(PairingDesk& desk, std::string answer, Effects& out);
  void EndOffer(std::string why, Effects& out);

  // Ring, and notices to keys whose place others changed.
  void PublishRingAndTell(Effects& out);
  void TellAgain(Effects& out);

  // Certificate.
  void TakeCertificate(const Publish& message, Effects& out);
  void AskForCertificate(Effects& out);
  std::optional<Instant> AskForCertificateAt() const;

  // State, ring, memory.
  void CountRefusedValues(uint64_t count);
  void ObserveArea(std::string_view source);
  void Put(std::string_view signal, double value);
  void PublishRing(Effects& out);
  void PublishGroup(Group group, Effects& out);
  void PublishAll(Effects& out);
  void HideLocation(Effects& out);
  void PublishDue(Effects& out);
  std::optional<Instant> SayAt(Group group) const;
  void Save(Effects& out);
  void Forget();
  void Dial(Effects& out);
  void Retry(uint64_t random, Effects& out);

  Options options_;
  PrivateKey key_;
  Memory memory_;
  SignalBoard board_;
  PairingDesk desk_;        // of the offer on the screen
  PairingDesk invitation_;  // of the one in memory
  Timestamp invited_by_;    // while a phone waits at it: when it has waited too long
  Counters counters_;
  Now now_;               // of the current step
  Timestamp time_;        // what the car takes for the time: never goes back
  Instant time_at_;       // when time_ was taken
  bool stepped_ = false;  // time_at_ is set
  bool started_ = false;
  bool connecting_ = false;  // a connection is asked for and neither made nor lost
  bool subscribed_ = false;
  // Receipts that nobody could be told while there was no connection; the last of each command.
  std::vector<Remembered> unsaid_;

  struct Telling {
    KeyId key;
    CommandId id;
    bool refused = false;  // by the broker
  };

  // Final receipts on their way to the broker in this connection, or refused by it; by tag.
  std::map<uint64_t, Telling> telling_;
  uint64_t last_tag_ = 0;
  std::optional<Instant> say_again_at_;  // SayAgain, in this connection
  Duration say_again_wait_{0};           // the next
  int said_again_ = 0;
  Timestamp said_since_;                // outcomes from then on were first told in this connection
  v1::DepartureSchedule departures_;    // as in memory
  v1::ChargeSchedule charge_schedule_;  // likewise
  Instant dial_by_;                     // while connecting_
  std::optional<Instant> retry_at_;
  int tries_ = 0;
  std::optional<Instant> restart_at_;
  std::set<KeyId> tell_again_;  // keys that lost their place
  std::optional<Instant> tell_again_at_;
  int told_again_ = 0;
  std::optional<Certificate> certificate_;  // nullopt: the one given does not parse
  std::optional<Instant> asked_next_at_;    // for a certificate
  bool area_hidden_ = false;                // the area on the board is one that nobody was told
  bool certificate_lane_ = false;           // the broker lets the car hear its registrar
  std::array<GroupClock, kGroupCount> groups_;
  Motion motion_;  // as the car has told it
};

}  // namespace latchkey::car
