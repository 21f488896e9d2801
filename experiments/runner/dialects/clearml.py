"""The ClearML dialect: a folder such as ClearML's agent prepares, so that a script for ClearML runs without a server.

The package `clearml` (2.0 or later) runs as a task that an agent started (CLEARML_TASK_ID), works offline, and reads
its task from `$CLEARML_CACHE_DIR/offline/<id>/task.json`: hyperparameters by group, and configuration objects, which
override those of the script. It appends scalars to `metrics.jsonl` in the same folder, a JSON array of events per line.
"""

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from experiments.runner.dialects.clearml_publish import MAX_PATH, MAX_TASK, Publisher
from experiments.runner.dialects.clearml_reports import sample_parts
from experiments.runner.dialects.reader import LineReader, is_name, number_or_text, step_or_none, time_or_none
from experiments.runner.dialects.run_context import RunContext
from experiments.runner.report import MAX_SERIES, Report
from experiments.runner.safe_files import (
    OutsideFolder,
    Root,
    list_files,
    move,
    read_text,
    remove,
)
from experiments.runner.trial_folder import TrialFolder

# The groups of a parameter without a group: argparse and click, connect, hydra.
PLAIN = "Args", "General", "Hydra"
MAX_LINE = 16 << 20  # plots are in these lines, too
MAX_DECLARED = 200
MAX_VALUE = 200  # characters
CONFIG = "sdk { development { report_use_subprocess: false } }\n"
SITE = Path(__file__).with_name("clearml_site")  # modules that the trial's Python runs before the script
FOLDER = "clearml"  # below the trial's
OVERRIDES = "overrides.json"
SINGLE = -(1 << 31)  # the iteration of report_single_value
_MONITOR = ":monitor:"  # prefix of ClearML's own machine metrics
_HYDRA = "_allow_omegaconf_edit_"  # present in the task of a script that uses hydra
_PLAIN_IN_HYDRA = re.compile(r"[\w\-+./@%]+")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*/[A-Za-z0-9_.\-/]+")


def prepare(context: RunContext) -> dict[str, str]:
    """Write the task. Do nothing if the experiment sets CLEARML_OFFLINE_MODE: it uses a ClearML server."""
    if "CLEARML_OFFLINE_MODE" in context.chosen:
        return {}
    path, folder = _folder(context), context.folder
    names, files = _content(context)
    own = context.environment.get("PYTHONPATH")
    env = variables(str(path), context.trial_id) | {"PYTHONPATH": f"{own}:{SITE}" if own else str(SITE)}
    if not context.has_clearml_folder:
        folder.add_file(path, json.dumps({"folders": names, "files": files}))
        return env
    folder.add_folder(path)
    for name in names:
        folder.add_folder(path / name)
    for name, text in files.items():
        folder.add_file(path / name, text)
    if context.is_contained:
        site = path / SITE.name
        folder.add_folder(site)
        for source in SITE.glob("*.py"):
            folder.add_file(site / source.name, source.read_bytes())
        env["PYTHONPATH"] = f"{own}:{site}" if own else str(site)
    return env


def _content(context: RunContext) -> tuple[list[str], dict[str, str]]:
    """Return the subfolders of the package's folder, parents first, and its files as {name: text}."""
    session = f"offline/{context.trial_id}"
    # When a script ends, the package zips its folder with all artifacts, unless a folder has the name of the zip file.
    # Without `data`, datasets fail because their folder is not writable.
    names = ["offline", session, f"{session}/data", f"{session}.zip"]
    task = task_of(
        context.trial_id,
        params=context.params,
        hyperparameters=context.hyperparameters,
        objects=context.objects,
    )
    return names, {
        f"{session}/task.json": json.dumps(task),
        OVERRIDES: json.dumps(overridden_names(task)),
        "clearml.conf": _config(context),
    }


def variables(folder: str, trial_id: str) -> dict[str, str]:
    """Return the variables that point the package to its task and settings below `folder`."""
    return {
        "CLEARML_CACHE_DIR": folder,
        "CLEARML_TASK_ID": trial_id,
        "CLEARML_OFFLINE_MODE": "1",
        "CLEARML_LOG_TASK_TO_BACKEND": "0",
        "CLEARML_CONFIG_FILE": f"{folder}/clearml.conf",
    }


def task_of(
    trial_id: str,
    *,
    params: Mapping[str, object],
    hyperparameters: Mapping[str, Mapping[str, Mapping[str, str]]],
    objects: Mapping[str, str],
) -> dict[str, Any]:
    """Return the content of task.json."""
    return {
        "id": trial_id,
        "name": trial_id,
        "type": "training",
        "status": "in_progress",
        "hyperparams": _overrides(params, hyperparameters),
        "configuration": {
            name: {"name": name, "type": "dictionary", "value": text} for name, text in objects.items()
        },
        # Without these, the package refuses artifacts, labels and models.
        "output": {},
        "execution": {"artifacts": [], "model_labels": {}},
        "script": {},
        "models": {"input": [], "output": []},
        "last_metrics": {},
    }


def overridden_names(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of OVERRIDES: the names that the task overrides, without values. The script keeps its own
    values of everything else."""
    groups = {group: [*values] for group, values in task["hyperparams"].items()}
    return {"hyperparams": groups, "configuration": [*task["configuration"]]}


def remove_task(folder: TrialFolder, trial_id: str) -> None:
    """Remove the task file, which may contain secrets."""
    try:
        remove(_session_below(folder, trial_id) / "task.json", below=folder.below)
    except NotADirectoryError:  # the folder was never made of its file
        remove(reports_folder(folder), below=folder.below)


def listen(context: RunContext) -> "ScalarReader":
    path = f"{_session(context)}/metrics.jsonl"
    return ScalarReader(path, context.objective, below=context.folder.below)


def declared(context: RunContext) -> dict[str, dict[str, dict[str, str]]]:
    """Return the script's own parameters that the experiment does not set, as {group: {name: {value, type,
    description}}}, from its task file or as declared by click and hydra. Empty for scripts that do not use ClearML."""
    overrides = _overrides(context.params, context.hyperparameters)
    groups: dict[str, dict[str, dict[str, str]]] = {}
    count = 0
    for group, name, traits in _script_parameters(context):
        if name in overrides.get(group, ()) or not _is_parameter(f"{group}/{name}"):
            continue
        texts = {trait: _short(traits.get(trait)) for trait in ("value", "type", "description")}
        groups.setdefault(group, {})[name] = {trait: text for trait, text in texts.items() if text}
        count += 1
        if count >= MAX_DECLARED:
            break
    return groups


def _script_parameters(context: RunContext) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (group, name, traits) of all parameters that the script wrote."""
    parameters_left = []
    for path in (_session(context) / "task.json", _folder(context) / "declared.json"):
        try:
            content = json.loads(read_text(path, below=context.folder.below, max_bytes=MAX_TASK))
            is_task = "hyperparams" in content
            # With hydra the arguments are hydra's own; "properties" are user properties.
            is_hydra = is_task and (
                "OmegaConf" in content["configuration"] or _HYDRA in content["hyperparams"].get("Hydra", ())
            )
            skipped = ("properties", "Args", "Hydra") if is_hydra else ("properties",)
            for group, parameters in (content["hyperparams"] if is_task else content).items():
                if group not in skipped:
                    parameters_left += [(group, name, {**traits}) for name, traits in parameters.items()]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return parameters_left


def last_changes(context: RunContext) -> list[int]:
    """Return the modification times of what the package writes to. If they are the same as before the trial, it was not
    used."""
    folder = f"{context.folder.path}/{FOLDER}"  # as text: this runs twice per trial, and pathlib is slow
    session = f"{folder}/offline/{context.trial_id}"
    return context.folder.times(folder, session, f"{session}/task.json", f"{session}/data")


def publisher_of(context: RunContext) -> Publisher:
    """Return the publisher of the trial's plots, tables, debug samples, user properties and models."""
    return Publisher(_session(context), context.folder.output, context.folder.below)


def move_uploads(context: RunContext) -> None:
    """Move what the script uploaded (offline, a copy in the package's folder) to the output folder, as
    `artifacts/<name>/…` and `models/<file>`. Existing files are not replaced."""
    session, output, root = _session(context), context.folder.output, context.folder.below
    try:
        for name in _files(session / "data", root):
            parts = PurePath(name).parts
            if "artifacts" in parts and not sample_parts(parts):
                target = output.joinpath(*parts[parts.index("artifacts") :])
                _move(session / "data" / name, target, root)
        for name in _files(session / "models", root):
            _move(session / "models" / name, output / "models" / name, root)
    except OSError:
        return  # files that the worker cannot read


class ScalarReader(LineReader):
    """Follow the events of a trial. `report_scalar("loss", "train", …)` is a point of `loss/train`, or of `loss` when
    both names are equal; `report_single_value("accuracy", …)` is the final result of `accuracy`."""

    max_line = MAX_LINE

    def __init__(self, path: Path | str, objective: str, *, below: Root | None = None) -> None:
        super().__init__(path, objective, below=below)
        self._last: dict[str, Report] = {}

    def implied(self) -> list[Report]:
        """Return the last value of each scalar as its final result, because ClearML has no final results."""
        return [replace(report, final=True) for report in self._last.values()]

    def _where(self) -> str:
        return f"Line {self._lines} of ClearML's metrics file"

    def _too_long(self, line: bytes) -> None:
        self._fault(f"{self._where()} is longer than {MAX_LINE >> 20} MiB.")

    def _line(self, line: bytes) -> list[Report]:
        where = self._where()
        if not line.strip():
            return []
        try:
            events = json.loads(line.decode())
        except (ValueError, RecursionError):
            self._fault(f"{where} is not JSON.")
            return []
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            self._fault(f"{where} is not a list of events.")
            return []
        return [report for event in events if (report := self._event(event, where))]

    def _event(self, event: dict, where: str) -> Report | None:
        if event.get("type") != "training_stats_scalar":
            return None
        metric, variant = event.get("metric"), event.get("variant")
        if isinstance(metric, str) and metric.startswith(_MONITOR):
            return None
        is_single = event.get("iter") == SINGLE
        name = str(variant) if is_single or metric == variant else f"{metric}/{variant}"
        if not isinstance(metric, str) or not isinstance(variant, str) or not is_name(name):
            self._fault(f"{where} has a scalar with an invalid title or series.")
            return None
        value, text = number_or_text(event.get("value"))
        if is_single:
            return self._final(name, None, value, text)
        step = step_or_none(event.get("iter"))
        at_ms = time_or_none(event.get("timestamp"))
        point = self._point(name, step, value, text, at=None if at_ms is None else at_ms / 1000)
        if name in self._last or len(self._last) < MAX_SERIES:
            self._last[name] = point or self._final(name, step, value, text)
        return point


def reports_folder(folder: TrialFolder) -> Path:
    """Return the folder that ClearML's package writes to."""
    return folder.path / FOLDER


def _folder(context: RunContext) -> Path:
    return reports_folder(context.folder)


def _session(context: RunContext) -> Path:
    return _session_below(context.folder, context.trial_id)


def _session_below(folder: TrialFolder, trial_id: str) -> Path:
    return reports_folder(folder).joinpath("offline", trial_id)


def _overrides(
    params: Mapping[str, object], hyperparameters: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> dict[str, dict[str, dict[str, str]]]:
    """Return what overrides the script's values: the trial's parameters, then the experiment's hyperparameters."""
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for group, parameters in hyperparameters.items():
        for name, traits in parameters.items():
            if "value" in traits:
                groups.setdefault(group, {})[name] = {"section": group, "name": name, **traits}
    for full_name, value in params.items():
        prefix, slash, name = full_name.partition("/")
        for section in (prefix,) if slash else PLAIN:
            key = name if slash else full_name
            text = hydra_text_of(value) if section == "Hydra" else text_of(value)
            override = {"section": section, "name": key, "value": text}
            groups.setdefault(section, {})[key] = {**groups.get(section, {}).get(key, {}), **override}
    return groups


def text_of(value: object) -> str:
    """Return a value as ClearML writes it. Whole numbers have no decimal point, because int arguments would reject
    it."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, (bool, int, float)):
        return repr(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def hydra_text_of(value: object) -> str:
    """Return a value in Hydra's override syntax: strings with commas, brackets or spaces are quoted."""
    if value is None:
        return "null"
    if not isinstance(value, str) or _PLAIN_IN_HYDRA.fullmatch(value):
        return text_of(value)
    # Backslashes are literal, except before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"'{escaped}'"


def _config(context: RunContext) -> str:
    """Return the user's own settings, with the reporting subprocess disabled, because it delays the end of every
    trial."""
    home = context.environment.get("HOME") or "/"
    own = context.environment.get("CLEARML_CONFIG_FILE") or os.path.join(home, "clearml.conf")  # noqa: PTH118
    included = f"include {json.dumps(own, ensure_ascii=False)}\n" if os.path.isfile(own) else ""  # noqa: PTH113
    return included + CONFIG


def _is_parameter(name: str) -> bool:
    """Return whether this is a valid name for a search-space parameter."""
    return len(name) <= 64 and _PARAMETER.fullmatch(name) is not None


def _short(text: object) -> str:
    """Return a printable prefix of a text. The package writes "None" for a missing description."""
    if not isinstance(text, str) or text == "None":
        return ""
    return "".join(char for char in text[:MAX_VALUE] if char.isprintable())


def _files(folder: Path, root: Root) -> list[str]:
    """Return the names of the regular files below a folder; links are not followed."""
    return [
        name
        for name, status in list_files(folder, below=root, max_name=MAX_PATH)
        if stat.S_ISREG(status.st_mode)
    ]


def _move(path: Path, target: Path, root: Root) -> None:
    try:
        move(path, target, below=root)
    except (OSError, OutsideFolder):
        return  # leave it where the package put it
