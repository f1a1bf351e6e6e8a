// A second broker takes over cars and phones while commands, pairings and state go on: all of them,
// half of them back, all again with the new broker killed in the middle. Not one command or pairing
// may fail, nothing acts twice or late, and no phone is shown an older state.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/state.pb.h"
#include "proto/command.h"
#include "proto/pairing.h"
#include "proto/token.h"
#include "proto/topic.h"
#include "proto/wire.h"
#include "tests/support/cell.h"
#include "tests/support/wire_fixtures.h"
#include "tests/system/two_brokers.h"
#include "tools/car/car_mqtt.h"
#include "tools/mqtt/link.h"
#include "tools/phone/phone.h"

namespace latchkey::testing {
namespace {

using tools::Phone;

constexpr size_t kCars = 24;
constexpr size_t kPhones = 8;   // each on every ring
constexpr size_t kPairers = 3;  // pair with the first cars, over and over
// A pairing takes some ten messages of a phone, which may send a hundred a second.
constexpr Duration kPairEvery = std::chrono::milliseconds(150);
constexpr Duration kStateEvery = std::chrono::milliseconds(200);
constexpr Duration kSendEvery = std::chrono::milliseconds(8);
constexpr Duration kRetry = std::chrono::milliseconds(250);
constexpr size_t kSharesSlotEvery = 5;                      // commands
constexpr Duration kSilenceMax = std::chrono::seconds(10);  // of a client, the broker's death too

Now Clocks() {
  const auto mono = std::chrono::steady_clock::now().time_since_epoch();
  return {Timestamp{UnixMs()}, {std::chrono::duration_cast<Duration>(mono).count()}};
}

CarRef CarOf(size_t i) {
  return Ref("demo", "car-" + std::to_string(i));
}

// One command as all saw it.
struct Sent {
  Instant sent_at;
  Timestamp expires_at;
  size_t phase = 0;
  int outcomes = 0;
  int acts = 0;
  bool late = false;
  bool shares_slot = false;
  std::optional<Duration> took;
  v1::ReceiptState state = v1::RECEIPT_STATE_UNSPECIFIED;
  bool may_have_acted = false;
  std::string outcome;
};

// When a client was without a broker, longest first wanted.
struct Silence {
  std::optional<Instant> since;
  Duration longest{0};
  int moves = 0;
  std::string broker;

  void Lost(Instant now) { since = since ? since : std::optional(now); }

  void Back(Instant now) {
    longest = since ? std::max(longest, now - *since) : longest;
    since.reset();
  }
};

// All cars and phones of the cell, on a thread of their own from Start to Stop.
class Road {
 public:
  Road(Cell& cell, const std::vector<std::pair<int, int>>& brokers)
      : cell_(cell), brokers_(brokers), random_(7) {
    for (size_t i = 0; i < kPhones + kPairers; ++i) {
      keys_.push_back(PrivateKey::Generate());
    }
    for (size_t i = 0; i < kCars; ++i) {
      AddCar(i);
    }
    for (size_t i = 0; i < kPhones + kPairers; ++i) {
      AddPhone(i);
    }
  }

  ~Road() { Stop(); }

  Road(const Road&) = delete;
  Road& operator=(const Road&) = delete;

  void Start() {
    thread_ = std::thread([this] { Run(); });
  }

  void Stop() {
    stop_ = true;
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  void Phase(size_t phase) { phase_ = phase; }

  void Halt() { halted_ = true; }

  bool AllConnected() const { return connected_ == kCars + kPhones + kPairers; }

  bool AllOver() const { return open_ == 0; }

  // After Stop.
  std::map<std::string, Sent> sent;
  std::vector<Duration> paired;
  std::vector<std::string> pairing_failures;
  size_t older_shown = 0;
  size_t states_shown = 0;
  std::vector<Silence> silences{kCars + kPhones + kPairers};
  std::vector<std::string> notes;

 private:
  struct Client {
    Phone phone;
    std::unique_ptr<tools::Link> link;
    std::optional<Instant> connect_at;
    std::optional<Instant> pairing_since;
    std::map<std::string, uint64_t> shown;  // observed, by car and group
    Instant pairs_at{};                     // again
  };

  tools::LinkOptions Brokers(bool phones) const {
    tools::LinkOptions link;
    link.ca_file = cell_.path() / "ca" / "cell.pem";
    link.port = phones ? brokers_.front().first : brokers_.front().second;
    for (size_t i = 1; i < brokers_.size(); ++i) {
      link.others.push_back({"127.0.0.1", phones ? brokers_[i].first : brokers_[i].second});
    }
    link.keep_alive = std::chrono::seconds(10);
    return link;
  }

  void AddCar(size_t i) {
    const CarRef ref = CarOf(i);
    const std::filesystem::path folder = cell_.path() / "test" / ref.car.str();
    std::filesystem::create_directories(folder);
    const tools::Issued issued =
        tools::IssueClient(CarIdentity{ref}, cell_.FleetCa("demo"), Timestamp{UnixMs()}, 30)
            .value();
    std::ofstream(folder / "car.pem") << issued.certificate_pem;
    std::ofstream(folder / "car.key") << issued.private_key_pem;
    car::Memory memory = car::NewMemory(ref, Timestamp{UnixMs()});
    for (size_t phone = 0; phone < kPhones; ++phone) {
      memory.ring.keys.push_back(OnRing(keys_[phone].Public(), v1::ROLE_OWNER));
    }
    car::Options options;
    options.ref = ref;
    options.certificate_der = PemToDer(issued.certificate_pem).value();
    options.host = "127.0.0.1";
    options.phone_port = cell_.phone_port();
    options.cell = cell_.name();
    PrivateKey key = std::move(PrivateKey::FromPem(issued.private_key_pem).value());
    pairings_.push_back({ref,
                         "127.0.0.1",
                         cell_.phone_port(),
                         cell_.name(),
                         key.Public(),
                         options.certificate_der,
                         memory.ring,
                         {}});
    tools::LinkOptions link = Brokers(false);
    link.client_id = ref.ToText();
    link.certificate_file = folder / "car.pem";
    link.private_key_file = folder / "car.key";
    car::Storage storage{[](std::string_view) -> Result<void> { return {}; },
                         [](std::string_view) -> Result<void> { return {}; }};
    cars_.push_back(std::make_unique<car::CarClient>(
        i, car::Car(std::move(options), std::move(key), std::move(memory)), std::move(link), inbox_,
        std::move(storage)));
    cars_.back()->OnShown([this, i](const car::Effect& effect) { CarShows(i, effect); });
  }

  void AddPhone(size_t i) {
    tools::PhoneLimits limits;
    limits.open_commands_max = 10000;
    limits.watch_all = false;
    PrivateKey copy = std::move(PrivateKey::FromPem(keys_[i].ToPem()).value());
    clients_.push_back(std::make_unique<Client>(
        Client{Phone(std::move(copy), "phone " + std::to_string(i),
                     i < kPhones ? pairings_ : std::vector<tools::Pairing>(), limits),
               nullptr,
               {},
               {},
               {}}));
    tools::LinkOptions link = Brokers(true);
    link.user_name = keys_[i].Public().Id().str();
    link.client_id = link.user_name + "/road";
    link.password = [this, i] {
      return MintToken(keys_[i], cell_.name(), Timestamp{UnixMs()}, std::chrono::minutes(5));
    };
    clients_.back()->link = std::make_unique<tools::Link>(kCars + i, std::move(link), inbox_);
  }

  void CarShows(size_t i, const car::Effect& effect) {
    if (std::holds_alternative<car::Act>(effect)) {
      const auto found = sent.find(current_);
      if (found != sent.end()) {
        ++found->second.acts;
        found->second.late = found->second.late || Timestamp{UnixMs()} >= found->second.expires_at;
      }
    } else if (const auto* shown = std::get_if<car::OfferShown>(&effect)) {
      offers_[i] = shown->qr_text;
    } else if (std::holds_alternative<car::OfferOver>(effect)) {
      offers_.erase(i);
      offered_.erase(i);
    } else if (std::holds_alternative<car::AskPerson>(effect)) {
      asking_.insert(i);
    }
  }

  void Run() {
    Now now = Clocks();
    for (size_t i = 0; i < kCars; ++i) {
      cars_[i]->Step(car::Start{}, now);
    }
    for (auto& client : clients_) {
      client->connect_at = now.mono;
    }
    for (size_t i = 0; i < kPhones; ++i) {
      for (size_t car = i; car < kCars; car += kPhones) {
        Step(i, Phone::Watch{CarOf(car)}, now);
      }
    }
    Instant state_at = now.mono;
    Instant send_at = now.mono;
    while (!stop_) {
      const auto event = inbox_.Wait(std::chrono::milliseconds(1));
      now = Clocks();
      if (event) {
        Handle(*event, now);
      }
      if (now.mono >= state_at) {
        state_at = now.mono + kStateEvery;
        ++speed_;
        for (auto& car : cars_) {
          car->Step(
              car::Observe{"drive.speed", static_cast<double>(speed_ % 100), now.wall, "road"},
              now);
        }
      }
      if (now.mono >= send_at && AllBegun()) {
        send_at = now.mono + kSendEvery;
        SendOne(now);
      }
      Turn(now);
    }
  }

  bool AllBegun() {
    begun_ = begun_ || AllConnected();
    return begun_ && !halted_;
  }

  // What is due of everybody.
  void Turn(const Now& now) {
    for (auto& car : cars_) {
      const auto due = car->car().NextDeadline();
      if (due && *due <= now.mono) {
        car->Step(car::Tick{}, now);
      }
    }
    for (const size_t car : std::exchange(asking_, {})) {
      cars_[car]->Step(car::Confirm{car::Confirm::Word::kYes}, now);
    }
    for (size_t i = 0; i < clients_.size(); ++i) {
      Client& client = *clients_[i];
      if (client.connect_at && *client.connect_at <= now.mono) {
        client.connect_at.reset();
        client.link->Connect();
      }
      const auto due = client.phone.NextDeadline();
      if (due && *due <= now.mono) {
        Step(i, Phone::Tick{}, now);
      }
    }
    for (size_t i = 0; i < kPairers && AllBegun(); ++i) {
      PairNext(i, now);
    }
  }

  void PairNext(size_t i, const Now& now) {
    Client& client = *clients_[kPhones + i];
    if (client.pairing_since || now.mono < client.pairs_at) {
      return;
    }
    if (!offered_.contains(i)) {
      offered_.insert(i);
      cars_[i]->Step(car::ShowOffer{RandomBytes(kPairingSecretBytes), v1::ROLE_DRIVER}, now);
    }
    if (const auto offer = offers_.find(i); offer != offers_.end()) {
      const Result<PairingOffer> parsed = ParseQrText(offer->second);
      offers_.erase(offer);
      if (parsed) {
        client.pairing_since = now.mono;
        client.pairs_at = now.mono + kPairEvery;
        Step(kPhones + i, Phone::Pair{*parsed, RandomBytes(16)}, now);
      }
    }
  }

  void SendOne(const Now& now) {
    const size_t phone = next_phone_++ % kPhones;
    v1::Command action;
    // Most in a slot of their own, so that none takes another's place; some share one.
    shares_slot_ = next_phone_ % kSharesSlotEvery == 0;
    if (shares_slot_) {
      action.mutable_flash_lights();
    } else {
      action.mutable_remove_app()->set_app_id("org.example.app" +
                                              std::to_string(random_() % 100'000));
    }
    Step(phone,
         Phone::Send{CarOf(random_() % kCars), action, std::chrono::seconds(30), RandomBytes(10)},
         now);
  }

  void Step(size_t i, const Phone::Input& input, const Now& now) {
    Client& client = *clients_[i];
    Phone::Effects effects;
    client.phone.Step(input, now, effects);
    for (const Phone::Effect& effect : effects) {
      if (const auto* publish = std::get_if<Publish>(&effect)) {
        static_cast<void>(client.link->Send(*publish));
      } else if (const auto* ask = std::get_if<Phone::Subscribe>(&effect)) {
        client.link->Subscribe(ask->filters, 1);
      } else {
        PhoneSays(i, effect, now);
      }
    }
  }

  void PhoneSays(size_t i, const Phone::Effect& effect, const Now& now) {
    Client& client = *clients_[i];
    if (const auto* began = std::get_if<Phone::Began>(&effect)) {
      sent[began->id.ToText()] = {
          now.mono, began->expires_at.value(), phase_, 0, 0, false, shares_slot_, {}, {}, false,
          {}};
      ++open_;
    } else if (const auto* receipt = std::get_if<Phone::Receipt>(&effect)) {
      Sent& command = sent[receipt->outcome.command_id.ToText()];
      if (receipt->final) {
        command.outcomes += 1;
        command.took = now.mono - command.sent_at;
        command.state = receipt->outcome.state;
        command.may_have_acted = receipt->outcome.may_have_acted;
        command.outcome = v1::ReceiptState_Name(receipt->outcome.state) + " " +
                          v1::Reason_Name(receipt->outcome.reason);
        --open_;
      }
    } else if (const auto* learned = std::get_if<Phone::Learned>(&effect)) {
      if (i >= kPhones && learned->paired_now && client.pairing_since) {
        paired.push_back(now.mono - *std::exchange(client.pairing_since, std::nullopt));
      }
    } else if (const auto* failed = std::get_if<Phone::Failed>(&effect)) {
      if (i >= kPhones && client.pairing_since && failed->filter.empty()) {
        client.pairing_since.reset();
        pairing_failures.push_back(failed->error.text);
      } else if (failed->filter.empty()) {
        notes.push_back("phone " + std::to_string(i) + ": " + failed->error.text);
      }
    } else if (const auto* changed = std::get_if<Phone::StateChanged>(&effect)) {
      const auto& group =
          client.phone.Find(changed->ref)->groups.at(static_cast<size_t>(changed->group));
      uint64_t& newest =
          client.shown[changed->ref.ToText() + "/" + std::string(ToText(changed->group))];
      ++states_shown;
      older_shown += group->observed_at_ms() < newest ? 1 : 0;
      newest = std::max<uint64_t>(newest, group->observed_at_ms());
    }
  }

  void Handle(const tools::LinkEvent& event, const Now& now) {
    using Kind = tools::LinkEvent::Kind;
    Silence& silence = silences.at(event.link);
    if (event.kind == Kind::kConnected) {
      silence.moves += silence.broker != event.broker.ToText() ? 1 : 0;
      silence.broker = event.broker.ToText();
    } else if (event.kind == Kind::kSubscribed && up_.insert(event.link).second) {
      ++connected_;
      silence.Back(now.mono);
    } else if (event.kind == Kind::kDisconnected || event.kind == Kind::kRefused) {
      if (up_.erase(event.link) > 0) {
        --connected_;
        silence.Lost(now.mono);
      }
    }
    if (event.link < kCars) {
      HandleCar(event, now);
      return;
    }
    const size_t i = event.link - kCars;
    switch (event.kind) {
      case Kind::kConnected:
        Step(i, Phone::Connected{}, now);
        if (i >= kPhones && up_.insert(event.link).second) {  // it subscribes when it pairs
          ++connected_;
          silence.Back(now.mono);
        }
        break;
      case Kind::kRefused:
      case Kind::kDisconnected:
        Step(i, Phone::Disconnected{}, now);
        clients_[i]->connect_at = now.mono + (event.try_now ? Duration(0) : kRetry);
        break;
      case Kind::kSubscribed:
        Step(i, Phone::Subscribed{event.reason_codes}, now);
        break;
      case Kind::kPublished:
        Step(i, Phone::Published{event.message.topic, event.reason_code}, now);
        break;
      case Kind::kMessage:
        Step(i, Phone::Arrived{event.message}, now);
        break;
    }
  }

  void HandleCar(const tools::LinkEvent& event, const Now& now) {
    const std::optional<Topic> topic = event.kind == tools::LinkEvent::Kind::kMessage
                                           ? ParseTopic(event.message.topic)
                                           : std::nullopt;
    if (topic && topic->kind == TopicKind::kCommand) {
      const Result<Command> command =
          ParseCommand(event.message.payload, CarOf(event.link), KeyId::Parse(topic->lane).value());
      current_ = command ? command->id.ToText() : "";
    }
    cars_[event.link]->Handle(event, now, random_());
    current_.clear();
  }

  Cell& cell_;
  std::vector<std::pair<int, int>> brokers_;
  std::mt19937_64 random_;
  tools::Inbox inbox_{100000};
  std::vector<PrivateKey> keys_;
  std::vector<tools::Pairing> pairings_;
  std::vector<std::unique_ptr<car::CarClient>> cars_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::map<size_t, std::string> offers_;
  std::set<size_t> offered_;
  std::set<size_t> asking_;
  std::set<size_t> up_;
  std::string current_;
  size_t next_phone_ = 0;
  bool shares_slot_ = false;  // the command that is sent now
  uint64_t speed_ = 0;
  bool begun_ = false;
  std::atomic<size_t> phase_ = 0;
  std::atomic<size_t> connected_ = 0;
  std::atomic<size_t> open_ = 0;
  std::atomic<bool> halted_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

Duration Percentile(std::vector<Duration> all, double share) {
  if (all.empty()) {
    return Duration(0);
  }
  std::sort(all.begin(), all.end());
  return all[std::min(all.size() - 1,
                      static_cast<size_t>(share * static_cast<double>(all.size())))];
}

void PrintPhase(const Road& road, const char* name, size_t phase) {
  std::vector<Duration> took;
  for (const auto& [id, command] : road.sent) {
    if (command.phase == phase && command.took) {
      took.push_back(*command.took);
    }
  }
  std::cout << "broker hand-over: " << name << ": " << took.size() << " commands, p50 "
            << Percentile(took, 0.5).count() << " ms, p99 " << Percentile(took, 0.99).count()
            << " ms, max " << Percentile(took, 1).count() << " ms\n";
}

void Judge(const Road& road) {
  size_t unended = 0;
  size_t twice = 0;
  size_t late = 0;
  size_t done = 0;
  size_t superseded = 0;
  size_t untrue = 0;
  for (const auto& [id, command] : road.sent) {
    unended += command.outcomes != 1 ? 1 : 0;
    twice += command.acts > 1 ? 1 : 0;
    late += command.late ? 1 : 0;
    const bool is_done = command.state == v1::RECEIPT_STATE_DONE;
    const bool replaced = command.shares_slot && command.state == v1::RECEIPT_STATE_SUPERSEDED;
    done += is_done ? 1 : 0;
    superseded += replaced ? 1 : 0;
    const bool truth = is_done ? command.acts == 1 : command.acts == 0 || command.may_have_acted;
    untrue += truth ? 0 : 1;
    const bool good = truth && (is_done || replaced);
    CHECK_MESSAGE(good, id, " ", command.outcome, command.may_have_acted ? " may have acted" : "",
                  " in phase ", command.phase, " acts ", command.acts);
  }
  std::vector<Duration> silences;
  int moves = 0;
  for (const Silence& silence : road.silences) {
    silences.push_back(silence.longest);
    moves += silence.moves;
    if (silence.longest > std::chrono::seconds(3)) {
      std::cout << "broker hand-over: client " << silences.size() - 1 << " at " << silence.broker
                << " was without a broker for " << silence.longest.count() << " ms\n";
    }
  }
  std::cout << "broker hand-over: " << done << " of " << road.sent.size() << " commands done, "
            << superseded << " superseded, " << untrue << " untrue, " << road.paired.size()
            << " pairings (p50 " << Percentile(road.paired, 0.5).count() << " ms, max "
            << Percentile(road.paired, 1).count() << " ms), " << road.pairing_failures.size()
            << " failed; " << road.states_shown << " states shown, " << road.older_shown
            << " older; " << moves << " changes of broker; longest silence of a client p50 "
            << Percentile(silences, 0.5).count() << " ms, max " << Percentile(silences, 1).count()
            << " ms\n";
  CHECK(unended == 0);
  CHECK(twice == 0);
  CHECK(late == 0);
  CHECK(untrue == 0);
  CHECK(done + superseded == road.sent.size());
  CHECK(superseded * 2 < road.sent.size() / kSharesSlotEvery);
  CHECK(Percentile(silences, 1) < kSilenceMax);
  CHECK(road.older_shown == 0);
  for (const std::string& failure : road.pairing_failures) {
    CHECK_MESSAGE(false, failure);
  }
  for (const std::string& note : road.notes) {
    CHECK_MESSAGE(false, note);
  }
}

size_t OnlineCars(const Cell& cell) {
  const auto cars = nlohmann::json::parse(HttpGet(cell.http_port(), "/v1/cars").body);
  size_t online = 0;
  for (const auto& car : cars["cars"]) {
    online += car.value("online", false) ? 1 : 0;
  }
  return online;
}

TEST_CASE("a second broker takes over all cars and phones, and no command or pairing fails") {
  TwoBrokers two(
      "plugin_opt_rate_claim_key off\nplugin_opt_rate_claim_address off\n"
      "plugin_opt_rate_claim_car off\n");
  two.cell.StartBridge();
  Road road(two.cell,
            {{two.cell.phone_port(), two.cell.car_port()}, {two.phone_port, two.car_port}});
  road.Start();
  REQUIRE(Eventually([&] { return road.AllConnected(); }));
  const auto pause = [](int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); };
  pause(5000);  // the load before, to compare with
  road.Phase(1);
  const nlohmann::json forth = two.Move({"--rate", "5"});
  CHECK(forth["from"]["clients"] == 0);
  CHECK(Eventually([&] { return road.AllConnected(); }));
  CHECK(Eventually([&] { return OnlineCars(two.cell) == kCars; }));
  road.Phase(2);
  const nlohmann::json back = two.Move({"--back", "--percent", "50", "--rate", "5"});
  CHECK(back["from"]["to_go"] == 0);
  CHECK(back["to"]["clients"] > 5);
  CHECK(back["from"]["clients"] > 5);
  road.Phase(3);
  std::unique_ptr<Process> again = two.cell.StartLatchkey(
      {"--json", "upgrade", "broker", "--to", "b2", "--rate", "5", "--timeout", "60s"}, "again");
  pause(1500);
  two.second->Kill();
  REQUIRE(Eventually([&] { return road.AllConnected(); }));  // at the first one, by their lists
  two.StartSecond();
  CHECK(again->Wait() == 0);
  INFO(again->Output());
  const std::string said = again->Output();
  CHECK(nlohmann::json::parse(said.substr(said.find('{')))["from"]["clients"] == 0);
  CHECK(Eventually([&] { return road.AllConnected(); }));
  pause(1000);
  road.Halt();
  CHECK(Eventually([&] { return road.AllOver(); }, std::chrono::milliseconds(40000)));
  CHECK(Eventually([&] { return OnlineCars(two.cell) == kCars; }));
  road.Stop();
  PrintPhase(road, "before", 0);
  PrintPhase(road, "all to the new one", 1);
  PrintPhase(road, "half back", 2);
  PrintPhase(road, "forth again, the new one killed", 3);
  Judge(road);
}

}  // namespace
}  // namespace latchkey::testing
