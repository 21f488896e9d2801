"""The filter line and the state chips above a table of trials and above their charts."""

from __future__ import annotations

from django.http import QueryDict

from experiments.filters.language import quoted
from experiments.models import status
from experiments.web.experiment.page import url_of
from experiments.web.ui.controls import Chip
from experiments.web.ui.filter_line import FilterLine, hidden_fields_of
from experiments.web.ui.requests import SignedInRequest

from .trial_query import TrialQuery


def line_of(request: SignedInRequest, query: TrialQuery) -> FilterLine:
    """Return the filter line of an experiment's trials."""
    selection = query.selection
    fields = selection.fields
    parameters = query.experiment.settings.space.columns()
    numeric = next(iter(parameters), "value")
    own = ("filter", "last", "page")
    hidden_fields = [
        *hidden_fields_of(request.GET, own),
        *([("last", selection.applied)] if selection.applied else []),
    ]
    return FilterLine(
        noun="trials",
        text=selection.filter,
        applied=selection.applied,
        error=selection.error,
        hidden_fields=hidden_fields,
        complete_url=url_of(query.experiment, "trials-complete"),
        placeholder=f"state:failed {quoted(fields.parameter(numeric))}<1e-3 value>0.8",
        fields=fields.all(),
    )


def state_chips(query: QueryDict, trial_query: TrialQuery, *, page: str = "experiment-trials") -> list[Chip]:
    """Return chips for the states with trials that match the filter, and for the selected state. They preserve the rest
    of the URL."""

    def url(state: str) -> str:
        parameters = query.copy()
        for name in ("page", "state"):
            parameters.pop(name, None)
        if state:
            parameters["state"] = state
        return f"{url_of(trial_query.experiment, page)}?{parameters.urlencode()}".rstrip("?")

    counts = trial_query.counts
    chips = [
        Chip("", "All", None if counts is None else sum(counts.values()), url(""), not trial_query.state)
    ]
    for state, description in status.TRIAL_STATES.items():
        is_current = state == trial_query.state
        count = None if counts is None else counts.get(state, 0)
        if count or is_current or (counts is None and trial_query.experiment.count(state)):
            chips.append(Chip(state, description.label, count, url(state), is_current))
    return chips
