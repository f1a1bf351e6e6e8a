// CompareShapes of migrator.h: every record of the old shape is looked for in the new one, field by
// field, and every row that only the new shape has must have its place in the old one.
#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "proto/crypto.h"
#include "storage/bytes.h"
#include "storage/migrator.h"
#include "storage/shape.h"

namespace latchkey::storage {

namespace {

constexpr uint64_t kLookUpEvery = 64;  // records

// Of keys, in whatever order: two are the same when, but for a chance of 2^-128, the keys are.
class Sum {
 public:
  void Add(std::string_view key) {
    const std::string hash = Sha256(key);
    Cursor cursor(hash);
    high_ += cursor.Number(8);
    low_ += cursor.Number(8);
    ++count_;
  }

  bool operator==(const Sum&) const = default;

 private:
  uint64_t count_ = 0;
  uint64_t high_ = 0;
  uint64_t low_ = 0;
};

class Comparer {
 public:
  Comparer(const RowReader& rows, const SchemaState& state,
           const std::function<bool(uint64_t compared)>& go_on)
      : rows_(rows), steps_(*state.steps), go_on_(go_on) {
    found_.from = state.status.from;
    found_.to = state.status.to;
    found_.started_at = state.status.started_at;
    const FamilySet added = FamiliesOf(steps_.to).Without(FamiliesOf(steps_.from));
    std::copy_if(kFamilies.begin(), kFamilies.end(), std::back_inserter(added_),
                 [&](Family family) { return added.Has(family); });
  }

  Result<Comparison> Run() {
    if (steps_.new_keys) {
      LK_TRY(const bool same, SumsAreSame());
      if (same) {
        return std::move(found_);
      }
      found_.compared = 0;
      found_.damaged = 0;
    }
    LK_CHECK(Walk(steps_.source, true));
    for (const Family family : added_) {
      LK_CHECK(Walk(family, false));
    }
    return std::move(found_);
  }

 private:
  // Every record is read in both shapes, in the order in which it lies there.
  Result<bool> SumsAreSame() {
    Sum old_sum;
    Sum new_sum;
    bool keys_alone = true;
    LK_CHECK(Each(steps_.source, [&](std::string_view key, std::string_view value) {
      const std::optional<std::vector<std::string>> keys = steps_.new_keys(key, value);
      ++(keys ? found_.compared : found_.damaged);
      for (const std::string& one : keys.value_or(std::vector<std::string>())) {
        old_sum.Add(one);
      }
      return Result<void>();
    }));
    for (const Family family : added_) {
      LK_CHECK(Each(family, [&](std::string_view key, std::string_view value) {
        new_sum.Add(key);
        keys_alone = keys_alone && value.empty();
        return Result<void>();
      }));
    }
    return keys_alone && old_sum == new_sum;
  }

  Result<void> Walk(Family family, bool old_shape) {
    return Each(family, [&](std::string_view key, std::string_view value) {
      return Take(
          family, key,
          old_shape ? steps_.check_old(rows_, key, value) : steps_.check_new(rows_, family, key),
          old_shape);
    });
  }

  // Until `visit` or whoever waits ends it.
  Result<void> Each(Family family,
                    const std::function<Result<void>(std::string_view, std::string_view)>& visit) {
    Result<void> visited;
    LK_CHECK(rows_.Each(family, "", "", [&](std::string_view key, std::string_view value) {
      visited = visit(key, value);
      if (visited && ++looked_at_ % kLookUpEvery == 0 && !go_on_(found_.compared)) {
        visited = Fail(v1::REASON_CANCELLED, "the comparison was ended before it was through");
      }
      return visited.has_value();
    }));
    return visited;
  }

  Result<void> Take(Family family, std::string_view key, const Result<RowCheck>& check,
                    bool old_shape) {
    LK_CHECK(check);
    found_.damaged += old_shape && check->damaged ? 1 : 0;
    found_.compared += old_shape && !check->damaged ? 1 : 0;
    if (!check->difference.empty()) {
      ++found_.differences;
      if (found_.mismatches.size() < kMismatchesMax) {
        found_.mismatches.push_back({steps_.print(family, key), check->difference});
      }
    }
    return {};
  }

  const RowReader& rows_;
  const MigrationSteps& steps_;
  const std::function<bool(uint64_t compared)>& go_on_;
  std::vector<Family> added_;  // that only the new shape has
  Comparison found_;
  uint64_t looked_at_ = 0;
};

}  // namespace

Result<Comparison> CompareShapes(const RowReader& rows, const Migrations& known,
                                 const std::string& store,
                                 const std::function<bool(uint64_t compared)>& go_on) {
  LK_TRY(const SchemaState state, ReadSchemaState(rows, known, store));
  LK_CHECK(MayMigrate(state.status, MigrationOrder::kVerify));
  return Comparer(rows, state, go_on).Run();
}

}  // namespace latchkey::storage
