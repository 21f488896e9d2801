"""Output of the compared trials, side by side: the end of each log, and one file of each trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, OuterRef, Subquery
from django.http import HttpRequest

from experiments.models import Artifact, LogPiece, Trial
from experiments.query_parameters import invalid, listed
from experiments.runner.output.log import plain_text
from experiments.web.trial.reports import IMAGES, MAX_IMAGE_BYTES
from experiments.web.ui.query_checks import note_fault

from .selection import Column, Selection

MOST_LOGS = 6
MOST_NAMES = 50  # of files to choose from
LINES = 5
LINE_LENGTH = 200  # characters
TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The last lines of a trial's log."""

    column: Column[Trial]
    text: str


@dataclass(frozen=True, slots=True)
class FileOf:
    """The chosen file of one trial; `file` is None where the trial has no such file."""

    column: Column[Trial]
    file: Artifact | None
    is_image: bool


def logs(columns: Sequence[Column[Trial]]) -> list[LogEnd]:
    """Return the last lines of the first six trials. One query for the pieces, one for their places."""
    shown = columns[:MOST_LOGS]
    latest = LogPiece.objects.filter(trial=OuterRef("pk")).order_by("-offset").values("pk")[:1]
    trials = Trial.objects.filter(pk__in=[column.item.pk for column in shown])
    pieces = [pk for pk in trials.order_by().values_list(Subquery(latest), flat=True) if pk]
    texts = {
        piece.trial_id: plain_text(bytes(piece.data)[-TAIL_BYTES:])
        for piece in LogPiece.objects.filter(pk__in=pieces)
    }
    ends = [LogEnd(column, _last_lines(texts.get(column.item.pk, ""))) for column in shown]
    return ends if any(end.text for end in ends) else []


def _last_lines(text: str) -> str:
    lines = text.rstrip().splitlines()[-LINES:]
    return "\n".join(line if len(line) <= LINE_LENGTH else f"{line[:LINE_LENGTH]}…" for line in lines)


def files(request: HttpRequest, columns: Sequence[Column[Trial]], selection: Selection) -> dict[str, object]:
    """Return the names to choose from, the chosen name, and that file of each trial. Two queries."""
    trials = [column.item.pk for column in columns]
    kept = Artifact.objects.kept().filter(trial__in=trials).order_by()
    counts = kept.values_list("name").annotate(count=Count("pk")).order_by("-count", "name")
    names = [name for name, _ in counts[:MOST_NAMES]]
    wanted = request.GET.get("file", "").strip().replace("\0", "")
    chosen = wanted or next((name for name in names if _is_image(name)), next(iter(names), ""))
    if not chosen:
        return {"file_names": []}
    rows = {artifact.trial_id: artifact for artifact in kept.filter(name=chosen)}
    if not rows:
        note_fault(request, "file", invalid("file", wanted, listed(names) or "none"))
    return {
        "file_names": names if chosen in names else [chosen, *names],
        "file_name": chosen,
        "files": [_file_of(column, rows.get(column.item.pk)) for column in columns] if rows else [],
        "kept_query": [
            *((selection.name, key) for key in selection.keys),
            *((name, value) for name, value in request.GET.items() if name in ("base", "rows") and value),
        ],
    }


def _file_of(column: Column[Trial], artifact: Artifact | None) -> FileOf:
    is_image = artifact is not None and _is_image(artifact.name) and artifact.size <= MAX_IMAGE_BYTES
    return FileOf(column, artifact, is_image)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES)
