// See steady_load.h.
#include "tests/upgrade/steady_load.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include <doctest/doctest.h>

#include "proto/command.h"
#include "proto/receipt.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::testing {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kSendEvery{6};
constexpr milliseconds kAgainAfter{1000};  // as the reference phone
constexpr milliseconds kAwakeEvery{60};
constexpr milliseconds kLifetime{20000};
constexpr milliseconds kLastAnswers{10000};

int64_t MsBetween(steady_clock::time_point from, steady_clock::time_point to) {
  return std::chrono::duration_cast<milliseconds>(to - from).count();
}

std::string FlashCommand(const CarRef& ref, const CommandId& id, const PrivateKey& key) {
  CommandRequest request{ref, id, Timestamp{UnixMs()}, Timestamp{UnixMs()} + kLifetime, {}};
  request.action.mutable_flash_lights();
  return SealCommand(request, key).value();
}

CommandId IdOf(uint32_t number) {
  std::string bytes(10, 'u');
  for (size_t i = 0; i < sizeof(number); ++i) {
    bytes[i] = static_cast<char>(number >> (8 * i) & 0xff);
  }
  return CommandId::Make(UnixMs(), bytes);
}

}  // namespace

int64_t SteadyResult::HeldAt(double part) const {
  std::vector<int64_t> sorted = held_ms;
  std::sort(sorted.begin(), sorted.end());
  return sorted.empty()
             ? -1
             : sorted[std::min(sorted.size() - 1,
                               static_cast<size_t>(part * static_cast<double>(sorted.size())))];
}

std::string SteadyResult::Text() const {
  std::array<char, 400> text{};
  static_cast<void>(std::snprintf(
      text.data(), text.size(),
      "%zu commands to sleeping cars, %zu unanswered, %zu refused, %zu sent again; HELD after "
      "p50 %lld p99 %lld max %lld ms, longest time without a HELD %lld ms; awake car: %zu sent, "
      "%zu "
      "missed; %zu pairings, %zu failed; %zu states, %zu refused",
      sent, unanswered, refused, resent, static_cast<long long>(HeldAt(0.5)),
      static_cast<long long>(HeldAt(0.99)), static_cast<long long>(HeldAt(1)),
      static_cast<long long>(longest_silence_ms), awake_sent, awake_missed, pairings,
      pairings_failed, states, states_refused));
  return text.data();
}

struct SteadyLoad::Sender {
  CarRef ref;
  PrivateKey key = PrivateKey::Generate();
  std::unique_ptr<RawClient> phone;
};

SteadyLoad::SteadyLoad(Cell& cell, const std::string& name, bool pairing)
    : cell_(cell), owner_(PrivateKey::Generate()) {
  MakeSleepers(name);
  awake_ = std::make_unique<RawCar>(cell, "demo", name + "-awake");
  REQUIRE(awake_->PublishRing({{owner_.Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(awake_->client().Subscribe(CommandTopic(awake_->ref(), owner_.Public().Id())) == 1);
  if (pairing) {
    cell.StartCar("pairs", {"--offer"});
  }
  next_send_ = last_held_ = steady_clock::now();
  threads_.emplace_back([this] { RunCommands(); });
  threads_.emplace_back([this] { RunAwake(); });
  if (pairing) {
    threads_.emplace_back([this] { RunPairing(); });
  }
}

SteadyLoad::~SteadyLoad() {
  stop_ = true;
  for (std::thread& thread : threads_) {
    if (thread.joinable()) {
      thread.join();
    }
  }
}

void SteadyLoad::MakeSleepers(const std::string& name) {
  for (size_t i = 0; i < kSleepers; ++i) {
    auto sender = std::make_unique<Sender>();
    {
      RawCar car(cell_, "demo", name + "-sleeper-" + std::to_string(i));
      REQUIRE(car.PublishRing({{sender->key.Public(), v1::ROLE_OWNER}}) == 0);
      sender->ref = car.ref();
      car.client().Disconnect();
    }
    sender->phone = std::make_unique<RawClient>(cell_.AsPhone(sender->key));
    REQUIRE(sender->phone->Connect() == 0);
    REQUIRE(sender->phone->Subscribe(ReceiptTopic(sender->ref, sender->key.Public().Id())) == 1);
    senders_.push_back(std::move(sender));
  }
  // The bridge has all rings, and knows that the cars are away.
  for (const auto& sender : senders_) {
    REQUIRE(Eventually([&] {
      const std::string body =
          HttpGet(cell_.http_port(), "/v1/cars/demo/" + sender->ref.car.str()).body;
      return body.find("\"online\": false") != std::string::npos &&
             body.find("\"ring_version\": 1") != std::string::npos;
    }));
  }
}

void SteadyLoad::SendSome(steady_clock::time_point now) {
  while (!stop_ && next_send_ <= now) {
    next_send_ = std::max(next_send_ + kSendEvery, now - kSendEvery);
    Sender& sender = *senders_[turn_++ % senders_.size()];
    const CommandId id = IdOf(++numbers_);
    Sent one{now, now + kAgainAfter, FlashCommand(sender.ref, id, sender.key),
             (turn_ - 1) % senders_.size(), false};
    sender.phone->Post(
        {CommandTopic(sender.ref, sender.key.Public().Id()), one.bytes, 1, Retain::kNo, 0});
    sent_.emplace(id, std::move(one));
    ++result_.sent;
  }
  for (auto& [id, one] : sent_) {
    if (!one.answered && one.again_at <= now) {
      Sender& sender = *senders_[one.sender];
      sender.phone->Post(
          {CommandTopic(sender.ref, sender.key.Public().Id()), one.bytes, 1, Retain::kNo, 0});
      one.again_at = now + kAgainAfter;
      ++result_.resent;
    }
  }
}

void SteadyLoad::Hear(Sender& sender) {
  while (const std::optional<Publish> said = sender.phone->Next(milliseconds(0))) {
    const Result<Outcome> receipt = OpenReceipt(said->payload, sender.ref, std::nullopt);
    const auto found = receipt ? sent_.find(receipt->command_id) : sent_.end();
    if (found == sent_.end()) {
      continue;
    }
    const steady_clock::time_point now = steady_clock::now();
    result_.refused += receipt->state == v1::RECEIPT_STATE_REFUSED ? 1 : 0;
    if (!found->second.answered) {
      found->second.answered = true;
      ++answered_;
      result_.held_ms.push_back(MsBetween(found->second.at, now));
      result_.longest_silence_ms = std::max(result_.longest_silence_ms, MsBetween(last_held_, now));
      last_held_ = now;
    }
  }
  static_cast<void>(sender.phone->TakeAnswers());
}

void SteadyLoad::RunCommands() {
  std::optional<steady_clock::time_point> stopped;
  for (;;) {
    const steady_clock::time_point now = steady_clock::now();
    SendSome(now);
    for (const auto& sender : senders_) {
      Hear(*sender);
    }
    stopped = stop_ && !stopped ? std::optional(now) : stopped;
    const bool all = answered_ == sent_.size();
    if (stopped && (all || now - *stopped > kLastAnswers)) {
      result_.unanswered = sent_.size() - answered_;
      return;
    }
    std::this_thread::sleep_for(milliseconds(1));
  }
}

// The car that is awake says where it is and gets commands of its owner, which the bridge has no
// part in.
void SteadyLoad::RunAwake() {
  RawClient phone(cell_.AsPhone(owner_));
  const std::string topic = CommandTopic(awake_->ref(), owner_.Public().Id());
  bool connected = phone.Connect() == 0;
  while (!stop_) {
    result_.last_speed = static_cast<float>(result_.states % 200);
    ++result_.states;
    result_.states_refused += awake_->PublishSpeed(result_.last_speed) == 0 ? 0 : 1;
    ++result_.awake_sent;
    const std::string bytes = FlashCommand(
        awake_->ref(), IdOf(0x80000000U + static_cast<uint32_t>(result_.states)), owner_);
    connected = connected && phone.Send({topic, bytes, 1, Retain::kNo, 0}) == 0;
    // A car that never answers is sent older ones again by the bridge, too.
    std::optional<Publish> got;
    do {
      got = awake_->client().NextOn(topic);
    } while (got && got->payload != bytes);
    result_.awake_missed += connected && got ? 0 : 1;
    std::this_thread::sleep_for(kAwakeEvery);
  }
}

void SteadyLoad::RunPairing() {
  std::string last;
  while (!stop_) {
    std::string text;
    if (!Eventually(
            [&] {
              const std::string output = cell_.CarOutput("pairs");
              const size_t at = output.rfind("latchkey://pair?");
              const size_t end = at == std::string::npos ? at : output.find_first_of(" \r\n\"", at);
              text = end == std::string::npos ? "" : output.substr(at, end - at);
              return stop_ || (!text.empty() && text != last);
            },
            milliseconds(20000)) ||
        stop_) {
      result_.pairings_failed += stop_ ? 0 : 1;
      return;
    }
    last = text;
    const std::string name = "phone-" + std::to_string(result_.pairings);
    const Ran made = cell_.Latchkey({"phone", "init", name});
    const Ran paired = cell_.Latchkey({"phone", "pair", name, text, "--timeout", "30s"});
    ++result_.pairings;
    if (made.exit_code != 0 || paired.exit_code != 0) {
      ++result_.pairings_failed;
      std::fprintf(stderr, "pairing failed: %s\n", paired.output.c_str());
    }
  }
}

SteadyResult SteadyLoad::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) {
    thread.join();
  }
  return result_;
}

}  // namespace latchkey::testing
