"""Output files on a trial's page: images, tables, plots, and user properties and models of a ClearML script.

Plots are plotly's JSON in `plots/`, tables are CSV files in `tables/`, images are anywhere; `clearml.json` has user
properties and output models. For each series, the file with the last name is shown: the latest iteration.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import PurePosixPath
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from experiments import downloads
from experiments.charts.drawing.svg import Chart
from experiments.charts.reported_plot import plot
from experiments.models import Artifact, Keeping, Refused, Trial
from experiments.runner.dialects.clearml_reports import SUMMARY
from experiments.web.artifact.content import image_type
from experiments.web.experiment.artifacts import get_artifact
from experiments.web.experiment.page import get_experiment
from experiments.web.ui.requests import SignedInRequest

IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
MAX_FILES = 400  # that are considered
MAX_IMAGES, MAX_PLOTS, MAX_TABLES = 12, 12, 6
MAX_IMAGE_BYTES, MAX_PLOT_BYTES, MAX_TABLE_BYTES, MAX_SUMMARY_BYTES = 8 << 20, 4 << 20, 1 << 20, 4 << 20
MAX_ROWS, MAX_COLUMNS = 50, 20
MAX_LABELS = 20
HEAD_BYTES = 32  # enough to recognize an image


@dataclass(frozen=True)
class Table:
    """The first rows of a CSV file; `row_count` is the number of all rows, without the header."""

    file: Artifact
    title: str
    header: list[str]
    rows: list[list[str]]
    row_count: int


@dataclass(frozen=True)
class Plot:
    """A plot; without `chart`, its kind is not supported, or its file cannot be read here."""

    file: Artifact
    title: str
    chart: Chart | None


@dataclass
class Reports:
    """The reports on a trial's page; `hidden` counts those beyond the limits."""

    images: list[tuple[Artifact, str]] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    properties: list[tuple[str, str]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    hidden: int = 0

    def __bool__(self) -> bool:
        return bool(self.images or self.plots or self.tables or self.properties or self.models)


def shows_as_image(file: Artifact) -> bool:
    """Return whether a page can show this file as an image: by its name, its size, and its first bytes if they are
    available. A file that is only on another machine cannot be shown. It must be loaded with `trial` and
    `experiment`."""
    if not file.name.lower().endswith(IMAGES) or file.size > MAX_IMAGE_BYTES:
        return False
    head = downloads.head_at_hand(file, max_bytes=HEAD_BYTES)
    return file.keeping == Keeping.STORED if head is None else bool(image_type(head))


def of_trial(trial: Trial) -> Reports:
    """Return the reports in the files of a trial. One query, and a bounded number of small files."""
    is_image = reduce(or_, (Q(name__iendswith=suffix) for suffix in IMAGES))
    is_shown = is_image | Q(name__startswith="plots/") | Q(name__startswith="tables/") | Q(name=SUMMARY)
    files = list(Artifact.objects.kept().filter(is_shown, trial=trial).order_by("name")[:MAX_FILES])
    for file in files:
        file.trial, file.experiment = trial, trial.experiment
    images = latest(file for file in files if shows_as_image(file))
    plots = latest(file for file in files if file.name.startswith("plots/") and file.name.endswith(".json"))
    tables = latest(file for file in files if file.name.startswith("tables/") and file.name.endswith(".csv"))
    shown = [*plots[:MAX_PLOTS], *tables[:MAX_TABLES], *(file for file in files if file.name == SUMMARY)]
    downloads.fetch_contents(shown, max_bytes=MAX_PLOT_BYTES)
    reports = Reports(
        images=[(file, title_of(file)) for file in images[:MAX_IMAGES]],
        plots=[plot_of(file) for file in plots[:MAX_PLOTS]],
        tables=[table for file in tables[:MAX_TABLES] if (table := _table(file))],
        hidden=sum(
            max(0, len(rows) - limit)
            for rows, limit in ((images, MAX_IMAGES), (plots, MAX_PLOTS), (tables, MAX_TABLES))
        ),
    )
    if summary := next((file for file in files if file.name == SUMMARY), None):
        _read_summary(summary, reports, {file.name: file for file in _models_of(trial)})
    return reports


def latest(files: Iterable[Artifact]) -> list[Artifact]:
    """Return the last file of each series; for plots, tables and debug samples, a series is a folder."""
    latest: dict[str, Artifact] = {}
    for file in files:
        is_series = file.name.startswith(("plots/", "tables/", "debug_samples/"))
        latest[str(PurePosixPath(file.name).parent) if is_series else file.name] = file
    return list(latest.values())


def title_of(file: Artifact) -> str:
    """Return `loss / train, iteration 3`, or the name of the file. The package numbers debug samples separately."""
    parts = PurePosixPath(file.name).parts
    if parts[0] not in ("plots", "tables", "debug_samples") or len(parts) != 4:
        return file.name
    stem = PurePosixPath(parts[3]).stem if parts[0] != "debug_samples" else ""
    title = parts[1] if parts[1] == parts[2] else f"{parts[1]} / {parts[2]}"
    return f"{title}, iteration {int(stem):,}" if stem.isdecimal() and len(stem) < 12 else title


def plot_of(file: Artifact) -> Plot:
    figure = _json(file, MAX_PLOT_BYTES)
    chart = plot(figure, key=f"plot-{file.pk}", title=title_of(file)) if isinstance(figure, dict) else None
    return Plot(file, title_of(file), chart)


def _table(file: Artifact) -> Table | None:
    try:
        text = downloads.content_of(file, max_bytes=MAX_TABLE_BYTES, fetches=False).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except (Refused, ValueError, csv.Error):
        return None
    if not rows:
        return None
    header, *body_rows = ([cell[:200] for cell in row[:MAX_COLUMNS]] for row in rows)
    return Table(file, title_of(file), header, body_rows[:MAX_ROWS], len(body_rows))


def _read_summary(file: Artifact, reports: Reports, artifacts: dict[str, Artifact]) -> None:
    summary = _json(file, MAX_SUMMARY_BYTES)
    if not isinstance(summary, dict):
        return
    properties, models = summary.get("properties"), summary.get("models")
    if isinstance(properties, dict):
        reports.properties = [(str(name), str(value)) for name, value in properties.items()]
    for model in models if isinstance(models, list) else ():
        if not isinstance(model, dict):
            continue
        labels = model.get("labels")
        names = [str(name) for name in labels] if isinstance(labels, dict) else []
        reports.models.append(
            {
                "file": artifacts.get(str(model.get("file"))),
                "address": model.get("address"),
                "name": model.get("name") or model.get("file") or model.get("address"),
                "framework": model.get("framework"),
                "tags": model.get("tags"),
                "labels": names[:MAX_LABELS],
                "hidden_labels": max(0, len(names) - MAX_LABELS),
            }
        )


def _models_of(trial: Trial) -> list[Artifact]:
    return list(Artifact.objects.kept().filter(trial=trial, name__startswith="models/")[:MAX_FILES])


def _json(file: Artifact, max_bytes: int) -> object:
    try:
        return json.loads(downloads.content_of(file, max_bytes=max_bytes, fetches=False))
    except (Refused, ValueError, RecursionError):
        return None


@login_required
@require_safe
def image(request: SignedInRequest, workspace_slug: str, public_id: str, artifact_pk: int) -> HttpResponse:
    """Send an image to be shown in the page; 404 for other files, and for images that are not here."""
    artifact = get_artifact(get_experiment(request, workspace_slug, public_id), artifact_pk)
    try:
        content = downloads.content_of(artifact, max_bytes=MAX_IMAGE_BYTES)
    except Refused:
        raise Http404 from None
    kind = image_type(content)
    if not kind:
        raise Http404
    response = HttpResponse(content, content_type=kind)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response
