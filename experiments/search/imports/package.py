"""Our own export of one experiment: a ZIP archive of JSON lines. docs/migration/import-export.md describes the format.

`MEMBERS` are the files that every export has. Their digests are in `manifest.json`, so that a damaged file is detected
before anything is created.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any

from .archive import Archive, is_plain_path, json_value
from .errors import ReadError
from .staging import MAX_DEPTH, MAX_NAME, STATES, UNSTORABLE, Staging, depth_of, number_and_text

FORMAT = "trialdeck-experiment"
VERSION = 1
MANIFEST = "manifest.json"
EXPERIMENT, REVISIONS, TRIALS, POINTS, LOGS, ARTIFACTS = (
    "experiment.json",
    "revisions.jsonl",
    "trials.jsonl",
    "points.jsonl",
    "logs.jsonl",
    "artifacts.jsonl",
)
MEMBERS = (EXPERIMENT, REVISIONS, TRIALS, POINTS, LOGS, ARTIFACTS)
FILES = "artifacts/"
MAX_REVISIONS = 10_000
MAX_PIECE = 1 << 20  # bytes of a piece of a log
CHUNK = 1 << 20
_BIG = 2**63

EXPERIMENT_STATES = (
    "draft",
    "pending",
    "running",
    "paused",
    "stopping",
    "stopped",
    "completed",
    "failed",
    "published",
)

Check = Callable[[Any], bool]


def _is_text(limit: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= limit and is_storable(value)


def is_storable(text: str) -> bool:
    """Return whether a text has no NUL and no lone surrogate."""
    return UNSTORABLE.search(text) is None


def _is_whole(value: Any, *, low: int = 0, high: int = 2**31 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_big(value: Any) -> bool:
    return _is_whole(value, low=-_BIG, high=_BIG - 1)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _is_duration(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_instant(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > 40:
        return False
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return False
    return moment.tzinfo is not None and 1970 <= moment.year <= 9000


def _is_document(value: Any) -> bool:
    """Return whether the value is a JSON object that can be stored: not too deep, no NUL."""
    if not isinstance(value, dict) or depth_of(value) > MAX_DEPTH:
        return False
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str) and not is_storable(item):
            return False
        if isinstance(item, int) and not isinstance(item, bool) and abs(item) > 10**1000:
            return False
        if isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, list):
            pending += item
    return True


def _is_params(value: Any) -> bool:
    return _is_document(value) and len(value) <= 1000 and all(len(name) <= 1000 for name in value)


def _is_texts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= 1000
        and all(isinstance(text, str) and len(text) <= 10_000 and is_storable(text) for text in value)
    )


def _is_comments(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= 10_000
        and all(
            isinstance(comment, dict)
            and comment.keys() == {"by", "at", "text"}
            and _is_text(150)(comment["by"])
            and _is_instant(comment["at"])
            and _is_text(10_000)(comment["text"])
            and comment["text"]
            for comment in value
        )
    )


def _is_wholes(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 1024 and all(_is_big(number) for number in value)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


# The fields of an experiment and its trials, with the check of each value.
EXPERIMENT_FIELDS: dict[str, Check] = {
    "name": _is_text(200),
    "description": _is_text(100_000),
    "tags": _is_texts,
    "properties": _is_document,
    "visibility": lambda value: value in ("workspace", "private"),
    "state": lambda value: value in EXPERIMENT_STATES,
    "reason": _is_text(10_000),
    "creator": _is_text(150),
    "created_at": _is_instant,
    "started_at": _or_none(_is_instant),
    "ended_at": _or_none(_is_instant),
    "ran_s": _is_duration,
    "compute_s": _is_duration,
    "proposed": _is_whole,
    "last_number": _is_whole,
    "last_ordinal": _is_whole,
}
REVISION_FIELDS: dict[str, Check] = {
    "number": lambda value: _is_whole(value, low=1),
    "settings": _is_document,
    "resolved": _is_document,
    "by": _is_text(150),
    "at": _is_instant,
    "note": _is_text(200),
}
TRIAL_FIELDS: dict[str, Check] = {
    "number": lambda value: _is_whole(value, low=1),
    "revision": lambda value: _is_whole(value, low=1),
    "state": lambda value: value in STATES,
    "params": _is_params,
    "value": _or_none(_is_number),
    "final_metrics": lambda value: _is_document(value) and len(value) <= 1000,
    "metric_values": lambda value: (
        isinstance(value, list)
        and len(value) <= 1000
        and all(
            isinstance(row, list)
            and len(row) == 3
            and _is_text(MAX_NAME)(row[0])
            and _or_none(_is_number)(row[1])
            and isinstance(row[2], bool)
            for row in value
        )
    ),
    "ordinal": _or_none(_is_whole),
    "source": lambda value: value in ("proposal", "rerun", "retry", "added", "resumed", "replica"),
    "rerun_of": _or_none(_is_whole),
    "attempt": lambda value: _is_whole(value, low=1),
    "retries": _is_whole,
    "keeps_revision": lambda value: isinstance(value, bool),
    "raw": _or_none(_is_document),
    "sampler_attrs": _is_document,
    "failure": _is_text(13),
    "detail": _is_text(300),
    "was_interrupted": lambda value: isinstance(value, bool),
    "last_value": _or_none(_is_number),
    "last_step": _or_none(_is_big),
    "steps_done": _or_none(_is_big),
    "steps_total": _or_none(_is_big),
    "log_bytes": lambda value: _is_big(value) and value >= 0,
    "notes": _is_texts,
    "created_at": _is_instant,
    "started_at": _or_none(_is_instant),
    "ended_at": _or_none(_is_instant),
    "duration_s": _or_none(_is_duration),
    "settled_rank": _or_none(_is_whole),
    "exit_code": _or_none(lambda value: _is_whole(value, low=-(2**31))),
    "signal": _or_none(_is_whole),
    "gone_after_s": _or_none(_is_duration),
    "peak_memory": _or_none(_is_big),
    "cpu_s": _or_none(_is_duration),
    "gpus": _is_wholes,
    "cores": _is_wholes,
    "memory_mib": _or_none(_is_whole),
    "memory_limited_by": _is_text(16),
    "survivors": _is_wholes,
    "starred_at": _or_none(_is_instant),
    "comments": _is_comments,
}
ARTIFACT_FIELDS: dict[str, Check] = {
    "trial": lambda value: _is_whole(value, low=1),
    "name": lambda value: _is_text(500)(value) and is_plain_path(value),
    "size": lambda value: _is_big(value) and value >= 0,
    "changed_at": _is_instant,
    "sha256": _is_text(64),
}


def checked(document: Any, fields: dict[str, Check], where: str) -> dict[str, Any]:
    """Return the document if it has exactly these fields. Raise ReadError for the first invalid one."""
    if not isinstance(document, dict):
        raise ReadError(f"{where} is not a JSON object.")
    for name, check in fields.items():
        if name not in document:
            raise ReadError(f"{where} lacks the field {name}.")
        if not check(document[name]):
            raise ReadError(f"{where} has an invalid value in the field {name}.")
    if unknown := next((name for name in document if name not in fields), None):
        raise ReadError(f"{where} has an unknown field: {unknown[:60]!r}.")
    return document


def manifest_of(archive: Archive) -> dict[str, Any]:
    """Return the manifest. Raise ReadError for another format or version."""
    manifest = archive.document(MANIFEST)
    if manifest.get("format") != FORMAT:
        raise ReadError("The archive is not an exported experiment: its manifest has another format.")
    version = manifest.get("version")
    if version != VERSION or isinstance(version, bool):
        newer = "a newer version" if isinstance(version, int) and version > VERSION else "another version"
        raise ReadError(
            f"The file has the format version {str(version)[:20]}; this console reads version {VERSION}. Import it "
            f"with {newer} of Trialdeck."
        )
    if not isinstance(manifest.get("members"), dict):
        raise ReadError("The manifest lacks the field members.")
    return manifest


def read(archive: Archive, staging: Staging) -> None:
    """Copy an export into the staging database, with all checks. Raise ReadError."""
    manifest = manifest_of(archive)
    _check_digests(archive, manifest["members"])
    experiment = checked(archive.document(EXPERIMENT), EXPERIMENT_FIELDS, EXPERIMENT)
    revisions = [checked(document, REVISION_FIELDS, where) for where, document in _rows(archive, REVISIONS)]
    numbers = [revision["number"] for revision in revisions]
    if not revisions or len(numbers) > MAX_REVISIONS or numbers != list(range(1, len(numbers) + 1)):
        raise ReadError(f"{REVISIONS} must have the revisions 1, 2, 3, … in order.")
    settings = revisions[-1]["settings"]
    metric, direction = settings.get("metric"), settings.get("direction")
    if not isinstance(metric, str) or direction not in ("maximize", "minimize"):
        raise ReadError(f"{REVISIONS} has settings without a metric or its direction.")
    study = staging.add_study(
        experiment["name"],
        objective=metric,
        directions={metric: direction},
        experiment=experiment,
        revisions=revisions,
    )
    trials = _read_trials(archive, staging, study, metric, len(revisions))
    _read_points(archive, staging, trials)
    with_files = chain(
        (number for number, _, _ in logs(archive)), (row["trial"] for row in artifacts(archive))
    )
    if (number := next((number for number in with_files if number not in trials), None)) is not None:
        raise ReadError(f"The file has a log or an artifact of trial {number:,}, but not the trial itself.")
    for reason, count in _left_out(manifest):
        staging.leave_out(study, reason, count)


def _read_trials(
    archive: Archive, staging: Staging, study: int, metric: str, revisions: int
) -> dict[int, int]:
    trials: dict[int, int] = {}
    last = 0
    for where, document in _rows(archive, TRIALS):
        row = checked(document, TRIAL_FIELDS, where)
        if row["number"] <= last:
            raise ReadError(f"{where}: trials must be ordered by number.")
        if row["revision"] > revisions or (row["rerun_of"] is not None and row["rerun_of"] not in trials):
            raise ReadError(f"{where} refers to a revision or trial that is not in the file.")
        if row["state"] == "succeeded" and row["value"] is None:
            raise ReadError(f"{where}: a succeeded trial has no value.")
        last = row["number"]
        trials[last] = staging.add_trial(study, last, row["state"], detail=row["detail"], extra=row)
        for name, value in row["params"].items():
            staging.add_param(trials[last], name, value)
        if row["value"] is not None:
            staging.add_metric(trials[last], metric, row["value"])
        for name, value, _ in row["metric_values"]:
            staging.add_metric(trials[last], name, value)
    return trials


def _read_points(archive: Archive, staging: Staging, trials: dict[int, int]) -> None:
    for where, row in _rows(archive, POINTS):
        if (
            not isinstance(row, list)
            or len(row) not in (5, 6)
            or row[0] not in trials
            or isinstance(row[0], bool)
            or not _is_text(MAX_NAME)(row[1])
            or not _is_big(row[2])
            or not _or_none(_is_number)(row[3])
            or not _is_text(200)(row[4])
            or not _or_none(_is_duration)(row[5] if len(row) > 5 else None)
        ):
            raise ReadError(
                f"{where} is not a point: [trial, metric, step, value, text], with or without the seconds since the "
                "start of the trial."
            )
        value, text = (None, row[4]) if row[3] is None else number_and_text(row[3])
        elapsed_s = row[5] if len(row) > 5 else None
        staging.add_point(trials[row[0]], row[1], row[2], value, text, elapsed_s=elapsed_s)


def logs(archive: Archive) -> Iterator[tuple[int, int, bytes]]:
    """Yield the pieces of logs: (trial number, offset in bytes, data)."""
    for where, row in _rows(archive, LOGS):
        if (
            not isinstance(row, list)
            or len(row) != 3
            or not _is_whole(row[0], low=1)
            or not _is_whole(row[1], high=_BIG - 1)
            or not isinstance(row[2], str)
        ):
            raise ReadError(f"{where} is not a piece of a log: [trial, offset, base64].")
        try:
            data = base64.b64decode(row[2], validate=True)
        except (ValueError, binascii.Error):
            raise ReadError(f"{where} is not base64.") from None
        if len(data) > MAX_PIECE:
            raise ReadError(f"{where}: a piece of a log has at most 1 MiB.")
        yield row[0], row[1], data


def artifacts(archive: Archive) -> Iterator[dict[str, Any]]:
    """Yield the artifacts that the archive has: `ARTIFACT_FIELDS`. `file_of` names their entries."""
    for where, document in _rows(archive, ARTIFACTS):
        row = checked(document, ARTIFACT_FIELDS, where)
        entry = archive.entries.get(file_of(row))
        if entry is None or entry.file_size != row["size"]:
            raise ReadError(f"{where}: the file {row['name'][:60]} is missing or has a different size.")
        yield row


def file_of(artifact: dict[str, Any]) -> str:
    """Return the name of an artifact's entry."""
    return f"{FILES}{artifact['trial']}/{artifact['name']}"


def _rows(archive: Archive, name: str) -> Iterator[tuple[str, Any]]:
    for number, line in archive.lines(name):
        where = f"{name}, line {number:,}"
        yield where, json_value(line, where)


def _left_out(manifest: dict[str, Any]) -> list[tuple[str, int]]:
    rows = manifest.get("left_out", [])
    if not isinstance(rows, list):
        return []
    return [
        (row["what"][:200], row["count"])
        for row in rows[:100]
        if isinstance(row, dict)
        and isinstance(row.get("what"), str)
        and is_storable(row["what"])
        and _is_whole(row.get("count"))
    ]


def _check_digests(archive: Archive, members: dict[str, Any]) -> None:
    for name in MEMBERS:
        member = members.get(name)
        if not isinstance(member, dict) or not isinstance(member.get("sha256"), str):
            raise ReadError(f"The manifest lacks the digest of {name}.")
        digest = hashlib.sha256()
        with archive.open(name) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != member["sha256"]:
            raise ReadError(
                f"{name} has changed since the export: its digest differs. Export the experiment again."
            )
