"""A trial as a shell script that runs it again by hand, on any machine, without Trialdeck."""

import json
import re
import shlex
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from experiments.runner import command as commands
from experiments.runner.dialects import clearml

# What a trial of ours finds in its environment, and what a script makes anew.
OWN_FILES = {"params": "TRIALDECK_PARAMETERS", "output_dir": "TRIALDECK_OUTPUT_DIR"}

_SECRET_PART = re.compile(
    r".*(SECRET|PASSW|PASSPHRASE|CREDENTIAL).*|.*(KEY|KEYS|TOKEN|TOKENS)|PWD|PAT|AUTH|DSN|COOKIE"
)
_SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_HOME = re.compile(r"(~[A-Za-z0-9._-]*)(?:/(.*))?", re.DOTALL)
_PACKAGE = Path(__file__).resolve().parents[2] / "trialdeck"
_TRIAL_HALF = ("__init__.py", "errors.py", "trial.py")


def is_secret(name: str, value: str = "") -> bool:
    """Does this variable look like a secret, by its name or by a password within an address?"""
    parts = re.split(r"[_\d]+", name.upper())
    return any(_SECRET_PART.fullmatch(part) for part in parts) or bool(_SECRET_VALUE.search(value))


def command_of(
    command: str, params: Mapping[str, object], *, trial_id: str, experiment_id: str, as_arguments: bool
) -> str:
    """The command with this trial's values in it. Its files are said as the variables that name them.

    Raises ValueError with a sentence where a placeholder has no value.
    """
    stand_ins = {word: f"td-{uuid.uuid4().hex}" for word in OWN_FILES}  # safe for the shell: not quoted
    values = {**params, "trial_id": trial_id, "exp_id": experiment_id, **stand_ins}
    append = commands.arguments(params) if as_arguments else ()
    filled = commands.render(command, values, append=append)
    for word, stand_in in stand_ins.items():
        filled = filled.replace(stand_in, f'"${OWN_FILES[word]}"')
    return filled


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
    hyperparameters: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType({}),
    objects: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The script. `command` is what `command_of` says; secrets of `environment` are named, never told;
    `needs_package`: the command may import `trialdeck`, or ClearML's package, which is told `hyperparameters` and
    `objects` beside the values."""
    trial_id = f"{experiment_id}-{number}"
    parts = [
        f"""\
#!/usr/bin/env bash
# Runs trial {trial_id} of {" ".join(title.split())!r} again, by hand: the same values, environment and command.
# Its files go into the folder given as the first argument, or into ./trial-{trial_id}.
set -e
folder=${{1:-"$PWD/trial-{trial_id}"}}
mkdir -p "$folder/output"
folder=$(cd "$folder" && pwd)
set --
""",
        _environment(environment),
        f"""\
export TRIALDECK_EXPERIMENT_ID={shlex.quote(experiment_id)}
export TRIALDECK_TRIAL_ID={shlex.quote(trial_id)}
export TRIALDECK_TRIAL_NUMBER={number}
export TRIALDECK_METRIC={shlex.quote(metric)}
export TRIALDECK_PARAMETERS="$folder/parameters.json"
export TRIALDECK_METRICS="$folder/metrics.jsonl"
export TRIALDECK_OUTPUT_DIR="$folder/output"
""",
        _file("$TRIALDECK_PARAMETERS", json.dumps(params, ensure_ascii=False)),
        ': > "$TRIALDECK_METRICS"\n',
    ]
    if needs_package:
        parts += _package()
        if "CLEARML_OFFLINE_MODE" not in environment:
            told = {
                group: {
                    name: traits
                    for name, traits in each.items()
                    if not is_secret(name, traits.get("value", ""))
                }
                for group, each in hyperparameters.items()
            }
            task = clearml.task_of(trial_id, params=params, hyperparameters=told, objects=objects)
            parts += _clearml(trial_id, task)
    parts.append(f"cd {_path(directory) if directory else chr(34) + '$folder' + chr(34)}\n")
    parts.append('echo "Parameters, metrics and output: $folder" >&2\n')
    return "\n".join(parts) + "\n" + command.rstrip("\n") + "\n"


def _environment(environment: Mapping[str, str]) -> str:
    lines = ['export PYTHONUNBUFFERED="${PYTHONUNBUFFERED:-1}"']
    for name, value in environment.items():
        if is_secret(name, value):
            said = f"{name} is not set: it looks like a secret, so it is not told here."
            lines.append(f'[ -n "${{{name}+set}}" ] || echo "{said}" >&2')
        else:
            lines.append(f"export {name}={shlex.quote(value)}")
    return "\n".join(lines) + "\n"


def _package() -> list[str]:
    """What `import trialdeck` needs, so that nothing has to be installed."""
    files = [
        _file(f"$folder/package/trialdeck/{name}", (_PACKAGE / name).read_text("utf-8").rstrip("\n"))
        for name in _TRIAL_HALF
    ]
    return [
        'mkdir -p "$folder/package/trialdeck"\n',
        *files,
        'export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$folder/package"\n',
    ]


def _clearml(trial_id: str, task: dict[str, object]) -> list[str]:
    """What a script written for ClearML finds its values in."""
    session = f"$CLEARML_CACHE_DIR/offline/{trial_id}"
    named = clearml.variables("$folder/clearml", trial_id)
    return [
        "".join(f'export {name}="{value}"\n' for name, value in named.items()),
        f'rm -rf "{session}"\nmkdir -p "{session}" "{session}.zip"\n',
        _file(f"{session}/task.json", json.dumps(task)),
        _file("$CLEARML_CONFIG_FILE", clearml.CONFIG.rstrip()),
    ]


def _file(path: str, text: str) -> str:
    end = "END_OF_FILE"
    while end in text:
        end += "_"
    return f"cat > \"{path}\" <<'{end}'\n{text}\n{end}\n"


def _path(directory: str) -> str:
    """Quoted, but for a ~ at its begin, which stands for a home."""
    home = _HOME.fullmatch(directory)
    if not home:
        return shlex.quote(directory)
    return f"{home[1]}/{shlex.quote(home[2])}" if home[2] else home[1]  # the first / must not be quoted
