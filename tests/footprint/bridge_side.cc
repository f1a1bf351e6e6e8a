// See bridge_side.h. Time is simulated, from a day ago on; all else is what latchkey-bridge runs.
#include "tests/footprint/bridge_side.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "bridge/runner.h"
#include "latchkey/v1/presence.pb.h"
#include "proto/certificate.h"
#include "proto/result.h"
#include "proto/topic.h"
#include "storage/rocksdb_store.h"
#include "tests/footprint/memory.h"

namespace latchkey::footprint {

namespace {

namespace fs = std::filesystem;
using bridge::Runner;
using std::chrono::steady_clock;
using storage::RocksDbFigures;
using storage::RocksDbStore;

constexpr size_t kTurnInputs = 1000;
constexpr size_t kWarmCars = 200;  // so that what is paid once is paid
constexpr Duration kRest = std::chrono::hours(2);
constexpr Duration kHour = std::chrono::hours(1);
constexpr size_t kTurnsMax = 1000;  // for one moment

double Since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

uint64_t BytesIn(const fs::path& folder) {
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    bytes += entry.is_regular_file() ? entry.file_size() : 0;
  }
  return bytes;
}

bridge::Limits ProductLimits() {
  bridge::Limits limits;
  limits.history_keep = std::chrono::hours(24 * 7);
  return limits;
}

class Silent final : public bridge::Publisher {
 public:
  void Send(const Publish& /*publish*/) override {}

  size_t backlog() const override { return 0; }

  void Reconnect() override {}
};

class SimulatedBridge {
 public:
  SimulatedBridge(const fs::path& path, bridge::FleetCas cas)
      : path_(path),
        now_{bridge::SystemNow().wall - std::chrono::hours(24), {1'000'000}},
        started_(now_.wall),
        store_(RocksDbStore::Open({path, 0, {}}).value()),
        runner_(std::make_unique<Runner>(
            ProductLimits(), std::move(cas), bridge::RunnerLimits{},
            Runner::Parts{intake_, *store_, silent_, [this] { return now_; },
                          [](const bridge::LogEvent&) {}})) {
    LK_ASSERT(runner_->Load().has_value());
    Put(bridge::BrokerUp{});
    Settle();
  }

  Timestamp now() const { return now_.wall; }

  const RocksDbStore& store() const { return *store_; }

  const bridge::Counters& counters() const { return runner_->core().counters(); }

  bridge::Gauges gauges() const { return runner_->core().gauges(); }

  void Hears(Publish publish) { Put(bridge::Message{std::move(publish)}); }

  // In its `session`th session since the broker started.
  void Comes(const CarRef& ref, uint64_t session, Timestamp since) {
    v1::Presence presence = PresenceOf(session, since);
    presence.set_online(true);
    Hears({PresenceTopic(ref), presence.SerializeAsString(), 1, Retain::kYes, 0});
  }

  void Goes(const CarRef& ref, uint64_t session, Timestamp began, uint64_t messages) {
    v1::Presence presence = PresenceOf(session, now_.wall);
    presence.set_reason(v1::OFFLINE_REASON_CONNECTION_ENDED);
    v1::EndedSession& ended = *presence.mutable_ended();
    ended.set_session(session);
    ended.set_began_at_ms(static_cast<uint64_t>(began.ms));
    ended.set_ended_at_ms(presence.since_ms());
    ended.set_reason(presence.reason());
    ended.set_address_kind(v1::ADDRESS_KIND_IPV4);
    ended.set_messages_from_car(messages);
    ended.set_bytes_from_car(messages * 90);
    ended.set_messages_to_car(2);
    ended.set_bytes_to_car(700);
    ended.set_longest_silence_ms(9'876);
    ended.set_silence_at_end_ms(1'234);
    ended.set_keep_alive_s(60);
    Hears({PresenceTopic(ref), presence.SerializeAsString(), 1, Retain::kYes, 0});
  }

  void Passes(Duration time) {
    const Instant end = now_.mono + time;
    while (now_.mono < end) {
      const Duration step = std::min<Duration>(kDriveStep, end - now_.mono);
      now_ = {now_.wall + step, now_.mono + step};
      Settle();
    }
  }

  // Takes all that waits and all that is due now.
  void Settle() {
    for (size_t i = 0; i < kTurnsMax; ++i) {
      runner_->Turn(Duration(0));
      const auto due = runner_->core().NextDeadline();
      if (intake_.size() == 0 && (!due || *due > now_.mono)) {
        break;
      }
    }
    waiting_ = 0;
    LK_ASSERT(runner_->status().store_error.empty());
  }

  void Ends() { LK_ASSERT(runner_->Finish()); }

  uint64_t BytesOnDisk() const { return BytesIn(path_); }

 private:
  v1::Presence PresenceOf(uint64_t session, Timestamp since) const {
    v1::Presence presence;
    presence.set_since_ms(static_cast<uint64_t>(since.ms));
    presence.set_session(session);
    presence.set_broker_started_at_ms(static_cast<uint64_t>(started_.ms));
    presence.set_address_kind(v1::ADDRESS_KIND_IPV4);
    return presence;
  }

  void Put(bridge::Input input) {
    intake_.PutAlways(std::move(input));
    if (++waiting_ >= kTurnInputs) {
      now_ = {now_.wall + Duration(1), now_.mono + Duration(1)};
      runner_->Turn(Duration(0));
      waiting_ = 0;
    }
  }

  const fs::path path_;
  Now now_;
  const Timestamp started_;
  Silent silent_;
  bridge::Intake intake_{kTurnInputs * 2};
  std::unique_ptr<RocksDbStore> store_;
  std::unique_ptr<Runner> runner_;
  size_t waiting_ = 0;
};

// What is RocksDB's is told apart: it is bounded for any number of cars.
struct Snap {
  Memory memory;
  uint64_t rocksdb = 0;
};

Snap SnapOf(const SimulatedBridge& bridge) {
  const RocksDbFigures figures = bridge.store().Figures();
  return {OwnMemory(), figures.memtable_bytes + figures.cache_bytes};
}

void PutMemory(const std::string& name, const Snap& before, const Snap& after, size_t cars,
               Report& report) {
  const auto without = [](uint64_t all, uint64_t rocksdb) { return all - std::min(all, rocksdb); };
  report.Put("bridge." + name + ".memory_per_car",
             PerCar(without(after.memory.in_use, after.rocksdb),
                    without(before.memory.in_use, before.rocksdb), cars));
  report.Put("bridge." + name + ".resident_per_car",
             PerCar(without(after.memory.resident, after.rocksdb),
                    without(before.memory.resident, before.rocksdb), cars));
  report.Put("bridge." + name + ".resident_with_rocksdb_per_car",
             PerCar(after.memory.resident, before.memory.resident, cars));
  report.Put("bridge." + name + ".rocksdb_memory", static_cast<double>(after.rocksdb));
}

// Of a store that is flushed and compacted.
struct Disk {
  uint64_t bytes = 0;
  std::map<std::string, uint64_t> families;
};

Disk CompactedOf(const SimulatedBridge& bridge) {
  LK_ASSERT(bridge.store().Scrub().has_value());
  Disk disk{bridge.BytesOnDisk(), {}};
  for (const RocksDbFigures::Family& family : bridge.store().Figures().families) {
    disk.families[family.name] = family.table_bytes;
  }
  return disk;
}

// As the store lies there, then compacted.
Disk PutDisk(const std::string& name, const SimulatedBridge& bridge, const Disk& before,
             size_t cars, Report& report) {
  report.Put("disk." + name + ".written_per_car", PerCar(bridge.BytesOnDisk(), before.bytes, cars));
  Disk after = CompactedOf(bridge);
  report.Put("disk." + name + ".compacted_per_car", PerCar(after.bytes, before.bytes, cars));
  for (const auto& [family, bytes] : after.families) {
    if (bytes != before.families.at(family)) {
      report.Put("disk." + name + "." + family + "_per_car",
                 PerCar(bytes, before.families.at(family), cars));
    }
  }
  return after;
}

void SpeakOnce(const Cars& cars, size_t first, size_t count, SimulatedBridge& bridge) {
  const Timestamp came = bridge.now();
  for (size_t car = first; car < first + count; ++car) {
    const CarRef ref = cars.RefOf(car);
    bridge.Comes(ref, 1, came);
    bridge.Hears(cars.Ring(car, bridge.now()));
    for (Publish& said : cars.Parks(car, bridge.now())) {
      bridge.Hears(std::move(said));
    }
  }
  bridge.Settle();
  bridge.Passes(kDriveStep);
  for (size_t car = first; car < first + count; ++car) {
    bridge.Goes(cars.RefOf(car), 1, came, 1 + kGroupCount);
  }
  bridge.Settle();
}

// The first `driving` cars. Gives when they began.
Timestamp DriveAnHour(const Cars& cars, const BridgeWish& wish, SimulatedBridge& bridge) {
  const Timestamp began = bridge.now();
  for (size_t car = 0; car < wish.driving; ++car) {
    bridge.Comes(cars.RefOf(car), 2, began);
  }
  const auto steps = static_cast<size_t>(kHour / kDriveStep);
  for (size_t step = 1; step <= steps; ++step) {
    bridge.Passes(kDriveStep);
    for (size_t car = 0; car < wish.driving; ++car) {
      for (Publish& said : cars.Drives(car, step, bridge.now())) {
        bridge.Hears(std::move(said));
      }
    }
  }
  bridge.Settle();
  return began;
}

void PutWork(const BridgeWish& wish, const SimulatedBridge& bridge, steady_clock::time_point began,
             Report& report) {
  const bridge::Counters& counters = bridge.counters();
  report.Put("bridge.messages", static_cast<double>(counters.messages), "");
  report.Put("bridge.history_samples", static_cast<double>(counters.history_samples), "");
  report.Put("bridge.sessions_kept", static_cast<double>(counters.sessions_kept), "");
  report.Put("bridge.commands_held", static_cast<double>(bridge.gauges().commands_held), "");
  report.Put("bridge.seconds", Since(began), "s");
  // Nothing was refused: what was measured is what was meant.
  LK_ASSERT(counters.refused.empty());
  LK_ASSERT(bridge.gauges().cars == wish.cars + kWarmCars);
  LK_ASSERT(counters.rings_stored == wish.cars + kWarmCars);
  LK_ASSERT(counters.state_stored >= (wish.cars + kWarmCars) * kGroupCount);
  LK_ASSERT(bridge.gauges().commands_held == (wish.cars + kCommandedEvery - 1) / kCommandedEvery);
}

}  // namespace

void MeasureBridge(const Cars& cars, const tools::Issued& fleet_ca, const BridgeWish& wish,
                   Report& report) {
  const auto began = steady_clock::now();
  SimulatedBridge bridge(wish.store,
                         {{cars.RefOf(0).fleet, PemToDer(fleet_ca.certificate_pem).value()}});
  SpeakOnce(cars, wish.cars, kWarmCars, bridge);
  bridge.Passes(kRest);
  const Disk disk_before = CompactedOf(bridge);
  const Snap before = SnapOf(bridge);

  SpeakOnce(cars, 0, wish.cars, bridge);
  PutMemory("just_spoke", before, SnapOf(bridge), wish.cars, report);
  bridge.Passes(kRest);
  const Snap parked = SnapOf(bridge);
  PutMemory("parked", before, parked, wish.cars, report);
  const Disk disk_parked = PutDisk("parked", bridge, disk_before, wish.cars, report);

  const Timestamp drove = DriveAnHour(cars, wish, bridge);
  PutMemory("driving_more", parked, SnapOf(bridge), wish.driving, report);
  for (size_t car = 0; car < wish.driving; ++car) {
    bridge.Goes(cars.RefOf(car), 2, drove, 1260);
  }
  bridge.Settle();
  for (size_t car = 0; car < wish.cars; car += kCommandedEvery) {
    bridge.Hears(cars.Command(car, bridge.now()));
  }
  bridge.Settle();
  bridge.Passes(kRest);
  PutMemory("all_parked_again", before, SnapOf(bridge), wish.cars, report);
  PutDisk("an_hour_more", bridge, disk_parked, wish.driving, report);
  report.Put("disk.in_all_per_car", PerCar(bridge.BytesOnDisk(), disk_before.bytes, wish.cars));
  bridge.Ends();
  PutWork(wish, bridge, began, report);
}

void MeasureLoad(const fs::path& path, Report& report) {
  const Memory before = OwnMemory();
  const auto began = steady_clock::now();
  const auto store = RocksDbStore::Open({path, 0, {}});
  LK_ASSERT(store.has_value());
  report.Put("load.open_seconds", Since(began), "s");
  bridge::Intake intake(kTurnInputs);
  Silent silent;
  Runner runner(ProductLimits(), {}, {},
                {intake, **store, silent, bridge::SystemNow, [](const bridge::LogEvent&) {}});
  const auto opened = steady_clock::now();
  LK_ASSERT(runner.Load().has_value());
  report.Put("load.seconds", Since(opened), "s");
  const size_t cars = runner.core().gauges().cars;
  const RocksDbFigures figures = (*store)->Figures();
  const uint64_t rocksdb = figures.memtable_bytes + figures.cache_bytes;
  const Memory after = OwnMemory();
  report.Put("load.memory_per_car",
             PerCar(after.in_use - std::min(after.in_use, rocksdb), before.in_use, cars));
  report.Put("load.resident_per_car",
             PerCar(after.resident - std::min(after.resident, rocksdb), before.resident, cars));
}

}  // namespace latchkey::footprint
