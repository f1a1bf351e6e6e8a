// Random histories of keys: real cars, their real rings and commands, the auth plugin's directory,
// blocks and ring file, against the reference. One seed is one history.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/auth/control.h"
#include "plugins/auth/directory.h"
#include "plugins/auth/ring_file.h"
#include "proto/command.h"
#include "tests/model/questions.h"
#include "tests/model/reference.h"
#include "tools/ca/ca.h"
#include "tools/car/car.h"

namespace latchkey::model {

class World {
 public:
  // `trace`: where each change is told; nullptr: nowhere.
  explicit World(uint64_t seed, std::ostream* trace = nullptr);
  ~World();

  // Sometimes a change, and then everything about it; always one random question. Throws Fault
  // when the code and the reference differ.
  void Step();

  // What happened so far, for people.
  std::string Summary() const;

  uint64_t questions() const { return questions_; }

 private:
  struct SentRing {
    uint64_t version = 0;
    std::string bytes;
    Rights rights;
  };

  // A command that changes keys, and what it would do.
  struct Sent {
    KeyId signer;
    KeyId touched;
    std::optional<Right> after;  // nullopt: removed
    std::optional<Timestamp> expires_at;
    std::string bytes;
    CommandId id;
  };

  // One that reached the car, and what became of it.
  struct Done {
    Sent sent;
    bool obeyed = false;
    Timestamp at;
  };

  struct CarSide {
    CarRef ref;
    std::string key_pem;
    car::Options options;
    std::string memory;  // as persisted last
    std::unique_ptr<car::Car> car;
    bool online = false;
    bool losing = false;  // what it sends now is lost
    std::string qr_text;
    std::vector<SentRing> rings;  // all it ever sealed for the broker
    std::vector<Done> done;       // commands that reached it
    std::deque<Sent> held;        // while it is away
  };

  // Changes.
  void Change();
  void Pair(CarSide& side);
  void Share(CarSide& side);
  void Remove(CarSide& side);
  void Reset(CarSide& side);
  void ComeOrGo(CarSide& side);
  void Reboot(CarSide& side);
  void ReplayRing(CarSide& side);
  void ReplayCommand(CarSide& side);
  void BlockAtPlugin();
  void BlockAtBridge();
  void ReplayBlock();
  void Sync();
  void RestartBroker();
  void Pass();

  // Carrying.
  void Connect(CarSide& side);
  void Go(CarSide& side);
  void Run(CarSide& side, const car::Input& input);
  void Route(CarSide& side, const Publish& message);
  void TakeRing(CarSide& side, const SentRing& sent);
  void Command(CarSide& side, size_t signer, const KeyId& touched,
               const std::optional<Right>& after);
  void Deliver(CarSide& side, const Sent& sent, bool checked);
  void CheckCar(const CarSide& side);
  auth::Controlled Control(const v1::Control& control);
  void TellPlugin(const std::vector<Block>& blocks);
  void OwnerBlocks(const CarSide& side, const Sent& sent, bool lifted);

  std::vector<Timestamp> Edges() const;

  // Asking.
  bool Ask(const Asked& asked);
  void AskAtRandom();
  void Sweep();
  Asked AskedAtRandom();
  std::string CommandPayload(const Asked& asked);
  Asked OfPhone(const KeyId& key, auth::Access access, TopicKind kind, const CarRef& ref) const;

  uint64_t Below(uint64_t bound);
  std::string RandomText(size_t bytes);
  bool Chance(int percent);
  Right RandomRight(uint32_t signer);
  BlockScope RandomScope();
  Block RandomChange(const Blocks& seen);
  CarSide& AnyCar();
  size_t AnySigner(const CarSide& side);
  Now Both() const;
  void Say(const std::string& text);

  std::mt19937_64 random_;
  std::ostream* trace_;
  Timestamp now_;
  Instant mono_{1};
  Duration bridge_skew_{0};
  auth::Trust trust_;
  auth::Directory directory_;
  std::string ring_path_;
  std::unique_ptr<auth::RingFile> ring_file_;
  Blocks bridge_;                // the bridge's replica
  std::vector<Block> all_made_;  // every change to a block there ever was
  std::vector<CarSide> cars_;
  std::vector<PrivateKey> phones_;
  std::vector<KeyId> keys_;
  std::vector<auth::Principal> others_;  // not phones
  Reference reference_;
  uint64_t questions_ = 0;
  uint64_t allowed_ = 0;
  uint64_t changes_ = 0;
  uint64_t obeyed_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace latchkey::model
