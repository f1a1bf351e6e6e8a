// latchkey migrate: takes the store from one schema to the next beside live traffic. The bridge
// does it; this asks for it, shows how far it is, and rehearses.
#include "tools/latchkey/migrate.h"

#include <memory>
#include <utility>

#include <CLI/CLI.hpp>

#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

using Json = nlohmann::ordered_json;

struct MigrateOptions {
  bool detach = false;
  bool watch = false;
  std::string timeout = "7d";
};

struct Job {
  Context& context;
  const MigrateOptions& options;
  MigrationBridge bridge;
  Follow follow;
};

std::string PhaseOf(const Json& status) {
  return status.value("phase", "");
}

void SayJson(const Json& json) {
  Say(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Show(const Context& context, const Json& status) {
  if (context.json) {
    SayJson(status);
  } else {
    Say(MigrationText(status));
  }
}

// Until the sweep is through.
std::optional<Result<void>> Swept(const Json& status) {
  const std::string phase = PhaseOf(status);
  if (phase == "none") {
    return Fail(v1::REASON_NOT_ALLOWED, "the migration was rolled back meanwhile");
  }
  if (phase == "backfill" && status.value("paused", false)) {
    return Fail(v1::REASON_NOT_ALLOWED,
                "the migration is paused: `latchkey migrate resume` goes on");
  }
  return phase == "backfill" ? std::nullopt : std::optional<Result<void>>(Result<void>());
}

Result<Json> FollowSweep(const Job& job) {
  return FollowMigration(job.bridge, job.follow, Swept);
}

// A comparison that a restart of the bridge cut short is asked for again.
Result<Json> Verify(const Job& job) {
  LK_TRY(Json status, job.bridge.Order("verify"));
  if (job.options.detach) {
    return status;
  }
  const auto id_of = [](const Json& one) {
    const Json comparison = one.value("comparison", Json());
    return comparison.is_object() ? comparison.value("id", uint64_t{0}) : uint64_t{0};
  };
  uint64_t id = id_of(status);
  const Reached reached = [&](const Json& now) -> std::optional<Result<void>> {
    if (id_of(now) != id) {
      const Result<Json> again = job.bridge.Order("verify");
      if (again) {
        id = id_of(*again);
      } else if (again.error().reason == v1::REASON_NOT_ALLOWED) {
        return tl::unexpected<Error>(again.error());
      }
      return std::nullopt;
    }
    if (now["comparison"].value("running", false)) {
      return std::nullopt;
    }
    const Json error = now["comparison"].value("error", Json());
    return error.is_string() ? Result<void>(Fail(v1::REASON_STORE_UNAVAILABLE,
                                                 "the comparison came to no result: " +
                                                     Printable(error.get<std::string>())))
                             : Result<void>();
  };
  return FollowMigration(job.bridge, job.follow, reached);
}

bool Differs(const Json& status) {
  return status.value("differences", uint64_t{0}) > 0;
}

Result<Json> Start(const Job& job) {
  LK_TRY(Json status, job.bridge.Order("start"));
  return job.options.detach ? Result<Json>(std::move(status)) : FollowSweep(job);
}

Result<Json> Resume(const Job& job) {
  LK_TRY(Json status, job.bridge.Order("resume"));
  return job.options.detach ? Result<Json>(std::move(status)) : FollowSweep(job);
}

Result<Json> Plan(const Job& job) {
  LK_TRY(const Json status, job.bridge.Status());
  LK_TRY(const Json answer, job.bridge.Plan());
  const Json plan = answer.value("plan", Json());
  if (job.context.json) {
    SayJson({{"schema", status["schema"]}, {"phase", PhaseOf(status)}, {"plan", plan}});
    return status;
  }
  Say(MigrationTitle(status));
  if (!plan.is_object()) {
    Say("nothing to migrate: the newest schema is in force");
    return status;
  }
  Say("next: " + Printable(plan.value("name", "")) + ", schema " +
      std::to_string(plan.value("from", 0)) + " to " + std::to_string(plan.value("to", 0)));
  Say("  " + Printable(plan.value("summary", "")));
  Say("  about " + std::to_string(plan.value("rows", uint64_t{0})) + " rows, " +
      std::to_string(plan.value("bytes", uint64_t{0}) >> 20) +
      " MB, to sweep beside live traffic; as much room is needed again");
  Say("`latchkey migrate rehearse` tries it on a copy, `latchkey migrate start` begins");
  return status;
}

// All steps from wherever it is, up to and with the cut-over.
Result<Json> RunAll(const Job& job) {
  LK_TRY(Json status, job.bridge.Status());
  const auto say = [&](const Json& now) {
    if (!job.context.json) {
      Say(MigrationTitle(now) + "; " + MigrationBar(now));
    }
  };
  if (PhaseOf(status) == "none") {
    LK_TRY(status, job.bridge.Order("start"));
    say(status);
  }
  if (PhaseOf(status) == "backfill") {
    LK_TRY(status, FollowSweep(job));
    say(status);
  }
  if (PhaseOf(status) == "filled" || PhaseOf(status) == "differs") {
    LK_TRY(status, Verify(job));
    say(status);
  }
  if (PhaseOf(status) == "verified") {
    LK_TRY(status, job.bridge.Order("cutover"));
  }
  return status;
}

Result<Json> Watch(const Job& job) {
  if (!job.options.watch) {
    return job.bridge.Status();
  }
  Follow follow = job.follow;
  follow.lines = job.context.json;
  return FollowMigration(job.bridge, follow, [](const Json& now) -> std::optional<Result<void>> {
    const Json comparison = now.value("comparison", Json());
    const bool compares = comparison.is_object() && comparison.value("running", false);
    const bool moves = PhaseOf(now) == "backfill" && !now.value("paused", false);
    return moves || compares ? std::nullopt : std::optional<Result<void>>(Result<void>());
  });
}

using Step = Result<Json> (*)(const Job& job);

void RunStep(Context& context, const MigrateOptions& options, Step step) {
  const Result<Duration> patience = ParseDuration(options.timeout);
  const Result<MigrationBridge> bridge = MigrationBridge::Open(Folder(context.data));
  if (!patience || !bridge) {
    Complain(context, patience ? bridge.error() : patience.error());
    return;
  }
  const Job job{context, options, *bridge, {*patience, true, false}};
  const Result<Json> status = step(job);
  if (!status) {
    Complain(context, status.error(),
             status.error().reason == v1::REASON_EXPIRED ? kMigrateTimedOut : kMigrateFailed);
    return;
  }
  if (step != Plan) {
    Show(context, *status);
  }
  const bool judged = step == Verify || step == RunAll;
  context.exit_code = judged && !options.detach && Differs(*status) ? kMigrateFailed : 0;
}

Result<Json> Pause(const Job& job) {
  return job.bridge.Order("pause");
}

Result<Json> CutOver(const Job& job) {
  return job.bridge.Order("cutover");
}

Result<Json> Rollback(const Job& job) {
  return job.bridge.Order("rollback");
}

Result<Json> FinishIt(const Job& job) {
  return job.bridge.Order("finish");
}

struct Word {
  const char* name;
  const char* text;
  Step step;
  bool follows;
};

void AddWord(CLI::App& migrate, Context& context, const Word& word) {
  const auto options = std::make_shared<MigrateOptions>();
  CLI::App* command = migrate.add_subcommand(word.name, word.text);
  if (word.follows) {
    command->add_option("--timeout", options->timeout, "Follow it at most this long (exit code 3)")
        ->capture_default_str();
  }
  if (word.step == Start || word.step == Resume || word.step == Verify) {
    command->add_flag("--detach", options->detach, "Do not follow it until it is through");
  }
  if (word.step == Watch) {
    command->add_flag("--watch", options->watch,
                      "Follow it while it sweeps or compares; with --json a line each second");
  }
  command->callback([&context, options, step = word.step] { RunStep(context, *options, step); });
}

}  // namespace

void AddMigrate(CLI::App& app, Context& context) {
  CLI::App* migrate = app.add_subcommand(
      "migrate", "Take the bridge's store to the next schema beside live traffic");
  migrate->require_subcommand(1);
  for (const Word& word : {
           Word{"plan", "What may be migrated next, and what it takes", Plan, false},
           Word{"start", "Begin: both schemas are written from now on, what there is is swept",
                Start, true},
           Word{"status", "How it stands: phase, rows, rate, time left", Watch, true},
           Word{"pause", "The sweep stands still; survives restarts", Pause, false},
           Word{"resume", "It goes on", Resume, true},
           Word{"verify", "Compare every record in both schemas (exit code 1: they differ)", Verify,
                true},
           Word{"cutover", "The new schema is read; both are written, so it can be rolled back",
                CutOver, false},
           Word{"rollback", "Back to the old schema, without loss of what was written meanwhile",
                Rollback, false},
           Word{"finish", "Only the new schema is kept: no way back from here", FinishIt, false},
           Word{"run",
                "start, verify and cutover in a row, from wherever it is; stops when records "
                "differ",
                RunAll, true},
       }) {
    AddWord(*migrate, context, word);
  }
  migrate
      ->add_subcommand("rehearse",
                       "The whole on a copy of the live store, which is removed in the end: time, "
                       "room, mismatches (exit code 1: it failed)")
      ->callback([&context] { Rehearse(context); });
  migrate->footer(
      "Ctrl-C ends the following, not the migration; that also goes on after a restart of the "
      "bridge.\nExit codes: 0 done, 1 refused, failed or different, 2 usage, 3 nobody waited any "
      "longer.\nExample:\n  latchkey migrate plan && latchkey migrate rehearse && latchkey migrate "
      "run\n");
}

}  // namespace latchkey::cli
