// See flash.h.
#include "tools/bench/flash.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "latchkey/v1/command.pb.h"
#include "proto/command.h"
#include "proto/receipt.h"
#include "proto/topic.h"
#include "tools/bench/figures.h"
#include "tools/bench/process.h"
#include "tools/bench/swarm.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

constexpr Duration kPatience = std::chrono::seconds(10);
constexpr Duration kLifetime = std::chrono::seconds(30);
// So many are made beforehand at once: they must not expire before their turn.
constexpr size_t kBatch = 500;
constexpr size_t kReceipts = 2;

using Clock = std::chrono::steady_clock;

double SecondsSince(Moment began, Moment now = Clock::now()) {
  return std::chrono::duration<double>(now - began).count();
}

// What is said of one command.
struct Words {
  CommandId id;
  std::string command;
  std::string delivered;
  std::string done;
};

KeyRing RingWith(const BenchCar& car, const BenchPhone& phone) {
  const PublicKey key = phone.key.Public();
  return {car.ref,
          1,
          cli::ReadClocks().wall,
          {{phone.id, key.ToPoint(), v1::ROLE_OWNER, PermissionsOf(v1::ROLE_OWNER), {}, {}, ""}}};
}

std::string Sealed(const BenchCar& car, const BenchPhone& phone, const CommandId& id) {
  const Timestamp now = cli::ReadClocks().wall;
  v1::Command action;
  action.mutable_flash_lights();
  return SealCommand({car.ref, id, now, now + kLifetime, action}, phone.key).value_or("");
}

std::string Receipt(const BenchCar& car, const CommandId& id, v1::ReceiptState state) {
  return SealCarReceipt(MakeOutcome(car.ref, id, state, v1::REASON_UNSPECIFIED,
                                    cli::ReadClocks().wall, v1::RECEIPT_SOURCE_CAR),
                        car.key);
}

// The car's part of the checks.
bool Obeys(std::string_view command, const BenchCar& car, const BenchPhone& phone,
           const KeyRing& ring) {
  const Result<Command> parsed = ParseCommand(command, car.ref, phone.id);
  const Timestamp now = cli::ReadClocks().wall;
  return parsed && CheckTime(*parsed, now).allowed() &&
         CheckAuthority(*parsed, ring, now).allowed();
}

// Both ends in one swarm, the car first.
class Couple {
 public:
  explicit Couple(const FlashWish& wish)
      : wish_(wish),
        swarm_(wish.entrance->cars()),
        ring_(RingWith(*wish.car, *wish.phone)),
        car_key_(wish.car->key.Public()),
        command_topic_(CommandTopic(wish.car->ref, wish.phone->id)),
        receipt_topic_(ReceiptTopic(wish.car->ref, wish.phone->id)) {}

  Result<void> Enter() {
    LK_TRY(ClientWish car, wish_.entrance->Car(0));
    LK_TRY(ClientWish phone, wish_.entrance->Phone(0));
    car_ = swarm_.Add(std::move(car));
    phone_ = swarm_.Add(std::move(phone));
    swarm_.Subscribe(car_, command_topic_, 1);
    swarm_.Subscribe(phone_, receipt_topic_, 1);
    swarm_.on_message = [this](size_t client, const Arrived& arrived) {
      if (client == car_) {
        Answer(arrived);
      } else {
        Take(arrived);
      }
    };
    const bool in = swarm_.Drive(kPatience) && swarm_.connected() == swarm_.size();
    swarm_.Publish(car_, {KeyRingTopic(wish_.car->ref), wish_.signed_ring, 1, true, 0});
    return in && swarm_.Drive(kPatience) ? Trouble() : Gone("does not get in");
  }

  Result<double> Flash(const Words& words) {
    words_ = &words;
    taken_ = 0;
    began_ = Clock::now();
    const bool sent = swarm_
                          .Publish(phone_, {command_topic_,
                                            wish_.signatures == Signatures::kOnTheWay
                                                ? Sealed(*wish_.car, *wish_.phone, words.id)
                                                : words.command,
                                            1, false, 0})
                          .has_value();
    if (!sent || !swarm_.DriveUntil(kPatience, [this] { return taken_ == kReceipts; })) {
      return tl::unexpected<Error>(Gone("has no receipt").error());
    }
    const double seconds = SecondsSince(began_, ended_);
    LK_CHECK(Trouble());
    // What is left of the command (acknowledgements) is done with before the next.
    const double until = MonotonicSeconds() + static_cast<double>(wish_.rest.count()) / 1000;
    swarm_.Drive(kPatience);
    while (MonotonicSeconds() < until) {
      Pause(Duration(1));
    }
    return seconds;
  }

 private:
  void Answer(const Arrived& arrived) {
    const bool signing = wish_.signatures == Signatures::kOnTheWay;
    if (signing && !Obeys(arrived.payload, *wish_.car, *wish_.phone, ring_)) {
      return;  // no receipt comes, and the run ends
    }
    const CommandId& id = words_->id;
    Publish(signing ? Receipt(*wish_.car, id, v1::RECEIPT_STATE_DELIVERED) : words_->delivered);
    Publish(signing ? Receipt(*wish_.car, id, v1::RECEIPT_STATE_DONE) : words_->done);
  }

  void Take(const Arrived& arrived) {
    if (wish_.signatures == Signatures::kBeforehand) {
      ended_ = arrived.at;
    } else if (OpenReceipt(arrived.payload, wish_.car->ref, car_key_)) {
      ended_ = Clock::now();
    } else {
      return;
    }
    ++taken_;
  }

  void Publish(const std::string& receipt) {
    static_cast<void>(swarm_.Publish(car_, {receipt_topic_, receipt, 1, false, 0}));
  }

  Result<void> Gone(const std::string& what) const {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "flash: a phone or its car " + what + ": " + swarm_.first_trouble());
  }

  Result<void> Trouble() const {
    const Counters& counters = swarm_.counters();
    const bool none =
        counters.refused == 0 && counters.lost == 0 && counters.refused_subscriptions == 0;
    return none ? Result<void>() : Gone("is refused something");
  }

  const FlashWish& wish_;
  Swarm swarm_;
  const KeyRing ring_;
  const PublicKey car_key_;
  const std::string command_topic_;
  const std::string receipt_topic_;
  size_t car_ = 0;
  size_t phone_ = 0;
  const Words* words_ = nullptr;
  size_t taken_ = 0;
  Moment began_;
  Moment ended_;
};

CommandId NextId() {
  return CommandId::Make(cli::ReadClocks().wall.ms, RandomBytes(10));
}

Words WordsFor(const FlashWish& wish) {
  Words words;
  words.id = NextId();
  if (wish.signatures == Signatures::kBeforehand) {
    words.command = Sealed(*wish.car, *wish.phone, words.id);
    words.delivered = Receipt(*wish.car, words.id, v1::RECEIPT_STATE_DELIVERED);
    words.done = Receipt(*wish.car, words.id, v1::RECEIPT_STATE_DONE);
  }
  return words;
}

}  // namespace

Result<std::vector<double>> FlashSeconds(const FlashWish& wish) {
  Couple couple(wish);
  LK_CHECK(couple.Enter());
  std::vector<double> all;
  while (all.size() < wish.commands) {
    std::vector<Words> batch;
    for (size_t i = all.size(); i < wish.commands && batch.size() < kBatch; ++i) {
      batch.push_back(WordsFor(wish));
    }
    for (const Words& words : batch) {
      LK_TRY(const double seconds, couple.Flash(words));
      all.push_back(seconds);
    }
  }
  return all;
}

Cost CostOfSignatures(const BenchCar& car, const BenchPhone& phone, Duration rest, size_t times) {
  const KeyRing ring = RingWith(car, phone);
  const PublicKey car_key = car.key.Public();
  std::vector<double> all;
  for (size_t i = 0; i < times; ++i) {
    const CommandId id = NextId();
    Pause(rest);
    const Moment began = Clock::now();
    const bool obeys = Obeys(Sealed(car, phone, id), car, phone, ring);
    const bool believed =
        OpenReceipt(Receipt(car, id, v1::RECEIPT_STATE_DELIVERED), car.ref, car_key) &&
        OpenReceipt(Receipt(car, id, v1::RECEIPT_STATE_DONE), car.ref, car_key);
    all.push_back(SecondsSince(began));
    LK_ASSERT(obeys && believed);
  }
  return {SpreadOf(std::move(all)).median};
}

}  // namespace latchkey::bench
