// The actors: the reference car driven through a raw client, phones' keys, and the naive ones.
#include "tests/attacks/actors.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "proto/token.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::attacks {

namespace {

constexpr milliseconds kPatience{5000};

v1::Command With(void (*set)(v1::Command&)) {
  v1::Command command;
  set(command);
  return command;
}

}  // namespace

Now ReadClocks() {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  const auto mono = std::chrono::steady_clock::now().time_since_epoch();
  return {Timestamp{std::chrono::duration_cast<Duration>(wall).count()},
          Instant{std::chrono::duration_cast<Duration>(mono).count()}};
}

// --- LiveCar

LiveCar::LiveCar(World& world, Cell& cell, const Keys& keys, const std::string& fleet)
    : ref_(testing::Ref(fleet, world.FreshName())),
      key_(PrivateKey::Generate()),
      options_(cell.AsCar(ref_)) {
  key_ = std::move(PrivateKey::FromPem(options_.private_key_pem).value());
  certificate_der_ = PemToDer(options_.certificate_pem).value();
  car_options_.ref = ref_;
  car_options_.certificate_der = certificate_der_;
  car_options_.host = "127.0.0.1";
  car_options_.phone_port = cell.phone_port();
  car_options_.cell = cell.name();
  const Timestamp now = ReadClocks().wall;
  car::Memory memory = car::NewMemory(ref_, now);
  for (const auto& [key, role] : keys) {
    memory.ring.keys.push_back(testing::OnRing(key, role));
    ++memory.ring.version;
  }
  Boot(std::move(memory));
}

void LiveCar::Boot(car::Memory memory) {
  memory_bytes_ = car::SerializeMemory(memory);
  car_ = std::make_unique<car::Car>(
      car_options_, std::move(PrivateKey::FromPem(options_.private_key_pem).value()),
      std::move(memory));
}

void LiveCar::Wake() {
  Step(car::Start{});
  Expect(client_ != nullptr && !client_->over(), "the car could not connect");
}

void LiveCar::Sleep() {
  if (client_) {
    client_->Disconnect();
    client_.reset();
    Step(car::Disconnected{"test", 0});
  }
}

void LiveCar::Reboot() {
  client_.reset();
  Boot(car::LoadMemory(memory_bytes_, ref_).value());
  Wake();
}

void LiveCar::Step(const car::Input& input) {
  std::vector<car::Input> inputs = {input};
  for (size_t i = 0; i < inputs.size(); ++i) {
    Now now = ReadClocks();
    now.wall = now.wall + offset_;
    car::Effects effects;
    car_->Step(car::Input(inputs[i]), now, effects);
    for (const car::Effect& effect : effects) {
      Do(effect, inputs);
    }
  }
}

void LiveCar::Do(const car::Effect& effect, std::vector<car::Input>& then) {
  if (const auto* persist = std::get_if<car::Persist>(&effect)) {
    memory_bytes_ = persist->bytes;
  } else if (std::holds_alternative<car::Connect>(effect)) {
    client_ = std::make_unique<RawClient>(options_);
    if (client_->Connect() == 0) {
      then.emplace_back(car::Connected{});
    }
  } else if (const auto* subscribe = std::get_if<car::Subscribe>(&effect)) {
    std::vector<int> codes;
    for (const std::string& filter : subscribe->filters) {
      codes.push_back(client_->Subscribe(filter));
    }
    then.emplace_back(car::Subscribed{codes});
  } else if (const auto* send = std::get_if<car::Send>(&effect)) {
    if (client_ != nullptr && !client_->over()) {
      client_->Send(send->message);
    }
  } else if (const auto* act = std::get_if<car::Act>(&effect)) {
    acts_.push_back(act->text);
  } else if (const auto* shown = std::get_if<car::OfferShown>(&effect)) {
    qr_text_ = shown->qr_text;
    offer_over_ = false;
  } else if (std::holds_alternative<car::OfferOver>(effect)) {
    offer_over_ = true;
  } else if (std::holds_alternative<car::AskPerson>(effect)) {
    ++asked_;
    if (person_) {
      then.emplace_back(car::Confirm{*person_});
    }
  } else if (std::holds_alternative<car::HangUp>(effect)) {
    client_.reset();
  }
}

void LiveCar::Hear(milliseconds patience) {
  while (client_ != nullptr) {
    const std::optional<Publish> message = client_->Next(patience);
    if (!message) {
      return;
    }
    Give(*message);
  }
}

bool LiveCar::HearsUntil(const std::string& action, int count) {
  const Instant end = ReadClocks().mono + kPatience;
  while (Acted(action) < count && ReadClocks().mono < end) {
    Hear(milliseconds(20));
  }
  return Acted(action) >= count;
}

void LiveCar::Give(const Publish& message) {
  Step(car::Arrived{message});
}

PairingOffer LiveCar::ShowOffer(v1::Role role) {
  Step(car::ShowOffer{RandomBytes(kPairingSecretBytes), role});
  return ParseQrText(qr_text_).value();
}

PairingOffer LiveCar::Invites(Timestamp ends_at) {
  car::Memory memory = car::LoadMemory(memory_bytes_, ref_).value();
  const PairingOffer letter{car_options_.host, car_options_.phone_port, car_options_.cell, ref_,
                            RandomBytes(kPairingSecretBytes)};
  memory.invitation = car::Invitation{letter, v1::ROLE_OWNER, ends_at, 0};
  client_.reset();
  Boot(std::move(memory));
  Wake();
  return letter;
}

void LiveCar::EndKeyAt(const KeyId& id, Timestamp not_after) {
  car::Memory memory = car::LoadMemory(memory_bytes_, ref_).value();
  ++memory.ring.version;
  for (RingKey& key : memory.ring.keys) {
    if (key.id == id) {
      key.not_after = not_after;
    }
  }
  client_.reset();
  Boot(std::move(memory));
  Wake();
}

int LiveCar::Acted(const std::string& action) const {
  return static_cast<int>(std::count_if(acts_.begin(), acts_.end(), [&](const std::string& text) {
    return text.rfind(action, 0) == 0;
  }));
}

uint64_t LiveCar::Refused(Reason reason) const {
  const auto& refused = car_->counters().refused;
  const auto found = refused.find(reason);
  return found == refused.end() ? 0 : found->second;
}

std::string LiveCar::SignedRing() const {
  return SealKeyRing(ring(), key_, certificate_der_);
}

// --- Commands

v1::Command Unlock() {
  return With([](v1::Command& command) { command.mutable_unlock(); });
}

v1::Command Lock() {
  return With([](v1::Command& command) { command.mutable_lock(); });
}

v1::Command Flash() {
  return With([](v1::Command& command) { command.mutable_flash_lights(); });
}

v1::Command Privacy(bool enabled) {
  v1::Command command;
  command.mutable_privacy_mode()->set_enabled(enabled);
  return command;
}

v1::Command AddKey(const PublicKey& key, v1::Role role) {
  v1::Command command;
  *command.mutable_add_key()->mutable_key() = KeyToWire(testing::OnRing(key, role));
  return command;
}

v1::Command RemoveKey(const KeyId& id) {
  v1::Command command;
  command.mutable_remove_key()->set_key_id(id.str());
  return command;
}

Sealed Seal(const PrivateKey& key, const CarRef& ref, const v1::Command& action, Duration lives,
            Duration ago) {
  const Timestamp issued = ReadClocks().wall - ago;
  CommandRequest request{ref, CommandId::Make(issued.ms, RandomBytes(10)), issued, issued + lives,
                         action};
  if (action.has_remove_key()) {
    request.expires_at.reset();
  }
  return {request.id, SealCommand(request, key).value()};
}

// --- Handset

Handset::Handset(World& world, Cell& cell, int version)
    : world_(&world), cell_(&cell), version_(version), key_(PrivateKey::Generate()) {}

RawOptions Handset::Options() const {
  RawOptions options = cell_->AsPhone(key_, version_);
  options.source_address = world_->address();
  return options;
}

int Handset::SignIn(bool rests) {
  RawOptions options = Options();
  options.clean = !rests;
  options.session_expiry_s = rests ? 600 : 0;
  client_ = std::make_unique<RawClient>(options);
  return client_->Connect();
}

int Handset::Command(const CarRef& ref, const Sealed& sealed) {
  return client_->Send({CommandTopic(ref, id()), sealed.bytes});
}

std::optional<Outcome> Handset::Receipt(LiveCar& car, const CommandId& command) {
  const std::string topic = ReceiptTopic(car.ref(), id());
  const Instant end = ReadClocks().mono + kPatience;
  while (ReadClocks().mono < end) {
    car.Hear(milliseconds(10));
    const std::optional<Publish> receipt = client_->Next(milliseconds(10));
    if (!receipt || receipt->topic != topic) {
      continue;
    }
    const Result<Outcome> outcome = OpenReceipt(receipt->payload, car.ref(), car.key().Public());
    if (outcome && outcome->command_id == command && IsFinal(outcome->state)) {
      return *outcome;
    }
  }
  return std::nullopt;
}

std::string Handset::Try(LiveCar& car, const Sealed& sealed) {
  client_->Subscribe(ReceiptTopic(car.ref(), id()));
  const int code = Command(car.ref(), sealed);
  if (code != 0) {
    return Hex(code);
  }
  const std::optional<Outcome> outcome = Receipt(car, sealed.id);
  if (!outcome) {
    return "nothing";
  }
  std::string text(ToText(outcome->state));
  if (outcome->reason != v1::REASON_UNSPECIFIED) {
    text += ' ';
    text += testing::Said(outcome->reason);
  }
  return text;
}

std::unique_ptr<RawClient> AsServer(World& world, Cell& cell, const std::string& name) {
  RawOptions options = cell.WithCertificate(BridgeIdentity{name}, cell.CellCa(), "bridge/" + name);
  options.source_address = world.address();
  return Dial(options);
}

uint32_t AllGroups() {
  uint32_t all = 0;
  for (const Group group : kGroups) {
    all |= Bit(ReadPermission(group));
  }
  return all;
}

std::unique_ptr<RawClient> AsOperator(World& world, Cell& cell, const std::string& fleet,
                                      uint32_t permissions) {
  const std::string name = world.FreshName();
  RawOptions options = cell.WithCertificate(
      OperatorIdentity{FleetId::Parse(fleet).value(), name, WithImplied(permissions)},
      cell.FleetCa(fleet), fleet + "/operator/" + name);
  options.source_address = world.address();
  return Dial(options);
}

void ExpectRefusal(Cell& cell, const std::function<int()>& attempt, int code, const std::string& at,
                   const std::string& word, const std::string& mark) {
  constexpr int kTries = 5;
  const std::string begin = "latchkey refused at=" + at + " reason=";
  std::string reason;
  for (int i = 0; i < kTries && reason.empty(); ++i) {
    const size_t before = cell.BrokerLog().size();
    ExpectEqual(Hex(attempt()), Hex(code), "the broker's answer (" + word + " awaited)");
    testing::Eventually(
        [&] {
          std::istringstream lines(cell.BrokerLog().substr(before));
          for (std::string line; std::getline(lines, line);) {
            const size_t found = line.find(begin);
            if (found != std::string::npos && line.find(mark) != std::string::npos) {
              reason = line.substr(found + begin.size());
              reason = reason.substr(0, reason.find(' '));
            }
          }
          return !reason.empty();
        },
        milliseconds(i == 0 ? 150 : 600));
  }
  ExpectEqual(reason, word, "reason of the refusal in the broker's log");
}

void OwnerStillGetsThrough(Handset& owner, LiveCar& car) {
  const int before = car.Acted("flash_lights");
  const int code = owner.Command(car.ref(), Seal(owner.key(), car.ref(), Flash()));
  ExpectEqual(code, 0, "the owner's own command");
  Expect(car.HearsUntil("flash_lights", before + 1), "the owner's own command did not act");
}

// --- Theirs

std::unique_ptr<RawClient> Dial(const RawOptions& options) {
  auto client = std::make_unique<RawClient>(options);
  const int code = client->Connect();
  ExpectEqual(Hex(code), Hex(0), "CONNECT of " + options.client_id);
  return client;
}

NaiveCar::NaiveCar(const RawOptions& options, const std::string& vin, Believes believes)
    : client_(Dial(options)), believes_(std::move(believes)) {
  Expect(client_->Subscribe(Topic(vin)) <= 2, "the naive car could not subscribe");
}

bool NaiveCar::Hear(milliseconds patience) {
  const std::optional<Publish> message = client_->Next(patience);
  if (!message || (believes_ && !believes_(*message))) {
    return false;
  }
  did_.push_back(message->payload);
  return true;
}

NaiveService::NaiveService(const RawOptions& options, Answer answer)
    : client_(Dial(options)), answer_(std::move(answer)) {
  Expect(client_->Subscribe("api/#") <= 2, "the naive service could not subscribe");
}

bool NaiveService::Serve(milliseconds patience) {
  const std::optional<Publish> request = client_->Next(patience);
  if (!request) {
    return false;
  }
  for (const Publish& answer : answer_(*request)) {
    client_->Send(answer);
  }
  return true;
}

}  // namespace latchkey::attacks
