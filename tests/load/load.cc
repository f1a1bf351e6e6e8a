// See load.h.
#include "tests/load/load.h"

#include <algorithm>
#include <utility>

#include "proto/token.h"
#include "proto/topic.h"
#include "tests/load/cars.h"

namespace latchkey::load {

namespace {

using tools::Phone;

constexpr Duration kTickEvery = std::chrono::milliseconds(40);
constexpr Duration kRetry = std::chrono::milliseconds(300);
constexpr size_t kOpenMax = 26;  // of one phone at one car; the bridge refuses more than 32
constexpr size_t kOpenAtCarMax = 60;
// No more is sent while so many have had no answer, to cars awake and asleep. A slow machine has a
// slow load, and not one that drowns it.
constexpr std::array<size_t, 2> kUnheardMax = {150, 500};
constexpr int64_t kNapMs = 3000;
constexpr Duration kGoneSpan = std::chrono::seconds(3);

Now Clocks() {
  const auto mono = std::chrono::steady_clock::now().time_since_epoch();
  return {TrueTime(), {std::chrono::duration_cast<Duration>(mono).count()}};
}

tools::PhoneLimits PhoneLimits() {
  tools::PhoneLimits limits;
  limits.open_commands_max = size_t{1} << 20;
  limits.watch_all = false;
  limits.ask_again_first = std::chrono::seconds(3);
  limits.ask_again_max = std::chrono::seconds(6);
  // The bridge gives a car that may have the command 10 s beyond its expiry.
  limits.last_word = std::chrono::seconds(14);
  return limits;
}

}  // namespace

Habit HabitOf(size_t car) {
  constexpr size_t kRound = 20;
  const size_t place = car % kRound;
  if (place < 6) {
    return Habit::kAwake;
  }
  if (place < 17) {
    return Habit::kNaps;
  }
  return place < 19 ? Habit::kSleeps : Habit::kGone;
}

Load::Load(LoadOptions options, LoadPlace place, std::vector<PrivateKey> keys, CarsControl& cars)
    : options_(options), place_(std::move(place)), cars_(cars), random_(TrueTime().ms) {
  for (size_t i = 0; i < keys.size(); ++i) {
    auto client = std::make_unique<Client>(Client{
        Phone(std::move(keys[i]), "phone " + std::to_string(i), place_.pairings, PhoneLimits()),
        nullptr,
        {}});
    tools::LinkOptions link;
    link.port = place_.port;
    link.ca_file = place_.ca_file;
    link.user_name = client->phone.id().str();
    link.client_id = link.user_name + "/load";
    link.keep_alive = std::chrono::seconds(10);
    link.password = [phone = &client->phone, cell = place_.cell] {
      return MintToken(phone->key(), cell, TrueTime(), std::chrono::minutes(5));
    };
    client->link = std::make_unique<tools::Link>(i, std::move(link), inbox_);
    clients_.push_back(std::move(client));
  }
  open_of_.assign(clients_.size(), std::vector<size_t>(options_.cars));
}

Load::~Load() {
  Stop();
}

void Load::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Load::Stop() {
  stop_ = true;
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Load::Run() {
  Now now = Clocks();
  begun_ = now.mono;
  Instant tick_at = now.mono;
  for (auto& client : clients_) {
    client->connect_at = now.mono;
  }
  while (!stop_) {
    const std::optional<tools::LinkEvent> event = inbox_.Wait(std::chrono::milliseconds(1));
    now = Clocks();
    if (event) {
      Handle(*event, now);
    }
    SendDue(now);
    if (now.mono < tick_at) {
      continue;
    }
    tick_at = now.mono + kTickEvery;
    TurnCars(now);
    for (size_t i = 0; i < clients_.size(); ++i) {
      if (clients_[i]->connect_at && *clients_[i]->connect_at <= now.mono) {
        clients_[i]->connect_at.reset();
        clients_[i]->link->Connect();
      }
      Step(i, Phone::Tick{}, now);
    }
  }
}

// Each car as its habit says, the naps at different times.
void Load::TurnCars(const Now& now) {
  const bool loaded = !halted_ && !AllSent();
  for (size_t car = 0; car < options_.cars; ++car) {
    const Habit habit = HabitOf(car);
    const int64_t phase = (now.mono - begun_).count() + static_cast<int64_t>(car) * 997;
    bool awake = habit != Habit::kGone;
    if (loaded) {
      awake = habit == Habit::kAwake || (habit == Habit::kNaps && phase / kNapMs % 2 == 0);
    }
    cars_.awake.at(car) = awake ? 1 : 0;
  }
}

void Load::SendDue(const Now& now) {
  constexpr int64_t kAtOnce = 20;  // milliseconds' worth
  if (std::none_of(clients_.begin(), clients_.end(),
                   [](const auto& client) { return client->connected; }) &&
      sent_ == 0) {
    begun_ = sent_at_ = now.mono;
    return;
  }
  const int64_t passed = std::min<int64_t>((now.mono - sent_at_).count(), kAtOnce);
  const int64_t due = passed * options_.per_second / 1000;
  sent_at_ = due > 0 ? now.mono : sent_at_;
  for (int64_t i = 0; i < due && !halted_ && !AllSent(); ++i) {
    SendOne(now);
  }
}

v1::Command Load::Action() {
  v1::Command action;
  const uint64_t dice = random_() % 100;
  if (dice < 15) {
    action.mutable_install_app()->set_app_id("org.example.app" + std::to_string(dice % 8));
    action.mutable_install_app()->set_version(std::to_string(random_() % 1000));
  } else if (dice < 85) {
    action.mutable_remove_app()->set_app_id("org.example.app" + std::to_string(dice % 8));
  } else if (dice < 89) {
    action.mutable_lock();
  } else if (dice < 93) {
    action.mutable_unlock();
  } else if (dice < 97) {
    action.mutable_flash_lights();
  } else {
    action.mutable_climate_off();
  }
  return action;
}

void Load::SendOne(const Now& now) {
  // Most go to cars that sleep, as long as there is room for them.
  const bool to_sleeping = random_() % 100 < 60;
  for (int tries = 0; tries < 40; ++tries) {
    const size_t phone = random_() % clients_.size();
    const size_t car = random_() % options_.cars;
    size_t open = 0;
    for (const auto& of : open_of_) {
      open += of[car];
    }
    const bool asleep = cars_.awake.at(car) == 0;
    if (tries < 30 && asleep != to_sleeping) {
      continue;
    }
    if (open_of_[phone][car] >= kOpenMax || open >= kOpenAtCarMax ||
        unheard_.at(asleep ? 1 : 0) >= kUnheardMax.at(asleep ? 1 : 0)) {
      continue;
    }
    ++unheard_.at(asleep ? 1 : 0);
    const bool gone = HabitOf(car) == Habit::kGone;
    const Duration span = gone ? kGoneSpan : options_.lifetime_max - options_.lifetime_min;
    const v1::Command action = Action();
    const Duration lifetime = std::min(
        options_.lifetime_min +
            Duration(static_cast<int64_t>(random_() % static_cast<uint64_t>(span.count()))),
        FindAction(action.action_case())->lifetime_max);
    std::string random10(10, '\0');
    for (char& byte : random10) {
      byte = static_cast<char>(random_());
    }
    ++sent_;
    ++open_of_[phone][car];
    ++open_;
    // Began comes out of this step, and with it the record.
    Step(phone, Phone::Send{CarOf(car), action, lifetime, random10}, now);
    return;
  }
}

void Load::Step(size_t client, const Phone::Input& input, const Now& now) {
  Phone::Effects effects;
  clients_[client]->phone.Step(input, now, effects);
  for (const Phone::Effect& effect : effects) {
    if (const auto* publish = std::get_if<Publish>(&effect)) {
      static_cast<void>(clients_[client]->link->Send(*publish));  // it is sent again until answered
    } else if (const auto* ask = std::get_if<Phone::Subscribe>(&effect)) {
      clients_[client]->link->Subscribe(ask->filters, 1);
    } else if (const auto* began = std::get_if<Phone::Began>(&effect)) {
      const auto& send = std::get<Phone::Send>(input);
      size_t car = 0;
      while (CarOf(car) != send.ref) {
        ++car;
      }
      Record& record = records_[began->id];
      record.car = car;
      record.phone = client;
      record.issued_at = now.wall;
      record.expires_at = *began->expires_at;
      record.asleep = cars_.awake.at(car) == 0;
      record.sent_at = std::chrono::steady_clock::now();
    } else if (const auto* receipt = std::get_if<Phone::Receipt>(&effect);
               receipt && receipt->final) {
      Record& record = records_.at(receipt->outcome.command_id);
      record.end = receipt->outcome;
      record.ended_at = std::chrono::steady_clock::now();
      Heard(record);
      --open_of_[client][record.car];
      --open_;
      refused_by_store_ += receipt->outcome.reason == v1::REASON_STORE_UNAVAILABLE ? 1 : 0;
    }
  }
}

// Every word of bridge and cars, also what a phone takes no more notice of. The phones check the
// signatures.
void Load::Hear(const Publish& message) {
  const std::optional<Topic> topic = ParseTopic(message.topic);
  if (!topic || topic->kind != TopicKind::kReceipt) {
    return;
  }
  const CarRef ref{FleetId::Parse(topic->fleet).value(), CarId::Parse(topic->car).value()};
  const Result<Outcome> outcome = OpenReceipt(message.payload, ref, std::nullopt);
  const auto found = outcome ? records_.find(outcome->command_id) : records_.end();
  if (found == records_.end()) {
    return;
  }
  Record& record = found->second;
  Heard(record);
  if (outcome->state == v1::RECEIPT_STATE_HELD) {
    if (!record.held) {
      ++held_;
      record.held_at = std::chrono::steady_clock::now();
    }
    record.held = true;
  }
  const bool known =
      std::any_of(record.words.begin(), record.words.end(), [&](const Outcome& word) {
        return word.state == outcome->state && word.source == outcome->source;
      });
  if (IsFinal(outcome->state) && !known) {
    record.words.push_back(*outcome);
  }
}

void Load::Heard(Record& record) {
  unheard_.at(record.asleep ? 1 : 0) -= record.heard ? 0 : 1;
  record.heard = true;
}

void Load::Handle(const tools::LinkEvent& event, const Now& now) {
  using Kind = tools::LinkEvent::Kind;
  Client& client = *clients_.at(event.link);
  switch (event.kind) {
    case Kind::kConnected:
      client.connected = true;
      Step(event.link, Phone::Connected{}, now);
      break;
    case Kind::kRefused:
    case Kind::kDisconnected:
      client.connected = false;
      client.connect_at = now.mono + kRetry;
      Step(event.link, Phone::Disconnected{}, now);
      break;
    case Kind::kSubscribed:
      Step(event.link, Phone::Subscribed{event.reason_codes}, now);
      break;
    case Kind::kPublished:
      Step(event.link, Phone::Published{event.message.topic, event.reason_code}, now);
      break;
    case Kind::kMessage:
      Hear(event.message);
      Step(event.link, Phone::Arrived{event.message}, now);
      break;
  }
}

}  // namespace latchkey::load
