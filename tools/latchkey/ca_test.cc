// The registrar's judgement as a table, and the papers of the CAs on disk.
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <unistd.h>

#include "proto/renewal.h"
#include "proto/topic.h"
#include "tests/support/wire_fixtures.h"
#include "tools/latchkey/ca_expiry.h"
#include "tools/latchkey/ca_inventory.h"
#include "tools/latchkey/ca_registrar.h"
#include "tools/latchkey/cell.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;
using testing::kNow;
using testing::kSecond;
using testing::Ref;
using testing::Said;

constexpr Duration kDay = std::chrono::hours(24);

// A folder that goes away with the test.
class Place {
 public:
  Place() {
    std::string name = (fs::temp_directory_path() / "latchkey-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }

  ~Place() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }

  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  fs::path path;
};

// A fleet with one car whose certificate is two thirds through its life, and its registrar.
struct Office {
  tools::Issued ca = tools::MakeCa("demo", kNow - 100 * kDay, 3650);
  std::string ca_der = PemToDer(ca.certificate_pem).value();
  CarRef ref = Ref("demo", "F3-17");
  PrivateKey key = PrivateKey::Generate();
  Certificate held = CertificateFor(ref, key.Public(), 70, 100);
  Registrar registrar = Registrar::Make(ref.fleet, ca, 730).value();
  Now now{kNow, Instant{1'000'000}};

  Office() { registrar.Learn(held); }

  // Issued `age` days ago for `days`.
  Certificate CertificateFor(const CarRef& whose, const PublicKey& of, int age, int days) const {
    return Certificate::FromPem(
               tools::CertifyClient(CarIdentity{whose}, of, ca, {kNow - age * kDay, days}).value())
        .value();
  }

  Registrar::Answer Ask(const PrivateKey& with) { return Ask(ref, with); }

  Registrar::Answer Ask(const CarRef& whose, const PrivateKey& with) {
    return registrar.Handle({CertificateRequestTopic(whose),
                             MakeCertificateRequest(whose, with, now.wall), 1, Retain::kNo, 0},
                            now);
  }

  // What the car makes of an answer: "allowed" or the reason; "" when there is none.
  std::string CarSays(const Registrar::Answer& answer) const {
    if (!answer.publish) {
      return "";
    }
    CHECK(answer.publish->topic == CertificateTopic(ref));
    CHECK(answer.publish->qos == 1);
    CHECK(answer.publish->retain == Retain::kNo);
    return Said(OpenCertificateGrant(answer.publish->payload, held, ca_der, now.wall));
  }
};

}  // namespace

TEST_CASE("registrar: a car that is due gets a longer certificate for the same key, kept first") {
  Office o;
  const Registrar::Answer answer = o.Ask(o.key);
  CHECK(o.CarSays(answer) == "allowed");
  const auto certificate = Certificate::FromPem(answer.keep_pem);
  REQUIRE(certificate);
  CHECK(certificate->public_key.ToPoint() == o.key.Public().ToPoint());
  CHECK(certificate->not_after == kNow + 730 * kDay);
  CHECK(answer.requested_at == kNow);
}

TEST_CASE("registrar: it grants nothing to a key or a car that was never certified") {
  Office o;
  const PrivateKey thief = PrivateKey::Generate();
  const CarRef other = Ref("demo", "F3-18");
  const PrivateKey other_key = PrivateKey::Generate();
  o.registrar.Learn(o.CertificateFor(other, other_key.Public(), 70, 100));
  CHECK(o.CarSays(o.Ask(thief)) == "REASON_NOT_ALLOWED");
  CHECK(o.CarSays(o.Ask(other_key)) == "REASON_NOT_ALLOWED");  // certified, for another car
  for (const Registrar::Answer& answer : {o.Ask(thief), o.Ask(Ref("demo", "new"), o.key)}) {
    CHECK(answer.keep_pem.empty());
  }
  CHECK(o.CarSays(o.Ask(o.key)) == "allowed");  // control
}

TEST_CASE("registrar: a certificate by another CA of the same name proves nothing") {
  Office o;
  const PrivateKey key = PrivateKey::Generate();
  const tools::Issued same_name = tools::MakeCa("demo", kNow - 100 * kDay, 3650);
  o.registrar.Learn(
      Certificate::FromPem(
          tools::CertifyClient(CarIdentity{o.ref}, key.Public(), same_name, {kNow, 100}).value())
          .value());
  CHECK(o.CarSays(o.Ask(key)) == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("registrar: a key any of whose certificates is revoked is renewed no more") {
  Office o;
  const Certificate newer = o.CertificateFor(o.ref, o.key.Public(), 1, 100);
  o.registrar.Learn(newer);
  o.registrar.SetRevoked({o.held.serial});
  CHECK(o.CarSays(o.Ask(o.key)) == "REASON_BAD_CERTIFICATE");
  o.registrar.SetRevoked({newer.serial});
  CHECK(o.CarSays(o.Ask(o.key)) == "REASON_BAD_CERTIFICATE");
  o.registrar.SetRevoked({"\x01"});
  CHECK(o.CarSays(o.Ask(o.key)) == "allowed");
}

TEST_CASE("registrar: forged and broken requests are refused with the reason") {
  Office o;
  const PrivateKey thief = PrivateKey::Generate();
  const std::string good = MakeCertificateRequest(o.ref, o.key, kNow);
  v1::CertificateRequest forged;
  REQUIRE(forged.ParseFromString(good));
  forged.set_signature(thief.Sign("anything"));
  const std::string topic = CertificateRequestTopic(o.ref);

  struct Case {
    const char* what;
    Publish message;
    std::string said;
  };

  for (const Case& row : {
           Case{"another's signature", {topic, forged.SerializeAsString()}, "REASON_BAD_SIGNATURE"},
           Case{"another car's request",
                {topic, MakeCertificateRequest(Ref("demo", "F3-18"), o.key, kNow)},
                "REASON_BAD_SIGNATURE"},
           Case{"rubbish", {topic, "rubbish"}, "REASON_MALFORMED"},
           Case{"empty", {topic, ""}, "REASON_MALFORMED"},
           Case{"huge", {topic, std::string(70000, 'x')}, "REASON_MALFORMED"},
           Case{"another fleet's", {CertificateRequestTopic(Ref("other", "F3-17")), good}, ""},
           Case{"another topic", {CertificateTopic(o.ref), good}, ""},
           Case{"no topic of ours", {"lk/1/demo/+/certificate/request", good}, ""},
       }) {
    CAPTURE(row.what);
    const Registrar::Answer answer = o.registrar.Handle(row.message, o.now);
    CHECK(o.CarSays(answer) == row.said);
    CHECK(answer.keep_pem.empty());
    CHECK_FALSE(answer.line.empty());
  }
}

TEST_CASE("registrar: at most one grant a minute and ten answers, to each car by itself") {
  Office o;
  const CarRef other = Ref("demo", "F3-18");
  const PrivateKey other_key = PrivateKey::Generate();
  o.registrar.Learn(o.CertificateFor(other, other_key.Public(), 70, 100));
  CHECK(o.CarSays(o.Ask(o.key)) == "allowed");
  o.now.mono = o.now.mono + 59 * kSecond;
  CHECK(o.CarSays(o.Ask(o.key)) == "REASON_FULL");
  CHECK_FALSE(o.Ask(other, other_key).keep_pem.empty());
  for (int i = 0; i < 20; ++i) {
    static_cast<void>(o.Ask(o.key));
  }
  CHECK_FALSE(o.Ask(o.key).publish.has_value());
  o.now.mono = o.now.mono + 62 * kSecond;
  CHECK(o.CarSays(o.Ask(o.key)) == "allowed");
}

TEST_CASE("registrar: who asks again soon gets the same certificate again, not one more") {
  Office o;
  const Registrar::Answer first = o.Ask(o.key);
  const auto certificate = Certificate::FromPem(first.keep_pem);
  REQUIRE(certificate);
  o.registrar.Learn(*certificate);
  o.now.mono = o.now.mono + 100 * kSecond;
  const Registrar::Answer again = o.Ask(o.key);
  CHECK(again.keep_pem.empty());
  CHECK(o.CarSays(again) == "allowed");
  CHECK(OpenCertificateGrant(again.publish->payload, o.held, o.ca_der, kNow).value().serial ==
        certificate->serial);
}

TEST_CASE("registrar: what could not be kept was not granted, and may be asked for at once") {
  Office o;
  const Registrar::Answer answer = o.Ask(o.key);
  REQUIRE_FALSE(answer.keep_pem.empty());
  const Registrar::Answer instead =
      o.registrar.CannotKeep(o.ref, answer.requested_at, "the disk is full");
  CHECK(o.CarSays(instead) == "REASON_STORE_UNAVAILABLE");
  CHECK(o.CarSays(o.Ask(o.key)) == "allowed");
}

TEST_CASE("registrar: no certificate outlives the CA, and a CA at its end issues none") {
  Office o;
  o.ca = tools::MakeCa("demo", kNow - 100 * kDay, 140);  // 40 days left
  o.ca_der = PemToDer(o.ca.certificate_pem).value();
  o.registrar = Registrar::Make(o.ref.fleet, o.ca, 730).value();
  o.held = o.CertificateFor(o.ref, o.key.Public(), 70, 90);
  o.registrar.Learn(o.held);
  const auto certificate = Certificate::FromPem(o.Ask(o.key).keep_pem);
  REQUIRE(certificate);
  CHECK(certificate->not_after == kNow + 40 * kDay);
  CHECK(Said(DaysWithin(o.ca, kNow + 39 * kDay + std::chrono::hours(1), 730)) ==
        "REASON_BAD_CERTIFICATE");
}

TEST_CASE("serial numbers: as text and back, whichever way they are written") {
  CHECK(SerialText(std::string("\x0a\xff\x00", 3)) == "0aff00");
  CHECK(ParseSerial("0aff00").value() == std::string("\x0a\xff\x00", 3));
  CHECK(ParseSerial("0A:FF:00").value() == std::string("\x0a\xff\x00", 3));
  CHECK(ParseSerial("000aff00").value() == std::string("\x0a\xff\x00", 3));
  CHECK(ParseSerial("aff00").value() == std::string("\x0a\xff\x00", 3));
  for (const char* bad :
       {"", "0", "0x12", "12 34", "zz", ":", "1234567890123456789012345678901234567890ab"}) {
    CAPTURE(bad);
    CHECK_FALSE(ParseSerial(bad).has_value());
  }
}

TEST_CASE("inventory: what is issued is kept, revoked with its time, and listed for the broker") {
  const Place place;
  const Folder folder(place.path);
  const FleetId demo = FleetId::Parse("demo").value();
  CellWish wish;
  wish.plugins = "/plugins";
  REQUIRE(MakeCell(folder, demo, wish, kNow));
  const Authority authority = FleetAuthority(folder, demo);
  const std::string ca_der = PemToDer(LoadCa(authority).value().certificate_pem).value();
  const auto one = IssueAndKeep(folder, CarIdentity{Ref("demo", "one")}, kNow, kCarDays);
  const auto two = IssueAndKeep(folder, CarIdentity{Ref("demo", "two")}, kNow, kCarDays);
  REQUIRE(one);
  REQUIRE(two);
  const std::vector<Certificate> all = ListCertificates(authority);
  REQUIRE(all.size() == 2);
  CHECK(all[0].identity == CertificateIdentity(CarIdentity{Ref("demo", "one")}));
  CHECK(ListCertificates(CellAuthority(folder)).size() == 1);  // the bridge

  CHECK(LoadRevoked(authority).value().entries.empty());
  CHECK_FALSE(fs::exists(authority.list));
  REQUIRE(Revoke(authority, {all[0].serial}, kNow));
  REQUIRE(Revoke(authority, {all[0].serial, all[1].serial}, kNow + kDay));
  const RevokedList list = LoadRevoked(authority).value();
  CHECK(list.number == 2);
  CHECK(list.Find(all[0].serial)->at == kNow);
  CHECK(list.Find(all[1].serial)->at == kNow + kDay);
  auto read = ReadRevocations(ReadFile(authority.list).value(), ca_der);
  REQUIRE(read);
  CHECK(read->number == 2);
  CHECK(read->serials.size() == 2);
  CHECK(read->next_update == kNow + (1 + kListDays) * kDay);

  // Without its memory the number still never goes back.
  fs::remove(authority.revoked);
  CHECK(Revoke(authority, {}, kNow).value().number == 3);
  REQUIRE(WriteFile(authority.revoked, "{\"number\":", Secrecy::kPublic));
  CHECK(Said(Revoke(authority, {}, kNow)) == "REASON_MALFORMED");
  read = ReadRevocations(ReadFile(authority.list).value(), ca_der);
  CHECK(read.value().number == 3);
}

TEST_CASE("inventory: in a folder without one the certificates held count") {
  const Place place;
  const Folder folder(place.path);
  const FleetId demo = FleetId::Parse("demo").value();
  CellWish wish;
  wish.plugins = "/plugins";
  REQUIRE(MakeCell(folder, demo, wish, kNow));
  const tools::Issued ca = LoadCa(FleetAuthority(folder, demo)).value();
  const auto car = tools::IssueClient(CarIdentity{Ref("demo", "old")}, ca, kNow, 10).value();
  const auto staff =
      tools::IssueClient(OperatorIdentity{demo, "ann", Bit(v1::PERMISSION_READ_LINK)}, ca, kNow, 90)
          .value();
  REQUIRE(SaveIssued(folder.Car(Ref("demo", "old")), "car", car));
  REQUIRE(SaveIssued(folder.Operator(demo, "ann"), "operator", staff));
  CHECK(ListCertificates(FleetAuthority(folder, demo)).size() == 2);

  // What is held is in the inventory from the first look on, so a renewal may replace it.
  AdoptHeld(FleetAuthority(folder, demo));
  fs::remove(folder.Car(Ref("demo", "old")) / "car.pem");
  CHECK(ListCertificates(FleetAuthority(folder, demo)).size() == 2);
  REQUIRE(SaveIssued(folder.Car(Ref("demo", "old")), "car", car));

  // And the one that ends soon is named, with the list that is late.
  std::vector<Expiry> ending = EndingSoon(folder, kNow);
  REQUIRE(ending.size() == 1);
  CHECK(ending[0].what == "certificate of car demo/old");
  CHECK(EndText(ending[0].ends, kNow) == "ends in 10 days");
  CHECK(EndText(ending[0].ends, kNow + 12 * kDay) == "ended 2 days ago");
  REQUIRE(Revoke(FleetAuthority(folder, demo), {}, kNow));
  CHECK(EndingSoon(folder, kNow).size() == 1);
  ending = EndingSoon(folder, kNow + 31 * kDay);
  REQUIRE(ending.size() == 2);
  CHECK(ending[1].what == "revocation list of fleet demo");
  CHECK(EndingSoon(folder, kNow + 3651 * kDay).size() == 7);  // CAs, broker, bridge, both, list
}

TEST_CASE("fleet init: names that would share client ids are refused, what ends soon is renewed") {
  const Place place;
  const Folder folder(place.path);
  CellWish wish;
  wish.plugins = "/plugins";
  for (const char* name : {"bridge", "administrator"}) {
    CHECK(Said(MakeCell(folder, FleetId::Parse(name).value(), wish, kNow)) == "REASON_NOT_ALLOWED");
  }
  const FleetId demo = FleetId::Parse("demo").value();
  REQUIRE(MakeCell(folder, demo, wish, kNow));
  const std::string server = ReadFile(folder.Broker() / "server.pem").value();
  REQUIRE(MakeCell(folder, demo, wish, kNow + 700 * kDay));
  CHECK(ReadFile(folder.Broker() / "server.pem").value() == server);
  REQUIRE(MakeCell(folder, demo, wish, kNow + 800 * kDay));
  CHECK(ReadFile(folder.Broker() / "server.pem").value() != server);
  CHECK(ListCertificates(CellAuthority(folder)).size() == 2);
}

}  // namespace latchkey::cli
