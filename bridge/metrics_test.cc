// The metrics page: names, labels and the histogram as Prometheus reads them.
#include "bridge/metrics.h"

#include <string>

#include <doctest/doctest.h>

namespace latchkey::bridge {

namespace {

bool Has(const std::string& page, const std::string& line) {
  return ("\n" + page).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("metrics: counters, gauges and labels are on the page") {
  Status status;
  status.counters.messages = 7;
  status.counters.refused[v1::REASON_EXPIRED] = 3;
  status.counters.outcomes[v1::RECEIPT_STATE_DONE] = 2;
  status.gauges.cars_online = 5;
  status.broker_connected = true;
  status.store_error = "no room";
  status.counters.sms_sent = 4;
  status.log.entries = 11;
  status.log.head.sequence = 12;
  status.log.bytes = 13;
  const std::string page = MetricsText(status);
  CHECK(Has(page, "latchkey_messages_total 7"));
  CHECK(Has(page, "latchkey_refused_total{at=\"bridge\",reason=\"expired\"} 3"));
  CHECK(Has(page, "latchkey_outcomes_total{state=\"done\"} 2"));
  CHECK(Has(page, "latchkey_cars_online 5"));
  CHECK(Has(page, "latchkey_mqtt_connected 1"));
  CHECK(Has(page, "latchkey_store_writable 0"));
  CHECK(Has(page, "latchkey_sms_sent_total 4"));
  CHECK(Has(page, "latchkey_log_entries 11"));
  CHECK(Has(page, "latchkey_log_head_sequence 12"));
  CHECK(Has(page, "latchkey_log_bytes 13"));
}

TEST_CASE("metrics: what the broker refused and how it stands is on the page") {
  Status status;
  CHECK_FALSE(Has(MetricsText(status), "latchkey_certificate_first_expiry_seconds 0"));
  status.broker.refused = {{{"message", "full"}, 5}, {{"connect", "blocked"}, 1}};
  status.broker.numbers = {{"rings", 40}, {"sessions", 12}};
  status.gauges.certificates_expiring_30d = 2;
  status.gauges.certificate_first_expiry_ms = 1'900'000'000'000;
  status.gauges.blocks_standing = 3;
  status.certificates = {{"bridge", "", Timestamp{2'000'000'000'000}},
                         {"fleet_ca", "demo", Timestamp{2'000'000'000'500}}};
  const std::string page = MetricsText(status);
  CHECK(Has(page, "latchkey_broker_refused_total{at=\"message\",reason=\"full\"} 5"));
  CHECK(Has(page, "latchkey_broker_refused_total{at=\"connect\",reason=\"blocked\"} 1"));
  CHECK(Has(page, "latchkey_broker_rings 40"));
  CHECK(Has(page, "latchkey_broker_sessions 12"));
  CHECK(Has(page, "latchkey_certificates_expiring_30d 2"));
  CHECK(Has(page, "latchkey_certificate_first_expiry_seconds 1900000000"));
  CHECK(Has(page, "latchkey_certificate_expiry_seconds{holder=\"bridge\"} 2000000000"));
  CHECK(
      Has(page,
          "latchkey_certificate_expiry_seconds{holder=\"fleet_ca\",fleet=\"demo\"} 2000000000.5"));
  CHECK(Has(page, "latchkey_blocks_standing 3"));
  CHECK(Has(page, "latchkey_blocks_agreed 0"));
  CHECK(Has(page, "latchkey_retained_complete 0"));
  status.gauges.broker_has_all = true;
  CHECK(Has(MetricsText(status), "latchkey_retained_complete 1"));
}

TEST_CASE("metrics: cars by freshness and wrong clocks are on the page") {
  Status status;
  status.gauges.cars_by_freshness = {5, 4, 3, 0};
  status.gauges.clocks_ahead = 2;
  status.gauges.clocks_behind = 1;
  status.counters.clocks_jumped_back = 6;
  status.counters.clocks_jumped_forward = 7;
  const std::string page = MetricsText(status);
  CHECK(Has(page, "latchkey_cars_freshness{freshness=\"live\"} 5"));
  CHECK(Has(page, "latchkey_cars_freshness{freshness=\"recent\"} 4"));
  CHECK(Has(page, "latchkey_cars_freshness{freshness=\"stale\"} 3"));
  CHECK(Has(page, "latchkey_car_clocks_wrong{clock=\"ahead\"} 2"));
  CHECK(Has(page, "latchkey_car_clocks_wrong{clock=\"behind\"} 1"));
  CHECK(Has(page, "latchkey_car_clock_jumps_total{way=\"back\"} 6"));
  CHECK(Has(page, "latchkey_car_clock_jumps_total{way=\"forward\"} 7"));
}

TEST_CASE("metrics: buckets of the commit histogram add up") {
  Status status;
  status.commit_seconds = {1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4};
  status.commit_seconds_sum = 9.5;
  const std::string page = MetricsText(status);
  CHECK(Has(page, "latchkey_store_commit_seconds_bucket{le=\"0.001\"} 3"));
  CHECK(Has(page, "latchkey_store_commit_seconds_bucket{le=\"+Inf\"} 7"));
  CHECK(Has(page, "latchkey_store_commit_seconds_count 7"));
  CHECK(Has(page, "latchkey_store_commit_seconds_sum 9.5"));
}

TEST_CASE("metrics: a migration's phase and figures, and nothing of what is not known") {
  Status status;
  storage::MigrationStatus& stands = status.migration.status;
  stands.schema = 1;
  stands.phase = storage::MigrationPhase::kBackfill;
  stands.rows_done = 30;
  stands.rows_expected = 100;
  stands.differences = 2;
  stands.paused = true;
  stands.waits_for = "needs 812 MB";
  std::string page = MetricsText(status);
  CHECK(Has(page, "latchkey_store_schema 1"));
  CHECK(Has(page, "latchkey_migration_phase{phase=\"backfill\"} 1"));
  CHECK(Has(page, "latchkey_migration_phase{phase=\"none\"} 0"));
  CHECK(Has(page, "latchkey_migration_rows_done 30"));
  CHECK(Has(page, "latchkey_migration_rows_expected 100"));
  CHECK(Has(page, "latchkey_migration_differences 2"));
  CHECK(Has(page, "latchkey_migration_paused 1"));
  CHECK(Has(page, "latchkey_migration_waits 1"));
  CHECK(page.find("latchkey_migration_eta_seconds") == std::string::npos);
  CHECK(page.find("latchkey_migration_rows_per_second") == std::string::npos);
  status.migration.rows_per_second = 10;
  status.migration.left = Duration(7000);
  page = MetricsText(status);
  CHECK(Has(page, "latchkey_migration_rows_per_second 10"));
  CHECK(Has(page, "latchkey_migration_eta_seconds 7"));
}

}  // namespace latchkey::bridge
