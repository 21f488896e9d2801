"""Settings as text, and the differences between two of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

from experiments.messages import duration
from experiments.models import Settings
from experiments.models.settings.execution import PACKAGES_FROM
from experiments.models.settings.shown import masked_text, secrets_of, shown
from experiments.runner.memory_size import format_mebibytes
from experiments.web.experiment.forms import space_rows
from experiments.web.ui.setting_labels import label_of

SECTIONS = {
    "Objective": (
        "direction",
        "metric",
        "further_objectives",
        "selection",
        "goal",
        "source",
        "pattern",
        "metric_path",
        "weights",
    ),
    "Search": (
        "algorithm",
        "algorithm_arguments",
        "seed",
        "avoid_failing_regions",
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
        "start_window",
        "window_time_zone",
    ),
}
HIDDEN_IF_EMPTY = {
    "further_objectives", "weights", "algorithm_arguments", "constraints", "fixed", "starting_points",
    "warm_start", "early_stopping_arguments", "start_window",
}  # fmt: skip
HIDDEN_IF_UNSET = {"gpus", "cores", "memory_mib"}
NO_LIMIT = {"max_trials", "max_duration_s", "max_trial_duration_s"}
SOURCES = {"sdk": "script (trialdeck SDK)", "stdout": "standard output", "file": "JSON file"}
SELECTIONS = {"final": "last value", "best": "best value", "average": "average of all values"}
HIDDEN = "••••"
Groups = dict[str, dict[str, dict[str, str]]]  # of hyperparameters: group, name, trait

MOST_LINES = 4000  # of both texts together; longer ones are not compared line by line

_SECRET = re.compile(r"pass|secret|token|key|credential", re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """One difference: `before` and `after`, or for multi-line text `lines` of (add, del or "", line)."""

    label: str
    before: str = ""
    after: str = ""
    is_code: bool = False
    lines: tuple[tuple[str, str], ...] = ()


def changes(before: Settings, after: Settings) -> list[Change]:
    """Return the differences in the order of the settings: a search space by parameter, a command by line. Credentials
    are masked."""
    secrets = [*secrets_of(before), *secrets_of(after)]
    return [_masked(change, secrets) for change in _changes(before, after)]


def _masked(change: Change, secrets: list[str]) -> Change:
    def mask(text: str) -> str:
        return masked_text(text, secrets)

    lines = tuple((kind, mask(line)) for kind, line in change.lines)
    return replace(change, before=mask(change.before), after=mask(change.after), lines=lines)


def _changes(before: Settings, after: Settings) -> list[Change]:
    differences: list[Change] = []
    old: Any
    new: Any
    for name, (old, new) in before.differences(after).items():
        if name == "space_document":
            differences += _of_space(old, new)
        elif name == "environment":
            differences += _of_environment(old, new)
        elif name == "hyperparameters":
            differences += _of_hyperparameters(old, new)
        elif name == "objects":
            differences += _of_objects(old, new)
        elif isinstance(old, str) and isinstance(new, str) and "\n" in old + new:
            differences.append(Change(label_of(name), lines=tuple(_lines(old, new))))
        else:
            texts = text_of(name, old), text_of(name, new)
            if texts[0] == texts[1]:  # rounding can make them equal: 90.01 s and 90.02 s
                texts = repr(old), repr(new)
            differences.append(Change(label_of(name), *texts))
    return differences


def text_of(name: str, value: Any) -> str:
    """Return the value of one setting as text."""
    if value is None:
        return "no limit" if name in NO_LIMIT else "none"
    if name.endswith("_s"):
        return duration(value)
    if name == "memory_mib":
        return format_mebibytes(value)
    if name == "packages_from":
        return PACKAGES_FROM.get(str(value), str(value)).lower()
    if name == "source":
        return SOURCES.get(str(value), str(value))
    if name == "selection":
        return SELECTIONS.get(str(value), str(value))
    if name == "environment":
        return ", ".join(f"{key}={masked(key, text)}" for key, text in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={space_rows.text_of([each])}" for key, each in value.items()) or "none"
    if name == "constraints":
        return "; ".join(value) or "none"
    if name == "starting_points":
        return "; ".join(text_of("", point) for point in value) or "none"
    if isinstance(value, str):
        return value or "none"
    return f"{value:,}" if isinstance(value, int) and name != "seed" else repr(value)


def sections(settings: Settings) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return (heading, pairs) of the settings outside command and search space."""
    values = shown(settings).document()
    return [
        (
            heading,
            [(label_of(name), text_of(name, values[name])) for name in names if _is_shown(name, settings)],
        )
        for heading, names in SECTIONS.items()
    ]


def environment(settings: Settings) -> list[tuple[str, str]]:
    """Return the environment variables, with secrets masked."""
    return [(name, masked(name, text)) for name, text in shown(settings).environment.items()]


def _is_shown(name: str, settings: Settings) -> bool:
    """Return whether a setting has an effect, given the others."""
    if name in ("pattern", "metric_path"):
        return settings.source == {"pattern": "stdout", "metric_path": "file"}[name]
    if name == "window_time_zone":
        return bool(settings.start_window)
    if name in HIDDEN_IF_UNSET:
        return getattr(settings, name) is not None
    if name in HIDDEN_IF_EMPTY:
        return bool(getattr(settings, name))
    return True


def _of_space(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    return [
        Change(name, parameter_text(old.get(name)), parameter_text(new.get(name)), is_code=True)
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    ]


def parameter_text(spec: dict[str, Any] | None) -> str:
    if not spec:
        return ""
    suffix = ", whole" if spec.get("_whole") else ""
    return f"{spec['_type']} {space_rows.text_of(spec['_value'])}{suffix}"


def _of_environment(old: dict[str, str], new: dict[str, str]) -> list[Change]:
    return [
        Change(
            name,
            masked(name, old[name]) if name in old else "",
            masked(name, new[name]) if name in new else "",
            is_code=True,
        )
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name) != new.get(name)
    ]


def _of_hyperparameters(old: Groups, new: Groups) -> list[Change]:
    before, after = flat_hyperparameters(old), flat_hyperparameters(new)
    return [
        Change(name, hyperparameter_text(name, before), hyperparameter_text(name, after), is_code=True)
        for name in [*before, *(name for name in after if name not in before)]
        if before.get(name) != after.get(name)
    ]


def flat_hyperparameters(groups: Groups) -> dict[str, dict[str, str]]:
    return {f"{group}/{name}": traits for group, named in groups.items() for name, traits in named.items()}


def hyperparameter_text(name: str, all_: dict[str, dict[str, str]]) -> str:
    traits = all_.get(name)
    if traits is None:
        return ""
    return HIDDEN if "secret" in traits else masked(name, traits["value"]) or "empty"


def _of_objects(old: dict[str, str], new: dict[str, str]) -> list[Change]:
    names = [*old, *(name for name in new if name not in old)]
    return [
        Change(name, lines=tuple(_lines(old.get(name, ""), new.get(name, ""))))
        for name in names
        if old.get(name) != new.get(name)
    ]


def masked(name: str, text: str) -> str:
    return HIDDEN if _SECRET.search(name) else text


def _lines(old: str, new: str) -> list[tuple[str, str]]:
    before, after = old.split("\n"), new.split("\n")
    if len(before) + len(after) > MOST_LINES:  # the comparison would time out
        return [("del", f"{len(before):,} lines"), ("add", f"{len(after):,} lines")]
    lines: list[tuple[str, str]] = []
    for tag, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [("", line) for line in before[i:j]]
        else:
            lines += [("del", line) for line in before[i:j]] + [("add", line) for line in after[k:m]]
    return lines
