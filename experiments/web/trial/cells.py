"""The cells of the trials table except for number, value and state. A page has thousands of them, so they are written
in Python and without format_html: rendering them by template took most of the page's time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from django.utils.safestring import SafeString

from experiments.filters.language import quoted
from experiments.filters.trials import TrialFields
from experiments.messages import bytes_, clock, duration, duration_short
from experiments.messages import value as format_value
from experiments.models import Trial
from experiments.web.ui.escaping import escape

from .columns import Column

MISSING = '<span class="muted">—</span>'

Cell = Callable[
    [Trial, object], str
]  # arguments: the trial, and its value if the column is a parameter or a metric


def writer(column: Column, fields: TrialFields) -> Cell:
    """Return the function that writes the cells of a column. A click on a value offers conditions (cell_menu.py);
    without JavaScript, it adds the condition that selects the value to the filter. What is the same in all rows is
    written once."""
    css = escape(column.css)
    if column.is_parameter or column.is_metric:
        field = fields.parameter(column.label) if column.is_parameter else fields.metric(column.label)
        return _values(
            f"<td{_class(f'num {css}' if column.is_num else css)}>", f"{quoted(field)}=", column.places
        )
    if column.key == "worker":
        return _workers(f"<td{_class(css)}>")
    if column.key == "revision":
        return _revisions(f"<td{_class(f'num muted {css}')}>")
    return _texts(column, css)


def _values(opening: str, condition: str, places: int | None) -> Cell:
    plain = escape(condition)

    def write(trial: Trial, value: object) -> str:
        if value is None:
            return f"{opening}{MISSING}</td>"
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            term = f"{plain}{value!r}"  # a number needs neither quotes nor escapes
            return f"{opening}{_button(term, format_value(value, places))}</td>"
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        term = escape(condition + quoted(text))
        return f"{opening}{_button(term, escape(format_value(value, places)))}</td>"

    return write


def _workers(opening: str) -> Cell:
    def write(trial: Trial, value: object) -> str:
        name = trial.worker_name
        content = _button(escape(f"worker={quoted(name)}"), escape(name)) if name else MISSING
        return f"{opening}{content}</td>"

    return write


def _revisions(opening: str) -> Cell:
    def write(trial: Trial, value: object) -> str:
        number = trial.revision_number
        return f"{opening}{_button(f'revision={number}', str(number))}</td>"

    return write


def _texts(column: Column, css: str) -> Cell:
    num = "num" if column.is_num else ""
    present, missing = (_class(" ".join(filter(None, (num, css, muted)))) for muted in ("", "muted"))

    def write(trial: Trial, value: object) -> str:
        text, title = _text(column.key, trial)
        if not text:
            return f"<td{missing}>—</td>"
        hint = f' title="{escape(title)}"' if title else ""
        return f"<td{present}{hint}>{text if isinstance(text, SafeString) else escape(text)}</td>"

    return write


def _class(css: str) -> str:
    return f' class="{css.strip()}"' if css else ""


def _button(term: str, text: str) -> str:
    attributes = f'class="cell-btn" type="submit" form="filter" name="cell" value="{term}" title="{term}"'
    return f"<button {attributes}>{text}</button>"


def _text(key: str, trial: Trial) -> tuple[str, str]:
    """Return the text and the title of a cell; both empty if the value is missing."""
    if key == "duration_s" and trial.duration_s is not None:
        return duration_short(trial.duration_s), duration(trial.duration_s)
    if key == "started_at" and trial.started_at:
        return clock(trial.started_at), ""
    if key == "ended_at" and trial.ended_at:
        return clock(trial.ended_at), ""
    if key == "peak_memory_bytes" and trial.peak_memory is not None:
        return bytes_(trial.peak_memory), ""
    if key == "cpu_s" and trial.cpu_s is not None:
        return duration(trial.cpu_s), ""
    return "", ""
