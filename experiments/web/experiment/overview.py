"""The overview of an experiment, and its actions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from experiments import database_clock
from experiments.charts.drawing.axes import BESIDE_RAIL
from experiments.charts.outcome import outcome
from experiments.messages import decimals_of
from experiments.messages import value as format_value
from experiments.models import Event, Experiment, Invalid, Refused, Trial, TrialState, Worker, status
from experiments.models.plain_sql import RowStatement
from experiments.permissions import may, require
from experiments.query_parameters import choice
from experiments.scheduler import wait_reasons
from experiments.scheduler.estimate import Estimate, Finished, estimates, finished_trials
from experiments.scheduler.wait_reasons import Compute, Hold
from experiments.web.activity.feed import items_of
from experiments.web.charts.options import PARAMETERS, Options, objective_of
from experiments.web.charts.pages import panel_of
from experiments.web.charts.shared import Version, drawn_once, is_late
from experiments.web.charts.view import ChartView, version_of
from experiments.web.trial import failures
from experiments.web.ui import descriptions, fragments, summaries
from experiments.web.ui.estimates import compute_so_far, trial_progress
from experiments.web.ui.form_fields import field_of
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from . import advice, charts, description, metric_series, pareto_front
from .actions import VERBS, Verb
from .forms import space_table
from .forms.action_forms import ActionForm, QueueChoice
from .page import back_from, best_trial, frame, get_experiment, refused, url_of
from .running_row_html import RunningTrial, running_rows

MOST_SHOWN = 12  # running trials
FIGURES_POLL_S = 15.0  # of the charts of parameters
MANY_SETTLED = 1000  # trials, after which a further one does not change the estimate at once
LINES = 8  # of the activity
MOST_EVENTS = 60  # folded into these lines


@login_required
@require_safe
@takes(show=choice("data"), importance=PARAMETERS["importance"], objective=PARAMETERS["objective"])
def show(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the overview. Its queries and its work do not grow with the number of trials."""
    experiment, now = get_experiment(request, workspace_slug, public_id), database_clock.now()
    held = wait_reasons.hold(experiment)
    alive, late = _running_now(experiment), is_late(experiment)
    live = Live(
        request,
        fragments={"head", "history", "figures", "running"},
        version=(
            experiment.version,
            experiment.is_pinned,
            held,
            may(request.user, "stop", experiment),
            [(trial.version, descriptions.lateness(trial.worker, now)) for trial in alive],
            late,
        ),
        clocked=("head", "running") if experiment.is_active else (),
    )
    if live.is_unchanged:
        return live.not_modified()
    context = frame(request, experiment, tab="experiment") | {
        "trials_url": url_of(experiment, "experiment-trials")
    }
    if live.shows("head", "history"):
        context |= _best_context(experiment)
    finished = finished_trials([experiment]) if experiment.is_active and live.shows("head", "running") else {}
    if live.shows("head"):
        context |= description.context(experiment, request.user)
        context |= _head_context(experiment, context, held, alive, finished, now)
    if live.shows("history", "figures"):
        version = version_of(experiment, late=late)
        if live.shows("history"):
            context |= _history_context(request, experiment, context["trials_url"], version)
        if live.shows("figures"):
            context |= _figures_context(request, experiment, context["trials_url"], now, version)
    if live.shows("running"):
        context |= _running_context(request, experiment, context, alive, finished, now)
    return live.draw("experiment/show.html", context)


def _running_now(experiment: Experiment) -> list[Trial]:
    if not experiment.alive_count:
        return []
    trials = _alive.objects(experiment=experiment.pk)
    for trial in trials:
        trial.experiment = experiment
    return trials


_alive = RowStatement(
    Trial,
    lambda experiment: Trial.objects.filter(experiment=experiment, state__in=status.TRIAL_ALIVE).order_by(
        "state", "number"
    )[:MOST_SHOWN],
    names={field.attname for field in Trial._meta.concrete_fields} - {"raw", "params", "sampler_attrs"},
    related={"worker": ()},
    experiment=-1_000_000_007,
)


_events = RowStatement(
    Event,
    lambda experiment: Event.objects.filter(experiment=experiment)[:MOST_EVENTS],
    names=("id", "experiment_id", "trial_id", "verb", "by_id", "token", "at", "before", "after", "why"),
    related={
        "by": ("id", "username"),
        "trial": ("id", "number", "state", "value", "failure", "detail", "exit_code", "signal"),
    },
    experiment=-1_000_000_007,
)


def _best_context(experiment: Experiment) -> dict[str, object]:
    best = best_trial(experiment)
    if best is None:
        return {"best": None}
    return {"best": best, "best_params": summaries.parameter_rows(best.params, experiment.settings.space)}


def _head_context(
    experiment: Experiment,
    context: dict[str, Any],
    held: Hold | None,
    alive: list[Trial],
    finished: dict[int, Finished],
    now: datetime,
) -> dict[str, object]:
    url = context["trials_url"]
    queue, serving = experiment.queue, []
    if queue and experiment.is_active:
        serving = [worker for worker in Worker.objects.serving() if queue.name in worker.queues]
    expected = Estimate()
    if finished:
        expected = _estimate(experiment, finished, {queue.pk: serving} if queue else {}, now)
    counts = {state: experiment.count(state) for state in status.TRIAL_STATES}
    callout = summaries.experiment_callout(experiment, held, url=url)
    waits = "" if callout else descriptions.hold_text(held, experiment)
    budget_left = experiment.budget_left or 0
    return {
        "facts": summaries.experiment_summary(
            experiment,
            context["best"],
            waits,
            url=url,
            estimate=expected,
            compute_s=compute_so_far(experiment, alive, now),
            serving=len(serving),
            now=now,
        ),
        "callout": callout,
        "bar": outcome(counts, left=budget_left, is_big=True),
        "has_bar": any(counts.values()),
        "legend": [
            {"state": state, "count": number, "url": f"{url}?state={state}"}
            for state, number in counts.items()
            if number
        ],
        "rest": f"{budget_left:,} remaining" if budget_left else "",
    }


def _estimate(
    experiment: Experiment, finished: dict[int, Finished], serving: dict[int, list[Worker]], now: datetime
) -> Estimate:
    """Return the estimate, which all readers share for a minute. Each trial that ends counts at once, until there are
    so many that one more hardly matters."""
    changes = experiment.version if experiment.settled_count < MANY_SETTLED else None
    capacity = sorted((worker.pk, worker.slots, worker.boot) for rows in serving.values() for worker in rows)
    settings = (experiment.revision_id, experiment.state, experiment.max_trials)
    expected, at = drawn_once(
        experiment,
        lambda: (estimates([experiment], serving=serving, finished=finished)[experiment.pk], now),
        "estimate",
        capacity,
        fragments.minute(),
        version=(changes, settings),
    )
    age_s = (now - at).total_seconds()
    if expected.end_s is None:
        return expected
    return replace(expected, end_s=(max(0.0, expected.end_s[0] - age_s), max(0.0, expected.end_s[1] - age_s)))


def _history_context(
    request: SignedInRequest, experiment: Experiment, url: str, version: Version
) -> dict[str, object]:
    """Return the context of history, failures and advice. Parts that are the same for all readers are cached."""
    causes, more = drawn_once(experiment, lambda: failures.causes_of(experiment), "causes", version=version)
    pieces = drawn_once(experiment, lambda: advice.advice_on(experiment), "advice", version=version)
    return {
        **_history_chart(request, experiment, url, version),
        **failures.context(request, experiment, causes, more, trials_url=url),
        "advice": advice.rows(request, experiment, pieces),
    }


def _history_chart(
    request: SignedInRequest, experiment: Experiment, url: str, version: Version
) -> dict[str, object]:
    settings = experiment.settings
    if not experiment.last_number or not any(experiment.count(state) for state in status.TRIAL_STATES):
        return {
            "chart": None,
            "settings": settings,
            "space": list(space_table.rows_of(settings.space_document)),
        }
    if experiment.is_multi_objective:
        view = ChartView(experiment, Options(), url=url, version=version)
        return {"has_trials": True, "settings": settings, **pareto_front.context(experiment, view)}
    chart, is_all = drawn_once(
        experiment, lambda: charts.history_of(experiment, url=url), "history", url, version=version
    )
    return {
        "has_trials": True,
        "chart": chart,
        "is_all": is_all,
        "trial_count": sum(experiment.count(state) for state in status.TRIAL_STATES),
        "shows_data": request.GET.get("show") == "data",
        "settings": settings,
    }


def _figures_context(
    request: SignedInRequest, experiment: Experiment, url: str, now: datetime, version: Version
) -> dict[str, object]:
    """Return the charts of parameters: none before the first trial has a value."""
    if experiment.best_number is None and not experiment.front_size:
        return {"panels": []}
    method = "correlation" if request.GET.get("importance") == "correlation" else "fanova"
    objective = objective_of(request, experiment)
    options = Options(importance=method, objective=objective)
    view = ChartView(experiment, options, url=url, now=now, version=version)
    keys = ["hypervolume"] if experiment.is_multi_objective else []
    return {
        "panels": [panel_of(key, view, BESIDE_RAIL) for key in [*keys, "parallel", "importance"]],
        "options": view.options,
        "objectives": list(experiment.objectives),
        "chosen_objective": view.objective,
        "pause": FIGURES_POLL_S,
    }


def _running_context(
    request: SignedInRequest,
    experiment: Experiment,
    context: dict[str, Any],
    alive: list[Trial],
    finished: dict[int, Finished],
    now: datetime,
) -> dict[str, object]:
    points = metric_series.of_many(alive, experiment.metric)
    decimals = decimals_of([experiment.best_value, *(trial.last_value for trial in alive)])
    may_stop = may(request.user, "stop_trial", experiment) and status.is_offered(
        "stop_trial", experiment.state
    )
    rows = [
        RunningTrial(
            trial,
            format_value(trial.last_value, decimals),
            trial_progress(trial, finished.get(experiment.pk, Finished()), now),
            heartbeat=descriptions.last_heartbeat(trial.worker, now),
            is_late=descriptions.is_late(trial.worker, now),
            curve=charts.small_curve(points.get(trial.pk, [])),
            may_stop=may_stop and trial.state == TrialState.RUNNING,
        )
        for trial in alive
    ]
    events = _events.objects(experiment=experiment.pk)
    return {
        "rows": running_rows(
            request, experiment, rows, trials_url=context["trials_url"], every=context["every"]
        ),
        "hidden": experiment.alive_count - len(rows),
        "activity": items_of(events, folds=True)[:LINES],
    }


# --- actions ---------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def action(request: SignedInRequest, workspace_slug: str, public_id: str, verb: str) -> HttpResponse:
    """GET asks for confirmation, POST does it. 403 for viewers, 409 where the state forbids it."""
    if verb not in VERBS:
        raise Http404
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, verb, experiment)
    try:
        if not experiment.allows(verb) and request.method != "POST":
            return _unchanged(request, experiment)
        if request.method == "POST":
            return _do(request, experiment, VERBS[verb], verb)
    except Refused as blank:
        return refused(request, experiment, str(blank), back=back_from(request, url_of(experiment)))
    form = VERBS[verb].form
    return _ask(
        request, experiment, VERBS[verb], form(experiment=experiment, user=request.user) if form else None
    )


def _do(request: SignedInRequest, experiment: Experiment, verb: Verb, word: str) -> HttpResponse:
    form = verb.form(request.POST, experiment=experiment, user=request.user) if verb.form else None
    if form and not form.is_valid():
        return _ask(request, experiment, verb, form, status_code=422)
    try:
        done = verb.do(experiment, request.user, form.answer() if form else {})
    except Invalid as invalid:
        if form is None:
            raise
        for field, sentences in invalid.errors.items():
            form.add_error(field if field in form.fields else None, sentences)
        return _ask(request, experiment, verb, form, status_code=422)
    except Refused as blank:
        if form and status.is_offered(
            word, experiment.state
        ):  # the input is invalid, not the action: show the form again
            return _ask(request, experiment, verb, form, status_code=409, problem=str(blank))
        raise
    if not done:
        return _unchanged(request, experiment, verb.already)
    messages.success(request, verb.message(experiment))
    if isinstance(done, Experiment):
        return redirect(url_of(done))
    home = url_of(experiment)
    back = back_from(request, home)
    if experiment.trashed_at and back.startswith(home):
        return redirect("experiments", experiment.workspace.slug)
    return redirect(back)


def _unchanged(request: SignedInRequest, experiment: Experiment, so: str = "") -> HttpResponse:
    state = status.EXPERIMENT_STATES[experiment.state].label.lower()
    so = so or f"is {'a draft' if state == 'draft' else state}"
    messages.info(request, f"{experiment.name} {so.replace('is ', 'is already ', 1)}. Nothing was changed.")
    return redirect(back_from(request, url_of(experiment)))


def _ask(
    request: SignedInRequest,
    experiment: Experiment,
    verb: Verb,
    form: ActionForm | None,
    *,
    status_code: int = 200,
    problem: str = "",
) -> HttpResponse:
    question = verb.ask(experiment)
    context = {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "question": question,
        "is_danger": question.is_danger,
        "form": form,
        "problem": problem,
        "form_action": request.path,
        "back": back_from(request, url_of(experiment)),
        "queues": _queues(form) if form and "queue" in form.fields else [],
    }
    return render(request, "experiment/action.html", context, status=status_code)


@dataclass(frozen=True)
class QueueOption:
    """A queue to choose from; `summary` describes its workers and length."""

    pk: int
    name: str
    is_chosen: bool
    summary: str


def _queues(form: ActionForm) -> list[QueueOption]:
    """Return the queues to choose from, each with its workers and its length."""
    field = field_of(form, "queue", QueueChoice)
    chosen = str(form["queue"].value() or field.initial)
    compute = Compute()
    return [
        QueueOption(
            queue.pk,
            queue.name,
            is_chosen=str(queue.pk) == chosen,
            summary=descriptions.queue_summary(queue, compute)
            + descriptions.image_note(queue, compute, form.experiment)
            + descriptions.resources_note(queue, compute, form.experiment),
        )
        for queue in field.queryset or ()
    ]
