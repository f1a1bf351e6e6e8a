// The door to prometheus-cpp. Its registry is not used: the runner's status is one consistent copy,
// and is written out as it is.
#include "bridge/metrics.h"

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "proto/reason.h"
#include "proto/receipt.h"

namespace latchkey::bridge {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

std::string LowerText(v1::ReceiptState state) {
  std::string text(ToText(state));
  for (char& c : text) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

class Families {
 public:
  void Counter(std::string name, std::string help, uint64_t value) {
    MetricFamily& family = Add(std::move(name), std::move(help), MetricType::Counter);
    family.metric.emplace_back().counter.value = static_cast<double>(value);
  }

  void Gauge(std::string name, std::string help, double value) {
    MetricFamily& family = Add(std::move(name), std::move(help), MetricType::Gauge);
    family.metric.emplace_back().gauge.value = value;
  }

  MetricFamily& Add(std::string name, std::string help, MetricType type) {
    MetricFamily& family = families.emplace_back();
    family.name = std::move(name);
    family.help = std::move(help);
    family.type = type;
    return family;
  }

  std::vector<MetricFamily> families;
};

void AddCounters(const Counters& counters, Families& out) {
  out.Counter("latchkey_messages_total", "Messages taken from the broker.", counters.messages);
  out.Counter("latchkey_state_stored_total", "State groups stored.", counters.state_stored);
  out.Counter("latchkey_state_older_total", "State groups not newer than the one held.",
              counters.state_older);
  out.Counter("latchkey_history_samples_total", "Samples of signals taken for the history.",
              counters.history_samples);
  out.Counter("latchkey_history_left_out_total",
              "Messages of state that the history has no sample of, to stay within its bound.",
              counters.history_left_out);
  out.Counter("latchkey_history_written_total", "Pieces of history written to the store.",
              counters.history_written);
  out.Counter("latchkey_sessions_kept_total", "Sessions of cars that ended and are kept.",
              counters.sessions_kept);
  out.Counter("latchkey_sessions_left_out_total",
              "Sessions of cars that are not kept: too many of one car in a day.",
              counters.sessions_left_out);
  out.Counter("latchkey_rings_stored_total", "Key rings stored.", counters.rings_stored);
  out.Counter("latchkey_commands_seen_total", "Commands seen.", counters.commands_seen);
  out.Counter("latchkey_commands_held_total", "Commands held for a car that is away.",
              counters.commands_held);
  out.Counter("latchkey_commands_delivered_total", "Publishes of held commands, repeats included.",
              counters.commands_delivered);
  out.Counter("latchkey_commands_closed_total", "Commands that got their outcome.",
              counters.commands_closed);
  out.Counter("latchkey_republished_total", "State and rings the broker had lost.",
              counters.republished);
  out.Counter("latchkey_blocks_set_total", "Keys blocked because their owner removes them.",
              counters.blocks_set);
  out.Counter("latchkey_blocks_lifted_total", "Of those, lifted when the car had answered.",
              counters.blocks_lifted);
  out.Counter("latchkey_blocks_taken_total", "Blocks set or lifted by others.",
              counters.blocks_taken);
  out.Counter("latchkey_block_requests_unanswered_total",
              "Requests about blocks that the broker never answered.",
              counters.block_requests_unanswered);
  out.Counter("latchkey_sms_sent_total", "SMS handed to the gateway.", counters.sms_sent);
  out.Counter("latchkey_sms_delivered_total", "SMS that reached their car, as the gateway reports.",
              counters.sms_delivered);
  out.Counter("latchkey_sms_failed_total", "SMS that will not arrive, as the gateway reports.",
              counters.sms_failed);
  out.Counter("latchkey_wakes_skipped_total",
              "Commands that woke no car because it had its SMS of the day.",
              counters.wakes_skipped);
  out.Counter("latchkey_broker_events_left_out_total",
              "Entries for the log that the broker left out, too many at once.",
              counters.events_left_out);
  MetricFamily& jumps = out.Add("latchkey_car_clock_jumps_total",
                                "Times that a car's clock was seen to jump.", MetricType::Counter);
  for (const auto& [way, count] : {std::pair("forward", counters.clocks_jumped_forward),
                                   std::pair("back", counters.clocks_jumped_back)}) {
    ClientMetric& metric = jumps.metric.emplace_back();
    metric.label = {{"way", way}};
    metric.counter.value = static_cast<double>(count);
  }
  out.Counter("latchkey_conflicts_total",
              "Final receipts of cars other than the outcome that stands.", counters.conflicts);
  MetricFamily& refused =
      out.Add("latchkey_refused_total", "Refusals by reason.", MetricType::Counter);
  for (const auto& [number, count] : counters.refused) {
    ClientMetric& metric = refused.metric.emplace_back();
    metric.label = {{"at", "bridge"},
                    {"reason", std::string(FactsOf(static_cast<Reason>(number)).word)}};
    metric.counter.value = static_cast<double>(count);
  }
  MetricFamily& outcomes =
      out.Add("latchkey_outcomes_total", "Outcomes of commands.", MetricType::Counter);
  for (const auto& [number, count] : counters.outcomes) {
    ClientMetric& metric = outcomes.metric.emplace_back();
    metric.label = {{"state", LowerText(static_cast<v1::ReceiptState>(number))}};
    metric.counter.value = static_cast<double>(count);
  }
}

constexpr double kMsPerSecond = 1000;

void AddBroker(const BrokerFigures& broker, Families& out) {
  MetricFamily& refused =
      out.Add("latchkey_broker_refused_total",
              "What the broker's plugins refused, since its start.", MetricType::Counter);
  for (const auto& [place, count] : broker.refused) {
    ClientMetric& metric = refused.metric.emplace_back();
    metric.label = {{"at", place.first}, {"reason", place.second}};
    metric.counter.value = static_cast<double>(count);
  }
  for (const auto& [name, number] : broker.numbers) {
    out.Gauge("latchkey_broker_" + name, "As the broker's plugins tell it.",
              static_cast<double>(number));
  }
}

void AddCertificates(const Status& status, Families& out) {
  out.Gauge("latchkey_certificates_expiring_30d",
            "Cars whose certificate runs out within 30 days, or has.",
            static_cast<double>(status.gauges.certificates_expiring_30d));
  if (status.gauges.certificate_first_expiry_ms != 0) {
    out.Gauge("latchkey_certificate_first_expiry_seconds",
              "When the first certificate of a car runs out, since 1970.",
              static_cast<double>(status.gauges.certificate_first_expiry_ms) / kMsPerSecond);
  }
  MetricFamily& ends =
      out.Add("latchkey_certificate_expiry_seconds",
              "When a certificate the bridge rests on runs out, since 1970.", MetricType::Gauge);
  for (const CertificateEnd& end : status.certificates) {
    ClientMetric& metric = ends.metric.emplace_back();
    metric.label = {{"holder", end.holder}};
    if (!end.fleet.empty()) {
      metric.label.push_back({"fleet", end.fleet});
    }
    metric.gauge.value = static_cast<double>(end.not_after.ms) / kMsPerSecond;
  }
}

// How far what is known of cars can be trusted.
void AddTrust(const Gauges& gauges, Families& out) {
  MetricFamily& cars = out.Add("latchkey_cars_freshness",
                               "Cars by the best word for any of their state, as counted in the "
                               "last half minute.",
                               MetricType::Gauge);
  for (const Freshness word : {Freshness::kLive, Freshness::kRecent, Freshness::kStale}) {
    ClientMetric& metric = cars.metric.emplace_back();
    metric.label = {{"freshness", std::string(ToText(word))}};
    metric.gauge.value = static_cast<double>(gauges.cars_by_freshness[static_cast<size_t>(word)]);
  }
  MetricFamily& clocks =
      out.Add("latchkey_car_clocks_wrong", "Cars whose clock is wrong now.", MetricType::Gauge);
  for (const auto& [word, count] : {std::pair(ClockWord::kAhead, gauges.clocks_ahead),
                                    std::pair(ClockWord::kBehind, gauges.clocks_behind)}) {
    ClientMetric& metric = clocks.metric.emplace_back();
    metric.label = {{"clock", std::string(ToText(word))}};
    metric.gauge.value = static_cast<double>(count);
  }
}

void AddCommits(const Status& status, Families& out) {
  out.Counter("latchkey_store_commits_total", "Commits that worked.", status.commits);
  out.Counter("latchkey_store_commits_failed_total", "Commits that failed.", status.commits_failed);
  out.Gauge("latchkey_store_records_damaged", "Damaged records found at the last load.",
            static_cast<double>(status.records_damaged));
  out.Gauge("latchkey_store_writable", "1 while the store can write.",
            status.store_error.empty() ? 1 : 0);
  out.Gauge("latchkey_log_entries", "Entries of the log that are kept.",
            static_cast<double>(status.log.entries));
  out.Gauge("latchkey_log_head_sequence", "Sequence of the newest entry of the log.",
            static_cast<double>(status.log.head.sequence));
  out.Gauge("latchkey_log_bytes", "Bytes of the log's records that are kept, about.",
            static_cast<double>(status.log.bytes));
  MetricFamily& family =
      out.Add("latchkey_store_commit_seconds", "Duration of commits.", MetricType::Histogram);
  ClientMetric::Histogram& histogram = family.metric.emplace_back().histogram;
  uint64_t count = 0;
  for (size_t i = 0; i < kCommitSecondsBounds.size(); ++i) {
    count += status.commit_seconds.at(i);
    ClientMetric::Bucket bucket;
    bucket.cumulative_count = count;
    bucket.upper_bound = kCommitSecondsBounds.at(i);
    histogram.bucket.push_back(bucket);
  }
  histogram.sample_count = count + status.commit_seconds.back();
  histogram.sample_sum = status.commit_seconds_sum;
}

void AddMigration(const Status& status, Families& out) {
  const MigrationFigures& figures = status.migration;
  const storage::MigrationStatus& stands = figures.status;
  out.Gauge("latchkey_store_schema", "Version of the schema that is read.", stands.schema);
  MetricFamily& phase =
      out.Add("latchkey_migration_phase", "1 for the phase in which the store's migration is.",
              MetricType::Gauge);
  for (const storage::MigrationPhase one :
       {storage::MigrationPhase::kNone, storage::MigrationPhase::kBackfill,
        storage::MigrationPhase::kFilled, storage::MigrationPhase::kVerified,
        storage::MigrationPhase::kDiffers, storage::MigrationPhase::kCutOver}) {
    ClientMetric& metric = phase.metric.emplace_back();
    metric.label = {{"phase", std::string(storage::MigrationPhaseName(one))}};
    metric.gauge.value = one == stands.phase ? 1 : 0;
  }
  out.Gauge("latchkey_migration_rows_done", "Rows that are swept.",
            static_cast<double>(stands.rows_done));
  out.Gauge("latchkey_migration_rows_expected", "Rows to sweep, about.",
            static_cast<double>(stands.rows_expected));
  if (figures.rows_per_second) {
    out.Gauge("latchkey_migration_rows_per_second", "Rows swept, within the last minute.",
              *figures.rows_per_second);
  }
  if (figures.left) {
    out.Gauge("latchkey_migration_eta_seconds", "How long the rest of the sweep takes, about.",
              static_cast<double>(figures.left->count()) / kMsPerSecond);
  }
  out.Gauge("latchkey_migration_bytes_written", "Written by the sweep.",
            static_cast<double>(stands.bytes_written));
  out.Gauge("latchkey_migration_damaged", "Rows that do not decode: left as they are.",
            static_cast<double>(stands.damaged));
  out.Gauge("latchkey_migration_compared", "Records that the last comparison compared.",
            static_cast<double>(stands.compared));
  out.Gauge("latchkey_migration_differences", "Of those, not the same in both shapes.",
            static_cast<double>(stands.differences));
  out.Gauge("latchkey_migration_paused", "1 while it is paused.", stands.paused ? 1 : 0);
  out.Gauge("latchkey_migration_waits", "1 while something is in its way: room, or the disk.",
            stands.waits_for.empty() ? 0 : 1);
  out.Gauge("latchkey_migration_comparing", "1 while both shapes are compared.",
            status.comparison.running ? 1 : 0);
  out.Gauge("latchkey_migration_share", "Share of time that the sweep may take now, at most.",
            figures.share);
  out.Counter("latchkey_migration_slices_total", "Slices that were swept.", figures.slices);
  MetricFamily& seconds =
      out.Add("latchkey_migration_slice_seconds_total", "Time they took.", MetricType::Counter);
  seconds.metric.emplace_back().counter.value = figures.slice_seconds_sum;
}

}  // namespace

std::string MetricsText(const Status& status) {
  Families out;
  AddCounters(status.counters, out);
  AddCommits(status, out);
  AddBroker(status.broker, out);
  AddCertificates(status, out);
  AddTrust(status.gauges, out);
  AddMigration(status, out);
  out.Gauge("latchkey_blocks_known",
            "Keys and places of which a block is known, standing or lifted.",
            static_cast<double>(status.gauges.blocks));
  out.Gauge("latchkey_blocks_standing", "Blocks that stand.",
            static_cast<double>(status.gauges.blocks_standing));
  out.Gauge("latchkey_blocks_agreed", "1 while broker and bridge hold the same blocks.",
            status.gauges.blocks_agreed ? 1 : 0);
  out.Gauge("latchkey_mqtt_connected", "1 while the broker is connected and subscribed.",
            status.broker_connected ? 1 : 0);
  out.Gauge(
      "latchkey_retained_complete",
      "1 when all that the broker lacked has been said; latchkey_words_waiting: is on its way.",
      status.gauges.broker_has_all ? 1 : 0);
  out.Gauge("latchkey_cars", "Cars known.", static_cast<double>(status.gauges.cars));
  out.Gauge("latchkey_cars_online", "Cars online.", static_cast<double>(status.gauges.cars_online));
  out.Gauge("latchkey_cars_awaited",
            "Cars that were online before the broker restarted and are not back yet.",
            static_cast<double>(status.gauges.cars_awaited));
  out.Gauge("latchkey_commands_open", "Commands without an outcome.",
            static_cast<double>(status.gauges.commands_open));
  out.Gauge("latchkey_commands_held", "Commands held now.",
            static_cast<double>(status.gauges.commands_held));
  out.Gauge("latchkey_intake_waiting", "Inputs that wait for the core.",
            static_cast<double>(status.intake));
  out.Gauge("latchkey_words_waiting", "Publishes that wait for the network.",
            static_cast<double>(status.backlog));
  return prometheus::TextSerializer().Serialize(out.families);
}

}  // namespace latchkey::bridge
