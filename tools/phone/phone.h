// The reference phone: pairs with cars or accepts invitations, sends commands and keeps resending
// the same bytes until somebody who may say so tells what became of them, keeps what its cars last
// said with the time they observed it, and tells its person of every change of a car's keys. Pure:
// time and randomness come in, what to send comes out. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/command.h"
#include "proto/crypto.h"
#include "proto/invite.h"
#include "proto/keyring.h"
#include "proto/message.h"
#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/result.h"
#include "proto/state.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::tools {

// Every bound and delay of a phone.
struct PhoneLimits {
  size_t open_commands_max = 64;
  Duration resend_first = std::chrono::seconds(1);     // until the first receipt
  Duration resend_max = std::chrono::seconds(10);      // doubling up to this
  Duration ask_again_first = std::chrono::seconds(5);  // after a receipt that is not final
  Duration ask_again_max = std::chrono::seconds(60);
  Duration last_word = std::chrono::seconds(5);        // wait after expiry for a final receipt
  Duration last_word_held = std::chrono::seconds(12);  // the same for what the server holds
  Duration cancel_lives_on = std::chrono::minutes(1);  // after what it takes back has expired
  Duration claim_first = std::chrono::seconds(2);
  Duration claim_max = std::chrono::seconds(10);
  Duration listen_again_first = std::chrono::seconds(2);  // after a refused subscription
  Duration listen_again_max = std::chrono::seconds(10);   // doubling up to this
  // True: listens to all its cars all the time. False, for a key of hundreds of cars: listens to a
  // car from Watch until Unwatch, and while a command to it is open to its receipts and ring.
  bool watch_all = true;
};

// A car this phone holds a key to, or was promised one. What a phone must keep in lasting storage,
// beside its own key. After Accept and until the car has said who is on its ring, `ring.version` is
// 0 and `ring.keys`, `car_certificate` and `signed_ring` are empty; `car_key` is the invitation's.
struct Pairing {
  CarRef ref;
  std::string host;  // broker for phones
  int port = 0;
  std::string cell;             // `aud` of the phone's tokens
  PublicKey car_key;            // receipts and rings must be signed by it
  std::string car_certificate;  // DER
  KeyRing ring;                 // newest seen
  std::string signed_ring;      // the same, serialized SignedKeyRing
};

// What is known of one car.
struct CarView {
  Pairing pairing;
  std::array<std::optional<v1::StateGroup>, kGroupCount> groups;
  std::array<HeldState, kGroupCount> held;  // of those groups that there are
  std::optional<v1::Presence> presence;
  // The car, or who speaks for it without proof, said that this phone's key is off the ring, and
  // nothing signed has said otherwise since.
  bool told_removed = false;
};

class Phone {
 public:
  // --- What can happen to a phone.

  // MQTT session up, subscriptions none.
  struct Connected {};

  struct Disconnected {};

  // SUBACK of the oldest unanswered Subscribe: a code per filter, 0x80 and above is a refusal.
  struct Subscribed {
    std::vector<int> reason_codes;
  };

  // PUBACK of the oldest unanswered Publish to `topic`.
  struct Published {
    std::string topic;
    int reason_code = 0;
  };

  struct Arrived {
    Publish publish;
  };

  // The person scanned a code. `nonce` is 16 random bytes.
  struct Pair {
    PairingOffer offer;
    std::string nonce;
  };

  // The person took an invitation (proto/invite.h): adds a pairing without a ring, whose car is
  // believed by the invitation's key alone, and listens until the car says that the key is on it.
  // An invitation for a car that is held already with the same key renews host, port and cell; with
  // another key it is refused (Failed, REASON_BAD_CERTIFICATE).
  struct Accept {
    Invitation invitation;
  };

  // The person wants no more to do with this car: drops pairing and open commands, says nothing.
  struct Forget {
    CarRef ref;
  };

  // Listen to this car: state, presence, ring, receipts and notices. Nothing new if it does.
  struct Watch {
    CarRef ref;
  };

  // Listen no more: what the broker still sends of it in this connection is not looked at, but for
  // receipts and the ring.
  struct Unwatch {
    CarRef ref;
  };

  // The person wants something done. `random` is 10 random bytes for the command's id.
  struct Send {
    CarRef ref;
    v1::Command action;                // only the oneof is read
    std::optional<Duration> lifetime;  // nullopt: DefaultLifetime
    std::string random;
  };

  // The person goes on with a command that an earlier run of this phone sent: the same bytes are
  // sent until there is an outcome. Nothing new when it is open. Failed: the bytes are none of this
  // phone's for this car.
  struct Resume {
    CarRef ref;
    std::string wire;                                       // SignedCommand, as Began gave it
    v1::ReceiptState last = v1::RECEIPT_STATE_UNSPECIFIED;  // that was heard of it
  };

  // The person takes a command back. A signed Cancel is sent like any other command, the command
  // itself no more; what becomes of it is told by its own receipts. Nothing new while one is under
  // way. Failed REASON_ENDED: its time is over, so there is nothing to take back.
  struct Cancel {
    CarRef ref;
    CommandId id;
    std::string wire;    // as Began gave it; not needed when it is open; empty: not known
    std::string random;  // 10 bytes for the id of the Cancel
  };

  // NextDeadline() is due.
  struct Tick {};

  using Input = std::variant<Connected, Disconnected, Subscribed, Published, Arrived, Pair, Accept,
                             Forget, Watch, Unwatch, Send, Resume, Cancel, Tick>;

  // --- What a phone does and says.

  struct Subscribe {
    std::vector<std::string> filters;
  };

  // Send, Resume or Cancel was accepted, before anything goes out: this is the command's id and
  // what will be sent. Who stores `wire` can Resume it.
  struct Began {
    CarRef ref;
    CommandId id;
    std::optional<Timestamp> expires_at;
    std::string wire{};
    std::optional<CommandId> cancels{};  // of a Cancel: what it takes back
  };

  // What became of a command. A source of UNSPECIFIED is the phone itself: it stopped waiting
  // (EXPIRED), the broker refused the publish (REFUSED), or the Cancel's own receipt says that the
  // command cannot act any more (CANCELLED).
  struct Receipt {
    Outcome outcome;
    Duration elapsed{0};    // since Send, Resume or Cancel
    int broker_reason = 0;  // MQTT 5 reason code of a refused publish; 0: none
    bool final = false;
    std::optional<CommandId> cancels{};  // of a Cancel: what it takes back
  };

  // Store the pairing: new, or with a newer ring. After Accept it is {false, false}, then, when
  // the car names this phone, {true, true}.
  struct Learned {
    CarRef ref;
    bool paired_now = false;  // a Pair was answered, or the ring names this phone and did not
    bool on_ring = true;      // false: the ring does not name this phone, or not any more
  };

  // Between the ring held before and the one learned just now (after Learned, when a ring was
  // held): for the person, who hears of every enrolment whoever did it.
  struct RingChanged {
    CarRef ref;
    uint64_t version = 0;          // of the new ring
    std::vector<RingKey> added;    // as they are now
    std::vector<RingKey> removed;  // as they were
    std::vector<RingKey> changed;  // as they are now: role, rights, times or label differ
  };

  struct StateChanged {
    CarRef ref;
    Group group = Group::kBody;
    bool retained = false;
  };

  struct PresenceChanged {
    CarRef ref;
    bool retained = false;
  };

  // A Pair, Accept or Send that came to nothing, or a filter the broker refused (then `filter` says
  // which). A refused filter is asked for again until it is granted; it is told once until then,
  // and not at all while the car has never named this phone. A car that could be listened to before
  // has until the next refusal to say by a notice what happened to the key.
  struct Failed {
    CarRef ref;
    Error error;
    int broker_reason = 0;
    std::string filter;
  };

  // Something that arrived and was not believed.
  struct Ignored {
    std::string topic;
    Error error;
  };

  using Effect = std::variant<Publish, Subscribe, Began, Receipt, Learned, RingChanged,
                              StateChanged, PresenceChanged, Failed, Ignored>;
  using Effects = std::vector<Effect>;

  // `label` is how the car's ring shall call this phone, at most kLabelBytesMax.
  Phone(PrivateKey key, std::string label, std::vector<Pairing> pairings,
        const PhoneLimits& limits = {});

  void Step(const Input& input, const Now& now, Effects& out);
  // When to Step(Tick{}) if nothing else happens.
  std::optional<Instant> NextDeadline() const;

  const KeyId& id() const { return id_; }

  const PrivateKey& key() const { return key_; }

  const std::string& label() const { return label_; }

  // nullptr: not paired with it.
  const CarView* Find(const CarRef& ref) const;

  const std::map<CarRef, CarView>& cars() const { return cars_; }

  // Everything sent has its final receipt.
  bool idle() const { return open_.empty(); }

  // The longest life its class allows, but 30 s for commands that open or signal.
  static std::optional<Duration> DefaultLifetime(const ActionFacts& action);

 private:
  struct Open {
    CarRef ref;
    std::string topic;
    std::string wire;
    std::optional<Timestamp> expires_at;
    Instant started;
    Instant next;      // resend, or close after expiry
    Duration step{0};  // current back-off
    int sends = 0;
    v1::ReceiptState last = v1::RECEIPT_STATE_UNSPECIFIED;
    std::optional<CommandId> cancels{};  // it is a Cancel of this one
    bool quiet = false;                  // it is being taken back: sent no more
    bool earlier = false;                // an earlier run of this phone sent it
    // What to say at `next` when nobody else has said anything by then.
    std::optional<std::pair<v1::ReceiptState, Reason>> settled{};
  };

  struct Claiming {
    PairingOffer offer;
    std::string nonce;
    std::string claim;
    Instant until;
    Instant next;
    Duration step{0};
    bool subscribed = false;
  };

  // How it stands with the subscriptions of one car.
  struct Listening {
    bool watched = false;  // to everything; else for the open commands
    bool asked_lanes = false;
    bool asked_state = false;
    std::vector<std::string> again;  // refused: to be asked for at `again_at`
    std::optional<Instant> again_at;
    Duration step{0};
    bool granted = false;        // everything asked for was, the last time
    std::set<std::string> told;  // refused filters the person has heard of
  };

  void On(const Connected& input, const Now& now, Effects& out);
  void On(const Disconnected& input, const Now& now, Effects& out);
  void On(const Subscribed& input, const Now& now, Effects& out);
  void On(const Published& input, const Now& now, Effects& out);
  void On(const Arrived& input, const Now& now, Effects& out);
  void On(const Pair& input, const Now& now, Effects& out);
  void On(const Accept& input, const Now& now, Effects& out);
  void On(const Forget& input, const Now& now, Effects& out);
  void On(const Watch& input, const Now& now, Effects& out);
  void On(const Unwatch& input, const Now& now, Effects& out);
  void On(const Send& input, const Now& now, Effects& out);
  void On(const Resume& input, const Now& now, Effects& out);
  void On(const Cancel& input, const Now& now, Effects& out);
  void On(const Tick& input, const Now& now, Effects& out);

  void Ask(std::vector<std::string> filters, Effects& out);
  void Listen(const CarRef& ref, bool watch, Effects& out);
  void Refused(const CarRef& ref, const std::string& filter, int code, const Now& now,
               Effects& out);
  void Granted(const CarRef& ref, const std::string& filter, const Now& now, Effects& out);
  void ListenAgain(const Now& now, Effects& out);
  bool HasOpen(const CarRef& ref) const;
  bool WaitsForLane(const CarRef& ref) const;
  void CloseOverdue(const Now& now, Effects& out);
  void SendClaim(const Now& now, Effects& out);
  void SendCommand(const CommandId& id, Open& open, const Now& now, Effects& out);
  Open* Reopen(const CarRef& ref, const std::string& wire, const Now& now, Effects& out);
  void Begin(CommandRequest request, std::optional<CommandId> cancels, const Now& now,
             Effects& out);
  void Close(const CommandId& id, Receipt receipt, const Now& now, Effects& out);
  void CloseUnanswered(const CommandId& id, const Now& now, Effects& out);
  void CancelEnded(const CommandId& target, const Outcome& outcome, const Now& now);
  bool HasRoom(const CarRef& ref, Effects& out) const;
  bool IsBeingCancelled(const CommandId& id) const;
  void OnRing(CarView& car, const std::string& topic, const std::string& signed_ring, Effects& out);
  void OnState(CarView& car, const Publish& publish, Group group, const Now& now, Effects& out);
  void OnPresence(CarView& car, const Publish& publish, Effects& out);
  void OnReceipt(CarView& car, const Publish& publish, const Now& now, Effects& out);
  void OnAnswer(const Publish& publish, Effects& out);
  void OnNotice(CarView& car, const Publish& publish, Effects& out);

  PrivateKey key_;
  KeyId id_;
  std::string label_;
  PhoneLimits limits_;
  std::map<CarRef, CarView> cars_;
  std::map<CarRef, Listening> listening_;  // cars that are listened to, in this connection
  std::map<CommandId, Open> open_;
  std::optional<Claiming> claiming_;
  bool connected_ = false;
  std::deque<std::vector<std::string>> asked_;               // Subscribes without SUBACK
  std::map<std::string, std::deque<CommandId>> unanswered_;  // commands without PUBACK, by topic
};

}  // namespace latchkey::tools
