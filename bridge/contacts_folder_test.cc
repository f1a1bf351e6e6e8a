// The folder of contacts as cars get numbers, get other ones and lose them.
#include "bridge/contacts_folder.h"

#include <fstream>
#include <vector>

#include <doctest/doctest.h>
#include <stdlib.h>

#include "proto/types.h"

namespace latchkey::bridge {

namespace {

namespace fs = std::filesystem;

constexpr const char* kNumber = "+436601234567";

CarRef Car(const std::string& fleet, const std::string& car) {
  return {FleetId::Parse(fleet).value(), CarId::Parse(car).value()};
}

std::string Text(const std::string& number, char fill = 'k') {
  return R"({"number": ")" + number + R"(", "relay_key": ")" +
         Base64UrlEncode(std::string(32, fill)) + "\"}\n";
}

struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "lk_contacts_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }

  ~Folder() { fs::remove_all(path); }

  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void Put(const std::string& fleet, const std::string& name, const std::string& text,
           fs::perms mode = fs::perms::owner_read | fs::perms::owner_write) const {
    fs::create_directories(path / fleet);
    const fs::path next = path / fleet / (name + ".new");
    std::ofstream(next, std::ios::binary) << text;
    fs::permissions(next, mode);
    fs::rename(next, path / fleet / name);
  }

  fs::path path;
};

}  // namespace

TEST_CASE("contacts: numbers come, change and go, and nothing is told twice") {
  const Folder folder;
  std::vector<std::string> log;
  ContactsFolder contacts(folder.path, [&](const LogEvent& event) {
    log.push_back(event.event + " " + event.fields[0].second);
  });
  CHECK_FALSE(contacts.Poll().has_value());
  folder.Put("f", "one.json", Text(kNumber));
  folder.Put("g", "two.json", Text("+4912345678"));
  const auto both = contacts.Poll();
  REQUIRE(both.has_value());
  CHECK(both->size() == 2);
  CHECK(both->at(Car("f", "one")) == Contact{kNumber, std::string(32, 'k')});
  CHECK_FALSE(contacts.Poll().has_value());

  folder.Put("f", "one.json", Text("+436609999999"));
  CHECK(contacts.Poll()->at(Car("f", "one")).number == "+436609999999");
  folder.Put("f", "one.json", Text("+436609999999", 'l'));
  CHECK(contacts.Poll()->at(Car("f", "one")).relay_key == std::string(32, 'l'));

  folder.Put("f", "one.json", "half a fi");
  folder.Put("f", "notes.txt", Text(kNumber));
  folder.Put("f", "no car.json", Text(kNumber));
  CHECK_FALSE(contacts.Poll().has_value());
  CHECK_FALSE(contacts.Poll().has_value());
  CHECK(log == std::vector<std::string>{"contact_unusable f/one"});

  fs::remove(folder.path / "f" / "one.json");
  CHECK(contacts.Poll()->size() == 1);
  fs::remove_all(folder.path / "g");
  CHECK(contacts.Poll()->empty());
  fs::remove_all(folder.path / "f");
  CHECK_FALSE(contacts.Poll().has_value());
}

TEST_CASE("contacts: a relay key that others can read is not used until that is put right") {
  const Folder folder;
  std::vector<std::string> log;
  ContactsFolder contacts(folder.path,
                          [&](const LogEvent& event) { log.push_back(event.fields[1].second); });
  folder.Put("f", "one.json", Text(kNumber), static_cast<fs::perms>(0640));
  CHECK_FALSE(contacts.Poll().has_value());
  CHECK(log == std::vector<std::string>{"others can read its relay key: chmod 600 it"});
  fs::permissions(folder.path / "f" / "one.json", static_cast<fs::perms>(0600));
  CHECK(contacts.Poll().has_value());
}

TEST_CASE("contacts: a folder that is not there holds nothing") {
  ContactsFolder contacts("/nonexistent/contacts", [](const LogEvent&) {});
  CHECK_FALSE(contacts.Poll().has_value());
}

TEST_CASE("contacts: a file is a number in international form and a key of 32 bytes, no more") {
  CHECK(ReadContact(Text(kNumber)).has_value());
  CHECK(ReadContact(Text("+12345678")).has_value());
  CHECK(ReadContact(Text("+123456789012345")).has_value());
  for (const char* number :
       {"", "+", "436601234567", "+1234567", "+1234567890123456", "+0436601234567",
        "+43 660 1234567", "+43660123456x", "00436601234567", "+43660\\n1234567"}) {
    const auto refused = ReadContact(Text(number));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().text == "its number is not E.164: '+' and 8 to 15 digits");
  }
  for (const std::string& wrong :
       {std::string(), std::string("[]"), std::string("{}"), std::string(2000, ' '),
        std::string(R"({"number": "+436601234567", "relay_key": "AAAA"})"),
        std::string(R"({"number": "+436601234567"})"),
        std::string(R"({"number": 436601234567, "relay_key": 1})")}) {
    const auto refused = ReadContact(wrong);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().text.find("660") == std::string::npos);
  }
}

}  // namespace latchkey::bridge
