// CAs and revocation lists in a folder of its own: what counts, what is kept, and when it is read.
#include "plugins/auth/trust_files.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <doctest/doctest.h>
#include <stdlib.h>

#include "tests/support/wire_fixtures.h"

namespace latchkey::auth {
namespace {

using testing::Issue;
using testing::kNow;
using testing::Ref;
using testing::Said;

struct Folder {
  std::filesystem::path path;
  tools::Issued cell_ca = tools::MakeCa("cell", kNow, 3650);
  tools::Issued f1_ca = tools::MakeCa("f1", kNow, 3650);
  std::string car = Issue(CarIdentity{Ref("f1", "c1")}, f1_ca).first;
  std::string serial = Certificate::FromDer(car)->serial;
  std::unique_ptr<TrustFiles> files;
  std::optional<Trust> trust;
  std::vector<std::string> complaints;

  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "lk_trust_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
    std::filesystem::create_directory(path / "fleets");
    Put("cell.pem", cell_ca.certificate_pem);
    Put("fleets/f1.pem", f1_ca.certificate_pem);
    files = std::make_unique<TrustFiles>(
        TrustPaths{"cell-1", At("cell.pem"), At("cell.crl.pem"), At("fleets")});
  }

  ~Folder() { std::filesystem::remove_all(path); }

  std::string At(const std::string& name) const { return (path / name).string(); }

  // As a careful writer does: written beside, then renamed.
  void Put(const std::string& name, const std::string& text) const {
    std::ofstream(At(name) + ".new", std::ios::binary) << text;
    std::filesystem::rename(At(name) + ".new", At(name));
  }

  static std::string Crl(const tools::Issued& ca, const std::vector<std::string>& serials,
                         uint64_t number, Timestamp now = kNow) {
    std::vector<tools::Revoked> revoked;
    for (const std::string& each : serials) {
      revoked.push_back({each, now});
    }
    return tools::MakeCrl(ca, revoked, number, {now, 7}).value();
  }

  std::string Read() {
    Result<TrustRead> read = files->Read(trust ? &*trust : nullptr, kNow);
    complaints.clear();
    if (!read) {
      return Said(read);
    }
    complaints = read->complaints;
    trust = std::move(read->trust);
    return "read, complaints " + std::to_string(complaints.size());
  }

  bool Gets(const std::string& id = "f1/c1") const {
    return Identify({car, {}, {}, id}, *trust, kNow).has_value();
  }
};

TEST_CASE("trust: a fleet's list revokes, and another list gives back what it does not name") {
  Folder f;
  CHECK(f.Read() == "read, complaints 0");
  CHECK(f.Gets());
  CHECK_FALSE(f.files->Changed());
  f.Put("fleets/f1.crl.pem", Folder::Crl(f.f1_ca, {f.serial}, 1));
  CHECK(f.files->Changed());
  CHECK(f.Read() == "read, complaints 0");
  CHECK_FALSE(f.files->Changed());
  CHECK_FALSE(f.Gets());
  f.Put("fleets/f1.crl.pem", Folder::Crl(f.f1_ca, {}, 2));
  CHECK(f.files->Changed());
  CHECK(f.Read() == "read, complaints 0");
  CHECK(f.Gets());
}

TEST_CASE("trust: a list that is broken, another CA's, older or gone leaves the one before") {
  Folder f;
  f.Put("fleets/f1.crl.pem", Folder::Crl(f.f1_ca, {f.serial}, 5));
  REQUIRE(f.Read() == "read, complaints 0");
  for (const std::string& text : {std::string("noise"), std::string(),
                                  Folder::Crl(f.cell_ca, {}, 9), Folder::Crl(f.f1_ca, {}, 4)}) {
    f.Put("fleets/f1.crl.pem", text);
    CHECK(f.files->Changed());
    CHECK(f.Read() == "read, complaints 1");
    CHECK_FALSE(f.files->Changed());  // it is complained of once
    CHECK_FALSE(f.Gets());
  }
  std::filesystem::remove(f.At("fleets/f1.crl.pem"));
  CHECK(f.files->Changed());
  CHECK(f.Read() == "read, complaints 1");
  CHECK_FALSE(f.Gets());
}

TEST_CASE("trust: at start a fleet whose list cannot be read is not taken over") {
  Folder f;
  f.Put("fleets/f1.crl.pem", "noise");
  CHECK(f.Read() == "read, complaints 1");
  CHECK_FALSE(f.Gets());
  f.Put("fleets/f1.crl.pem", Folder::Crl(f.f1_ca, {}, 1));
  CHECK(f.Read() == "read, complaints 0");
  CHECK(f.Gets());
}

TEST_CASE("trust: the cell's list revokes bridges, and one that cannot be read is an error") {
  Folder f;
  const std::string bridge = Issue(BridgeIdentity{"main"}, f.cell_ca).first;
  const auto gets = [&] {
    return Identify({bridge, {}, {}, "bridge/main"}, *f.trust, kNow).has_value();
  };
  REQUIRE(f.Read() == "read, complaints 0");
  CHECK(gets());
  f.Put("cell.crl.pem", Folder::Crl(f.cell_ca, {Certificate::FromDer(bridge)->serial}, 1));
  CHECK(f.files->Changed());
  REQUIRE(f.Read() == "read, complaints 0");
  CHECK_FALSE(gets());
  f.Put("cell.crl.pem", "noise");
  CHECK(f.Read() == "read, complaints 1");
  CHECK_FALSE(gets());
  f.trust.reset();
  CHECK(f.Read() == "REASON_BAD_CERTIFICATE");
}

TEST_CASE("trust: a list past its next update is used and complained of") {
  Folder f;
  f.Put("fleets/f1.crl.pem",
        Folder::Crl(f.f1_ca, {f.serial}, 1, kNow - std::chrono::hours(24 * 30)));
  CHECK(f.Read() == "read, complaints 1");
  CHECK_FALSE(f.Gets());
}

TEST_CASE("trust: fleets come and go with their files, and a torn one costs nobody else") {
  Folder f;
  REQUIRE(f.Read() == "read, complaints 0");
  f.Put("fleets/f2.pem", tools::MakeCa("f2", kNow, 3650).certificate_pem);
  CHECK(f.files->Changed());
  CHECK(f.Read() == "read, complaints 0");
  CHECK(f.trust->FindFleetCa("f2") != nullptr);
  const std::string before = *f.trust->FindFleetCa("f2");
  f.Put("fleets/f2.pem", "torn");
  f.Put("fleets/f3.pem", "torn");
  f.Put("fleets/Not A Fleet.pem", "x");
  f.Put("fleets/f1.crl.pem", Folder::Crl(f.f1_ca, {f.serial}, 1));
  CHECK(f.Read() == "read, complaints 3");
  CHECK(*f.trust->FindFleetCa("f2") == before);
  CHECK(f.trust->FindFleetCa("f3") == nullptr);
  CHECK_FALSE(f.Gets());
  for (const char* name : {"fleets/f2.pem", "fleets/f3.pem", "fleets/Not A Fleet.pem"}) {
    std::filesystem::remove(f.At(name));
  }
  CHECK(f.Read() == "read, complaints 0");
  CHECK(f.trust->fleet_cas.size() == 1);
}

TEST_CASE("trust: at start what cannot be read or named is an error") {
  Folder f;
  f.Put("fleets/Not A Fleet.pem", "x");
  CHECK(Said(f.files->Read(nullptr, kNow)) == "REASON_MALFORMED");
  std::filesystem::remove(f.At("fleets/Not A Fleet.pem"));
  f.Put("fleets/f1.pem", "torn");
  CHECK(Said(f.files->Read(nullptr, kNow)) == "REASON_BAD_CERTIFICATE");
  std::filesystem::remove_all(f.At("fleets"));
  CHECK(Said(f.files->Read(nullptr, kNow)) == "REASON_MALFORMED");
}

}  // namespace
}  // namespace latchkey::auth
