"""File formats of imports: detection, and the reader of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from . import mlflow, optuna, package, sqlite_file, tables, wandb_log
from .archive import MAX_LINE, opened
from .errors import ReadError
from .staging import Staging

FORMATS = {
    "trialdeck": "Trialdeck export",
    "trialdeck-table": "Trialdeck trial table",
    "optuna": "Optuna",
    "mlflow": "MLflow",
    "wandb": "Weights & Biases",
    "nni": "NNI",
    "csv": "CSV",
    "json": "JSON",
}

HEAD = 512  # bytes, with the mark of a tar archive
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd")


def read_file(path: Path, staging: Staging, *, file_name: str, roles: Mapping[str, str] | None = None) -> str:
    """Copy the history in a file, and return its format, one of `FORMATS`. Raise ReadError.

    `roles`: roles of table columns that differ from the guess.
    """
    name = PurePosixPath(file_name).stem[:200] or "Import"
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head.strip():
        raise ReadError("The file is empty.")
    if head.startswith(COMPRESSED) or head[257:262] == b"ustar":
        raise ReadError("Only ZIP archives can be read. Unpack this one, then pack its folder as ZIP.")
    if head.startswith(sqlite_file.HEADER):
        kind = _read_sqlite(path, staging)
    elif head.startswith(wandb_log.IDENT):
        kind = _read_wandb([(file_name, lambda: path.open("rb"))], staging, name=name)
    elif head.startswith(b"PK"):
        kind = _read_archive(path, staging, name=name)
    else:
        kind = _read_text(path, staging, name=name, roles=roles)
    staging.finish()
    if not staging.studies():
        raise ReadError("The file has no study, experiment or run.")
    return kind


def _read_sqlite(path: Path, staging: Staging) -> str:
    with sqlite_file.opened(path) as database:
        if {"studies", "trials"} <= database.tables:
            optuna.read_sqlite(database, staging)
            return "optuna"
        if {"runs", "experiments", "params", "metrics", "latest_metrics"} <= database.tables:
            mlflow.read_sqlite(database, staging)
            return "mlflow"
    raise ReadError("The SQLite file is neither an Optuna storage nor an MLflow tracking database.")


def _read_archive(path: Path, staging: Staging, *, name: str) -> str:
    with opened(path) as archive:
        if package.MANIFEST in archive:
            package.read(archive, staging)
            return "trialdeck"
        if any(PurePosixPath(name).name == "meta.yaml" for name in archive.entries):
            mlflow.read_archive(archive, staging)
            return "mlflow"
        if logs := sorted(entry for entry in archive.entries if entry.endswith(".wandb")):
            return _read_wandb([(log, partial(archive.open, log)) for log in logs], staging, name=name)
    raise ReadError(
        "The archive is neither a Trialdeck export (with manifest.json) nor an MLflow mlruns folder (with meta.yaml) "
        "nor a folder of W&B runs (with .wandb files)."
    )


def _read_wandb(
    logs: Iterable[tuple[str, Callable[[], AbstractContextManager[IO[bytes]]]]],
    staging: Staging,
    *,
    name: str,
) -> str:
    """Read the logs of W&B runs, each with its name, as the trials of one study."""
    study, number, seen = staging.add_study(name), 0, set()
    for log, open_log in logs:
        with open_log() as file:
            run = wandb_log.run_of(file, log)
        if run["id"] in seen:  # a copy, such as the folder latest-run
            continue
        seen.add(run["id"])
        with open_log() as file:
            history = wandb_log.history_of(file, log)
            number += tables.add_wandb(staging, study, number + 1, {**run, "history": history})
    if not number:
        raise ReadError(
            "No run has parameters: its config is empty. Pass config= to wandb.init, or import the runs as CSV."
        )
    return "wandb"


def _read_text(path: Path, staging: Staging, *, name: str, roles: Mapping[str, str] | None) -> str:
    with path.open("rb") as file:
        first = file.readline(MAX_LINE)
        while first and not first.strip(b" \t\r\n\xef\xbb\xbf"):
            first = file.readline(MAX_LINE)
    start = first.lstrip(b" \t\xef\xbb\xbf")[:1]
    if start == b"{" and (record := _record(first)) is not None:
        if "op_code" in record:
            optuna.read_journal(path, staging)
            return "optuna"
        if not any(key in record for key in ("runs", "trials", "trialMessage")):
            return tables.read_json_lines(path, staging, name=name)
    if start in (b"{", b"["):
        return tables.read_json(path, staging, name=name)
    return tables.read_csv(path, staging, name=name, roles=roles)


def _record(line: bytes) -> dict | None:
    """Return the JSON object that a line consists of; None for any other line."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
