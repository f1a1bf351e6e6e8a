// Names, ids and base64url: each rule with rows on both sides of its edge.
#include "proto/types.h"

#include <set>
#include <string>
#include <string_view>
#include <unordered_set>

#include <doctest/doctest.h>

namespace latchkey {
namespace {

using std::string_view_literals::operator""sv;

struct NameCase {
  std::string_view text;
  bool valid;
};

TEST_CASE("names: a fleet is 1 to 32 of a-z 0-9 and '-', not beginning with '-'") {
  for (const NameCase& row : {NameCase{"demo", true},
                              {"f1-north", true},
                              {"a", true},
                              {"0", true},
                              {"abcdefghijklmnopqrstuvwxyz012345", true},
                              {"", false},
                              {"abcdefghijklmnopqrstuvwxyz0123456", false},
                              {"-demo", false},
                              {"Demo", false},
                              {"de_mo", false},
                              {"de/mo", false},
                              {"de+mo", false},
                              {"#", false},
                              {"+", false},
                              {"d\xc3\xa9mo", false},
                              {"demo\0"sv, false},
                              {" demo", false},
                              {"demo\n", false}}) {
    CAPTURE(row.text);
    CHECK(FleetId::Parse(row.text).has_value() == row.valid);
  }
}

TEST_CASE("names: a car is 1 to 32 of base64url's characters, not beginning with '-'") {
  for (const NameCase& row : {NameCase{"F3-17", true},
                              {"_x", true},
                              {"abcdefghijklmnopqrstuvwxyzABCDEF", true},
                              {"", false},
                              {"abcdefghijklmnopqrstuvwxyzABCDEFG", false},
                              {"-x", false},
                              {"a b", false},
                              {"a:b", false},
                              {"a/b", false},
                              {"a\0b"sv, false},
                              {"$x", false}}) {
    CAPTURE(row.text);
    CHECK(CarId::Parse(row.text).has_value() == row.valid);
  }
}

TEST_CASE("names: a key id is exactly 22 characters of base64url and may begin with '-'") {
  for (const NameCase& row : {NameCase{"ABCDEFGHIJKLMNOPQRSTUV", true},
                              {"-_CDEFGHIJKLMNOPQRSTUV", true},
                              {"ABCDEFGHIJKLMNOPQRSTU", false},
                              {"ABCDEFGHIJKLMNOPQRSTUVW", false},
                              {"ABCDEFGHIJKLMNOPQRSTU=", false},
                              {"ABCDEFGHIJKLMNOPQRSTU+", false},
                              {"", false}}) {
    CAPTURE(row.text);
    CHECK(KeyId::Parse(row.text).has_value() == row.valid);
  }
}

TEST_CASE("names: a car is found in a set by fleet and car together") {
  std::unordered_set<CarRef> cars;
  const CarRef a{FleetId::Parse("a").value(), CarId::Parse("x").value()};
  const CarRef b{FleetId::Parse("b").value(), CarId::Parse("x").value()};
  cars.insert(a);
  CHECK(cars.count(a) == 1);
  CHECK(cars.count(b) == 0);
  CHECK(a.ToText() == "a/x");
}

TEST_CASE("command id: the text form and the bytes carry the same id") {
  const CommandId id =
      CommandId::Make(1'700'000'000'123, "\xff\x01\xff\x03\x04\x05\x06\x07\x08\x09");
  CHECK(id.ToText() == "018bcfe5-687b-7f01-bf03-040506070809");
  CHECK(CommandId::FromText(id.ToText()) == id);
  CHECK(CommandId::FromBytes(id.ToBytes()) == id);
}

TEST_CASE("command id: ids made later sort later") {
  CHECK(CommandId::Make(1000, std::string(10, '\xff')) < CommandId::Make(1001, std::string(10, 0)));
}

TEST_CASE("command id: anything but 16 bytes or 8-4-4-4-12 lower-case hex is refused") {
  CHECK_FALSE(CommandId::FromBytes(std::string(15, 'x')));
  CHECK_FALSE(CommandId::FromBytes(std::string(17, 'x')));
  CHECK_FALSE(CommandId::FromBytes(""));
  for (const std::string_view text :
       {""sv, "018bcfe5687b7f01bf03040506070809"sv, "018BCFE5-687b-7f01-bf03-040506070809"sv,
        "018bcfe5-687b-7f01-bf03-04050607080"sv, "018bcfe5-687b-7f01-bf03-0405060708090"sv,
        "018bcfe5-687b-7f01-bf03+040506070809"sv, "018bcfe5-687b-7f01-bf03-04050607080g"sv,
        "018bcfe5-687b-7f01-bf03-04050607080\0"sv}) {
    CAPTURE(text);
    CHECK_FALSE(CommandId::FromText(text));
  }
}

TEST_CASE("groups: every word parses to its group, with a read permission of its own") {
  std::set<int> permissions;
  for (const Group group : kGroups) {
    CHECK(ParseGroup(ToText(group)) == group);
    const std::string name = v1::Permission_Name(ReadPermission(group));
    std::string want = "PERMISSION_READ_";
    for (const char c : ToText(group)) {
      want += static_cast<char>(c - 'a' + 'A');
    }
    CHECK(name == want);
    permissions.insert(ReadPermission(group));
  }
  CHECK(permissions.size() == kGroupCount);
  CHECK_FALSE(ParseGroup(""));
  CHECK_FALSE(ParseGroup("Body"));
  CHECK_FALSE(ParseGroup("body/"));
}

struct Base64Case {
  std::string_view bytes;
  std::string_view text;
};

TEST_CASE("base64url: the RFC 4648 rows, and 0xfb 0xff as '-' and '_'") {
  for (const Base64Case& row : {Base64Case{"", ""},
                                {"f", "Zg"},
                                {"fo", "Zm8"},
                                {"foo", "Zm9v"},
                                {"foob", "Zm9vYg"},
                                {"fooba", "Zm9vYmE"},
                                {"foobar", "Zm9vYmFy"},
                                {"\xfb\xff", "-_8"},
                                {"\0\0\0"sv, "AAAA"}}) {
    CHECK(Base64UrlEncode(row.bytes) == row.text);
    CHECK(Base64UrlDecode(row.text) == std::string(row.bytes));
  }
}

TEST_CASE("base64url: padding, other alphabets, impossible lengths and spare bits are refused") {
  for (const std::string_view text : {"Zg=="sv, "Z"sv, "Zm9vY"sv, "+/8"sv, "Zh"sv, "Zm9"sv, "Z g"sv,
                                      "Zg\n"sv, "Zg\0"sv, "\xc3\xa9"sv}) {
    CAPTURE(text);
    CHECK_FALSE(Base64UrlDecode(text));
  }
}

}  // namespace
}  // namespace latchkey
