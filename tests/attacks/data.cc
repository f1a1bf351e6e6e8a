// Data: secrets in logs and files, places in private mode, stolen read-only credentials, other
// people's ids in every field.
#include <fstream>
#include <sstream>

#include <sys/stat.h>

#include "latchkey/v1/state.pb.h"
#include "proto/topic.h"
#include "tests/attacks/actors.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

v1::StateGroup Place(double latitude) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(testing::UnixMs()));
  state.set_sequence(1'000'000);
  state.mutable_location()->mutable_latitude()->set_value(latitude);
  state.mutable_location()->mutable_longitude()->set_value(11.5);
  return state;
}

int PublishPlace(LiveCar& car, double latitude) {
  return car.client().Send({StateTopic(car.ref(), Group::kLocation),
                            Place(latitude).SerializeAsString(), 1, Retain::kYes, 0});
}

// --- Secrets

std::string LogWeak(World& world) {
  const std::filesystem::path log = world.folder() / "app.log";
  NaiveService service(world.Open().As("blue-link"), [&](const Publish& request) {
    std::ofstream(log, std::ios::app) << request.topic << " " << request.payload << "\n";
    return std::vector<Publish>{};
  });
  Dial(world.Open().As("app"))
      ->Send({"api/unlock", R"({"user":"alice","pin":"4711","gps":"48.1,11.5"})"});
  Expect(service.Serve(), "nothing served");
  Expect(testing::ReadAll(log).find("4711") != std::string::npos, "the PIN is not in the log");
  return "PIN and place in the log file";
}

// All regular files below `folder`.
std::vector<std::filesystem::path> FilesOf(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code ignored;
  for (std::filesystem::recursive_directory_iterator it(folder, ignored), end; it != end;
       it.increment(ignored)) {
    if (it->is_regular_file(ignored)) {
      files.push_back(it->path());
    }
  }
  return files;
}

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The base64 lines of a PEM key, as they would stand in a log.
std::vector<std::string> LinesOfKey(const std::string& pem) {
  std::vector<std::string> lines;
  std::istringstream stream(pem);
  for (std::string line; std::getline(stream, line);) {
    if (line.size() > 40) {
      lines.push_back(line);
    }
  }
  return lines;
}

std::string LogOurs(World& world) {
  // A cell with a life of its own, everything in it through the real programs, at their most
  // talkative.
  const std::unique_ptr<Cell> own = world.MakeCell();
  Cell& cell = *own;
  cell.StartBridge();
  cell.StartCar("car-1", {"--offer"});
  const std::string qr = cell.QrText("car-1");
  cell.Pair("anna", "car-1");
  Expect(cell.Latchkey({"phone", "send", "anna", "car-1", "flash", "--wait"}).exit_code == 0,
         "the owner's command");
  cell.Latchkey({"phone", "watch", "anna", "car-1", "--once"});
  RawOptions wrong = cell.AsPhone(cell.PhoneKey("anna"));
  const std::string token = *wrong.password;
  wrong.client_id = token.substr(0, 200);  // a token where a name belongs: cut, at least
  RawClient(wrong).Connect();
  testing::RawCar raw(cell, "demo", "car-2");
  v1::StateGroup place = Place(48.987654321);
  raw.client().Send(
      {StateTopic(raw.ref(), Group::kLocation), place.SerializeAsString(), 1, Retain::kYes, 0});
  raw.client().Send({StateTopic(raw.ref(), Group::kLocation), "48.987654321", 1, Retain::kYes, 0});
  Expect(
      testing::Eventually(
          [&] { return testing::HttpGet(cell.http_port(), "/v1/cars/demo/car-2").status == 200; },
          milliseconds(5000)),
      "the bridge has not heard of the car");
  const size_t at = qr.find("&s=");
  Expect(at != std::string::npos, "no secret in the code");
  std::vector<std::string> canaries = {token.substr(token.rfind('.') + 1), "48.98765",
                                       qr.substr(at + 3, 22)};
  int files = 0;
  const std::vector<std::filesystem::path> all = FilesOf(cell.path());
  for (const std::filesystem::path& path : all) {
    if (EndsWith(path.string(), ".key")) {
      const std::vector<std::string> lines = LinesOfKey(testing::ReadAll(path));
      canaries.insert(canaries.end(), lines.begin(), lines.end());
    }
  }
  for (const std::filesystem::path& path : all) {
    const std::string name = path.filename().string();
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) {
      continue;  // a store's file that has gone
    }
    const bool secret = EndsWith(name, ".key") || name == "memory.bin";
    if (secret) {
      ExpectEqual(status.st_mode & 0777U, 0600U, "mode of " + path.string());
    }
    const bool log = EndsWith(name, ".log") && path.parent_path().filename() == "test";
    // The car's own output shows the code: it is the screen.
    if (!log || name.rfind("car-", 0) == 0) {
      continue;
    }
    const std::string text = testing::ReadAll(path);
    for (const std::string& canary : canaries) {
      Expect(text.find(canary) == std::string::npos, "a secret in " + path.string());
    }
    ++files;
  }
  for (const char* path : {"/metrics", "/healthz", "/readyz"}) {
    const std::string body = testing::HttpGet(cell.http_port(), path).body;
    for (const std::string& canary : canaries) {
      Expect(body.find(canary) == std::string::npos, std::string("a secret in ") + path);
    }
  }
  Expect(files >= 2, "no logs were looked at");
  return std::to_string(canaries.size()) + " canaries: not in " + std::to_string(files) +
         " logs nor in metrics; keys and memories 0600";
}

// --- Places

std::string PrivateWeak(World& world) {
  const auto anybody = Dial(world.Open().As("bucket"));
  anybody->Subscribe("fleet/+/location");
  const auto car = Dial(world.Open().As("ev"));
  car->Send({"fleet/800000/privacy", "on"});
  car->Send({"fleet/800000/location", "52.42,10.78", 1, Retain::kYes, 0});
  Expect(anybody->Next().has_value(), "no place");
  return "precise places of all cars, open to anybody";
}

std::string PrivateOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0, "sign-in");
  ExpectEqual(owner.Try(car, Seal(owner.key(), car.ref(), Privacy(true))), "DONE", "privacy on");
  const auto staff = AsOperator(world, cell, "demo", AllGroups());
  const std::string topic = StateTopic(car.ref(), Group::kLocation);
  Expect(staff->Subscribe(topic) == 1, "an operator cannot listen");
  const Timestamp now = ReadClocks().wall;
  car.Step(car::Observe{"location.latitude", 48.987654, now, ""});
  car.Step(car::Observe{"location.longitude", 11.5, now, ""});
  car.Step(car::Observe{"drive.speed", 50.0, now, ""});
  v1::Command find;
  find.mutable_find();
  owner.Try(car, Seal(owner.key(), car.ref(), find));  // which would publish the place at once
  car.Step(car::StillSo{});
  while (const auto message = staff->NextOn(topic, milliseconds(300))) {
    v1::StateGroup state;  // one without a place takes back what was said before
    Expect(state.ParseFromString(message->payload) && !state.location().has_latitude(),
           "a place left the car in private mode");
  }
  const std::string held =
      testing::HttpGet(cell.http_port(), "/v1/cars/" + car.ref().ToText()).body;
  Expect(held.find("48.98") == std::string::npos, "the bridge holds a place");
  // Off again, it says where it is: the silence before was private mode.
  ExpectEqual(owner.Try(car, Seal(owner.key(), car.ref(), Privacy(false))), "DONE", "privacy off");
  owner.Try(car, Seal(owner.key(), car.ref(), find));
  const auto place = staff->NextOn(topic);
  Expect(place && place->payload.size() > 20, "control: no place after private mode");
  return "in private mode no place leaves the car, also not by find";
}

std::string PrivateBeforeWeak(World& world) {
  const auto car = Dial(world.Open().As("ev-2"));
  car->Send({"fleet/2/location", "52.42,10.78", 1, Retain::kYes, 0});
  car->Send({"fleet/2/privacy", "on", 1, Retain::kYes, 0});
  const auto later = Dial(world.Open().As("later"));
  later->Subscribe("fleet/2/location");
  Expect(later->Next().has_value(), "nothing is kept");
  car->Send({"fleet/2/location", "", 1, Retain::kYes, 0});
  return "the last place before stayed on the broker";
}

std::string PrivateBeforeOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0, "sign-in");
  const Timestamp now = ReadClocks().wall;
  car.Step(car::Observe{"location.latitude", 48.123456, now, ""});
  car.Step(car::Observe{"location.longitude", 11.5, now, ""});
  v1::Command find;
  find.mutable_find();
  ExpectEqual(owner.Try(car, Seal(owner.key(), car.ref(), find)), "DONE", "find");
  const std::string topic = StateTopic(car.ref(), Group::kLocation);
  {
    const auto staff = AsOperator(world, cell, "demo", Bit(v1::PERMISSION_READ_LOCATION));
    Expect(staff->Subscribe(topic) == 1 && staff->NextOn(topic), "control: no place is kept");
  }
  ExpectEqual(owner.Try(car, Seal(owner.key(), car.ref(), Privacy(true))), "DONE", "privacy on");
  const auto staff = AsOperator(world, cell, "demo", Bit(v1::PERMISSION_READ_LOCATION));
  Expect(staff->Subscribe(topic) == 1, "an operator cannot listen");
  const auto kept = staff->NextOn(topic, milliseconds(300));
  v1::StateGroup state;
  const bool place = kept && state.ParseFromString(kept->payload) && state.has_location() &&
                     state.location().has_latitude();
  Expect(!place, "the place from before private mode is still on the broker");
  const bool gone = testing::Eventually(
      [&] {
        return testing::HttpGet(cell.http_port(), "/v1/cars/" + car.ref().ToText())
                   .body.find("48.12") == std::string::npos;
      },
      milliseconds(2000));
  Expect(gone, "the place from before private mode is still in the bridge");
  OwnerStillGetsThrough(owner, car);
  return "private mode takes the last place off broker and bridge";
}

// --- Staff and integrations

std::string IntegrationWeak(World& world) {
  NaiveCar car(world.Patterned().As("VIN0001", "VIN0001"), "VIN0001");
  // A dashboard needs to read the charge; its account is the one account there is.
  const auto stolen = Dial(world.Patterned().As("dashboard", "VIN0001"));
  stolen->Send({NaiveCar::Topic("VIN0001"), "unlock, start"});
  Expect(car.Hear(), "not obeyed");
  return "the dashboard's token also unlocked and started";
}

std::string IntegrationOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0, "sign-in");
  ExpectEqual(PublishPlace(car, 48.5), 0, "a place");
  const auto dashboard = AsOperator(world, cell, "demo", Bit(v1::PERMISSION_READ_BODY));
  for (const Group group : kGroups) {
    const int code = dashboard->Subscribe(StateTopic(car.ref(), group));
    ExpectEqual(Hex(code), group == Group::kBody ? Hex(1) : Hex(kNotAuthorized),
                "group " + std::string(ToText(group)));
  }
  // Through a wide filter only its own group arrives.
  Expect(dashboard->Subscribe("lk/1/demo/+/state/+") == 1, "a wide filter");
  ExpectEqual(PublishPlace(car, 48.6), 0, "a place");
  OwnerStillGetsThrough(owner, car);
  while (const auto message = dashboard->Next(milliseconds(100))) {
    Expect(message->topic.find("/location") == std::string::npos, "a place arrived");
  }
  for (const std::string& topic :
       {CommandTopic(car.ref(), owner.id()), KeyRingTopic(car.ref()), PresenceTopic(car.ref()),
        StateTopic(car.ref(), Group::kBody), ReceiptTopic(car.ref(), owner.id())}) {
    ExpectEqual(Hex(dashboard->Send({topic, "x"})), Hex(kNotAuthorized), "writing " + topic);
  }
  return "reads one state group, writes nothing: 0x87";
}

std::string DashboardWeak(World& world) {
  const auto broker = world.MakePlain("dashboard", "allow_anonymous true\n");
  RawOptions options = broker->As("passer-by");
  const auto passer_by = Dial(options);
  Expect(passer_by->Subscribe("teslamate/#") <= 2, "could not read");
  return "dashboard and its broker asked for no password";
}

std::string DashboardOurs(World& world) {
  Cell& cell = world.Ours();
  ExpectEqual(testing::HttpGet(cell.http_port(), "/healthz").status, 200, "control: /healthz");
  // Listens on 127.0.0.1 alone.
  std::ostringstream port;
  port << std::hex << std::uppercase << cell.http_port();
  std::string hex = port.str();
  hex.insert(0, 4 - hex.size(), '0');
  int listening = 0;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream sockets(table);
    for (std::string line; std::getline(sockets, line);) {
      std::istringstream words(line);
      std::string number;
      std::string local;
      std::string remote;
      std::string state;
      words >> number >> local >> remote >> state;
      if (state == "0A" && EndsWith(local, ":" + hex)) {
        ExpectEqual(local, "0100007F:" + hex, "where the bridge's HTTP listens");
        ++listening;
      }
    }
  }
  ExpectEqual(listening, 1, "listeners");
  // A web page that has a name resolve to 127.0.0.1 gets nothing.
  RawOptions page;
  page.port = cell.http_port();
  page.transport = testing::Transport::kTcp;
  page.no_connect = true;
  page.before_connect = "GET /v1/cars HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
  RawClient rebound(page);
  rebound.Connect();
  const std::string answer = rebound.ReadRaw(milliseconds(2000));
  Expect(answer.rfind("HTTP/1.1 4", 0) == 0, "answered for another name: " + answer.substr(0, 60));
  return "loopback only, and not for another Host: " + answer.substr(9, 3);
}

std::string OtherFleetWeak(World& world) {
  const auto staff = Dial(world.Patterned().As("staff-of-a", "service"));
  Expect(staff->Subscribe("car/#") <= 2, "could not read");
  Dial(world.Patterned().As("VIN0002", "VIN0002"))->Send({"car/VIN0002/location", "police car"});
  Expect(staff->NextOn("car/VIN0002/location").has_value(), "saw nothing");
  return "one tenant's staff read every tenant's cars";
}

// Is there a line of an operator's tap with both texts in the broker's log, after `before` bytes?
bool TapLine(Cell& cell, size_t before, const std::string& a, const std::string& b) {
  return testing::Eventually(
      [&] {
        std::istringstream lines(cell.BrokerLog().substr(before));
        for (std::string each; std::getline(lines, each);) {
          if (each.find("latchkey tap ") != std::string::npos &&
              each.find(a) != std::string::npos && each.find(b) != std::string::npos) {
            return true;
          }
        }
        return false;
      },
      milliseconds(2000));
}

std::string OtherFleetOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0, "sign-in");
  const auto rival = AsOperator(world, cell, "rival", AllGroups());
  const std::string body = StateTopic(car.ref(), Group::kBody);
  for (const std::string& filter :
       {body, std::string("lk/1/demo/+/state/+"), std::string("lk/1/+/+/state/body"),
        "$share/g/" + body, std::string("lk/1/demo/#"), PresenceTopic(car.ref())}) {
    const size_t before = cell.BrokerLog().size();
    ExpectEqual(Hex(rival->Subscribe(filter)), Hex(kNotAuthorized), filter);
    Expect(TapLine(cell, before, "operator:rival", "allowed=no reason=wrong_car"),
           "no line says wrong_car for " + filter);
  }
  // The rival fleet's CA naming a car or operator of ours.
  for (const CertificateIdentity& identity : std::vector<CertificateIdentity>{
           CarIdentity{car.ref()},
           OperatorIdentity{FleetId::Parse("demo").value(), "olga", AllGroups()},
           BridgeIdentity{"latchkey"}, AdministratorIdentity{"root"}}) {
    const std::string id =
        std::holds_alternative<CarIdentity>(identity)        ? car.ref().ToText()
        : std::holds_alternative<OperatorIdentity>(identity) ? "demo/operator/olga"
        : std::holds_alternative<BridgeIdentity>(identity)   ? "bridge/latchkey"
                                                             : "administrator/root";
    RawOptions options = cell.WithCertificate(identity, cell.FleetCa("rival"), id);
    options.source_address = world.address();
    ExpectRefusal(
        cell, [&] { return RawClient(options).Connect(); }, kNotAuthorized, "connect",
        "bad_certificate", id);
  }
  OwnerStillGetsThrough(owner, car);
  return "six filters WRONG_CAR, four certificates BAD_CERTIFICATE";
}

std::string AuditWeak(World& world) {
  const auto staff = Dial(world.Patterned().As("staff-silent", "service"));
  Expect(staff->Subscribe("car/+/location") <= 2, "could not read");
  const std::string log = testing::ReadAll(world.Patterned().folder() / "broker.log");
  Expect(log.find("car/+/location") == std::string::npos, "it is in the log");
  return "staff read a year of places, no line in the log";
}

std::string AuditOurs(World& world) {
  Cell& cell = world.Ours();
  Handset owner(world, cell);
  LiveCar car(world, cell, {{owner.Public(), v1::ROLE_OWNER}});
  car.Wake();
  Expect(owner.SignIn() == 0, "sign-in");
  const size_t before = cell.BrokerLog().size();
  const auto staff = AsOperator(world, cell, "demo", Bit(v1::PERMISSION_READ_BODY));
  const std::string allowed = StateTopic(car.ref(), Group::kBody);
  const std::string refused = StateTopic(car.ref(), Group::kLocation);
  Expect(staff->Subscribe(allowed) == 1, "its own group");
  Expect(staff->Subscribe(refused) == kNotAuthorized, "another group");
  const PrivateKey own = PrivateKey::Generate();
  staff->Send({CommandTopic(car.ref(), own.Public().Id()), Seal(own, car.ref(), Unlock()).bytes});
  const auto line = [&](const std::string& a, const std::string& b) {
    return TapLine(cell, before, a, b);
  };
  Expect(line(allowed, "allowed=yes"), "no line for the tap that is allowed");
  Expect(line(refused, "allowed=no"), "no line for the tap that is refused");
  Expect(line("/command/", "allowed=no"), "no line for the refused write");
  OwnerStillGetsThrough(owner, car);
  return "every tap and every refused try is a line in the log";
}

// --- Another's id in every field

std::string IdorWeak(World& world) {
  std::map<std::string, std::string> mail = {{"alice", "alice@example.org"}};
  NaiveService service(world.Open().As("viper"), [&](const Publish& request) {
    const size_t space = request.payload.find(' ');  // whose account it is, says the request
    mail[request.payload.substr(0, space)] = request.payload.substr(space + 1);
    return std::vector<Publish>{};
  });
  Dial(world.Open().As("mallory"))->Send({"api/user/mail", "alice mallory@example.org"});
  Expect(service.Serve() && mail["alice"] == "mallory@example.org", "not changed");
  return "another user's id in the request changed his account";
}

std::string IdorOurs(World& world) {
  Cell& cell = world.Ours();
  Handset alice(world, cell);
  Handset mallory(world, cell);
  LiveCar a(world, cell, {{alice.Public(), v1::ROLE_OWNER}});
  LiveCar m(world, cell, {{mallory.Public(), v1::ROLE_OWNER}});
  a.Wake();
  m.Wake();
  Expect(alice.SignIn() == 0 && mallory.SignIn() == 0, "sign-in");
  // Mallory is somebody, with a car. Every field of a command in turn is Alice's.
  const Timestamp now = ReadClocks().wall;
  v1::SignedCommand outer;
  outer.ParseFromString(Seal(mallory.key(), m.ref(), Unlock()).bytes);
  v1::Command own;
  own.ParseFromString(outer.command());
  int refused = 0;
  for (int fields = 1; fields < 8; ++fields) {
    v1::Command body = own;
    body.set_command_id(CommandId::Make(now.ms, RandomBytes(10)).ToBytes());
    const bool car = (fields & 1) != 0;
    const bool key = (fields & 2) != 0;
    const bool topic_lane = (fields & 4) != 0;
    if (car) {
      body.set_car(a.ref().car.str());
    }
    if (key) {
      body.set_key_id(alice.id().str());
    }
    const std::string bytes = testing::SignCommandBody(body.SerializeAsString(), mallory.key());
    for (const CarRef& ref : {a.ref(), m.ref()}) {
      const std::string lane = CommandTopic(ref, topic_lane ? alice.id() : mallory.id());
      const int code = mallory.client().Send({lane, bytes});
      Expect(code == kNotAuthorized, "taken on " + lane + ": " + Hex(code));
      ++refused;
      (ref == a.ref() ? a : m).Give({lane, bytes});
    }
  }
  // Reading: Alice's lanes at her own car and at Mallory's.
  for (const CarRef& ref : {a.ref(), m.ref()}) {
    for (const std::string& filter :
         {ReceiptTopic(ref, alice.id()), PairingAnswerTopic(ref, alice.id())}) {
      ExpectEqual(Hex(mallory.client().Subscribe(filter)), Hex(kNotAuthorized), filter);
      ++refused;
    }
  }
  ExpectEqual(a.Acted() + m.Acted(), 0, "acts");
  OwnerStillGetsThrough(alice, a);
  OwnerStillGetsThrough(mallory, m);
  return std::to_string(refused) + " with another's car, key or lane: 0x87; nothing acts";
}

}  // namespace

std::vector<Case> DataCases() {
  return {
      {"secrets_in_logs_2017", "Hyundai Blue Link, CVE-2017-6052: Rapid7 R7-2017-02", "T11 T23",
       LogWeak, LogOurs},
      {"places_open_to_all_2024", "VW/Cariad: electrive.com 2025-01-02; Toyota: therecord.media",
       "T19 T23", PrivateWeak, PrivateOurs},
      {"place_before_private_mode", "Subaru: cysecurity.news 2025/02 (a year of places)", "T19 T22",
       PrivateBeforeWeak, PrivateBeforeOurs},
      {"stolen_integration_key_2022", "TeslaMate, Colombo: carscoops 2022-01", "T14",
       IntegrationWeak, IntegrationOurs},
      {"open_dashboard_2025", "TeslaMate: techcrunch; heise via cyberhub.blog", "T14",
       DashboardWeak, DashboardOurs},
      {"staff_of_another_fleet_2023", "Spireon: techspot.com 97197", "T18", OtherFleetWeak,
       OtherFleetOurs},
      {"staff_read_in_silence_2024", "Subaru STARLINK: Wired via otherweb", "T22", AuditWeak,
       AuditOurs},
      {"another_id_in_every_field_2019", "Viper, Pandora: tripwire; cnet", "T12", IdorWeak,
       IdorOurs},
  };
}

}  // namespace latchkey::attacks
