"""An experiment's configuration as a trial gets it: hyperparameters by group, and configuration objects.

Groups are {group: {name: {"value": text, …}}}. A search parameter named `name`, or `Group/name`, gives a
hyperparameter of that name its value.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from experiments.runner.command import text_of

ARGUMENTS, VARIABLES = "Args", "Environment"

Groups = Mapping[str, Mapping[str, Mapping[str, str]]]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def values(groups: Groups, params: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """{group: {name: value}}: texts as they were given, and the trial's own values where it has some."""
    told: dict[str, dict[str, object]] = {
        group: {name: one["value"] for name, one in named.items() if "value" in one}
        for group, named in groups.items()
    }
    for whole, value in params.items():
        group, slash, name = whole.partition("/")
        if slash and group in told:
            told[group][name] = value
            continue
        for named in told.values():
            if whole in named:
                named[whole] = value
    return told


def variables(groups: Groups, params: Mapping[str, object]) -> dict[str, str]:
    """The group Environment, but for what cannot be a variable, and what Trialdeck sets itself."""
    return {
        name: text_of(value)
        for name, value in values(groups, params).get(VARIABLES, {}).items()
        if _VARIABLE.fullmatch(name) and not name.startswith("TRIALDECK_")
    }


def arguments(groups: Groups, params: Mapping[str, object]) -> list[str]:
    """`--epochs 60 --amp --lr 0.1`: the group Args, an empty text as the name alone, then the search parameters but
    those of other groups."""
    words: list[str] = []
    for name, one in groups.get(ARGUMENTS, {}).items():
        name = name.lstrip("-")
        if "value" in one and not {name, f"{ARGUMENTS}/{name}"} & params.keys():
            words += [f"--{name}", one["value"]] if one["value"] else [f"--{name}"]
    for whole, value in params.items():
        group, slash, name = whole.partition("/")
        if slash and group == ARGUMENTS:
            words += [f"--{name}", text_of(value)]
        elif not slash or group not in groups:
            words += [f"--{whole}", text_of(value)]
    return words


def text(groups: Groups, objects: Mapping[str, str], params: Mapping[str, object]) -> str:
    """The file that TRIALDECK_CONFIGURATION names."""
    told = {"hyperparameters": values(groups, params), "objects": dict(objects)}
    return json.dumps(told, ensure_ascii=False)


def write(path: Path, content: str) -> None:
    """Readable by its owner alone: secrets may be in it."""
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(content)
