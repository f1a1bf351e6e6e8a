// Who appears in the cases: the reference car and a phone's key on real connections, and beside
// them cars and services of the kind that was broken.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/certificate.h"
#include "proto/command.h"
#include "proto/crypto.h"
#include "proto/keyring.h"
#include "proto/pairing.h"
#include "proto/receipt.h"
#include "tests/attacks/attack.h"
#include "tools/car/car.h"

namespace latchkey::attacks {

Now ReadClocks();

// --- Ours

using Keys = std::vector<std::pair<PublicKey, v1::Role>>;

// The reference car (tools/car) on a real connection to a cell, its clock and memory in the test's
// hands.
class LiveCar {
 public:
  // Makes its certificate and puts `keys` on its ring; Wake connects it.
  LiveCar(World& world, Cell& cell, const Keys& keys, const std::string& fleet = "demo");

  // Connects and waits until its lanes are subscribed.
  void Wake();
  // Loses its connection.
  void Sleep();
  // Power off and on: what was persisted is all it knows.
  void Reboot();
  // Hears what has arrived, until nothing comes for `patience`.
  void Hear(milliseconds patience = milliseconds(30));
  // Hears until it has acted `count` times in all with a text that begins with `action`.
  bool HearsUntil(const std::string& action, int count);
  // A message as a wholly compromised broker could deliver it.
  void Give(const Publish& message);
  void Step(const car::Input& input);

  // Puts a code on the screen.
  PairingOffer ShowOffer(v1::Role role = v1::ROLE_OWNER);

  // Boots with an invitation that was printed for its owner, and gives what is in the letter.
  PairingOffer Invites(Timestamp ends_at);

  // How often it acted with a text that begins with `action`.
  int Acted(const std::string& action) const;

  int Acted() const { return static_cast<int>(acts_.size()); }

  uint64_t Refused(Reason reason) const;

  // How often the person in the car was asked.
  int asked() const { return asked_; }

  // Gives a key an end and publishes the ring so.
  void EndKeyAt(const KeyId& id, Timestamp not_after);

  void PersonSays(std::optional<car::Confirm::Word> word) { person_ = word; }

  void SetClock(Duration offset) { offset_ = offset; }

  const CarRef& ref() const { return ref_; }

  const PrivateKey& key() const { return key_; }

  const std::string& certificate_der() const { return certificate_der_; }

  const KeyRing& ring() const { return car_->ring(); }

  // The ring as it would publish it.
  std::string SignedRing() const;

  RawClient& client() { return *client_; }

  bool offer_over() const { return offer_over_; }

  const std::string& memory_bytes() const { return memory_bytes_; }

 private:
  void Boot(car::Memory memory);
  void Do(const car::Effect& effect, std::vector<car::Input>& then);

  CarRef ref_;
  PrivateKey key_;
  std::string certificate_der_;
  RawOptions options_;
  car::Options car_options_;
  std::string memory_bytes_;
  std::unique_ptr<car::Car> car_;
  std::unique_ptr<RawClient> client_;
  std::vector<std::string> acts_;
  std::string qr_text_;
  int asked_ = 0;
  bool offer_over_ = false;
  std::optional<car::Confirm::Word> person_ = car::Confirm::Word::kYes;
  Duration offset_{0};
};

struct Sealed {
  CommandId id;
  std::string bytes;
};

v1::Command Unlock();
v1::Command Lock();
v1::Command Flash();
v1::Command Privacy(bool enabled);
v1::Command AddKey(const PublicKey& key, v1::Role role);
v1::Command RemoveKey(const KeyId& id);

// A command signed with `key`, issued `ago` before now.
Sealed Seal(const PrivateKey& key, const CarRef& ref, const v1::Command& action,
            Duration lives = std::chrono::seconds(30), Duration ago = Duration(0));

// A phone's key and its connection, for the rightful and for attackers alike.
class Handset {
 public:
  Handset(World& world, Cell& cell, int version = 5);

  // CONNACK's code. Persistent when `rests`.
  int SignIn(bool rests = false);
  // Its options, to be bent.
  RawOptions Options() const;

  // PUBACK's code of these bytes on its own lane.
  int Command(const CarRef& ref, const Sealed& sealed);
  // Its own receipt of this command from the car; `wanted` or any final one.
  std::optional<Outcome> Receipt(LiveCar& car, const CommandId& id);
  // Sends, lets the car hear, and gives the outcome's word: "DONE", "REFUSED REASON_X", "nothing".
  std::string Try(LiveCar& car, const Sealed& sealed);

  PublicKey Public() const { return key_.Public(); }

  KeyId id() const { return key_.Public().Id(); }

  const PrivateKey& key() const { return key_; }

  RawClient& client() { return *client_; }

 private:
  World* world_;
  Cell* cell_;
  int version_;
  PrivateKey key_;
  std::unique_ptr<RawClient> client_;
};

// A client of the cars' port with this identity, from the attacker's address.
std::unique_ptr<RawClient> AsServer(World& world, Cell& cell, const std::string& name);
// Every READ permission: what an operator's certificate can hold at most.
uint32_t AllGroups();
std::unique_ptr<RawClient> AsOperator(World& world, Cell& cell, const std::string& fleet,
                                      uint32_t permissions);

// Tries until the broker's log has said why, since it leaves lines out in a flood: `attempt` must
// give `code` each time, and the line of the refusal at `at` ("connect", "write", ...) that names
// `mark` must give the reason `word`.
void ExpectRefusal(Cell& cell, const std::function<int()>& attempt, int code, const std::string& at,
                   const std::string& word, const std::string& mark);

// The owner's lights flash: the cell works, so a refusal before it means something.
void OwnerStillGetsThrough(Handset& owner, LiveCar& car);

// --- Theirs

// A car of the kind that was broken: hears car/{vin}/command and does what `believes` allows.
class NaiveCar {
 public:
  using Believes = std::function<bool(const Publish&)>;

  NaiveCar(const RawOptions& options, const std::string& vin, Believes believes = {});

  // Hears one message; true: it acted on it.
  bool Hear(milliseconds patience = milliseconds(3000));

  const std::vector<std::string>& did() const { return did_; }

  RawClient& client() { return *client_; }

  static std::string Topic(const std::string& vin) { return "car/" + vin + "/command"; }

 private:
  std::unique_ptr<RawClient> client_;
  Believes believes_;
  std::vector<std::string> did_;
};

// A back office of the kind that was broken: answers messages below api/.
class NaiveService {
 public:
  // Gives what to publish for a request.
  using Answer = std::function<std::vector<Publish>(const Publish&)>;

  NaiveService(const RawOptions& options, Answer answer);

  // Serves one request; false: none came.
  bool Serve(milliseconds patience = milliseconds(3000));

 private:
  std::unique_ptr<RawClient> client_;
  Answer answer_;
};

// Connects a client and expects it to be let in.
std::unique_ptr<RawClient> Dial(const RawOptions& options);

}  // namespace latchkey::attacks
