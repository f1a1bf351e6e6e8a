// Phones' passwords. Input: user name, LF, JWT.
#include "proto/token.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  constexpr Timestamp kNow{1'700'000'000'000};
  std::string_view jwt = input;
  const std::string_view user = TakeUntil(jwt, '\n');
  const Result<Token> token = CheckToken(jwt, user, "cell1", kNow);
  if (token) {
    Require(token->key_id.str() == user, "the user name is the key's id");
    Require(token->key_id == token->public_key.Id(), "the id is of the key");
    Require(token->expires_at > kNow, "a token that passes is alive");
    Require(token->expires_at <= kNow + kTokenLifetimeMax + kTokenSkew, "and not for too long");
    Require(!CheckToken(jwt, user, "cell2", kNow), "a token is for one cell");
  }
}

}  // namespace latchkey::fuzz
