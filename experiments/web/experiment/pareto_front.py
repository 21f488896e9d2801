"""The Pareto front on the overview: its trials, the best value of each objective, and the chart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from experiments.charts.drawing.axes import BESIDE_RAIL
from experiments.messages import column_texts
from experiments.models import Experiment, FrontTrial, Trial
from experiments.search.nested_choice import flat
from experiments.web.charts.pages import panel_of
from experiments.web.charts.view import ChartView

from .page import url_of

MOST_SHOWN = 10  # trials of the front on the overview
MOST_PARAMETERS = 4  # shown next to the values
FILTER = "front:yes"


@dataclass(frozen=True)
class FrontRow:
    """A trial of the front with its value of each objective and its first parameters."""

    trial: Trial
    values: list[tuple[object, str]]  # with their texts
    params: list[tuple[object, str]]


def context(experiment: Experiment, view: ChartView) -> dict[str, object]:
    """Return the front for the overview: three queries, however large the front is."""
    current = FrontTrial.current(experiment).select_related("trial")[:MOST_SHOWN]
    names = view.names[:MOST_PARAMETERS]
    trials, values, params = [], [], []
    for entry in current:
        entry.trial.experiment = experiment
        flat_params = flat(entry.trial.params)
        trials.append(entry.trial)
        values.append(entry.trial.objective_values or [])
        params.append([flat_params.get(name, "") for name in names])
    rows = map(FrontRow, trials, column_texts(values), column_texts(params))
    return {
        "front": list(rows),
        "front_names": names,
        "front_url": address(experiment),
        "front_csv": address(experiment, "trials-csv"),
        "front_panel": panel_of("pareto", view, BESIDE_RAIL),
    }


def address(experiment: Experiment, page: str = "experiment-trials") -> str:
    """Return the URL of the trials table, or one of its files, with the trials of the front."""
    return f"{url_of(experiment, page)}?{urlencode({'filter': FILTER})}"


def on_front(experiment: Experiment, numbers: Iterable[int]) -> set[int]:
    """Return which of these trials are on the front. One query; none with a single objective."""
    if not experiment.front_size:
        return set()
    rows = FrontTrial.objects.filter(experiment=experiment, left_result=None, number__in=list(numbers))
    return set(rows.values_list("number", flat=True))
