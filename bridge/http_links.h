// What HTTP serves of links: the sessions of a car, and what the doctor says of a car or a fleet.
// Bounded: at most kSessionsScannedMax records of the fleet are read for a doctor's answer.
//
//   GET /v1/sessions?fleet=F&car=C[&since=MS][&until=MS][&limit=N]
//       {"now_ms", "fleet", "car", "truncated", "sessions": [{"began_at_ms", "ended_at_ms",
//       "duration_ms", "reason", "address_kind", "messages_from_car", "bytes_from_car",
//       "messages_to_car", "bytes_to_car", "longest_silence_ms", "silence_at_end_ms",
//       "keep_alive_s", "radio", "network", "signal_dbm_min", "area_at_begin", "area_at_end",
//       "stays": [{"area", "online_ms"}]}]}:
//       sessions that have ended, the newest N that began in since <= began_at_ms < until, newest
//       last. ended_at_ms and duration_ms are null when the broker restarted; reason is "",
//       "connection_ended", "broker_restart", "timed_out", "taken_over" or "kicked"; what is not
//       known is 0 or "".
//   GET /v1/doctor?fleet=F[&car=C][&since=MS]
//       {"now_ms", "since_ms", "fleet", "truncated", "cars": [{"fleet", "car", "verdict", "words",
//       "online_part", "observed_ms", "online_ms", "sessions", "drops", "drops_per_day",
//       "fleet_drops_per_day", "timed_out", "taken_over", "rests", "server_ends",
//       "signal_dbm_min", "areas": [{"area", "drops", "online_ms"}], "networks": [{"network",
//       "drops", "online_ms"}]}]}: what was looked at begins at since (7 days ago); of a fleet,
//       worst first. verdict is healthy, power_save, server_side, bad_network, bad_coverage,
//       bad_unit or not_enough_data (core/doctor.h)
#pragma once

#include <cstddef>

#include "bridge/http_answer.h"
#include "proto/time.h"
#include "storage/store.h"

namespace latchkey::bridge {

inline constexpr size_t kSessionsShownMax = 5000;
inline constexpr size_t kSessionsShownDefault = 1000;
inline constexpr size_t kSessionsScannedMax = 2'000'000;
inline constexpr Duration kDoctorLooksBack = std::chrono::hours(24 * 7);

// 400 when a parameter is not what it should be, 404 when nothing is known of the car or fleet, 503
// when the store cannot be read.
HttpAnswer SessionsPage(const storage::Reader& reader, const Parameter& parameter, Timestamp now);
HttpAnswer DoctorPage(const storage::Reader& reader, const Parameter& parameter, Timestamp now);

}  // namespace latchkey::bridge
