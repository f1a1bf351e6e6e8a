// Importing by HTTP: who may, what is taken apart, and what is answered.
#include "bridge/http_import.h"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

namespace latchkey::bridge {

namespace {

using nlohmann::json;

constexpr const char* kGood =
    R"({"states":[{"fleet":"f","car":"c","group":"energy","state":"AAAA"}]})";

struct World {
  HttpAnswer Posts(const std::string& body, const std::string& authorization = "Bearer t0ken") {
    return TakeImportPost(door, {authorization, body}, store_error);
  }

  std::optional<Import> import;
  bool stuck = false;
  std::string store_error;
  ImportDoor door{"t0ken", [this](Import given) -> std::optional<ImportAnswer> {
                    import = std::move(given);
                    if (stuck) {
                      return std::nullopt;
                    }
                    return ImportAnswer{1,
                                        {{StateImported::Word::kHeld, v1::REASON_UNSPECIFIED},
                                         {StateImported::Word::kRefused, v1::REASON_FULL}},
                                        2,
                                        3};
                  }};
};

}  // namespace

TEST_CASE("http import: only who has the word may, and nothing is set going without") {
  World world;
  CHECK(world.Posts(kGood, "").status == 401);
  CHECK(world.Posts(kGood, "Bearer t0kem").status == 401);
  CHECK(!world.import);
  world.door.token = "";
  CHECK(world.Posts(kGood, "Bearer ").status == 401);
}

TEST_CASE("http import: states and an end are taken apart, and what became of each is answered") {
  World world;
  const HttpAnswer answer = world.Posts(kGood);
  CHECK(answer.status == 200);
  const json said = json::parse(answer.json);
  CHECK(said["states"][0]["word"] == "held");
  CHECK(said["states"][1]["why"] == "full");
  CHECK(said["history_kept"] == 2);
  CHECK(said["history_old"] == 3);
  REQUIRE(world.import);
  REQUIRE(world.import->states.size() == 1);
  CHECK(world.import->states[0].group == Group::kEnergy);
  CHECK(world.import->states[0].payload == std::string(3, '\0'));
  CHECK(world.Posts(R"({"end":{"source":"import:x","who":"a\nb","taken":7}})").status == 200);
  REQUIRE(world.import->end);
  CHECK(world.import->end->who == "a b");
  CHECK(world.import->end->taken == 7);
}

TEST_CASE("http import: what is malformed, too much, or cannot be kept is refused") {
  World world;
  for (const char* body :
       {"", "{}", "[]", "{\"states\":[]}", "{\"states\":[1]}", "{\"end\":{}}",
        R"({"states":[{"fleet":"F!","car":"c","group":"energy","state":"AAAA"}]})",
        R"({"states":[{"fleet":"f","car":"c","group":"nothing","state":"AAAA"}]})",
        R"({"states":[{"fleet":"f","car":"c","group":"energy","state":"A"}]})",
        R"({"states":[{"fleet":"f","car":"c","group":"energy"}]})"}) {
    CHECK(world.Posts(body).status == 400);
  }
  json many = {{"states", json::array()}};
  for (int i = 0; i < 257; ++i) {
    many["states"].push_back(json::parse(kGood)["states"][0]);
  }
  CHECK(world.Posts(many.dump()).status == 400);
  CHECK(world.Posts(std::string(kImportPostBytesMax + 1, ' ')).status == 413);
  CHECK(!world.import);
  world.stuck = true;
  CHECK(world.Posts(kGood).status == 503);
  world.store_error = "disk full";
  CHECK(world.Posts(kGood).json.find("disk full") != std::string::npos);
}

}  // namespace latchkey::bridge
