// A car's sessions through the real broker: why each ended, what went by, and what the doctor says.
#include <chrono>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "latchkey/v1/presence.pb.h"
#include "latchkey/v1/state.pb.h"
#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

using nlohmann::json;

json Sessions(const Cell& cell) {
  const json page = json::parse(HttpGet(cell.http_port(), "/v1/sessions?fleet=demo&car=car-1").body,
                                nullptr, false);
  return page.is_object() && page.contains("sessions") ? page["sessions"] : json::array();
}

// "connection_ended timed_out".
std::string Reasons(const Cell& cell) {
  std::string text;
  for (const json& session : Sessions(cell)) {
    text += (text.empty() ? "" : " ") + session["reason"].get<std::string>();
  }
  return text;
}

bool Online(const Cell& cell) {
  const json page =
      json::parse(HttpGet(cell.http_port(), "/v1/cars/demo/car-1").body, nullptr, false);
  return page.is_object() && page.contains("online") && page["online"] == true;
}

std::string LinkState() {
  v1::StateGroup state;
  state.set_observed_at_ms(static_cast<uint64_t>(UnixMs()));
  state.set_sequence(1);
  state.mutable_link()->mutable_radio()->set_value("LTE");
  state.mutable_link()->mutable_network()->set_value("north");
  state.mutable_link()->mutable_signal()->set_value(-97);
  return state.SerializeAsString();
}

}  // namespace

TEST_CASE("each session of a car is kept with why it ended and what went by") {
  Cell cell;
  cell.StartBroker();
  cell.StartBridge();
  const CarRef ref{FleetId::Parse("demo").value(), CarId::Parse("car-1").value()};
  {
    RawClient car(cell.AsCar(ref));
    REQUIRE(car.Connect() == 0);
    REQUIRE(car.Subscribe("lk/1/demo/car-1/command/+") == 1);
    REQUIRE(car.Send({StateTopic(ref, Group::kLink), LinkState(), 1, Retain::kYes, 0}) == 0);
    REQUIRE(Eventually([&] { return Online(cell); }));
  }
  REQUIRE(Eventually([&] { return Reasons(cell) == "connection_ended"; }));
  const json first = Sessions(cell)[0];
  CHECK(first["messages_from_car"] == 1);
  CHECK(first["bytes_from_car"] == LinkState().size());
  CHECK(first["radio"] == "LTE");
  CHECK(first["network"] == "north");
  CHECK(first["signal_dbm_min"] == -97);
  CHECK(first["keep_alive_s"] == 60);
  CHECK(first["address_kind"] == "loopback");

  RawOptions silent = cell.AsCar(ref);
  silent.keep_alive_s = 1;
  RawClient quiet(silent);
  REQUIRE(quiet.Connect() == 0);
  // The broker looks for the silent every few seconds.
  REQUIRE(Eventually([&] { return Reasons(cell) == "connection_ended timed_out"; }));
  CHECK(Sessions(cell)[1]["silence_at_end_ms"] >= 1500);

  RawClient older(cell.AsCar(ref));
  REQUIRE(older.Connect() == 0);
  RawClient newer(cell.AsCar(ref));
  REQUIRE(newer.Connect() == 0);
  REQUIRE(Eventually([&] { return Reasons(cell) == "connection_ended timed_out taken_over"; }));
  CHECK(Online(cell));

  // A restart of the bridge keeps none of them twice; one of the broker ends the last.
  cell.bridge().Kill();
  cell.StartBridge();
  REQUIRE(Eventually([&] { return Online(cell); }));
  CHECK(Sessions(cell).size() == 3);
  cell.broker().Kill();
  cell.StartBroker();
  RawClient back(cell.AsCar(ref));
  REQUIRE(back.Connect() == 0);
  REQUIRE(Eventually(
      [&] { return Reasons(cell) == "connection_ended timed_out taken_over broker_restart"; }));
  CHECK(Sessions(cell)[3]["ended_at_ms"].is_null());

  const Ran doctor = cell.Latchkey({"doctor", "car-1", "--fleet", "demo"});
  INFO(doctor.output);
  CHECK(doctor.exit_code == 0);
  CHECK(doctor.output.find("demo/car-1: not_enough_data") == 0);
  CHECK(doctor.output.find("timed_out") != std::string::npos);
  const json fleet =
      json::parse(cell.Latchkey({"--json", "doctor", "--fleet", "demo"}).output, nullptr, false);
  REQUIRE(fleet.is_object());
  CHECK(fleet["cars"][0]["server_ends"] == 1);
  CHECK(cell.Latchkey({"doctor", "--fleet", "nobody"}).exit_code == 1);
}

}  // namespace latchkey::testing
