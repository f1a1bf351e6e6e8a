// See moving.h.
#include "plugins/auth/moving.h"

#include <algorithm>
#include <chrono>

namespace latchkey::auth {

namespace {

constexpr uint32_t kPercent = 100;
constexpr Duration kLookEvery = std::chrono::seconds(1);
constexpr double kMsPerSecond = 1000;

uint32_t GoalOf(uint32_t percent) {
  return kMovePoints / kPercent * percent + kMovePoints % kPercent * percent / kPercent;
}

}  // namespace

bool Moves(const Principal& principal) {
  return principal.kind == PrincipalKind::kCar || principal.kind == PrincipalKind::kPhone;
}

// FNV-1a, 64 bits, folded: the upper bits alone hardly change with the last characters.
uint32_t PointOf(const Principal& principal) {
  const std::string name =
      principal.kind == PrincipalKind::kCar ? principal.car.ToText() : principal.key.str();
  uint64_t hash = 14695981039346656037U;
  for (const char c : name) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211U;
  }
  hash ^= hash >> 32U;
  hash ^= hash >> 16U;
  return static_cast<uint32_t>(hash % kMovePoints);
}

Result<void> Moving::Order(const v1::MoveClients& order, Instant now) {
  if (order.percent() > kPercent || order.per_second() > kMovePerSecondMax) {
    return Fail(v1::REASON_MALFORMED,
                "a move goes to 0 to 100 percent, by at most 10000 a second: nothing was changed");
  }
  next_.clear();
  all_seen_ = false;
  at_ = now;
  looked_at_ = Instant{now.ms - kLookEvery.count()};
  tokens_ = 1;
  per_second_ = order.per_second();
  if (per_second_ == 0) {
    goal_ = reached_;
    percent_ = (reached_ * kPercent + kMovePoints - 1) / kMovePoints;
    return {};
  }
  percent_ = order.percent();
  goal_ = GoalOf(percent_);
  reached_ = std::min(reached_, goal_);
  return {};
}

bool Moving::IsMoved(const Principal& principal) const {
  return reached_ > 0 && Moves(principal) && PointOf(principal) < reached_;
}

// The next ones, the lowest first.
void Moving::Look(const Sessions& sessions) {
  std::vector<Candidate> all;
  sessions.ForEach([&](const Session& session) {
    if (Moves(session.principal)) {
      const uint32_t point = PointOf(session.principal);
      if (point < goal_) {
        all.emplace_back(point, session.client_id);
      }
    }
  });
  const size_t most = std::min<size_t>(all.size(), per_second_ + 1);
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(most), all.end());
  next_.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(most));
  all_seen_ = most == all.size();
}

std::vector<std::string> Moving::TakeDue(const Sessions& sessions, Instant now) {
  if (goal_ == 0 || per_second_ == 0) {
    return {};
  }
  const auto passed = static_cast<double>(std::max(Duration(0), now - at_).count());
  at_ = now;
  tokens_ =
      std::min(tokens_ + passed * per_second_ / kMsPerSecond, std::max(1.0, per_second_ / 4.0));
  if (now - looked_at_ >= kLookEvery) {
    looked_at_ = now;
    Look(sessions);
  }
  std::vector<std::string> due;
  while (tokens_ >= 1 && !next_.empty()) {
    tokens_ -= 1;
    reached_ = std::max(reached_, next_.front().first + 1);
    due.push_back(std::move(next_.front().second));
    next_.pop_front();
    ++sent_away_;
  }
  if (next_.empty() && all_seen_) {
    reached_ = goal_;
  }
  return due;
}

v1::Moving Moving::Tell(const Sessions& sessions) const {
  v1::Moving told;
  uint32_t clients = 0;
  uint32_t to_go = 0;
  sessions.ForEach([&](const Session& session) {
    if (Moves(session.principal)) {
      ++clients;
      to_go += PointOf(session.principal) < goal_ ? 1 : 0;
    }
  });
  told.set_percent(percent_);
  told.set_per_second(per_second_);
  told.set_clients(clients);
  told.set_to_go(to_go);
  told.set_sent_away(sent_away_);
  told.set_kept_out(kept_out_);
  return told;
}

}  // namespace latchkey::auth
