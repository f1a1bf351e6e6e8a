// The data folder: what is kept, what is secret, and that making a cell twice changes nothing.
#include "tools/latchkey/folder.h"

#include <cstdlib>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/wire_fixtures.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/phone_file.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

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

unsigned Mode(const fs::path& path) {
  struct stat info{};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode & 0777U;
}

FleetId Demo() {
  return FleetId::Parse("demo").value();
}

CellWish Wish() {
  CellWish wish;
  wish.plugins = "/plugins";
  return wish;
}

}  // namespace

TEST_CASE("folder: a secret is readable by its owner only, and a file is replaced whole") {
  const Place place;
  const fs::path secret = place.path / "a" / "b" / "phone.key";
  REQUIRE(WriteFile(secret, "one", Secrecy::kSecret));
  REQUIRE(WriteFile(secret, "two", Secrecy::kSecret));
  CHECK(ReadFile(secret).value() == "two");
  CHECK(Mode(secret) == 0600);
  CHECK(Mode(place.path / "a") == 0700);
  CHECK(Mode(place.path / "a" / "b") == 0700);
  CHECK(std::distance(fs::directory_iterator(place.path / "a" / "b"), fs::directory_iterator()) ==
        1);
  CHECK(testing::Said(ReadFile(place.path / "none")) == "REASON_STORE_UNAVAILABLE");
}

TEST_CASE("folder: without a cell the text says how to make one") {
  const Place place;
  const Result<Cell> cell = Folder(place.path).LoadCell();
  REQUIRE(testing::Said(cell) == "REASON_MALFORMED");
  CHECK(cell.error().text.find("latchkey fleet init") != std::string::npos);
  REQUIRE(WriteFile(place.path / "cell.json", "{\"name\": 3}", Secrecy::kPublic));
  CHECK(testing::Said(Folder(place.path).LoadCell()) == "REASON_MALFORMED");
}

TEST_CASE("folder: making a cell again keeps keys and ports, another fleet is added") {
  const Place place;
  const Folder folder(place.path);
  const Cell first = MakeCell(folder, Demo(), Wish(), testing::kNow).value();
  CHECK(first.phone_port != first.car_port);
  const std::string server = ReadFile(folder.Broker() / "server.pem").value();
  const std::string fleet_key = ReadFile(folder.Fleet(Demo()) / "ca.key").value();
  const Cell again = MakeCell(folder, Demo(), Wish(), testing::kNow).value();
  CHECK(again.phone_port == first.phone_port);
  CHECK(again.car_port == first.car_port);
  CHECK(again.http_port == first.http_port);
  CHECK(ReadFile(folder.Broker() / "server.pem").value() == server);
  CHECK(ReadFile(folder.Fleet(Demo()) / "ca.key").value() == fleet_key);
  const std::string before = ReadFile(folder.Broker() / "clients_ca.pem").value();
  REQUIRE(MakeCell(folder, FleetId::Parse("other").value(), Wish(), testing::kNow));
  const std::string after = ReadFile(folder.Broker() / "clients_ca.pem").value();
  CHECK(after.size() > before.size());
  CHECK(fs::exists(folder.Broker() / "fleets" / "other.pem"));
  CHECK(Mode(folder.Broker() / "server.key") == 0600);
  CHECK(Mode(folder.Fleet(Demo())) == 0700);
}

TEST_CASE("folder: a cell keeps its name, for its phones know it") {
  const Place place;
  const Folder folder(place.path);
  REQUIRE(MakeCell(folder, Demo(), Wish(), testing::kNow));
  CellWish renamed = Wish();
  renamed.name = "elsewhere";
  CHECK(testing::Said(MakeCell(folder, Demo(), renamed, testing::kNow)) == "REASON_MALFORMED");
  CellWish hostile = Wish();
  hostile.host = "a\nallow_anonymous true";
  CHECK(testing::Said(MakeCell(folder, Demo(), hostile, testing::kNow)) == "REASON_MALFORMED");
}

TEST_CASE("folder: the broker's configuration denies by default and names both plugins") {
  const Place place;
  const Folder folder(place.path);
  const std::string text = BrokerConfiguration(folder, {"local", "127.0.0.1", 1, 2, 3},
                                               {folder.Broker(), "/plugins", "me", {}, {}});
  for (const char* line :
       {"allow_anonymous false", "per_listener_settings false", "require_certificate true",
        "plugin /plugins/latchkey_auth.so", "plugin /plugins/latchkey_guard.so",
        "plugin_opt_cell local", "listener 1 127.0.0.1", "listener 2 127.0.0.1"}) {
    CAPTURE(line);
    CHECK(text.find(std::string(line) + "\n") != std::string::npos);
  }
}

TEST_CASE("folder: a phone comes back with its pairings, and a forged pairing is refused") {
  const Place place;
  const Folder folder(place.path);
  const testing::TestCar car = testing::MakeTestCar("demo", "car-1");
  const PrivateKey key = PrivateKey::Generate();
  const KeyRing ring{car.ref, 4, testing::kNow, {testing::OnRing(key.Public(), v1::ROLE_OWNER)}};
  const std::string signed_ring = SealKeyRing(ring, car.key, car.certificate_der);
  const tools::Pairing pairing{car.ref,          "127.0.0.1",         8883, "local",
                               car.key.Public(), car.certificate_der, ring, signed_ring};
  CHECK(testing::Said(LoadPhone(folder, "anna")) == "REASON_MALFORMED");
  CHECK(testing::Said(CheckName("../anna")) == "REASON_MALFORMED");
  REQUIRE(WriteFile(folder.Phone("anna") / "phone.key", key.ToPem(), Secrecy::kSecret));
  REQUIRE(SavePhone(folder, "anna", "Anna", key.Public(), {pairing}));
  const SavedPhone phone = LoadPhone(folder, "anna").value();
  REQUIRE(phone.pairings.size() == 1);
  CHECK(phone.pairings[0].ring == ring);
  CHECK(FindPairing(phone, "anna", "car-1")->ref == car.ref);
  CHECK(FindPairing(phone, "anna", "demo/car-1")->ref == car.ref);
  CHECK(testing::Said(FindPairing(phone, "anna", "car-2")) == "REASON_NOT_ON_RING");

  const testing::TestCar impostor = testing::MakeTestCar("demo", "car-1");
  tools::Pairing forged = pairing;
  forged.car_certificate = impostor.certificate_der;
  REQUIRE(SavePhone(folder, "anna", "Anna", key.Public(), {forged}));
  CHECK_FALSE(LoadPhone(folder, "anna").has_value());
}

}  // namespace latchkey::cli
