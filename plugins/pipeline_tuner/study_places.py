"""Where a study's parameters go in a task's operator: by their own `sets`, by what `tuned` says, by the study's runner.

A study of `spark_submit` has texts with its parameters in them (`conf: {spark.executor.memory: "{memory_mb}m"}`). They
say what each parameter sets and with which unit, so a task that follows the study needs no `sets`. No I/O.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline_tuner.argument_forms import Place, form_problem, place_of, written_place
from pipeline_tuner.argument_paths import has_argument, path_problem
from pipeline_tuner.command import Command
from pipeline_tuner.exceptions import ConfigurationError
from pipeline_tuner.space import text_of
from pipeline_tuner.spark_application import ApplicationOptions, is_application, parsed_options
from pipeline_tuner.spark_arguments import MASTER, is_master
from pipeline_tuner.study import Study

TEMPLATE = re.compile(r"\{\{\s*tuner\.configuration\.(\w+)\s*\}\}([A-Za-z]*)")
"""A value of an operator's mapping in a study that is a parameter, with its unit if any."""
UNKNOWN_ARGUMENT = "ARGUMENT"
"""Stands in a proposal for what only the task's author knows."""


def study_places(study: Study, sets: Mapping[str, str], operator: object) -> dict[str, str]:
    """Each parameter's argument, as `argument_paths` takes it: what `sets` says, then the study's own, then its runner.

    Raises ConfigurationError where `sets` makes no sense for the study, or a parameter is left without an argument.
    """
    forms = tuple(_forms(study, operator))
    _check_given(study, sets, forms)
    given = _given(study, sets)
    _check_arguments(study, given, operator)
    derived = {place.path: written_place(place) for place in forms if not set(place.names) <= given.keys()}
    placed = {name for place in forms for name in place.names}
    homeless = [name for name in study.space.parameters if name not in given and name not in placed]
    if homeless:
        raise ConfigurationError(_proposal(study, homeless, operator))
    return {**derived, **given}


def other_settings(study: Study, operator: object) -> dict[str, tuple[str, str]]:
    """Spark settings that the study's trials fix and the task has otherwise: the task's value, the trials'."""
    options, present = _application(study), getattr(operator, "conf", None)
    if options is None or not isinstance(present, Mapping):
        return {}
    texts = {key: Command((text_of(value),)) for key, value in options.conf.items()}
    fixed = {key: text.filled({})[0] for key, text in texts.items() if not text.placeholders}
    own = {key: text_of(value) for key, value in present.items()}
    return {key: (own[key], value) for key, value in fixed.items() if own.get(key, value) != value}


def _given(study: Study, sets: Mapping[str, str]) -> dict[str, str]:
    """What is said of single parameters: by the task, else by the study."""
    own = {name: parameter.sets for name, parameter in study.space.parameters.items() if parameter.sets}
    return {**own, **sets}


def _forms(study: Study, operator: object) -> Iterator[Place]:
    """The places that a study's runner names, those of a Spark application's arguments where the task's are alike."""
    found = _of_operator(study) if study.runner.kind == "operator" else _of_spark(study, operator)
    for place in found:
        is_filled = place.names and set(place.names) <= study.space.parameters.keys()
        if is_filled and (has_argument(operator, place.path) or is_master(operator, place.path)):
            yield place


def _of_operator(study: Study) -> Iterator[Place]:
    """Values of mappings (`conf`, `env`) that are a parameter in a template. A whole argument is a trial's own."""
    for argument, value in study.runner.arguments.items():
        if isinstance(value, Mapping):
            for key, text in value.items():
                match = TEMPLATE.fullmatch(text) if isinstance(text, str) else None
                if match:
                    yield Place(f"{argument}.{key}", f"{{{match[1]}}}{match[2]}")


def _of_spark(study: Study, operator: object) -> Iterator[Place]:
    if study.runner.kind != "spark_submit":
        return
    options = _application(study)
    if options is None:
        # A job that speaks the contract: its program reads the settings by the names that Spark has for them.
        for name in study.space.parameters:
            if name.startswith("spark."):
                yield Place(f"conf.{name}", f"{{{name}}}")
            elif name == "driver_memory":
                yield Place(name, f"{{{name}}}")
        return
    yield from (Place(f"conf.{key}", str(text)) for key, text in options.conf.items())
    if options.master:
        yield Place(MASTER, options.master)
    yield from _of_arguments(study, options, operator)


def _application(study: Study) -> ApplicationOptions | None:
    """The options of an application that can't be changed; None for any other job."""
    options = study.runner.options
    parsed = parsed_options(options) if is_application(options) else None
    return parsed if isinstance(parsed, ApplicationOptions) else None


def _of_arguments(study: Study, options: ApplicationOptions, operator: object) -> Iterator[Place]:
    """The places in the program's arguments, where the task's are the study's but for values."""
    texts, present = _whole(study, options), getattr(operator, "application_args", None)
    if isinstance(present, Sequence) and _are_alike(study, texts, present):
        for index, text in enumerate(texts):
            yield Place(f"application_args.{index}", text)


def _whole(study: Study, options: ApplicationOptions) -> tuple[str, ...]:
    """The study's arguments for the whole of the workload."""
    if not isinstance(options.arguments, dict):
        return options.arguments
    sizes = study.workload.sizes
    return next((texts for name, texts in options.arguments.items() if sizes.get(name) == 1), ())


def _are_alike(study: Study, texts: Sequence[str], present: Sequence[Any]) -> bool:
    """Whether arguments are as many, with the same options, and values of the parameters where the study has them."""
    return len(texts) == len(present) and all(
        _is_alike(study, text, str(other)) for text, other in zip(texts, present, strict=True)
    )


def _is_alike(study: Study, text: str, present: str) -> bool:
    if not Command((text,)).placeholders:
        return text == present or not (text.startswith("-") or present.startswith("-"))
    found = Place("", text).read(present)
    return found is not None and all(_is_kind_of(study, name, value) for name, value in found.items())


def _is_kind_of(study: Study, name: str, text: str) -> bool:
    """Whether a text can be a value of the parameter, in its range or not."""
    parameter = study.space.parameters.get(name)
    if parameter is None:
        return True
    if parameter.type == "categorical":
        return text in map(text_of, parameter.values)
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_given(study: Study, sets: Mapping[str, str], forms: Sequence[Place]) -> None:
    """Raises ConfigurationError for a stranger in `sets`, and for a place where the study's own unit would be lost."""
    strangers = [name for name in sets if name not in study.space.parameters]
    if strangers:
        raise ConfigurationError(f"'sets' names {', '.join(strangers)}, which is no parameter of study {study.study}")
    for name, path in sets.items():
        problem = form_problem(name, path) or _lost_unit(place_of(name, path), "=" in path, study, forms)
        if problem:
            raise ConfigurationError(problem)


def _lost_unit(place: Place, is_written_out: bool, study: Study, forms: Sequence[Place]) -> str | None:
    """Why a value would mean something else at a place than in the study's trials; None where it means the same."""
    (name,) = place.names
    for form in (*forms, *_argument_forms(study), *_own_forms(study)):
        is_same_place = form.path == place.path
        if name not in form.names or form.is_bare or place.form == form.form or (is_written_out and not is_same_place):
            continue
        remedy = f"leave {name} out of 'sets'"
        if form.names == (name,) and not is_same_place:
            remedy += f", or write {{{json.dumps(name)}: {json.dumps(f'{place.path}={form.form}')}}}"
        return (
            f"'sets' would put the number of {name} alone at {place.path}, where the study has {form.form!r}: {remedy}"
        )
    return None


def _own_forms(study: Study) -> Iterator[Place]:
    """What the study's parameters say in their own `sets`."""
    return (place_of(name, one.sets) for name, one in study.space.parameters.items() if one.sets)


def _argument_forms(study: Study) -> Iterator[Place]:
    options = _application(study)
    texts = _whole(study, options) if options is not None else ()
    return (Place(f"application_args.{index}", text) for index, text in enumerate(texts))


def _check_arguments(study: Study, given: Mapping[str, str], operator: object) -> None:
    """Raises ConfigurationError where a parameter is in the study's arguments and can't get into the task's."""
    options = _application(study)
    if options is None or not has_argument(operator, "application_args"):
        return
    texts, present = _whole(study, options), getattr(operator, "application_args", None)
    left = [name for name in Command(texts).placeholders if name in study.space.parameters and name not in given]
    if left and not (isinstance(present, Sequence) and _are_alike(study, texts, present)):
        raise ConfigurationError(
            f"the study has {', '.join(left)} in the program's arguments, and this task's are of another form: give "
            + _sets(dict.fromkeys(left, "application_args.N"))
        )


def _proposal(study: Study, homeless: Sequence[str], operator: object) -> str:
    """A line that names the parameters without an argument, with what to paste."""
    found = {name: _likely_path(name, operator) + _unit_of(study, name) for name in homeless}
    call = f"tuned({json.dumps(study.study)}, {_sets(found)})"
    words = f"nothing says which argument {', '.join(homeless)} sets: give {call}"
    return f"{words} with your arguments for {UNKNOWN_ARGUMENT}" if UNKNOWN_ARGUMENT in str(found) else words


def _unit_of(study: Study, name: str) -> str:
    """The text around a value in the study's trials, as `sets` has it; empty for the value alone."""
    options = _application(study)
    texts = (str(text) for text in options.conf.values()) if options is not None else ()
    forms = [text for text in texts if Command((text,)).placeholders == (name,) and text != f"{{{name}}}"]
    return f"={forms[0]}" if forms else ""


def _sets(places: Mapping[str, str]) -> str:
    return f"sets={json.dumps(dict(places))}"


def _likely_path(name: str, operator: object) -> str:
    """The argument that a parameter most likely means, by its name."""
    if name.startswith("spark.") and hasattr(operator, "conf"):
        return f"conf.{name}"
    function = getattr(operator, "python_callable", None)
    if function is not None and name in inspect.signature(function).parameters:
        return f"op_kwargs.{name}"
    for mapping in ("parameters", "conf", "env"):
        present = getattr(operator, mapping, None)
        key = next((one for one in (name, name.upper()) if isinstance(present, Mapping) and one in present), None)
        if key is not None:
            return f"{mapping}.{key}"
    return name if path_problem(name) is None and has_argument(operator, name) else UNKNOWN_ARGUMENT
