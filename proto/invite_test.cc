// Links for giving a key away: read back as written, and nothing else is read.
#include "proto/invite.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/hex.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::Said;

// The base point of P-256.
const std::string kPoint =
    testing::FromHex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296");

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  REQUIRE(text.find(from) != std::string::npos);
  return text.replace(text.find(from), from.size(), to);
}

TEST_CASE("invite: a key request is read back, in any order of its names, with any label") {
  const PublicKey key = PublicKey::FromPoint(kPoint).value();
  for (const std::string& label :
       {std::string(), std::string("Bj\xc3\xb6rn & co?"), std::string(64, 'x')}) {
    const std::string link = ToLink(KeyRequest{key, label});
    const Result<KeyRequest> request = ParseKeyRequest(link);
    REQUIRE(request);
    CHECK(request->key.ToPoint() == kPoint);
    CHECK(request->label == label);
  }
  const std::string point = Base64UrlEncode(kPoint);
  CHECK(ToLink(KeyRequest{key, "Bob"}) == "latchkey://key?v=1&k=" + point + "&n=Qm9i");
  CHECK(ParseKeyRequest("latchkey://key?n=Qm9i&k=" + point + "&v=1").value().label == "Bob");
}

TEST_CASE("invite: a key request with anything missing, doubled, foreign or wrong is refused") {
  const std::string point = Base64UrlEncode(kPoint);
  const std::string good = "latchkey://key?v=1&k=" + point + "&n=Qm9i";
  REQUIRE(ParseKeyRequest(good));
  const std::string off_curve = "\x02" + std::string(32, '\xff');
  const PublicKey key = PublicKey::FromPoint(kPoint).value();
  const std::string uncompressed = "\x04" + key.X() + key.Y();
  for (const std::string& text : std::vector<std::string>{
           "",
           "latchkey://key?",
           "latchkey://key",
           "latchkey://invite?v=1&k=" + point + "&n=Qm9i",
           "LATCHKEY://key?v=1&k=" + point + "&n=Qm9i",
           " " + good,
           good + "&",
           good + "&x=1",
           good + "&n=Qm9i",
           good + std::string(512, 'A'),
           Replaced(good, "&n=Qm9i", ""),
           Replaced(good, "v=1", "v=2"),
           Replaced(good, "v=1", "v="),
           Replaced(good, "v=1", "v"),
           Replaced(good, "n=Qm9i", "m=Qm9i"),
           Replaced(good, "n=Qm9i", "n=Qm9"),
           Replaced(good, "n=Qm9i", "n=Qm9i="),
           Replaced(good, "n=Qm9i", "n=B%20b"),
           Replaced(good, "n=Qm9i", "n=_w"),  // ff: not UTF-8
           Replaced(good, "n=Qm9i", "n=" + Base64UrlEncode(std::string(65, 'x'))),
           Replaced(good, "k=" + point, "k="),
           Replaced(good, "k=" + point, "k=" + point + "A"),
           Replaced(good, point, Base64UrlEncode(off_curve)),
           Replaced(good, point, Base64UrlEncode(uncompressed)),
           Replaced(good, point, Base64UrlEncode(kPoint.substr(0, 32)))}) {
    CAPTURE(text);
    CHECK(Said(ParseKeyRequest(text)) == "REASON_MALFORMED");
  }
}

Invitation Good() {
  return {"broker.example", 8884, "cell-1", testing::Ref("f1", "car_1"),
          PublicKey::FromPoint(kPoint).value()};
}

TEST_CASE("invite: an invitation is read back, and the longest one fits") {
  const std::string link = ToLink(Good());
  CHECK(link == "latchkey://invite?v=1&h=broker.example&p=8884&cell=cell-1&f=f1&c=car_1&k=" +
                    Base64UrlEncode(kPoint));
  const Result<Invitation> read = ParseInvitation(link);
  REQUIRE(read);
  CHECK(read->host == "broker.example");
  CHECK(read->port == 8884);
  CHECK(read->cell == "cell-1");
  CHECK(read->ref == testing::Ref("f1", "car_1"));
  CHECK(read->car_key.ToPoint() == kPoint);
  Invitation longest = Good();
  longest.host = std::string(253, 'h');
  longest.port = 65535;
  longest.cell = std::string(64, 'c');
  longest.ref = testing::Ref(std::string(32, 'f'), std::string(32, 'c'));
  CHECK(ToLink(ParseInvitation(ToLink(longest)).value()) == ToLink(longest));
}

TEST_CASE("invite: an invitation with anything missing, doubled, foreign or wrong is refused") {
  const std::string good = ToLink(Good());
  const std::string point = Base64UrlEncode(kPoint);
  for (const std::string& text :
       std::vector<std::string>{"",
                                "latchkey://invite?",
                                Replaced(good, "invite", "pair"),
                                Replaced(good, "invite", "key"),
                                good + "&",
                                good + "&s=c3Nzc3Nzc3Nzc3Nzc3Nzcw",
                                good + "&v=1",
                                Replaced(good, "&c=car_1", ""),
                                Replaced(good, "v=1", "v=2"),
                                Replaced(good, "h=broker.example", "h="),
                                Replaced(good, "h=broker.example", "h=a/b"),
                                Replaced(good, "h=broker.example", "h=" + std::string(254, 'a')),
                                Replaced(good, "p=8884", "p=0"),
                                Replaced(good, "p=8884", "p=65536"),
                                Replaced(good, "p=8884", "p=08884"),
                                Replaced(good, "p=8884", "p="),
                                Replaced(good, "cell=cell-1", "cell="),
                                Replaced(good, "cell=cell-1", "cell=a b"),
                                Replaced(good, "f=f1", "f=F1"),
                                Replaced(good, "c=car_1", "c=-car"),
                                Replaced(good, point, ""),
                                Replaced(good, point, point.substr(1)),
                                Replaced(good, point, std::string(44, 'A'))}) {
    CAPTURE(text);
    CHECK(Said(ParseInvitation(text)) == "REASON_MALFORMED");
  }
}

TEST_CASE("invite: making a link that could not be read is our own fault") {
  const PublicKey key = PublicKey::FromPoint(kPoint).value();
  CHECK_THROWS_AS(ToLink(KeyRequest{key, std::string(65, 'x')}), Fault);
  CHECK_THROWS_AS(ToLink(KeyRequest{key, "\xff"}), Fault);
  Invitation bad = Good();
  bad.host = "a b";
  CHECK_THROWS_AS(ToLink(bad), Fault);
  bad = Good();
  bad.ref = {};
  CHECK_THROWS_AS(ToLink(bad), Fault);
}

}  // namespace
}  // namespace latchkey
