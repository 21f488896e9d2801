"""Write one experiment as a ZIP archive of JSON lines, piece by piece; see docs/migration/import-export.md."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO

from django.db.models import F

from experiments import database_clock, downloads
from experiments.models import (
    Artifact,
    Comment,
    Experiment,
    Keeping,
    LogPiece,
    MetricValue,
    Point,
    Revision,
    Trial,
    status,
)
from experiments.runner.destination import DestinationError, Store, StoreError
from experiments.runner.safe_files import OutsideFolder, open_regular
from experiments.search.imports import package
from trialdeck import __version__

from .settings_text import exportable, masked_document

TRIALS_AT_ONCE = 200
ROWS_AT_ONCE = 10_000
CHUNK = 1 << 16
LEVEL = 4  # of compression: fast, since a person waits

# Columns of a trial that are exported as they are; instants are written in ISO 8601, in UTC.
COLUMNS = (
    "number",
    "state",
    "params",
    "value",
    "final_metrics",
    "ordinal",
    "source",
    "attempt",
    "retries",
    "keeps_revision",
    "raw",
    "sampler_attrs",
    "failure",
    "detail",
    "was_interrupted",
    "last_value",
    "last_step",
    "steps_done",
    "steps_total",
    "log_bytes",
    "notes",
    "duration_s",
    "settled_rank",
    "exit_code",
    "signal",
    "gone_after_s",
    "peak_memory",
    "cpu_s",
    "gpus",
    "cores",
    "memory_mib",
    "memory_limited_by",
    "survivors",
)
INSTANTS = ("created_at", "started_at", "ended_at", "starred_at")


def file_name(experiment: Experiment) -> str:
    """Return the name of the file for a download."""
    return f"{experiment.public_id}.trialdeck.zip"


def export(experiment: Experiment, *, logs: bool = True, artifacts: bool = False) -> Iterator[bytes]:
    """Yield the bytes of the archive. Select `workspace`, `project`, `creator` and `revision` with the experiment.

    Trials that have not ended are left out; so are artifacts that this machine cannot read. `manifest.json`, which
    comes last, has the digest of everything else, and says what was left out.
    """
    return _Exporter(experiment, logs=logs, artifacts=artifacts).pieces()


class _Sink(io.RawIOBase):
    """What the archive writes to: the bytes that have not been sent yet."""

    def __init__(self) -> None:
        self.pending = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.pending += data
        return len(data)

    def take(self, *, at_least: int = 1) -> Iterator[bytes]:
        if len(self.pending) >= at_least:
            yield bytes(self.pending)
            self.pending.clear()


class _Exporter:
    def __init__(self, experiment: Experiment, *, logs: bool, artifacts: bool) -> None:
        self.experiment, self.has_logs, self.has_artifacts = experiment, logs, artifacts
        self.sink = _Sink()
        self.left_out: Counter[str] = Counter()
        self.members: dict[str, dict[str, Any]] = {}
        self.now = database_clock.now()

    def pieces(self) -> Iterator[bytes]:
        with zipfile.ZipFile(self.sink, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            yield from self._member(archive, package.EXPERIMENT, [json_line(self._experiment_document())])
            yield from self._member(archive, package.REVISIONS, map(json_line, self._revisions()))
            yield from self._member(archive, package.TRIALS, map(json_line, self._trials()))
            yield from self._member(archive, package.POINTS, map(json_line, self._points()))
            yield from self._member(archive, package.LOGS, map(json_line, self._logs()))
            stored: list[dict[str, Any]] = []
            if self.has_artifacts:
                yield from self._files(archive, stored)
            yield from self._member(archive, package.ARTIFACTS, map(json_line, stored))
            manifest = json.dumps(self._manifest(), indent=2, ensure_ascii=False).encode()
            archive.writestr(self._info(package.MANIFEST), manifest, zipfile.ZIP_DEFLATED, LEVEL)
        yield from self.sink.take()

    def _member(self, archive: zipfile.ZipFile, name: str, lines: Iterable[bytes]) -> Iterator[bytes]:
        digest, size, rows = hashlib.sha256(), 0, 0
        with archive.open(self._info(name), "w", force_zip64=True) as stream:
            for line in lines:
                digest.update(line)
                size, rows = size + len(line), rows + 1
                stream.write(line)
                yield from self.sink.take(at_least=CHUNK)
        self.members[name] = {"sha256": digest.hexdigest(), "bytes": size, "rows": rows}

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, self.now.astimezone(UTC).timetuple()[:6])
        info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
        return info

    def _manifest(self) -> dict[str, Any]:
        return {
            "format": package.FORMAT,
            "version": package.VERSION,
            "trialdeck": __version__,
            "exported_at": instant(self.now),
            "source": {"id": self.experiment.public_id, "workspace": self.experiment.workspace.slug},
            "members": self.members,
            "left_out": [{"what": name, "count": count} for name, count in self.left_out.items() if count],
        }

    # --- documents ---------------------------------------------------------------------------------------

    def _experiment_document(self) -> dict[str, Any]:
        row = self.experiment
        self.left_out["trials that have not ended"] = row.active_count
        origin = row.history_import.choices.get("creator") if hasattr(row, "history_import") else None
        return {
            "name": row.name,
            "description": row.description,
            "tags": row.tags,
            "properties": row.properties,
            "visibility": row.visibility,
            "state": row.state,
            "reason": row.reason,
            "creator": origin or row.creator.username,
            "created_at": instant(row.created_at),
            "started_at": instant(row.started_at),
            "ended_at": instant(row.ended_at),
            "ran_s": row.elapsed_s(self.now),
            "compute_s": row.compute_s,
            "proposed": row.proposed_count,
            "last_number": row.last_number,
            "last_ordinal": row.last_ordinal,
        }

    def _revisions(self) -> Iterator[dict[str, Any]]:
        rows = Revision.objects.filter(experiment=self.experiment).select_related("by").order_by("number")
        secrets = references = 0
        for number in range(1, self.experiment.revision.number + 1):
            revision = rows.get(number=number)
            settings, hidden, omitted = exportable(revision.settings)
            secrets, references = max(secrets, hidden), max(references, omitted)
            yield {
                "number": revision.number,
                "settings": settings,
                "resolved": masked_document(revision.resolved),
                "by": revision.by.username if revision.by else revision.author,
                "at": instant(revision.at),
                "note": revision.note,
            }
        self.left_out["secrets"] = secrets
        self.left_out["references to warm starts and input models"] = references

    # --- trials ------------------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[list[Trial]]:
        """Yield the trials that have ended, by number, a few at a time. The states are compared here, because a query
        for states and an order by number would read all trials each time."""
        last = 0
        rows = self.experiment.trials.order_by("number").only("experiment", "rerun_of", *COLUMNS, *INSTANTS)
        rows = rows.annotate(revision_number=F("revision__number"))  # type: ignore[no-redef]
        while trials := list(rows.filter(number__gt=last)[:TRIALS_AT_ONCE]):
            yield [trial for trial in trials if trial.is_settled]
            last = trials[-1].number

    def _numbers(self) -> Iterator[dict[int, int]]:
        """Yield the numbers of the same trials, by key."""
        last = 0
        rows = self.experiment.trials.order_by("number").values_list("pk", "number", "state")
        while trials := list(rows.filter(number__gt=last)[:TRIALS_AT_ONCE]):
            yield {key: number for key, number, state in trials if state in status.TRIAL_SETTLED}
            last = trials[-1][1]

    def _trials(self) -> Iterator[dict[str, Any]]:
        for chunk in self._chunks():
            comments: dict[int, list[Comment]] = defaultdict(list)
            for comment in Comment.objects.filter(trial__in=chunk).select_related("by").order_by("pk"):
                comments[comment.trial_id].append(comment)
            values: dict[int, list[list[Any]]] = defaultdict(list)
            for row in MetricValue.objects.filter(trial__in=chunk):
                values[row.trial_id].append([row.name, row.number, row.is_final])
            sources = Trial.objects.filter(
                pk__in={trial.rerun_of_id for trial in chunk if trial.rerun_of_id},
                state__in=status.TRIAL_SETTLED,  # others are not in the file
            )
            number_of = dict(sources.order_by().values_list("pk", "number"))
            for trial in chunk:
                source = number_of.get(trial.rerun_of_id or 0)
                rows = sorted(values[trial.pk], key=lambda row: row[0])
                yield _trial_document(trial, comments[trial.pk], rows, rerun_of=source)

    def _points(self) -> Iterator[list[Any]]:
        for numbers in self._numbers():
            columns = ("trial_id", "name", "step", "value", "text", "elapsed_s")
            rows = Point.objects.filter(trial__in=numbers).order_by().values_list(*columns)
            some = list(rows[: ROWS_AT_ONCE + 1])
            if len(some) > ROWS_AT_ONCE:
                for key, number in numbers.items():
                    yield from self._long_series(key, number)
                continue
            # Sorted here, because databases compare names differently.
            some.sort(key=lambda row: (numbers[row[0]], row[1], row[2]))
            for key, *point in some:
                yield _point_document(numbers[key], *point)

    def _long_series(self, key: int, number: int) -> Iterator[list[Any]]:
        for name in sorted(Point.names_of(key, at_most=ROWS_AT_ONCE)):
            rows = Point.objects.filter(trial=key, name=name).order_by("step")
            after = -(2**63)
            while some := list(
                rows.filter(step__gte=after).values_list("step", "value", "text", "elapsed_s")[:ROWS_AT_ONCE]
            ):
                for row in some:
                    yield _point_document(number, name, *row)
                if some[-1][0] == 2**63 - 1:
                    break
                after = some[-1][0] + 1

    def _logs(self) -> Iterator[list[Any]]:
        for numbers in self._numbers() if self.has_logs else ():
            keys = LogPiece.objects.filter(trial__in=numbers).order_by().values_list("trial_id", flat=True)
            with_log = set(keys.distinct())
            for key, number in numbers.items():
                if key not in with_log:
                    continue
                after = -1
                rows = LogPiece.objects.filter(trial=key).order_by("offset")
                while pieces := list(rows.filter(offset__gt=after)[:16]):
                    for piece in pieces:
                        yield [number, piece.offset, base64.b64encode(bytes(piece.data)).decode()]
                    after = pieces[-1].offset

    # --- artifacts ---------------------------------------------------------------------------------------

    def _files(self, archive: zipfile.ZipFile, stored: list[dict[str, Any]]) -> Iterator[bytes]:
        for numbers in self._numbers():
            rows = (
                Artifact.objects.of(self.experiment)
                .filter(trial__in=numbers)
                .select_related("trial", "worker")
            )
            for artifact in sorted(rows, key=lambda row: (row.trial.number, row.name)):
                artifact.experiment = self.experiment
                source = _content(artifact) if package.is_plain_path(artifact.name) else None
                if source is None:
                    self.left_out["artifacts that this machine cannot read"] += 1
                    continue
                document: dict[str, Any] = {
                    "trial": artifact.trial.number,
                    "name": artifact.name,
                    "changed_at": instant(artifact.changed_at),
                }
                digest, size = hashlib.sha256(), 0
                info = self._info(package.file_of(document))
                with archive.open(info, "w", force_zip64=True) as stream:
                    for piece in source:
                        digest.update(piece)
                        size += len(piece)
                        stream.write(piece)
                        yield from self.sink.take(at_least=CHUNK)
                stored.append({**document, "size": size, "sha256": digest.hexdigest()})


def _point_document(
    number: int, name: str, step: int, value: float | None, text: str, elapsed_s: float | None
) -> list[Any]:
    point = [number, name, step, value, text]
    return point if elapsed_s is None else [*point, elapsed_s]


def _content(artifact: Artifact) -> Iterator[bytes] | None:
    """Return the content of an artifact, piece by piece; None when it cannot be read here."""
    file = _open_here(artifact)
    if file is not None:
        return _read(file)
    if artifact.keeping != Keeping.STORED or artifact.destination.startswith("/"):
        return None
    try:
        pieces = iter(Store(artifact.destination).read(artifact.key))
        first = next(pieces, b"")
    except (DestinationError, StoreError):
        return None
    return _chained(first, pieces)


def _open_here(artifact: Artifact) -> BinaryIO | None:
    for location in downloads.locations_here(artifact):
        with suppress(OSError, OutsideFolder):
            if location.folder is not None:
                return open_regular(location.name, below=location.folder)
    return None


def _read(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(CHUNK):
            yield piece


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _trial_document(
    trial: Trial, comments: list[Comment], values: list[list[Any]], *, rerun_of: int | None
) -> dict[str, Any]:
    document = {name: getattr(trial, name) for name in COLUMNS}
    document |= {name: instant(getattr(trial, name)) for name in INSTANTS}
    return {
        **document,
        "revision": trial.revision_number,
        "rerun_of": rerun_of,
        "metric_values": values,
        "comments": [
            {
                "by": comment.by.username if comment.by else comment.author,
                "at": instant(comment.at),
                "text": comment.text,
            }
            for comment in comments
        ],
    }


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_line(value: object) -> bytes:
    return _encode(value).encode() + b"\n"


def instant(moment: datetime | None) -> str | None:
    """Return an instant in ISO 8601, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat()
