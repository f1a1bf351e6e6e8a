// The folder that gammu-smsd writes messages into.
#include "tools/latchkey/sms_inbox.h"

#include <fstream>
#include <string>

#include <doctest/doctest.h>
#include <unistd.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey::cli {
namespace {

using latchkey::testing::Said;

struct InboxFolder {
  InboxFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lk-sms-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }

  ~InboxFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }

  InboxFolder(const InboxFolder&) = delete;
  InboxFolder& operator=(const InboxFolder&) = delete;

  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary | std::ios::trunc) << bytes;
  }

  std::filesystem::path path;
};

std::string Read(SmsInbox& inbox) {
  std::string all;
  for (const SmsFile& file : inbox.Poll()) {
    all += file.bytes + " ";
    CHECK(SmsInbox::Remove(file));
  }
  return all;
}

}  // namespace

TEST_CASE("sms inbox: 8-bit messages are read in the order they came, once, and texts stay") {
  const InboxFolder folder;
  SmsInbox inbox(folder.path);
  folder.Write("IN20261121_120001_00_+4366012345_00.bin", "second");
  folder.Write("IN20261121_120000_00_+4366012345_00.bin", "first");
  folder.Write("IN20261121_120000_01_+4366012345_00.txt", "text");
  CHECK(Read(inbox) == "");
  CHECK(Read(inbox) == "first second ");
  CHECK(Read(inbox) == "");
  CHECK(std::filesystem::exists(folder.path / "IN20261121_120000_01_+4366012345_00.txt"));
}

TEST_CASE("sms inbox: a message that is still being written is not read") {
  const InboxFolder folder;
  SmsInbox inbox(folder.path);
  folder.Write("IN1.bin", "ha");
  CHECK(Read(inbox) == "");
  folder.Write("IN1.bin", "half");
  CHECK(Read(inbox) == "");
  CHECK(Read(inbox) == "half ");
}

TEST_CASE("sms inbox: of a file that is no SMS one byte more than one may have is read") {
  const InboxFolder folder;
  SmsInbox inbox(folder.path);
  folder.Write("IN1.bin", std::string(100000, 'x'));
  Read(inbox);
  CHECK(inbox.Poll().at(0).bytes.size() == 141);
}

TEST_CASE("sms inbox: many messages are read a few at a time, and none is lost") {
  const InboxFolder folder;
  SmsInbox inbox(folder.path);
  for (int i = 10; i < 60; ++i) {
    folder.Write("IN" + std::to_string(i) + ".bin", "x");
  }
  CHECK(inbox.Poll().empty());
  CHECK(Read(inbox).size() == 2 * 32);
  CHECK(Read(inbox).size() == 2 * 18);
}

TEST_CASE("sms inbox: a folder that is not there is said at once, and one that goes is empty") {
  const InboxFolder folder;
  CHECK(SmsInbox::Check(folder.path));
  CHECK(Said(SmsInbox::Check(folder.path / "none")) == "REASON_STORE_UNAVAILABLE");
  SmsInbox inbox(folder.path / "none");
  CHECK(inbox.Poll().empty());
}

}  // namespace latchkey::cli
