// The table of refusals. A code that MQTT 5.0 does not allow in a PUBACK (0x86, 0x95, 0x9a) goes
// into CONNACK or DISCONNECT; Mosquitto 2.0 answers every refused publish with 0x87 whatever the
// table says, so only the counter, the log line and the receipt carry the word.
#include "proto/reason.h"

#include <array>
#include <cstddef>

namespace latchkey {

namespace {

constexpr size_t kReasonCount = static_cast<size_t>(v1::Reason_MAX) + 1;

// By Reason. Columns: word, MQTT 5 code, may have acted, retry can help, text.
constexpr std::array<ReasonFacts, kReasonCount> kFacts = {{
    {"none", 0x00, false, false, ""},
    {"malformed", 0x99, false, false,
     "The message could not be read. Nothing happened. Update the app that sent it."},
    {"too_large", 0x95, false, false,
     "The message is larger than its kind may be. Nothing happened. Send less at once."},
    {"unknown_topic", 0x90, false, false,
     "There is no such topic. Nothing happened. Check fleet, car and app version."},
    {"not_allowed", 0x87, false, false,
     "Only someone else may send or read this. Nothing happened. Ask the owner for access."},
    {"wrong_lane", 0x87, false, false,
     "The sender's key is not the one this was sent for. Nothing happened. Sign in with the key "
     "that signed it."},
    {"not_on_ring", 0x87, false, false,
     "This phone holds no key to this car. Nothing happened. Pair it in the car or ask the owner "
     "for a key."},
    {"not_permitted", 0x87, false, false,
     "This phone's key does not include this. Nothing happened. Ask the owner to widen it."},
    {"outside_window", 0x87, false, true,
     "This phone's key is not valid at this time. Nothing happened. Try again inside its hours or "
     "ask the owner."},
    {"blocked", 0x87, false, false,
     "This phone's key has been blocked. Nothing happened. Ask the owner or the fleet's staff."},
    {"bad_signature", 0x87, false, false,
     "The signature does not fit. Nothing happened. Pair the phone again if this is repeated."},
    {"bad_certificate", 0x87, false, false,
     "The certificate is not one of this fleet's or is out of its time. Nothing happened. Have a "
     "new one issued."},
    {"bad_token", 0x86, false, true,
     "The sign-in could not be read. Nothing happened. Make a new token for this cell and sign in "
     "again."},
    {"bad_algorithm", 0x86, false, false,
     "The sign-in is not signed with ES256. Nothing happened. Use an ES256 token."},
    {"token_expired", 0x86, false, true,
     "The sign-in is out of its time. Nothing happened. Check the phone's clock and sign in with a "
     "new token."},
    {"wrong_car", 0x87, false, false,
     "This was meant for another car. Nothing happened. Choose the car again and send anew."},
    {"expired", 0x83, false, true,
     "The time for this ran out: the car will not act on it any more. Look at the car's state, and "
     "send it again if still wanted."},
    {"lifetime_too_long", 0x83, false, true,
     "This asks to be obeyed for longer than its kind may, or was issued in the future. Nothing "
     "happened. Check the phone's clock and send anew."},
    {"duplicate", 0x83, true, false,
     "The car has had this command already; what became of it then still holds. Send a new command "
     "to do it again."},
    {"superseded", 0x83, false, false,
     "A newer command took its place: the car will not act on this one any more. See the newer "
     "one's "
     "outcome."},
    {"older_version", 0x83, false, false,
     "A newer version is already known. This one was ignored. The car sends its newest when it "
     "connects."},
    {"full", 0x97, false, true,
     "There is no room for more just now. Nothing happened. Wait a moment, or remove what is no "
     "longer needed, and try again."},
    {"retain_not_allowed", 0x9a, false, false,
     "The retain flag is not as this topic wants it. Nothing happened. Set it as the topic table "
     "says."},
    {"unknown_action", 0x83, false, false,
     "The car does not know this command. Nothing happened. Update the car's software or the app."},
    {"time_unknown", 0x83, false, true,
     "The car does not know the time yet and only locks and closes. Nothing happened. Try again in "
     "a few minutes."},
    {"no_offer", 0x87, false, true,
     "The car is not pairing now. Nothing happened. Start pairing on the car's screen and scan the "
     "new code."},
    {"bad_proof", 0x87, false, true,
     "The code on the car's screen and this phone's proof do not fit. Nothing happened. Scan the "
     "code on the screen again."},
    {"declined", 0x87, false, true,
     "The person in the car said no. Nothing happened. Ask them and try again."},
    {"store_unavailable", 0x80, true, true,
     "The service cannot keep this for the car at the moment. It may still reach a car that is "
     "online. Try again in a few minutes."},
    {"car_failed", 0x80, true, true,
     "The car tried and could not finish. It may have done part of it. Look at the car's state, "
     "then try again."},
    {"outcome_unknown", 0x80, true, true,
     "The car restarted while doing this, so it is not known whether it was done. Look at the "
     "car's state before you try again."},
    {"clock_ahead", 0x83, false, false,
     "This was observed later than it was received: the sender's clock is wrong. It was not used. "
     "Set the clock."},
    {"impossible_value", 0x99, false, false,
     "A value lies outside what is possible. Nothing happened. Correct it and send anew."},
    {"internal", 0x80, true, true,
     "Something went wrong inside the service or the car. Look at the car's state, then try again; "
     "tell the operator if it is repeated."},
    {"cancelled", 0x83, false, false,
     "Its sender took it back: the car will not begin it any more. Send a new command if it is "
     "wanted after all."},
    {"ended", 0x83, false, false,
     "The command that was to be taken back has its outcome or had begun, so nothing was taken "
     "back. Look at its outcome and at the car's state."},
    {"moved", 0x9c, false, true,
     "This broker has handed the sender over to another one. Nothing happened. Connect to the next "
     "broker of the list."},
}};

}  // namespace

const ReasonFacts& FactsOf(Reason reason) {
  const auto index = static_cast<size_t>(reason);
  return index < kFacts.size() ? kFacts[index] : kFacts[v1::REASON_INTERNAL];
}

}  // namespace latchkey
