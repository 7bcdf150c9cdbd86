"""The house's boundaries, read from the imports of its modules."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from tests import module_list

from pipeline_tuner.jobs import JOBS as DESCRIBED

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
JOBS = ROOT / "spark_jobs"
MODULES = sorted(path for folder in (PLUGINS, JOBS) for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
LONGEST_MODULE = 600
HEAVY = {
    *("aiohttp", "airflow", "altair", "boto3", "duckdb", "fastapi", "numpy", "pandas", "pip", "polars", "psycopg2"),
    *("pyarrow", "pymongo", "pyspark", "scipy", "sqlalchemy", "statsmodels", "threadpoolctl", "vl_convert"),
}
"""What takes long to import, or is not installed everywhere: it may be imported inside a function."""
AIRFLOW = {"airflow"}
SPARK = {"pyspark"}
DATABASES = {"psycopg2", "sqlalchemy", "alembic", "pymongo", "duckdb"}

NOUNS = (
    *("study", "claim", "space", "trial", "measurement", "measurement_details", "sweep", "monitoring.nights"),
    *("recommendation", "expression", "exceptions", "wording", "metric_names"),
    *(
        "program_output",
        "command",
        "command_check",
        "goal_check",
        "problems",
        "study_check",
        "study_parts",
        "study_yaml",
        "sweep_form",
    ),
    *("spark_application", "standard_output", "unfilled", "failure_cause"),
    *("argument_forms", "argument_paths", "spark_arguments", "study_places", "operator_job", "jobs"),
)
WATCH = ("monitoring.drift", "monitoring.promotion", "monitoring.validity", "monitoring.night_values")
"""What monitoring finds in the measurements; its other modules are a plan, a store, tasks and a report."""
PURE = (*NOUNS, *WATCH, "monitoring.night_plan", "search", "analysis", "recommend", "reasons", "advise")
ALLOWED = {
    **{noun: {*NOUNS} for noun in NOUNS},
    **{part: {*NOUNS, *WATCH, "analysis"} for part in WATCH},
    "monitoring.night_plan": {*NOUNS, "analysis", "search"},
    "monitoring.store": {*NOUNS, "store"},
    "monitoring.report": {*NOUNS, *WATCH, "analysis", "report", "charts"},
    "search": {*NOUNS, "search", "analysis", "monitoring.night_plan"},
    "analysis": {*NOUNS, "analysis"},
    "recommend": {*NOUNS, "analysis", "monitoring.validity", "recommend", "reasons"},
    "reasons": {*NOUNS, "analysis", "recommend", "reasons"},
    "store": {*NOUNS, "store"},
    "jobs.report": {*NOUNS, "analysis", "charts", "report", "settings", "jobs.report"},
    "report": {*NOUNS, *WATCH, "monitoring.report", "report", "analysis", "recommend", "charts"},
    "charts": {*NOUNS, "analysis", "charts"},
    "production": {*NOUNS, "analysis", "monitoring.validity", "store", "production"},
    "web": {
        *NOUNS,
        "monitoring.validity",
        "web",
        "production",
        "connections",
        "store",
        "report",
        "analysis",
        "recommend",
        "charts",
        "settings",
    },
    "runners": {*NOUNS, "runners", "settings", "analysis", "advise"},
    "local": {*NOUNS, "local", "store", "report"},
    "advise": {*NOUNS, "advise"},
}
"""Part of `pipeline_tuner` to the parts that it may import; parts that are not here may import what they like.

A command line (`__main__`) puts parts together and may import all of them.
"""


KNOWN_BY_TYPE = (
    ("pipeline_tuner.reasons", "pipeline_tuner.recommend"),  # the sentences of a record, which it asks for
    ("pipeline_tuner.operators.tuned_run", "pipeline_tuner.tuned_task"),  # what `tuned` was given, which calls it
)
"""Modules that know another for its types alone, and are imported by it."""


@dataclass(frozen=True)
class Imported:
    """What a module imports: `top` when it is loaded, `inside` when a function of it runs, `types` to check it."""

    top: frozenset[str]
    inside: frozenset[str]
    types: frozenset[str]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module_name(path: Path) -> str:
    base = PLUGINS if PLUGINS in path.parents else JOBS
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def _imports_of(path: Path, own: set[str]) -> Imported:
    found: dict[str, set[str]] = {"top": set(), "inside": set(), "types": set()}
    waiting: list[tuple[ast.AST, str]] = [(_tree(path), "top")]
    while waiting:
        node, place = waiting.pop()
        if isinstance(node, ast.Import):
            found[place] |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names} & own
            found[place] |= below or {node.module}
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            place = "types"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            place = "inside"
        waiting += [(child, place) for child in ast.iter_child_nodes(node)]
    return Imported(**{place: frozenset(names) for place, names in found.items()})


NAMES = {_module_name(path): path for path in MODULES}


@cache
def imports() -> Mapping[str, Imported]:
    """What each module imports. Read once, and not by the test processes that run other files."""
    return {name: _imports_of(path, set(NAMES)) for name, path in NAMES.items()}


OF_A_JOB = ("jobs", "jobs.report", "maintenance_dag", "local")
"""Parts that are about jobs by name: their descriptions, and the services that demo and tests run for each."""


def test_modules_are_found():
    assert len(MODULES) > 20


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_parts_import_only_what_lies_below_them(module: Path):
    part = _part(module)
    if part not in ALLOWED or module.stem == "__main__":
        return
    used = {_part_of_name(name) for name in _imports(module) if name.startswith("pipeline_tuner.")}
    assert used <= ALLOWED[part], f"{part} must not import {', '.join(sorted(used - ALLOWED[part]))}"


def test_no_import_cycle():
    """Imports inside functions and for types alone count: they would hide one."""
    used = {name: found.top | found.inside | found.types for name, found in imports().items()}
    graph = {name: {*others} & NAMES.keys() - {name} for name, others in used.items()}
    for name, other in KNOWN_BY_TYPE:
        graph[name].remove(other)
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_only_what_is_heavy_is_imported_inside_a_function(name: str):
    """One's own module may be, too, where it brings something heavy that its importer does without."""
    known = _third_party(name)
    light = [other for other in imports()[name].inside if not _is_heavy(other, known)]
    assert not light, f"import at the top of {name}: {', '.join(light)}"


@pytest.mark.parametrize("part", PURE)
def test_the_pure_parts_know_no_airflow_spark_or_database(part: str):
    for module in _modules_of(part):
        forbidden = _top_level(module) & (AIRFLOW | SPARK | DATABASES)
        assert not forbidden, f"{module.name} imports {forbidden}"


def test_jobs_know_nothing_of_the_plugin():
    for module in (path for path in MODULES if JOBS in path.parents):
        assert not _top_level(module) & (AIRFLOW | {"pipeline_tuner"}), module


def test_jobs_are_peers():
    """What several jobs need lies beside contract.py, and knows none of them."""
    root = JOBS / "pipeline_jobs"
    jobs = {folder.name for folder in root.iterdir() if (folder / "__init__.py").exists()}
    assert set(DESCRIBED) <= jobs
    for module in (path for path in MODULES if root in path.parents):
        own = module.relative_to(root).parts[0]
        used = {name.split(".")[1] for name in _imports(module) if name.startswith("pipeline_jobs.")} & jobs
        assert used <= {own}, f"{module.relative_to(ROOT)} imports {', '.join(sorted(used - {own}))}"


def test_the_plugin_knows_no_job():
    for module in (path for path in MODULES if PLUGINS in path.parents):
        assert "pipeline_jobs" not in _top_level(module), module


def test_generic_code_names_no_job():
    """What only one job needs is registered by its description (pipeline_tuner/jobs)."""
    jobs = set(DESCRIBED)
    for module in (path for path in MODULES if PLUGINS in path.parents):
        if _part(module) in OF_A_JOB or module.stem in jobs | {"redshift"}:
            continue
        nodes = list(ast.walk(_tree(module)))
        named = {str(node.value) for node in nodes if isinstance(node, ast.Constant)} & jobs
        imported = {name for name in _imports(module) if set(name.split(".")[2:]) & jobs}
        assert not named | imported, f"{module.relative_to(ROOT)} names {', '.join(named | imported)}"


def test_everything_imported_is_declared():
    """Not only what somebody else's dependency happens to bring: pyproject.toml says why each is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    main, local = _distributions(project["dependencies"]), _distributions(project["optional-dependencies"]["local"])
    providers = packages_distributions()
    for name, path in NAMES.items():
        declared = main | local if name.startswith("pipeline_tuner.local") else main
        for other in imports()[name].top | imports()[name].inside:
            top = other.split(".")[0]
            if top in sys.stdlib_module_names or top in ("pipeline_tuner", "pipeline_jobs", "pip"):
                continue
            needed = {_normal(found) for found in providers.get(top, [top])}
            if other.startswith("airflow.providers."):
                wanted = "-".join(("apache", "airflow", *other.split(".")[1:]))
                needed = {found for found in needed if f"{wanted}-".startswith(f"{found}-") and "providers" in found}
            assert needed & declared, f"{path.relative_to(ROOT)} imports {other}, which is in no dependency"


FOREIGN = {
    "pipeline_jobs.contract": "the JVM's OutOfMemoryError, which py4j hands on as text",
    "pipeline_jobs.event_log": "Spark's reason why an executor went, of which its event log has no other word",
    "pipeline_jobs.quantizer.batch": "Iceberg's exceptions, which py4j hands on as text",
    "pipeline_jobs.quantizer.iceberg": "Iceberg's exceptions, which py4j hands on as text",
    "pipeline_jobs.streaming_etl.target": "PostgreSQL's message, of which the context is left out",
    "pipeline_jobs.dedup.readers": "Spark's exceptions, which py4j hands on as text",
    "pipeline_jobs.spark_errors": "Spark's exceptions, which py4j hands on as text",
    "pipeline_tuner.measurement": "pydantic's message, of which its own prefix is left out",
    "pipeline_tuner.runners.glue": "AWS Glue's message on a job run",
}
"""Modules that look for something in a text that other software wrote, and whose text it is."""
SENTENCES = {"args", "message", "msg", "reason", "sentence", "task_id", "why", "words"}
"""Names of what is written for people: nothing is decided by what they say."""
LOOKS = {"startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "find", "index", "count"}


def test_nothing_is_decided_by_a_sentence():
    """What code has to know of an error, a task or a reason is a type, an enum or a field."""
    trees = {name: _tree(path) for name, path in NAMES.items()}
    nodes = [(name, node) for name, tree in trees.items() for node in ast.walk(tree)]
    found = [(name, ast.unparse(node)) for name, node in nodes if _looks_into_a_sentence(node)]
    assert not [one for one in found if one[0] not in FOREIGN]
    assert {name for name, _ in found} == set(FOREIGN)


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ("'source.schema has' in error.words", True),
        ("'late' not in str(error)", True),
        ("task.task_id.rsplit('.', 1)[-1].split('_')[0]", True),
        ("why.startswith('never measured')", True),
        ("str(error).removeprefix('runner.command: ')", True),
        ("' '.join(str(error).split())", False),
        ("error.kind in KINDS", False),
        ("name.startswith('spark.')", False),
    ],
)
def test_a_look_into_a_sentence_is_recognised(code: str, is_found: bool):
    assert any(_looks_into_a_sentence(node) for node in ast.walk(ast.parse(code))) == is_found


def _looks_into_a_sentence(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        is_text = isinstance(node.left, ast.Constant | ast.Name)
        return is_text and _is_sentence(node.comparators[0])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_sentence(node.func.value):
        return node.func.attr in LOOKS or (node.func.attr in ("split", "rsplit") and bool(node.args))
    return False


def _is_sentence(node: ast.expr) -> bool:
    """A name or an attribute that holds words for people, or an exception as text."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
        return isinstance(node.args[0], ast.Name) and node.args[0].id in ("error", "exception")
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value in SENTENCES
    return (node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")) in SENTENCES


def test_private_parts_of_others_are_listed():
    """Each may go with the next release of its package: CONTRIBUTING says which there are, and why."""
    trees = [_tree(path) for path in MODULES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_own(node) is not None}
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_own(node) is None} - own
    used |= {part for names in imports().values() for name in names.top | names.inside for part in name.split(".")}
    private = {name for name in used if re.match(r"_[a-z]", name)} - {"_replace", "_exit"}
    listed = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert not [name for name in sorted(private) if f"{name}`" not in listed]


def _is_own(node: ast.Attribute) -> str | None:
    """The attribute's name where it is set or read on the object itself; None on any other object."""
    return node.attr if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") else None


def _distributions(requirements: list[str]) -> set[str]:
    return {_normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in requirements}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_contract_needs_the_standard_library_only():
    third_party = _top_level(JOBS / "pipeline_jobs" / "contract.py") & (SPARK | DATABASES | {"numpy", "pyarrow"})
    assert not third_party


def test_only_airflow_facing_parts_import_airflow():
    facing = {"operators", "dag_factory", "web", "settings", "runners", "provider", "airflow_pools", "connections"}
    facing |= {"maintenance_dag"}
    facing |= {"monitoring.night_start", "monitoring.night_end", "monitoring.notify", "monitoring.retention"}
    users = {_part(module) for module in MODULES if PLUGINS in module.parents and _top_level(module) & AIRFLOW}
    assert users - {"pipeline_tuner_plugin"} <= facing


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_short(module: Path):
    if module.parent.name == "versions":
        pytest.skip("a schema version is written once and never read as a story")
    lines = len(module.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE, f"{lines} lines"


MAX_PARAMETERS = 9
MANY_BY_NAME = {"pipeline_tuner.operators.redshift", "pipeline_tuner.tuned_task"}
"""What a user writes with keywords, each of them documented."""
COMPILED = {"pipeline_jobs.streaming_etl.kernel", "pipeline_jobs.streaming_etl.memory_kernel"}
"""numba takes arrays one by one."""


def test_no_function_takes_ten_parameters():
    """What belongs together is a record."""
    found = []
    for name, path in NAMES.items():
        if name in MANY_BY_NAME or any(name.startswith(module) for module in COMPILED):
            continue
        functions = [n for n in ast.walk(_tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        for function in functions:
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            count = len([one for one in arguments if one.arg not in ("self", "cls")])
            found += [f"{name}.{function.name}: {count}"] if count > MAX_PARAMETERS else []
    assert not found


def test_source_documents_go_by_their_names():
    """Readers of studies, code and docs know them from docs/sources.md; a random seed stays a seed."""
    names = r"seeds?[ _]?00\d|documents?\s+00\d|seed_shape|\bthe seeds?'s?\b|\bas the seed"
    values = r"\b(strategy|shape)( ==|:|=) ?['\"]?seed\b"
    private = re.compile(f"{names}|{values}", re.IGNORECASE)
    folders = [PLUGINS, JOBS, ROOT / "include", ROOT / "docs"]
    texts = [p for folder in folders for p in folder.rglob("*") if p.suffix in (".py", ".yaml", ".md", ".html")]
    assert not [str(p.relative_to(ROOT)) for p in texts if private.search(p.read_text(encoding="utf-8"))]


def test_no_module_hides_behind_an_empty_name():
    empty = re.compile(r"(^|_)(util|utils|helper|helpers|common|misc|manager)(_|$)")
    assert not [path for path in MODULES if empty.search(path.stem)]


def test_the_tree_in_contributing_names_every_part():
    """A newcomer opens the right module with it alone."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = text.partition("## The tree")[2].partition("## Where to change what")[0]
    named = set(re.findall(r"\w+", tree))
    folders = (PLUGINS / "pipeline_tuner", JOBS / "pipeline_jobs")
    parts = {path.stem for folder in folders for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - named <= {"__init__", "__pycache__"}


def test_contributing_lists_every_module_by_its_own_first_line():
    """So the list is never out of date, and a newcomer can search it for the words of a task."""
    text = module_list.PAGE.read_text(encoding="utf-8")
    assert text == module_list.with_list(text), "run: python -m tests.module_list"
    assert all(module_list.first_line(path) for path in module_list.listed_files() if path.name != "__init__.py")


def test_what_contributing_leads_to_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("## Where to change what")[2].partition("What imports what")[0]
    roots = (PLUGINS / "pipeline_tuner", JOBS / "pipeline_jobs", ROOT)
    paths = re.findall(r"`([\w/.]+\.(?:py|yaml|html))`|\b(docs/[\w-]+\.md)", table)
    assert paths
    assert not [a or b for a, b in paths if not any((root / (a or b)).exists() for root in roots)]
    for folder, names in re.findall(r"`([\w/]+\.py)` \(`(\w+)`\)", table):
        found = next(path for root in roots if (path := root / folder).exists())
        assert re.search(rf"\b{names}\b", found.read_text(encoding="utf-8")), f"{folder} has no {names}"


def test_airflow_loads_only_the_plugin_module():
    ignored = (PLUGINS / ".airflowignore").read_text(encoding="utf-8").split()
    assert "pipeline_tuner/" in ignored


def _third_party(name: str) -> set[str]:
    """What a module imports at its top beside the project's own, what those import included."""
    found, waiting = set[str](), [name]
    seen = set[str]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        for other in imports()[one].top:
            if other in NAMES:
                waiting.append(other)
            else:
                found.add(other)
    return found


def _is_heavy(other: str, known: set[str]) -> bool:
    brought = _third_party(other) - known if other in NAMES else {other}
    return any(name.split(".")[0] in HEAVY for name in brought)


def _part(module: Path) -> str:
    """The first name below `pipeline_tuner` (or below plugins or spark_jobs); monitoring's modules are parts."""
    for root in (PLUGINS / "pipeline_tuner", PLUGINS, JOBS):
        if root in module.parents:
            return _part_of_name(".".join(("", *module.relative_to(root).with_suffix("").parts)))
    raise AssertionError(module)


def _part_of_name(name: str) -> str:
    """The part that a dotted name below a package is of: `pipeline_tuner.store.reads` is of `store`."""
    _, *parts = name.split(".")
    if parts[0] == "jobs":
        return "jobs.report" if len(parts) > 2 else "jobs"
    return ".".join(parts[:2]) if parts[0] == "monitoring" else parts[0]


def _modules_of(part: str) -> list[Path]:
    return [module for module in MODULES if PLUGINS in module.parents and _part(module) == part]


def _top_level(module: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(module)}


def _imports(module: Path) -> Iterator[str]:
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "pipeline_tuner":
            yield from (f"pipeline_tuner.{alias.name}" for alias in node.names if not alias.name.startswith("__"))
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
