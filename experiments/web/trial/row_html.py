"""The rows of the trials table as HTML, written in Python for the same reason as their cells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.middleware.csrf import get_token
from django.utils.safestring import SafeString

from experiments.messages import count, plural
from experiments.messages import value as format_value
from experiments.models import Trial, TrialState
from experiments.templatetags.ui import icon, status
from experiments.web.ui.escaping import escape
from experiments.web.ui.requests import SignedInRequest

from .columns import Column

if TYPE_CHECKING:
    from .table import Row


class RowWriter:
    """Writes the rows of one page. `trials_url` is the URL of the table; `has_bulk`: rows can be selected; in a live
    table (`is_live`), actions keep the page."""

    def __init__(
        self,
        request: SignedInRequest,
        *,
        trials_url: str,
        value_column: Column | None,
        has_bulk: bool,
        is_live: bool,
    ) -> None:
        self._request, self._url, self._value_column = request, escape(trials_url), value_column
        self._has_bulk, self._is_live = has_bulk, is_live
        self._status_by_state: dict[str, str] = {}
        self._csrf_token = ""

    def write(self, rows: Iterable[Row]) -> SafeString:
        """Return the rows as HTML."""
        return SafeString("\n".join(self._row(row) for row in rows))

    def _row(self, row: Row) -> str:
        trial = row.trial
        number = trial.number
        check = (
            f'<td class="check"><input type="checkbox" form="bulk" aria-keyshortcuts="x" name="trial" value="{number}" '
            f'aria-label="Select trial {number}"></td>'
            if self._has_bulk
            else ""
        )
        best = ' class="is-best"' if row.is_best else ""
        value = self._value(row, self._value_column) if self._value_column else ""
        cells = "".join(html for _, _, html in row.cells)
        return (
            f'<tr data-key="trial-{number}"{best}>{check}'
            f'<th scope="row" class="num is-trial"><a href="{self._url}{number}/">#{number}</a></th>'
            f"{value}{self._state(row)}{cells}"
            f'<td><div class="row-actions">{self._action(row)}</div></td></tr>'
        )

    def _value(self, row: Row, column: Column) -> str:
        trial, tag = row.trial, ""
        if row.is_best:
            title = ' title="On the Pareto front"' if row.mark == "front" else ""
            tag = f'<span class="tag" data-role="good"{title}>{escape(row.mark)}</span> '
        css = "num is-value best" if row.is_best else "num is-value"
        return f'<td class="{css}">{tag}{_number(trial, row.partial, column.places)}</td>'

    def _state(self, row: Row) -> str:
        trial, reason = row.trial, escape(row.reason)
        if trial.state not in self._status_by_state:
            self._status_by_state[trial.state] = status(trial.state)
        parts = [self._status_by_state[trial.state]]
        if trial.starred_at:
            parts.append(_noted("noted is-starred", "Starred", "star"))
        if trial.comment_count:
            parts.append(_noted("noted", plural(trial.comment_count, "comment"), "note"))
        if (first := trial.rerun_of_number) is not None:
            is_replica = trial.source == "replica"
            title = f"Replica of #{first}" if is_replica else f"Attempt {trial.attempt}, after #{first}"
            mark = icon("clone" if is_replica else "rerun")
            parts.append(f'<a class="chain" href="{self._url}{first}/" title="{title}">{mark} #{first}</a>')
        if trial.state == TrialState.FAILED and reason:
            parts.append(f'<small class="truncate muted">{reason}</small>')
        title = f' title="{reason}"' if reason else ""
        return f'<td{title}><span class="with-why">{" ".join(parts)}</span></td>'

    def _action(self, row: Row) -> str:
        number = row.trial.number
        name = f'<span class="sr-only"> trial {number}</span>'
        if row.may_stop:
            url = f"{self._url}{number}/stop/"
            self._csrf_token = self._csrf_token or get_token(self._request)
            stays = f' hx-post="{url}" hx-swap="none" hx-disabled-elt="find button"' if self._is_live else ""
            return (
                f'<form method="post" action="{url}"{stays}>'
                f'<input type="hidden" name="csrfmiddlewaretoken" value="{self._csrf_token}">'
                '<button class="btn is-quiet is-small on-hover" type="submit" aria-keyshortcuts="s">'
                f"Stop{name}</button></form>"
            )
        if row.may_rerun:
            url = f"{self._url}{number}/rerun/"
            return (
                f'<a class="btn is-quiet is-small on-hover" href="{url}" hx-get="{url}" hx-target="#dialog" '
                f'hx-swap="morph" aria-keyshortcuts="r">Rerun{name}</a>'
            )
        if row.why_not:
            return (
                '<a class="btn is-quiet is-small" role="link" aria-disabled="true" '
                f'title="{escape(row.why_not)}">Rerun</a>'
            )
        return ""


def _number(trial: Trial, partial: str, places: int | None) -> str:
    """Return the value of the objective: final, partial with its reason, the last intermediate one, or a dash."""
    if trial.value is not None:
        shown, css = format_value(trial.value, places), ""
        tag = f'<span class="tag" title="{escape(partial)}">partial</span> ' if partial else ""
        css = ' class="muted"' if partial else ""
        return f'{tag}<span{css} title="{trial.value}">{shown}</span>'
    if trial.last_value is not None:
        title = f"Last intermediate value, at step {count(trial.last_step)}: {trial.last_value}"
        return f'<span class="muted" title="{title}">{format_value(trial.last_value, places)}</span>'
    return '<span class="muted">—</span>'


def _noted(css: str, text: str, name: str) -> str:
    return f'<span class="{css}" title="{text}">{icon(name)}<span class="sr-only">{text}</span></span>'
