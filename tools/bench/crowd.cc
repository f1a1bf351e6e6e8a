// See crowd.h.
#include "tools/bench/crowd.h"

#include <algorithm>
#include <memory>

#include "plugins/auth/ring_file.h"
#include "proto/certificate.h"
#include "proto/token.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

constexpr int kDays = 30;
constexpr size_t kStrangers = 4001;  // prime: neighbours do not have the same ones
constexpr size_t kNameDigits = 7;
constexpr const char* kTapName = "tap";

RingKey OnRing(const PublicKey& key, v1::Role role) {
  return {key.Id(), key.ToPoint(), role, PermissionsOf(role), {}, {}, "a phone of the bench"};
}

uint32_t AllReads() {
  uint32_t mask = 0;
  for (const Group group : kGroups) {
    mask |= Bit(ReadPermission(group));
  }
  return mask;
}

}  // namespace

Result<Crowd> Crowd::Make(const Place& place, size_t cars) {
  const Timestamp now = cli::ReadClocks().wall;
  Crowd crowd(place.cell().name, place.fleet(), place.fleet_ca());
  for (size_t i = 0; i < cars; ++i) {
    const CarRef ref = crowd.RefOf(i);
    LK_TRY(tools::Issued issued, tools::IssueClient(CarIdentity{ref}, crowd.fleet_ca_, now, kDays));
    LK_TRY(std::string der, PemToDer(issued.certificate_pem));
    LK_TRY(PrivateKey key, PrivateKey::FromPem(issued.private_key_pem));
    crowd.cars_.push_back({ref, std::move(issued), std::move(der), std::move(key)});
    PrivateKey phone = PrivateKey::Generate();
    KeyId id = phone.Public().Id();
    crowd.phones_.push_back({std::move(phone), std::move(id)});
  }
  for (size_t i = 0; i < kStrangers; ++i) {
    crowd.strangers_.push_back(OnRing(PrivateKey::Generate().Public(), v1::ROLE_GUEST));
  }
  LK_TRY(crowd.tap_, tools::IssueClient(OperatorIdentity{crowd.fleet_, kTapName, AllReads()},
                                        crowd.fleet_ca_, now, kDays));
  return crowd;
}

CarRef Crowd::RefOf(size_t index) const {
  std::string digits = std::to_string(index);
  digits.insert(0, kNameDigits - std::min(kNameDigits, digits.size()), '0');
  return {fleet_, CarId::Parse("car-" + digits).value()};
}

KeyRing Crowd::RingOf(size_t car, uint64_t version) const {
  KeyRing ring{RefOf(car), version, cli::ReadClocks().wall, {}};
  if (car < phones_.size()) {
    ring.keys.push_back(OnRing(phones_[car].key.Public(), v1::ROLE_OWNER));
  }
  for (size_t i = 0; ring.keys.size() < kKeysPerRing; ++i) {
    ring.keys.push_back(strangers_[(car * kKeysPerRing + i) % kStrangers]);
  }
  return ring;
}

std::string Crowd::SignedRing(size_t car, uint64_t version) const {
  const BenchCar& owner = cars_[car];
  return SealKeyRing(RingOf(car, version), owner.key, owner.certificate_der);
}

// A car on paper shares its key with all others on paper; what a verifier does is the same.
Result<std::string> Crowd::PaperRing(size_t car, const PrivateKey& key, const tools::Signer& ca,
                                     Timestamp now) const {
  LK_TRY(const std::string pem,
         tools::CertifyClient(CarIdentity{RefOf(car)}, key.Public(), ca, {now, kDays}));
  LK_TRY(const std::string der, PemToDer(pem));
  return SealKeyRing(RingOf(car, 1), key, der);
}

Result<void> Crowd::WriteRingFile(const std::filesystem::path& path, size_t pairings) const {
  LK_TRY(const std::unique_ptr<auth::RingFile> file,
         auth::RingFile::Open(path.string(), [](auth::RecordKind, std::string_view) {
           return auth::Judged{auth::Fate::kKept, {}};
         }));
  const size_t rings = (pairings + kKeysPerRing - 1) / kKeysPerRing;
  const PrivateKey paper = PrivateKey::Generate();
  LK_TRY(const tools::Signer ca, tools::Signer::Read(fleet_ca_));
  const Timestamp now = cli::ReadClocks().wall;
  for (size_t car = 0; car < std::max(rings, cars_.size()); ++car) {
    std::string ring;
    if (car < cars_.size()) {
      ring = SignedRing(car, 1);
    } else {
      LK_TRY(ring, PaperRing(car, paper, ca, now));
    }
    LK_CHECK(file->Append(auth::RecordKind::kRing, ring));
  }
  return {};
}

SignIn Crowd::CarSignIn(size_t car) const {
  return {cars_[car].ref.ToText(), "", "", &cars_[car].issued};
}

SignIn Crowd::PhoneSignIn(size_t phone, Timestamp now) const {
  const BenchPhone& who = phones_[phone];
  return {who.id.str() + "/bench", who.id.str(), MintToken(who.key, cell_, now, kTokenLifetimeMax),
          nullptr};
}

SignIn Crowd::TapSignIn() const {
  return {fleet_.str() + "/operator/" + kTapName, "", "", &tap_};
}

}  // namespace latchkey::bench
