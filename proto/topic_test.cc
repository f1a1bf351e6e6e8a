// The topic table, and MQTT 5.0 section 4.7 row by row.
#include "proto/topic.h"

#include <set>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

namespace latchkey {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view kLane = "ABCDEFGHIJKLMNOPQRSTUV";

CarRef TheCar() {
  return {FleetId::Parse("demo").value(), CarId::Parse("F3-17").value()};
}

KeyId TheLane() {
  return KeyId::Parse(kLane).value();
}

TEST_CASE("topic: what each maker makes parses back to the same parts") {
  struct Case {
    std::string name;
    std::string_view want;
    TopicKind kind;
    std::string_view lane;
  };

  const CarRef ref = TheCar();
  for (const Case& row : {
           Case{PresenceTopic(ref), "lk/1/demo/F3-17/presence", TopicKind::kPresence, ""},
           Case{KeyRingTopic(ref), "lk/1/demo/F3-17/keyring", TopicKind::kKeyRing, ""},
           Case{PairingTopic(ref, TheLane()), "lk/1/demo/F3-17/pairing/ABCDEFGHIJKLMNOPQRSTUV",
                TopicKind::kPairingClaim, kLane},
           Case{PairingAnswerTopic(ref, TheLane()),
                "lk/1/demo/F3-17/pairing/ABCDEFGHIJKLMNOPQRSTUV/answer", TopicKind::kPairingAnswer,
                kLane},
           Case{CommandTopic(ref, TheLane()), "lk/1/demo/F3-17/command/ABCDEFGHIJKLMNOPQRSTUV",
                TopicKind::kCommand, kLane},
           Case{ReceiptTopic(ref, TheLane()), "lk/1/demo/F3-17/receipt/ABCDEFGHIJKLMNOPQRSTUV",
                TopicKind::kReceipt, kLane},
           Case{CertificateTopic(ref), "lk/1/demo/F3-17/certificate", TopicKind::kCertificate, ""},
           Case{CertificateRequestTopic(ref), "lk/1/demo/F3-17/certificate/request",
                TopicKind::kCertificateRequest, ""},
       }) {
    CHECK(row.name == row.want);
    const auto topic = ParseTopic(row.name);
    REQUIRE(topic);
    CHECK(topic->kind == row.kind);
    CHECK(topic->fleet == "demo");
    CHECK(topic->car == "F3-17");
    CHECK(topic->lane == row.lane);
  }
  for (const Group group : kGroups) {
    const std::string name = StateTopic(ref, group);
    const auto topic = ParseTopic(name);
    REQUIRE(topic);
    CHECK(topic->kind == TopicKind::kState);
    CHECK(topic->group == group);
    CHECK(topic->lane.empty());
  }
}

TEST_CASE("topic: wildcards, NUL, over-long, misspelt and half topics are none of ours") {
  for (const std::string_view name : {""sv,
                                      "lk"sv,
                                      "lk/1"sv,
                                      "lk/1/"sv,
                                      "lk/1/demo"sv,
                                      "lk/1/demo/"sv,
                                      "lk/1/demo/F3"sv,
                                      "lk/1/demo/F3/"sv,
                                      "lk/1/demo/F3/state"sv,
                                      "lk/1/demo/F3/certificate/"sv,
                                      "lk/1/demo/F3/certificate/answer"sv,
                                      "lk/1/demo/F3/certificate/request/"sv,
                                      "lk/1/demo/F3/certificate/request/x"sv,
                                      "lk/1/demo/F3/state/"sv,
                                      "lk/1/demo/F3/state/soc"sv,
                                      "lk/1/demo/F3/state/body/"sv,
                                      "lk/1/demo/F3/state/body/x"sv,
                                      "lk/1/demo/F3/presence/"sv,
                                      "lk/1/demo/F3/presence/x"sv,
                                      "lk/1/demo/F3/keyring/x"sv,
                                      "lk/1/demo/F3/Presence"sv,
                                      "lk/1/demo/+/presence"sv,
                                      "lk/1/+/F3/presence"sv,
                                      "lk/1/demo/#"sv,
                                      "lk/1/demo/F3/state/+"sv,
                                      "lk/1//F3/presence"sv,
                                      "lk/1/demo//presence"sv,
                                      "lk/2/demo/F3/presence"sv,
                                      "LK/1/demo/F3/presence"sv,
                                      "/lk/1/demo/F3/presence"sv,
                                      "$SYS/broker"sv,
                                      "$share/g/lk/1/demo/F3/presence"sv,
                                      "$CONTROL/latchkey/v1"sv,
                                      "lk/1/de\0mo/F3/presence"sv,
                                      "lk/1/demo/F3/presence\0"sv,
                                      "lk/1/-demo/F3/presence"sv,
                                      "lk/1/DEMO/F3/presence"sv,
                                      "lk/1/demo/-F3/presence"sv,
                                      "lk/1/demo/F3/command"sv,
                                      "lk/1/demo/F3/command/"sv,
                                      "lk/1/demo/F3/command/short"sv,
                                      "lk/1/demo/F3/command/ABCDEFGHIJKLMNOPQRSTUV/"sv,
                                      "lk/1/demo/F3/command/ABCDEFGHIJKLMNOPQRSTUV/answer"sv,
                                      "lk/1/demo/F3/receipt/ABCDEFGHIJKLMNOPQRSTUVW"sv,
                                      "lk/1/demo/F3/pairing/ABCDEFGHIJKLMNOPQRSTUV/"sv,
                                      "lk/1/demo/F3/pairing/ABCDEFGHIJKLMNOPQRSTUV/answers"sv,
                                      "lk/1/demo/F3/pairing/ABCDEFGHIJKLMNOPQRSTUV/answer/x"sv}) {
    CAPTURE(name);
    CHECK_FALSE(ParseTopic(name));
  }
  CHECK_FALSE(ParseTopic("lk/1/" + std::string(33, 'a') + "/F3/presence"));
  CHECK_FALSE(ParseTopic("lk/1/demo/" + std::string(33, 'a') + "/presence"));
  CHECK_FALSE(ParseTopic("lk/1/demo/F3/" + std::string(65000, 'a')));
  CHECK(ParseTopic("lk/1/" + std::string(32, 'a') + "/" + std::string(32, 'b') + "/presence"));
}

TEST_CASE("topic: the last one is told again, and from words of its own") {
  LastTopic last;
  CHECK_FALSE(last.Parse("").has_value());
  const std::vector<std::string> names = {
      "lk/1/f1/c1/state/energy", "lk/1/f1/c1/state/energy",  "lk/1/f1/c2/state/energy",
      "lk/1/f2/c1/presence",     "lk/1/f1/c1/state/nothing", "lk/1/f1/c1/presence",
      std::string(300, 'x'),     "lk/1/f1/c1/presence",      ""};
  for (const std::string& name : names) {
    CAPTURE(name);
    std::string passing = name;
    const std::optional<Topic>& topic = last.Parse(passing);
    passing.assign(passing.size(), '?');
    const std::optional<Topic> expected = ParseTopic(name);
    REQUIRE(topic.has_value() == expected.has_value());
    if (topic) {
      CHECK(topic->kind == expected->kind);
      CHECK(topic->fleet == expected->fleet);
      CHECK(topic->car == expected->car);
      CHECK(topic->group == expected->group);
    }
  }
}

TEST_CASE("topic: every kind has a word of its own, a size, and is retained as the table says") {
  std::set<std::string_view> words;
  size_t retained = 0;
  for (size_t i = 0; i < kTopicKindCount; ++i) {
    const TopicRule& rule = RuleOf(static_cast<TopicKind>(i));
    words.insert(rule.word);
    CHECK(rule.payload_bytes_max >= 256);
    retained += rule.retained ? 1 : 0;
  }
  CHECK(words.size() == kTopicKindCount);
  CHECK(retained == 3);
  CHECK(RuleOf(TopicKind::kState).retained);
  CHECK(RuleOf(TopicKind::kPresence).retained);
  CHECK(RuleOf(TopicKind::kKeyRing).retained);
  CHECK_FALSE(RuleOf(TopicKind::kCommand).retained);
}

TEST_CASE("filter: fleet, car and rest are what the levels say") {
  struct Case {
    std::string_view filter;
    std::string_view share;
    std::string_view fleet;  // "*": wildcard
    std::string_view car;
    std::string_view rest;
  };

  for (const Case& row : {
           Case{"lk/1/#", "", "*", "*", "#"},
           Case{"lk/1/demo/#", "", "demo", "*", "#"},
           Case{"lk/1/+/#", "", "*", "*", "#"},
           Case{"lk/1/demo/F3/#", "", "demo", "F3", "#"},
           Case{"lk/1/demo/+/state/energy", "", "demo", "*", "state/energy"},
           Case{"lk/1/+/+/state/+", "", "*", "*", "state/+"},
           Case{"lk/1/+/F3/presence", "", "*", "F3", "presence"},
           Case{"lk/1/demo/F3/+/#", "", "demo", "F3", "+/#"},
           Case{"$share/bridge/lk/1/+/+/receipt/+", "bridge", "*", "*", "receipt/+"},
       }) {
    CAPTURE(row.filter);
    const auto filter = ParseFilter(row.filter);
    REQUIRE(filter);
    CHECK(filter->share == row.share);
    CHECK(filter->fleet.value_or("*") == row.fleet);
    CHECK(filter->car.value_or("*") == row.car);
    CHECK(filter->rest == row.rest);
  }
}

TEST_CASE("filter: what is malformed or reaches outside lk/1 does not parse") {
  for (const std::string_view filter : {""sv,
                                        "#"sv,
                                        "+"sv,
                                        "+/+/#"sv,
                                        "lk"sv,
                                        "lk/#"sv,
                                        "lk/+/#"sv,
                                        "lk/1"sv,
                                        "lk/1/"sv,
                                        "lk/1/demo"sv,
                                        "lk/1/demo/F3"sv,
                                        "lk/1/demo/F3/"sv,
                                        "lk/1/demo/+"sv,
                                        "lk/1/#/x"sv,
                                        "lk/1/demo#"sv,
                                        "lk/1/demo/#/presence"sv,
                                        "lk/1/demo/F3/state+"sv,
                                        "lk/1/demo/F3/st#"sv,
                                        "lk/1/++/F3/presence"sv,
                                        "lk/1/DEMO/F3/presence"sv,
                                        "lk/1/demo/a b/presence"sv,
                                        "$SYS/#"sv,
                                        "$SYS/broker/#"sv,
                                        "$share"sv,
                                        "$share/"sv,
                                        "$share/g"sv,
                                        "$share/g/"sv,
                                        "$share//lk/1/#"sv,
                                        "$share/+/lk/1/#"sv,
                                        "$share/g/#"sv,
                                        "$share/g/$SYS/#"sv,
                                        "$share/g/$share/h/lk/1/#"sv,
                                        "lk/1/demo/F3/state/\0"sv,
                                        "lk/1/\0/F3/presence"sv,
                                        "lk/1/demo/F3/state/\xc3\xa9"sv,
                                        "/lk/1/#"sv,
                                        "lk//#"sv,
                                        "lk/1//F3/presence"sv}) {
    CAPTURE(filter);
    CHECK_FALSE(ParseFilter(filter));
  }
  CHECK_FALSE(ParseFilter("lk/1/demo/F3/" + std::string(1000, 'a')));
  CHECK_FALSE(ParseFilter("lk/1/" + std::string(60000, '+')));
}

TEST_CASE("filter: matching is as MQTT 5.0 section 4.7 says") {
  struct Case {
    std::string_view filter;
    std::string_view name;
    bool matches;
  };

  for (const Case& row : {
           Case{"sport/tennis/player1/#", "sport/tennis/player1", true},
           Case{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
           Case{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
           Case{"sport/#", "sport", true},
           Case{"sport/#", "sports", false},
           Case{"#", "a/b", true},
           Case{"#", "/a", true},
           Case{"#", "$SYS/broker", false},
           Case{"+/broker", "$SYS/broker", false},
           Case{"+/monitor/Clients", "$SYS/monitor/Clients", false},
           Case{"$SYS/#", "$SYS/", true},
           Case{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
           Case{"a/+", "a/$b", true},
           Case{"sport/tennis/+", "sport/tennis/player1", true},
           Case{"sport/tennis/+", "sport/tennis/player1/ranking", false},
           Case{"sport/+", "sport", false},
           Case{"sport/+", "sport/", true},
           Case{"+/+", "/finance", true},
           Case{"/+", "/finance", true},
           Case{"+", "/finance", false},
           Case{"+/tennis/#", "sport/tennis", true},
           Case{"a/b", "a/b", true},
           Case{"a/b", "A/b", false},
           Case{"a/b", "a/b/", false},
           Case{"a/b/", "a/b", false},
           Case{"a//b", "a/b", false},
           Case{"a/+/b", "a//b", true},
           Case{"a/b#", "a/b", false},
           Case{"a/#/b", "a/x/b", false},
           Case{"a+", "aa", false},
           Case{"", "a", false},
           Case{"#", "", false},
           Case{"a/+", "a/+", false},
           Case{"a/#", "a/#", false},
           Case{"lk/1/+/+/state/+", "lk/1/demo/F3/state/body", true},
           Case{"lk/1/+/+/state/+", "lk/1/demo/F3/presence", false},
       }) {
    CAPTURE(row.filter);
    CAPTURE(row.name);
    CHECK(FilterMatches(row.filter, row.name) == row.matches);
  }
}

}  // namespace
}  // namespace latchkey
