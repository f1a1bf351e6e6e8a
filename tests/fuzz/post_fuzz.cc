// What is posted to the bridge's HTTP. The first byte says where: 'm' an order for the migration,
// 'b' a backup, 'i' an import, 'e' an erasure; the rest is the body, of somebody who has the token.
#include <string>

#include <nlohmann/json.hpp>

#include "bridge/core/imports.h"
#include "bridge/http_backup.h"
#include "bridge/http_erase.h"
#include "bridge/http_import.h"
#include "bridge/http_migration.h"
#include "proto/state.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_fixtures.h"

namespace latchkey::fuzz {
namespace {

constexpr size_t kWhoBytesMax = 64;

// What every door has for whoever it lets in.
void CheckName(const std::string& who) {
  Require(!who.empty() && who.size() <= kWhoBytesMax, "who asks has a name of bounded length");
  for (const char c : who) {
    Require(static_cast<unsigned char>(c) >= ' ', "a name is one line");
  }
}

bridge::HttpAnswer PostOrder(const bridge::AdminPost& post) {
  const bridge::MigrationOrders orders{
      "t",
      [](storage::MigrationOrder /*order*/, const std::string& who) {
        CheckName(who);
        return std::optional<bridge::MigrationAnswer>();
      },
      [](const std::string& who) -> Result<bridge::RehearsalCopy> {
        CheckName(who);
        return bridge::RehearsalCopy{"folder", 1};
      }};
  return bridge::OrderMigration(orders, post, [] { return bridge::Status(); }, testing::kNow);
}

bridge::HttpAnswer PostImport(const bridge::AdminPost& post) {
  const bridge::ImportDoor door{"t", [](const bridge::Import& import) {
                                  Require(import.states.size() <= bridge::kImportStatesMax,
                                          "an import keeps its bound");
                                  for (const bridge::ImportedState& state : import.states) {
                                    Require(state.payload.size() <= kStateBytesMax, "so do states");
                                  }
                                  if (import.begin) {
                                    CheckName(import.begin->who);
                                  }
                                  if (import.end) {
                                    CheckName(import.end->who);
                                  }
                                  return std::optional<bridge::ImportAnswer>();
                                }};
  return bridge::TakeImportPost(door, post, "");
}

bridge::HttpAnswer PostErasure(const bridge::AdminPost& post) {
  const bridge::EraseDoor door{
      "t", [](const std::variant<CarRef, KeyId>& /*of*/, const std::string& who) {
        CheckName(who);
        return std::optional<uint64_t>(7);
      }};
  return bridge::BeginErasure(door, post, true);
}

}  // namespace

void Try(std::string_view input) {
  if (input.empty()) {
    return;
  }
  const bridge::AdminPost post{"Bearer t", std::string(input.substr(1))};
  bridge::HttpAnswer answer;
  if (input[0] == 'm') {
    answer = PostOrder(post);
  } else if (input[0] == 'b') {
    answer = bridge::BeginBackup({"t", nullptr}, post);
  } else if (input[0] == 'i') {
    answer = PostImport(post);
  } else if (input[0] == 'e') {
    answer = PostErasure(post);
  } else {
    return;
  }
  Require(answer.status != 401, "who has the token is let in");
  const auto json = nlohmann::json::parse(answer.json, nullptr, false);
  Require(json.is_object(), "an answer is JSON");
  Require(answer.status < 300 || json.contains("error"), "and says what is wrong");
}

}  // namespace latchkey::fuzz
