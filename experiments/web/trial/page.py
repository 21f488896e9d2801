"""The page of one trial: state, curve, log and result; stop and rerun."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from experiments import database_clock
from experiments.models import ExperimentState, Point, Refused, Trial, TrialState, status
from experiments.permissions import may, require
from experiments.query_parameters import choice, invalid, listed, number, text
from experiments.scheduler import wait_reasons
from experiments.web.experiment import artifacts, charts
from experiments.web.experiment.action_buttons import Button
from experiments.web.experiment.curve_axis import BY
from experiments.web.experiment.page import back_from, get_trial, refused, url_of, url_of_trial
from experiments.web.experiment.pareto_front import on_front
from experiments.web.ui import descriptions, summaries
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest

from . import comments, logs, reports, reproduce, reruns

MOST_METRICS = 30
MOST_ATTEMPTS = 20
MOST_EVENTS = 30


@login_required
@require_safe
@takes(metric=text(), show=choice("data"), by=BY)
def show(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Show everything about one trial."""
    trial, now = get_trial(request, workspace_slug, public_id, number), database_clock.now()
    held = wait_reasons.hold_of_trial(trial)
    live = Live(
        request,
        fragments={"head", "curve", "log", "files", "reports", "side"},
        version=(
            trial.version,
            held,
            trial.pid,
            trial.experiment.version,
            may(request.user, "stop_trial", trial.experiment),
            descriptions.lateness(trial.worker, now) if trial.state in status.TRIAL_ALIVE else 0,
        ),
    )
    if live.is_unchanged:
        return live.not_modified()
    context = _context(trial)
    if live.shows("head"):
        context |= _head(request, trial) | {
            "facts": summaries.trial_summary(trial, now, held),
            "callout": summaries.stuck_callout(held, trial.experiment),
        }
    if live.shows("curve"):
        context |= _curve(request, trial, context["trials_url"])
    if live.shows("log"):
        context |= {"log": logs.window(trial)}
    if live.shows("side"):
        context |= _side(trial)
    if live.shows("files"):
        context |= artifacts.of_trial(trial, request.user)
    if live.shows("reports"):
        context |= {"reports": reports.of_trial(trial)}
    if not live.fragment:
        context |= reproduce.context(trial) | comments.context(trial, request.user)
    return live.draw("trial/show.html", context)


def _context(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial,
        "experiment": trial.experiment,
        "workspace": trial.experiment.workspace,
        "nav": "experiments",
        "removed": {part: datetime.fromisoformat(at) for part, at in trial.removed.items()},
        "trials_url": url_of(trial.experiment, "experiment-trials"),
        "every": 2 if summaries.is_under_way(trial) else None,
    }


def _head(request: SignedInRequest, trial: Trial) -> dict[str, object]:
    siblings = trial.experiment.trials
    return {
        "actions": _actions(request, trial),
        "may_star": may(request.user, "star", trial.experiment),
        "reason": descriptions.reason_of(trial),
        "is_on_front": bool(on_front(trial.experiment, [trial.number])),
        "previous": siblings.filter(number__lt=trial.number)
        .order_by("-number")
        .values_list("number", flat=True)
        .first(),
        "next": siblings.filter(number__gt=trial.number)
        .order_by("number")
        .values_list("number", flat=True)
        .first(),
    }


def _actions(request: SignedInRequest, trial: Trial) -> list[Button]:
    experiment, user = trial.experiment, request.user
    buttons = []
    if trial.state in status.TRIAL_ALIVE and may(user, "mark_lost", experiment):
        url = url_of_trial(trial, "trial-mark-lost")
        buttons.append(Button("Mark as lost", url, icon="x", is_question=True))
    if trial.state in (TrialState.WAITING, TrialState.RUNNING):
        if status.is_offered("stop_trial", experiment.state) and may(user, "stop_trial", experiment):
            buttons.append(Button("Stop", url_of_trial(trial, "trial-stop"), icon="stop", is_post=True))
        return buttons
    if trial.state == TrialState.FAILED and may(user, "rerun", experiment):
        reason = reruns.why_not([trial], experiment)[trial.number]
        url = url_of_trial(trial, "trial-rerun")
        return [Button("Rerun", url, icon="rerun", is_question=True, why_not=reason)]
    may_add = may(user, "add_trial", experiment) and status.is_offered("add_trial", experiment.state)
    if trial.state == TrialState.SUCCEEDED and may_add:
        url = url_of_trial(trial, "trial-replicate")
        return [Button("Replicate", url, icon="clone", is_question=True)]
    return buttons


def _curve(request: SignedInRequest, trial: Trial, url: str) -> dict[str, object]:
    names = list(
        Point.objects.filter(trial=trial)
        .order_by("name")
        .values_list("name", flat=True)
        .distinct()[:MOST_METRICS]
    )
    objective, requested = trial.experiment.metric, request.GET.get("metric", "")
    if len(names) == MOST_METRICS:  # always included, however late in the alphabet
        candidate_points = Point.objects.filter(
            trial=trial, name__in=[objective, requested.replace("\0", "")]
        )
        names = list({*names, *candidate_points.values_list("name", flat=True).distinct()})
    names.sort(key=lambda name: (name != objective, name))
    if requested and requested not in names:
        note_fault(request, "metric", invalid("metric", requested, listed(names or [objective])))
    metric = requested if requested in names else (names[0] if names else objective)
    if not names:
        return {"metrics": [], "metric": metric, "chart": None}
    chart, axis, is_all, siblings = charts.curve_of(request, trial, metric, url=url)
    return {
        "chart": chart,
        "axis": axis,
        "is_all": is_all,
        "siblings": siblings,
        "metric": metric,
        "metrics": names,
        "shows_data": request.GET.get("show") == "data",
    }


@dataclass(frozen=True)
class Attempt:
    """A trial in the chain of attempts, and why it was created or how it ended."""

    trial: Trial
    reason: str


def _side(trial: Trial) -> dict[str, object]:
    chain = trial.experiment.trials.filter(
        Q(pk=trial.pk) | Q(pk=trial.rerun_of_id) | Q(rerun_of=trial) | Q(values_digest=trial.values_digest)
    )
    attempts = list(chain.select_related("worker").order_by("number")[:MOST_ATTEMPTS])
    events = list(trial.events.select_related("by").defer("details")[:MOST_EVENTS])
    for event in events:
        event.trial = trial
    return {
        "params": summaries.parameter_rows(trial.params, trial.experiment.settings.space),
        "params_json": json.dumps(trial.params, ensure_ascii=False, indent=2),
        "final_metrics": summaries.final_metric_pairs(trial),
        "attempts": [
            Attempt(attempt, reason=descriptions.reason_of(attempt) or attempt.get_source_display())
            for attempt in attempts
        ]
        if len(attempts) > 1
        else [],
        "process": summaries.process_pairs(trial),
        "activity": descriptions.feed_entries(events),
    }


# --- its log ---------------------------------------------------------------------------------------------------


@login_required
@require_safe
@takes(q=text(), at=number(), until=number(), download=choice("1"))
def log(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponseBase:
    """Show a window of the log (`?until=` a byte offset) or a match (`?q=`, `?at=`), or send it whole (`?download`)."""
    trial = get_trial(request, workspace_slug, public_id, number)
    if "download" in request.GET:
        response = StreamingHttpResponse(logs.all_bytes(trial), content_type="text/plain; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{trial}.log"'
        return response
    query = logs.query_of(request.GET.get("q", ""))
    if query:
        shown = logs.search(trial, query, at=_line_number(request.GET.get("at", "")))
    else:
        shown = logs.window(trial, until=_line_number(request.GET.get("until", "")))
    context = _context(trial) | {"log": shown}
    return render(request, "trial/log.html", context)


def _line_number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None


# --- actions ---------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def stop(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Stop the trial. GET asks for confirmation."""
    trial = get_trial(request, workspace_slug, public_id, number)
    require(request.user, "stop_trial", trial.experiment)
    back = back_from(request, url_of_trial(trial))
    try:
        if request.method != "POST" and trial.state in (TrialState.WAITING, TrialState.RUNNING):
            trial.experiment.allows("stop_trial")
            return _ask(request, trial, "trial/stop.html", is_danger=True)
        if request.method == "POST" and trial.stop(by=request.user):
            messages.success(request, _stop_message(trial))
            return redirect(back)
    except Refused as blank:
        return refused(request, trial.experiment, str(blank), back=back)
    messages.info(request, _too_late_message(trial))
    return redirect(back)


def _stop_message(trial: Trial) -> str:
    if trial.state == TrialState.STOPPED:
        return f"Stopped #{trial.number} before it started."
    return f"Stopping #{trial.number}."


def _too_late_message(trial: Trial) -> str:
    if trial.state == TrialState.STOPPING:
        return f"#{trial.number} is already stopping."
    return f"#{trial.number} had already ended: {status.TRIAL_STATES[trial.state].label.lower()}."


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def mark_lost(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Mark the trial as lost. GET asks for confirmation."""
    trial = get_trial(request, workspace_slug, public_id, number)
    require(request.user, "mark_lost", trial.experiment)
    back = back_from(request, url_of_trial(trial))
    try:
        if request.method != "POST" and trial.state in status.TRIAL_ALIVE:
            return _ask(request, trial, "trial/mark_lost.html", is_danger=True)
        if request.method == "POST" and trial.mark_lost(by=request.user):
            messages.success(request, _lost_message(trial))
            return redirect(back)
    except Refused as blank:
        return refused(request, trial.experiment, str(blank), back=back)
    messages.info(request, _too_late_message(trial))
    return redirect(back)


def _lost_message(trial: Trial) -> str:
    again = trial.reruns.order_by("-number").first()
    return f"Marked #{trial.number} as lost" + (
        f"; #{again.number} retries it." if again else ", without a retry."
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def rerun(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Rerun a failed trial: GET asks for confirmation, POST creates a trial with the same values."""
    trial = get_trial(request, workspace_slug, public_id, number)
    require(request.user, "rerun", trial.experiment)
    back = back_from(request, url_of_trial(trial))
    try:
        if request.method == "POST":
            again = trial.rerun(by=request.user, current=request.POST.get("command") == "current")
            messages.success(request, f"#{again.number} retries #{trial.number}.")
            return redirect(url_of_trial(again))
        trial.experiment.allows("rerun")
        if reason := _why_not(trial):
            raise Refused(reason)
    except Refused as blank:
        # Looked up after the refusal, because the first request of a double click may have just been accepted.
        if request.method == "POST" and (under_way := _rerun_under_way(trial)):
            messages.info(request, f"#{under_way.number} already retries #{trial.number}.")
            return redirect(url_of_trial(under_way))
        return refused(request, trial.experiment, str(blank), back=back)
    return _ask(request, trial, "trial/rerun.html", **_consequences(trial))


def _rerun_under_way(trial: Trial) -> Trial | None:
    if trial.state != TrialState.FAILED:
        return None
    again = trial.reruns.filter(state__in=status.TRIAL_ACTIVE, trashed_at=None).order_by("-number").first()
    if again:
        again.experiment = trial.experiment
    return again


def _why_not(trial: Trial) -> str:
    if trial.state != TrialState.FAILED:
        state = status.TRIAL_STATES[trial.state].label.lower()
        return f"Only a failed trial can be rerun; #{trial.number} is {state}."
    return reruns.why_not([trial], trial.experiment)[trial.number]


def _consequences(trial: Trial) -> dict[str, object]:
    experiment = trial.experiment
    revision, current = trial.revision, experiment.revision
    return {
        "reason": descriptions.reason_of(trial),
        "is_paused": experiment.state == ExperimentState.PAUSED,
        "waits": descriptions.wait_reason(experiment),
        "took": trial.duration_s,
        "revision": revision,
        "current": current,
        "has_changed": revision.settings.run_command != current.settings.run_command
        or revision.pk != current.pk,
    }


def _ask(request: SignedInRequest, trial: Trial, template: str, **context: object) -> HttpResponse:
    shown = {"form_action": request.path, "back": back_from(request, url_of_trial(trial)), **context}
    return render(request, template, _context(trial) | shown)
