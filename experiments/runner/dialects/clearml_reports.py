"""Reports of a ClearML script other than scalars, as output files: plots, tables, debug samples, properties, models.

The package writes plots as events into `metrics.jsonl`, in plotly's format, copies debug samples below `data`, and
keeps user properties and output models in `task.json`. The files are

- `plots/<title>/<series>/<iteration>.json`: {"title", "series", "iteration", "data", "layout"}, plotly's own;
- `tables/<title>/<series>/<iteration>.csv`: a plot that is a table;
- `debug_samples/<title>/<series>/<file>`: images and other media;
- `clearml.json`: {"properties": {name: value}, "models": [{"file", "address", "name", "framework", "tags", "labels",
  "network"}]}; the address is of a model that the script registered without uploading it.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any

SUMMARY = "clearml.json"
MAX_PLOT = 4 << 20  # bytes of one plot
MAX_PLOTS = 500
MAX_PROPERTIES = 200
MAX_MODELS = 100
MAX_TEXT = 1000  # characters of a property's value
MAX_NAME = 60  # characters of a part of a file name


class PlotFiles:
    """The plot and table files of one trial, whose events arrive in batches. At most MAX_PLOTS."""

    def __init__(self) -> None:
        self._names = _Names()
        self._count = 0

    def of(self, events: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
        """Yield (path in the output folder, content). `events` are the next lines of metrics.jsonl. Invalid ones are
        skipped, because the script may have written anything."""
        for plot in _plots(events):
            if self._count >= MAX_PLOTS:
                return
            self._count += 1
            yield _plot_file(plot, self._names.of(plot["title"], plot["series"]))


def sample_parts(parts: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the path in the output folder for a file of the package's folder `data`, if it is a debug sample:
    <project>/<task>/metrics/<title>/<series>/<file>."""
    if len(parts) < 4 or "metrics" not in parts[:3]:
        return None
    return "debug_samples", *parts[parts.index("metrics") + 1 :]


def summary_of(task: dict[str, Any]) -> dict[str, Any]:
    """Return the user properties and the output models of a task; {} if it has neither."""
    groups = task.get("hyperparams")
    properties = groups.get("properties") if isinstance(groups, dict) else None
    texts = {
        _text(name)[:MAX_NAME]: _text(traits.get("value"))[:MAX_TEXT]
        for name, traits in _items(properties)[:MAX_PROPERTIES]
        if isinstance(traits, dict)
    }
    models = task.get("offline_output_models")
    described = [_model(model) for model in models[:MAX_MODELS]] if isinstance(models, list) else []
    summary = {"properties": texts, "models": [model for model in described if model]}
    return {name: value for name, value in summary.items() if value}


def _model(model: object) -> dict[str, Any]:
    if not isinstance(model, dict):
        return {}
    start, weights = _mapping(model.get("init")), _mapping(model.get("weights"))
    file, address = weights.get("weights_filename"), weights.get("register_uri")
    labels = {
        _text(name): number
        for name, number in _items(start.get("label_enumeration"))
        if isinstance(number, int) and not isinstance(number, bool)
    }
    tags = _list(start.get("tags"))
    described = {
        "file": f"models/{PurePosixPath(file).name}" if isinstance(file, str) and file else "",
        "address": _text(address)[:MAX_TEXT] if not file else "",
        "name": _text(start.get("name"))[:MAX_TEXT],
        "framework": _text(start.get("framework"))[:MAX_NAME],
        "tags": [_text(tag)[:MAX_NAME] for tag in tags[:20]],
        "labels": labels,
        "network": start.get("config_text") if isinstance(start.get("config_text"), str) else "",
    }
    return {name: value for name, value in described.items() if value}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[tuple[str, Any]]:
    return list(_mapping(value).items())


def _plots(events: str) -> Iterator[dict[str, Any]]:
    """Yield {title, series, iteration, data, layout} of each plot."""
    for line in events.split("\n"):
        if '"plot_str"' not in line:
            continue
        try:
            batch = json.loads(line)
        except (ValueError, RecursionError):
            continue
        for event in batch if isinstance(batch, list) else ():
            if isinstance(event, dict) and event.get("type") == "plot" and (plot := _plot(event)):
                yield plot


def _plot(event: dict[str, Any]) -> dict[str, Any] | None:
    text = event.get("plot_str")
    if not isinstance(text, str) or len(text) > MAX_PLOT:
        return None
    try:
        figure = json.loads(text)
    except (ValueError, RecursionError):
        return None
    data = figure.get("data") if isinstance(figure, dict) else None
    if not isinstance(data, list):
        return None
    layout = figure.get("layout")
    iteration = event.get("iter")
    return {
        "title": _text(event.get("metric")),
        "series": _text(event.get("variant")),
        "iteration": iteration if isinstance(iteration, int) and iteration >= 0 else 0,
        "data": [trace for trace in data if isinstance(trace, dict)],
        "layout": layout if isinstance(layout, dict) else {},
    }


def _plot_file(plot: dict[str, Any], place: tuple[str, str]) -> tuple[tuple[str, ...], bytes]:
    stem = f"{plot['iteration']:08d}"
    table = next((rows for trace in plot["data"] if (rows := table_rows(trace))), None)
    if table is None:
        text = json.dumps(plot, ensure_ascii=False)
        return ("plots", *place, f"{stem}.json"), text.encode("utf-8", "replace")
    with io.StringIO(newline="") as file:
        csv.writer(file).writerows(table)
        return ("tables", *place, f"{stem}.csv"), file.getvalue().encode("utf-8", "replace")


def table_rows(trace: dict[str, Any]) -> list[list[str]] | None:
    """Return the rows of plotly's trace `table`, the header first; None for other traces."""
    if trace.get("type") != "table":
        return None
    header, cells = (
        part.get("values") if isinstance(part := trace.get(name), dict) else None
        for name in ("header", "cells")
    )
    heads = [" ".join(map(_text, head)) if isinstance(head, list) else _text(head) for head in _list(header)]
    columns = [[_text(value) for value in _list(column)] for column in _list(cells)]
    rows = [list(row) for row in zip_longest(*columns, fillvalue="")]
    return [heads, *rows] if heads or rows else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    """Return a printable line; "" for None."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else " " for char in text).strip()


class _Names:
    """Folder names for titles and series, distinct for distinct texts."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], tuple[str, str]] = {}
        self._taken: set[tuple[str, str]] = set()

    def of(self, title: str, series: str) -> tuple[str, str]:
        key = (title, series)
        if key not in self._places:
            place = base = (_part(title), _part(series))
            number = 1
            while place in self._taken:
                number += 1
                place = (base[0], f"{base[1]}-{number}")
            self._taken.add(place)
            self._places[key] = place
        return self._places[key]


def _part(text: str) -> str:
    """Return a text as a path component: without slashes and without a leading dot."""
    return re.sub(r"[/\\\0]", "_", text).strip(" .")[:MAX_NAME].strip(" .") or "_"
