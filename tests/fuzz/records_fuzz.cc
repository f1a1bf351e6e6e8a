// Records of the bridge's store: a byte for the family, one for the key's length, key, value. The
// first byte's case says whether the value comes with its checksum ('a' to 'k') or gets a right one
// ('A' to 'K'), so that what follows the checksum is reached. 'l' is a name in the log, and its
// value a record of the log; 'm' what a store says of its schema: the key the version, the value
// the migration.
#include <optional>
#include <string>

#include "storage/command_rows.h"
#include "storage/log_rows.h"
#include "storage/records.h"
#include "storage/schema_state.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {
namespace {

// RFC 3720 appendix B.4, bit by bit.
uint32_t Crc32c(std::string_view bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? (crc >> 1U) ^ 0x82f63b78U : crc >> 1U;
    }
  }
  return ~crc;
}

std::string BigEndian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes += static_cast<char>(value >> shift & 0xffU);
  }
  return bytes;
}

}  // namespace

namespace {

void TryRecord(storage::Kind kind, const std::string& key, const std::string& value) {
  const Result<storage::Record> record = storage::Decode(kind, key, value);
  if (record) {
    const storage::KeyValue again = storage::Encode(*record);
    Require(again.kind == kind && again.key == key && again.value == value,
            "a record has one encoding");
  }
}

void TryStep(const std::string& key, const std::string& value) {
  const Result<storage::CommandRecord> record =
      storage::DecodeCommandRows(key, value, std::nullopt);
  if (record) {
    const storage::PutRow again = storage::EncodeStep(*record);
    Require(again.key == key && again.value == value, "a step has one encoding");
    Require(record->payload.empty(), "a step without its message has no payload");
  }
}

// The message of a command, beside the step that fits it.
void TryMessage(const std::string& key, const std::string& value) {
  storage::CommandRecord step;
  step.ref = {FleetId::Parse("f").value(), CarId::Parse("a").value()};
  step.lane = KeyId::Parse("abcdefghijklmnopqrstuA").value();
  step.id = CommandId::FromBytes(std::string(16, 'i')).value();
  step.payload = std::string(value.size() < 5 ? 0 : value.size() - 5, 'p');
  const storage::PutRow row = storage::EncodeStep(step);
  const Result<storage::CommandRecord> record =
      storage::DecodeCommandRows(row.key, row.value, value);
  if (record && key == row.key) {
    Require(storage::EncodeMessage(*record)->value == value, "a message has one encoding");
  }
}

void TryName(const std::string& key, const std::string& value) {
  const std::optional<storage::LogName> name = storage::ParseLogByCarKey(key);
  Require(!name || storage::LogByCarKey(*name) == key, "a name in the log has one key");
  for (const CarRef& ref : storage::CarsOfLog(value)) {
    const auto again = storage::ParseLogByCarKey(storage::LogByCarKey({ref, 1}));
    Require(again == storage::LogName{ref, 1}, "what a record names can be a key");
  }
}

void TrySchema(const std::string& version, const std::string& migration) {
  static const storage::Migrations known = storage::RealMigrations();
  const Result<storage::SchemaState> state =
      storage::ParseSchemaState(version, migration, known, "the store");
  if (state) {
    Require(state->status.phase != storage::MigrationPhase::kNone && state->steps != nullptr,
            "a migration that runs is known");
    Require(!state->families().empty(), "and has families");
  }
}

}  // namespace

void Try(std::string_view input) {
  if (input.size() < 2) {
    return;
  }
  const bool seal = input[0] >= 'A' && input[0] <= 'K';
  const int number = input[0] - (seal ? 'A' : 'a');
  if (number < 0 || number > static_cast<int>(storage::Family::kMeta)) {
    return;
  }
  const auto family = static_cast<storage::Family>(number);
  const std::string key(input.substr(2, static_cast<uint8_t>(input[1])));
  std::string value(input.substr(2 + key.size()));
  if (seal) {
    std::string covered(1, static_cast<char>(number));
    covered += BigEndian(static_cast<uint32_t>(key.size())) + key + value;
    value += BigEndian(Crc32c(covered));
  }
  if (family == storage::Family::kMeta) {
    TrySchema(key, value);
  } else if (family == storage::Family::kLogByCar) {
    TryName(key, value);
  } else if (family == storage::Family::kCommandStep) {
    TryStep(key, value);
  } else if (family == storage::Family::kCommandMessage) {
    TryMessage(key, value);
  } else {
    TryRecord(static_cast<storage::Kind>(number), key, value);
  }
}

}  // namespace latchkey::fuzz
