"""Trials that users add: one with values entered by hand, and replicas of a succeeded trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from experiments.messages import plural
from experiments.models import (
    Experiment,
    ExperimentState,
    Invalid,
    Refused,
    Source,
    Trial,
    TrialState,
    status,
)
from experiments.models.trial.creation import MOST_REPLICAS
from experiments.models.trial.parameter import digest
from experiments.permissions import require
from experiments.search.manual_values import MAX_EXACT_INTEGER
from experiments.search.nested_choice import Nested, Parameter
from experiments.search.parameters import Choice, Normal, Randint, Uniform
from experiments.web.experiment.page import (
    back_from,
    best_trial,
    get_experiment,
    get_trial,
    refused,
    url_of,
    url_of_trial,
)
from experiments.web.ui import descriptions
from experiments.web.ui.requests import SignedInRequest


class ValuesForm(forms.Form):
    """One field for each parameter of the current search space. Numbers outside its ranges are allowed."""

    def __init__(self, data: Mapping[str, Any] | None = None, *, experiment: Experiment) -> None:
        super().__init__(data, prefix="v")  # because a parameter may be named csrfmiddlewaretoken
        space = experiment.settings.space
        filled = experiment.settings.searched.draws(1, seed=experiment.settings.seed)[0] | _best_values(
            experiment
        )
        for parameter in space.parameters:
            self.fields[parameter.name] = _field(parameter, filled[parameter.name])

    @property
    def params(self) -> dict[str, Any]:
        """The values that the trial will get, by parameter."""
        return dict(self.cleaned_data)


def _best_values(experiment: Experiment) -> dict[str, Any]:
    best = best_trial(experiment)
    return best.params if best else {}


class NestedField(forms.CharField):
    """A value of a nested choice, as JSON. `Trial.add` checks its names and parameters."""

    def to_python(self, value: object) -> Any:
        text = super().to_python(value)
        try:
            return json.loads(text, parse_constant=_refuse) if text else None
        except (ValueError, RecursionError):
            raise forms.ValidationError('Enter JSON, for example {"_name": "conv", "size": 3}.') from None

    def run_validators(self, value: object) -> None:
        super().run_validators(json.dumps(value))


def _refuse(word: str) -> None:
    raise ValueError(word)


def _field(parameter: Parameter, filled: Any) -> forms.Field:
    if isinstance(parameter, Nested):
        fits = parameter.branch_of(filled) is not None
        names = ", ".join(branch.name for branch in parameter.branches)
        return NestedField(
            max_length=10_000,
            initial=json.dumps(filled, ensure_ascii=False) if fits else "",
            label=parameter.name,
            help_text=f"JSON object; _name is one of {names}",
        )
    if isinstance(parameter, Choice):
        choices = [(str(at), _choice_label(parameter.at(at))) for at in range(parameter.count)]
        chosen = parameter.index(filled) if parameter.fits(filled) else 0
        return forms.TypedChoiceField(
            choices=choices,
            coerce=lambda at: parameter.at(int(at)),
            initial=str(chosen),
            label=parameter.name,
        )
    is_number = isinstance(filled, int | float) and not isinstance(filled, bool)
    arguments: dict[str, Any] = {
        "label": parameter.name,
        "help_text": _range(parameter),
        "initial": filled if is_number else None,
    }
    if isinstance(parameter, Randint) or parameter.is_whole:
        return forms.IntegerField(min_value=-MAX_EXACT_INTEGER, max_value=MAX_EXACT_INTEGER, **arguments)
    return forms.FloatField(**arguments)


def _choice_label(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _range(parameter: Randint | Uniform | Normal) -> str:
    """The search range, as a hint: values outside of it are allowed."""
    if isinstance(parameter, Normal):
        around = f"searched around {parameter.mu:g} ± {parameter.sigma:g}"
        return f"{around}, log scale" if parameter.log else around
    low, high = (f"{bound:.10g}".replace("e-0", "e-") for bound in (parameter.low, parameter.high))
    return f"searched from {low} to {high}"


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the form, filled with the best trial's values; POST creates the trial."""
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, "add_trial", experiment)
    back = back_from(request, url_of(experiment, "experiment-trials"))
    form = ValuesForm(request.POST if request.method == "POST" else None, experiment=experiment)
    try:
        experiment.allows("add_trial")
        if request.method == "POST" and form.is_valid():
            return _add(request, experiment, form)
    except Refused as reason:
        return refused(request, experiment, str(reason), back=back)
    except Invalid as invalid:  # the search space changed: show a new form
        for sentence in sum(invalid.errors.values(), []):
            form.add_error(None, sentence)
    return _ask(
        request,
        "experiment/trials/add.html",
        experiment,
        form,
        back=back,
        is_wide=True,
        has_best=experiment.best_number is not None,
        heading="Add a trial",
        action="Add trial",
    )


def _add(request: SignedInRequest, experiment: Experiment, form: ValuesForm) -> HttpResponse:
    with experiment.locked():
        trial = _active_duplicate(experiment, form.params)
        is_new = trial is None
        trial = trial or Trial.add(experiment, form.params, by=request.user)
    if not is_new:  # the second request of a double click
        messages.info(request, f"#{trial.number} already has these values. No trial was added.")
    elif trial.raw is None:
        messages.warning(
            request,
            f"Added trial #{trial.number}. The values are outside the search space, so the result will not inform the "
            "search.",
        )
    elif broken := experiment.settings.searched.violated(trial.params):
        messages.warning(
            request,
            f"Added trial #{trial.number}. The values violate the constraint {broken[0]}, which applies to proposals "
            "only; the result will inform the search.",
        )
    else:
        messages.success(request, f"Added trial #{trial.number}.")
    return redirect(url_of_trial(trial))


def _active_duplicate(experiment: Experiment, params: dict[str, Any]) -> Trial | None:
    values_digest = digest(params, experiment.settings.run_command)
    added = experiment.trials.filter(values_digest=values_digest, source=Source.ADDED)
    trial = added.filter(state__in=status.TRIAL_ACTIVE).order_by("number").first()
    if trial:
        trial.experiment = experiment
    return trial


class ReplicateForm(forms.Form):
    count = forms.IntegerField(min_value=1, max_value=MOST_REPLICAS, initial=3, label="How many")
    seen = forms.IntegerField(widget=forms.HiddenInput)  # replicas that existed when the form was shown


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def replicate(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Ask for a number; POST creates that many trials with the same values."""
    trial = get_trial(request, workspace_slug, public_id, number)
    experiment = trial.experiment
    require(request.user, "add_trial", experiment)
    back = back_from(request, url_of_trial(trial))
    initial = {"seen": _replicas(trial)}
    form = ReplicateForm(request.POST if request.method == "POST" else None, initial=initial)
    try:
        experiment.allows("add_trial")
        if trial.state != TrialState.SUCCEEDED:
            state = status.TRIAL_STATES[trial.state].label.lower()
            raise Refused(f"Only a succeeded trial can be replicated; #{trial.number} is {state}.")
        if request.method == "POST" and form.is_valid():
            return _replicate(request, trial, **form.cleaned_data)
    except Refused as reason:
        return refused(request, experiment, str(reason), back=back)
    return _ask(
        request,
        "experiment/trials/replicate.html",
        experiment,
        form,
        back=back,
        trial=trial,
        took=trial.duration_s,
        heading=f"Replicate trial {trial.number}",
        action="Replicate",
    )


def _replicate(request: SignedInRequest, trial: Trial, *, count: int, seen: int) -> HttpResponse:
    with trial.locked():
        before = _replicas(trial)
        made = trial.replicate(by=request.user, count=count) if before == seen else []
    if not made:  # the second request of a double click, or of another user
        message = f"#{trial.number} already has {plural(before, 'replica')}. No trial was added."
        messages.info(request, message)
    else:
        numbers = ", ".join(f"#{replica.number}" for replica in made[:10]) + (", …" if len(made) > 10 else "")
        message = f"{plural(len(made), 'replica')} of #{trial.number} will run: {numbers}."
        messages.success(request, message)
    return redirect(url_of_trial(trial))


def _replicas(trial: Trial) -> int:
    return trial.experiment.trials.filter(rerun_of=trial, source=Source.REPLICA).count()


def _ask(
    request: SignedInRequest,
    template: str,
    experiment: Experiment,
    form: forms.Form,
    *,
    back: str,
    **context: object,
) -> HttpResponse:
    shown = {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "form": form,
        "back": back,
        "form_action": request.path,
        "is_paused": experiment.state == ExperimentState.PAUSED,
        "waits": descriptions.wait_reason(experiment),
        "trials_url": url_of(experiment, "experiment-trials"),
        **context,
    }
    return render(request, template, shown, status=422 if form.errors else 200)
