// See cars.h. A car that falls asleep is forgotten whole and wakes from its memory file, as after a
// reboot.
#include "tests/load/cars.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <utility>

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/certificate.h"
#include "proto/crypto.h"
#include "proto/topic.h"
#include "tests/load/shared.h"
#include "tests/load/world.h"
#include "tests/support/process.h"
#include "tests/support/wire_fixtures.h"
#include "tools/car/car.h"
#include "tools/car/hands.h"
#include "tools/mqtt/link.h"

namespace latchkey::load {

namespace {

using testing::ReadAll;

constexpr Duration kLook = std::chrono::milliseconds(5);  // at deadlines and at who shall be awake
constexpr int64_t kMsPerSecond = 1000;
constexpr int64_t kNanosecondsPerMs = 1'000'000;
// Of each line in an act log. Lines of 128 bytes lie within a page each: the kernel looks between
// two pages whether the writer was killed meanwhile, and then leaves half a line, to which the next
// act's would be joined.
constexpr size_t kActBytes = 128;

Now Clocks() {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  const auto mono = std::chrono::steady_clock::now().time_since_epoch();
  return {{std::chrono::duration_cast<Duration>(wall).count()},
          {std::chrono::duration_cast<Duration>(mono).count()}};
}

// One car that sleeps and wakes.
class Sleeper {
 public:
  Sleeper(size_t number, const CarsOptions& options, tools::Inbox& inbox, CarsControl& control)
      : number_(number),
        folder_(CarFolder(options.folder, number)),
        memory_(folder_ / "memory.bin"),
        control_(control),
        random_(number),
        acts_(std::fopen((folder_ / "acts.log").c_str(), "a")) {
    tools::LinkOptions link;
    link.port = options.port;
    link.client_id = CarOf(number).ToText();
    link.ca_file = options.folder / "ca" / "cell.pem";
    link.certificate_file = folder_ / "car.pem";
    link.private_key_file = folder_ / "car.key";
    link.keep_alive = std::chrono::seconds(options.keep_alive_s);
    link_ = std::make_unique<tools::Link>(number, std::move(link), inbox);
    hands_.persist = [this](std::string_view bytes) {
      return memory_.Put(bytes) ? Result<void>()
                                : Fail(v1::REASON_STORE_UNAVAILABLE, "the memory is too large");
    };
    hands_.keep_certificate = [](std::string_view) -> Result<void> { return {}; };
    hands_.connect = [this] { link_->Connect(); };
    hands_.subscribe = [this](const std::vector<std::string>& filters) {
      link_->Subscribe(filters, 1);
    };
    hands_.hang_up = [this] { link_->Disconnect(); };
    hands_.send = [this](const car::Send& send) { return link_->Send(send.message, send.tag); };
    hands_.show = [this](const car::Effect& effect) { Show(effect); };
  }

  ~Sleeper() { static_cast<void>(std::fclose(acts_)); }

  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  // Error: its files are not to be read or written.
  Result<void> Look(const Now& now) {
    const bool awake = control_.awake.at(number_) != 0;
    if (awake && !car_) {
      return Wake(now);
    }
    if (!awake && car_) {
      car_.reset();
      control_.online.at(number_) = 0;
      link_->Disconnect();
    }
    const std::optional<Instant> due = car_ ? car_->NextDeadline() : std::nullopt;
    return due && *due <= now.mono ? Step(car::Tick{}, now) : Result<void>();
  }

  // `truth` is the true time just before `now` was read.
  Result<void> Handle(const tools::LinkEvent& event, const Now& now, Timestamp truth) {
    using Kind = tools::LinkEvent::Kind;
    if (!car_) {
      return {};
    }
    switch (event.kind) {
      case Kind::kConnected:
        return Step(car::Connected{}, now);
      case Kind::kRefused:
      case Kind::kDisconnected:
        control_.online.at(number_) = 0;
        return Step(car::Disconnected{event.text, random_()}, now);
      case Kind::kSubscribed:
        control_.online.at(number_) = 1;
        return Step(car::Subscribed{event.reason_codes}, now);
      case Kind::kPublished:
        return Step(car::Published{event.tag, event.reason_code}, now);
      case Kind::kMessage:
        decided_ = truth;
        return Take(event.message, now);
    }
    return {};
  }

 private:
  Result<void> Wake(const Now& now) {
    LK_TRY(car::Memory memory, car::LoadMemory(memory_.Get(), CarOf(number_)));
    LK_TRY(PrivateKey key, PrivateKey::FromPem(ReadAll(folder_ / "car.key")));
    LK_TRY(std::string certificate, PemToDer(ReadAll(folder_ / "car.pem")));
    car::Options options;
    options.ref = CarOf(number_);
    options.certificate_der = std::move(certificate);
    options.limits.retry_max = std::chrono::seconds(2);
    car_.emplace(std::move(options), std::move(key), std::move(memory));
    return Step(car::Start{}, now);
  }

  Result<void> Take(const Publish& message, const Now& now) {
    const std::optional<Topic> topic = ParseTopic(message.topic);
    if (topic && topic->kind == TopicKind::kCommand) {
      const Result<Command> command =
          ParseCommand(message.payload, CarOf(number_), KeyId::Parse(topic->lane).value());
      current_ = command ? command->id.ToText() : "unparsed";
    }
    const Result<void> done = Step(car::Arrived{message}, now);
    current_ = "none";
    return done;
  }

  Result<void> Step(const car::Input& input, const Now& now) {
    car::Effects effects;
    car_->Step(input, now, effects);
    return car::Do(effects, hands_);
  }

  // One write, which a kill does not tear, see kActBytes.
  void Show(const car::Effect& effect) {
    const auto* act = std::get_if<car::Act>(&effect);
    if (act == nullptr) {
      return;
    }
    std::string line = current_ + " " + std::to_string(decided_.ms) + " " +
                       std::to_string(TrueTime().ms) + " " + act->text;
    line.resize(kActBytes - 1, ' ');
    line += '\n';
    Expect(::write(::fileno(acts_), line.data(), line.size()) == ssize_t{kActBytes},
           "an act cannot be written");
    ++control_.acted;
  }

  size_t number_;
  std::filesystem::path folder_;
  MemoryFile memory_;
  CarsControl& control_;
  std::mt19937_64 random_;
  std::FILE* acts_;
  std::string current_ = "none";  // id of the command at hand
  Timestamp decided_;
  car::Hands hands_;
  std::unique_ptr<tools::Link> link_;
  std::optional<car::Car> car_;
};

}  // namespace

Timestamp TrueTime() {
  timespec now{};
  ::syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  return {int64_t{now.tv_sec} * kMsPerSecond + now.tv_nsec / kNanosecondsPerMs};
}

CarRef CarOf(size_t number) {
  return testing::Ref("demo", "car-" + std::to_string(number));
}

std::filesystem::path CarFolder(const std::filesystem::path& cell, size_t number) {
  return cell / "cars" / "demo" / CarOf(number).car.str();
}

bool MemoryFile::Put(std::string_view bytes) {
  std::array<Slot, 2>& slots = slots_->slots;
  const bool first = slots[0].number <= slots[1].number;
  Slot& older = slots.at(first ? 0 : 1);
  if (bytes.size() > older.bytes.size()) {
    return false;
  }
  const uint64_t number = slots.at(first ? 1 : 0).number + 1;
  older.number = 0;
  older.size = bytes.size();
  std::memcpy(older.bytes.data(), bytes.data(), bytes.size());
  older.number = number;
  return true;
}

std::string_view MemoryFile::Get() const {
  const std::array<Slot, 2>& slots = slots_->slots;
  const Slot& newer = slots.at(slots[0].number > slots[1].number ? 0 : 1);
  return newer.number == 0 ? std::string_view() : std::string_view(newer.bytes.data(), newer.size);
}

std::vector<ActLine> ReadActs(const std::filesystem::path& cell, size_t number) {
  std::vector<ActLine> acts;
  std::istringstream lines(ReadAll(CarFolder(cell, number) / "acts.log"));
  for (std::string line; std::getline(lines, line) && !lines.eof();) {
    std::istringstream words(line);
    std::string id;
    ActLine act;
    words >> id >> act.decided.ms >> act.acted.ms;
    // An id that is none stays all zero: nobody has asked for that.
    act.id = CommandId::FromText(id).value_or(CommandId{});
    acts.push_back(act);
  }
  return acts;
}

int RunCars(const CarsOptions& options) {
  const Shared<CarsControl> control(options.control);
  tools::Inbox inbox;
  std::vector<std::unique_ptr<Sleeper>> cars;
  for (size_t i = 0; i < options.count; ++i) {
    control->online.at(i) = 0;
    cars.push_back(std::make_unique<Sleeper>(i, options, inbox, *control.operator->()));
  }
  Instant look_at = Clocks().mono;
  for (;;) {
    const std::optional<tools::LinkEvent> event = inbox.Wait(kLook);
    const Timestamp truth = TrueTime();
    const Now now = Clocks();
    Result<void> done;
    if (event) {
      done = cars.at(event->link)->Handle(*event, now, truth);
    }
    for (size_t i = 0; done && now.mono >= look_at && i < cars.size(); ++i) {
      done = cars[i]->Look(now);
    }
    if (now.mono >= look_at) {
      look_at = now.mono + kLook;
    }
    if (!done) {
      static_cast<void>(std::fprintf(stderr, "cars: %s\n", done.error().text.c_str()));
      return 1;
    }
  }
}

}  // namespace latchkey::load
