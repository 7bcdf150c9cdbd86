"""How `advise --study` writes a study and its DAG: YAML with comments that say why, checked before it is written."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline_tuner.advise.advice import JobAdvice, RunAdvice
from pipeline_tuner.advise.application import Application
from pipeline_tuner.advise.costs import Prices, cost_of
from pipeline_tuner.advise.output_places import own_place_words
from pipeline_tuner.advise.platforms import Platform
from pipeline_tuner.advise.study_parameters import ProposedParameter, ProposedParameters
from pipeline_tuner.advise.submission import Submission, submission_of
from pipeline_tuner.exceptions import PipelineTunerError
from pipeline_tuner.expression import Expression
from pipeline_tuner.study import parse_study
from pipeline_tuner.wording import counted, percent, second_words

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
STUDIES = Path("include") / "configs"
DAG = '''"""Airflow DAG: sweeps of the study include/configs/{name}.yaml, which was written from event logs."""

from pipeline_tuner.dag_factory import tuning_dag

dag = tuning_dag("{name}")
'''
KEPT = (
    *("spark.sql.", "spark.shuffle.", "spark.memory.", "spark.serializer", "spark.kryo", "spark.default.parallelism"),
    *("spark.dynamicAllocation.", "spark.executor.memory", "spark.executor.cores", "spark.executor.instances"),
    *("spark.executor.pyspark.memory", "spark.driver.memory", "spark.driver.cores", "spark.driver.maxResultSize"),
    *("spark.speculation", "spark.locality.", "spark.network.timeout", "spark.task.", "spark.io.", "spark.rdd."),
    *("spark.reducer.", "spark.broadcast.", "spark.cores.max", "spark.python.", "spark.yarn.queue"),
    *("spark.yarn.executor.memoryOverhead", "spark.kubernetes.container.image", "spark.kubernetes.namespace"),
    "spark.kubernetes.authenticate.driver.serviceAccountName",
)
"""Beginnings of settings that say how the work is done. All others are about where it is done, or set by Spark."""
KEPT_OF_OWN_CLUSTERS = ("spark.hadoop.", "spark.executor.extraJavaOptions", "spark.executorEnv.")
"""Managed platforms fill these with values of their own, and do so again for a trial."""
MANAGED = (Platform.EMR, Platform.EMR_SERVERLESS, Platform.DATABRICKS, Platform.GLUE, Platform.DATAPROC)
NO_SUBMIT = (Platform.DATABRICKS, Platform.GLUE, Platform.EMR_SERVERLESS)
"""Platforms that give no master to spark-submit."""
DROPPED = (
    *("spark.sql.warehouse.dir", "spark.sql.catalogImplementation", "spark.sql.emr.", "spark.sql.hive.metastore."),
    *("spark.executorEnv.PYTHONPATH", "spark.sql.artifact."),
)
SPARKS_OWN = {
    "spark.rdd.compress": "True",
    "spark.serializer.objectStreamReset": "100",
    "spark.hadoop.fs.s3a.vectored.read.min.seek.size": "128K",
    "spark.hadoop.fs.s3a.vectored.read.max.merged.size": "2M",
}
"""What pyspark and Spark write into every run's settings by themselves."""
OWN_OPTION = re.compile(
    r"-Djava\.net\.preferIPv6Addresses=\S+|-XX:\+IgnoreUnrecognizedVMOptions|--add-(?:opens|modules|exports)[= ]\S+"
    r"|--enable-native-access=\S+|-Djdk\.reflect\.useDirectMethodHandle=\S+|-Dio\.netty\.\S+"
)
"""The options of Java that Spark gives each JVM, again in a trial."""
MIN_TRIALS, MAX_TRIALS = 12, 40
MAX_HOURS = 8.0
"""A sweep of the study takes about so long at most."""
SMALLER = 0.5
"""A run with this part of the input or less can stand for a cheap size."""


class StudyNotWrittenError(PipelineTunerError):
    """The study can't be written: the message says why and what to do."""


@dataclass(frozen=True)
class Written:
    """What was written for a job."""

    study: Path
    dag: Path | None
    """The DAG of its sweeps, where there are folders for both (a clone)."""
    outputs: tuple[str, ...] = ()
    """Folders and tables that each trial of it writes, as production does."""
    trials: int = 0
    """The most that its sweep makes, ..."""
    seconds: float = 0.0
    """... and what these take together, each as long as the run of the log."""


def check_name(name: str) -> None:
    """Raises StudyNotWrittenError for a name that no study can have."""
    if not NAME.fullmatch(name):
        raise StudyNotWrittenError(f"--study {name!r}: a study's name has small letters, digits and _, a letter first")


def write_study(name: str, jobs: tuple[JobAdvice, ...], prices: Prices, *, folder: Path = Path()) -> Written:
    """Write the study `name` for the one job. Raises StudyNotWrittenError, also where a file exists."""
    check_name(name)
    if len(jobs) != 1:
        found = ", ".join(job.name for job in jobs)
        raise StudyNotWrittenError(f"--study {name}: a study is of one job, and the logs are of {len(jobs)}: {found}")
    studies, dags = folder / STUDIES, folder / "dags"
    is_clone = studies.is_dir() and dags.is_dir()
    written = Written(
        (studies if studies.is_dir() else folder) / f"{name}.yaml",
        dags / f"tune_{name}.py" if is_clone else None,
    )
    for path in filter(None, (written.study, written.dag)):
        if path.exists():
            raise StudyNotWrittenError(f"{path} exists: give another name, or remove it")
    text = study_text(name, jobs[0], prices)
    app = jobs[0].main.read.application
    trials = trials_for(app)
    written = replace(written, outputs=app.outputs, trials=trials, seconds=trials * run_seconds(app))
    written.study.write_text(text, encoding="utf-8")
    if written.dag is not None:
        written.dag.write_text(DAG.format(name=name), encoding="utf-8")
    return written


def study_text(name: str, job: JobAdvice, prices: Prices) -> str:
    """The study as YAML. Raises StudyNotWrittenError for a run that says too little, StudyError for a fault of ours."""
    if not job.main.read.application.stages:
        raise StudyNotWrittenError("no task ran in the logs: there is nothing to make a study of")
    writer = StudyText(name, job, prices)
    if not writer.has_parameters:
        raise StudyNotWrittenError(
            "no setting that a study could vary rules 2% of the run: there is nothing to measure"
        )
    text = "\n".join(writer.lines()) + "\n"
    parse_study(text, source=f"{name}.yaml")
    return text


class StudyText:
    """The parts of a study's text."""

    def __init__(self, name: str, job: JobAdvice, prices: Prices) -> None:
        self._name, self._job, self._prices = name, job, prices
        self._run: RunAdvice = job.main
        self._app = self._run.read.application
        self._proposed = ProposedParameters(self._run)
        self._parameters = self._proposed.found()
        self._submission = submission_of(self._app)
        self._small = smaller_run(job)

    @property
    def has_parameters(self) -> bool:
        """Whether there is something to vary."""
        return bool(self._parameters)

    def lines(self) -> Iterator[str]:
        """All lines."""
        yield from self._head()
        yield from self._runner()
        yield from self._workload()
        yield from self._space()
        yield from self._presets()
        yield from self._goals()
        yield from self._budget()

    def _head(self) -> Iterator[str]:
        app = self._app
        command = f"`python -m pipeline_tuner advise --study {self._name}`"
        of = f"{app.name}, Spark {app.version}, {self._run.rules.platform.value}"
        logs = counted(len(self._job.runs), "event log")
        yield from _comment(f"Written by {command} from {logs} of {of}.")
        yield from _comment(
            "What only you know is marked <fill in: ...>; `python -m pipeline_tuner study validate` names these places."
        )
        yield from own_place_words(self._app.outputs, self._argument_lists)
        yield f"study: {self._name}"
        yield f"job: {self._name}"
        yield f"description: {_quoted(f'{app.name}: what its event logs say can matter')}"
        yield "tags: [spark, from_event_log]"
        yield ""

    def _runner(self) -> Iterator[str]:
        submission = self._submission
        yield "runner:"
        yield "  kind: spark_submit"
        if self._run.rules.platform in NO_SUBMIT:
            platform = self._run.rules.platform.value
            yield f"  # The log is of {platform}, which has no master for spark-submit: trials run on the"
            yield "  # connection's master instead, and hold for that one only."
        yield "  conn_id: spark_default   # the Airflow connection that names the master; deploy mode client"
        yield "  options:"
        yield f"    application: {_quoted(submission.application)}"
        if submission.java_class:
            yield f"    java_class: {_quoted(submission.java_class)}"
        yield from self._arguments(submission)
        for key in ("jars", "py_files", "packages", "files"):
            value = getattr(submission, key)
            if value:
                yield f"    {key}: {_quoted(value)}"
        if self._proposed.is_local:
            yield '    master: "local[{cores}]"   # in place of the connection\'s'
        yield from self._conf()
        yield "    # Say what the program prints when its output is right, else a fast wrong result could win:"
        yield "    # checks: {finished: 'rows written: [1-9]'}"
        yield ""

    def _arguments(self, submission: Submission) -> Iterator[str]:
        if submission.arguments:
            yield "    # As in the log, where an argument with a space in it looks like two. Dates are of that run."
        if self._small is None:
            if submission.arguments:
                yield f"    arguments: {_list(submission.arguments)}"
            return
        yield "    arguments:   # of each of the workload's sizes"
        yield from (f"      {size}: {_list(given)}" for size, given in self._argument_lists.items())

    @property
    def _argument_lists(self) -> dict[str, tuple[str, ...]]:
        """The arguments of each of the workload's sizes."""
        small = submission_of(self._small.read.application).arguments if self._small else None
        return {"full": self._submission.arguments, **({} if small is None else {"small": small})}

    def _conf(self) -> Iterator[str]:
        """The run's settings, those with a parameter filled by it; cluster's, Spark's own and secrets left out."""
        settings = self._app.settings
        filled = {parameter.setting: parameter.form for parameter in self._parameters if parameter.setting}
        kept = {name: value for name, value in own_settings(settings.spark).items() if self._is_kept(name)}
        yield "    conf:"
        for name, form in filled.items():
            yield f"      {name}: {_quoted(form)}"
        for name, value in kept.items():
            if name not in filled:
                yield f"      {name}: {_quoted(_as_text(value))}"
        if settings.hidden:
            yield "    # Left out, as they look like secrets (their place is the connection or the cluster's defaults):"
            yield from _comment(", ".join(settings.hidden), indent="    ")

    def _is_kept(self, name: str) -> bool:
        kept = KEPT if self._run.rules.platform in MANAGED else (*KEPT, *KEPT_OF_OWN_CLUSTERS)
        return name.startswith(kept) and not name.startswith(DROPPED)

    def _workload(self) -> Iterator[str]:
        app = self._app
        records = sum(stage.totals.input_records for stage in app.stages)
        read = f"{records:,} records read, " if records else ""
        yield "workload:"
        yield "  name: as_in_the_log"
        yield f"  help: {_quoted(f'{read}{second_words(app.wall_ms / 1000)} with the present settings')}"
        if self._small is None:
            yield "  # No run of less input by other arguments is among the logs, so there is no cheaper size."
        else:
            fraction = _input(self._small) / max(1, _input(self._run))
            took = second_words(self._small.breakdown.wall_ms / 1000)
            yield f"  # A run with {percent(fraction)} of the input took {took} in the same stages: the search explores"
            yield "  # on it, and checks that it ranks as the whole does."
            yield f"  sizes: {{full: 1.0, small: {fraction:.4f}}}"
            yield "  screening: small"
        yield ""

    def _space(self) -> Iterator[str]:
        yield "space:"
        yield "  parameters:"
        for parameter in self._parameters:
            yield from _parameter(parameter)
        yield from self._features()
        if self._constraints:
            yield "  constraints:   # twice the cluster that the run had, and some memory for each task"
            yield from (f"    - {text}" for text in self._constraints)
        yield ""

    def _features(self) -> Iterator[str]:
        names = {parameter.name for parameter in self._parameters}
        memory, cores = (
            ("driver_memory_mb", "cores") if self._proposed.is_local else ("executor_memory_mb", "executor_cores")
        )
        features = []
        if {memory, cores} <= names:
            features.append(f"    memory_per_core_mb: {memory} / {cores}   # what a task may use")
        if "shuffle_partitions" in names and self._all_cores:
            cores = f"({self._all_cores})" if "*" in self._all_cores else self._all_cores
            features.append(f"    tasks_per_core: shuffle_partitions / {cores}")
        if features:
            yield "  features:"
            yield from features

    @property
    def _all_cores(self) -> str:
        """All cores, as an expression over the parameters; empty where no parameter is about them."""
        names = [parameter.name for parameter in self._parameters]
        count = next((name for name in ("executors", "max_executors") if name in names), "")
        whole = next((name for name in ("cores", "total_cores") if name in names), "")
        return f"{count} * executor_cores" if count else whole

    @cached_property
    def _constraints(self) -> tuple[str, ...]:
        """What holds between the parameters of a cluster: its size as seen, and some memory for a task."""
        defaults = self._defaults
        if self._proposed.is_local or not self._all_cores:
            return ()
        cores, memory = defaults["executor_cores"], defaults["executor_memory_mb"]
        count = self._all_cores.removesuffix(" * executor_cores")
        executors = count if count != self._all_cores else f"{count} / executor_cores"
        total = 2 * int(Expression(self._all_cores).evaluate(defaults))
        least = max(1, min(512, memory // cores))
        most_memory = -(-total * memory // cores)
        return (
            *((f"executor_cores <= {self._all_cores}",) if executors != count else ()),
            f"{self._all_cores} <= {total}",
            f"{executors} * executor_memory_mb <= {most_memory}",
            f"executor_memory_mb >= {least} * executor_cores",
        )

    @cached_property
    def _defaults(self) -> dict[str, int]:
        return {parameter.name: int(parameter.default) for parameter in self._parameters}

    def _presets(self) -> Iterator[str]:
        advised = self._advised()
        yield "presets:"
        yield "  present: {}   # the parameters' defaults: the settings of the run"
        if advised:
            yield "  # What the findings propose, all at once; the search tries parts of it, too."
            yield f"  advised: {{{', '.join(f'{name}: {_yaml(value)}' for name, value in advised.items())}}}"
        yield "control: present"
        yield "fallback: present"
        yield ""

    def _advised(self) -> dict[str, int | bool]:
        """Values of the findings' proposals, as parameters, where the space has them."""
        by_setting = {parameter.fills: parameter for parameter in self._parameters}
        found: dict[str, int | bool] = {}
        for finding in self._run.findings:
            for each in finding.proposals:
                parameter = by_setting.get(each.setting)
                value = parameter.parsed(each.value) if parameter else None
                if (
                    parameter
                    and value is not None
                    and value != parameter.default
                    and self._fits({**found, parameter.name: value})
                ):
                    found.setdefault(parameter.name, value)
        return found

    def _fits(self, values: dict[str, int | bool]) -> bool:
        """Whether the values keep to the constraints that this study writes."""
        return all(Expression(text).evaluate({**self._defaults, **values}) for text in self._constraints)

    def _goals(self) -> Iterator[str]:
        yield "goals:"
        yield "  time:"
        yield "    minimize: duration_s"
        yield "    unit: s"
        yield "    help: the whole of spark-submit, start-up included"
        yield "  cost:"
        yield "    minimize: (allocated_core_seconds * core_hour + allocated_gb_seconds * gigabyte_hour) / 3600"
        yield "    unit: USD"
        yield "    help: cores and heap that the executors had, used or not"
        yield "  balanced:"
        yield "    balance: [time, cost]"
        core, memory = self._prices.core_hour, self._prices.gigabyte_hour
        yield f"prices: {{core_hour: {core!r}, gigabyte_hour: {memory!r}}}   # USD; put in yours"
        yield ""

    def _budget(self) -> Iterator[str]:
        seconds, trials = run_seconds(self._app), trials_for(self._app)
        cost = cost_of(self._run, self._prices)
        money = f", about {trials * cost.price:.3g} USD" if cost else ""
        yield f"# {trials} trials of about {second_words(seconds)}: {second_words(trials * seconds)}{money}."
        yield "budget:"
        yield f"  trials: {trials}"
        yield "  blocks: 3"
        yield "  confirm_blocks: 3"
        yield "  indifference: 0.05"
        yield "  warmups: 0   # a program that can't be changed runs once in a trial"
        yield f"  trial_timeout_s: {max(300, int(4 * seconds))}"


def run_seconds(app: Application) -> float:
    """How long a run takes, for what a sweep takes."""
    return max(1.0, app.wall_ms / 1000)


def trials_for(app: Application) -> int:
    """The budget of a study of the application: what fits into MAX_HOURS, within bounds."""
    return int(max(MIN_TRIALS, min(MAX_TRIALS, MAX_HOURS * 3600 / run_seconds(app))))


def own_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings in the order of their names, without what Spark adds to every run by itself."""
    found = {}
    for name, value in sorted(settings.items()):
        own = " ".join(OWN_OPTION.sub("", value).split()) if name.endswith("extraJavaOptions") else value
        if (own or not value) and SPARKS_OWN.get(name) != own:
            found[name] = own
    return found


def smaller_run(job: JobAdvice) -> RunAdvice | None:
    """A run of the job with clearly less input, the same stages, and arguments that make the difference."""
    names = _stage_names(job.main)
    arguments = submission_of(job.main.read.application).arguments
    fitting = [
        run
        for run in job.runs
        if 0 < _input(run) <= SMALLER * _input(job.main)
        and len(names & _stage_names(run)) >= 0.8 * len(names)
        and submission_of(run.read.application).arguments != arguments
    ]
    return min(fitting, key=_input, default=None)


def _stage_names(run: RunAdvice) -> set[str]:
    return {step.stage.name for step in run.breakdown.steps}


def _input(run: RunAdvice) -> int:
    """How much a run read: records, as Spark counts too few bytes of some files; bytes where it counts no records."""
    totals = [stage.totals for stage in run.read.application.stages]
    return sum(each.input_records for each in totals) or sum(each.input_bytes for each in totals)


def _parameter(parameter: ProposedParameter) -> Iterator[str]:
    if parameter.why:
        yield from _comment(parameter.why, indent="    ")
    yield f"    {parameter.name}:"
    if parameter.is_switch:
        yield "      type: categorical"
        yield "      values: [false, true]"
    else:
        yield "      type: integer"
        yield f"      low: {parameter.low}"
        yield f"      high: {parameter.high}"
        yield f"      log: {_yaml(parameter.log)}"
    yield f"      default: {_yaml(parameter.default)}"
    if parameter.unit:
        yield f"      unit: {parameter.unit}"
    yield f"      help: {_quoted(parameter.help)}"


def _as_text(value: str) -> str:
    """A setting's text as the runner takes it: braces in it are no parameter."""
    return re.sub(r"(?<![$%@{])\{([A-Za-z_][\w.-]*)\}", r"{{\1}}", value)


def _list(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(map(_quoted, map(_as_text, values))) + "]"


def _quoted(text: str) -> str:
    """A text that YAML reads as it is, whatever is in it: JSON's quotes are YAML's."""
    return json.dumps(text)


def _yaml(value: Any) -> str:
    return json.dumps(value)


def _comment(text: str, *, indent: str = "") -> list[str]:
    mark = f"{indent}# "
    return textwrap.wrap(" ".join(text.split()), 118, initial_indent=mark, subsequent_indent=mark) or [mark]
