"""The command line `python -m pipeline_tuner`: advise on a job, check a study, plan a sweep, write its analysis, size a
cluster. No Airflow.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_tuner import cluster_sizing_command
from pipeline_tuner.advise import command as advise_command
from pipeline_tuner.analysis.claim_lists import unjudged
from pipeline_tuner.exceptions import PipelineTunerError, StudyError
from pipeline_tuner.measurement import Measurement
from pipeline_tuner.recommend import recommend
from pipeline_tuner.report.tables import text_table
from pipeline_tuner.report.terminal import summary
from pipeline_tuner.search.rounds import plan_round
from pipeline_tuner.space import difference
from pipeline_tuner.standard_output import leave_output
from pipeline_tuner.study import Study, load_study, stored_study
from pipeline_tuner.study_yaml import read_text, read_yaml
from pipeline_tuner.sweep import SweepOptions, sweep_options
from pipeline_tuner.trial import TrialPlan, TrialResult
from pipeline_tuner.unfilled import unfilled
from pipeline_tuner.wording import counted, listed

URL_VARIABLE = "PIPELINE_TUNER_URL"
CHOICES = ("strategy", "size", "seed", "trials", "blocks", "rounds", "batch")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, or 1 with the error on stderr."""
    chosen = _parser().parse_args(arguments)
    try:
        chosen.run(chosen)
        sys.stdout.flush()
    except PipelineTunerError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        leave_output()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline_tuner", description=__doc__)
    parts = parser.add_subparsers(required=True, metavar="part")
    cluster_sizing_command.add_to(parts)
    advise_command.add_to(parts)
    study = parts.add_parser("study", help="work with a study")
    commands = study.add_subparsers(required=True, metavar="command")
    validate = commands.add_parser("validate", help="check a study file")
    validate.add_argument("file", type=Path)
    validate.set_defaults(run=_validate)
    plan = commands.add_parser("plan", help="show the trials that a sweep would start with")
    plan.add_argument("file", type=Path)
    plan.add_argument("--strategy", help="presets, one_at_a_time, grid, sobol, adaptive, staged or one of the study's")
    plan.add_argument("--size", help="one of the workload's sizes")
    plan.add_argument("--goals", nargs="+", help="the goals, the primary one first")
    for name in ("seed", "trials", "blocks", "rounds", "batch"):
        plan.add_argument(f"--{name}", type=int)
    plan.set_defaults(run=_plan)
    report = commands.add_parser("report", help="write the analysis of a sweep and print its recommendations")
    report.add_argument("sweep", help=f"a sweep's id in the database of {URL_VARIABLE}, or a sweep.json from the page")
    report.add_argument("--folder", type=Path, default=Path("build/reports"), help="where to write (build/reports)")
    report.set_defaults(run=_report)
    return parser


def _validate(chosen: argparse.Namespace) -> None:
    study = load_study(chosen.file)
    wrong = [f"{chosen.file.name}: {one}" for one in unjudged(study)] + _gaps(chosen.file, study)
    if wrong:
        raise StudyError("\n".join(wrong))
    parts = (
        counted(len(study.space.parameters), "parameter"),
        counted(len(study.presets), "preset"),
        counted(len(study.goals), "goal"),
        counted(len(study.claims), "claim"),
    )
    print(f"{chosen.file} is a study: {study.study}, job {study.job}, {listed(parts)}.")
    for names in _same_presets(study):
        print(f"{listed(names)} are the same configuration: a sweep will call them tied.")


def _gaps(file: Path, study: Study) -> list[str]:
    """What is still to be filled in, each with its line."""
    document = read_yaml(read_text(file), source=file.name)
    return [f"{file.name}:{document.line(gap.path)}: {gap}" for gap in unfilled(study)]


def _same_presets(study: Study) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for candidate in study.preset_candidates:
        groups.setdefault(candidate.configuration_id, []).append(candidate.label)
    return [names for names in groups.values() if len(names) > 1]


def _plan(chosen: argparse.Namespace) -> None:
    study = load_study(chosen.file)
    given = {name: getattr(chosen, name) for name in (*CHOICES, "goals") if getattr(chosen, name) is not None}
    options = sweep_options(study, "preview", given)
    plans = plan_round(study, options, (), 1)
    control = study.control_candidate.configuration
    rows = [
        (
            str(plan.block),
            str(plan.position),
            plan.label,
            "the control" if plan.is_control else _settings(plan, control),
        )
        for plan in plans
    ]
    print(text_table(("block", "place", "configuration", "against the control"), rows))
    rest = options.budget.trials - len(plans)
    print(
        f"\n{counted(len(plans), 'trial')} in the first of {counted(options.budget.rounds, 'round')}; at most "
        f"{counted(max(rest, 0), 'further trial')} follow, chosen by the results, the confirmation among them."
    )


def _settings(plan: TrialPlan, control: Mapping[str, Any]) -> str:
    return difference(plan.configuration, control)


@dataclass(frozen=True)
class StoredSweep:
    """A finished sweep, from the database or from a file."""

    study: Study
    options: SweepOptions
    results: tuple[TrialResult, ...]
    history: tuple[TrialResult, ...] = ()
    environment: Mapping[str, Any] | None = None
    workload: Mapping[str, Any] | None = None


def _report(chosen: argparse.Namespace) -> None:
    # What draws charts takes a while to import: other commands do without.
    from pipeline_tuner.report.written import write_report

    path = Path(chosen.sweep)
    sweep = _sweep_of_file(path) if path.suffix == ".json" else _sweep_of_database(chosen.sweep)
    recommendations = recommend(sweep.study, sweep.options, sweep.results, sweep.history)
    written = write_report(
        chosen.folder / sweep.options.sweep_id,
        sweep.study,
        sweep.options,
        sweep.results,
        recommendations,
        history=sweep.history,
        environment=sweep.environment,
        workload=sweep.workload,
    )
    print(f"{summary(recommendations, sweep.results)}\n\nThe analysis: {written}")


def _sweep_of_file(path: Path) -> StoredSweep:
    """A sweep from the JSON that the page offers. Raises PipelineTunerError where it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        row = document["sweep"]
        return StoredSweep(
            stored_study(row["study_definition"]),
            SweepOptions.model_validate(row["options"]),
            tuple(_result_of(trial, row.get("workload") or {}) for trial in document["trials"]),
            environment=row.get("environment"),
            workload=row.get("workload"),
        )
    except OSError as error:
        raise PipelineTunerError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineTunerError(f"{path} is not a sweep's JSON (a page of a sweep offers it): {error!r}") from None


def _result_of(trial: Mapping[str, Any], workload: Mapping[str, Any]) -> TrialResult:
    """A trial; one without its whole record gets the workload's numbers beside its metrics, for goals to use."""
    plan = TrialPlan.from_dict({name: trial[name] for name in TrialPlan.__dataclass_fields__ if name in trial})
    record, metrics = trial.get("measurement"), trial.get("metrics") or {}
    numbers = {} if record else {name: value for name, value in workload.items() if isinstance(value, int | float)}
    return TrialResult(
        plan,
        trial["status"],
        metrics={**numbers, **metrics} if trial["status"] == "measured" else metrics,
        failure=trial.get("failure"),
        reason=trial.get("reason") or "",
        measurement=Measurement.model_validate(record) if record else None,
    )


def _sweep_of_database(sweep_id: str) -> StoredSweep:
    from pipeline_tuner.store import Store

    url = os.environ.get(URL_VARIABLE)
    if not url:
        raise PipelineTunerError(f"set {URL_VARIABLE} to the results database, or name a sweep's JSON file")
    with Store(url) as store:
        record = store.sweep(sweep_id)
        if record is None:
            raise PipelineTunerError(f"there is no sweep {sweep_id!r} in the results database")
        return StoredSweep(
            record.study_definition,
            record.options,
            store.results(sweep_id),
            store.history_of(record),
            record.environment,
            record.workload,
        )


if __name__ == "__main__":
    sys.exit(main())
