// The folder of fleets' CAs as files come, change, break and go.
#include "bridge/ca_folder.h"

#include <fstream>

#include <doctest/doctest.h>
#include <stdlib.h>

#include "bridge/core/story.h"

namespace latchkey::bridge {

namespace {

namespace fs = std::filesystem;

struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "lk_cas_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }

  ~Folder() { fs::remove_all(path); }

  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void Put(const std::string& name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
  }

  fs::path path;
};

}  // namespace

TEST_CASE("ca folder: fleets that come later are told once, a broken file takes nothing away") {
  const Folder folder;
  const std::string one = SharedKeys().ca.certificate_pem;
  const std::string other = SharedKeys().other_ca.certificate_pem;
  std::vector<std::string> log;
  CaFolder cas(folder.path, [&](const LogEvent& event) { log.push_back(event.event); });
  folder.Put("f.pem", one);
  folder.Put("f.crl.pem", "a revocation list: not this folder's reader's");
  folder.Put("notes.txt", "x");
  REQUIRE(cas.Read().has_value());
  CHECK(cas.Read()->size() == 1);
  CHECK_FALSE(cas.Poll().has_value());
  folder.Put("g.pem", other);
  const std::optional<FleetCas> both = cas.Poll();
  REQUIRE(both.has_value());
  CHECK(both->size() == 2);
  CHECK(both->at(FleetId::Parse("g").value()) == PemToDer(other).value());
  CHECK_FALSE(cas.Poll().has_value());
  CHECK(log == std::vector<std::string>{"fleet_ca_read"});
  folder.Put("g.pem", "half a fi");
  CHECK_FALSE(cas.Poll().has_value());
  CHECK_FALSE(cas.Poll().has_value());
  folder.Put("Not A Fleet.pem", one);
  CHECK_FALSE(cas.Poll().has_value());
  CHECK(log == std::vector<std::string>{"fleet_ca_read", "fleet_ca_unusable", "fleet_ca_unusable"});
  folder.Put("g.pem", one);
  REQUIRE(cas.Poll().has_value());
  fs::remove(folder.path / "f.pem");
  CHECK_FALSE(cas.Poll().has_value());
}

TEST_CASE("ca folder: at the start everything in it must be usable, and the folder be there") {
  const Folder folder;
  const auto nowhere = [](const LogEvent&) {};
  folder.Put("f.pem", "nonsense");
  const auto refused = CaFolder(folder.path, nowhere).Read();
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().text.find("f.pem is not a fleet's CA certificate") != std::string::npos);
  CHECK_FALSE(CaFolder(folder.path / "gone", nowhere).Read().has_value());
  CHECK_FALSE(CaFolder(folder.path / "gone", nowhere).Poll().has_value());
}

}  // namespace latchkey::bridge
