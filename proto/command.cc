// Commands: what the schema's options say of each action, and the checks in the order command.h
// lists their errors.
#include "proto/command.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "proto/wire.h"

namespace latchkey {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr std::string_view kDomain = "latchkey.v1.command";
constexpr int kDeparturesMax = 8;
constexpr int kWindowsMax = 8;
constexpr int kLegsMax = 8;
constexpr uint32_t kMinuteOfDayMax = 1439;
constexpr uint32_t kWeekdaysMax = 127;
constexpr size_t kLegNameBytesMax = 128;
constexpr size_t kAppIdBytesMax = 128;
constexpr size_t kAppVersionBytesMax = 32;

std::vector<ActionFacts> ReadActionTable() {
  std::vector<ActionFacts> table;
  const auto* oneof = v1::Command::descriptor()->FindOneofByName("action");
  LK_ASSERT(oneof != nullptr);
  for (int i = 0; i < oneof->field_count(); ++i) {
    const auto* field = oneof->field(i);
    const v1::ActionRule& rule = field->options().GetExtension(v1::rule);
    const auto* value = v1::CommandClass_descriptor()->FindValueByNumber(rule.command_class());
    LK_ASSERT(value != nullptr && rule.command_class() != v1::COMMAND_CLASS_UNSPECIFIED);
    LK_ASSERT(value->options().HasExtension(v1::lifetime_ms_max));
    LK_ASSERT(Bit(rule.permission()) != 0 || rule.permission() == v1::PERMISSION_ANY_KEY);
    LK_ASSERT(rule.slot() != v1::SLOT_UNSPECIFIED);
    table.push_back(
        {field->number(), field->name(), rule.command_class(), rule.permission(), rule.slot(),
         Duration(static_cast<int64_t>(value->options().GetExtension(v1::lifetime_ms_max)))});
  }
  std::sort(table.begin(), table.end(),
            [](const ActionFacts& a, const ActionFacts& b) { return a.field < b.field; });
  return table;
}

// 0 means "as last set in the car".
bool ValidTarget(float celsius) {
  return celsius == 0.0F || (celsius >= 16.0F && celsius <= 28.0F);
}

// Two or more labels of letters, digits, '-' and '_', joined by single dots.
bool ValidAppId(std::string_view id) {
  if (id.empty() || id.size() > kAppIdBytesMax) {
    return false;
  }
  char before = '.';
  bool dotted = false;
  for (const char c : id) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_';
    if (!plain && (c != '.' || before == '.')) {
      return false;
    }
    dotted = dotted || c == '.';
    before = c;
  }
  return dotted && before != '.';
}

bool ValidDepartures(const v1::DepartureSchedule& schedule) {
  return schedule.departures_size() <= kDeparturesMax &&
         std::all_of(schedule.departures().begin(), schedule.departures().end(),
                     [](const v1::Departure& departure) {
                       return departure.minute_of_day() <= kMinuteOfDayMax &&
                              departure.weekdays() <= kWeekdaysMax &&
                              ValidTarget(departure.target_temperature());
                     });
}

bool ValidWindows(const v1::ChargeSchedule& schedule) {
  return schedule.windows_size() <= kWindowsMax &&
         std::all_of(schedule.windows().begin(), schedule.windows().end(),
                     [](const v1::ChargeWindow& window) {
                       return window.start_minute() <= kMinuteOfDayMax &&
                              window.end_minute() <= kMinuteOfDayMax && window.weekdays() >= 1 &&
                              window.weekdays() <= kWeekdaysMax;
                     });
}

bool ValidLegs(const v1::SendDestination& destination) {
  return destination.legs_size() >= 1 && destination.legs_size() <= kLegsMax &&
         std::all_of(destination.legs().begin(), destination.legs().end(), [](const v1::Leg& leg) {
           return std::abs(leg.latitude()) <= 90.0 && std::abs(leg.longitude()) <= 180.0 &&
                  leg.name().size() <= kLegNameBytesMax && v1::TravelMode_IsValid(leg.mode()) &&
                  leg.mode() != v1::TRAVEL_MODE_UNSPECIFIED;
         });
}

// Are the arguments in the ranges command.proto states? Actions without arguments always are.
bool ValidArguments(const v1::Command& body) {
  if (body.has_climate_on()) {
    return ValidTarget(body.climate_on().target_temperature()) && body.climate_on().minutes() <= 60;
  }
  if (body.has_departure_schedule()) {
    return ValidDepartures(body.departure_schedule());
  }
  if (body.has_charge_limit()) {
    return body.charge_limit().percent() >= 20 && body.charge_limit().percent() <= 100;
  }
  if (body.has_charge_schedule()) {
    return ValidWindows(body.charge_schedule());
  }
  if (body.has_send_destination()) {
    return ValidLegs(body.send_destination());
  }
  if (body.has_install_app()) {
    return ValidAppId(body.install_app().app_id()) &&
           body.install_app().version().size() <= kAppVersionBytesMax;
  }
  if (body.has_remove_app()) {
    return ValidAppId(body.remove_app().app_id());
  }
  if (body.has_add_key()) {
    return KeyFromWire(body.add_key().key()).has_value();
  }
  if (body.has_remove_key()) {
    return KeyId::Parse(body.remove_key().key_id()).has_value();
  }
  if (body.has_cancel()) {
    return CommandId::FromBytes(body.cancel().command_id()).has_value() &&
           body.cancel().command_id() != body.command_id();
  }
  return true;
}

Error ImpossibleArgument(const ActionFacts& action) {
  return {v1::REASON_IMPOSSIBLE_VALUE, "an argument of " + std::string(action.name) +
                                           " is outside the range command.proto states: refused"};
}

bool LivesTooLong(const ActionFacts& action, Timestamp issued_at,
                  const std::optional<Timestamp>& expires_at) {
  if (action.lifetime_max.count() == 0) {
    return false;
  }
  return !expires_at || *expires_at - issued_at > action.lifetime_max;
}

// Nobody gives what they do not have, and nobody touches a key that has more than they have: a key
// that is not on `ring` has nothing.
bool MayChangeKeys(const v1::Command& body, const KeyRing& ring, const RingKey& signer) {
  const auto below = [&signer](uint32_t permissions) {
    return (permissions & ~signer.permissions) == 0;
  };
  std::optional<KeyId> touched;
  if (body.has_add_key()) {
    const Result<RingKey> added = KeyFromWire(body.add_key().key());
    if (!added || !below(added->permissions)) {
      return false;
    }
    touched = added->id;
  } else if (body.has_remove_key()) {
    touched = KeyId::Parse(body.remove_key().key_id());
  }
  const RingKey* held = touched ? ring.Find(*touched) : nullptr;
  return held == nullptr || below(held->permissions);
}

// What ExpiryOf needs of a Command.
struct Scan {
  uint64_t expires_at_ms = 0;
  int action = 0;  // field number of the last action seen; 0: none
};

// The bytes of the last field `number`, as protobuf would keep them; nullopt: does not parse.
std::optional<std::string_view> LastBytes(std::string_view message, int number) {
  CodedInputStream input(reinterpret_cast<const uint8_t*>(message.data()),
                         static_cast<int>(message.size()));
  const uint32_t wanted =
      WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  std::string_view last;
  for (uint32_t tag = input.ReadTag(); tag != 0; tag = input.ReadTag()) {
    if (tag != wanted) {
      if (!WireFormatLite::SkipField(&input, tag)) {
        return std::nullopt;
      }
      continue;
    }
    uint32_t length = 0;
    if (!input.ReadVarint32(&length)) {
      return std::nullopt;
    }
    const auto begin = static_cast<size_t>(input.CurrentPosition());
    if (length > message.size() - begin || !input.Skip(static_cast<int>(length))) {
      return std::nullopt;
    }
    last = message.substr(begin, length);
  }
  return input.ConsumedEntireMessage() ? std::optional(last) : std::nullopt;
}

std::optional<Scan> ScanCommand(std::string_view body) {
  CodedInputStream input(reinterpret_cast<const uint8_t*>(body.data()),
                         static_cast<int>(body.size()));
  const uint32_t expiry = WireFormatLite::MakeTag(v1::Command::kExpiresAtMsFieldNumber,
                                                  WireFormatLite::WIRETYPE_VARINT);
  Scan scan;
  for (uint32_t tag = input.ReadTag(); tag != 0; tag = input.ReadTag()) {
    if (tag == expiry) {
      if (!input.ReadVarint64(&scan.expires_at_ms)) {
        return std::nullopt;
      }
      continue;
    }
    const int number = WireFormatLite::GetTagFieldNumber(tag);
    if (FindAction(number) != nullptr) {
      scan.action = number;
    }
    if (!WireFormatLite::SkipField(&input, tag)) {
      return std::nullopt;
    }
  }
  return input.ConsumedEntireMessage() ? std::optional(scan) : std::nullopt;
}

tl::unexpected<Error> Malformed(std::string_view what) {
  return Fail(v1::REASON_MALFORMED, "a command " + std::string(what) + ": refused");
}

}  // namespace

const std::vector<ActionFacts>& ActionTable() {
  static const std::vector<ActionFacts> table = ReadActionTable();
  return table;
}

const ActionFacts* FindAction(int field) {
  const std::vector<ActionFacts>& table = ActionTable();
  const auto found =
      std::lower_bound(table.begin(), table.end(), field,
                       [](const ActionFacts& facts, int wanted) { return facts.field < wanted; });
  return found != table.end() && found->field == field ? &*found : nullptr;
}

const ActionFacts* FindAction(std::string_view name) {
  const std::vector<ActionFacts>& table = ActionTable();
  const auto found = std::find_if(table.begin(), table.end(),
                                  [name](const ActionFacts& facts) { return facts.name == name; });
  return found == table.end() ? nullptr : &*found;
}

Result<std::string> SealCommand(const CommandRequest& request, const PrivateKey& key) {
  v1::Command body = request.action;
  body.DiscardUnknownFields();
  const ActionFacts* action = FindAction(static_cast<int>(body.action_case()));
  if (action == nullptr) {
    return Fail(v1::REASON_UNKNOWN_ACTION, "the command has no action: choose one");
  }
  if (LivesTooLong(*action, request.issued_at, request.expires_at)) {
    return Fail(v1::REASON_LIFETIME_TOO_LONG,
                std::string(action->name) + " may live at most " +
                    std::to_string(action->lifetime_max.count() / 1000) + " s: choose less");
  }
  body.set_command_id(request.id.ToBytes());
  if (!ValidArguments(body)) {
    return tl::unexpected<Error>(ImpossibleArgument(*action));
  }
  body.set_fleet(request.ref.fleet.str());
  body.set_car(request.ref.car.str());
  body.set_issued_at_ms(static_cast<uint64_t>(request.issued_at.ms));
  body.set_expires_at_ms(request.expires_at ? static_cast<uint64_t>(request.expires_at->ms) : 0);
  body.set_key_id(key.Public().Id().str());
  v1::SignedCommand outer;
  outer.set_command(body.SerializeAsString());
  outer.set_signature(key.Sign(WithDomain(kDomain, outer.command())));
  return outer.SerializeAsString();
}

Result<Command> ParseCommand(std::string_view bytes, const CarRef& ref, const KeyId& lane) {
  if (bytes.size() > kCommandBytesMax) {
    return Fail(v1::REASON_TOO_LARGE, "a command is larger than 4096 bytes: refused");
  }
  const std::optional<v1::SignedCommand> outer =
      FromWire<v1::SignedCommand>(bytes, kCommandBytesMax);
  if (!outer || outer->signature().size() != kSignatureBytes) {
    return Malformed("does not parse or has no 64-byte signature");
  }
  std::optional<v1::Command> body = FromWire<v1::Command>(outer->command(), kCommandBytesMax);
  if (!body) {
    return Malformed("has a body that does not parse");
  }
  const std::optional<FleetId> fleet = FleetId::Parse(body->fleet());
  const std::optional<CarId> car = CarId::Parse(body->car());
  const std::optional<KeyId> key_id = KeyId::Parse(body->key_id());
  const std::optional<CommandId> id = CommandId::FromBytes(body->command_id());
  if (!fleet || !car || !key_id || !id) {
    return Malformed("names its car, key or id in a form that breaks the rules");
  }
  const std::optional<Timestamp> issued_at = TimeFromWire(body->issued_at_ms());
  const std::optional<Timestamp> expires_at = TimeFromWire(body->expires_at_ms());
  if (!issued_at || issued_at->ms == 0 || !expires_at) {
    return Malformed("has no time of issue or an impossible time");
  }
  const ActionFacts* action = FindAction(static_cast<int>(body->action_case()));
  if (action == nullptr) {
    return Fail(v1::REASON_UNKNOWN_ACTION,
                "a command has no action this software knows: refused; update the older side");
  }
  if (!ValidArguments(*body)) {
    return tl::unexpected<Error>(ImpossibleArgument(*action));
  }
  if (*fleet != ref.fleet || *car != ref.car) {
    return Fail(v1::REASON_WRONG_CAR,
                "a command on a topic of car " + ref.ToText() + " is for another car: refused");
  }
  if (*key_id != lane) {
    return Fail(v1::REASON_WRONG_LANE,
                "a command on lane " + lane.str() + " names another key: refused");
  }
  Command command{ref, *id, *key_id, *issued_at, std::nullopt, action, {}, std::string(bytes)};
  if (expires_at->ms != 0) {
    command.expires_at = *expires_at;
  }
  command.body = std::move(*body);
  return command;
}

Result<std::optional<Timestamp>> ExpiryOf(std::string_view bytes) {
  if (bytes.size() > kCommandBytesMax) {
    return Malformed("is larger than 4096 bytes");
  }
  const std::optional<std::string_view> body =
      LastBytes(bytes, v1::SignedCommand::kCommandFieldNumber);
  const std::optional<Scan> scan = body ? ScanCommand(*body) : std::nullopt;
  if (!scan) {
    return Malformed("does not parse");
  }
  const std::optional<Timestamp> expires_at = TimeFromWire(scan->expires_at_ms);
  if (!expires_at) {
    return Malformed("expires after the year 9999");
  }
  if (expires_at->ms != 0) {
    return std::optional(*expires_at);
  }
  const ActionFacts* action = FindAction(scan->action);
  if (action == nullptr || action->lifetime_max.count() != 0) {
    return Malformed("has no expiry and needs one");
  }
  return std::optional<Timestamp>();
}

Verdict CheckTime(const Command& command, Timestamp now) {
  LK_ASSERT(command.action != nullptr);
  if (command.expires_at &&
      (now >= *command.expires_at || *command.expires_at <= command.issued_at)) {
    return Verdict::Refuse(v1::REASON_EXPIRED);
  }
  if (LivesTooLong(*command.action, command.issued_at, command.expires_at) ||
      command.issued_at > now + kClockSkewMax) {
    return Verdict::Refuse(v1::REASON_LIFETIME_TOO_LONG);
  }
  return Verdict::Allow();
}

Verdict CheckAuthority(const Command& command, const KeyRing& ring, Timestamp now) {
  LK_ASSERT(command.action != nullptr);
  if (ring.ref != command.ref) {
    return Verdict::Refuse(v1::REASON_NOT_ON_RING);
  }
  const Verdict may = May(ring, command.key_id, command.action->permission, now);
  if (!may.allowed()) {
    return may;
  }
  const RingKey* signer = ring.Find(command.key_id);
  if (!MayChangeKeys(command.body, ring, *signer)) {
    return Verdict::Refuse(v1::REASON_NOT_PERMITTED);
  }
  const std::optional<v1::SignedCommand> outer =
      FromWire<v1::SignedCommand>(command.wire, kCommandBytesMax);
  const Result<PublicKey> key = PublicKey::FromPoint(signer->public_key);
  if (!outer || !key || !key->Verify(WithDomain(kDomain, outer->command()), outer->signature())) {
    return Verdict::Refuse(v1::REASON_BAD_SIGNATURE);
  }
  return Verdict::Allow();
}

}  // namespace latchkey
