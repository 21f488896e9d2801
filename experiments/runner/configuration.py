"""The experiment's configuration as a trial receives it: hyperparameters by group, and configuration objects.

Groups are {group: {name: {"value": text, …}}}. A search parameter named `name` or `Group/name` sets the value of the
hyperparameter of that name.
"""

import json
import re
from collections.abc import Mapping

from experiments.runner.arguments import ArgumentStyle
from experiments.runner.command import text_of

ARGUMENTS, VARIABLES = "Args", "Environment"

Groups = Mapping[str, Mapping[str, Mapping[str, str]]]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def values(groups: Groups, params: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return {group: {name: value}}: the configured texts, replaced by the trial's parameters of the same name."""
    result: dict[str, dict[str, object]] = {
        group: {name: parameter["value"] for name, parameter in parameters.items() if "value" in parameter}
        for group, parameters in groups.items()
    }
    for full_name, value in params.items():
        group, slash, name = full_name.partition("/")
        if slash and group in result:
            result[group][name] = value
            continue
        for group_values in result.values():
            if full_name in group_values:
                group_values[full_name] = value
    return result


def variables(groups: Groups, params: Mapping[str, object]) -> dict[str, str]:
    """Return the variables of the group Environment, without invalid names and names that Trialdeck itself sets."""
    return {
        name: text_of(value)
        for name, value in values(groups, params).get(VARIABLES, {}).items()
        if _VARIABLE.fullmatch(name) and not name.startswith("TRIALDECK_")
    }


def arguments(
    groups: Groups,
    params: Mapping[str, object],
    style: ArgumentStyle = ArgumentStyle(),  # noqa: B008 (frozen)
) -> list[str]:
    """Return `--epochs 60 --amp --lr 0.1`: the group Args (for an empty value the name alone), then the search
    parameters except those of other groups. `style` is how they are written."""
    arguments: list[str] = []
    for name, parameter in groups.get(ARGUMENTS, {}).items():
        name = name.lstrip("-")
        if "value" in parameter and not {name, f"{ARGUMENTS}/{name}"} & params.keys():
            arguments += style.arguments(name, parameter["value"]) if parameter["value"] else style.flag(name)
    for full_name, value in params.items():
        group, slash, name = full_name.partition("/")
        if slash and group == ARGUMENTS:
            arguments += style.arguments(name, value)
        elif not slash or group not in groups:
            arguments += style.arguments(full_name, value)
    return arguments


def text(groups: Groups, objects: Mapping[str, str], params: Mapping[str, object]) -> str:
    """Return the content of the file TRIALDECK_CONFIGURATION."""
    content = {"hyperparameters": values(groups, params), "objects": dict(objects)}
    return json.dumps(content, ensure_ascii=False)
