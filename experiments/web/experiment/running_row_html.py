"""The running trials of Overview as HTML. Written in Python, because a template took four times as long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from django.middleware.csrf import get_token
from django.template import Context
from django.urls import reverse
from django.utils.safestring import SafeString

from experiments.charts.drawing.svg import Svg
from experiments.models import Experiment, Trial, TrialState
from experiments.templatetags.live import posts_in_place
from experiments.templatetags.ui import glyph, icon, status
from experiments.web.ui.estimates import TrialProgress
from experiments.web.ui.requests import SignedInRequest


@dataclass(frozen=True)
class RunningTrial:
    """A running trial with its progress, its last heartbeat and the curve so far."""

    trial: Trial
    last_text: str  # its last result, with as many decimals as tell it from the others and the best one
    progress: TrialProgress
    heartbeat: str
    is_late: bool
    curve: Svg
    may_stop: bool


def running_rows(
    request: SignedInRequest,
    experiment: Experiment,
    rows: Iterable[RunningTrial],
    *,
    trials_url: str,
    every: float | None,
) -> SafeString:
    """Return the rows as items of a list; `every` is the page's polling interval, which their forms preserve."""
    token = f'<input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}">'
    where, context = [experiment.workspace.slug, experiment.public_id], Context({"every": every})

    def stop(trial: Trial) -> str:
        url = reverse("trial-stop", args=[*where, trial.number])
        return (
            f'<form method="post" action="{url}" {posts_in_place(context, url)}>{token}'
            f'<button class="btn is-quiet is-small" type="submit">{icon("stop")}Stop'
            f'<span class="sr-only"> trial {trial.number}</span></button></form>'
        )

    return SafeString("".join(_row(row, trials_url, stop(row.trial) if row.may_stop else "") for row in rows))


def _row(row: RunningTrial, trials_url: str, stop: str) -> str:
    trial = row.trial
    state = status(trial.state) if trial.state == TrialState.STOPPING else ""
    value = ""
    if trial.last_value is not None:
        value = f'<span class="num" title="{trial.last_value}">{escape(row.last_text)}</span>'
    return (
        f'<li data-key="trial-{trial.number}"><div class="between"><div class="cluster">'
        f'<a class="strong" href="{escape(trials_url)}{trial.number}/">#{trial.number}</a>{state}</div>'
        f'<span class="cluster">{row.curve}{value}</span></div>{_progress(trial, row.progress)}'
        f'<div class="between">{_worker(row)}<span class="row-actions">{stop}</span></div></li>'
    )


def _progress(trial: Trial, progress: TrialProgress) -> str:
    step = bar = ""
    if progress.step:
        left = f" · {escape(progress.left)}" if progress.left else ""
        step = f'<span class="muted">{escape(progress.step)}{left}</span>'
    if progress.percent is not None:
        bar = (
            f'<progress class="meter" max="100" value="{progress.percent}" '
            f'aria-label="Progress of trial {trial.number}"></progress>'
        )
    return step + bar


def _worker(row: RunningTrial) -> str:
    mark = glyph("warning") if row.is_late else ""
    css = "is-late" if row.is_late else "muted"
    if row.trial.worker is None:
        return f'<small class="{css}">{mark}<span>Worker removed</span></small>'
    name, heartbeat = escape(row.trial.worker.name), escape(row.heartbeat)
    text = f'<span class="truncate" title="{name}, {heartbeat}">{name} · {heartbeat}</span>'
    return f'<small class="{css}">{mark}{text}</small>'
