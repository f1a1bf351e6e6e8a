// SMS, as people run it: a command for a car that sleeps goes to it whole through two real
// gammu-smsd with dummy phones, the test being the network between them; and the HTTP gateway, with
// its budget and the reports that come back.
#include <algorithm>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include "proto/types.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kNumber = "+436601234567";
constexpr const char* kGammu = "/usr/bin/gammu-smsd";

// Value of the first line `name = value`.
std::string Value(const std::string& text, const std::string& name) {
  const size_t at = text.find("\n" + name + " = ");
  if (at == std::string::npos) {
    return "";
  }
  const size_t from = at + name.size() + 4;
  return text.substr(from, text.find('\n', from) - from);
}

// The file that comes into a folder, name and all; hidden ones are not there yet.
fs::path Comes(const fs::path& folder) {
  fs::path found;
  INFO(folder);
  REQUIRE(Eventually([&] {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().filename().string()[0] != '.') {
        found = entry.path();
        return true;
      }
    }
    return false;
  }));
  return found;
}

// gammu-smsd with its dummy phone.
class Modem {
 public:
  Modem(fs::path path, const std::string& inbox_format) : path_(std::move(path)) {
    for (const char* folder : {"phone", "inbox", "outbox", "sent", "error"}) {
      fs::create_directories(path_ / folder);
    }
    std::ofstream(path_ / "gammurc")
        << "[gammu]\ndevice = " << (path_ / "phone").string()
        << "\nconnection = none\nmodel = dummy\n[smsd]\nservice = files\nlogfile = "
        << (path_ / "log").string() << "\ndebuglevel = 255\ninboxpath = " << Folder("inbox")
        << "\noutboxpath = " << Folder("outbox") << "\nsentsmspath = " << Folder("sent")
        << "\nerrorsmspath = " << Folder("error") << "\ninboxformat = " << inbox_format
        << "\ndeliveryreport = sms\ncommtimeout = 1\nreceivefrequency = 1\nstatusfrequency = 0\n"
           "loopsleep = 1\ncheckbattery = 0\nchecksignal = 0\n";
    REQUIRE_MESSAGE(fs::exists(kGammu), "gammu-smsd is missing: deploy/deps --tests installs it");
    daemon_ = std::make_unique<Process>(
        std::vector<std::string>{kGammu, "-c", (path_ / "gammurc").string()}, path_ / "out");
    REQUIRE(Eventually([&] { return fs::exists(path_ / "phone" / "sms" / "1"); }));
  }

  std::string Folder(const std::string& name) const { return (path_ / name).string() + "/"; }

  // The network hands this to the phone, which gammu-smsd reads.
  void Gets(const std::string& backup) {
    const fs::path inbox = path_ / "phone" / "sms" / "1";
    const std::string name = std::to_string(++received_);
    std::ofstream(inbox / ("." + name)) << backup;
    fs::rename(inbox / ("." + name), inbox / name);
  }

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  std::unique_ptr<Process> daemon_;
  int received_ = 0;
};

// As the network delivers what was sent: 8-bit data from some number.
std::string AsDelivered(const std::string& hex) {
  std::string text =
      "[SMSBackup000]\nPDU = Deliver\nSMSC = \"+43123\"\nDateTime = 20261121T150000Z\nState = "
      "UnRead\nNumber = \"+4366000000\"\n";
  for (size_t at = 0; at < hex.size(); at += 200) {
    text += "Text0" + std::to_string(at / 200) + " = " + hex.substr(at, 200) + "\n";
  }
  return text + "Coding = 8bit\nFolder = 1\nLength = " + std::to_string(hex.size() / 2) +
         "\nClass = -1\n";
}

// "Delivered", in UTF-16.
std::string DeliveryReport(const std::string& reference) {
  return "[SMSBackup000]\nPDU = Status_Report\nDateTime = 20261121T150010Z\nState = UnRead\n"
         "Number = \"" +
         std::string(kNumber) +
         "\"\nText00 = 00440065006C006900760065007200650064\nCoding = Default_No_Compression\n"
         "Folder = 1\nLength = 9\nClass = -1\nMessageReference = " +
         reference + "\n";
}

std::string HexOfSent(const fs::path& file) {
  const std::string text = ReadAll(file);
  return Value(text, "Text00") + Value(text, "Text01");
}

void Configure(const Cell& cell, const std::string& section) {
  std::ofstream(cell.path() / "bridge" / "latchkey.toml", std::ios::app) << "[sms]\n" << section;
}

void HasNumber(const Cell& cell) {
  const Ran given =
      cell.Latchkey({"--json", "car", "sms", "car-1", "--fleet", "demo", "--number", kNumber});
  INFO(given.output);
  REQUIRE(given.exit_code == 0);
  CHECK(given.output.find(kNumber) == std::string::npos);
  CHECK(json::parse(given.output)["new_relay_key"] == true);
}

// The car as it sleeps: its modem alone listens.
std::unique_ptr<Process> Sleeps(const Cell& cell, const fs::path& sms_inbox) {
  auto car = cell.StartLatchkey(
      {"car", "run", "car-1", "--fleet", "demo", "--asleep", "--sms-inbox", sms_inbox.string()},
      "sleeper");
  REQUIRE(Eventually(
      [&] { return car->Running() && car->Output().find("asleep") != std::string::npos; }));
  return car;
}

bool Says(const Process& process, const std::string& text) {
  return Eventually([&] { return process.Output().find(text) != std::string::npos; });
}

double Metric(const Cell& cell, const std::string& name) {
  const std::string text = "\n" + HttpGet(cell.http_port(), "/metrics").body;
  const size_t at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

// The relay key as the two files have it; both are secret.
std::string RelayKeyText(const Cell& cell) {
  const fs::path key = cell.path() / "cars" / "demo" / "car-1" / "relay.key";
  const fs::path contact = cell.path() / "bridge" / "contacts" / "demo" / "car-1.json";
  for (const fs::path& file : {key, contact}) {
    CHECK(fs::status(file).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  }
  std::string text = ReadAll(key);
  text.pop_back();
  CHECK(json::parse(ReadAll(contact))["relay_key"] == text);
  return text;
}

// A program that takes SMS by HTTP.
class HttpModem {
 public:
  HttpModem() {
    server_.Post("/send", [this](const httplib::Request& request, httplib::Response& response) {
      const std::scoped_lock lock(mutex_);
      got_.push_back(json::parse(request.body));
      response.status = 202;
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) {
      std::this_thread::yield();
    }
  }

  ~HttpModem() {
    server_.stop();
    thread_.join();
  }

  HttpModem(const HttpModem&) = delete;
  HttpModem& operator=(const HttpModem&) = delete;

  int port() const { return port_; }

  std::vector<json> Got() {
    const std::scoped_lock lock(mutex_);
    return got_;
  }

 private:
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<json> got_;
};

std::string BytesOf(const json& sms) {
  std::string text = sms["data_base64"];
  text.erase(text.find_last_not_of('=') + 1);
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return Base64UrlDecode(text).value();
}

}  // namespace

TEST_CASE("a command for a sleeping car goes to it whole by SMS; the car acts once and says so") {
  Cell cell;
  Modem car_side(cell.path() / "car-modem", "standard");
  Modem modem(cell.path() / "modem", "detail");
  Configure(cell, "gateway = \"gammu\"\noutbox_dir = \"" + modem.Folder("outbox") +
                      "\"\nsent_dir = \"" + modem.Folder("sent") + "\"\nerror_dir = \"" +
                      modem.Folder("error") + "\"\ninbox_dir = \"" + modem.Folder("inbox") +
                      "\"\n");
  cell.StartBroker();
  cell.StartBridge();
  Process& awake = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  HasNumber(cell);
  REQUIRE(Says(cell.bridge(), "contacts_read"));
  awake.Stop();
  const auto car = Sleeps(cell, car_side.path() / "inbox");

  const auto phone =
      cell.StartLatchkey({"phone", "send", "anna", "car-1", "lock", "--wait"}, "send");
  const fs::path sent = Comes(modem.path() / "sent");  // gammu-smsd has sent it
  CHECK(sent.filename().string().find(kNumber) != std::string::npos);
  CHECK(Says(*phone, "HELD"));
  const std::string hex = HexOfSent(sent);
  CHECK(hex.substr(0, 2) == "02");  // the command itself
  CHECK(hex.size() <= 280);
  CHECK(phone->Running());
  car_side.Gets(AsDelivered(hex));
  CHECK(phone->Wait() == 0);
  INFO(phone->Output());
  CHECK(phone->Output().find("DONE  (car)") != std::string::npos);
  CHECK(CountLines(car->Output(), "act lock") == 1);
  CHECK(Eventually([&] { return Metric(cell, "latchkey_cars_online") == 1; }));

  // The network's report closes the loop.
  CHECK(Metric(cell, "latchkey_sms_delivered_total") == 0);
  modem.Gets(DeliveryReport(Value(ReadAll(sent), "MessageReference")));
  CHECK(Eventually([&] { return Metric(cell, "latchkey_sms_delivered_total") == 1; }));
  CHECK(Metric(cell, "latchkey_sms_sent_total") == 1);
  CHECK(fs::is_empty(modem.path() / "sent"));
  CHECK(fs::is_empty(modem.path() / "inbox"));
  const std::string log = HttpGet(cell.http_port(), "/v1/log?event=wake&car=car-1").body;
  INFO(log);
  CHECK(log.find("sms 1 of 10 within 24 h: command") != std::string::npos);
  CHECK(log.find("sms delivered") != std::string::npos);

  // Said again, and said by somebody without the relay key: nothing happens.
  car_side.Gets(AsDelivered(hex));
  std::string forged = hex;
  forged.back() = forged.back() == '0' ? '1' : '0';
  car_side.Gets(AsDelivered(forged));
  CHECK(Says(*car, "SMS refused reason=bad_signature"));
  CHECK(Eventually([&] { return fs::is_empty(car_side.path() / "phone" / "sms" / "1"); }));
  CHECK(CountLines(car->Output(), "act lock") == 1);
  CHECK(Metric(cell, "latchkey_sms_sent_total") == 1);

  // Neither number nor key is in any of our logs.
  const std::string key = RelayKeyText(cell);
  for (const std::string& ours : {cell.bridge().Output(), car->Output(), phone->Output(), log,
                                  cell.BrokerLog(), HttpGet(cell.http_port(), "/metrics").body}) {
    CHECK(ours.find(key) == std::string::npos);
    CHECK(ours.find("6601234567") == std::string::npos);
  }
}

TEST_CASE("a command that does not fit wakes the car by SMS, and comes by MQTT then") {
  Cell cell;
  HttpModem modem;
  const fs::path token = cell.path() / "bridge" / "sms.token";
  std::ofstream(token) << "a-token-that-is-long-enough\n";
  fs::permissions(token, fs::perms::owner_read | fs::perms::owner_write);
  Configure(cell, "gateway = \"http\"\nurl = \"http://127.0.0.1:" + std::to_string(modem.port()) +
                      "/send\"\ntoken_file = \"sms.token\"\n");
  cell.StartBroker();
  cell.StartBridge();
  Process& awake = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  REQUIRE(cell.Latchkey({"phone", "init", "bob"}).exit_code == 0);
  const Ran key = cell.Latchkey({"--json", "phone", "key", "bob"});
  const std::string link = json::parse(key.output)["link"];
  REQUIRE(cell.Latchkey({"phone", "share", "anna", "car-1", link, "--may", "signal"}).exit_code ==
          0);
  HasNumber(cell);
  REQUIRE(Says(cell.bridge(), "contacts_read"));
  awake.Stop();
  const fs::path inbox = cell.path() / "sms-inbox";
  fs::create_directories(inbox);
  const auto car = Sleeps(cell, inbox);

  const auto phone = cell.StartLatchkey({"phone", "remove", "anna", "car-1", "bob"}, "remove");
  REQUIRE(Eventually([&] { return modem.Got().size() == 1; }));
  const json sms = modem.Got()[0];
  CHECK(sms["to"] == kNumber);
  const std::string bytes = BytesOf(sms);
  CHECK(bytes.size() == 23);
  CHECK(bytes[0] == '\x01');  // a word that wakes
  std::ofstream(inbox / ".new", std::ios::binary) << bytes;
  fs::rename(inbox / ".new", inbox / "IN20261121_150000_00_+4366000000_00.bin");
  CHECK(Says(*car, "woken by SMS"));
  CHECK(CountLines(car->Output(), "SMS refused") == 0);
  CHECK(Eventually([&] {
    const Ran keys = cell.Latchkey({"phone", "keys", "anna", "car-1"});
    return keys.exit_code == 0 && keys.output.find("bob") == std::string::npos;
  }));

  // The report, by HTTP and with the token.
  httplib::Client client("127.0.0.1", cell.http_port());
  const json report = {{"id", sms["id"]}, {"status", "delivered"}};
  CHECK(sms["callback"] ==
        "http://127.0.0.1:" + std::to_string(cell.http_port()) + "/v1/sms/report");
  const auto post = [&](const std::string& secret) {
    const auto answer = client.Post("/v1/sms/report", {{"Authorization", "Bearer " + secret}},
                                    report.dump(), "application/json");
    return answer ? answer->status : 0;
  };
  CHECK(post("some-other-token-of-that-sort") == 401);
  CHECK(Metric(cell, "latchkey_sms_delivered_total") == 0);
  CHECK(post("a-token-that-is-long-enough") == 204);
  CHECK(Eventually([&] { return Metric(cell, "latchkey_sms_delivered_total") == 1; }));
  CHECK(post("a-token-that-is-long-enough") == 204);
  CHECK(Metric(cell, "latchkey_sms_delivered_total") == 1);
}

TEST_CASE("a car gets ten SMS a day and no more, also when the bridge starts again") {
  Cell cell;
  HttpModem modem;
  const fs::path token = cell.path() / "bridge" / "sms.token";
  std::ofstream(token) << "a-token-that-is-long-enough\n";
  fs::permissions(token, fs::perms::owner_read | fs::perms::owner_write);
  Configure(cell, "gateway = \"http\"\nurl = \"http://127.0.0.1:" + std::to_string(modem.port()) +
                      "/send\"\ntoken_file = \"sms.token\"\n");
  cell.StartBroker();
  cell.StartBridge();
  Process& awake = cell.StartCar("car-1", {"--offer"});
  cell.Pair("anna", "car-1");
  HasNumber(cell);
  REQUIRE(Says(cell.bridge(), "contacts_read"));
  awake.Stop();
  const auto send = [&] {
    const Ran sent = cell.Latchkey({"phone", "send", "anna", "car-1", "lock"});
    INFO(sent.output);
    CHECK(sent.output.find("HELD") != std::string::npos);
  };
  for (size_t count = 1; count <= 6; ++count) {
    send();
    REQUIRE(Eventually([&] { return modem.Got().size() == count; }));
  }
  cell.bridge().Kill();
  cell.StartBridge();
  REQUIRE(Eventually([&] { return CountLines(cell.bridge().Output(), "contacts_read") >= 2; }));
  for (size_t count = 7; count <= 10; ++count) {
    send();
    REQUIRE(Eventually([&] { return modem.Got().size() == count; }));
  }
  send();
  send();
  CHECK(Eventually([&] { return Metric(cell, "latchkey_wakes_skipped_total") >= 1; }));
  CHECK(modem.Got().size() == 10);

  // Without a number there is nothing to send to.
  const Ran off = cell.Latchkey({"car", "sms", "car-1", "--fleet", "demo", "--off"});
  CHECK(off.exit_code == 0);
  CHECK_FALSE(fs::exists(cell.path() / "cars" / "demo" / "car-1" / "relay.key"));
  CHECK_FALSE(fs::exists(cell.path() / "bridge" / "contacts" / "demo" / "car-1.json"));
}

TEST_CASE("car sms takes numbers in international form alone, and cars that are there") {
  const Cell cell;
  REQUIRE(cell.Latchkey({"car", "add", "car-1", "--fleet", "demo"}).exit_code == 0);
  const auto sms = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"car", "sms"};
    words.insert(words.end(), more.begin(), more.end());
    return cell.Latchkey(words);
  };
  const Ran national = sms({"car-1", "--fleet", "demo", "--number", "0660 1234567"});
  CHECK(national.exit_code == 1);
  CHECK(national.output.find("international form (E.164)") != std::string::npos);
  CHECK(sms({"car-2", "--fleet", "demo", "--number", kNumber}).exit_code == 1);
  CHECK(sms({"car-1", "--fleet", "demo"}).exit_code == 2);
  CHECK(sms({"car-1", "--fleet", "demo", "--off", "--number", kNumber}).exit_code == 2);
  CHECK(sms({"car-1", "--fleet", "demo", "--off", "--new-key"}).exit_code == 2);
  CHECK_FALSE(fs::exists(cell.path() / "cars" / "demo" / "car-1" / "relay.key"));

  HasNumber(cell);
  const std::string key = RelayKeyText(cell);
  // Another number leaves the key alone; a new key is in both files.
  CHECK(sms({"car-1", "--fleet", "demo", "--number", "+436609999999"}).exit_code == 0);
  CHECK(RelayKeyText(cell) == key);
  CHECK(sms({"car-1", "--fleet", "demo", "--number", kNumber, "--new-key"}).exit_code == 0);
  CHECK(RelayKeyText(cell) != key);
  CHECK(sms({"car-1", "--fleet", "demo", "--off"}).exit_code == 0);
  CHECK(sms({"car-1", "--fleet", "demo", "--off"}).exit_code == 0);
}

}  // namespace latchkey::testing
