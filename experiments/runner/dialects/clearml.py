"""A folder as ClearML's agent would leave it, so that a script written for ClearML runs unchanged, with no server.

The package `clearml` (from 2.0 on) takes itself for a task that an agent has started (CLEARML_TASK_ID), works
offline, and finds its task in `$CLEARML_CACHE_DIR/offline/<id>/task.json`: hyperparameters by group, and configuration
objects. They override what the script says; its scalars are appended to `metrics.jsonl` beside it, one JSON array of
events a line.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from experiments.runner.dialects.reader import Reader, is_name, number_or_text, step_or_none
from experiments.runner.dialects.told import Told
from experiments.runner.folder import Escapes, TrialFolder, inside, read_regular
from experiments.runner.report import MAX_SERIES, Report

PLAIN = (
    "Args",
    "General",
    "Hydra",
)  # where a parameter without a group goes: argparse and click, connect, hydra
MAX_LINE = 16 << 20  # plots are on the same lines
MAX_TASK = 16 << 20
MAX_DECLARED = 200
MAX_VALUE = 200  # characters
CONFIG = "sdk { development { report_use_subprocess: false } }\n"
SITE = Path(__file__).with_name("clearml_site")  # what runs in the trial's own Python, before the script
SINGLE = -(1 << 31)  # the iteration of report_single_value
_OWN = ":monitor:"  # what it measures of the machine by itself
_HYDRA = "_allow_omegaconf_edit_"  # in the task of a script that uses it
_PLAIN_IN_HYDRA = re.compile(r"[\w\-+./@%]+")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*/[A-Za-z0-9_.\-/]+")


def prepare(told: Told) -> dict[str, str]:
    """Writes the task. An experiment whose Environment names CLEARML_OFFLINE_MODE is left alone: it wants a server."""
    if "CLEARML_OFFLINE_MODE" in told.chosen:
        return {}
    session = _session(told)
    session.mkdir(parents=True, exist_ok=True)
    # At its end the package makes a zip of its folder, artifacts and all. Where a folder has that name it cannot.
    session.with_name(f"{told.trial_id}.zip").mkdir(exist_ok=True)
    task = task_of(
        told.trial_id, params=told.params, hyperparameters=told.hyperparameters, objects=told.objects
    )
    (session / "task.json").write_text(json.dumps(task), "utf-8")
    # Without it, datasets find their folder not writable.
    (session / "data").mkdir(exist_ok=True)
    (_room(told) / "clearml.conf").write_text(_config(told), "utf-8")
    (_room(told) / SITE.name).mkdir(exist_ok=True)
    for path in SITE.glob("*.py"):
        (_room(told) / SITE.name / path.name).write_text(path.read_text("utf-8"), "utf-8")
    own = told.environment.get("PYTHONPATH")
    site = f"{_room(told)}/{SITE.name}"
    return variables(str(_room(told)), told.trial_id) | {"PYTHONPATH": f"{own}:{site}" if own else site}


def variables(room: str, trial_id: str) -> dict[str, str]:
    """What makes the package find its task and its settings below the folder `room`."""
    return {
        "CLEARML_CACHE_DIR": room,
        "CLEARML_TASK_ID": trial_id,
        "CLEARML_OFFLINE_MODE": "1",
        "CLEARML_LOG_TASK_TO_BACKEND": "0",
        "CLEARML_CONFIG_FILE": f"{room}/clearml.conf",
    }


def task_of(
    trial_id: str,
    *,
    params: Mapping[str, object],
    hyperparameters: Mapping[str, Mapping[str, Mapping[str, str]]],
    objects: Mapping[str, str],
) -> dict[str, object]:
    """The task, as task.json holds it."""
    return {
        "id": trial_id,
        "name": trial_id,
        "type": "training",
        "status": "in_progress",
        "hyperparams": _overrides(params, hyperparameters),
        "configuration": {
            name: {"name": name, "type": "dictionary", "value": text} for name, text in objects.items()
        },
        # Artifacts, labels and models are refused where these are missing.
        "output": {},
        "execution": {"artifacts": [], "model_labels": {}},
        "script": {},
        "models": {"input": [], "output": []},
        "last_metrics": {},
    }


def forget(folder: TrialFolder, trial_id: str) -> None:
    """Removes the task: it may name secrets."""
    (_session_below(folder, trial_id) / "task.json").unlink(missing_ok=True)


def listen(told: Told) -> "ScalarReader":
    return ScalarReader(_session(told) / "metrics.jsonl", told.objective)


def declared(told: Told) -> dict[str, dict[str, dict[str, str]]]:
    """The parameters that the script has and that nobody gave it, {group: {name: {value, type, description}}}, as it
    left them in its task, or as click and hydra had them. Empty for scripts that do not use ClearML."""
    given = _overrides(told.params, told.hyperparameters)
    found: dict[str, dict[str, dict[str, str]]] = {}
    count = 0
    for group, name, traits in _seen(told):
        if name in given.get(group, ()) or not _is_parameter(f"{group}/{name}"):
            continue
        kept = {trait: _short(traits.get(trait)) for trait in ("value", "type", "description")}
        found.setdefault(group, {})[name] = {trait: text for trait, text in kept.items() if text}
        count += 1
        if count >= MAX_DECLARED:
            break
    return found


def _seen(told: Told) -> list[tuple[str, str, dict]]:
    """(group, name, traits) of every parameter that the script left behind."""
    seen = []
    for path in (_session(told) / "task.json", _room(told) / "declared.json"):
        try:
            left = json.loads(read_regular(path, most=MAX_TASK))
            is_task = "hyperparams" in left
            # With hydra the arguments are hydra's own; properties are user properties.
            is_hydra = is_task and (
                "OmegaConf" in left["configuration"] or _HYDRA in left["hyperparams"].get("Hydra", ())
            )
            passed = ("properties", "Args", "Hydra") if is_hydra else ("properties",)
            for group, parameters in (left["hyperparams"] if is_task else left).items():
                if group not in passed:
                    seen += [(group, name, {**traits}) for name, traits in parameters.items()]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return seen


def bring(told: Told) -> None:
    """What the script uploaded, which offline is a copy in the package's folder, goes to its output folder, as
    `artifacts/<name>/…` and `models/<file>`. What it left there itself stays."""
    session, output = _session(told), told.folder.output
    try:
        for path in _files(session / "data"):
            parts = path.relative_to(session / "data").parts
            if "artifacts" in parts:
                _move(path, output, parts[parts.index("artifacts") :])
        for path in _files(session / "models"):
            _move(path, output, path.relative_to(session).parts)
    except OSError:
        return  # what the worker may not read


class ScalarReader(Reader):
    """Follows one trial's events. `report_scalar("loss", "train", …)` is a point of `loss/train`, of `loss` alone
    where both names are the same; `report_single_value("accuracy", …)` is the final result of `accuracy`."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self._is_skipping = False  # within a line that is too long
        self._lines = 0
        self._last: dict[str, Report] = {}

    def feed(self, data: bytes) -> list[Report]:
        *lines, torn = data.split(b"\n")
        if lines:
            lines[0] = self._torn + lines[0]
            self._torn = torn
        else:
            self._torn += torn
        reports = [report for line in lines for report in self._line(line)]
        if len(self._torn) > MAX_LINE:
            self._is_skipping, self._torn = True, self._torn[:100]
        return reports

    def end(self) -> list[Report]:
        return self.feed(b"\n") if self._torn else []

    def begin_anew(self) -> None:
        super().begin_anew()
        self._is_skipping = False

    def implied(self) -> list[Report]:
        """ClearML knows no final result: the last value of each scalar is it."""
        return [replace(report, final=True) for report in self._last.values()]

    def _line(self, line: bytes) -> list[Report]:
        self._lines += 1
        where = f"Line {self._lines} of ClearML's metrics file"
        if self._is_skipping or len(line) > MAX_LINE:
            self._is_skipping = False
            self._fault(f"{where} is longer than {MAX_LINE >> 20} MiB.")
            return []
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
        if isinstance(metric, str) and metric.startswith(_OWN):
            return None
        is_single = event.get("iter") == SINGLE
        name = variant if is_single or metric == variant else f"{metric}/{variant}"
        if not isinstance(metric, str) or not isinstance(variant, str) or not is_name(name):
            self._fault(f"{where} has a scalar with no good title and series.")
            return None
        value, text = number_or_text(event.get("value"))
        if is_single:
            return self._final(name, None, value, text)
        step = step_or_none(event.get("iter"))
        point = self._point(name, step, value, text)
        if name in self._last or len(self._last) < MAX_SERIES:
            self._last[name] = point or self._final(name, step, value, text)
        return point


def _room(told: Told) -> Path:
    return told.folder.path / "clearml"


def _session(told: Told) -> Path:
    return _session_below(told.folder, told.trial_id)


def _session_below(folder: TrialFolder, trial_id: str) -> Path:
    return folder.path / "clearml" / "offline" / trial_id


def _overrides(
    params: Mapping[str, object], hyperparameters: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> dict[str, dict[str, dict[str, str]]]:
    """What overrides the script's own: the experiment's hyperparameters, and before them the trial's values."""
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for group, parameters in hyperparameters.items():
        for name, traits in parameters.items():
            if "value" in traits:
                groups.setdefault(group, {})[name] = {"section": group, "name": name, **traits}
    for whole, value in params.items():
        group, slash, name = whole.partition("/")
        for each in (group,) if slash else PLAIN:
            key = name if slash else whole
            text = hydra_text_of(value) if each == "Hydra" else text_of(value)
            overriding = {"section": each, "name": key, "value": text}
            groups.setdefault(each, {})[key] = {**groups.get(each, {}).get(key, {}), **overriding}
    return groups


def text_of(value: object) -> str:
    """As ClearML writes it. Whole numbers without a point, or an argument of type int would not take them."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, (bool, int, float)):
        return repr(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def hydra_text_of(value: object) -> str:
    """As hydra's command line reads it: commas, brackets and blanks in a text within quotes."""
    if value is None:
        return "null"
    if not isinstance(value, str) or _PLAIN_IN_HYDRA.fullmatch(value):
        return text_of(value)
    # Backslashes are themselves, but for those before a quote.
    inside = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"'{inside}'"


def _config(told: Told) -> str:
    """The person's own settings hold, but for the helper process that makes the end of every trial slow."""
    home = told.environment.get("HOME") or "/"
    own = Path(told.environment.get("CLEARML_CONFIG_FILE") or Path(home, "clearml.conf"))
    included = f"include {json.dumps(str(own), ensure_ascii=False)}\n" if own.is_file() else ""
    return included + CONFIG


def _is_parameter(name: str) -> bool:
    """Can a parameter of a search space be called so?"""
    return len(name) <= 64 and _PARAMETER.fullmatch(name) is not None


def _short(text: object) -> str:
    """As far as it can be stored and shown. What has no description is described as "None" by the package."""
    if not isinstance(text, str) or text == "None":
        return ""
    return "".join(char for char in text[:MAX_VALUE] if char.isprintable())


def _files(folder: Path) -> list[Path]:
    """Regular files below it; links are not followed."""
    walked = os.walk(folder) if not folder.is_symlink() else ()
    paths = (Path(root, name) for root, _, names in walked for name in sorted(names))
    return [path for path in paths if not path.is_symlink() and path.is_file()]


def _move(path: Path, output: Path, parts: tuple[str, ...]) -> None:
    try:
        target = inside(output, *parts)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    except (OSError, Escapes):
        return  # it stays where the script's package has put it
