"""Settings, and what differs between two of them, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from experiments.messages import duration
from experiments.models import Settings
from experiments.models.execution import PACKAGES_FROM
from experiments.runner.size import in_words

from . import space_rows

LABELS = {
    "command": "Command",
    "directory": "Working directory",
    "environment": "Environment",
    "passes_arguments": "Parameters as arguments",
    "metric": "Metric",
    "direction": "Direction",
    "source": "Comes from",
    "pattern": "Regular expression",
    "metric_path": "JSON file",
    "selection": "A trial's value",
    "weights": "Weights",
    "goal": "Goal",
    "algorithm": "Algorithm",
    "algorithm_arguments": "Its arguments",
    "seed": "Seed",
    "max_trials": "Max trials",
    "concurrency": "At once",
    "max_duration_s": "Max duration",
    "max_trial_duration_s": "Max trial duration",
    "stop_grace_s": "Stop grace",
    "gpus": "GPUs per trial",
    "cores": "Cores per trial",
    "memory_mib": "Memory per trial",
    "retries": "Retries",
    "breaker": "Pause after",
    "constraints": "Constraints",
    "fixed": "Fixed values",
    "starting_points": "Starting points",
    "warm_start": "Warm start",
    "early_stopping": "Early stopping",
    "early_stopping_arguments": "Its rule's arguments",
    "reference_kind": "Run by",
    "diff": "Uncommitted changes",
    "packages_from": "Packages from",
    "original_packages": "Packages before a run resolved them",
    "image": "Container image",
    "image_arguments": "Container arguments",
    "destination": "Output destination",
    "keeps_best": "Artifacts kept of the best",
    "hyperparameters": "Hyperparameters",
    "objects": "Configuration objects",
}
SECTIONS = {
    "Objective": ("direction", "metric", "selection", "goal", "source", "pattern", "metric_path", "weights"),
    "Search": (
        "algorithm",
        "algorithm_arguments",
        "seed",
        "constraints",
        "fixed",
        "starting_points",
        "warm_start",
        "early_stopping",
        "early_stopping_arguments",
    ),
    "Budget": (
        "max_trials",
        "concurrency",
        "max_duration_s",
        "max_trial_duration_s",
        "gpus",
        "cores",
        "memory_mib",
        "stop_grace_s",
        "retries",
        "breaker",
    ),
}
OFTEN_EMPTY = {
    "weights", "algorithm_arguments", "constraints", "fixed", "starting_points", "warm_start",
    "early_stopping_arguments",
}  # fmt: skip
ONLY_WHERE_ASKED = {"gpus", "cores", "memory_mib"}
NO_LIMIT = {"max_trials", "max_duration_s", "max_trial_duration_s"}
SOURCES = {"sdk": "the script itself", "stdout": "standard output", "file": "a JSON file"}
HIDDEN = "••••"
MOST_LINES = 4000  # of two texts together that are compared line by line

_SECRET = re.compile(r"pass|secret|token|key|credential", re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """One difference. Of a text of several lines `lines` has (add, del or "", line); else before and after stand."""

    label: str
    before: str = ""
    after: str = ""
    is_code: bool = False
    lines: tuple[tuple[str, str], ...] = ()


def changes(before: Settings, after: Settings) -> list[Change]:
    """What differs, in the order of the settings: a search space parameter by parameter, a command line by line."""
    found: list[Change] = []
    for name, (old, new) in before.differences(after).items():
        if name == "space_document":
            found += _of_space(old, new)
        elif name == "environment":
            found += _of_environment(old, new)
        elif name == "hyperparameters":
            found += _of_hyperparameters(old, new)
        elif name == "objects":
            found += _of_objects(old, new)
        elif isinstance(old, str) and isinstance(new, str) and "\n" in old + new:
            found.append(Change(label_of(name), lines=tuple(_lines(old, new))))
        else:
            said = text_of(name, old), text_of(name, new)
            if said[0] == said[1]:  # rounded in words: 90.01 s and 90.02 s
                said = repr(old), repr(new)
            found.append(Change(label_of(name), *said))
    return found


def label_of(name: str) -> str:
    """The setting's name, as the form says it."""
    return LABELS.get(name) or name.removesuffix("_s").replace("_", " ").capitalize()


def text_of(name: str, value: object) -> str:
    """One setting in words."""
    if value is None:
        return "no limit" if name in NO_LIMIT else "none"
    if name.endswith("_s"):
        return duration(value)
    if name == "memory_mib":
        return in_words(value)
    if name == "packages_from":
        return PACKAGES_FROM.get(str(value), str(value)).lower()
    if name == "source":
        return SOURCES.get(str(value), str(value))
    if name == "environment":
        return ", ".join(f"{key}={_shown(key, text)}" for key, text in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={space_rows.text_of([one])}" for key, one in value.items()) or "none"
    if name == "constraints":
        return "; ".join(value) or "none"
    if name == "starting_points":
        return "; ".join(text_of("", point) for point in value) or "none"
    if isinstance(value, str):
        return value or "none"
    return f"{value:,}" if isinstance(value, int) and name != "seed" else repr(value)


def sections(settings: Settings) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, pairs) of all that is neither command nor search space."""
    told = settings.document()
    return [
        (heading, [(label_of(name), text_of(name, told[name])) for name in names if _is_told(name, settings)])
        for heading, names in SECTIONS.items()
    ]


def environment(settings: Settings) -> list[tuple[str, str]]:
    """The variables, with secrets masked."""
    return [(name, _shown(name, text)) for name, text in settings.environment.items()]


def space(settings: Settings) -> list[space_rows.Row]:
    """The parameters, as they were typed."""
    return space_rows.rows_of(settings.space_document)


def _is_told(name: str, settings: Settings) -> bool:
    """What means nothing beside the other settings is left out."""
    if name in ("pattern", "metric_path"):
        return settings.source == {"pattern": "stdout", "metric_path": "file"}[name]
    if name in ONLY_WHERE_ASKED:
        return getattr(settings, name) is not None
    if name in OFTEN_EMPTY:
        return bool(getattr(settings, name))
    return True


def _of_space(old: dict, new: dict) -> list[Change]:
    return [
        Change(name, _parameter(old.get(name)), _parameter(new.get(name)), is_code=True)
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    ]


def _parameter(one: dict | None) -> str:
    return f"{one['_type']} {space_rows.text_of(one['_value'])}" if one else ""


def _of_environment(old: dict, new: dict) -> list[Change]:
    return [
        Change(
            name,
            _shown(name, old[name]) if name in old else "",
            _shown(name, new[name]) if name in new else "",
            is_code=True,
        )
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    ]


def _of_hyperparameters(old: dict, new: dict) -> list[Change]:
    before, after = _flat(old), _flat(new)
    return [
        Change(name, _hyperparameter(name, before), _hyperparameter(name, after), is_code=True)
        for name in [*before, *(name for name in after if name not in before)]
        if before.get(name) != after.get(name)
    ]


def _flat(groups: dict) -> dict[str, dict]:
    return {f"{group}/{name}": traits for group, named in groups.items() for name, traits in named.items()}


def _hyperparameter(name: str, all_: dict[str, dict]) -> str:
    traits = all_.get(name)
    if traits is None:
        return ""
    return HIDDEN if "secret" in traits else _shown(name, traits["value"]) or "empty"


def _of_objects(old: dict, new: dict) -> list[Change]:
    names = [*old, *(name for name in new if name not in old)]
    return [
        Change(name, lines=tuple(_lines(old.get(name, ""), new.get(name, ""))))
        for name in names
        if old.get(name) != new.get(name)
    ]


def _shown(name: str, text: str) -> str:
    return HIDDEN if _SECRET.search(name) else text


def _lines(old: str, new: str) -> list[tuple[str, str]]:
    before, after = old.split("\n"), new.split("\n")
    if len(before) + len(after) > MOST_LINES:  # to compare them would take longer than anybody waits
        return [("del", f"{len(before):,} lines"), ("add", f"{len(after):,} lines")]
    told: list[tuple[str, str]] = []
    for tag, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            told += [("", line) for line in before[i:j]]
        else:
            told += [("del", line) for line in before[i:j]] + [("add", line) for line in after[k:m]]
    return told
