"""Options of a chart: filter, axes, scales, top trials. Each option is a query parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.http import QueryDict

from experiments.models import Experiment, status
from experiments.query_parameters import Parameter, choice, invalid, listed, text, texts
from experiments.web.trial.trial_query import TrialQuery
from experiments.web.ui.query_checks import note_fault
from experiments.web.ui.requests import SignedInRequest

TOPS = ("5", "10", "20", "50", "100", "300")
SMOOTHINGS = ("0.3", "0.6", "0.9")
AXIS_WORDS = ("flip", "log", "linear", "hide", "show", "first")
CURVES = 10  # of the best trials, when `top` is not set

PARAMETERS: dict[str, Parameter] = {
    "filter": text(),
    "last": text(),
    "state": choice(*status.TRIAL_STATES),
    "objective": text(),
    "top": choice(*TOPS),
    "y": choice("linear", "log"),
    "smooth": choice(*SMOOTHINGS),
    "axis": texts(),
    "importance": choice("fanova", "correlation"),
    "cx": text(),
    "cy": text(),
    "slices": choice("all"),
    "px": text(),
    "py": text(),
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options in effect.

    `state` narrows what `filter` selects; `condition` is None without both. `objective` is empty for the first one.
    `axes` are (name, word) pairs; `front_x` and `front_y` are the objectives of the Pareto front.
    """

    filter: str = ""
    state: str = ""
    condition: Q | None = None
    objective: str = ""
    top: int | None = None
    is_log: bool | None = None
    smooth: float = 0.0
    axes: tuple[tuple[str, str], ...] = ()
    importance: str = "fanova"
    x: str = ""
    y: str = ""
    shows_all_slices: bool = False
    front_x: str = ""
    front_y: str = ""
    selected: TrialQuery | None = None  # counts the trials of `condition`

    def having(self, word: str) -> list[str]:
        """Return the axes with this word in the URL."""
        return [name for name, each in self.axes if each == word]


def options_of(
    request: SignedInRequest, experiment: Experiment, names: Sequence[str], selected: TrialQuery
) -> Options:
    """Return the options in the URL. Invalid options that depend on the experiment are reported as faults and ignored.

    `names` are the parameters of the experiment, `selected` are the trials of filter and state.
    """
    query = request.GET
    condition = None
    if selected.selection.applied or selected.state:
        condition = selected.selection.condition
        condition = condition & Q(state=selected.state) if selected.state else condition
    return Options(
        filter=selected.selection.applied,
        state=selected.state,
        condition=condition,
        objective=objective_of(request, experiment),
        top=int(top) if (top := query.get("top", "")) in TOPS else None,
        is_log={"log": True, "linear": False}.get(query.get("y", "")),
        smooth=float(smooth) if (smooth := query.get("smooth", "")) in SMOOTHINGS else 0.0,
        axes=_axes(request, query, [*names, *experiment.objectives]),
        importance="correlation" if query.get("importance") == "correlation" else "fanova",
        x=_name(request, query, "cx", names),
        y=_name(request, query, "cy", names),
        shows_all_slices=query.get("slices") == "all",
        front_x=_name(request, query, "px", list(experiment.objectives)),
        front_y=_name(request, query, "py", list(experiment.objectives)),
        selected=selected,
    )


def objective_of(request: SignedInRequest, experiment: Experiment) -> str:
    """Return the objective in the URL; empty for the first one. An unknown name is reported as a fault."""
    return _name(request, request.GET, "objective", list(experiment.objectives))


def _axes(request: SignedInRequest, query: QueryDict, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    axes = []
    for entry in query.getlist("axis"):
        name, _, word = entry.rpartition(":")
        if name in names and word in AXIS_WORDS:
            axes.append((name, word))
        elif entry:
            allowed = f"a parameter, a colon and {listed(AXIS_WORDS)}, such as {names[0]}:flip"
            note_fault(request, "axis", invalid("axis", entry, allowed))
    return tuple(dict.fromkeys(axes))


def _name(request: SignedInRequest, query: QueryDict, key: str, names: Sequence[str]) -> str:
    name = query.get(key, "")
    if name and name not in names:
        note_fault(request, key, invalid(key, name, listed(names)))
        return ""
    return name
