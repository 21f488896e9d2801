"""The settings of an experiment: command, objective, search space, algorithm, budget. Pages and API check them here."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from experiments.runner import command as commands
from experiments.runner.arguments import BOOLEANS, LISTS, STYLES, ArgumentStyle
from experiments.runner.output import json_metric
from experiments.runner.output import metric_pattern as patterns
from experiments.search import early_stopping as early_stopping_rules
from experiments.search import engine
from experiments.search.constrained_space import constrain
from experiments.search.space import Space, SpaceError, parse
from experiments.search.starting_points import fix_parameters
from experiments.search.validation import Fault

from .execution import LITERAL, Execution, ExecutionChecks
from .objectives import DIRECTIONS, ObjectiveChecks
from .search_inputs import SearchInputChecks, SearchInputs
from .window import WindowChecks

DAY_S = 86_400
MAX_TRIALS = 1_000_000
MAX_CONCURRENCY = 1_000


def draw_seed() -> int:
    """Return a new seed, from so many that thousands of experiments do not share one by chance."""
    return secrets.randbelow(2**31)


class Invalid(Exception):
    """Settings that cannot be accepted. `errors`: sentences by field name; nothing was changed."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors = dict(errors)
        super().__init__(
            "; ".join(f"{name}: {' '.join(sentences)}" for name, sentences in self.errors.items())
        )


@dataclass(frozen=True)
class Settings(SearchInputs, Execution):
    """The settings of an experiment, checked.

    Durations are in seconds. `max_trials` counts proposals; None means no limit, as for the durations and `goal`.
    `further_objectives` maps further metrics to their directions: with them the best trials are the Pareto front.
    `breaker` is a number of trials: when four in five of the last ones failed with the same error, the experiment
    pauses; 0: never. `avoid_failing_regions`: trials that failed because of their values or script inform the search as
    infeasible. `start_window`: when trials may start, such as `Mon-Fri 20:00-06:00; Sat-Sun`, in `window_time_zone`;
    "": at any time. Running trials are not affected.
    """

    command: str
    space_document: dict
    directory: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    pipefail: bool = True
    passes_arguments: bool = False
    argument_style: str = "option"
    boolean_style: str = "value"
    list_style: str = "json"
    metric: str = "default"
    direction: str = "maximize"
    further_objectives: dict[str, str] = field(default_factory=dict)
    source: str = "sdk"
    pattern: str = ""
    metric_path: str = ""
    selection: str = "final"
    weights: dict[str, float] = field(default_factory=dict)
    goal: float | None = None
    algorithm: str = "TPE"
    algorithm_arguments: dict = field(default_factory=dict)
    seed: int = 0
    max_trials: int | None = 100
    concurrency: int = 1
    max_duration_s: float | None = None
    max_trial_duration_s: float | None = None
    stop_grace_s: float = 10
    retries: int = 2
    breaker: int = 10
    avoid_failing_regions: bool = True
    early_stopping: str = "none"
    early_stopping_arguments: dict = field(default_factory=dict)
    start_window: str = ""
    window_time_zone: str = "UTC"

    @cached_property
    def space(self) -> Space:
        return parse(self.space_document)

    @cached_property
    def searched(self) -> Space:
        """The search space with the fixed parameters held at their values, and with the constraints."""
        return constrain(fix_parameters(self.space, self.fixed), self.constraints)

    @property
    def run_command(self) -> str:
        """The shell command of a trial: the setting `command`, or one that runs the script."""
        if self.command or not self.has_code:
            return self.command
        script = self.script or LITERAL
        path = script if script.startswith("-m ") else shlex.quote(script)
        return f"{shlex.quote(self.binary or 'python')} {path}"

    def received(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters as a trial receives them."""
        return engine.received(self.algorithm, params)

    @property
    def arguments_as(self) -> ArgumentStyle:
        """How parameters are passed as arguments."""
        return ArgumentStyle(self.argument_style, self.boolean_style, self.list_style)

    @property
    def objective(self) -> str:
        """Direction and metric of each objective: `maximize val_accuracy`, `maximize accuracy, minimize latency_ms`."""
        return ", ".join(f"{direction} {metric}" for metric, direction in self.objectives.items())

    @property
    def objectives(self) -> dict[str, str]:
        """The directions of all objectives by metric, the first one first."""
        return {self.metric: self.direction, **self.further_objectives}

    @property
    def is_multi_objective(self) -> bool:
        return bool(self.further_objectives)

    @classmethod
    def stored(cls, document: Mapping) -> Settings:
        """Return the settings of a revision, which were checked when accepted. Newer fields get their defaults."""
        names = {setting.name for setting in fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in names})

    @classmethod
    def checked(cls, document: Mapping) -> Settings:
        """Validate a document from a user or program and return its settings. Raise `Invalid` with all faults by
        field."""
        return Checker(document).settings()

    def document(self) -> dict:
        """Return the settings as JSON-compatible values, for a revision."""
        return asdict(self)

    def differences(self, other: Settings) -> dict[str, tuple[Any, Any]]:
        """Return the fields that differ, as (own value, other value)."""
        own_document, other_document = self.document(), other.document()
        return {
            name: (own_document[name], other_document[name])
            for name in own_document
            if _text(own_document[name]) != _text(other_document[name])
        }


# Settings that an update cannot change, with the reason.
LOCKED = {
    "metric": "Existing results measure this metric. Clone the experiment to change it.",
    "direction": "Existing results are ranked in this direction. Clone the experiment to change it.",
    "further_objectives": "The Pareto front is based on these objectives. Clone the experiment to change them.",
    "algorithm": "The algorithm has learned from existing results. Clone the experiment to change it.",
    "destination": "Existing output files are stored here. Clone the experiment to change it.",
}


class Checker(SearchInputChecks, ObjectiveChecks, WindowChecks, ExecutionChecks):
    """Reads a document field by field and collects a sentence for each fault."""

    def settings(self) -> Settings:
        """Return the settings, or raise `Invalid`."""
        names = {setting.name for setting in fields(Settings)}
        for name in self.document:
            if name not in names:
                self.fault(str(name)[:64], "Unknown setting.")
        space = self.space()
        values: dict[str, Any] = {
            "command": self.command(space),
            "space_document": space.document if space else {},
            "directory": self.directory(),
            "environment": self.environment(),
            "pipefail": self.truth("pipefail", default=True),
            "passes_arguments": self.truth("passes_arguments"),
            "argument_style": self.one_of("argument_style", tuple(STYLES)),
            "boolean_style": self.one_of("boolean_style", tuple(BOOLEANS)),
            "list_style": self.one_of("list_style", tuple(LISTS)),
            "metric": self.metric(),
            "direction": self.one_of("direction", DIRECTIONS),
            "further_objectives": self.further_objectives(),
            "source": self.one_of("source", ("sdk", "stdout", "file"), default=self._implied_source()),
            "pattern": self.text("pattern", limit=1000, single_line=True),
            "metric_path": self.text("metric_path", limit=1000, single_line=True),
            "selection": self.one_of("selection", ("final", "best", "average")),
            "weights": self.weights(),
            "goal": self.number("goal"),
            "algorithm": self.text("algorithm", default="TPE", limit=64, single_line=True),
            "algorithm_arguments": self.mapping("algorithm_arguments"),
            "seed": self.seed(),
            "max_trials": self.integer("max_trials", default=100, low=1, high=MAX_TRIALS, empty=None),
            "concurrency": self.integer("concurrency", default=1, low=1, high=MAX_CONCURRENCY),
            "max_duration_s": self.number("max_duration_s", low=1, high=3650 * DAY_S),
            "max_trial_duration_s": self.number("max_trial_duration_s", low=1, high=3650 * DAY_S),
            "stop_grace_s": self.number("stop_grace_s", default=10, low=0, high=3600),
            "retries": self.integer("retries", default=2, low=0, high=100),
            "breaker": self.integer("breaker", default=10, low=0, high=MAX_TRIALS),
            "avoid_failing_regions": self.truth("avoid_failing_regions", default=True),
            "early_stopping": early_stopping_rules.canonical(
                self.text("early_stopping", default="none", limit=64, single_line=True)
            ),
            "early_stopping_arguments": self.mapping("early_stopping_arguments"),
            **self.window(),
            **self.search_inputs(space),
            **self.execution(),
        }
        self._check_search(values, space)
        self._check_metric_source(values, space)
        self.check_objectives(values)
        if self.errors:
            raise Invalid(self.errors)
        return Settings(**values)

    def _check_search(self, values: dict[str, Any], space: Space | None) -> None:
        """Check the algorithm, which becomes canonical in `values`, and the early-stopping rule."""
        if space and not self.errors.keys() & {"algorithm", "algorithm_arguments", "fixed"}:
            written = engine.written_names(values["algorithm"], values["algorithm_arguments"])
            algorithm, arguments = engine.canonical(values["algorithm"], values["algorithm_arguments"])
            values |= {"algorithm": algorithm, "algorithm_arguments": arguments}
            searched, rule = fix_parameters(space, values["fixed"]), values["early_stopping"]
            objectives = 1 + len(values["further_objectives"])
            for fault in engine.check_algorithm(
                algorithm, arguments, searched, early_stopping=rule, objectives=objectives
            ):
                self._argument_fault(replace(fault, path=written.get(fault.path, fault.path)), "algorithm")
        for fault in early_stopping_rules.check_early_stopping(
            values["early_stopping"], values["early_stopping_arguments"]
        ):
            self._argument_fault(fault, "early_stopping")

    def _check_metric_source(self, values: dict[str, Any], space: Space | None) -> None:
        """Check the pattern for the metric in the output, or the path of its file, if the metric is read from there."""
        pattern_fault = patterns.check(values["pattern"]) if values["source"] == "stdout" else None
        if pattern_fault and "pattern" not in self.errors:
            self.fault("pattern", pattern_fault)
        if values["source"] == "file" and not values["metric_path"] and "metric_path" not in self.errors:
            self.fault("metric_path", "Enter the path of the JSON file that the command writes.")
        if values["source"] == "file" and space:
            names = {*self._received_names(space), *commands.WORDS}
            if path_fault := json_metric.check_path(values["metric_path"], names):
                self.fault("metric_path", path_fault)

    def _argument_fault(self, fault: Fault, name: str) -> None:
        """Add a fault of an algorithm or a rule, or of one of its arguments."""
        if fault.path in ("", name):
            self.fault(name, fault.message)
        else:
            prefix = "" if fault.path == "arguments" else f"{fault.path}: "
            self.fault(f"{name}_arguments", prefix + fault.message)

    def _implied_source(self) -> str:
        """The source that a pattern or a path of a file implies, so that neither is ignored without a word."""
        if self.document.get("pattern"):
            return "stdout"
        return "file" if self.document.get("metric_path") else "sdk"

    def seed(self) -> int | None:
        """The seed; without one, a new one is drawn, so that no two experiments propose the same by chance."""
        if self.document.get("seed") is None:
            return draw_seed()
        return self.integer("seed", default=0, low=0, high=2**31 - 1)

    def space(self) -> Space | None:
        try:
            space = parse(self.document.get("space_document"))
            for parameter in space.parameters:
                if parameter.name in commands.WORDS:
                    self.fault(
                        "space_document",
                        f"{parameter.name}: ${{{parameter.name}}} is reserved in commands. Choose another name.",
                    )
            return space
        except SpaceError as error:
            for fault in error.faults:
                self.fault(
                    "space_document", f"{fault.path}: {fault.message}" if fault.path else fault.message
                )
            return None

    def _received_names(self, space: Space) -> list[str]:
        algorithm, _ = engine.canonical(str(self.document.get("algorithm", "")), {})
        return engine.received_names(algorithm, space)

    def command(self, space: Space | None) -> str:
        command = self.text("command", limit=100_000).replace("\r\n", "\n").strip("\n")
        if not command.strip() and self.has_code():
            return ""
        if "command" not in self.errors and (space or not command.strip()):
            names = self._received_names(space) if space else []
            as_arguments = self.document.get("passes_arguments") is True
            for fault in commands.check(command, names, as_arguments=as_arguments):
                self.fault("command", f"Line {fault.line}: {fault.message}")
        return command

    def directory(self) -> str:
        """Return the working directory, in the repository or on the worker; only its form can be checked here."""
        path = self.text("directory", limit=1000, single_line=True)
        if self.document.get("repository"):
            if path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts:
                self.fault(
                    "directory", "Enter a path within the repository, without a leading / and without .."
                )
        elif path and not path.startswith(("/", "~")):
            self.fault("directory", "Enter an absolute path (/ or ~) on the worker's machine.")
        return path

    def environment(self) -> dict[str, str]:
        value = self.mapping("environment")
        for key, text in value.items():
            if not key.isidentifier() or not key.isascii():
                self.fault("environment", f"“{key[:64]}” is not a valid name of an environment variable.")
            elif key.startswith("TRIALDECK_"):
                self.fault("environment", f"“{key[:64]}”: names that begin with TRIALDECK_ are reserved.")
            elif not isinstance(text, str):
                self.fault("environment", f"The value of “{key[:64]}” must be text.")
        return value if "environment" not in self.errors else {}


def _text(value: object) -> str:
    """Return a text that is equal for equal values, as trials receive them: 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)
