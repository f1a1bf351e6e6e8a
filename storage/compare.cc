// CompareShapes of migrator.h: every record of the old shape is looked for in the new one, field by
// field, and every row that only the new shape has must have its place in the old one.
#include <utility>

#include "storage/migrator.h"
#include "storage/shape.h"

namespace latchkey::storage {

namespace {

constexpr uint64_t kLookUpEvery = 64;  // records

class Comparer {
 public:
  Comparer(const RowReader& rows, const SchemaState& state,
           const std::function<bool(uint64_t compared)>& go_on)
      : rows_(rows), steps_(*state.steps), go_on_(go_on) {
    found_.from = state.status.from;
    found_.to = state.status.to;
    found_.started_at = state.status.started_at;
  }

  Result<Comparison> Run() {
    LK_CHECK(Walk(steps_.source, true));
    const FamilySet added = FamiliesOf(steps_.to).Without(FamiliesOf(steps_.from));
    for (const Family family : kFamilies) {
      if (added.Has(family)) {
        LK_CHECK(Walk(family, false));
      }
    }
    return std::move(found_);
  }

 private:
  Result<void> Walk(Family family, bool old_shape) {
    Result<void> checked;
    LK_CHECK(rows_.Each(family, "", "", [&](std::string_view key, std::string_view value) {
      checked = Take(
          family, key,
          old_shape ? steps_.check_old(rows_, key, value) : steps_.check_new(rows_, family, key),
          old_shape);
      return checked.has_value();
    }));
    return checked;
  }

  Result<void> Take(Family family, std::string_view key, const Result<RowCheck>& check,
                    bool old_shape) {
    LK_CHECK(check);
    if (++looked_at_ % kLookUpEvery == 0 && !go_on_(found_.compared)) {
      return Fail(v1::REASON_CANCELLED, "the comparison was ended before it was through");
    }
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
