"""Output of the compared trials, side by side: the end of each log, and the content of one file per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db.models import Count, OuterRef, Subquery
from django.http import HttpRequest
from django.utils.safestring import SafeString

from experiments import downloads
from experiments.models import Artifact, LogPiece, Refused, Trial
from experiments.query_parameters import invalid, listed
from experiments.runner.output.log import plain_text
from experiments.web.artifact.content import Content, content_of
from experiments.web.artifact.json_tree import tree
from experiments.web.experiment.page import url_of
from experiments.web.trial.reports import IMAGES, MAX_IMAGE_BYTES, shows_as_image
from experiments.web.ui.markdown import rendered
from experiments.web.ui.query_checks import note_fault

from .selection import Column, Selection

MOST_LOGS = 6
MOST_NAMES = 50  # of files to choose from
LINES = 5
LINE_LENGTH = 200  # characters
TAIL_BYTES = 4096
MOST_CONTENTS = 10  # files whose content is read
CONTENT_BYTES = 32 << 10  # of each of them; larger files are cut
ROWS, COLUMNS, TEXT_LINES = 12, 6, 40  # of a table, of a text


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The last lines of a trial's log."""

    column: Column[Trial]
    text: str


@dataclass(frozen=True, slots=True)
class FileOf:
    """The chosen file of one trial; `file` is None if the trial has no such file. `content` is shown unless it is an
    image, `html` is a JSON tree or Markdown as markup, and `refusal` is why the file cannot be read.
    """

    column: Column[Trial]
    file: Artifact | None
    is_image: bool = False
    content: Content | None = None
    html: SafeString | str = ""
    refusal: str = ""

    @property
    def url(self) -> str:
        """The URL of the file in the viewer."""
        trial = self.column.item
        query = urlencode({"file": self.file.name if self.file else "", "trial": trial.number})
        return f"{url_of(trial.experiment, 'artifact-viewer')}?{query}"


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
    stored_files = Artifact.objects.kept().filter(trial__in=trials).order_by()
    counts = stored_files.values_list("name").annotate(count=Count("pk")).order_by("-count", "name")
    names = [name for name, _ in counts[:MOST_NAMES]]
    chosen_name = request.GET.get("file", "").strip().replace("\0", "")
    chosen = chosen_name or next((name for name in names if _is_image(name)), next(iter(names), ""))
    if not chosen:
        return {"file_names": []}
    rows = {
        artifact.trial_id: artifact for artifact in stored_files.filter(name=chosen).select_related("worker")
    }
    if not rows:
        note_fault(request, "file", invalid("file", chosen_name, listed(names) or "none"))
    shown = _files(columns, rows) if rows else []
    return {
        "file_names": names if chosen in names else [chosen, *names],
        "file_name": chosen,
        "files": shown,
        "has_images": any(each.is_image for each in shown),
        "kept_query": [
            *((selection.name, key) for key in selection.keys),
            *(
                (name, value)
                for name, value in request.GET.items()
                if name in ("base", "rows", "by") and value
            ),
        ],
    }


def _files(columns: Sequence[Column[Trial]], rows: Mapping[int, Artifact]) -> list[FileOf]:
    for column in columns:
        if file := rows.get(column.item.pk):  # so that nothing is queried for its path
            file.trial, file.experiment = column.item, column.item.experiment
    read = [column.item.pk for column in columns if column.item.pk in rows][:MOST_CONTENTS]
    downloads.fetch_contents([rows[pk] for pk in read], max_bytes=CONTENT_BYTES)
    return [_file_of(column, rows.get(column.item.pk), is_read=column.item.pk in read) for column in columns]


def _file_of(column: Column[Trial], file: Artifact | None, *, is_read: bool) -> FileOf:
    if file is None:
        return FileOf(column, None)
    if shows_as_image(file):
        return FileOf(column, file, is_image=True)
    if not is_read:
        return FileOf(column, file)
    try:
        data = downloads.head_of(file, max_bytes=CONTENT_BYTES)
    except Refused as refusal:
        return FileOf(column, file, refusal=str(refusal))
    content = content_of(file.name, data, size=max(file.size, len(data)))
    if content.kind == "image":
        return FileOf(column, file, is_image=file.size <= MAX_IMAGE_BYTES)
    html = tree(content.value) if content.kind == "json" else ""
    if content.kind == "markdown":
        html = rendered(content.text)
    content.header = content.header[:COLUMNS]
    content.numeric = content.numeric[:COLUMNS]
    content.rows = [row[:COLUMNS] for row in content.rows[:ROWS]]
    content.text = "\n".join(content.text.splitlines()[:TEXT_LINES])
    return FileOf(column, file, content=content, html=html)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES)
