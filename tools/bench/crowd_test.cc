// Tests of the crowd, its place, and what is read of a bridge's metrics.
#include "tools/bench/crowd.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "plugins/auth/directory.h"
#include "plugins/auth/identity.h"
#include "plugins/auth/ring_file.h"
#include "proto/certificate.h"
#include "tools/bench/bridge.h"
#include "tools/latchkey/show.h"

namespace latchkey::bench {

namespace {

// A place beside plugins that are only names.
std::unique_ptr<Place> MakePlace(const std::filesystem::path& folder) {
  for (const char* plugin : {"latchkey_auth.so", "latchkey_guard.so"}) {
    std::ofstream(folder / plugin) << "no plugin";
  }
  Result<std::unique_ptr<Place>> place = Place::Make({{}, folder});
  REQUIRE(place);
  return std::move(*place);
}

struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "crowd-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }

  ~Folder() { std::filesystem::remove_all(path); }

  std::filesystem::path path;
};

auth::Trust TrustOf(const Place& place) {
  auth::Trust trust;
  trust.cell = place.cell().name;
  trust.cell_ca = PemToDer(place.cell_ca().certificate_pem).value();
  trust.fleet_cas[place.fleet().str()] = PemToDer(place.fleet_ca().certificate_pem).value();
  return trust;
}

}  // namespace

TEST_CASE("place: is removed at the end, and refuses a folder without plugins") {
  const Folder folder;
  std::filesystem::path root;
  {
    const auto place = MakePlace(folder.path);
    root = place->root();
    CHECK(std::filesystem::exists(place->ca_file()));
    const auto one = place->NewFolder("broker");
    const auto other = place->NewFolder("broker");
    REQUIRE(one);
    REQUIRE(other);
    CHECK(*one != *other);
  }
  CHECK_FALSE(std::filesystem::exists(root));
  CHECK_FALSE(Place::Make({{}, "/nowhere"}).has_value());
}

TEST_CASE("crowd: the plugin's directory believes every ring of a ring file that it writes") {
  const Folder folder;
  const auto place = MakePlace(folder.path);
  const Result<Crowd> crowd = Crowd::Make(*place, 3);
  REQUIRE(crowd);
  const auto file = folder.path / "rings.log";
  REQUIRE(crowd->WriteRingFile(file, 41));
  auth::Directory directory;
  size_t pairings = 0;
  const auth::Trust trust = TrustOf(*place);
  const auto opened =
      auth::RingFile::Open(file.string(), [&](auth::RecordKind kind, std::string_view ring) {
        CHECK(kind == auth::RecordKind::kRing);
        const auto applied = directory.Apply(ring, trust, std::nullopt);
        REQUIRE_MESSAGE(applied, applied.error().text);
        pairings += applied->keys;
        return auth::Judged{auth::Fate::kNewest, applied->ref.ToText()};
      });
  REQUIRE(opened);
  CHECK(directory.size() == 11);
  CHECK(pairings == 44);
  for (size_t i = 0; i < crowd->cars(); ++i) {
    const CarRef& ref = crowd->car(i).ref;
    const auth::HeldRing* ring = directory.Find({ref.fleet.str(), ref.car.str()});
    REQUIRE(ring != nullptr);
    CHECK(ring->Find(crowd->phone(i).id.str()) != nullptr);
  }
}

TEST_CASE("crowd: cars, phones and the tap sign in as the plugin wants them") {
  const Folder folder;
  const auto place = MakePlace(folder.path);
  const Result<Crowd> crowd = Crowd::Make(*place, 1);
  REQUIRE(crowd);
  const auth::Trust trust = TrustOf(*place);
  const Timestamp now = cli::ReadClocks().wall;
  const auto identify = [&](const SignIn& in) {
    std::string der;
    auth::Credentials shown;
    if (in.issued != nullptr) {
      der = PemToDer(in.issued->certificate_pem).value();
      shown.certificate = der;
    } else {
      shown.user_name = in.user_name;
      shown.password = in.password;
    }
    shown.client_id = in.client_id;
    const auto principal = auth::Identify(shown, trust, now);
    REQUIRE_MESSAGE(principal, principal.error().text);
    return principal->kind;
  };
  CHECK(identify(crowd->CarSignIn(0)) == auth::PrincipalKind::kCar);
  CHECK(identify(crowd->PhoneSignIn(0, now)) == auth::PrincipalKind::kPhone);
  CHECK(identify(crowd->TapSignIn()) == auth::PrincipalKind::kOperator);
}

TEST_CASE("bridge: a metric is the sum over its labels, and not one that begins alike") {
  const std::string page =
      "# HELP commits Commits.\n# TYPE commits counter\ncommits 12\ncommits_failed 1\n"
      "refused{reason=\"FULL\"} 2\nrefused{reason=\"EXPIRED\"} 3.5\nlast 7";
  CHECK(MetricIn(page, "commits").value() == doctest::Approx(12));
  CHECK(MetricIn(page, "commits_failed").value() == doctest::Approx(1));
  CHECK(MetricIn(page, "refused").value() == doctest::Approx(5.5));
  CHECK(MetricIn(page, "last").value() == doctest::Approx(7));
  CHECK_FALSE(MetricIn(page, "commit").has_value());
  CHECK_FALSE(MetricIn("", "commits").has_value());
}

}  // namespace latchkey::bench
