// Taking keys away under load: a thousand live phones that all listen and all send, cars that tell
// their state all the time, and then rings without some of them and blocks. From the moment the
// broker has the ring or the block not one more message passes in either direction.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "latchkey/v1/control.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/blocks.h"
#include "proto/command.h"
#include "proto/topic.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kCars = 40;
constexpr size_t kKeysPerCar = 25;
constexpr size_t kPhones = kCars * kKeysPerCar;
constexpr size_t kGone = 5;  // keys of each car that lose it in each round
constexpr int kNotAuthorized = 0x87;
constexpr milliseconds kStateEvery{200};     // per car
constexpr milliseconds kCommandEvery{2500};  // per phone
constexpr milliseconds kRoundPatience{10000};

// A command says in its id whose it is, and whether it was sent when the key had been taken away.
std::string IdBytes(size_t phone, bool late, uint32_t number) {
  std::string bytes(10, 'r');
  bytes[4] = static_cast<char>(static_cast<uint8_t>(phone >> 8));
  bytes[5] = static_cast<char>(static_cast<uint8_t>(phone));
  bytes[6] = late ? 1 : 0;
  bytes[7] = static_cast<char>(static_cast<uint8_t>(number >> 16));
  bytes[8] = static_cast<char>(static_cast<uint8_t>(number >> 8));
  bytes[9] = static_cast<char>(static_cast<uint8_t>(number));
  return bytes;
}

milliseconds MsBetween(steady_clock::time_point from, steady_clock::time_point to) {
  return std::chrono::duration_cast<milliseconds>(to - from);
}

struct Sent {
  size_t phone = 0;
  bool late = false;
};

Sent SentOf(const CommandId& id) {
  return {static_cast<size_t>(id.bytes[10]) << 8 | id.bytes[11], id.bytes[12] != 0};
}

struct Phone {
  size_t index = 0;
  size_t car = 0;
  PrivateKey key = PrivateKey::Generate();
  std::string point = key.Public().ToPoint();
  KeyId lane = key.Public().Id();
  std::unique_ptr<RawClient> client;
  steady_clock::time_point sends_at;
  uint32_t commands = 0;
  uint64_t state_heard = 0;  // the highest number
  uint64_t heard = 0;        // messages
  size_t commands_arrived = 0;
  // Set when its key is taken away.
  bool gone = false;
  uint64_t state_last = UINT64_MAX;   // the last number it may hear
  steady_clock::time_point asked_at;  // the ring or block was sent
  steady_clock::time_point gone_at;   // the broker had acknowledged it
  std::string late_command;           // made before, so that it goes out at once
  bool ended = false;
  milliseconds ended_after{0};  // of the acknowledgement
  milliseconds ended_after_asked{0};
};

struct Car {
  std::unique_ptr<RawCar> raw;
  std::vector<std::pair<PublicKey, v1::Role>> ring;
  uint64_t state = 0;  // the number published last
  steady_clock::time_point tells_at;
  uint16_t ring_id = 0;  // packet id of a ring that is on its way
};

// A thousand phones and their cars in one loop.
class Load {
 public:
  explicit Load(Cell& cell) : cell_(cell), poll_(::epoll_create1(EPOLL_CLOEXEC)) {}

  ~Load() { ::close(poll_); }

  void Open();
  // Turns the loop until `done`; false: `patience` passed.
  bool Until(const std::function<bool()>& done, milliseconds patience);
  // The cars' next rings are without these keys; one after the other, each acknowledged, while all
  // others go on.
  void PublishRingsWithout(const std::set<size_t>& phones);
  // An administrator's request of these blocks, answered.
  void Block(const std::set<size_t>& phones, bool everywhere);
  bool AllEnded(const std::set<size_t>& phones) const;
  // How far it got, for a failure.
  std::string Summary() const;
  void PrintEnds(const char* what, const std::set<size_t>& phones) const;

  std::vector<Phone> phones;
  std::vector<Car> cars;
  std::vector<std::string> complaints;
  uint64_t states_heard = 0;
  uint64_t commands_heard = 0;
  uint64_t late_sent = 0;

 private:
  void Watch(int socket, uint64_t tag) const;
  void Turn();
  void Read(Phone& phone);
  void Read(Car& car);
  void SendDue();
  void Tell(Car& car);
  std::string Flash(Phone& phone, bool late);
  // The broker has taken the phone's key away, and said so.
  void Gone(Phone& phone, uint64_t state_last);

  void Complain(const std::string& what) {
    if (complaints.size() < 20) {
      complaints.push_back(what);
    }
  }

  Cell& cell_;
  int poll_;
  std::unique_ptr<RawClient> administrator_;
};

void Load::Watch(int socket, uint64_t tag) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  REQUIRE(::epoll_ctl(poll_, EPOLL_CTL_ADD, socket, &event) == 0);
}

void Load::Open() {
  const auto start = steady_clock::now();
  phones.resize(kPhones);
  cars.resize(kCars);
  for (size_t i = 0; i < kPhones; ++i) {
    phones[i].index = i;
    phones[i].car = i / kKeysPerCar;
    phones[i].sends_at = start;
  }
  for (size_t i = 0; i < kCars; ++i) {
    Car& car = cars[i];
    car.raw = std::make_unique<RawCar>(cell_, "demo", "car-" + std::to_string(i));
    for (size_t k = 0; k < kKeysPerCar; ++k) {
      // The last is the owner: somebody is left.
      const v1::Role role = k + 1 == kKeysPerCar ? v1::ROLE_OWNER : v1::ROLE_DRIVER;
      car.ring.emplace_back(phones[i * kKeysPerCar + k].key.Public(), role);
    }
    REQUIRE(car.raw->PublishRing(car.ring) == 0);
    REQUIRE(car.raw->client().Subscribe("lk/1/demo/car-" + std::to_string(i) + "/command/+") == 1);
    Watch(car.raw->client().socket(), kPhones + i);
  }
  for (Phone& phone : phones) {
    phone.client = std::make_unique<RawClient>(cell_.AsPhone(phone.key));
    REQUIRE(phone.client->Connect() == 0);
    const CarRef& ref = cars[phone.car].raw->ref();
    REQUIRE(phone.client->SubscribeAll({{StateTopic(ref, Group::kDrive)},
                                        {KeyRingTopic(ref)},
                                        {ReceiptTopic(ref, phone.lane)}}) ==
            std::vector<int>{1, 1, 1});
    Watch(phone.client->socket(), phone.index);
  }
  const tools::Issued ca = cell_.CellCa();
  administrator_ = std::make_unique<RawClient>(
      cell_.WithCertificate(AdministratorIdentity{"test"}, ca, "administrator/test"));
  REQUIRE(administrator_->Connect() == 0);
  const auto now = steady_clock::now();
  for (Phone& phone : phones) {  // spread evenly
    phone.sends_at =
        now + kCommandEvery * static_cast<int>(phone.index) / static_cast<int>(kPhones);
  }
  std::printf(
      "%zu phones and %zu cars connected in %lld ms\n", kPhones, kCars,
      static_cast<long long>(std::chrono::duration_cast<milliseconds>(now - start).count()));
}

bool Load::Until(const std::function<bool()>& done, milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (!done()) {
    if (steady_clock::now() > deadline) {
      return false;
    }
    Turn();
  }
  return true;
}

void Load::Turn() {
  std::array<epoll_event, 1100> events{};
  const int count = ::epoll_wait(poll_, events.data(), static_cast<int>(events.size()), 5);
  // Cars first: what the broker acknowledged before it closed connections is read before these.
  for (const bool phones_turn : {false, true}) {
    for (int i = 0; i < count; ++i) {
      const uint64_t tag = events.at(static_cast<size_t>(i)).data.u64;
      if (phones_turn && tag < kPhones) {
        Read(phones[tag]);
      } else if (!phones_turn && tag >= kPhones) {
        Read(cars[tag - kPhones]);
      }
    }
  }
  SendDue();
}

void Load::Read(Phone& phone) {
  const CarRef& ref = cars[phone.car].raw->ref();
  while (const std::optional<Publish> message = phone.client->Next(milliseconds(0))) {
    ++phone.heard;
    if (message->topic == StateTopic(ref, Group::kDrive)) {
      v1::StateGroup state;
      REQUIRE(state.ParseFromString(message->payload));
      phone.state_heard = std::max<uint64_t>(phone.state_heard, state.sequence());
      ++states_heard;
      if (state.sequence() > phone.state_last) {
        Complain("phone " + std::to_string(phone.index) + " heard state " +
                 std::to_string(state.sequence()) + ", its last is " +
                 std::to_string(phone.state_last));
      }
    } else if (message->topic == KeyRingTopic(ref)) {
      // Opening it would cost a thousand phones ten seconds: its bytes name the point or not.
      if (message->payload.find(phone.point) == std::string::npos) {
        Complain("phone " + std::to_string(phone.index) + " heard a ring that does not name it");
      }
    }
  }
  for (const RawAnswer& answer : phone.client->TakeAnswers()) {
    if (answer.code != 0 && !phone.gone) {
      Complain("phone " + std::to_string(phone.index) + " was refused " +
               std::to_string(answer.code));
    }
  }
  if (phone.client->over() && !phone.ended) {
    phone.ended = true;
    ::epoll_ctl(poll_, EPOLL_CTL_DEL, phone.client->socket(), nullptr);
    const auto now = steady_clock::now();
    // Before we have read the acknowledgement: at once.
    phone.ended_after = MsBetween(phone.gone ? phone.gone_at : now, now);
    phone.ended_after_asked = MsBetween(phone.asked_at, now);
  }
}

void Load::Read(Car& car) {
  RawClient& client = car.raw->client();
  while (const std::optional<Publish> message = client.Next(milliseconds(0))) {
    const std::optional<Topic> topic = ParseTopic(message->topic);
    REQUIRE((topic && topic->kind == TopicKind::kCommand));
    const Result<Command> command =
        ParseCommand(message->payload, car.raw->ref(), KeyId::Parse(topic->lane).value());
    REQUIRE(command.has_value());
    ++commands_heard;
    const Sent sent = SentOf(command->id);
    ++phones.at(sent.phone).commands_arrived;
    if (sent.late) {
      Complain("a command that phone " + std::to_string(sent.phone) +
               " sent without its key reached the car");
    }
  }
  REQUIRE_FALSE(client.over());
  for (const RawAnswer& answer : client.TakeAnswers()) {
    if (answer.code != 0) {
      Complain("a car was refused " + std::to_string(answer.code));
    }
    if (answer.id == car.ring_id) {
      car.ring_id = 0;
      // What was published before the ring may still arrive; all states after it may not.
      for (Phone& phone : phones) {
        if (&cars[phone.car] == &car && phone.state_last != UINT64_MAX && !phone.gone) {
          Gone(phone, phone.state_last);
        }
      }
      Tell(car);
    }
  }
}

void Load::SendDue() {
  const auto now = steady_clock::now();
  for (Car& car : cars) {
    if (now >= car.tells_at) {
      Tell(car);
      car.tells_at = now + kStateEvery;
    }
  }
  for (Phone& phone : phones) {
    if (now >= phone.sends_at && !phone.gone && !phone.client->over()) {
      phone.client->Post(
          {CommandTopic(cars[phone.car].raw->ref(), phone.lane), Flash(phone, false)});
      phone.sends_at = now + kCommandEvery;
    }
  }
}

void Load::Tell(Car& car) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(UnixMs()));
  state.set_sequence(++car.state);
  state.mutable_drive()->mutable_speed()->set_value(50);
  REQUIRE(car.raw->client().Post({StateTopic(car.raw->ref(), Group::kDrive),
                                  state.SerializeAsString(), 1, Retain::kYes, 0}) != 0);
}

std::string Load::Flash(Phone& phone, bool late) {
  v1::Command action;
  action.mutable_flash_lights();
  const Timestamp now{UnixMs()};
  return SealCommand({cars[phone.car].raw->ref(),
                      CommandId::Make(now.ms, IdBytes(phone.index, late, ++phone.commands)), now,
                      now + std::chrono::seconds(30), action},
                     phone.key)
      .value();
}

void Load::Gone(Phone& phone, uint64_t state_last) {
  phone.gone = true;
  phone.state_last = state_last;
  phone.gone_at = steady_clock::now();
  // It goes on sending while it can.
  if (phone.client->Post(
          {CommandTopic(cars[phone.car].raw->ref(), phone.lane), phone.late_command}) != 0) {
    ++late_sent;
  }
}

void Load::PublishRingsWithout(const std::set<size_t>& gone) {
  for (const size_t index : gone) {
    phones.at(index).late_command = Flash(phones.at(index), true);
  }
  for (size_t i = 0; i < kCars; ++i) {
    Car& car = cars[i];
    std::vector<std::pair<PublicKey, v1::Role>> left;
    for (const auto& key : car.ring) {
      const std::string point = key.first.ToPoint();
      const auto same = [&](size_t index) { return phones[index].point == point; };
      if (std::none_of(gone.begin(), gone.end(), same)) {
        left.push_back(key);
      }
    }
    car.ring = std::move(left);
    for (const size_t index : gone) {
      if (phones[index].car == i) {
        phones[index].state_last = car.state;
        phones[index].asked_at = steady_clock::now();
      }
    }
    car.ring_id = car.raw->PostRing(car.ring);
    REQUIRE(car.ring_id != 0);
    Tell(car);  // right behind the ring on the same connection
    REQUIRE(Until([&] { return car.ring_id == 0; }, kRoundPatience));
  }
}

void Load::Block(const std::set<size_t>& gone, bool everywhere) {
  v1::Control control;
  control.set_request_id(static_cast<uint64_t>(UnixMs()));
  for (const size_t index : gone) {
    Phone& phone = phones.at(index);
    phone.late_command = Flash(phone, true);
    v1::Block& block = *control.mutable_merge_blocks()->add_blocks();
    block.set_key_id(phone.lane.str());
    if (!everywhere) {
      block.set_fleet(cars[phone.car].raw->ref().fleet.str());
      block.set_car(cars[phone.car].raw->ref().car.str());
    }
    block.set_changed_at_ms(static_cast<uint64_t>(UnixMs()));
    block.set_cause(v1::BLOCK_CAUSE_ADMINISTRATOR);
  }
  const auto start = steady_clock::now();
  for (const size_t index : gone) {
    phones.at(index).asked_at = start;
  }
  REQUIRE(administrator_->Send({std::string(kControlTopic), control.SerializeAsString()}) == 0);
  const std::optional<Publish> message = administrator_->NextOn(std::string(kControlAnswerTopic));
  REQUIRE(message.has_value());
  v1::ControlAnswer answer;
  REQUIRE(answer.ParseFromString(message->payload));
  INFO(answer.ShortDebugString());
  REQUIRE(answer.reason() == v1::REASON_UNSPECIFIED);
  REQUIRE(answer.request_id() == control.request_id());
  REQUIRE(answer.changed() == gone.size());
  std::printf("%zu blocks answered in %lld ms\n", gone.size(),
              static_cast<long long>(
                  std::chrono::duration_cast<milliseconds>(steady_clock::now() - start).count()));
  // All that a car publishes from here on.
  for (const size_t index : gone) {
    Gone(phones.at(index), cars[phones.at(index).car].state);
  }
  for (Car& car : cars) {
    Tell(car);
  }
}

bool Load::AllEnded(const std::set<size_t>& gone) const {
  return std::all_of(gone.begin(), gone.end(), [&](size_t i) { return phones[i].ended; });
}

std::string Load::Summary() const {
  const auto count = [&](const std::function<bool(const Phone&)>& has) {
    return std::to_string(std::count_if(phones.begin(), phones.end(), has));
  };
  std::string text =
      "phones that heard: " + count([](const Phone& p) { return p.state_heard > 0; });
  text +=
      ", whose command arrived: " + count([](const Phone& p) { return p.commands_arrived > 0; });
  text += ", that sent: " + count([](const Phone& p) { return p.commands > 0; });
  text += ", ended: " + count([](const Phone& p) { return p.ended; });
  text += "; states heard: " + std::to_string(states_heard);
  text += "; commands heard: " + std::to_string(commands_heard);
  for (const std::string& complaint : complaints) {
    text += "\n" + complaint;
  }
  return text;
}

void Load::PrintEnds(const char* what, const std::set<size_t>& gone) const {
  std::vector<milliseconds> acknowledged;
  std::vector<milliseconds> asked;
  for (const size_t index : gone) {
    acknowledged.push_back(phones.at(index).ended_after);
    asked.push_back(phones.at(index).ended_after_asked);
  }
  std::printf("%s: %zu connections ended", what, gone.size());
  for (auto& [since, times] :
       {std::pair("acknowledged", &acknowledged), std::pair("sent", &asked)}) {
    std::sort(times->begin(), times->end());
    std::printf(", p50 %lld ms and max %lld ms after it was %s",
                static_cast<long long>(times->at(times->size() / 2).count()),
                static_cast<long long>(times->back().count()), since);
  }
  std::printf("\n");
}

// Of each car the keys from `first` on, kGone of them.
std::set<size_t> Some(size_t first) {
  std::set<size_t> some;
  for (size_t car = 0; car < kCars; ++car) {
    for (size_t k = 0; k < kGone; ++k) {
      some.insert(car * kKeysPerCar + first + k);
    }
  }
  return some;
}

void AllowFiles() {
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 10000);
  REQUIRE(files.rlim_cur >= kPhones + kCars + 200);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);  // the broker inherits it
}

}  // namespace

TEST_CASE("a thousand live phones: nothing passes from the moment the broker has ring or block") {
  AllowFiles();
  Cell cell;
  cell.StartBroker();
  Load load(cell);
  load.Open();
  const auto all_live = [&] {
    return std::all_of(load.phones.begin(), load.phones.end(), [](const Phone& phone) {
      return phone.state_heard > 0 && phone.commands_arrived > 0;
    });
  };
  const bool live = load.Until(all_live, milliseconds(20000));
  INFO(load.Summary());
  REQUIRE(live);

  const std::set<size_t> off_ring = Some(0);
  load.PublishRingsWithout(off_ring);
  CHECK(load.Until([&] { return load.AllEnded(off_ring); }, kRoundPatience));
  load.PrintEnds("ring", off_ring);

  const std::set<size_t> everywhere = Some(kGone);
  load.Block(everywhere, true);
  CHECK(load.Until([&] { return load.AllEnded(everywhere); }, kRoundPatience));
  load.PrintEnds("block everywhere", everywhere);

  const std::set<size_t> at_car = Some(2 * kGone);
  load.Block(at_car, false);
  CHECK(load.Until([&] { return load.AllEnded(at_car); }, kRoundPatience));
  load.PrintEnds("block at one car", at_car);

  // Everybody else goes on: newer states there, newer commands at the car.
  std::vector<uint64_t> states;
  std::vector<size_t> commands;
  for (const Phone& phone : load.phones) {
    states.push_back(load.cars[phone.car].state);
    commands.push_back(phone.commands_arrived);
  }
  CHECK(load.Until(
      [&] {
        return std::all_of(load.phones.begin(), load.phones.end(), [&](const Phone& phone) {
          return phone.gone || (phone.state_heard > states[phone.index] &&
                                phone.commands_arrived > commands[phone.index]);
        });
      },
      kRoundPatience));
  for (const Phone& phone : load.phones) {
    CHECK(phone.ended == phone.gone);
  }
  for (const std::string& complaint : load.complaints) {
    FAIL_CHECK(complaint);
  }
  std::printf("%llu states heard, %llu commands arrived, %llu sent too late and refused\n",
              static_cast<unsigned long long>(load.states_heard),
              static_cast<unsigned long long>(load.commands_heard),
              static_cast<unsigned long long>(load.late_sent));
  // How many come to send before their connection ends is the broker's speed; not none.
  CHECK(load.late_sent >= kCars * kGone);

  // And they do not come back.
  const auto again = [&](size_t index, int connected) {
    Phone& phone = load.phones[index];
    const CarRef& ref = load.cars[phone.car].raw->ref();
    RawClient client(cell.AsPhone(phone.key));
    CHECK(client.Connect() == connected);
    if (connected == 0) {
      CHECK(client.Subscribe(StateTopic(ref, Group::kDrive)) == kNotAuthorized);
      CHECK(client.Send({CommandTopic(ref, phone.key.Public().Id()), phone.late_command}) ==
            kNotAuthorized);
    }
  };
  again(*off_ring.begin(), 0);
  again(*everywhere.begin(), kNotAuthorized);
  again(*at_car.begin(), 0);
}

}  // namespace latchkey::testing
