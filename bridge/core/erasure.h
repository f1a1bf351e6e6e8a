// What it takes to forget a car or a key: which entries of the log name it, which retained messages
// are its, and what the log says of it afterwards, which is not its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "bridge/core/step.h"
#include "latchkey/v1/log.pb.h"
#include "proto/time.h"
#include "proto/types.h"

namespace latchkey::bridge {

// Is the entry about the car or the key, or does it mention it?
bool Names(const Erasure& erasure, const v1::LogEntry& entry);

// Empties every retained topic of a car.
void EmptyTopics(const CarRef& ref, Effects& out);

// The entry that stays: who had something erased, what kind of thing, and how many entries of the
// log lost their content for it.
v1::LogEntry ErasedEntry(const Erasure& erasure, uint64_t log_entries, Timestamp now);

inline constexpr Duration kLocationReadEvery = std::chrono::minutes(1);
inline constexpr size_t kLocationReadCarsMax = 10'000;

// Says in the log that the place of a car was read, once a minute and car, however often it is.
// One thread.
class LocationReads {
 public:
  void Arrived(const LocationRead& read, const Now& now, Effects& out);

  void Forget(const CarRef& ref) { said_.erase(ref); }

 private:
  std::map<CarRef, Instant> said_;
};

}  // namespace latchkey::bridge
