"""Actions on several rows: a confirmation with the reason for each skipped row, the action, and a result per row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods

from experiments.messages import plural
from experiments.models import (
    Experiment,
    ExperimentState,
    Forbidden,
    Invalid,
    Overtaken,
    Refused,
    Trial,
    Workspace,
    status,
)
from experiments.models.trial import failure_groups
from experiments.permissions import missing, require
from experiments.query_parameters import text, texts
from experiments.web.experiment.actions import VERBS, trials_of
from experiments.web.experiment.page import back_from, get_experiment, refused, url_of
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from .trial import reruns

MOST = 500  # rows at a time
MOST_REASONS = 8  # reasons in one message
MOST_NAMES = 20  # with one reason
NAME_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selected row, and why the action does not apply to it (blank = it does)."""

    key: str
    name: str
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class BulkSelection:
    """The confirmation of an action on the selected rows."""

    heading: str
    sentences: list[str]
    action: str
    rows: list[Chosen]
    field: str
    is_danger: bool = False
    asks_settings: bool = False

    @property
    def applies(self) -> list[Chosen]:
        return [row for row in self.rows if not row.why_not]

    @property
    def left_out(self) -> list[Chosen]:
        return _by_reason(self.rows)


def _by_reason(rows: Sequence[Chosen]) -> list[Chosen]:
    """Return the skipped rows, grouped by reason."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.why_not:
            names.setdefault(row.why_not, []).append(row.name)
    return [
        Chosen("", ", ".join(same[:MOST_NAMES]) + (", …" if len(same) > MOST_NAMES else ""), why_not)
        for why_not, same in names.items()
    ]


# --- trials --------------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(trial=texts(), failure=text())
def trials(request: SignedInRequest, workspace_slug: str, public_id: str, verb: str) -> HttpResponse:
    """Stop or rerun several trials: `?trial=3&trial=4`, or a group, `?failure=`."""
    if verb not in ("stop", "rerun"):
        raise Http404
    experiment = get_experiment(request, workspace_slug, public_id)
    action = "stop_trial" if verb == "stop" else "rerun"
    require(request.user, action, experiment)
    back = _back(request, url_of(experiment, "experiment-trials"))
    picked, beyond = _picked_trials(request, experiment)
    if not picked:
        return _nothing(request, back)
    try:
        experiment.allows(action)
        if request.method == "POST":
            done, rows = _action_on_trials(request, experiment, picked, verb)
            return _answer(request, done, rows + beyond, back)
    except Refused as blank:
        return refused(request, experiment, str(blank), back=back)
    return _ask(
        request,
        _question_on_trials(experiment, picked, beyond, verb),
        back,
        workspace=experiment.workspace,
        experiment=experiment,
    )


def _picked_trials(request: SignedInRequest, experiment: Experiment) -> tuple[list[Trial], list[Chosen]]:
    """Return the first `MOST` of the selected trials, and the others as skipped."""
    typed = (request.POST if request.method == "POST" else request.GET).getlist("trial")
    numbers = {int(text) for text in typed if text.isascii() and text.isdecimal() and len(text) < 10}
    group = failure_groups.group_of(experiment, request.GET.get("failure", "")) if not typed else None
    numbers |= set(group.numbers if group else [])
    selected = sorted(numbers)
    matches = experiment.trials.filter(number__in=selected[:MOST]).order_by("number")
    picked = list(matches.defer("raw", "sampler_attrs"))
    for trial in picked:
        trial.experiment = experiment
    return picked, [_beyond(f"#{number}") for number in selected[MOST:]]


def _beyond(name: str) -> Chosen:
    return Chosen("", name, f"At most {MOST} at a time. Select these next.")


def _question_on_trials(
    experiment: Experiment, picked: Sequence[Trial], beyond: list[Chosen], verb: str
) -> BulkSelection:
    if verb == "stop":
        refusals = {trial.number: _why_not_stop(trial) for trial in picked}
        sentences = ["The trials and all their processes end. The experiment continues with other values."]
    else:
        refusals = reruns.why_not_together(picked, experiment)
        sentences = [
            "Each rerun starts a job as a new trial with the same values and uses resources. Reruns do not count "
            "against the budget; failed trials are kept."
        ]
        if experiment.state == ExperimentState.PAUSED:
            sentences.append("The experiment is paused: new trials wait until it is unpaused.")
    rows = [Chosen(str(trial.number), f"#{trial.number}", refusals[trial.number]) for trial in picked]
    count = sum(not row.why_not for row in rows)
    word = verb.capitalize()
    return BulkSelection(
        f"{word} {plural(count, 'trial')}?",
        sentences,
        f"{word} {plural(count, 'trial')}",
        rows + beyond,
        "trial",
        is_danger=verb == "stop",
        asks_settings=verb == "rerun"
        and any(trial.revision_id != experiment.revision_id for trial in picked),
    )


def _why_not_stop(trial: Trial) -> str:
    if trial.is_settled:
        return f"Already ended: {status.TRIAL_STATES[trial.state].label.lower()}."
    return "Already stopping." if trial.state == "stopping" else ""


def _action_on_trials(
    request: SignedInRequest, experiment: Experiment, picked: Sequence[Trial], verb: str
) -> tuple[str, list[Chosen]]:
    """Act on all trials under one lock. Return the result as text, and a row per trial with the reason if it was
    skipped."""
    done, rows = [], []
    current = request.POST.get("command") == "current"
    with experiment.locked():
        for trial in picked:
            why_not = ""
            try:
                if verb == "rerun":
                    done.append(trial.rerun(by=request.user, current=current))
                elif not trial.stop(by=request.user):
                    why_not = _why_not_stop(trial)
            except Refused as blank:
                why_not = (verb == "rerun" and reruns.not_failed(trial)) or str(blank)
            rows.append(Chosen(str(trial.number), f"#{trial.number}", why_not))
    count = sum(not row.why_not for row in rows)
    if verb == "stop":
        return f"Stopping {plural(count, 'trial')}", rows
    numbers = f" as #{done[0].number} to #{done[-1].number}" if len(done) > 1 else ""
    return f"Rerunning {plural(count, 'trial')}{numbers}", rows


# --- experiments ---------------------------------------------------------------------------------------------------


def _stop_effect(experiments: list[Experiment]) -> str:
    alive = sum(experiment.alive_count for experiment in experiments)
    effect = f"{plural(alive, 'running trial')} will end." if alive else "No trial is running."
    return f"{effect} Results are kept, and the experiments can be resumed."


def _pause_effect(experiments: list[Experiment]) -> str:
    alive = sum(experiment.alive_count for experiment in experiments)
    finishing = f" {plural(alive, 'running trial finishes,running trials finish')}." if alive else ""
    return f"No new trials start.{finishing}"


def _delete_effect(experiments: list[Experiment]) -> str:
    count = plural(sum(trials_of(experiment) for experiment in experiments), "trial")
    return (
        f"Also deletes {count} with values and logs. Owners can restore the experiments from the workspace's trash "
        "for 30 days; then they are permanently deleted."
    )


# verb: (the effect on the experiments it applies to, the start of the message afterwards)
TOGETHER: dict[str, tuple[Callable[[list[Experiment]], str], str]] = {
    "enqueue": (
        lambda _: "Each experiment goes to the end of its queue, or of the default queue.",
        "Enqueued",
    ),
    "pause": (_pause_effect, "Paused"),
    "unpause": (lambda _: "New trials start again.", "Unpaused"),
    "stop": (_stop_effect, "Stopping"),
    "delete": (_delete_effect, "Moved to trash:"),
}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(pick=texts())
def experiments(request: SignedInRequest, workspace_slug: str, verb: str) -> HttpResponse:
    """Enqueue, pause, unpause, stop or delete several experiments (`?pick=7f3k2m9q`)."""
    if verb not in TOGETHER:
        raise Http404
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    require(request.user, verb, workspace)
    back = _back(request, reverse("experiments", args=[workspace.slug]))
    ids = list(dict.fromkeys((request.POST if request.method == "POST" else request.GET).getlist("pick")))
    matches = Experiment.objects.visible_to(request.user).filter(
        workspace=workspace, public_id__in=ids[:MOST]
    )
    picked = list(matches.select_related("workspace", "queue").order_by("folded_name", "pk"))
    if not picked:
        return _nothing(request, back)
    beyond = [_beyond(public_id[:NAME_LENGTH]) for public_id in ids[MOST:]]
    if request.method == "POST":
        rows = [_action_on(experiment, request, verb) for experiment in picked] + beyond
        count = sum(not row.why_not for row in rows)
        return _answer(request, f"{TOGETHER[verb][1]} {plural(count, 'experiment')}", rows, back)
    return _ask(request, _question_on(picked, beyond, request, verb), back, workspace=workspace)


def _question_on(
    picked: list[Experiment], beyond: list[Chosen], request: SignedInRequest, verb: str
) -> BulkSelection:
    rows = [
        Chosen(experiment.public_id, _name(experiment), _why_not(experiment, request, verb))
        for experiment in picked
    ]
    reached = [experiment for experiment, row in zip(picked, rows, strict=True) if not row.why_not]
    label = f"{status.ACTIONS[verb].label} {plural(len(reached), 'experiment')}"
    danger = verb in ("stop", "delete")
    effects = [TOGETHER[verb][0](reached)]
    return BulkSelection(f"{label}?", effects, label, rows + beyond, "pick", is_danger=danger)


def _why_not(experiment: Experiment, request: SignedInRequest, verb: str) -> str:
    if lacks := missing(request.user, verb, experiment):
        return lacks
    try:
        return "" if experiment.allows(verb) else _already(experiment)
    except Refused as blank:
        return str(blank)


def _action_on(experiment: Experiment, request: SignedInRequest, verb: str) -> Chosen:
    name = _name(experiment)
    try:
        require(request.user, verb, experiment)
        done = VERBS[verb].do(experiment, request.user, {"queue": None})
    except (Refused, Forbidden, Overtaken) as blank:
        return Chosen(experiment.public_id, name, str(blank))
    except Invalid as invalid:
        return Chosen(experiment.public_id, name, " ".join(sum(invalid.errors.values(), [])))
    return Chosen(experiment.public_id, name, "" if done else _already(experiment))


def _already(experiment: Experiment) -> str:
    return f"Already {status.EXPERIMENT_STATES[experiment.state].label.lower()}."


def _name(experiment: Experiment) -> str:
    name = experiment.name
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


# --- both ----------------------------------------------------------------------------------------------------------


def _ask(
    request: SignedInRequest,
    selection: BulkSelection,
    back: str,
    *,
    workspace: Workspace,
    experiment: Experiment | None = None,
) -> HttpResponse:
    if not selection.applies:
        return _answer(request, "", selection.rows, back)
    context = {
        "selection": selection,
        "is_danger": selection.is_danger,
        "workspace": workspace,
        "experiment": experiment,
        "nav": "experiments",
        "back": back,
        "form_action": request.path,
        "trials_url": url_of(experiment, "experiment-trials") if experiment else "",
    }
    return render(request, "experiment/bulk.html", context)


def _answer(request: SignedInRequest, done: str, rows: list[Chosen], back: str) -> HttpResponse:
    """Report in one message which rows the action changed, and why others were skipped."""
    left_out = [f"{row.name}: {row.why_not}" for row in _by_reason(rows)]
    more = [f"And {len(left_out) - MOST_REASONS:,} more."] if len(left_out) > MOST_REASONS else []
    if not left_out:
        messages.success(request, f"{done}.")
    elif not all(row.why_not for row in rows):
        messages.warning(request, " ".join([f"{done}. Skipped:", *left_out[:MOST_REASONS], *more]))
    else:
        messages.warning(request, " ".join(["No changes made.", *left_out[:MOST_REASONS], *more]))
    return redirect(back)


def _nothing(request: SignedInRequest, back: str) -> HttpResponse:
    messages.info(request, "No rows selected, or they no longer exist. Select rows first.")
    return redirect(back)


def _back(request: SignedInRequest, default: str) -> str:
    """Return the page on which the rows were selected, with its filters; the confirmation form passes it on."""
    address = request.POST.get("back", "")
    if address.startswith(default) and url_has_allowed_host_and_scheme(address, allowed_hosts=None):
        return address
    return back_from(request, default)
