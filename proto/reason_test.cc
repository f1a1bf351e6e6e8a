// The table of refusals is whole, in the order of the schema, and says something to people.
#include "proto/reason.h"

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

namespace latchkey {
namespace {

TEST_CASE("reason: every value of the schema has its own word, made of its name") {
  std::set<std::string_view> words;
  for (int number = 1; number <= v1::Reason_MAX; ++number) {
    REQUIRE(v1::Reason_IsValid(number));
    const auto reason = static_cast<Reason>(number);
    std::string want;
    for (const char c : v1::Reason_Name(reason).substr(7)) {
      want += c == '_' ? c : static_cast<char>(c - 'A' + 'a');
    }
    CHECK(FactsOf(reason).word == want);
    words.insert(FactsOf(reason).word);
  }
  CHECK(words.size() == static_cast<size_t>(v1::Reason_MAX));
}

TEST_CASE("reason: the text says what happened and what to do, within a receipt's 256 bytes") {
  for (int number = 1; number <= v1::Reason_MAX; ++number) {
    const std::string_view text = FactsOf(static_cast<Reason>(number)).text;
    CAPTURE(text);
    CHECK(text.size() >= 40);
    CHECK(text.size() <= 256);
    CHECK(text.back() == '.');
    CHECK(text.find('!') == text.npos);
    CHECK(text.find(". ") != text.npos);
  }
}

TEST_CASE("reason: a text says that nothing happened only where the car cannot have acted") {
  for (int number = 1; number <= v1::Reason_MAX; ++number) {
    const ReasonFacts& facts = FactsOf(static_cast<Reason>(number));
    CAPTURE(facts.word);
    if (facts.text.find("Nothing happened") != facts.text.npos) {
      CHECK_FALSE(facts.may_have_acted);
    }
  }
  CHECK(FactsOf(v1::REASON_DUPLICATE).may_have_acted);
  CHECK(FactsOf(v1::REASON_CAR_FAILED).may_have_acted);
  CHECK(FactsOf(v1::REASON_OUTCOME_UNKNOWN).may_have_acted);
  CHECK_FALSE(FactsOf(v1::REASON_EXPIRED).may_have_acted);
  CHECK_FALSE(FactsOf(v1::REASON_CANCELLED).may_have_acted);
  CHECK_FALSE(FactsOf(v1::REASON_ENDED).may_have_acted);
}

TEST_CASE("reason: codes are error codes of MQTT 5.0 section 2.4") {
  const std::set<int> codes = {0x80, 0x83, 0x86, 0x87, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9c, 0x9d};
  for (int number = 1; number <= v1::Reason_MAX; ++number) {
    CHECK(codes.count(FactsOf(static_cast<Reason>(number)).mqtt5) == 1);
  }
  CHECK(FactsOf(v1::REASON_MALFORMED).mqtt5 == 0x99);
  CHECK(FactsOf(v1::REASON_TOO_LARGE).mqtt5 == 0x95);
  CHECK(FactsOf(v1::REASON_NOT_ON_RING).mqtt5 == 0x87);
  CHECK(FactsOf(v1::REASON_BAD_TOKEN).mqtt5 == 0x86);
  CHECK(FactsOf(v1::REASON_FULL).mqtt5 == 0x97);
  CHECK(FactsOf(v1::REASON_EXPIRED).mqtt5 == 0x83);
}

TEST_CASE("reason: the page for implementers says the same as the table") {
  std::ifstream file(std::string(LK_SOURCE_DIR) + "/proto/README.md");
  std::ostringstream page;
  page << file.rdbuf();
  for (int number = 1; number <= v1::Reason_MAX; ++number) {
    const ReasonFacts& facts = FactsOf(static_cast<Reason>(number));
    std::ostringstream row;
    row << "| `" << facts.word << "` | 0x" << std::hex << int{facts.mqtt5} << " | "
        << (facts.may_have_acted ? "yes" : "no") << " | " << (facts.retry_can_help ? "yes" : "no")
        << " |";
    CAPTURE(row.str());
    CHECK(page.str().find(row.str()) != std::string::npos);
  }
}

TEST_CASE("reason: no reason has no text, and a value from the future is treated as our fault") {
  CHECK(FactsOf(v1::REASON_UNSPECIFIED).mqtt5 == 0);
  CHECK(FactsOf(v1::REASON_UNSPECIFIED).text.empty());
  CHECK(FactsOf(static_cast<Reason>(v1::Reason_MAX + 1)).word == "internal");
  CHECK(FactsOf(static_cast<Reason>(-1)).word == "internal");
  CHECK(FactsOf(static_cast<Reason>(2000000000)).word == "internal");
}

}  // namespace
}  // namespace latchkey
