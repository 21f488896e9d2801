"""The cells of the trials table beside number, value and state. A page has thousands, so they are written here: a
template with a branch per column takes most of the time of the page."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

from experiments.messages import bytes_, clock, duration, duration_short
from experiments.messages import value as format_value
from experiments.models import Trial

from .columns import Column

MISSING = SafeString('<span class="muted">—</span>')


def cell(column: Column, trial: Trial, value: object, term: str) -> SafeString:
    """Return the cell of a column. `value` is that of a parameter or metric; `term` the condition that a click on it
    adds to the filter."""
    if column.is_parameter or column.is_metric:
        css = f"num {column.css}".strip() if column.is_num else column.css
        return format_html(
            '<td class="{}">{}</td>', css, _filtering(format_value(value, column.places), term)
        )
    if column.key == "worker":
        return format_html('<td class="{}">{}</td>', column.css, _worker(trial, term))
    if column.key == "revision":
        return format_html(
            '<td class="num muted {}">{}</td>', column.css, _filtering(str(trial.revision.number), term)
        )
    text, title = _text(column.key, trial)
    css = " ".join(
        part for part in ("num" if column.is_num else "", column.css, "" if text else "muted") if part
    )
    return format_html('<td class="{}" title="{}">{}</td>', css, title, text or "—")


def _filtering(text: str, term: str) -> SafeString:
    if not term:
        return MISSING
    return format_html(
        '<button class="cell-btn" form="filter" name="and" value="{}" title="{}">{}</button>',
        term,
        term,
        text,
    )


def _worker(trial: Trial, term: str) -> SafeString:
    return _filtering(trial.worker.name, term) if trial.worker else MISSING


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
