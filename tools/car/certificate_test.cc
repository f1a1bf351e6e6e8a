// Stories of a car whose certificate runs out: when it asks, what it takes, and what it refuses.
#include <string>

#include <doctest/doctest.h>

#include "proto/renewal.h"
#include "tests/support/car_story.h"

namespace latchkey::car {
namespace {

using latchkey::testing::kNow;
using latchkey::testing::kSecond;
using std::chrono::hours;
using std::chrono::minutes;

constexpr Duration kDay = hours(24);

// The fixture's certificate lives 30 days from an hour before kNow: it is due after 20 of them.
struct Renewing {
  Renewing() { s.Heard(); }

  void Grant(const std::string& bytes) {
    s.Gives(Arrived{{CertificateTopic(s.fleet_car_.ref), bytes, 1, Retain::kNo, 0}});
  }

  // A certificate for the car's key, or another's.
  std::string Certify(const PrivateKey& key, const CarRef& ref, const tools::Issued& ca,
                      int days) const {
    const tools::Validity validity{s.now_.wall, days};
    return PemToDer(tools::CertifyClient(CarIdentity{ref}, key.Public(), ca, validity).value())
        .value();
  }

  std::string Fresh(int days = 60) const {
    return Certify(s.fleet_car_.key, s.fleet_car_.ref, s.fleet_car_.ca, days);
  }

  Story s;
};

}  // namespace

TEST_CASE("car: it asks for a certificate when two thirds of its life are over, then hourly") {
  Renewing r;
  CHECK(r.s.car_->NextDeadline().has_value());
  r.s.Passes(kDay * 19);
  CHECK(r.s.Heard().find("request") == std::string::npos);
  r.s.Passes(kDay);
  CHECK(r.s.Heard() == "request ");
  const auto request = OpenCertificateRequest(r.s.last_request_, r.s.fleet_car_.ref);
  REQUIRE(request.has_value());
  CHECK(request->key.ToPoint() == r.s.fleet_car_.key.Public().ToPoint());
  CHECK(r.s.Read().find("runs out in 10 days: asking the registrar") != std::string::npos);
  r.s.Passes(kSecond * 59);
  CHECK(r.s.Heard() == "");
  r.s.Passes(kSecond);
  CHECK(r.s.Heard() == "request ");
  r.s.Gives(Disconnected{"no signal", 1});
  r.s.Connects();  // no reason to ask sooner
  r.s.Passes(minutes(59));
  CHECK(r.s.Heard().find("request") == std::string::npos);
  r.s.Passes(minutes(1));
  CHECK(r.s.Heard() == "request ");
}

TEST_CASE("car: a certificate is stored before the ring goes out under it and the link is new") {
  Renewing r;
  Story& s = r.s;
  s.Passes(kDay * 20);
  v1::SignedKeyRing before;
  REQUIRE(before.ParseFromString(s.last_ring_));
  s.Heard();
  const std::string fresh = r.Fresh();
  r.Grant(MakeCertificateGrant(s.now_.wall, fresh));
  CHECK(s.Heard() == "certificate ring2 ");
  CHECK(s.certificates_ == std::vector<std::string>{fresh});
  v1::SignedKeyRing after;
  REQUIRE(after.ParseFromString(s.last_ring_));
  CHECK(after.key_ring() == before.key_ring());
  CHECK(after.certificate() == fresh);
  s.Passes(kSecond);
  CHECK(s.Heard() == "hangup ");
  s.Connects();
  s.Passes(kDay);
  CHECK(s.Heard().find("request") == std::string::npos);
  s.certificate_der_ = fresh;  // as the next boot reads it
  s.Boots();
  s.Passes(kDay * 41);
  CHECK(s.Heard().find("request") != std::string::npos);
}

TEST_CASE(
    "car: a grant that is not for this car, this key and this fleet, or no longer, is refused") {
  Renewing r;
  Story& s = r.s;
  s.Passes(kDay * 20);
  const PrivateKey other = PrivateKey::Generate();
  const tools::Issued foreign = tools::MakeCa("demo", kNow, 3650);
  const CarRef ref = s.fleet_car_.ref;

  struct Row {
    std::string bytes;
    Reason reason;
  };

  const std::vector<Row> rows = {
      {"nonsense", v1::REASON_MALFORMED},
      {MakeCertificateRefusal(s.now_.wall, v1::REASON_NOT_ALLOWED), v1::REASON_NOT_ALLOWED},
      {MakeCertificateGrant(s.now_.wall, r.Certify(other, ref, s.fleet_car_.ca, 60)),
       v1::REASON_WRONG_CAR},
      {MakeCertificateGrant(s.now_.wall, r.Certify(s.fleet_car_.key, testing::Ref("demo", "x"),
                                                   s.fleet_car_.ca, 60)),
       v1::REASON_WRONG_CAR},
      {MakeCertificateGrant(s.now_.wall, r.Certify(s.fleet_car_.key, ref, foreign, 60)),
       v1::REASON_BAD_CERTIFICATE},
      {MakeCertificateGrant(s.now_.wall, r.Fresh(1)), v1::REASON_OLDER_VERSION},
  };
  for (const Row& row : rows) {
    s.Heard();
    s.Read();
    const uint64_t before = s.Refused(row.reason);
    r.Grant(row.bytes);
    CAPTURE(testing::Said(row.reason));
    CHECK(s.Heard() == "");
    CHECK(s.Refused(row.reason) == before + 1);
    CHECK(s.Read().find("the certificate is not renewed: ") == 0);
  }
  CHECK(s.certificates_.empty());
  r.Grant(MakeCertificateGrant(s.now_.wall, r.Fresh()));
  CHECK(s.certificates_.size() == 1);
}

TEST_CASE("car: a car that does not know the time neither asks nor takes") {
  Renewing r;
  Story& s = r.s;
  const std::string fresh = r.Fresh();
  s.now_.wall = {1000};
  s.Passes(kDay * 25);
  CHECK(s.Heard().find("request") == std::string::npos);
  r.Grant(MakeCertificateGrant(kNow, fresh));
  CHECK(s.certificates_.empty());
  CHECK(s.Refused(v1::REASON_TIME_UNKNOWN) == 1);
}

TEST_CASE("car: without the registrar's lane, or the fleet's CA, a car works and does not ask") {
  Renewing r;
  Story& s = r.s;
  s.Gives(Disconnected{"", 1});
  s.Gives(Connected{});
  s.Heard();
  s.Gives(Subscribed{{1, 1, 0x87}});
  CHECK(s.Heard().find("ring2") != std::string::npos);
  CHECK(s.Read().find("its certificate will not be renewed") != std::string::npos);
  s.Passes(kDay * 25);
  CHECK(s.Heard().find("request") == std::string::npos);
  s.Gives(Disconnected{"", 1});
  s.Gives(Connected{});
  s.Heard();
  s.Gives(Subscribed{{1, 0x87, 1}});  // but without its own lanes it does not
  CHECK(s.Heard() == "hangup ");
}

}  // namespace latchkey::car
