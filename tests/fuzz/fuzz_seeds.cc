// Writes the seed corpus: good messages of each kind, from which libFuzzer finds the bad ones.
// Usage: fuzz_seeds CORPUS_DIR. Run by hand when a message grows; its files are committed.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "latchkey/v1/control.pb.h"
#include "latchkey/v1/history.pb.h"
#include "latchkey/v1/migration.pb.h"
#include "latchkey/v1/presence.pb.h"
#include "proto/blocks.h"
#include "proto/invite.h"
#include "proto/log_chain.h"
#include "proto/pairing.h"
#include "proto/receipt.h"
#include "proto/renewal.h"
#include "proto/sms.h"
#include "proto/state.h"
#include "proto/token.h"
#include "proto/topic.h"
#include "storage/command_rows.h"
#include "storage/log_rows.h"
#include "storage/records.h"
#include "tests/support/wire_fixtures.h"
#include "tools/car/memory.h"

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
  corpus.Write("topic", "certificate", CertificateTopic(ref) + "\n" + CertificateRequestTopic(ref));
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
    } else if (action.has_cancel()) {
      action.mutable_cancel()->set_command_id(std::string(16, 'c'));
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
}

// DER of the first block of a PEM text.
std::string DerOf(const std::string& pem) {
  std::string text;
  const size_t begin = pem.find("-----\n") + 6;
  for (const char c : pem.substr(begin, pem.find("-----END") - begin)) {
    if (c != '\n' && c != '=') {
      text += c == '+' ? '-' : c == '/' ? '_' : c;
    }
  }
  return Base64UrlDecode(text).value();
}

void Certificates(const Corpus& corpus, const testing::TestCar& car) {
  corpus.Write("certificate", "uri_car", "u" + ToUri(CarIdentity{car.ref}));
  corpus.Write("certificate", "uri_bridge", "u" + ToUri(BridgeIdentity{"b1"}));
  corpus.Write("certificate", "uri_registrar", "u" + ToUri(RegistrarIdentity{car.ref.fleet}));
  corpus.Write("certificate", "uri_administrator", "u" + ToUri(AdministratorIdentity{"eve"}));
  corpus.Write("certificate", "uri_peer", "u" + ToUri(PeerIdentity{"b2"}));
  corpus.Write("certificate", "uri_operator",
               "u" + ToUri(OperatorIdentity{
                         car.ref.fleet, "ann",
                         Bit(v1::PERMISSION_READ_ENERGY) | Bit(v1::PERMISSION_READ_LINK)}));
  corpus.Write("certificate", "certificate", "c" + car.certificate_der);
  corpus.Write("certificate", "certificate_pem", "c" + car.ca.certificate_pem);
  const std::string list =
      tools::MakeCrl(car.ca, {{std::string("\x01\x02", 2), kNow}, {"\x7f", kNow}}, 3, {kNow, 7})
          .value();
  corpus.Write("certificate", "list_pem", "v" + list);
  corpus.Write("certificate", "list", "v" + DerOf(list));
}

void Renewals(const Corpus& corpus, const testing::TestCar& car) {
  corpus.Write("renewal", "request", "r" + MakeCertificateRequest(car.ref, car.key, kNow));
  corpus.Write("renewal", "grant", "g" + MakeCertificateGrant(kNow, car.certificate_der));
  corpus.Write("renewal", "refusal", "g" + MakeCertificateRefusal(kNow, v1::REASON_EXPIRED));
  corpus.Write("renewal", "certificate", "c" + car.certificate_der);
}

void Links(const Corpus& corpus, const testing::TestCar& car, const PublicKey& phone) {
  corpus.Write("link", "offer",
               ToQrText({"broker.example", 8883, "cell1", car.ref, std::string(16, 's')}));
  corpus.Write("link", "key_request", ToLink(KeyRequest{phone, "Bj\xc3\xb6rn"}));
  corpus.Write("link", "broker", "broker.example.org:8884");
  corpus.Write("link", "invitation",
               ToLink(Invitation{"192.0.2.1", 8884, "cell-1", car.ref, car.key.Public()}));
}

// A block of each scope and cause, standing and lifted.
std::vector<Block> SomeBlocks(const CarRef& ref, const KeyId& key) {
  const Block everywhere{{key, {}, {}}, false, kNow, v1::BLOCK_CAUSE_ADMINISTRATOR, "lost", {}};
  Block fleet = everywhere;
  fleet.scope.fleet = ref.fleet;
  fleet.lifted = true;
  Block car = fleet;
  car.scope.car = ref.car;
  car.cause = v1::BLOCK_CAUSE_OWNER;
  car.command = testing::TestId();
  return {everywhere, fleet, car};
}

void Controls(const Corpus& corpus, const CarRef& ref, const KeyId& key) {
  v1::Control merge;
  v1::ControlAnswer answer;
  v1::BlocksChanged changed;
  for (const Block& block : SomeBlocks(ref, key)) {
    *merge.mutable_merge_blocks()->add_blocks() = BlockToWire(block);
    *answer.add_blocks() = BlockToWire(block);
    *changed.add_blocks() = BlockToWire(block);
  }
  *merge.mutable_merge_blocks()->add_blocks() = merge.merge_blocks().blocks(0);
  merge.mutable_merge_blocks()->mutable_blocks(3)->set_lifted(true);
  answer.set_more(true);
  v1::Control list;
  list.set_request_id(7);
  *list.mutable_list_blocks()->mutable_after() = answer.blocks(1);
  corpus.Write("control", "merge", "c" + merge.SerializeAsString());
  corpus.Write("control", "list", "c" + list.SerializeAsString());
  v1::Control echo;
  echo.set_request_id(7);
  echo.mutable_echo();
  corpus.Write("control", "echo", "c" + echo.SerializeAsString());
  corpus.Write("control", "answer", "a" + answer.SerializeAsString());
  corpus.Write("control", "record", "f" + answer.blocks(2).SerializeAsString());
  corpus.Write("control", "changed", "n" + changed.SerializeAsString());
}

std::string WithLength(const std::string& bytes) {
  return static_cast<char>(bytes.size()) + bytes;
}

void Presences(const Corpus& corpus) {
  v1::Presence presence;
  presence.set_online(true);
  presence.set_since_ms(static_cast<uint64_t>(kNow.ms));
  presence.set_session(1);
  presence.set_broker_started_at_ms(static_cast<uint64_t>(kNow.ms));
  presence.set_address_kind(v1::ADDRESS_KIND_IPV4);
  const std::string online = presence.SerializeAsString();
  presence.set_session(2);
  const std::string again = presence.SerializeAsString();
  presence.set_online(false);
  presence.set_reason(v1::OFFLINE_REASON_CONNECTION_ENDED);
  const std::string offline = presence.SerializeAsString();
  corpus.Write("presence", "comes_and_goes",
               WithLength(offline) + WithLength(online) + WithLength(again) + WithLength(offline));
  corpus.Write("presence", "broker_restarts",
               WithLength(online) + std::string(1, '\0') + WithLength(online));
}

// Rows of schema 2 and 3, and what a store says of its schema.
void Rows(const Corpus& corpus, const storage::CommandRecord& command) {
  const storage::PutRow step = storage::EncodeStep(command);
  storage::CommandRecord final_one = command;
  final_one.payload = "";
  final_one.state = v1::RECEIPT_STATE_DONE;
  const storage::PutRow last = storage::EncodeStep(final_one);
  const storage::PutRow message = storage::EncodeMessage(command).value();
  corpus.Write("records", "command_step", "j" + WithLength(step.key) + step.value);
  corpus.Write("records", "command_step_last", "j" + WithLength(last.key) + last.value);
  corpus.Write("records", "command_step_sealed",
               "J" + WithLength(last.key) + last.value.substr(0, last.value.size() - 4));
  corpus.Write("records", "command_message", "k" + WithLength(message.key) + message.value);
  v1::LogEntry entry;
  entry.set_fleet(command.ref.fleet.str());
  entry.set_car(command.ref.car.str());
  entry.set_note("with f/other, and demo/car-2");
  entry.set_salt(std::string(16, 's'));
  LogHead head;
  corpus.Write("records", "log_by_car",
               "l" + WithLength(storage::LogByCarKey({command.ref, 7})) + AppendToLog(head, entry));
  v1::Migration migration;
  migration.set_from(1);
  migration.set_to(2);
  migration.set_name("split-commands");
  migration.set_phase(v1::MIGRATION_PHASE_BACKFILL);
  migration.set_cursor(step.key);
  migration.set_rows_done(1);
  corpus.Write("records", "schema", "m" + WithLength("1") + migration.SerializeAsString());
}

void Records(const Corpus& corpus, const CarRef& ref, const KeyId& key) {
  const auto write = [&corpus](const char* name, const storage::Record& record) {
    const storage::KeyValue bytes = storage::Encode(record);
    const auto number = static_cast<int>(bytes.kind);
    const std::string rest = WithLength(bytes.key) + bytes.value;
    corpus.Write("records", name, static_cast<char>('a' + number) + rest);
    corpus.Write("records", std::string(name) + "_sealed",
                 static_cast<char>('A' + number) + rest.substr(0, rest.size() - 4));
  };
  write("state", storage::StateRecord{ref, Group::kEnergy, kNow, "state"});
  write("ring", storage::RingRecord{ref, 3, kNow, "ring"});
  write("presence", storage::PresenceRecord{ref, kNow, "presence"});
  const storage::CommandRecord command{
      ref,      key,  testing::TestId(),      7,
      kNow,     kNow, v1::RECEIPT_STATE_HELD, v1::REASON_UNSPECIFIED,
      "command"};
  write("command", command);
  Rows(corpus, command);
  const std::vector<Block> blocks = SomeBlocks(ref, key);
  write("block_everywhere", storage::BlockRecord{blocks[0]});
  write("block_car", storage::BlockRecord{blocks[2]});
  write("history", storage::HistoryRecord{ref, Group::kEnergy, kNow, "history"});
  write("session", storage::SessionRecord{ref, kNow, "session"});
}

void Memories(const Corpus& corpus, const testing::TestCar& car, const PublicKey& phone) {
  car::Memory memory = car::NewMemory(car.ref, kNow);
  memory.ring.keys.push_back(testing::OnRing(phone, v1::ROLE_OWNER));
  memory.ring.keys.back().week = {{480, 1020}};
  memory.time_floor = kNow;
  memory.commands.push_back({phone.Id(), testing::TestId(), kNow, kNow + testing::kSecond,
                             v1::RECEIPT_STATE_DONE, v1::REASON_UNSPECIFIED, kNow});
  memory.slots[v1::SLOT_LOCK] = kNow;
  memory.settings["Vehicle.Cabin.Door.IsLocked"] = {1, kNow};
  memory.apps["org.example"] = {"1.0", kNow};
  memory.refused.push_back({phone.Id(), testing::TestId('r'), std::string(16, 'd'), kNow,
                            v1::REASON_NOT_PERMITTED, kNow});
  memory.to_tell.insert(phone.Id());
  memory.last_wake = kNow;
  memory.departures_set_at = kNow;
  memory.departures_handled = kNow + testing::kSecond;
  memory.charge_plan = car::ChargePlan::kWait;
  memory.climate_ends_at = kNow + testing::kSecond;
  const std::string bytes = car::SerializeMemory(memory);
  corpus.Write("memory", "file", "m" + bytes);
  corpus.Write("memory", "payload", "p" + bytes.substr(7 + kDigestBytes));
}

void RingFiles(const Corpus& corpus) {
  const auto piece = [](char kind, const std::string& bytes) { return kind + WithLength(bytes); };
  corpus.Write("ring_file", "two_cars", piece('r', "0aone") + piece('r', "0btwo"));
  corpus.Write("ring_file", "superseded", piece('r', "0aone") + piece('r', "0atwo"));
  corpus.Write("ring_file", "kept_and_dropped", piece('r', "1keep") + piece('r', "2drop"));
  corpus.Write("ring_file", "ring_and_block", piece('r', "0aone") + piece('b', "0atwo"));
  corpus.Write("ring_file", "torn",
               piece('r', "0aone") + piece('g', std::string("LKR1\x05\0\0\0sum45678on", 18)));
  corpus.Write("ring_file", "damaged",
               piece('g', "LKR1") + piece('r', "0aone") + piece('g', "xyzLK") + piece('r', "1b"));
}

// What the broker of b2 says to that of b1.
void Peers(const Corpus& corpus, const CarRef& ref, const KeyId& key) {
  const auto piece = [](char kind, const std::string& bytes) {
    return kind +
           std::string{static_cast<char>(bytes.size() >> 8U), static_cast<char>(bytes.size())} +
           bytes;
  };
  v1::PeerWord word;
  word.set_broker("b2");
  word.set_started_at_ms(static_cast<uint64_t>(kNow.ms));
  word.set_blocks_sum(7);
  const std::string here = piece('w', word.SerializeAsString());
  for (const Block& block : SomeBlocks(ref, key)) {
    *word.add_blocks() = BlockToWire(block);
  }
  corpus.Write("peer", "words",
               here + piece('w', word.SerializeAsString()) + piece('e', "") + here);
  v1::Presence presence;
  presence.set_online(true);
  presence.set_since_ms(static_cast<uint64_t>(kNow.ms));
  presence.set_broker("b2");
  const std::string online = piece('p', presence.SerializeAsString());
  presence.set_online(false);
  corpus.Write("peer", "presence", online + piece('p', presence.SerializeAsString()) + online);
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(kNow.ms));
  state.set_sequence(2);
  state.mutable_location()->mutable_latitude()->set_value(48);
  const std::string place = piece('l', state.SerializeAsString());
  state.set_sequence(3);
  state.set_observed_at_ms(1);
  state.mutable_location()->clear_latitude();
  corpus.Write("peer", "place", place + piece('l', state.SerializeAsString()) + piece('l', ""));
  v1::MoveClients order;
  order.set_percent(50);
  order.set_per_second(100);
  corpus.Write("peer", "order", piece('o', order.SerializeAsString()) + here);
}

void Posts(const Corpus& corpus, const KeyId& key) {
  corpus.Write("post", "order", R"(m{"order": "verify", "who": "alice"})");
  corpus.Write("post", "rehearse", R"(m{"order": "rehearse", "who": "alice"})");
  corpus.Write("post", "backup", R"(b{"who": "alice", "keep": 7})");
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(kNow.ms));
  state.set_source("import:test");
  state.mutable_energy()->mutable_soc()->set_value(80);
  corpus.Write("post", "import",
               R"(i{"states": [{"fleet": "f1", "car": "c1", "group": "energy", "state": ")" +
                   Base64UrlEncode(state.SerializeAsString()) + "\"}]}");
  corpus.Write("post", "import_begin",
               R"(i{"begin": {"source": "f", "who": "alice", "records": 3}})");
  corpus.Write(
      "post", "import_end",
      R"(i{"end": {"source": "f", "who": "alice", "taken": 1, "changed": 1, "unchanged": 0, "refused": 1}})");
  corpus.Write("post", "erase_car", R"(e{"fleet": "f1", "car": "c1", "who": "alice"})");
  corpus.Write("post", "erase_key", R"(e{"key": ")" + key.str() + R"(", "who": "alice"})");
}

void Manifests(const Corpus& corpus) {
  corpus.Write("manifest", "whole",
               R"({"format": 1, "backup": 3, "made_at_ms": 1600000000000, "cell": "local",
 "host": "127.0.0.1", "root": "/data", "keys": true,
 "store": {"at_ms": 1600000000000, "bytes": 10, "files": 1, "sha256": "00"},
 "files": [{"path": "ca/cell.pem", "bytes": 1, "sha256": "00", "secret": false}]}
)");
  corpus.Write("manifest", "format_is_text", R"({"format": "1"})");
}

// A good message for every topic that has one here.
void Guards(const Corpus& corpus, const testing::TestCar& car, const PrivateKey& phone) {
  const KeyId lane = phone.Public().Id();
  const PairingOffer offer{"broker.example", 8883, "cell1", car.ref, std::string(16, 's')};
  const KeyRing ring{car.ref, 3, kNow, {testing::OnRing(phone.Public(), v1::ROLE_OWNER)}};
  const std::string sealed = SealKeyRing(ring, car.key, car.certificate_der);
  CommandRequest request{car.ref, testing::TestId(), kNow, kNow + Duration(30000), {}};
  request.action.mutable_flash_lights();
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(kNow.ms));
  state.mutable_energy()->mutable_soc()->set_value(80);
  const auto write = [&corpus](const char* name, const std::string& topic,
                               const std::string& payload) {
    corpus.Write("guard", name, topic + "\n" + payload);
  };
  write("state", StateTopic(car.ref, Group::kEnergy), state.SerializeAsString());
  write("keyring", KeyRingTopic(car.ref), sealed);
  write("claim", PairingTopic(car.ref, lane),
        MakeClaim(offer, phone.Public(), std::string(16, 'n'), "phone"));
  write("answer", PairingAnswerTopic(car.ref, lane),
        MakeAnswer(offer, Claim{phone.Public(), std::string(16, 'n'), "phone"}, sealed));
  write("notice", PairingAnswerTopic(car.ref, lane), MakeKeyNotice(sealed));
  write("removal", PairingAnswerTopic(car.ref, lane), MakeRemovalNotice());
  write("command", CommandTopic(car.ref, lane), SealCommand(request, phone).value());
  write("receipt", ReceiptTopic(car.ref, lane),
        SealCarReceipt(MakeOutcome(car.ref, testing::TestId(), v1::RECEIPT_STATE_DONE,
                                   v1::REASON_UNSPECIFIED, kNow, v1::RECEIPT_SOURCE_CAR),
                       car.key));
  write("request", CertificateRequestTopic(car.ref),
        MakeCertificateRequest(car.ref, car.key, kNow));
  write("grant", CertificateTopic(car.ref), MakeCertificateGrant(kNow, car.certificate_der));
  write("control", std::string(kControlTopic), "x");
}

void Rates(const Corpus& corpus) {
  corpus.Write("rate", "off", "off\n192.0.2.1");
  corpus.Write("rate", "rate", "0.5:20\n2001:db8:0:1::5");
  corpus.Write("rate", "mapped", "100:1000\n::ffff:192.0.2.1");
  corpus.Write("rate", "zone", "1e3:1\nfe80::1%eth0");
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
  corpus.Write("pairing", "claim", "c" + MakeClaim(offer, phone, nonce, "phone"));
  corpus.Write("pairing", "refusal", "a" + MakeRefusal(nonce, v1::REASON_DECLINED));
  const KeyRing ring{car.ref, 1, kNow, {testing::OnRing(phone, v1::ROLE_OWNER)}};
  corpus.Write("pairing", "answer",
               "a" + MakeAnswer(offer, Claim{phone, nonce, "phone"},
                                SealKeyRing(ring, car.key, car.certificate_der)));
  corpus.Write("pairing", "notice",
               "n" + MakeKeyNotice(SealKeyRing(ring, car.key, car.certificate_der)));
  corpus.Write("pairing", "removal", "n" + MakeRemovalNotice());
}

// The first byte: 'm' as it came, 'r' to be given a good HMAC (the last 16 bytes are left off).
void Messages(const Corpus& corpus, const CarRef& ref, const PrivateKey& phone) {
  const std::string relay_key(kRelayKeyBytes, 'r');
  CommandRequest request{ref, testing::TestId(), kNow, kNow + Duration(30000), {}};
  request.action.mutable_lock();
  const std::string wire = SealCommand(request, phone).value();
  const std::string wake = MakeWakeSms(ref, kNow, relay_key);
  const std::string lock =
      MakeCommandSms(ParseCommand(wire, ref, phone.Public().Id()).value(), relay_key).value();
  corpus.Write("sms", "wake", "m" + wake);
  corpus.Write("sms", "wake_relayed", "r" + wake.substr(0, wake.size() - 16));
  corpus.Write("sms", "command", "m" + lock);
  corpus.Write("sms", "command_relayed", "r" + lock.substr(0, lock.size() - 16));
}

void LogRecords(const Corpus& corpus, const CarRef& ref) {
  LogHead head;
  v1::LogEntry entry;
  entry.set_at_ms(static_cast<uint64_t>(kNow.ms));
  entry.set_event("ring");
  entry.set_fleet(ref.fleet.str());
  entry.set_car(ref.car.str());
  entry.set_ring_version(3);
  entry.set_salt(std::string(16, 's'));
  corpus.Write("log_record", "entry", "e" + entry.SerializeAsString());
  const std::string first = AppendToLog(head, entry);
  corpus.Write("log_record", "first", "r" + first);
  v1::LogRecord record;
  record.ParseFromString(AppendToLog(head, entry));
  record.clear_body();
  corpus.Write("log_record", "erased", "r" + record.SerializeAsString());
  corpus.Write("log_record", "head", "h" + ToText(head));
}

void Histories(const Corpus& corpus) {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(kNow.ms));
  state.mutable_link()->mutable_radio()->set_value("LTE");
  state.mutable_link()->mutable_signal()->set_value(-80);
  v1::ExtraSignal& extra = *state.add_extra();
  extra.set_path("Vehicle.Own.Signal");
  extra.set_flag(true);
  const std::string first = WithLength(state.SerializeAsString());
  state.mutable_link()->mutable_signal()->set_value(-90);
  corpus.Write("history", "messages", "7" + first + WithLength(state.SerializeAsString()));
  v1::HistoryChunk chunk;
  chunk.set_begins_at_ms(static_cast<uint64_t>(kNow.ms));
  v1::HistorySeries& numbers = *chunk.add_series();
  numbers.set_signal("energy.soc");
  v1::HistorySeries& texts = *chunk.add_series();
  texts.set_signal("link.radio");
  for (int i = 0; i < 3; ++i) {
    numbers.add_times(i * 1000);
    numbers.add_received(i - 1);
    numbers.add_numbers(50 + i);
    texts.add_times(-i);
    texts.add_received(i);
    texts.add_texts("LTE");
  }
  corpus.Write("history", "chunk", "c" + chunk.SerializeAsString());
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
    if (group == Group::kArea) {
      state.mutable_area()->mutable_cell()->set_value("u281y");
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
  latchkey::Certificates(corpus, car);
  latchkey::Renewals(corpus, car);
  latchkey::Links(corpus, car, phone.Public());
  latchkey::Controls(corpus, car.ref, lane);
  latchkey::Presences(corpus);
  latchkey::Records(corpus, car.ref, lane);
  latchkey::Memories(corpus, car, phone.Public());
  latchkey::RingFiles(corpus);
  latchkey::Guards(corpus, car, phone);
  latchkey::Peers(corpus, car.ref, lane);
  latchkey::Posts(corpus, lane);
  latchkey::Manifests(corpus);
  latchkey::Rates(corpus);
  latchkey::Messages(corpus, car.ref, phone);
  latchkey::LogRecords(corpus, car.ref);
  latchkey::Histories(corpus);
}
