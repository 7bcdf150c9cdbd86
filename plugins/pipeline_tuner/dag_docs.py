"""What the page of a DAG in Airflow says (`doc_md`), generated from its study. No I/O."""

from __future__ import annotations

from pipeline_tuner.space import text_of
from pipeline_tuner.study import Goal, Study


def tuning_doc(study: Study) -> str:
    """Markdown for the DAG of a study's sweeps."""
    return "\n\n".join(
        [
            f"### Which settings should `{study.study}` run with?",
            study.description or f"Job `{study.job}` on workload `{study.workload.name}`.",
            "A run is a sweep: configurations are measured in random order, in blocks that each hold the control "
            f"`{study.control}`; a last task recommends one for each goal, with an interval, or says what ties.",
            _table(("goal", "best is", "unit"), [(name, _aim(goal), goal.unit) for name, goal in study.goals.items()]),
            _table(("parameter", "values", "default", "what it does"), _parameters(study)),
            f"Presets: {', '.join(f'`{name}`' for name in study.presets)}. The answer is in the XCom of task "
            "`recommend`, in the tables of schema `pipeline_tuner`, and in the written analysis that the task names.",
        ]
    )


def production_doc(study: Study, goal: str) -> str:
    """Markdown for the DAG that runs a study's job in production."""
    fallback = study.fallback or study.control
    return (
        f"### `{study.study}` with the configuration that is best for {goal}\n\n"
        f"Runs what was promoted for `{goal}`, else what the newest sweep recommends. Where there is nothing valid, or "
        f"the results database is unavailable, it runs preset `{fallback}` and says why in log and XCom. "
        "Its own runs are noted in table `pipeline_tuner.production_run`."
    )


def _aim(goal: Goal) -> str:
    if goal.balance:
        return f"the balance of {', '.join(goal.balance)}"
    return f"highest `{goal.maximize}`" if goal.maximize else f"lowest `{goal.minimize}`"


def _parameters(study: Study) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, parameter in study.space.parameters.items():
        values = ", ".join(map(text_of, parameter.values)) or f"{parameter.low:g} to {parameter.high:g}"
        unit = f" {parameter.unit}" if parameter.unit else ""
        rows.append((f"`{name}`", values + unit, text_of(parameter.default), parameter.help))
    return rows


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
