"""A range on an axis, typed or selected with the pointer, as a condition of the filter."""

from __future__ import annotations

import re

from experiments.filters.language import quoted
from experiments.filters.trials import PARAMETER, TrialFields
from experiments.models import Experiment
from experiments.query_parameters import invalid, listed
from experiments.web.ui.query_checks import note_fault
from experiments.web.ui.requests import SignedInRequest

VALUE = "value"
FORM = ("range", "min", "max", "pick")


def address(request: SignedInRequest, experiment: Experiment) -> str:
    """Return the URL of the page with the range of the form in its filter, and without the form's fields."""
    query = request.GET.copy()
    name, low, high = (query.get(key, "").strip() for key in ("range", "min", "max"))
    picked = query.getlist("pick")
    for key in FORM:
        query.pop(key, None)
    field = name if name == VALUE else field_of(experiment, name)
    merged = with_range(query.get("filter", "").strip(), field, low, high, picked)
    query["filter"] = merged
    if not merged:
        del query["filter"]
    return f"{request.path}?{query.urlencode()}#parallel" if query else f"{request.path}#parallel"


def note_faults(request: SignedInRequest, experiment: Experiment) -> None:
    """Add the faults of an axis that the experiment does not have, and of ends without an axis."""
    axes = [VALUE, *experiment.settings.space.columns()]
    if "range" in request.GET:
        name = request.GET["range"].strip()
        if name not in axes:
            note_fault(request, "range", invalid("range", name, listed(axes)))
        return
    for key in ("min", "max", "pick"):
        if request.GET.get(key, "").strip():
            note_fault(request, key, f"“{key}” needs the name of its axis in the parameter “range”.")


def field_of(experiment: Experiment, name: str) -> str:
    """Return a parameter's name as it is written in a filter."""
    fields = TrialFields(experiment, [])
    return quoted(PARAMETER + name if name.casefold() in fields.fixed else name)


def with_range(filter_text: str, field: str, low: str, high: str, picked: list[str]) -> str:
    """Return the filter with this range in place of an earlier range of the same field; blank ends remove it.

    >>> with_range("state:succeeded lr>=1e-3 lr<=1", "lr", "0.01", "", [])
    'state:succeeded lr>=0.01'
    """
    name = re.escape(field)
    other_conditions = re.sub(
        rf"(?:^|(?<=\s)){name}(?:>=|<=)\S+|(?:^|(?<=\s)){name} in \([^()]*\)", "", filter_text
    )
    other_conditions = " ".join(other_conditions.split())
    if re.search(r"(?i)(?:^|\s)or(?:\s|$)", other_conditions) and (low or high or picked):
        other_conditions = f"({other_conditions})"
    conditions = [f"{field}>={quoted(low)}"] if low else []
    conditions += [f"{field}<={quoted(high)}"] if high else []
    conditions += [f"{field} in ({', '.join(map(quoted, picked))})"] if picked else []
    return " ".join([*filter(None, [other_conditions]), *conditions])
