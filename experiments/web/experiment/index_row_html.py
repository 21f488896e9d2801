"""The rows of the experiment list as HTML. Written in Python, like those of the trials table: a page has 50 of them,
and rendering them by template took half of its time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from django.template import RequestContext
from django.urls import reverse
from django.utils.safestring import SafeString

from experiments.messages import (
    DASH,
    ago,
    best_of_each,
    clock,
    count,
    duration_short,
    plural,
    running_short,
)
from experiments.messages import value as format_value
from experiments.models import Experiment, ExperimentState
from experiments.models.experiment.base import Visibility
from experiments.templatetags.actions import row_actions
from experiments.templatetags.ui import experiment_status, icon
from experiments.web.ui.escaping import escape
from experiments.web.ui.requests import SignedInRequest

if TYPE_CHECKING:
    from .index_rows import Row

ID, NAME = "\ue000", "\ue001"  # private-use characters, in no page of ours
ANY_ID = "00000000"  # of no experiment
TAGS = 2  # the others are in a hint
TICKING = (ExperimentState.RUNNING, ExperimentState.PAUSED, ExperimentState.STOPPING)


class RowWriter:
    """Writes the rows of one page. `may_create`: the rows have actions; `every`: the live table's polling interval,
    which actions preserve."""

    def __init__(self, request: SignedInRequest, *, may_create: bool, every: float | None) -> None:
        query = request.GET.copy()
        for name in ("and", "page"):
            query.pop(name, None)
        self._query, self._may_create = query.urlencode(), may_create
        self._context = RequestContext(request, {"every": every, "request": request})
        self._links: dict[tuple[str, ...], str] = {}
        self._urls: dict[str, str] = {}  # by workspace, with ANY_ID in the place of an experiment's
        self._actions: dict[tuple[object, ...], str] = {}  # with ID and NAME in the place of an experiment's

    def write(self, rows: Iterable[Row]) -> SafeString:
        """Return the rows as HTML."""
        return SafeString("\n".join(self._row(row) for row in rows))

    def _row(self, row: Row) -> str:
        e = row.experiment
        name, public_id = escape(e.name), e.public_id
        actions = ""
        if self._may_create:
            actions = f'<td class="cell-actions">{self._actions_of(row)}</td>'
        return (
            f'<tr data-key="{public_id}"><td class="check"><input type="checkbox" form="bulk" aria-keyshortcuts="x" '
            f'name="pick" value="{public_id}" aria-label="Select {name}"></td>'
            f'<th scope="row" class="cell-name">{self._named(row)}</th>'
            f'<td class="cell-state">{experiment_status(e)}{_note(row)}</td>'
            f'<td class="cell-trials">{_trials(row)}{row.bar}</td>'
            f'<td class="num cell-best">{_best(row)}</td>'
            f'<td class="num cell-time">{clock(e.updated_at)} <small>{_time(e)}</small></td>'
            f'<td class="cell-who">{self._link(e.creator.username, row.creator_term, "truncate dim")}</td>'
            f"{actions}</tr>"
        )

    def _actions_of(self, row: Row) -> str:
        """Return the actions of a row. Rows in the same state have the same ones, which are rendered once."""
        e, decides = row.experiment, row.decides_actions
        if decides is None:
            return row_actions(self._context, *row.actions, id=f"actions-{e.public_id}", named=e.name)
        if decides not in self._actions:
            html = row_actions(self._context, *row.actions, id=f"actions-{ID}", named=NAME)
            self._actions[decides] = html.replace(f"/{e.public_id}/", f"/{ID}/")
        return self._actions[decides].replace(ID, e.public_id).replace(NAME, escape(e.name))

    def _named(self, row: Row) -> str:
        e = row.experiment
        name, url = escape(e.name), self._url_of(e)
        lock = ""
        if e.visibility == Visibility.PRIVATE:
            hint = "Private: visible to its creator and workspace owners only"
            lock = f' <span title="{hint}">{icon("lock")}<span class="sr-only">private</span></span>'
        project = self._link(
            e.project.name, row.project_term, "truncate dot", hint=f"Project {e.project.name}"
        )
        tags = "".join(self._link(tag, term, "tag") for tag, term in row.tag_terms)
        more = len(e.tags) - TAGS
        more_tags = (
            f'<span class="muted" title="{escape(", ".join(e.tags))}">+{more}</span>' if more > 0 else ""
        )
        return (
            f'<span class="named"><a class="name" href="{url}" title="{name}">{name}</a>{lock}</span> '
            f'<small><span class="id">{e.public_id}</span> {project} '
            f'<span class="dot algo">{escape(e.algorithm)}</span> {tags}{more_tags}</small>'
        )

    def _url_of(self, e: Experiment) -> str:
        """Return the URL of an experiment. The URLs of a workspace differ only in the ID."""
        slug = e.workspace.slug
        if slug not in self._urls:
            self._urls[slug] = reverse("experiment", args=[slug, ANY_ID])
        return self._urls[slug].replace(ANY_ID, e.public_id)

    def _link(self, text: str, term: str, css: str, *, hint: str = "") -> str:
        """Return a link that adds the term to the filter."""
        key = (text, term, css, hint)
        if key not in self._links:  # many rows have the same creator, project and tags
            address = escape("&".join(filter(None, (self._query, f"and={quote_plus(term)}"))))
            title = escape(hint or text)
            self._links[key] = f'<a class="{css}" title="{title}" href="?{address}">{escape(text)}</a>'
        return self._links[key]


def _note(row: Row) -> str:
    if not row.note:
        return ""
    role = f' data-role="{row.note_role}"' if row.note_role else ""
    note = escape(row.note)
    return f' <small class="note"{role} title="{note}">{note}</small>'


def _trials(row: Row) -> str:
    e, alive = row.experiment, ""
    of = "trials" if e.max_trials is None else f"/ {count(e.max_trials)}"
    if e.alive_count:
        stopping = f", {e.stopping_count} stopping" if e.stopping_count else ""
        alive = f'<span class="muted" title="{e.running_count} running{stopping}">+{e.alive_count}</span>'
    return f'<span class="between"><span>{count(row.tried)} <span class="muted">{of}</span></span> {alive}</span>'


def _best(row: Row) -> str:
    e = row.experiment
    if e.front_size:
        bests = escape(best_of_each(e))
        return (
            f'<span class="strong" title="{plural(e.front_size, "trial")} on the Pareto front">'
            f"{count(e.front_size)} on front</span> "
            f'<small title="Best of each objective: {bests}"><span class="truncate">{bests}</span></small>'
        )
    if e.best_value is None:
        return f'<span class="muted">{DASH}</span>'
    metric = escape(e.metric)
    falls = ' <span aria-hidden="true">↓</span>' if e.direction == "minimize" else ""
    return (
        f'<span class="pair">{row.spark}<span>'
        f'<span class="strong" title="{e.best_value}, trial #{e.best_number}">'
        f"{format_value(e.best_value, e.best_decimals)}</span> "
        f'<small title="{e.direction} {metric}"><span class="truncate">{metric}</span>{falls}</small></span></span>'
    )


def _time(e: Experiment) -> str:
    if e.state in TICKING:
        return f"{running_short(e.elapsed_s()) if e.ticking_since else duration_short(e.elapsed_s())} elapsed"
    if e.state == ExperimentState.PENDING:
        return f"queued {ago(e.enqueued_at)}"
    if e.started_at:
        return f"ran {duration_short(e.elapsed_s())}"
    return f"created {clock(e.created_at)}"
