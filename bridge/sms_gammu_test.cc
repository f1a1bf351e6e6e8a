// The files that pass between us and gammu-smsd. Here the test is gammu-smsd; the real one runs in
// tests/system/sms_test.cc.
#include "bridge/sms_gammu.h"

#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bridge/queue.h"

namespace latchkey::bridge {

namespace {

namespace fs = std::filesystem;
using What = SmsReport::What;

const CarRef kCar{FleetId::Parse("demo").value(), CarId::Parse("car-1").value()};
constexpr const char* kNumber = "+436601234567";
constexpr Duration kSoon = std::chrono::milliseconds(10);

SendSms Sms(uint64_t id, std::optional<Timestamp> expires_at = std::nullopt) {
  return {id, kCar, kNumber, std::string("\x01\xff", 2) + std::string(138, 'Z'), expires_at};
}

struct Modem {
  Modem() {
    std::string name = (fs::temp_directory_path() / "lk_gammu_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
    for (const char* folder : {"outbox", "sent", "error", "inbox"}) {
      fs::create_directory(path / folder);
    }
  }

  ~Modem() { fs::remove_all(path); }

  Modem(const Modem&) = delete;
  Modem& operator=(const Modem&) = delete;

  GammuFolders Folders() const {
    return {path / "outbox", path / "sent", path / "error", path / "inbox"};
  }

  SmsReportSink Sink() {
    return [this](SmsReport report) { reports.PutAlways(std::move(report)); };
  }

  // "7 sent", or "nothing".
  std::string Hears() {
    const std::vector<SmsReport> got = reports.Drain(1, std::chrono::seconds(20));
    constexpr const char* kWords[] = {" sent", " delivered", " failed"};
    return got.empty() ? "nothing"
                       : std::to_string(got[0].id) + kWords[static_cast<int>(got[0].what)];
  }

  // The one file of a folder, when it has come.
  fs::path TheOne(const std::string& folder) const {
    for (int tries = 0; tries < 2000; ++tries) {
      for (const auto& entry : fs::directory_iterator(path / folder)) {
        if (entry.path().filename().string()[0] != '.') {
          return entry.path();
        }
      }
      std::this_thread::sleep_for(kSoon);
    }
    FAIL("nothing came into " << folder);
    return {};
  }

  bool Empties(const std::string& folder) const {
    for (int tries = 0; tries < 2000; ++tries) {
      if (fs::is_empty(path / folder)) {
        return true;
      }
      std::this_thread::sleep_for(kSoon);
    }
    return false;
  }

  // As gammu does when it has sent, with the network's reference.
  void Sends(int reference) const {
    const fs::path file = TheOne("outbox");
    std::ifstream in(file);
    std::string text(std::istreambuf_iterator<char>(in), {});
    text.insert(text.find('\n') + 1, "MessageReference = " + std::to_string(reference) + "\n");
    std::ofstream(file, std::ios::trunc) << text;
    fs::rename(file, path / "sent" / file.filename());
  }

  void Receives(const std::string& name, const std::string& text) const {
    std::ofstream(path / "inbox" / name, std::ios::binary) << text;
  }

  fs::path path;
  BoundedQueue<SmsReport> reports{100};
};

std::string Report(const std::string& hex, int reference) {
  return "; Saved\n\n[SMSBackup000]\n; Delivered\nPDU = Status_Report\nState = UnRead\nNumber = "
         "\"" +
         std::string(kNumber) + "\"\nText00 = " + hex +
         "\nCoding = Default_No_Compression\nMessageReference = " + std::to_string(reference) +
         "\n\n";
}

constexpr const char* kDelivered = "00440065006C006900760065007200650064";
constexpr const char* kFailed = "004600610069006C00650064";
constexpr const char* kPending = "00500065006E00640069006E0067";

}  // namespace

TEST_CASE("gammu: a name says what waits, and is read again; others' names are not ours") {
  const Timestamp now{1'795'273'203'000};
  const std::string name = GammuName(Sms(0xfedcba9876543210, Timestamp{0x19a00000001}), now, 7);
  CHECK(name == "OUTC20261121_150003_07_+436601234567_lkfedcba9876543210x019a00000001.smsbackup");
  CHECK(name.size() < 100);  // gammu's buffer
  const auto read = ReadGammuName(name);
  REQUIRE(read.has_value());
  CHECK(read->id == 0xfedcba9876543210);
  CHECK(read->number == kNumber);
  CHECK(read->expires_at == Timestamp{0x19a00000001});
  CHECK_FALSE(ReadGammuName(GammuName(Sms(1), now, 0))->expires_at.has_value());
  for (const char* other :
       {"OUTC20261121_150003_07_+436601234567_sms0.smsbackup", "OUT+436601234567.txt", "", "OUT",
        "OUTC20261121_150003_07_+436601234567_lkfedcba987654321gx019a00000001.smsbackup",
        ".OUTC20261121_150003_07_+436601234567_lkfedcba9876543210x019a00000001.smsbackup",
        "OUTC20261121_150003_07_+436601234567_lkfedcba9876543210x019a00000001.txt"}) {
    CHECK_FALSE(ReadGammuName(other).has_value());
  }
}

TEST_CASE("gammu: 140 bytes are two lines of hex, and a report is asked for") {
  const std::string text = GammuText(Sms(1));
  CHECK(text.find("[SMSBackup000]\nMessageReference = 0\nPDU = Status_Report\n") == 0);
  CHECK(text.find("\nText00 = 01ff5a5a") != std::string::npos);
  CHECK(text.find("\nText01 = 5a") != std::string::npos);
  CHECK(text.find("\nText02") == std::string::npos);
  CHECK(text.find("\nCoding = 8bit\nLength = 140\n") != std::string::npos);
}

TEST_CASE("gammu: a delivery report is read in every format of its inbox, and nothing else is") {
  const std::string name = "IN20261121_150010_00_+436601234567_00.txt";
  const auto detail = ReadGammuReport(name, Report(kDelivered, 200));
  REQUIRE(detail.has_value());
  CHECK(detail->number == kNumber);
  CHECK(detail->reference == 200);
  CHECK(detail->what == What::kDelivered);
  CHECK(ReadGammuReport(name, Report(kFailed, 1))->what == What::kFailed);
  CHECK_FALSE(ReadGammuReport(name, Report(kPending, 1))->what.has_value());
  CHECK(ReadGammuReport(name, "Delivered")->what == What::kDelivered);
  CHECK(ReadGammuReport(name, std::string("\xfe\xff\0F\0a\0i\0l\0e\0d", 14))->what ==
        What::kFailed);
  std::string text_message = Report(kDelivered, 1);
  text_message.replace(text_message.find("Status_Report"), 13, "Deliver");
  CHECK_FALSE(ReadGammuReport(name, text_message).has_value());
  CHECK_FALSE(ReadGammuReport(name, "Delivered it yesterday").has_value());
  CHECK_FALSE(ReadGammuReport(name, "").has_value());
  CHECK_FALSE(ReadGammuReport("IN20261121_150010_00_+436601234567_00.bin", "Delivered"));
  CHECK_FALSE(ReadGammuReport("notes.txt", "Delivered"));
}

TEST_CASE("gammu: an SMS is a file that others of the group may move, then sent, then delivered") {
  Modem modem;
  GammuGateway gateway(modem.Folders(), modem.Sink(), kSoon);
  gateway.Send(Sms(7));
  struct stat about{};
  REQUIRE(::stat(modem.TheOne("outbox").c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0660);
  modem.Sends(12);
  CHECK(modem.Hears() == "7 sent");
  modem.Receives("IN20261121_150010_00_+436601234567_00.txt", Report(kPending, 12));
  CHECK(modem.Empties("inbox"));
  modem.Receives("IN20261121_150011_00_+436609999999_00.txt", Report(kDelivered, 12));
  modem.Receives("IN20261121_150012_00_+436601234567_00.txt", "good morning\n");
  modem.Receives("IN20261121_150013_00_+436601234567_00.txt", "Delivered");
  CHECK(modem.Hears() == "7 delivered");
  CHECK(modem.Empties("sent"));
  // What was not for us is still there.
  CHECK(fs::exists(modem.path / "inbox" / "IN20261121_150011_00_+436609999999_00.txt"));
  CHECK(fs::exists(modem.path / "inbox" / "IN20261121_150012_00_+436601234567_00.txt"));
}

TEST_CASE("gammu: of two SMS to one number the network's reference tells which was delivered") {
  Modem modem;
  GammuGateway gateway(modem.Folders(), modem.Sink(), kSoon);
  gateway.Send(Sms(1));
  modem.Sends(41);
  CHECK(modem.Hears() == "1 sent");
  gateway.Send(Sms(2));
  modem.Sends(42);
  CHECK(modem.Hears() == "2 sent");
  modem.Receives("IN20261121_150010_00_+436601234567_00.txt", Report(kDelivered, 42));
  CHECK(modem.Hears() == "2 delivered");
  modem.Receives("IN20261121_150011_00_+436601234567_00.txt", Report(kFailed, 99));
  CHECK(modem.Hears() == "1 failed");
}

TEST_CASE("gammu: what the modem cannot send, what expires in the outbox and what is late fails") {
  Modem modem;
  GammuGateway gateway(modem.Folders(), modem.Sink(), kSoon);
  gateway.Send(Sms(1));
  const fs::path file = modem.TheOne("outbox");
  fs::rename(file, modem.path / "error" / file.filename());
  CHECK(modem.Hears() == "1 failed");
  CHECK(modem.Empties("error"));
  gateway.Send(Sms(2, Timestamp{1}));
  CHECK(modem.Hears() == "2 failed");
  const auto now =
      std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch());
  gateway.Send(Sms(3, Timestamp{now.count() + 300}));
  CHECK(modem.Hears() == "3 failed");
  CHECK(modem.Empties("outbox"));
}

TEST_CASE("gammu: an outbox that cannot be written fails the SMS and says why without a number") {
  Modem modem;
  fs::remove_all(modem.path / "outbox");
  GammuGateway gateway(modem.Folders(), modem.Sink(), kSoon);
  gateway.Send(Sms(1));
  const std::vector<SmsReport> got = modem.reports.Drain(1, std::chrono::seconds(20));
  REQUIRE(got.size() == 1);
  CHECK(got[0].text == "gammu's outbox cannot be written: No such file or directory");
}

TEST_CASE("gammu: a bridge that starts again goes on with what is on its way") {
  Modem modem;
  {
    GammuGateway gateway(modem.Folders(), modem.Sink(), kSoon);
    gateway.Send(Sms(1));
    modem.Sends(5);
    CHECK(modem.Hears() == "1 sent");
    gateway.Send(Sms(2));
    modem.TheOne("outbox");
  }
  GammuGateway gateway(modem.Folders(), modem.Sink(), kSoon);
  modem.Receives("IN20261121_150010_00_+436601234567_00.txt", Report(kDelivered, 5));
  CHECK(modem.Hears() == "1 sent");  // delivered implies it
  CHECK(modem.Hears() == "1 delivered");
  modem.Sends(6);
  CHECK(modem.Hears() == "2 sent");
}

}  // namespace latchkey::bridge
