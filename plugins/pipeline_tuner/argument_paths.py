"""How a configuration gets into an operator's arguments, by paths such as `executor_memory`, `env.BATCH`,
`conf.spark.sql.x`.

A path starts with an argument's name. What follows are keys of the mappings (numbers of the lists, attributes of the
objects) inside it; a key may have dots itself, as Spark's settings do. A text may stand around the value:
`executor_memory={memory_mb}m`. Nothing but the path `master` of a Spark task asks for a connection.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline_tuner.argument_forms import Place, place_of
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.space import Configuration, Scalar, text_of
from pipeline_tuner.spark_arguments import acting_paths, hook_with_master, is_master, written_master

TEXT = frozenset({"env", "env_vars", "environment", "conf", "properties", "script_args", "Arguments"})
"""Mappings whose values are text: variables and settings. Elsewhere a value is text where it replaces a text."""
DOTTED = frozenset({"conf", "properties"})
"""Mappings whose new keys may have dots."""
SCHEDULERS = frozenset(
    {
        *("task_id", "dag_id", "dag", "task_group", "owner", "start_date", "end_date", "depends_on_past"),
        *("pool", "pool_slots", "queue", "priority_weight", "weight_rule", "executor", "executor_config"),
        *("retries", "retry_delay", "retry_exponential_backoff", "max_retry_delay", "trigger_rule", "params"),
        *("max_active_tis_per_dag", "max_active_tis_per_dagrun", "map_index_template", "outlets", "inlets"),
    }
)
"""Arguments that Airflow has acted on before the task starts: setting them then would do nothing."""


def lay_over(operator: object, sets: Mapping[str, str], configuration: Configuration) -> None:
    """Put each value of a configuration where `sets` says, in place of what the operator's author wrote.

    All of it or nothing: raises ConfigurationError, with the operator as it was, where a parameter has no place or
    would not act there. Mappings are replaced, never changed: tasks may share them.
    """
    changed = _changed(operator, sets, configuration)
    before = {name: getattr(operator, name) for name in changed}
    try:
        for name, value in changed.items():
            setattr(operator, name, value)
    except Exception as error:
        for name in changed:
            if getattr(operator, name) is not before[name]:
                setattr(operator, name, before[name])
        raise ConfigurationError(f"{type(operator).__name__} can't be given {name!r}: {error}") from None


def check_places(operator: object, sets: Mapping[str, str], names: Iterable[str]) -> None:
    """Raises ConfigurationError where one of these parameters has no place in the operator, or would not act there."""
    _changed(operator, sets, dict.fromkeys(names, ""))


def written_values(operator: object, sets: Mapping[str, str]) -> dict[str, Scalar]:
    """What the operator's arguments say at each path, by parameter; without those that say nothing."""
    found: dict[str, Scalar] = {}
    for name, path in sets.items():
        place = place_of(name, path)
        value = _written_at(operator, place.path)
        if not isinstance(value, bool | int | float | str):
            continue
        found |= {place.names[0]: value} if place.is_bare else place.read(text_of(value)) or {}
    return found


def _written_at(operator: object, path: str) -> Any:
    """What acts of what is written for a path: an argument that overrides it, where there is one."""
    try:
        acting = acting_paths(operator, path)
        return written_master(operator) if is_master(operator, path) else _value_at(operator, acting[-1])
    except ConfigurationError:
        return None


def has_argument(operator: object, path: str) -> bool:
    """Whether the operator has the argument that a path starts with."""
    root = path.partition(".")[0]
    return hasattr(operator, root) or hasattr(operator, f"_{root}")


def path_problem(path: str) -> str | None:
    """What is wrong with a path that can be told without its operator; None where nothing is."""
    path = path.partition("=")[0]
    root, _, rest = path.partition(".")
    if not root.isidentifier() or path.endswith(".") or ".." in path:
        return f"{path!r} is no path: give an argument's name, and keys inside it after dots"
    if root in SCHEDULERS and not rest:
        return f"{path!r} is an argument that Airflow has acted on before the task starts"
    return None


def _changed(operator: object, sets: Mapping[str, str], configuration: Configuration) -> dict[str, Any]:
    """The operator's attributes that change, with their new values."""
    places = [place_of(name, path) for name, path in sets.items()]
    known = {name for place in places for name in place.names}
    homeless = [name for name in configuration if name not in known]
    if homeless:
        raise ConfigurationError(f"nothing says which argument {', '.join(homeless)} sets: give 'sets'")
    changed: dict[str, Any] = {}
    for place in places:
        if not configuration.keys().isdisjoint(place.names):
            _change(operator, place, place.filled(configuration), changed)
    return changed


def _change(operator: object, place: Place, value: Scalar, changed: dict[str, Any]) -> None:
    """Add to the changed attributes those of one place."""
    if is_master(operator, place.path):
        changed["_get_hook"] = hook_with_master(operator, text_of(value))
        return
    for path in acting_paths(operator, place.path):
        root, _, rest = path.partition(".")
        attribute = _attribute(operator, path)
        present = changed.get(attribute, getattr(operator, attribute))
        changed[attribute] = _with(present, rest, value, path)
        if root == "env" and getattr(operator, "env", None) is None and hasattr(operator, "append_env"):
            # A Bash task without variables of its own inherits all; with some, it would have those alone.
            changed["append_env"] = True
        if root == "op_kwargs":
            _check_call(operator, rest.partition(".")[0])


def _attribute(operator: object, path: str) -> str:
    """The attribute that holds an argument: its name, or the private one that some operators keep it in."""
    problem = path_problem(path)
    if problem:
        raise ConfigurationError(problem)
    root = path.partition(".")[0]
    for name in (root, f"_{root}"):
        if hasattr(operator, name):
            return name
    raise ConfigurationError(f"{type(operator).__name__} has no argument {root!r} ({path})")


def _with(present: Any, rest: str, value: Scalar, path: str) -> Any:
    """What is present, with the value at the rest of the path."""
    if not rest:
        is_text = isinstance(present, str) or not TEXT.isdisjoint(path.split(".")[:-1])
        return text_of(value) if is_text else value
    if present is None or isinstance(present, Mapping):
        known = dict(present or {})
        key, after = _key(known, rest, path)
        return {**known, key: _with(known.get(key), after, value, path)}
    head, _, after = rest.partition(".")
    if isinstance(present, list | tuple):
        return _with_item(present, head, after, value, path)
    if isinstance(present, bool | int | float | str) or not hasattr(present, head):
        raise ConfigurationError(f"{path}: there is no {head!r} in a {type(present).__name__}")
    changed = copy.copy(present)
    setattr(changed, head, _with(getattr(present, head), after, value, path))
    return changed


def _with_item(present: list[Any] | tuple[Any, ...], head: str, after: str, value: Scalar, path: str) -> Any:
    items = list(present)
    named = _named(items, f"{head}.{after}" if after else head)
    if named is not None:
        items[named] = _with(items[named], "value", text_of(value), path)
        return type(present)(items)
    if not head.isdigit() or int(head) >= len(items):
        words = f"{head!r} is no place in a list of {len(items)}, counted from 0, and no name in it"
        raise ConfigurationError(f"{path}: {words}")
    items[int(head)] = _with(items[int(head)], after, value, path)
    return type(present)(items)


def _named(items: Sequence[Any], name: str) -> int | None:
    """The place of a named value: containers have their variables as a list of names with values."""
    for place, item in enumerate(items):
        if isinstance(item, Mapping):
            is_it = item.get("name") == name and "value" in item
        else:
            is_it = getattr(item, "name", None) == name and hasattr(item, "value")
        if is_it:
            return place
    return None


def _key(known: Mapping[str, Any], rest: str, path: str) -> tuple[str, str]:
    """The key of a mapping that the rest of a path starts with, and what is left of the path."""
    if rest in known:
        return rest, ""
    parts = rest.split(".")
    for count in range(len(parts) - 1, 0, -1):
        key = ".".join(parts[:count])
        if key in known and not isinstance(known[key], bool | int | float | str | None):
            return key, ".".join(parts[count:])
    is_setting = rest.startswith("spark.") or not DOTTED.isdisjoint(path.split(".")) or any("." in k for k in known)
    if len(parts) > 1 and not is_setting:
        raise ConfigurationError(f"{path}: there is no mapping {parts[0]!r} to put {'.'.join(parts[1:])!r} into")
    return rest, ""


def _value_at(operator: object, path: str) -> Any:
    """The value at a path; None where there is none."""
    try:
        present = getattr(operator, _attribute(operator, path))
        rest = path.partition(".")[2]
        while rest and present is not None:
            head, _, after = rest.partition(".")
            if isinstance(present, Mapping):
                key, rest = _key(present, rest, path)
                present = present.get(key)
            elif isinstance(present, list | tuple):
                named = _named(present, rest)
                present, rest = (present[int(head)], after) if named is None else (present[named], "value")
            else:
                present, rest = getattr(present, head), after
    except (ConfigurationError, AttributeError, ValueError, IndexError):
        return None
    return present


def _check_call(operator: object, name: str) -> None:
    """Raises ConfigurationError where a task's Python function would not take an argument by this name."""
    function = getattr(operator, "python_callable", None)
    if function is None:
        return
    known = inspect.signature(function).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values()) and name not in known:
        return
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if name not in known or known[name].kind not in by_name:
        raise ConfigurationError(f"{function.__name__}() takes no argument {name!r}")
    if name in list(known)[: len(getattr(operator, "op_args", ()) or ())]:
        raise ConfigurationError(f"{function.__name__}() is given {name!r} by its place: give it by its name")
