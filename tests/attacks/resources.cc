// Resources: what one client can take of a broker, and what is left of security when files are
// broken.
#include <fstream>
#include <random>

#include "latchkey/v1/state.pb.h"
#include "proto/token.h"
#include "proto/topic.h"
#include "tests/attacks/actors.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

using testing::RawPacket;
using testing::RawString;

// Resident memory of a process, KiB.
int64_t MemoryKib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) {
      return std::stoll(line.substr(6));
    }
  }
  return 0;
}

std::string Megabytes(int64_t kib) {
  return std::to_string(kib / 1024) + " MB";
}

// A cell of its own with an owner and a car, its broker's memory measured.
struct Scene {
  explicit Scene(World& world)
      : cell(world.MakeCell()),
        owner(world, *cell),
        stranger(world, *cell),
        car(world, *cell, {{owner.Public(), v1::ROLE_OWNER}}) {
    car.Wake();
    Expect(owner.SignIn() == 0 && stranger.SignIn() == 0, "sign-in");
    before = Memory();
  }

  int64_t Memory() const { return MemoryKib(cell->broker().pid()); }

  // KiB more than when the scene began.
  int64_t Grown() const { return Memory() - before; }

  // The owner signs in anew and flashes the lights within a second.
  void OwnerInTime(World& world) {
    world.SetCase(9000);
    const Instant began = ReadClocks().mono;
    Expect(owner.SignIn() == 0, "the owner cannot sign in");
    OwnerStillGetsThrough(owner, car);
    const Duration took = ReadClocks().mono - began;
    Expect(took < std::chrono::seconds(1),
           "the owner waited " + std::to_string(took.count()) + " ms");
  }

  std::unique_ptr<Cell> cell;
  Handset owner;
  Handset stranger;
  LiveCar car;
  int64_t before = 0;
};

// The head of a PUBLISH that says it will have `size` bytes.
std::string HeadOf(uint8_t header, uint32_t size) {
  std::string head(1, static_cast<char>(header));
  do {
    const uint32_t digit = size % 128;
    size /= 128;
    head += static_cast<char>(static_cast<uint8_t>(size > 0 ? digit | 0x80 : digit));
  } while (size > 0);
  return head;
}

constexpr uint32_t kLargest = 268'435'455;

// Writes up to `most` bytes of a packet that says it is the largest there can be; gives what was
// taken.
size_t Pour(RawClient& client, const std::string& head, size_t most) {
  const std::string block(1 << 20, 'p');
  if (!client.Write(head)) {
    return 0;
  }
  size_t poured = 0;
  while (poured < most && client.Ended(milliseconds(0)) == testing::kNoAnswer &&
         client.Write(block)) {
    poured += block.size();
    client.Ended(milliseconds(1));
  }
  return poured;
}

// --- Size

std::string LargestWeak(World& world) {
  const auto broker = world.MakePlain("largest", "allow_anonymous true\n");
  const int64_t before = MemoryKib(broker->process().pid());
  const auto attacker = Dial(broker->As("attacker"));
  Pour(*attacker, HeadOf(0x30, kLargest) + RawString("a") + std::string(1, '\0'), 96 << 20);
  const int64_t grown = MemoryKib(broker->process().pid()) - before;
  Expect(grown > 60 * 1024, "it grew by " + Megabytes(grown) + " only");
  return "96 MB of a 256 MB message: the broker grew by " + Megabytes(grown);
}

std::string LargestOurs(World& world) {
  Scene s(world);
  size_t taken = 0;
  for (const int version : {5, 4}) {
    RawOptions options = s.stranger.Options();
    options.version = version;
    options.client_id = s.stranger.id().str() + "/" + std::to_string(version);
    RawClient client(options);
    Expect(client.Connect() == 0, "sign-in");
    const std::string topic = RawString(CommandTopic(s.car.ref(), s.stranger.id()));
    taken +=
        Pour(client, HeadOf(0x30, kLargest) + topic + (version == 5 ? std::string(1, '\0') : ""),
             32 << 20);
  }
  const int64_t grown = s.Grown();
  Expect(grown < 8 * 1024, "the broker took " + Megabytes(static_cast<int64_t>(taken >> 10)) +
                               " and grew by " + Megabytes(grown));
  const Publish large{CommandTopic(s.car.ref(), s.owner.id()), std::string(70'000, 'l')};
  const int code = s.owner.client().Send(large);
  Expect(code >= 0x80 || code < 0, "70,000 bytes were taken: " + Hex(code));
  s.OwnerInTime(world);
  return "256 MB: hung up, grew by " + Megabytes(grown) + "; 70,000 bytes: " + Hex(code);
}

std::string BeforeConnectWeak(World& world) {
  const auto broker = world.MakePlain("before-connect", "allow_anonymous false\n");
  const int64_t before = MemoryKib(broker->process().pid());
  for (const uint8_t header : {uint8_t{0x30}, uint8_t{0x10}, uint8_t{0x82}}) {
    RawOptions options = broker->As("x");
    options.before_connect = HeadOf(header, kLargest);
    options.no_connect = true;
    RawClient client(options);
    client.Connect();
    Pour(client, "", 16 << 20);
  }
  const int64_t grown = MemoryKib(broker->process().pid()) - before;
  Expect(grown < 8 * 1024, "it grew by " + Megabytes(grown) + ": then this row is wrong");
  return "fixed in 1.4.15, 2.0.16, and in Debian's 2.0.11";
}

std::string BeforeConnectOurs(World& world) {
  Scene s(world);
  int hung_up = 0;
  for (const std::string& first :
       {HeadOf(0x30, kLargest), HeadOf(0x10, kLargest), HeadOf(0x82, kLargest),
        HeadOf(0x20, kLargest), std::string("\xff\xff\xff\xff\xff\xff", 6),
        RawPacket(0x30, RawString("a") + std::string(1, '\0') + "x"), RawPacket(0xc0, ""),
        RawPacket(0xe0, ""), RawPacket(0xf0, std::string("\x18\0", 2)),
        RawPacket(0x10, RawString("MQIsdp") + "\x03"), std::string("GET / HTTP/1.1\r\n\r\n")}) {
    RawOptions options = s.stranger.Options();
    options.before_connect = first;
    RawClient client(options);
    const int code = client.Connect();
    Expect(code != 0, "let in after a first packet that is no CONNECT");
    Pour(client, "", 2 << 20);
    hung_up += client.over() ? 1 : 0;
  }
  const int64_t grown = s.Grown();
  Expect(grown < 8 * 1024, "the broker grew by " + Megabytes(grown));
  s.OwnerInTime(world);
  return std::to_string(hung_up) + " first packets that are no CONNECT: hung up, grew by " +
         Megabytes(grown);
}

// --- Leaks at sign-in

std::string ConnectLeakWeak(World& world) {
  const auto broker = world.MakePlain("leak", "allow_anonymous false\n");
  const int64_t before = MemoryKib(broker->process().pid());
  for (int i = 0; i < 2000; ++i) {
    RawClient(broker->As("leak", "nobody")).Connect();
  }
  const int64_t grown = MemoryKib(broker->process().pid()) - before;
  Expect(grown < 4 * 1024, "it grew by " + Megabytes(grown) + ": then this row is wrong");
  return "fixed in 1.5 and 2.0.16: 2,000 refused, no growth";
}

std::string ConnectLeakOurs(World& world) {
  Scene s(world);
  constexpr int kTries = 400;
  RawOptions wrong = s.stranger.Options();
  wrong.password = "x";
  // A will whose properties are not its kind's.
  RawOptions bad_will = s.stranger.Options();
  bad_will.will = testing::RawWill{std::string("lk/1/") + std::string(3000, 'w'),
                                   std::string(3000, 'w'), 1, Retain::kYes};
  bad_will.connect_properties = std::string("\x23\0\1", 3);
  for (int i = 0; i < kTries; ++i) {
    Expect(RawClient(i % 2 == 0 ? wrong : bad_will).Connect() != 0, "let in");
  }
  const int64_t grown = s.Grown();
  Expect(grown < 8 * 1024, "the broker grew by " + Megabytes(grown));
  s.OwnerInTime(world);
  return std::to_string(kTries) + " refused at sign-in, with wills: grew by " + Megabytes(grown);
}

std::string FloodWeak(World& world) {
  // A limit on connections, set against floods, is what a flood uses up.
  const auto broker = world.MakePlain("limit", "allow_anonymous true\nmax_connections 50\n");
  std::vector<std::unique_ptr<RawClient>> flood;
  for (int i = 0; i < 60; ++i) {
    flood.push_back(std::make_unique<RawClient>(broker->As("flood-" + std::to_string(i))));
    flood.back()->Connect();
  }
  RawClient owner(broker->As("owner"));
  Expect(owner.Connect() != 0, "the owner got in");
  return "60 connections from one address: nobody else gets in";
}

std::string FloodOurs(World& world) {
  Scene s(world);
  RawOptions wrong = s.stranger.Options();
  wrong.password =
      MintToken(s.stranger.key(), "elsewhere", ReadClocks().wall, std::chrono::minutes(5));
  RawOptions good = s.stranger.Options();
  good.client_id = s.stranger.id().str() + "/good";
  // Until even a good token from that address is not looked at.
  int bad = 0;
  bool shut = false;
  while (!shut && bad < 1000) {
    for (int i = 0; i < 20; ++i, ++bad) {
      ExpectEqual(Hex(RawClient(wrong).Connect()), Hex(kNotAuthorized), "a bad sign-in");
    }
    shut = RawClient(good).Connect() == kNotAuthorized;
  }
  Expect(shut, "1,000 bad sign-ins and the address is still listened to");
  const bool said = testing::Eventually(
      [&] {
        for (int i = 0; i < 10; ++i) {
          RawClient(wrong).Connect();
        }
        return s.cell->BrokerLog().find("refused at=connect reason=full") != std::string::npos;
      },
      milliseconds(5000));
  Expect(said, "no line in the log says full");
  // And many that sign in well and stay.
  std::vector<std::unique_ptr<RawClient>> many;
  for (int i = 0; i < 60; ++i) {
    RawOptions options = s.owner.Options();
    options.source_address = "127.8.0.1";
    options.client_id = s.owner.id().str() + "/" + std::to_string(i);
    many.push_back(Dial(options));
  }
  s.OwnerInTime(world);
  return std::to_string(bad) +
         " bad sign-ins: FULL for that address; the owner elsewhere is in at once";
}

// --- Slow and half-open

std::string SlowReaderWeak(World& world) {
  const auto broker = world.MakePlain("slow", "allow_anonymous true\nmax_queued_messages 0\n");
  const int64_t before = MemoryKib(broker->process().pid());
  RawOptions options = broker->As("slow-reader");
  options.receive_buffer_bytes = 4096;
  options.acknowledge = testing::Acknowledge::kNo;
  const auto slow = Dial(options);
  Expect(slow->Subscribe("a", 1) <= 2, "could not subscribe");
  const auto sender = Dial(broker->As("sender"));
  const std::string block(30'000, 's');
  for (int i = 0; i < 2000; ++i) {
    sender->Send({"a", block, 1});
  }
  const int64_t grown = MemoryKib(broker->process().pid()) - before;
  Expect(grown > 40 * 1024, "it grew by " + Megabytes(grown) + " only");
  return "one reader that does not read: the broker grew by " + Megabytes(grown);
}

std::string SlowReaderOurs(World& world) {
  Scene s(world);
  RawOptions options = s.owner.Options();
  options.client_id = s.owner.id().str() + "/slow";
  options.receive_buffer_bytes = 4096;
  options.acknowledge = testing::Acknowledge::kNo;
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 5; ++i) {
    options.client_id = s.owner.id().str() + "/slow" + std::to_string(i);
    slow.push_back(Dial(options));
    Expect(slow.back()->Subscribe(StateTopic(s.car.ref(), Group::kApps), i % 2) <= 2, "no reading");
  }
  // The largest state a car may publish, as fast as it may.
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(testing::UnixMs()));
  for (int i = 0; i < 60; ++i) {
    v1::App& app = *state.mutable_apps()->add_installed();
    app.set_app_id("org.example.app." + std::string(100, 'a') + std::to_string(i));
    app.set_version("1");
  }
  int taken = 0;
  for (uint64_t i = 0; i < 1500; ++i) {
    state.set_sequence(1'000'000 + i);
    taken += s.car.client().Send({StateTopic(s.car.ref(), Group::kApps), state.SerializeAsString(),
                                  1, Retain::kYes, 0}) == 0
                 ? 1
                 : 0;
  }
  Expect(taken > 200, "the car could publish only " + std::to_string(taken));
  const int64_t grown = s.Grown();
  Expect(grown < 64 * 1024, "the broker grew by " + Megabytes(grown));
  s.OwnerInTime(world);
  return "five readers that do not read, " + std::to_string(taken) + " states: grew by " +
         Megabytes(grown) + "; others are served";
}

std::string HalfOpenWeak(World& world) {
  const auto broker = world.MakePlain("half-open", "allow_anonymous true\nmax_connections 100\n");
  std::vector<std::unique_ptr<RawClient>> half;
  for (int i = 0; i < 120; ++i) {
    RawOptions options = broker->As("half-" + std::to_string(i));
    options.version = 4;
    options.keep_alive_s = 0;  // never checked
    half.push_back(std::make_unique<RawClient>(options));
    half.back()->Connect();
  }
  Expect(RawClient(broker->As("owner")).Connect() != 0, "the owner got in");
  return "keep-alive 0, silent for ever: the last place is taken";
}

std::string HalfOpenOurs(World& world) {
  Scene s(world);
  std::vector<std::unique_ptr<RawClient>> half;
  for (int i = 0; i < 150; ++i) {
    RawOptions options = s.stranger.Options();
    options.port = i % 2 == 0 ? s.cell->phone_port() : s.cell->car_port();
    options.transport = testing::Transport::kTcp;  // never says hello
    options.before_connect = i % 3 == 0 ? "\x16\x03\x01" : "\x16";
    options.no_connect = true;
    half.push_back(std::make_unique<RawClient>(options));
    half.back()->Connect();
  }
  const int64_t grown = s.Grown();
  Expect(grown < 16 * 1024, "the broker grew by " + Megabytes(grown));
  // Silent after a good sign-in with keep-alive 0: refused, or bounded by the broker.
  RawOptions silent = s.stranger.Options();
  silent.keep_alive_s = 0;
  silent.client_id = s.stranger.id().str() + "/silent";
  const int code = RawClient(silent).Connect();
  s.OwnerInTime(world);
  return "150 that never finish TLS: others served at once, grew by " + Megabytes(grown) +
         "; keep-alive 0: " + Hex(code);
}

// --- Properties

std::string PropertiesWeak(World& world) {
  const auto broker = world.MakePlain("properties", "allow_anonymous true\n");
  const auto reader = Dial(broker->As("reader"));
  Expect(reader->Subscribe("a") <= 2, "could not subscribe");
  std::string properties;
  for (int i = 0; i < 8000; ++i) {
    properties += testing::RawUserProperty("name", "some value");
  }
  const auto attacker = Dial(broker->As("attacker"));
  ExpectEqual(attacker->Send({"a", "x"}, properties), 0, "the message");
  Expect(reader->Next().has_value(), "nothing arrived");
  Expect(reader->properties().size() > 100'000, "the properties were taken off");
  return "8,000 user properties pass on to every reader";
}

std::string PropertiesOurs(World& world) {
  Scene s(world);
  std::string properties;
  for (int i = 0; i < 8000; ++i) {
    properties += testing::RawUserProperty("name", "some value");
  }
  const std::string lane = CommandTopic(s.car.ref(), s.owner.id());
  const Instant began = ReadClocks().mono;
  const int code =
      s.owner.client().Send({lane, Seal(s.owner.key(), s.car.ref(), Lock()).bytes}, properties);
  Expect(code >= 0x80 || code < 0, "144,000 bytes of properties were taken: " + Hex(code));
  RawOptions options = s.stranger.Options();
  options.connect_properties = properties;
  const int connect = RawClient(options).Connect();
  Expect(connect != 0, "let in with 8,000 user properties");
  Expect(ReadClocks().mono - began < std::chrono::seconds(2), "it kept the broker busy");
  s.OwnerInTime(world);
  ExpectEqual(s.car.Acted("lock"), 0, "locks");
  return "144,000 bytes of user properties: " + Hex(code) + " in PUBLISH, " + Hex(connect) +
         " in CONNECT";
}

// --- Too many of what is allowed

std::string CommandFloodWeak(World& world) {
  NaiveCar car(world.Open().As("fleet-car"), "FLEET");
  const auto attacker = Dial(world.Open().As("attacker"));
  for (int i = 0; i < 1000; ++i) {
    attacker->Send({NaiveCar::Topic("FLEET"), "starter off", 0});
  }
  attacker->Ping();
  while (car.Hear(milliseconds(200))) {
  }
  Expect(car.did().size() == 1000, "only " + std::to_string(car.did().size()) + " arrived");
  return "1,000 commands in a moment, all obeyed";
}

std::string CommandFloodOurs(World& world) {
  Scene s(world);
  Handset fleet(world, *s.cell);
  LiveCar car(world, *s.cell,
              {{s.owner.Public(), v1::ROLE_OWNER}, {fleet.Public(), v1::ROLE_FLEET}});
  LiveCar next(world, *s.cell, {{fleet.Public(), v1::ROLE_FLEET}});
  car.Wake();
  next.Wake();
  Expect(fleet.SignIn() == 0, "sign-in");
  int passed = 0;
  int stopped = 0;
  for (int i = 0; i < 500; ++i) {
    const CarRef& ref = i % 2 == 0 ? car.ref() : next.ref();
    const int code = fleet.Command(ref, Seal(fleet.key(), ref, Flash()));
    passed += code == 0 ? 1 : 0;
    stopped += code == kNotAuthorized ? 1 : 0;
  }
  Expect(stopped > 100,
         std::to_string(passed) + " of 500 passed, " + std::to_string(stopped) + " were stopped");
  car.Hear(milliseconds(20));
  s.OwnerInTime(world);
  return "a fleet's key over its cars: " + std::to_string(passed) +
         " of 500 passed, then 0x87; owners unaffected";
}

// --- Broken files

std::string RingFileWeak(World& world) {
  // Users, and a list of rights that nobody has written: everything is allowed.
  const std::filesystem::path folder = world.folder() / "no-rights";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "passwords") << "";
  testing::Run(
      {"/usr/bin/mosquitto_passwd", "-b", (folder / "passwords").string(), "alice", "alice-pw"});
  const auto broker =
      world.MakePlain("no-rights", "password_file " + (folder / "passwords").string() + "\n");
  const auto alice = Dial(broker->As("a", "alice"));
  Expect(alice->Subscribe("car/of-bob/#") <= 2, "could not subscribe");
  alice->Send({"car/of-bob/command", "unlock"});
  Expect(alice->Next().has_value(), "nothing came");
  return "no list of rights: everybody may do everything";
}

std::string RingFileOurs(World& world) {
  Scene s(world);
  const std::filesystem::path file = s.cell->path() / "broker" / "rings.log";
  std::mt19937 random(20261121);  // NOLINT: the same noise each time
  const std::string good = testing::ReadAll(file);
  Expect(good.size() > 100, "there is no ring in the file");
  std::string noise(5000, '\0');
  for (char& byte : noise) {
    byte = static_cast<char>(random());
  }
  std::string flipped = good;
  flipped[good.size() / 2] = static_cast<char>(flipped[good.size() / 2] ^ 0x55);
  int started = 0;
  for (const std::string& bytes : {std::string(), good.substr(0, good.size() / 2), noise, flipped,
                                   good.substr(0, 20) + noise}) {
    s.cell->broker().Kill();
    std::filesystem::remove(s.cell->path() / "broker" / "mosquitto.db");
    std::ofstream(file, std::ios::binary) << bytes;
    try {
      s.cell->StartBroker();
    } catch (const Surprise&) {
      continue;  // it refuses to start with such a file: nobody is allowed anything
    }
    ++started;
    for (Handset* phone : {&s.stranger, &s.owner}) {
      Expect(phone->SignIn() == 0, "sign-in");
      ExpectEqual(Hex(phone->client().Subscribe(StateTopic(s.car.ref(), Group::kBody))),
                  Hex(kNotAuthorized), "reading with a broken ring file");
      ExpectEqual(Hex(phone->Command(s.car.ref(), Seal(phone->key(), s.car.ref(), Unlock()))),
                  Hex(kNotAuthorized), "writing with a broken ring file");
    }
  }
  s.car.Reboot();  // reconnects and says its ring again
  Expect(s.owner.SignIn() == 0, "sign-in");
  OwnerStillGetsThrough(s.owner, s.car);
  Expect(s.stranger.SignIn() == 0, "sign-in");
  ExpectEqual(Hex(s.stranger.client().Subscribe(StateTopic(s.car.ref(), Group::kBody))),
              Hex(kNotAuthorized), "a stranger reads");
  return "five broken files, " + std::to_string(started) +
         " starts: 0x87 for all; the car brings its ring back";
}

}  // namespace

std::vector<Case> ResourceCases() {
  return {
      {"payload_of_256_mb", "CVE-2017-7651; MQTT 5.0 section 2.1.4", "CVE-2017-7651", LargestWeak,
       LargestOurs},
      {"no_connect_first", "CVE-2023-0809; CVE-2017-7651", "CVE-2023-0809 CVE-2017-7651",
       BeforeConnectWeak, BeforeConnectOurs, Weak::kRefusedToo},
      {"leaks_at_sign_in", "CVE-2017-7654; CVE-2023-3592", "CVE-2017-7654 CVE-2023-3592",
       ConnectLeakWeak, ConnectLeakOurs, Weak::kRefusedToo},
      {"connection_flood", "BMW i3: pentestpartners.com (mass lock-out)", "T1", FloodWeak,
       FloodOurs},
      {"slow_readers", "MQTT 5.0 section 4.9; Mosquitto max_queued_messages", "", SlowReaderWeak,
       SlowReaderOurs},
      {"half_open_connections", "CVE-2020-13849", "CVE-2020-13849", HalfOpenWeak, HalfOpenOurs},
      {"many_user_properties", "CVE-2021-41039", "CVE-2021-41039", PropertiesWeak, PropertiesOurs},
      {"commands_without_a_limit_2023", "Spireon: cyberiqs; itpro.com 369800", "T18",
       CommandFloodWeak, CommandFloodOurs},
      {"broken_list_of_rights", "CVE-2018-12550, CVE-2018-12551", "CVE-2018-12550 CVE-2018-12551",
       RingFileWeak, RingFileOurs},
  };
}

}  // namespace latchkey::attacks
