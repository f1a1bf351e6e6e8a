// Counting and wording of admission; the buckets are in rate.h.
#include "plugins/auth/admission.h"

#include <utility>

namespace latchkey::auth {

namespace {

constexpr std::array<Crowd, kCrowdCount> kCrowds = {Crowd::kCars, Crowd::kPhones};
constexpr int64_t kMsPerSecond = 1000;
constexpr int64_t kSeconds = 60;

size_t IndexOf(Crowd crowd) {
  return static_cast<size_t>(crowd);
}

}  // namespace

std::string_view ToText(Crowd crowd) {
  switch (crowd) {
    case Crowd::kCars:
      return "cars";
    case Crowd::kPhones:
      return "phones";
  }
  return "unknown";
}

std::optional<Crowd> CrowdOf(std::string_view client_id, bool has_certificate) {
  constexpr std::string_view kRegistrar = "/registrar";
  if (!has_certificate) {
    return Crowd::kPhones;
  }
  const size_t slash = client_id.find('/');
  const std::string_view first = client_id.substr(0, slash);
  const std::string_view rest =
      slash == client_id.npos ? std::string_view() : client_id.substr(slash);
  const bool registrar = rest.substr(0, kRegistrar.size()) == kRegistrar &&
                         (rest.size() == kRegistrar.size() || rest[kRegistrar.size()] == '/');
  return first == "bridge" || first == "administrator" || first == "peer" || registrar
             ? std::nullopt
             : std::optional(Crowd::kCars);
}

void Admission::Minute::Add(Instant now) {
  const int64_t number = now.ms / kMsPerSecond;
  Second& second = seconds_[static_cast<size_t>(number % kSeconds)];
  if (second.number != number) {
    second = {number, 0};
  }
  ++second.count;
}

uint64_t Admission::Minute::Sum(Instant now) const {
  const int64_t number = now.ms / kMsPerSecond;
  uint64_t sum = 0;
  for (const Second& second : seconds_) {
    if (second.number >= 0 && second.number > number - kSeconds && second.number <= number) {
      sum += second.count;
    }
  }
  return sum;
}

bool Admission::Ask(Crowd crowd, const Now& now) {
  if (buckets_.Has(ToText(crowd), now.mono)) {
    return true;
  }
  Side& side = sides_[IndexOf(crowd)];
  ++side.refused;
  side.refused_minute.Add(now.mono);
  refused_at_ = now.mono;
  if (!storm_began_) {
    storm_began_ = now.mono;
    for (Side& each : sides_) {
      each.storm_refused = 0;
      each.storm_entered = 0;
    }
  }
  ++side.storm_refused;
  return false;
}

void Admission::Entered(Crowd crowd, const Now& now) {
  buckets_.Take(ToText(crowd), now.mono);
  Side& side = sides_[IndexOf(crowd)];
  ++side.entered;
  ++side.storm_entered;
  side.entered_minute.Add(now.mono);
}

std::optional<std::string> Admission::TakeWord(const Now& now) {
  if (!storm_began_) {
    return std::nullopt;
  }
  if (!began_said_) {
    began_said_ = true;
    return "reconnect storm: more sign-ins at once than admit_rate lets in; those above it are "
           "hung up on and come again, those inside stay";
  }
  if (now.mono - refused_at_ < kStormOverAfter) {
    return std::nullopt;
  }
  std::string text = "reconnect storm is over: it lasted " +
                     std::to_string((refused_at_ - *storm_began_).count() / kMsPerSecond) + " s";
  for (const Crowd crowd : kCrowds) {
    const Side& side = sides_[IndexOf(crowd)];
    if (side.storm_refused > 0) {
      text += "; " + std::string(ToText(crowd)) + ": " + std::to_string(side.storm_refused) +
              " tries refused, " + std::to_string(side.storm_entered) + " signed in";
    }
  }
  storm_began_.reset();
  began_said_ = false;
  return text;
}

std::vector<Publish> Admission::TakeChanged(const Now& now) {
  std::vector<Publish> changed;
  if (sides_[0].refused + sides_[1].refused == 0) {
    return changed;
  }
  size_t place = 0;
  for (const Crowd crowd : kCrowds) {
    const Side& side = sides_[IndexOf(crowd)];
    const std::array<std::pair<const char*, uint64_t>, 4> numbers = {
        {{"_refused", side.refused},
         {"_refused_minute", side.refused_minute.Sum(now.mono)},
         {"_entered", side.entered},
         {"_entered_minute", side.entered_minute.Sum(now.mono)}}};
    for (const auto& [name, number] : numbers) {
      uint64_t& told = told_[place++];
      if (told != number) {
        told = number;
        changed.push_back({"$SYS/broker/latchkey/admit/" + std::string(ToText(crowd)) + name,
                           std::to_string(number), 0, Retain::kYes, 0});
      }
    }
  }
  return changed;
}

uint64_t Admission::refused_in_minute(Crowd crowd, Instant now) const {
  return sides_[IndexOf(crowd)].refused_minute.Sum(now);
}

uint64_t Admission::entered_in_minute(Crowd crowd, Instant now) const {
  return sides_[IndexOf(crowd)].entered_minute.Sum(now);
}

}  // namespace latchkey::auth
