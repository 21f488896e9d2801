"""Completions of the filter line above the trials."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from experiments.filters.autocomplete import Candidate, Candidates
from experiments.filters.trials import TrialFields
from experiments.messages import plural
from experiments.messages import value as format_value
from experiments.models import Experiment, Worker, status
from experiments.query_parameters import number, text
from experiments.web.experiment.page import get_experiment
from experiments.web.ui.filter_line import completions
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

MOST_VALUES = 200


@login_required
@require_safe
@takes(filter=text(), at=number())
def complete(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Return the completions at a position of the filter. Reads names and counters, no trials."""
    experiment = get_experiment(request, workspace_slug, public_id)
    return completions(request, candidates(TrialFields.of(experiment)))


def candidates(fields: TrialFields) -> Candidates:
    """Return the fields and values of an experiment's trials."""
    experiment = fields.experiment
    values: dict[str, Callable[[], Iterable[Candidate]]] = {
        name: partial(_listed, field.values) for name, field in fields.fixed.items() if field.values
    }
    values["state"] = partial(_states, experiment)
    values["worker"] = _workers
    document = experiment.settings.space.document
    for name in fields.parameters:
        definition = document.get(name, {})
        if definition.get("_type") == "choice":
            choices = [choice for choice in definition["_value"] if not isinstance(choice, dict | list)]
            if choices:
                values[fields.parameter(name)] = partial(_listed, map(_written, choices))
    parameters = [
        Candidate(
            fields.parameter(name),
            _range(document.get(name, {})),
            has_values=fields.parameter(name) in values,
        )
        for name in fields.parameters
    ]
    return Candidates(
        {
            "Parameters": parameters,
            "Metrics": [Candidate(fields.metric(name), "Metric") for name in fields.metrics],
            "Fields": [
                Candidate(name, field.help, has_values=name in values) for name, field in fields.fixed.items()
            ],
        },
        values,
    )


def _listed(names: Iterable[str]) -> list[Candidate]:
    return [Candidate(name) for name in names]


def _states(experiment: Experiment) -> list[Candidate]:
    return [
        Candidate(state, info.label, plural(count, "trial") if (count := experiment.count(state)) else "")
        for state, info in status.TRIAL_STATES.items()
    ]


def _workers() -> list[Candidate]:
    return _listed(Worker.objects.listed().order_by("name").values_list("name", flat=True)[:MOST_VALUES])


def _written(choice: object) -> str:
    return choice if isinstance(choice, str) else str(choice)


def _range(definition: dict[str, Any]) -> str:
    """Return a short description of a parameter's values."""
    kind, values = definition.get("_type", ""), definition.get("_value", [])
    if not kind:
        return "Parameter"
    if kind == "choice":
        return plural(len(values), "value")
    return f"{kind} {' – '.join(format_value(value) for value in values[:2])}"
