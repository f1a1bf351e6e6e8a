// Writes the seed corpus: good messages of each kind, from which libFuzzer finds the bad ones.
// Usage: fuzz_seeds CORPUS_DIR. Run by hand when a message grows; its files are committed.
#include <filesystem>
#include <fstream>
#include <string>

#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/state.h"
#include "proto/token.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey {
namespace {

using testing::kNow;

struct Corpus {
  std::filesystem::path root;

  void Write(const std::string& target, const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories(root / target);
    std::ofstream(root / target / name, std::ios::binary) << bytes;
  }
};

void Topics(const Corpus& corpus, const CarRef& ref, const KeyId& lane) {
  corpus.Write("topic", "state", StateTopic(ref, Group::kEnergy) + "\nlk/1/f1/+/state/#");
  corpus.Write("topic", "presence", PresenceTopic(ref) + "\nlk/1/+/+/presence");
  corpus.Write("topic", "keyring", KeyRingTopic(ref) + "\n$share/g/lk/1/f1/car1/keyring");
  corpus.Write("topic", "claim", PairingTopic(ref, lane) + "\nlk/1/f1/car1/pairing/+");
  corpus.Write("topic", "answer", PairingAnswerTopic(ref, lane) + "\nlk/1/f1/car1/#");
  corpus.Write("topic", "command", CommandTopic(ref, lane) + "\nlk/1/#");
  corpus.Write("topic", "receipt", ReceiptTopic(ref, lane) + "\n" + ReceiptTopic(ref, lane));
}

void Commands(const Corpus& corpus, const CarRef& ref, const PrivateKey& key) {
  for (const ActionFacts& facts : ActionTable()) {
    CommandRequest request{ref, testing::TestId(), kNow, kNow + Duration(30000), {}};
    v1::Command& action = request.action;
    const auto* field = v1::Command::descriptor()->FindFieldByNumber(facts.field);
    action.GetReflection()->MutableMessage(&action, field);
    if (action.has_charge_limit()) {
      action.mutable_charge_limit()->set_percent(80);
    } else if (action.has_send_destination()) {
      v1::Leg* leg = action.mutable_send_destination()->add_legs();
      leg->set_latitude(52.5);
      leg->set_mode(v1::TRAVEL_MODE_DRIVE);
    } else if (action.has_install_app()) {
      action.mutable_install_app()->set_app_id("org.example");
    } else if (action.has_remove_app()) {
      action.mutable_remove_app()->set_app_id("org.example");
    } else if (action.has_charge_schedule()) {
      action.mutable_charge_schedule()->add_windows()->set_weekdays(1);
    } else if (action.has_add_key()) {
      *action.mutable_add_key()->mutable_key() =
          KeyToWire(testing::OnRing(key.Public(), v1::ROLE_GUEST));
    } else if (action.has_remove_key()) {
      action.mutable_remove_key()->set_key_id(key.Public().Id().str());
      request.expires_at.reset();
    }
    corpus.Write("command", std::string(facts.name), SealCommand(request, key).value());
  }
}

void Rings(const Corpus& corpus, const testing::TestCar& car, const PublicKey& phone) {
  const KeyRing ring{car.ref, 3, kNow, {testing::OnRing(phone, v1::ROLE_OWNER)}};
  const std::string sealed = SealKeyRing(ring, car.key, car.certificate_der);
  v1::SignedKeyRing outer;
  outer.ParseFromString(sealed);
  corpus.Write("keyring", "ring", "r" + sealed);
  corpus.Write("keyring", "body", "b" + outer.key_ring());
  corpus.Write("keyring", "uri_car", "u" + ToUri(CarIdentity{car.ref}));
  corpus.Write("keyring", "uri_bridge", "u" + ToUri(BridgeIdentity{"b1"}));
  corpus.Write("keyring", "uri_operator",
               "u" + ToUri(OperatorIdentity{
                         car.ref.fleet, "ann",
                         Bit(v1::PERMISSION_READ_ENERGY) | Bit(v1::PERMISSION_READ_LINK)}));
  corpus.Write("keyring", "certificate", "c" + car.certificate_der);
  corpus.Write("keyring", "certificate_pem", "c" + car.ca.certificate_pem);
}

void Receipts(const Corpus& corpus, const testing::TestCar& car) {
  const std::string done =
      SealCarReceipt(MakeOutcome(car.ref, testing::TestId(), v1::RECEIPT_STATE_FAILED,
                                 v1::REASON_CAR_FAILED, kNow, v1::RECEIPT_SOURCE_CAR),
                     car.key);
  v1::Receipt receipt;
  receipt.ParseFromString(done);
  corpus.Write("receipt", "car", "r" + done);
  corpus.Write("receipt", "outcome", "o" + receipt.outcome());
  corpus.Write("receipt", "bridge",
               "r" + SealBridgeReceipt(MakeOutcome(car.ref, testing::TestId(),
                                                   v1::RECEIPT_STATE_HELD, v1::REASON_UNSPECIFIED,
                                                   kNow, v1::RECEIPT_SOURCE_BRIDGE)));
}

void Pairings(const Corpus& corpus, const testing::TestCar& car, const PublicKey& phone) {
  const PairingOffer offer{"broker.example", 8883, "cell1", car.ref, std::string(16, 's')};
  const std::string nonce(16, 'n');
  corpus.Write("pairing", "qr", "q" + ToQrText(offer));
  corpus.Write("pairing", "claim", "c" + MakeClaim(offer, phone, nonce, "phone"));
  corpus.Write("pairing", "refusal", "a" + MakeRefusal(nonce, v1::REASON_DECLINED));
  const KeyRing ring{car.ref, 1, kNow, {testing::OnRing(phone, v1::ROLE_OWNER)}};
  corpus.Write("pairing", "answer",
               "a" + MakeAnswer(offer, Claim{phone, nonce, "phone"},
                                SealKeyRing(ring, car.key, car.certificate_der)));
}

// Every signal of every group once.
void States(const Corpus& corpus) {
  for (const Group group : kGroups) {
    v1::StateGroup state;
    state.set_observed_at_ms(static_cast<uint64_t>(kNow.ms));
    state.set_sequence(1);
    const auto* field = v1::StateGroup::descriptor()->FindFieldByName(std::string(ToText(group)));
    google::protobuf::Message* message = state.GetReflection()->MutableMessage(&state, field);
    for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
      const auto* signal = message->GetDescriptor()->field(i);
      if (signal->is_repeated()) {
        state.mutable_apps()->add_installed()->set_app_id("org.example");
        continue;
      }
      google::protobuf::Message* sub = message->GetReflection()->MutableMessage(message, signal);
      const auto* age = sub->GetDescriptor()->FindFieldByName("age_ms");
      sub->GetReflection()->SetUInt64(sub, age, 1000);
    }
    if (group == Group::kLocation) {
      state.mutable_location()->mutable_latitude()->set_value(52.5);
      state.mutable_location()->mutable_longitude()->set_value(13.4);
    }
    v1::ExtraSignal* extra = state.add_extra();
    extra->set_path("Vehicle.Cabin.Seat");
    extra->set_number(1);
    corpus.Write("state", std::string(ToText(group)),
                 static_cast<char>('0' + static_cast<int>(group)) + state.SerializeAsString());
  }
}

}  // namespace
}  // namespace latchkey

int main(int argc, char** argv) {
  if (argc != 2) {
    return 2;
  }
  const latchkey::Corpus corpus{argv[1]};
  const latchkey::testing::TestCar car = latchkey::testing::MakeTestCar("f1", "car1");
  const latchkey::PrivateKey phone = latchkey::PrivateKey::Generate();
  const latchkey::KeyId lane = phone.Public().Id();
  latchkey::Topics(corpus, car.ref, lane);
  corpus.Write(
      "token", "token",
      lane.str() + "\n" +
          latchkey::MintToken(phone, "cell1", latchkey::testing::kNow, latchkey::Duration(600000)));
  latchkey::Commands(corpus, car.ref, phone);
  latchkey::Rings(corpus, car, phone.Public());
  latchkey::Receipts(corpus, car);
  latchkey::Pairings(corpus, car, phone.Public());
  latchkey::States(corpus);
}
