"""Build the shell script that reproduces a trial on any machine, without Trialdeck."""

import json
import re
import shlex
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from experiments.runner import command as commands
from experiments.runner import configuration
from experiments.runner.arguments import ArgumentStyle
from experiments.runner.code.reproduce_code import Code, file, layout, path
from experiments.runner.dialects import clearml
from experiments.runner.output.masking import has_secret_name

# The files of a trial that a script recreates, by the variables that name them.
OWN_FILES = {"params": "TRIALDECK_PARAMETERS", "output_dir": "TRIALDECK_OUTPUT_DIR"}

_SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_LIKE_A_SECRET = "://:x@"
_PACKAGE = Path(__file__).resolve().parents[3] / "trialdeck"
_TRIAL_HALF = ("__init__.py", "errors.py", "trial.py")


def is_secret(name: str, value: str = "") -> bool:
    """Return whether this variable looks like a secret: by its name, or by a password in a URL."""
    return has_secret_name(name) or bool(_SECRET_VALUE.search(value))


def without_secrets(hyperparameters: configuration.Groups) -> dict[str, dict[str, Mapping[str, str]]]:
    """Return the hyperparameters without values that are or look like secrets."""
    return {
        group: {
            name: parameter
            for name, parameter in parameters.items()
            if "value" in parameter and not is_secret(name, parameter["value"])
        }
        for group, parameters in hyperparameters.items()
    }


def command_of(
    command: str,
    params: Mapping[str, object],
    *,
    trial_id: str,
    experiment_id: str,
    as_arguments: bool,
    style: ArgumentStyle = ArgumentStyle(),  # noqa: B008 (frozen)
    groups: configuration.Groups = MappingProxyType({}),
) -> str:
    """Return the command with this trial's values. Its files are referenced by their environment variables.

    Raise ValueError with a message when a placeholder has no value.
    """
    tokens = {word: f"td-{uuid.uuid4().hex}" for word in OWN_FILES}  # need no quoting in the shell
    values = {**params, "trial_id": trial_id, "exp_id": experiment_id, **tokens}
    append = configuration.arguments(without_secrets(groups), params, style) if as_arguments else ()
    rendered = commands.render(command, values, append=append)
    for word, token in tokens.items():
        rendered = rendered.replace(token, f'"${OWN_FILES[word]}"')
    return rendered


def script(
    *,
    command: str,
    params: Mapping[str, object],
    environment: Mapping[str, str],
    directory: str,
    experiment_id: str,
    number: int,
    metric: str,
    title: str,
    needs_package: bool,
    pipefail: bool = True,
    hyperparameters: configuration.Groups = MappingProxyType({}),
    objects: Mapping[str, str] = MappingProxyType({}),
    code: Code = Code(),  # noqa: B008 (frozen)
) -> str:
    """Return the script. `command` is the result of `command_of`. Secrets of `environment` are named without values.
    `needs_package`: the command may import `trialdeck` or ClearML's package. The latter gets `hyperparameters` and
    `objects` besides the parameters. `code` is the code that the trial ran."""
    groups = without_secrets(hyperparameters)
    trial_id = f"{experiment_id}-{number}"
    sections = [
        f"""\
#!/usr/bin/env bash
# Runs trial {trial_id} of {" ".join(title.split())!r} again, by hand, with the same values, environment and command.
# Its files go to the folder given as the first argument, or to ./trial-{trial_id}.
set -e{"o pipefail" if pipefail else ""}
folder=${{1:-"$PWD/trial-{trial_id}"}}
mkdir -p "$folder/output"
folder=$(cd "$folder" && pwd)
set --
""",
        _environment({**_variables(hyperparameters, params), **environment}),
        f"""\
export TRIALDECK_EXPERIMENT_ID={shlex.quote(experiment_id)}
export TRIALDECK_TRIAL_ID={shlex.quote(trial_id)}
export TRIALDECK_TRIAL_NUMBER={number}
export TRIALDECK_METRIC={shlex.quote(metric)}
export TRIALDECK_PARAMETERS="$folder/parameters.json"
export TRIALDECK_METRICS="$folder/metrics.jsonl"
export TRIALDECK_OUTPUT_DIR="$folder/output"
""",
        file("$TRIALDECK_PARAMETERS", json.dumps(params, ensure_ascii=False)),
        ': > "$TRIALDECK_METRICS"\n',
    ]
    if needs_package:
        sections += _package()
        if "CLEARML_OFFLINE_MODE" not in environment:
            task = clearml.task_of(trial_id, params=params, hyperparameters=groups, objects=objects)
            sections += _clearml(trial_id, task)
    if groups or objects:
        sections.append(file("$folder/configuration.json", configuration.text(groups, objects, params)))
        sections.append('export TRIALDECK_CONFIGURATION="$folder/configuration.json"\n')
    sections += layout(code)
    sections.append(f"cd {_place(directory, code)}\n")
    sections.append('echo "Parameters, metrics and output: $folder" >&2\n')
    return "\n".join(sections) + "\n" + command.rstrip("\n") + "\n"


def _environment(environment: Mapping[str, str]) -> str:
    lines = ['export PYTHONUNBUFFERED="${PYTHONUNBUFFERED:-1}"']
    for name, value in environment.items():
        if is_secret(name, value):
            warning = f"{name} is not set. Its value looks like a secret and is not in this script."
            lines.append(f'[ -n "${{{name}+set}}" ] || echo "{warning}" >&2')
        else:
            lines.append(f"export {name}={shlex.quote(value)}")
    return "\n".join(lines) + "\n"


def _variables(groups: configuration.Groups, params: Mapping[str, object]) -> dict[str, str]:
    """Return the group Environment, with a placeholder for the value of each secret."""
    parameters = groups.get(configuration.VARIABLES, {})
    masked = {
        name: parameter if "value" in parameter else {"value": _LIKE_A_SECRET}
        for name, parameter in parameters.items()
    }
    return configuration.variables({**groups, configuration.VARIABLES: masked}, params) if parameters else {}


def _place(directory: str, code: Code) -> str:
    if code.is_laid_out:
        return f'"$folder/code"/{shlex.quote(directory)}' if directory else '"$folder/code"'
    return path(directory) if directory else '"$folder"'


def _package() -> list[str]:
    """Return lines that provide the package `trialdeck`, so that nothing has to be installed."""
    files = [
        file(f"$folder/package/trialdeck/{name}", (_PACKAGE / name).read_text("utf-8").rstrip("\n"))
        for name in _TRIAL_HALF
    ]
    return [
        'mkdir -p "$folder/package/trialdeck"\n',
        *files,
        'export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$folder/package"\n',
    ]


def _clearml(trial_id: str, task: dict[str, object]) -> list[str]:
    """Return lines that create the files from which a script written for ClearML reads its values."""
    session = f"$CLEARML_CACHE_DIR/offline/{trial_id}"
    variables = clearml.variables("$folder/clearml", trial_id)
    return [
        "".join(f'export {name}="{value}"\n' for name, value in variables.items()),
        f'rm -rf "{session}"\nmkdir -p "{session}" "{session}.zip"\n',
        f'mkdir -p "{session}/data" "$CLEARML_CACHE_DIR/{clearml.SITE.name}"\n',
        file(f"{session}/task.json", json.dumps(task)),
        file(f"$CLEARML_CACHE_DIR/{clearml.OVERRIDES}", json.dumps(clearml.overridden_names(task))),
        *(
            file(f"$CLEARML_CACHE_DIR/{clearml.SITE.name}/{path.name}", path.read_text("utf-8").rstrip("\n"))
            for path in sorted(clearml.SITE.glob("*.py"))
        ),
        f'export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}$CLEARML_CACHE_DIR/{clearml.SITE.name}"\n',
        file("$CLEARML_CONFIG_FILE", clearml.CONFIG.rstrip()),
    ]
