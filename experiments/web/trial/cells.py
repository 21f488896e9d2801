"""The cells of the trials table beside number, value and state. A page has thousands, so they are written here, and
without format_html: a template with a branch per column takes most of the time of the page."""

from __future__ import annotations

from html import escape

from django.utils.safestring import SafeString

from experiments.messages import bytes_, clock, duration, duration_short
from experiments.messages import value as format_value
from experiments.models import Trial

from .columns import Column

MISSING = '<span class="muted">—</span>'


def cell(column: Column, trial: Trial, value: object, term: str) -> SafeString:
    """Return the cell of a column. `value` is that of a parameter or metric; `term` the condition that a click on it
    adds to the filter."""
    css = escape(column.css)
    if column.is_parameter or column.is_metric:
        content = _filtering(format_value(value, column.places), term)
        return SafeString(f"<td{_class(f'num {css}' if column.is_num else css)}>{content}</td>")
    if column.key == "worker":
        return SafeString(
            f"<td{_class(css)}>{_filtering(trial.worker.name if trial.worker else '', term)}</td>"
        )
    if column.key == "revision":
        content = _filtering(str(trial.revision.number), term)
        return SafeString(f"<td{_class(f'num muted {css}')}>{content}</td>")
    text, title = _text(column.key, trial)
    kinds = ("num" if column.is_num else "", css, "" if text else "muted")
    shown = (text if isinstance(text, SafeString) else escape(text)) or "—"
    hint = f' title="{escape(title)}"' if title else ""
    return SafeString(f"<td{_class(' '.join(filter(None, kinds)))}{hint}>{shown}</td>")


def _class(css: str) -> str:
    return f' class="{css.strip()}"' if css else ""


def _filtering(text: str, term: str) -> str:
    if not term:
        return MISSING
    term = escape(term)
    return f'<button class="cell-btn" form="filter" name="and" value="{term}" title="{term}">{escape(text)}</button>'


def _text(key: str, trial: Trial) -> tuple[str, str]:
    """Return the text of a cell and its title; both empty where the value is missing."""
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
