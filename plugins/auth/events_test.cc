// What goes into the log of refusals and taps, and that nobody can fill it or hide others' entries.
#include "plugins/auth/events.h"

#include <string>

#include <doctest/doctest.h>

#include "latchkey/v1/log.pb.h"
#include "proto/topic.h"

namespace latchkey::auth {
namespace {

constexpr std::string_view kKey = "abcdefghijklmnopqrstuv";

Now At(int64_t ms) {
  return {Timestamp{1'700'000'000'000 + ms}, Instant{ms}};
}

Principal Phone(char last = 'v') {
  Principal phone;
  phone.key = KeyId::Parse(std::string(kKey.substr(0, 21)) + last).value();
  return phone;
}

Principal Operator() {
  Principal operator_;
  operator_.kind = PrincipalKind::kOperator;
  operator_.car.fleet = FleetId::Parse("demo").value();
  operator_.name = "eve";
  return operator_;
}

v1::LogEntry Read(const std::optional<Publish>& publish) {
  v1::LogEntry entry;
  REQUIRE(publish.has_value());
  CHECK(publish->topic == kEventTopic);
  CHECK(publish->retain == Retain::kNo);
  REQUIRE(entry.ParseFromString(publish->payload));
  return entry;
}

Event SignIn(std::string_view address) {
  Event event;
  event.kind = EventKind::kSignInRefused;
  event.reason = v1::REASON_BAD_TOKEN;
  event.who = "somebody";
  event.address = address;
  return event;
}

TEST_CASE("events: a refused access says key, car, reason and topic") {
  EventBook book;
  const Principal phone = Phone();
  Event event;
  event.reason = v1::REASON_NOT_ON_RING;
  event.principal = &phone;
  event.topic = "lk/1/demo/car-1/state/+";
  const v1::LogEntry entry = Read(book.Note(event, At(5)));
  CHECK(entry.event() == "access_refused");
  CHECK(entry.at_ms() == 1'700'000'000'005);
  CHECK(entry.fleet() == "demo");
  CHECK(entry.car() == "car-1");
  CHECK(entry.key_id() == kKey);
  CHECK(entry.who().empty());
  CHECK(entry.reason() == v1::REASON_NOT_ON_RING);
  CHECK(entry.note() == "lk/1/demo/car-1/state/+");
}

TEST_CASE("events: a tap is the operator's, in its fleet, whatever it asks for") {
  EventBook book;
  const Principal eve = Operator();
  Event event;
  event.kind = EventKind::kTap;
  event.principal = &eve;
  event.topic = "lk/1/demo/+/state/body";
  const v1::LogEntry tap = Read(book.Note(event, At(0)));
  CHECK(tap.event() == "tap");
  CHECK(tap.fleet() == "demo");
  CHECK(tap.car().empty());
  CHECK(tap.who() == "operator:demo/eve");
  event.kind = EventKind::kTapRefused;
  event.topic = "#";
  event.reason = v1::REASON_UNKNOWN_TOPIC;
  const v1::LogEntry refused = Read(book.Note(event, At(0)));
  CHECK(refused.event() == "tap_refused");
  CHECK(refused.fleet() == "demo");
  CHECK(refused.note() == "#");
}

TEST_CASE("events: what a client chose is printable, short, and cannot pass for a key") {
  EventBook book;
  const std::string who = "a\nb\xff" + std::string(500, 'x');
  Event event = SignIn("192.0.2.1");
  event.who = who;
  event.key = "not a key\n";
  const std::string text(600, 't');
  event.text = text;
  const v1::LogEntry entry = Read(book.Note(event, At(0)));
  CHECK(entry.event() == "sign_in_refused");
  CHECK(entry.who().substr(0, 5) == "a?b?x");
  CHECK(entry.who().size() == kEventWhoBytesMax);
  CHECK(entry.note().substr(0, 21) == "from 192.0.2.1; ttttt");
  CHECK(entry.note().size() == kEventNoteBytesMax);
  CHECK(entry.key_id().empty());
  event.key = kKey;
  CHECK(Read(book.Note(event, At(0))).key_id() == kKey);
}

TEST_CASE("events: one address runs out, what is left out is counted and said once") {
  EventBook book;
  int said = 0;
  for (int i = 0; i < 1000; ++i) {
    said += book.Note(SignIn("192.0.2.1"), At(i)) ? 1 : 0;
  }
  CHECK(said == 10);
  CHECK(book.left_out() == 990);
  const std::vector<Publish> left_out = book.TakeLeftOut(At(1000));
  REQUIRE(left_out.size() == 1);
  const v1::LogEntry entry = Read(left_out.front());
  CHECK(entry.event() == "sign_in_refused");
  CHECK(entry.reason() == v1::REASON_FULL);
  CHECK(entry.note() == "990 more of these are left out: too many at once");
  CHECK(book.TakeLeftOut(At(1000)).empty());
}

TEST_CASE("events: strangers from everywhere leave room for operators and for tomorrow") {
  EventBook book;
  int said = 0;
  for (int i = 0; i < 10'000; ++i) {  // ten seconds
    const std::string address = "10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256);
    said += book.Note(SignIn(address), At(i)) ? 1 : 0;
    if (i % 100 == 0) {
      const Principal eve = Operator();
      Event tap;
      tap.kind = EventKind::kTap;
      tap.principal = &eve;
      tap.topic = "lk/1/demo/#";
      CAPTURE(i);
      CHECK((i < 1000 || book.Note(tap, At(i)).has_value()));
    }
  }
  CHECK(said >= 29);
  CHECK(said <= 31);
}

TEST_CASE("events: never more than twenty in a second") {
  EventBook book;
  const Principal eve = Operator();
  Event tap;
  tap.kind = EventKind::kTap;
  tap.principal = &eve;
  int said = 0;
  for (int i = 0; i < 100; ++i) {
    said += book.Note(tap, At(i)) ? 1 : 0;
  }
  CHECK(said == kEventsPerSecondMax);
  CHECK(book.Note(tap, At(1000)).has_value());
}

}  // namespace
}  // namespace latchkey::auth
