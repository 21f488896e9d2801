"""Optuna's storages: the SQLite database, and the journal file (one JSON operation in each line)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import sqlite_file
from .archive import MAX_LINE, json_value
from .errors import ReadError
from .staging import MAX_STUDIES, Staging, number_and_text

NAME = "value"  # of an objective without a name
STATES = {
    "COMPLETE": "succeeded",
    "PRUNED": "early_stopped",
    "FAIL": "failed",
    "RUNNING": "stopped",
}
STATE_NUMBERS = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
DIRECTIONS = {"MINIMIZE": "minimize", "MAXIMIZE": "maximize", 1: "minimize", 2: "maximize"}
STILL_RUNNING = "Was running when the file was saved"
WAITING = "trials that have not started"
METRIC_NAMES = "study:metric_names"
_NOT_FINITE = {"INF_POS": "inf", "INF_NEG": "-inf", "NAN": "nan"}


class Distribution:
    """A distribution: our definition, and the conversion of stored numbers to values."""

    def __init__(self, text: object) -> None:
        document = json_value(text, "A distribution") if isinstance(text, str) else None
        attributes = document.get("attributes") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(attributes, dict):
            raise ReadError("A parameter has no distribution; the storage is damaged or of another version.")
        self.name = str(document.get("name"))
        self.attributes = attributes
        self.choices = attributes.get("choices")
        if self.name == "CategoricalDistribution" and not isinstance(self.choices, list):
            raise ReadError("A categorical distribution has no choices; the storage is damaged.")
        self.is_whole = self.name.startswith("Int")

    def value(self, stored: object) -> Any:
        """Return the value of a stored number."""
        if isinstance(stored, bool) or not isinstance(stored, int | float) or not math.isfinite(stored):
            raise ReadError("A parameter has a value that is not a finite number; the storage is damaged.")
        if self.name == "CategoricalDistribution" and isinstance(self.choices, list):
            if not 0 <= int(stored) < len(self.choices):
                raise ReadError("A parameter has a value that is not among the choices of its distribution.")
            return self.choices[int(stored)]
        return int(stored) if self.is_whole else float(stored)

    def definition(self) -> dict[str, Any] | None:
        """Return the definition in our search spaces, or None if there is no equivalent."""
        if isinstance(self.choices, list):
            return {"_type": "choice", "_value": self.choices}
        low, high = self.attributes.get("low"), self.attributes.get("high")
        step = self.attributes.get("q", self.attributes.get("step"))
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            return None
        is_log = bool(self.attributes.get("log")) or "Log" in self.name
        if self.is_whole:
            if is_log:
                return {"_type": "lograndint", "_value": [low, high + 1]}
            if isinstance(step, int) and step > 1:
                return {"_type": "quniform", "_value": [low, high, step], "_whole": True}
            return {"_type": "randint", "_value": [low, high + 1]}
        if low == high:
            return {"_type": "choice", "_value": [low]}
        if is_log:
            return {"_type": "loguniform", "_value": [low, high]}
        if isinstance(step, int | float) and not isinstance(step, bool) and step > 0:
            return {"_type": "quniform", "_value": [low, high, step]}
        return {"_type": "uniform", "_value": [low, high]}


class _Study:
    """A study while it is being read."""

    def __init__(self, staging: Staging, key: int, directions: list[str]) -> None:
        self.staging, self.key = staging, key
        self.directions = directions
        self.names = (
            [NAME] if len(directions) < 2 else [f"values_{place}" for place in range(len(directions))]
        )
        self.defined: set[str] = set()

    def rename_all(self, names: object) -> None:
        """Rename the metrics, also those of the trials that were added before."""
        before = self.names
        self.rename(names)
        if before != self.names:
            self.staging.rename_metrics(self.key, dict(zip(before, self.names, strict=True)))

    def rename(self, names: object) -> None:
        if (
            isinstance(names, list)
            and len(names) == len(self.names)
            and all(isinstance(n, str) for n in names)
        ):
            self.names = names

    def define(self, name: str, distribution: Distribution) -> None:
        if name in self.defined:
            return
        self.defined.add(name)
        if definition := distribution.definition():
            self.staging.add_definition(self.key, name, definition)

    def add_values(self, trial: int, values: list[tuple[float | None, str]]) -> None:
        for name, (value, text) in zip(self.names, values, strict=False):
            self.staging.add_metric(trial, name, value, text)

    def add_attribute(self, trial: int, name: str, value: object) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in self.names:
            self.staging.add_metric(trial, name, *number_and_text(value))
        else:
            self.staging.leave_out(self.key, "user attributes that are not numbers")

    def describe(self) -> None:
        directions = {
            name: direction for name, direction in zip(self.names, self.directions, strict=False) if direction
        }
        objective = self.names[0] if len(self.names) == 1 else ""
        self.staging.update_study(self.key, objective=objective, directions=directions)


# --- SQLite ------------------------------------------------------------------------------------------------------


def read_sqlite(database: sqlite_file.Database, staging: Staging) -> None:
    """Copy all studies of a storage. Raise ReadError for one of another version."""
    needed = {
        "studies",
        "study_directions",
        "trials",
        "trial_params",
        "trial_values",
        "trial_intermediate_values",
    }
    if lacking := needed - database.tables:
        raise ReadError(
            f"The Optuna storage lacks the table {min(lacking)}: it is older than Optuna 3. Run “optuna storage "
            "upgrade” on it first."
        )
    directions: dict[int, list[str]] = {}
    for study, direction, _ in database.rows(
        "study_directions", "study_id", "direction", "objective", order="study_id, objective"
    ):
        directions.setdefault(study, []).append(DIRECTIONS.get(direction, ""))
    studies: dict[int, _Study] = {}
    for key, name in database.rows("studies", "study_id", "study_name", order="study_id"):
        _require_key(key)
        studies[key] = _Study(staging, staging.add_study(str(name), id=key), directions.get(key, [""]))
    for key, attribute, text in database.rows("study_system_attributes", "study_id", "key", "value_json"):
        if attribute == METRIC_NAMES and key in studies:
            studies[key].rename(json_value(str(text), "An attribute of a study"))
    trials: dict[int, _Study] = {}
    numbers: dict[int, int] = {}
    columns = ("trial_id", "study_id", "state", "datetime_start", "datetime_complete")
    for key, study, state, started, ended in database.rows("trials", *columns, order="trial_id"):
        if study not in studies:
            continue
        _require_key(key)
        if state == "WAITING":
            staging.leave_out(study, WAITING)
            continue
        numbers[study] = numbers.get(study, 0) + 1
        trials[key] = studies[study]
        staging.add_trial(
            study,
            numbers[study],
            _state(state),
            id=key,
            started=_instant(started),
            ended=_instant(ended),
            detail=STILL_RUNNING if state == "RUNNING" else "",
        )
    _read_sqlite_values(database, trials, staging)
    for row in studies.values():
        row.describe()


def _read_sqlite_values(database: sqlite_file.Database, trials: dict[int, _Study], staging: Staging) -> None:
    distributions: dict[str, Distribution] = {}
    columns = ("trial_id", "param_name", "param_value", "distribution_json")
    for trial, name, value, text in database.rows("trial_params", *columns, order="param_id"):
        if trial not in trials:
            continue
        if text not in distributions:
            distributions = distributions if len(distributions) < 10_000 else {}
            distributions[text] = Distribution(text)
        trials[trial].define(str(name), distributions[text])
        staging.add_param(trial, str(name), distributions[text].value(value))
    columns = ("trial_id", "objective", "value", "value_type")
    for trial, place, value, kind in database.rows("trial_values", *columns):
        if trial in trials and isinstance(place, int) and 0 <= place < len(trials[trial].names):
            staging.add_metric(trial, trials[trial].names[place], *_stored_value(value, kind))
    columns = ("trial_id", "step", "intermediate_value", "intermediate_value_type")
    for trial, step, value, kind in database.rows("trial_intermediate_values", *columns):
        if trial in trials and isinstance(step, int):
            staging.add_point(trial, trials[trial].names[0], step, *_stored_value(value, kind))
    for trial, name, text in database.rows("trial_user_attributes", "trial_id", "key", "value_json"):
        if trial in trials:
            trials[trial].add_attribute(trial, str(name), _attribute(text))


def _attribute(text: object) -> object:
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        return None


def _stored_value(value: object, kind: object) -> tuple[float | None, str]:
    if isinstance(kind, str) and kind in _NOT_FINITE:
        return None, _NOT_FINITE[kind]
    return (None, "nan") if value is None else number_and_text(value)


def _state(word: object) -> str:
    if not isinstance(word, str) or word not in STATES:
        raise ReadError(f"A trial has the unknown state {str(word)[:40]!r}.")
    return STATES[word]


def _require_key(key: object) -> None:
    if not isinstance(key, int) or not 0 <= key < 2**62:
        raise ReadError("The storage has an invalid key; it is damaged.")


def _instant(text: object) -> float | None:
    """Return seconds since 1970. Optuna stores local time without a zone, which is taken as UTC."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- journal -----------------------------------------------------------------------------------------------------


def read_journal(path: Path, staging: Staging) -> None:
    """Replay the operations of a journal. Raise ReadError with the line of the first that is invalid."""
    journal = _Journal(staging)
    for number, line in _lines(path):
        where = f"Line {number:,}"
        try:
            operation = json.loads(line)
            if not isinstance(operation, dict):
                raise TypeError
            journal.apply(operation)
        except ReadError:
            raise
        except RecursionError:
            raise ReadError(f"{where} is nested too deeply.") from None
        except ValueError:
            raise ReadError(
                f"{where} is not a JSON operation of Optuna's journal; the file may be truncated."
            ) from None
        except (KeyError, TypeError, IndexError, AttributeError, OverflowError):
            raise ReadError(f"{where} is not a known operation of Optuna's journal.") from None
    journal.finish()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise ReadError(f"Line {number:,} is longer than 16 MiB.")
            if line.strip():
                yield number, line


class _Journal:
    """The state that results from a journal. Trials are numbered in the order of their creation."""

    def __init__(self, staging: Staging) -> None:
        self.staging = staging
        self.studies: dict[int, _Study] = {}
        self.names: dict[str, int] = {}
        self.numbers: dict[int, int] = {}
        self.trials: dict[int, int] = {}  # its study, by trial
        self.waiting: set[int] = set()
        self.distributions: dict[str, Distribution] = {}
        self.metric_names: dict[int, object] = {}  # by study, even if set after the first trial
        self.study_count = self.trial_count = 0

    def apply(self, operation: dict[str, Any]) -> None:
        code = operation["op_code"]
        if code == 0:
            self.create_study(operation)
        elif code == 1:
            self.delete_study(operation["study_id"])
        elif code == 3:
            if operation["study_id"] in self.studies:
                self.metric_names[operation["study_id"]] = operation["system_attr"].get(METRIC_NAMES)
        elif code == 4:
            self.create_trial(operation)
        elif isinstance(code, int) and 5 <= code <= 8:
            if operation["trial_id"] in self.trials:
                (self.set_param, self.set_state, self.set_intermediate, self.set_attribute)[code - 5](
                    operation["trial_id"], operation
                )
        elif code not in (2, 9):
            raise ReadError(f"The journal has an operation of a newer Optuna: op_code {str(code)[:20]}.")

    def create_study(self, operation: dict[str, Any]) -> None:
        name = str(operation["study_name"])
        if name in self.names:
            return
        if self.study_count >= MAX_STUDIES:
            raise ReadError(f"The journal has more than {MAX_STUDIES:,} studies.")
        key, self.study_count = self.study_count, self.study_count + 1
        directions = [DIRECTIONS.get(number, "") for number in operation["directions"]]
        self.names[name] = key
        self.studies[key] = _Study(self.staging, self.staging.add_study(name, id=key), directions)

    def delete_study(self, key: int) -> None:
        self.staging.remove_study(key)
        self.studies.pop(key, None)
        self.names = {name: study for name, study in self.names.items() if study != key}
        self.trials = {trial: study for trial, study in self.trials.items() if study != key}

    def create_trial(self, operation: dict[str, Any]) -> None:
        study = operation["study_id"]
        if study not in self.studies:
            return
        trial, self.trial_count = self.trial_count, self.trial_count + 1
        word = STATE_NUMBERS[operation.get("state", 0)]
        self.trials[trial] = study
        self.numbers[study] = self.numbers.get(study, 0) + 1
        self.staging.add_trial(
            study,
            self.numbers[study],
            STATES.get(word, "stopped"),
            id=trial,
            started=_instant(operation.get("datetime_start")),
            ended=_instant(operation.get("datetime_complete")),
            detail=STILL_RUNNING if word == "RUNNING" else "",
        )
        if word == "WAITING":
            self.waiting.add(trial)
        row = self.studies[study]
        for name, value in (operation.get("params") or {}).items():
            distribution = self.distribution(operation["distributions"][name])
            row.define(name, distribution)
            self.staging.add_param(trial, name, distribution.value(value))
        values = operation.get("values") or [operation.get("value")]
        row.add_values(trial, [number_and_text(value) for value in values if value is not None])
        for step, value in (operation.get("intermediate_values") or {}).items():
            self.staging.add_point(trial, row.names[0], int(step), *number_and_text(value))
        for name, value in (operation.get("user_attrs") or {}).items():
            row.add_attribute(trial, name, value)

    def distribution(self, text: str) -> Distribution:
        if text not in self.distributions:
            self.distributions[text] = Distribution(text)
        return self.distributions[text]

    def set_param(self, trial: int, operation: dict[str, Any]) -> None:
        distribution, name = self.distribution(operation["distribution"]), str(operation["param_name"])
        self.studies[self.trials[trial]].define(name, distribution)
        self.staging.add_param(trial, name, distribution.value(operation["param_value_internal"]))

    def set_state(self, trial: int, operation: dict[str, Any]) -> None:
        word = STATE_NUMBERS[operation["state"]]
        changes: dict[str, Any] = {"state": STATES.get(word, "stopped")}
        changes["detail"] = STILL_RUNNING if word == "RUNNING" else ""
        if word == "WAITING":
            self.waiting.add(trial)
        else:
            self.waiting.discard(trial)
        for column, name in (("started", "datetime_start"), ("ended", "datetime_complete")):
            if (instant := _instant(operation.get(name))) is not None:
                changes[column] = instant
        self.staging.update_trial(trial, **changes)
        values = operation.get("values") or []
        self.studies[self.trials[trial]].add_values(trial, [number_and_text(value) for value in values])

    def set_intermediate(self, trial: int, operation: dict[str, Any]) -> None:
        name = self.studies[self.trials[trial]].names[0]
        value = number_and_text(operation["intermediate_value"])
        self.staging.add_point(trial, name, int(operation["step"]), *value)

    def set_attribute(self, trial: int, operation: dict[str, Any]) -> None:
        for name, value in operation["user_attr"].items():
            self.studies[self.trials[trial]].add_attribute(trial, str(name), value)

    def finish(self) -> None:
        for trial in self.waiting:
            if trial in self.trials:
                self.staging.remove_trial(trial)
                self.staging.leave_out(self.trials[trial], WAITING)
        for key, study in self.studies.items():
            study.rename_all(self.metric_names.get(key))
            study.describe()
