// What comes to a car by SMS. The first byte says which: 'm' a message as a stranger sent it, 'r'
// one of a server that has the relay key: its HMAC is put behind it.
#include <string>
#include <variant>

#include "proto/sms.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::fuzz {
namespace {

const std::string& RelayKey() {
  static const std::string key(kRelayKeyBytes, 'r');
  return key;
}

std::string WithMac(std::string_view bytes, const CarRef& ref) {
  const std::string covered = std::string("latchkey.v1.sms") + '\0' + ref.fleet.str() + '\0' +
                              ref.car.str() + '\0' + std::string(bytes);
  return std::string(bytes) + HmacSha256(RelayKey(), covered).substr(0, 16);
}

void CheckCommand(const CommandSms& inside, const std::string& bytes, const KeyRing& ring) {
  Require(ring.Find(inside.lane) != nullptr, "a command is of a key on the ring");
  const Result<Command> command = ParseCommand(inside.wire, ring.ref, inside.lane);
  if (!command) {
    return;
  }
  Require(!CheckAuthority(*command, ring, testing::kNow).allowed(),
          "nobody signs with a key made for this run");
  const Result<std::string> again = MakeCommandSms(*command, RelayKey());
  Require(!again || *again == bytes, "one command has one SMS");
}

}  // namespace

void Try(std::string_view input) {
  static const CarRef ref = testing::Ref("f1", "car1");
  static const KeyRing ring{
      ref, 1, testing::kNow, {testing::OnRing(PrivateKey::Generate().Public(), v1::ROLE_OWNER)}};
  if (input.empty()) {
    return;
  }
  const std::string_view rest = input.substr(1);
  if (input[0] == 'm') {
    const auto opened = OpenSms(rest, ref, ring, RelayKey());
    Require(!opened || WithMac(rest.substr(0, rest.size() - 16), ref) == rest,
            "nothing opens without the relay key");
    return;
  }
  // The key of the ring is random: put its first bytes where a command names its key.
  std::string body(rest);
  constexpr size_t kKeyAt = 1 + 16 + 6 + 4;
  if (!body.empty() && body[0] == 2 && body.size() >= kKeyAt + 8) {
    const std::string id = Base64UrlDecode(ring.keys[0].id.str().substr(0, 12)).value();
    body.replace(kKeyAt, 8, id.substr(0, 8));
  }
  const std::string bytes = WithMac(body, ref);
  const auto opened = OpenSms(bytes, ref, ring, RelayKey());
  if (!opened) {
    return;
  }
  Require(bytes.size() <= kSmsBytesMax, "what opens is one message");
  if (const auto* wake = std::get_if<WakeSms>(&*opened)) {
    Require(MakeWakeSms(ref, wake->at, RelayKey()) == bytes, "one time has one wake");
  } else {
    CheckCommand(std::get<CommandSms>(*opened), bytes, ring);
  }
}

}  // namespace latchkey::fuzz
