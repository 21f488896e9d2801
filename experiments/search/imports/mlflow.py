"""MLflow's runs: the folder `mlruns` of the file store as a ZIP archive, and the SQLite database of a server."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import PurePosixPath

from . import sqlite_file
from .archive import Archive
from .cells import parse_cell
from .errors import ReadError
from .staging import Staging, number_and_text

STATES = {"FINISHED": "succeeded", "FAILED": "failed", "KILLED": "stopped", "RUNNING": "stopped"}
STATUS_NUMBERS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
STILL_RUNNING = "Was running when the file was saved"
SCHEDULED, DELETED, TAGS = "runs that have not started", "deleted runs", "tags and notes of runs"
OTHER_FILES = "artifacts of runs"
UNREADABLE = "runs without a valid meta.yaml"
BLANK = "runs without parameters and metrics"  # such as the parent of nested runs
SYSTEM = "system/"  # metrics that MLflow measures itself
_LINE = re.compile(r"([a-z_]+):\s*(.*?)\s*$")


def read_sqlite(database: sqlite_file.Database, staging: Staging) -> None:
    """Copy all experiments that have runs. Raise ReadError."""
    studies = {
        key: staging.add_study(str(name))
        for key, name, stage in database.rows(
            "experiments", "experiment_id", "name", "lifecycle_stage", order="experiment_id"
        )
        if stage != "deleted"
    }
    trials: dict[str, int] = {}
    study_of: dict[str, int] = {}
    started_of: dict[str, float | None] = {}
    numbers: dict[int, int] = defaultdict(int)
    columns = ("run_uuid", "experiment_id", "status", "start_time", "end_time", "lifecycle_stage")
    for run, experiment, status, started, ended, stage in database.rows(
        "runs", *columns, order="start_time, run_uuid"
    ):
        if experiment not in studies:
            continue
        study = studies[experiment]
        key = _add_run(staging, study, numbers, status, started, ended, is_deleted=stage == "deleted")
        if key is not None:
            trials[run], study_of[run], started_of[run] = key, study, _seconds(started)
    for run, name, value in database.rows("params", "run_uuid", "key", "value"):
        if run in trials:
            staging.add_param(trials[run], str(name), _param(str(value)))
    for run, name, value, is_nan in database.rows("latest_metrics", "run_uuid", "key", "value", "is_nan"):
        if run in trials and not str(name).startswith(SYSTEM):
            staging.add_metric(trials[run], str(name), *_value(value, is_nan))
    columns = ("run_uuid", "key", "step", "value", "is_nan", "timestamp")
    for run, name, step, value, is_nan, at_ms in database.rows("metrics", *columns, order="timestamp"):
        if run in trials and isinstance(step, int):
            if str(name).startswith(SYSTEM):
                staging.leave_out(study_of[run], "values of system metrics")
            else:
                elapsed_s = _elapsed(at_ms, started_of[run])
                staging.add_point(trials[run], str(name), step, *_value(value, is_nan), elapsed_s=elapsed_s)
    for run, name, _ in database.rows("tags", "run_uuid", "key", "value"):
        if run in trials and not str(name).startswith("mlflow."):
            staging.leave_out(study_of[run], TAGS)
    staging.remove_blank_trials(BLANK)
    _remove_empty(staging, numbers)


def _param(text: str) -> object:
    """Return a parameter, which MLflow stores as the text of a Python value."""
    return None if text == "None" else parse_cell(text)


def _value(value: object, is_nan: object) -> tuple[float | None, str]:
    if is_nan:
        return None, "nan"
    # MLflow stores infinities as the largest numbers.
    if isinstance(value, float) and abs(value) >= 1.7976931348623157e308:
        return None, "inf" if value > 0 else "-inf"
    return number_and_text(value)


def _add_run(
    staging: Staging,
    study: int,
    numbers: dict[int, int],
    status: object,
    started: object,
    ended: object,
    *,
    is_deleted: bool,
) -> int | None:
    if is_deleted or status == "SCHEDULED":
        staging.leave_out(study, DELETED if is_deleted else SCHEDULED)
        return None
    if not isinstance(status, str) or status not in STATES:
        raise ReadError(f"A run has the unknown status {str(status)[:40]!r}.")
    numbers[study] += 1
    return staging.add_trial(
        study,
        numbers[study],
        STATES[status],
        started=_seconds(started),
        ended=_seconds(ended),
        detail=STILL_RUNNING if status == "RUNNING" else "",
    )


def _seconds(milliseconds: object) -> float | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    return milliseconds / 1000 if 0 <= milliseconds < 2e14 else None


def _elapsed(at_ms: object, started: float | None) -> float | None:
    """Return the seconds from the start of a run to an MLflow time; None if either is missing."""
    at = _seconds(at_ms)
    return None if at is None or started is None or at < started else round(at - started, 3)


def _remove_empty(staging: Staging, numbers: dict[int, int]) -> None:
    """Remove experiments without runs, such as MLflow's own Default."""
    if numbers:
        for study in staging.studies():
            if not numbers.get(study.id):
                staging.remove_study(study.id)


# --- file store --------------------------------------------------------------------------------------------------


def read_archive(archive: Archive, staging: Staging) -> None:
    """Copy the runs of a file store: `<experiment>/meta.yaml`, `<experiment>/<run>/{meta.yaml, params, metrics}`.

    The archive may contain the folder `mlruns`, its content, or one experiment.
    """
    runs, experiments = _layout(archive)
    metas = []
    studies: dict[PurePosixPath, int] = {}
    for run in runs:
        meta = _meta(archive, run / "meta.yaml")
        metas.append((_milliseconds(meta.get("start_time")) or 0.0, str(run), run, meta))
    numbers: dict[int, int] = defaultdict(int)
    files: dict[PurePosixPath, list[str]] = defaultdict(list)
    run_folders = set(runs)
    for name in archive.entries:
        for parent in PurePosixPath(name).parents:
            if parent in run_folders:
                files[parent].append(name)
    for _, _, run, meta in sorted(metas, key=lambda each: each[:2]):
        folder = run.parent
        if folder not in studies:
            names = _meta(archive, folder / "meta.yaml") if folder in experiments else {}
            studies[folder] = staging.add_study(names.get("name") or folder.name or "mlruns")
        study = studies[folder]
        status = meta.get("status", "")
        status_name = STATUS_NUMBERS.get(int(status)) if status.isdecimal() and len(status) < 3 else status
        trial = _add_run(
            staging,
            study,
            numbers,
            status_name,
            _milliseconds(meta.get("start_time")),
            _milliseconds(meta.get("end_time")),
            is_deleted=meta.get("lifecycle_stage") == "deleted",
        )
        if trial is not None:
            started = _seconds(_milliseconds(meta.get("start_time")))
            _read_run(archive, staging, study, trial, run, files[run], started=started)
    for folder in _unreadable_runs(archive, run_folders):
        staging.leave_out(studies.get(folder.parent, study), UNREADABLE)
    staging.remove_blank_trials(BLANK)
    _remove_empty(staging, numbers)


def _layout(archive: Archive) -> tuple[list[PurePosixPath], set[PurePosixPath]]:
    """Return the folders of runs and of experiments. Only a run's metadata has a `run_id`."""
    runs, experiments = [], set()
    for name in archive.entries:
        path = PurePosixPath(name)
        if path.name != "meta.yaml" or "__MACOSX" in path.parts:
            continue
        meta = _meta(archive, path)
        if "run_id" in meta or "run_uuid" in meta:
            runs.append(path.parent)
        elif "experiment_id" in meta and ".trash" not in path.parts:
            experiments.add(path.parent)
    runs = [run for run in runs if ".trash" not in run.parts]
    if not runs:
        raise ReadError("The archive has no MLflow runs: no meta.yaml has a run_id.")
    return runs, experiments


def _unreadable_runs(archive: Archive, runs: set[PurePosixPath]) -> set[PurePosixPath]:
    """Return the folders that have parameters or metrics, like runs, but no valid metadata."""
    folders = set()
    for path in map(PurePosixPath, archive.entries):
        if path.parent.name in ("params", "metrics") and not {".trash", "__MACOSX"} & set(path.parts):
            folders.add(path.parent.parent)
    return {folder for folder in folders - runs if not runs & set(folder.parents)}


def _meta(archive: Archive, path: PurePosixPath) -> dict[str, str]:
    """Return the plain values of a meta.yaml; MLflow writes one per line."""
    text = archive.read(str(path), at_most=1 << 20).decode("utf-8", "replace")
    pairs = (match.groups() for line in text.splitlines() if (match := _LINE.match(line)))
    return {name: _unquoted(value) for name, value in pairs}


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace("''", "'")
    return "" if text in ("null", "~") else text


def _milliseconds(text: str | None) -> float | None:
    return float(text) if text and text.isdecimal() and len(text) < 16 else None


def _read_run(
    archive: Archive,
    staging: Staging,
    study: int,
    trial: int,
    run: PurePosixPath,
    names: list[str],
    *,
    started: float | None,
) -> None:
    for name in sorted(names):
        path = PurePosixPath(name).relative_to(run)
        folder, key = path.parts[0], "/".join(path.parts[1:])
        if folder == "params" and key:
            value = archive.read(name, at_most=1 << 20).decode("utf-8", "replace")
            staging.add_param(trial, key, _param(value.strip("\n")))
        elif folder == "metrics" and key.startswith(SYSTEM):
            staging.leave_out(study, "values of system metrics")
        elif folder == "metrics" and key:
            _read_metric(archive, staging, trial, key, name, started=started)
        elif folder == "tags" and not key.startswith("mlflow."):
            staging.leave_out(study, TAGS)
        elif folder == "artifacts":
            staging.leave_out(study, OTHER_FILES)


def _read_metric(
    archive: Archive, staging: Staging, trial: int, key: str, name: str, *, started: float | None
) -> None:
    """Read `timestamp value step` lines; newer versions append the dataset. The last line is the final value."""
    last: tuple[float | None, str] | None = None
    for number, line in archive.lines(name):
        columns = line.split()
        if not columns:
            continue
        try:
            value, step = float(columns[1]), int(columns[2]) if len(columns) > 2 else number - 1
        except (ValueError, IndexError):
            raise ReadError(f"{name}, line {number:,} is not “timestamp value step”.") from None
        last = number_and_text(value)
        elapsed_s = _elapsed(_milliseconds(columns[0].decode("latin-1")), started)
        staging.add_point(trial, key, step, *last, elapsed_s=elapsed_s)
    if last is not None:
        staging.add_metric(trial, key, *last)
