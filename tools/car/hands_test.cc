// The order of what is done: with the real car, and with effects made up.
#include "tools/car/hands.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

// Hands that write down what they do, and can fail.
struct Diary {
  Hands MakeHands() {
    Hands hands;
    hands.persist = [this](std::string_view) { return Write("memory "); };
    hands.keep_certificate = [this](std::string_view) { return Write("certificate "); };
    hands.connect = [this] { text += "connect "; };
    hands.subscribe = [this](const std::vector<std::string>& filters) {
      text += "subscribe" + std::to_string(filters.size()) + " ";
    };
    hands.hang_up = [this] { text += "hangup "; };
    hands.send = [this](const Send& send) -> Result<void> {
      const size_t end = send.message.topic.find("/receipt/");
      text += end == std::string::npos ? "send " : "receipt ";
      if (!sends) {
        return Fail(v1::REASON_FULL, "no link");
      }
      return {};
    };
    hands.show = [this](const Effect& effect) {
      if (const auto* act = std::get_if<Act>(&effect)) {
        text += "act:" + act->text + " ";
      } else if (const auto* note = std::get_if<Note>(&effect)) {
        text += "note ";
        last_note = note->text;
      } else {
        text += "show ";
      }
    };
    return hands;
  }

  Result<void> Write(const std::string& what) {
    text += what;
    return --writes_left < 0 ? Result<void>(Fail(v1::REASON_STORE_UNAVAILABLE, "disk full"))
                             : Result<void>();
  }

  std::string text;
  std::string last_note;
  int writes_left = 1000;
  bool sends = true;
};

// What a car does with "flash lights" when the n-th write from then on fails.
std::string FlashWith(int writes_left) {
  Story s;
  Diary diary;
  const Hands hands = diary.MakeHands();
  diary.writes_left = writes_left;
  Effects effects;
  s.car_->Step(Arrived{{CommandTopic(s.fleet_car_.ref, s.phone_.Public().Id()),
                        s.Seals(Flash(), 'a'), 1, Retain::kNo, 0}},
               s.now_, effects);
  const Result<void> done = Do(effects, hands);
  CHECK(done.has_value() == (writes_left >= 2));
  return diary.text;
}

}  // namespace

TEST_CASE("hands: the action is done after the car wrote that it begins and before it says done") {
  CHECK(FlashWith(1000) == "memory receipt act:flash_lights memory receipt ");
}

TEST_CASE("hands: after a write that failed nothing is done: no act, and no DONE") {
  CHECK(FlashWith(0) == "memory ");
  CHECK(FlashWith(1) == "memory receipt act:flash_lights memory ");
}

TEST_CASE("hands: a certificate that cannot be kept is not used") {
  Diary diary;
  diary.writes_left = 0;
  const Result<void> done =
      Do({NewCertificate{"der"}, Send{{"lk/1/a/b/keyring", "ring"}}, HangUp{}, Connect{}},
         diary.MakeHands());
  CHECK(testing::Said(done) == "REASON_STORE_UNAVAILABLE");
  CHECK(diary.text == "certificate ");
}

TEST_CASE("hands: a message that cannot be sent is a note, and the rest is done") {
  Diary diary;
  diary.sends = false;
  const Result<void> done = Do({Connect{}, Subscribe{{"a", "b"}},
                                Send{{"lk/1/a/b/keyring", "ring"}}, OfferOver{"why"}, HangUp{}},
                               diary.MakeHands());
  CHECK(done.has_value());
  CHECK(diary.text == "connect subscribe2 send note show hangup ");
  CHECK(diary.last_note == "not sent: lk/1/a/b/keyring: no link");
}

}  // namespace latchkey::car
