// See pairings.h.
#include "tests/migration/pairings.h"

#include <fstream>
#include <functional>
#include <optional>
#include <random>
#include <utility>

#include "proto/crypto.h"
#include "proto/token.h"
#include "tests/load/cars.h"
#include "tests/support/wire_fixtures.h"
#include "tools/car/car_mqtt.h"
#include "tools/phone/phone.h"

namespace latchkey::migration {

namespace {

using tools::LinkEvent;
using tools::Phone;

constexpr Duration kPatience = std::chrono::minutes(3);  // of one pairing, over outages
constexpr Duration kLook = std::chrono::milliseconds(5);
constexpr Duration kRetry = std::chrono::milliseconds(300);
constexpr Duration kLifetime = std::chrono::minutes(2);
constexpr Duration kBetween = std::chrono::milliseconds(300);
constexpr size_t kPairingsPerRing = 10;

Now Clocks() {
  const auto mono = std::chrono::steady_clock::now().time_since_epoch();
  return {load::TrueTime(), {std::chrono::duration_cast<Duration>(mono).count()}};
}

}  // namespace

// One car and its phones, one after the other. One thread.
class Pairings::Lane {
 public:
  Lane(const testing::Cell& cell, size_t number, First first, bool disk_full)
      : cell_(cell),
        first_(first),
        disk_full_(disk_full),
        ref_(testing::Ref("demo", "pair-" + std::to_string(number))),
        issued_(tools::IssueClient(CarIdentity{ref_}, cell.FleetCa("demo"), load::TrueTime(), 30)
                    .value()),
        folder_(cell.path() / "test" / std::string(ref_.car.str())),
        random_(number) {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "car.pem") << issued_.certificate_pem;
    std::ofstream(folder_ / "car.key") << issued_.private_key_pem;
    memory_ = car::SerializeMemory(car::NewMemory(ref_, load::TrueTime()));
  }

  // Empty: paired and obeyed.
  std::string PairOnce() {
    wrong_.clear();
    until_ = Clocks().mono + kPatience;
    if (!car_) {
      WakeCar();
    }
    if (pairings_++ % kPairingsPerRing == kPairingsPerRing - 1) {
      car_->Step(car::FactoryReset{}, Clocks());
    }
    qr_.clear();
    car_->Step(car::ShowOffer{RandomBytes(kPairingSecretBytes), v1::ROLE_OWNER}, Clocks());
    const Result<PairingOffer> offer = ParseQrText(qr_);
    if (!offer) {
      return "the car shows no code";
    }
    NewPhone();
    const bool paired = Await([&] { return connected_; }, "the phone does not get in") &&
                        Claim(*offer) && Await([&] { return paired_; }, "no answer to the claim");
    if (paired) {
      FirstCommand();
    }
    phone_link_.reset();
    phone_.reset();
    return wrong_;
  }

  // Nobody pairs for a while.
  void Rest(Duration time) {
    for (const Instant until = Clocks().mono + time; Clocks().mono < until;) {
      Turn();
    }
  }

  // The car's last words are said.
  void End() { car_.reset(); }

 private:
  bool Claim(const PairingOffer& offer) {
    Step(Phone::Pair{offer, RandomBytes(16)});
    return wrong_.empty();
  }

  void FirstCommand() {
    if (first_ == First::kAsleep) {
      car_.reset();
      Send([](v1::Command& action) { action.mutable_lock(); });
      if (!Await([&] { return held_ || ended_; }, "its first command is not held")) {
        return;
      }
      WakeCar();
    } else {
      Send([](v1::Command& action) { action.mutable_flash_lights(); });
    }
    Await([&] { return ended_.has_value(); }, "its first command has no outcome");
    const bool refused_for_room =
        disk_full_ && ended_ && ended_->reason == v1::REASON_STORE_UNAVAILABLE;
    if (ended_ && ended_->state != v1::RECEIPT_STATE_DONE && !refused_for_room) {
      wrong_ = "its first command ends " + std::string(ToText(ended_->state)) + ", reason " +
               std::to_string(static_cast<int>(ended_->reason));
    }
  }

  void Send(const std::function<void(v1::Command&)>& fill) {
    v1::Command action;
    fill(action);
    const Duration most = FindAction(action.action_case())->lifetime_max;
    Step(Phone::Send{ref_, action, std::min(most, kLifetime), RandomBytes(10)});
  }

  void WakeCar() {
    car::Options options;
    options.ref = ref_;
    options.certificate_der = PemToDer(issued_.certificate_pem).value();
    options.host = "127.0.0.1";
    options.phone_port = cell_.phone_port();
    options.cell = cell_.name();
    options.limits.retry_max = std::chrono::seconds(2);
    tools::LinkOptions link;
    link.port = cell_.car_port();
    link.client_id = ref_.ToText();
    link.ca_file = cell_.path() / "ca" / "cell.pem";
    link.certificate_file = folder_ / "car.pem";
    link.private_key_file = folder_ / "car.key";
    car_ = std::make_unique<car::CarClient>(
        car_number_ = next_link_++,
        car::Car(std::move(options),
                 std::move(PrivateKey::FromPem(issued_.private_key_pem).value()),
                 car::LoadMemory(memory_, ref_).value()),
        std::move(link), inbox_,
        car::Storage{[this](std::string_view bytes) {
                       memory_ = bytes;
                       return Result<void>();
                     },
                     [](std::string_view) { return Result<void>(); }});
    car_->OnShown([this](const car::Effect& effect) {
      if (const auto* shown = std::get_if<car::OfferShown>(&effect)) {
        qr_ = shown->qr_text;
      }
      asks_ = asks_ || std::holds_alternative<car::AskPerson>(effect);
    });
    car_->Step(car::Start{}, Clocks());
  }

  void NewPhone() {
    connected_ = paired_ = held_ = false;
    ended_.reset();
    phone_ =
        std::make_unique<Phone>(PrivateKey::Generate(), "phone", std::vector<tools::Pairing>{});
    tools::LinkOptions link;
    link.port = cell_.phone_port();
    link.ca_file = cell_.path() / "ca" / "cell.pem";
    link.user_name = phone_->id().str();
    link.client_id = link.user_name + "/pairs";
    link.password = [phone = phone_.get(), cell = cell_.name()] {
      return MintToken(phone->key(), cell, load::TrueTime(), std::chrono::minutes(5));
    };
    phone_link_ =
        std::make_unique<tools::Link>(phone_number_ = next_link_++, std::move(link), inbox_);
    phone_link_->Connect();
  }

  bool Await(const std::function<bool()>& condition, const std::string& otherwise) {
    while (!condition() && wrong_.empty()) {
      if (Clocks().mono >= until_) {
        wrong_ = otherwise;
        break;
      }
      Turn();
    }
    return wrong_.empty();
  }

  void Turn() {
    const std::optional<LinkEvent> event = inbox_.Wait(kLook);
    const Now now = Clocks();
    if (event && event->link == car_number_ && car_) {
      car_->Handle(*event, now, random_());
    } else if (event && event->link == phone_number_ && phone_link_) {
      Handle(*event, now);
    }
    if (std::exchange(asks_, false) && car_) {
      car_->Step(car::Confirm{car::Confirm::Word::kYes}, now);
    }
    if (const auto due = car_ ? car_->car().NextDeadline() : std::nullopt;
        due && *due <= now.mono) {
      car_->Step(car::Tick{}, now);
    }
    if (const auto due = phone_ ? phone_->NextDeadline() : std::nullopt; due && *due <= now.mono) {
      Step(Phone::Tick{});
    }
    if (connect_at_ && *connect_at_ <= now.mono && phone_link_) {
      connect_at_.reset();
      phone_link_->Connect();
    }
  }

  void Handle(const LinkEvent& event, const Now& now) {
    using Kind = LinkEvent::Kind;
    switch (event.kind) {
      case Kind::kConnected:
        connected_ = true;
        Step(Phone::Connected{});
        break;
      case Kind::kRefused:
        wrong_ = "the phone is refused: " + event.text;
        break;
      case Kind::kDisconnected:
        connect_at_ = now.mono + kRetry;
        Step(Phone::Disconnected{});
        break;
      case Kind::kSubscribed:
        Step(Phone::Subscribed{event.reason_codes});
        break;
      case Kind::kPublished:
        Step(Phone::Published{event.message.topic, event.reason_code});
        break;
      case Kind::kMessage:
        Step(Phone::Arrived{event.message});
        break;
    }
  }

  void Step(const Phone::Input& input) {
    Phone::Effects effects;
    phone_->Step(input, Clocks(), effects);
    for (const Phone::Effect& effect : effects) {
      if (const auto* publish = std::get_if<Publish>(&effect)) {
        static_cast<void>(phone_link_->Send(*publish));  // it is sent again until answered
      } else if (const auto* ask = std::get_if<Phone::Subscribe>(&effect)) {
        phone_link_->Subscribe(ask->filters, 1);
      } else if (const auto* learned = std::get_if<Phone::Learned>(&effect)) {
        paired_ = paired_ || learned->paired_now;
      } else if (const auto* receipt = std::get_if<Phone::Receipt>(&effect)) {
        held_ = held_ || receipt->outcome.state == v1::RECEIPT_STATE_HELD;
        if (receipt->final) {
          ended_ = receipt->outcome;
        }
      } else if (const auto* failed = std::get_if<Phone::Failed>(&effect);
                 failed && failed->filter.empty()) {
        wrong_ = "refused: " + failed->error.text;
      }
    }
  }

  const testing::Cell& cell_;
  const First first_;
  const bool disk_full_;
  const CarRef ref_;
  const tools::Issued issued_;
  const std::filesystem::path folder_;
  std::mt19937_64 random_;
  tools::Inbox inbox_;
  // Each link has a number of its own: what is still told of the one before is not of this one.
  size_t next_link_ = 0;
  size_t car_number_ = 0;
  size_t phone_number_ = 0;
  std::string memory_;
  std::string qr_;
  bool asks_ = false;
  size_t pairings_ = 0;
  Instant until_;
  std::string wrong_;
  bool connected_ = false;
  bool paired_ = false;
  bool held_ = false;
  std::optional<Outcome> ended_;
  std::optional<Instant> connect_at_;
  std::unique_ptr<car::CarClient> car_;
  std::unique_ptr<Phone> phone_;
  std::unique_ptr<tools::Link> phone_link_;
};

Pairings::Pairings(const testing::Cell& cell, const std::vector<First>& lanes, bool disk_full) {
  for (const First first : lanes) {
    lanes_.push_back(std::make_unique<Lane>(cell, lanes_.size(), first, disk_full));
  }
}

Pairings::~Pairings() {
  Stop();
}

void Pairings::Start() {
  for (const auto& each : lanes_) {
    threads_.emplace_back([this, lane = each.get()] {
      while (!halted_) {
        const Instant began = Clocks().mono;
        std::string wrong = lane->PairOnce();
        const Duration took = Clocks().mono - began;
        lane->Rest(kBetween);
        const std::lock_guard<std::mutex> lock(mutex_);
        longest_ = std::max(longest_, took);
        if (wrong.empty()) {
          ++done_;
        } else {
          wrongs_.push_back("pairing: " + std::move(wrong));
        }
      }
      lane->End();
    });
  }
}

void Pairings::Stop() {
  halted_ = true;
  for (std::thread& thread : threads_) {
    if (thread.joinable()) {
      thread.join();
    }
  }
}

}  // namespace latchkey::migration
