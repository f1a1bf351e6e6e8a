// The simulation with fixed seeds; a failure prints its seed. sim_many_1 and
// sim_many_2 run it with fresh ones.
#include <iostream>
#include <sstream>

#include <doctest/doctest.h>

#include "tests/sim/world.h"

namespace latchkey::sim {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSteps = 2'000;
#else
constexpr uint64_t kSteps = 10'000;
#endif
constexpr uint64_t kFewSteps = 700;

void Run(uint64_t seed, uint64_t steps, Totals& totals, std::ostream* trace = nullptr) {
  uint64_t step = 0;
  try {
    World world(seed, trace);
    for (; step < steps; ++step) {
      world.Step();
    }
    world.Drain();
    totals.Add(world.totals());
  } catch (const std::exception& fault) {
    FAIL_CHECK("seed " << seed << " step " << step << ": " << std::string(fault.what())
                       << " (sim --seed " << seed << " --steps " << steps << " --trace 1)");
  }
}

std::string TraceOf(uint64_t seed) {
  std::ostringstream trace;
  Totals totals;
  Run(seed, kFewSteps, totals, &trace);
  return trace.str();
}

}  // namespace

TEST_CASE("sim: what must always hold does, for fixed seeds") {
  Totals totals;
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    Run(seed, kSteps, totals);
  }
  MESSAGE(totals.ToText());
  // Everything the simulation is about has happened, and more than once.
  constexpr uint64_t kMany = 200 * kSteps / 10'000;
  for (const uint64_t count :
       {uint64_t{totals.held}, uint64_t{totals.acted}, totals.crashes, totals.disk_failures,
        uint64_t{totals.unavailable}, uint64_t{totals.owners_blocks}, totals.sms}) {
    CHECK(count > kMany);
  }
  CHECK(totals.cancelled > kMany / 4);
  CHECK(totals.denied > kMany / 4);
  CHECK(totals.log_entries > 10 * kMany);
}

// What is unfinished when everything calms down is different each time.
TEST_CASE("sim: what must always hold does, for many short runs") {
  Totals totals;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Run(seed, kFewSteps, totals);
  }
}

TEST_CASE("sim: a seed replays exactly, with real signatures as without") {
  for (const uint64_t seed : {uint64_t{16}, uint64_t{17}}) {
    const std::string first = TraceOf(seed);
    CHECK(first.size() > 10'000);
    CHECK(first == TraceOf(seed));
  }
}

TEST_CASE(
    "sim: a real signature is judged once, and a wrong one is wrong "
    "however made") {
  const PhoneKeys& phone = PhoneOf("k1");
  const PublicKey key = phone.key.Public();
  for (const Signatures how : {Signatures::kReal, Signatures::kStandIn}) {
    UseSignatures(how);
    const std::string signature = phone.key.Sign("open");
    CHECK(key.Verify("open", signature));
    CHECK_FALSE(key.Verify("shut", signature));
    CHECK_FALSE(PhoneOf("k2").key.Public().Verify("open", signature));
    std::string wrong = signature;
    wrong[20] ^= 1;
    CHECK_FALSE(key.Verify("open", wrong));
    const uint64_t before = VerdictsRemembered();
    CHECK(key.Verify("open", signature));
    CHECK(VerdictsRemembered() == before + 1);
    CHECK(phone.key.Sign("open") == signature);
  }
}

}  // namespace latchkey::sim
