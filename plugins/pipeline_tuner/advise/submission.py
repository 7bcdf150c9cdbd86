"""How an application was submitted, as its event log says: program, class, arguments, files shipped with it.

The JVM's own command line (`sun.java.command`) has it, but without quotes: an argument with a space in it can't be told
from two. Settings that the log has elsewhere help to tell where a value ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline_tuner.advise.application import Application, Settings
from pipeline_tuner.advise.secrets import REDACTED_BY_SPARK, holds_secret, names_secret
from pipeline_tuner.unfilled import to_fill_in

SUBMIT = "org.apache.spark.deploy.SparkSubmit"
YARN_MASTER = "org.apache.spark.deploy.yarn.ApplicationMaster"
STANDALONE_DRIVER = "org.apache.spark.deploy.worker.DriverWrapper"
PYTHON_RUNNER = "org.apache.spark.deploy.PythonRunner"
NO_PROGRAM = ("spark-shell", "pyspark-shell", "sparkr-shell", "spark-internal")
"""What Spark writes in place of a program, where there is none."""
SWITCHES = ("--supervise", "--verbose", "-v", "--help", "-h", "--version", "--usage-error")
URI = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """What spark-submit was given. What isn't known is a place to fill in."""

    application: str
    java_class: str = ""
    arguments: tuple[str, ...] = ()
    jars: str = ""
    py_files: str = ""
    packages: str = ""
    files: str = ""


@dataclass
class Words:
    """The words of a command line, taken one after another."""

    words: list[str]
    options: dict[str, list[str]] = field(default_factory=dict)

    def take_options(self, settings: Settings) -> None:
        """Take all options up to the first word that is none."""
        while self.words and self.words[0].startswith("-"):
            name = self.words.pop(0)
            if name in SWITCHES:
                continue
            name, equals, value = name.partition("=")
            if not equals or not name.startswith("--"):
                value = self._value(name, settings)
            self.options.setdefault(name, []).append(value)

    def _value(self, name: str, settings: Settings) -> str:
        """The option's value; one with spaces is as long as the log says elsewhere."""
        if not self.words:
            return ""
        known = settings.text("spark.app.name") if name == "--name" else ""
        setting, equals, _ = self.words[0].partition("=")
        if name in ("--conf", "-c") and equals:
            known = f"{setting}={settings.text(setting)}"
        parts = known.split()
        count = len(parts) if parts and self.words[: len(parts)] == parts else 1
        taken, self.words[:count] = self.words[:count], []
        return " ".join(taken)

    def first(self, *names: str) -> str:
        """The last value that was given for one of these options, as Spark takes it."""
        return next((self.options[name][-1] for name in names if name in self.options), "")


def submission_of(application: Application) -> Submission:
    """How the application was submitted."""
    settings = application.settings
    main, *rest = settings.java_command.split() or [""]
    words = Words(rest)
    if main == STANDALONE_DRIVER and len(rest) >= 3:
        found = _program(settings, rest[1], rest[2], rest[3:])
    elif main == YARN_MASTER:
        words.take_options(settings)
        found = _of_yarn(settings, words)
    elif main == SUBMIT:
        words.take_options(settings)
        found = _of_submit(settings, words)
    else:
        known = "." in main and REDACTED_BY_SPARK not in main
        found = Submission(to_fill_in(_why_unknown(application)), main if known else "")
    return found


def _of_submit(settings: Settings, words: Words) -> Submission:
    program, *arguments = words.words or [""]
    java_class = words.first("--class")
    if not program or program in NO_PROGRAM:
        java_class = "" if java_class.startswith("org.apache.spark.") else java_class
        return Submission(to_fill_in("the application: the log is of a shell or of a session in a Python program"))
    return _program(settings, program, java_class, arguments, words)


def _of_yarn(settings: Settings, words: Words) -> Submission:
    python = words.first("--primary-py-file")
    java_class = words.first("--class")
    program = python or words.first("--jar")
    given = tuple(words.options.get("--arg", ()))
    if not program:
        return Submission(to_fill_in("the application's jar"), java_class, _arguments(given))
    return _program(settings, program, "" if java_class == PYTHON_RUNNER else java_class, given, words)


def _program(
    settings: Settings, program: str, java_class: str, arguments: Iterable[str], words: Words | None = None
) -> Submission:
    words = words or Words([])
    return Submission(
        application=_located(program),
        java_class=java_class if not program.endswith((".py", ".R", ".zip")) else "",
        arguments=_arguments(arguments),
        jars=_list(words.first("--jars") or settings.text("spark.jars"), without=program),
        py_files=_list(words.first("--py-files") or settings.text("spark.submit.pyFiles")),
        packages=words.first("--packages") or settings.text("spark.jars.packages"),
        files=_list(words.first("--files") or settings.text("spark.files")),
    )


def _located(program: str) -> str:
    """A program's path; one without a folder lies where only the submitter knows."""
    if program.startswith("/") or URI.match(program):
        return program
    return f"{to_fill_in('the folder of the application')}/{program}"


def _list(value: str, *, without: str = "") -> str:
    """A list of files without the program itself, which Spark adds to the jars."""
    name = without.rsplit("/", 1)[-1]
    return ",".join(part for part in value.split(",") if part and (not name or part.rsplit("/", 1)[-1] != name))


def _arguments(arguments: Iterable[str]) -> tuple[str, ...]:
    """The arguments, with a place to fill in for each that looks like a secret."""
    found: list[str] = []
    secret_follows = False
    for place, argument in enumerate(arguments, 1):
        name, equals, _ = argument.partition("=")
        is_name = argument.startswith("-") and not equals
        hide = (secret_follows and not is_name) or holds_secret(argument) or (equals and names_secret(name))
        found.append(to_fill_in(f"argument {place}, which looks like a secret") if hide else argument)
        secret_follows = is_name and names_secret(argument)
    return tuple(found)


def _why_unknown(application: Application) -> str:
    command = application.settings.java_command
    if REDACTED_BY_SPARK in command:
        return "the application and its arguments: Spark hid the command line in the log, as it had a secret in it"
    if not command:
        return "the application: the log doesn't say how it was started"
    return "the application's jar: the log names its main class only"
