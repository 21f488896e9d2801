"""The experiments on Home: active ones, those that ended last with their outcome, and the reader's pins and drafts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from experiments.charts.drawing.svg import Svg
from experiments.charts.sparkline import sparkline
from experiments.filters.experiment_lists import latest_first
from experiments.messages import difference, failures_of, value
from experiments.models import Baseline, Experiment, ExperimentState, User, status
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.scheduler.wait_reasons import Compute
from experiments.web.experiment import charts, index_rows
from experiments.web.experiment.action_buttons import Button, button

from .needs_attention import load_rows

ACTIVE, ENDED, PINNED, DRAFTS = 8, 6, 8, 5
OVER = tuple(
    state for state in status.EXPERIMENT_STATES if state not in (*status.ACTIVE, ExperimentState.DRAFT)
)


@dataclass(frozen=True, slots=True)
class HomeRow:
    """A row of the list: why the experiment waits, paused or ended; when it will end, as text or blank; and its
    difference from the baseline, with its color role."""

    row: index_rows.Row
    note: str
    ends: str
    delta: str
    delta_role: str

    @property
    def experiment(self) -> Experiment:
        return self.row.experiment


@dataclass(frozen=True, slots=True)
class PinnedRow:
    """A pinned experiment and the history of its best value."""

    experiment: Experiment
    spark: Svg


@dataclass(frozen=True, slots=True)
class DraftRow:
    """A draft of the reader, with the actions to continue."""

    experiment: Experiment
    actions: list[Button]


def context(seen: ExperimentQuerySet, user: User, compute: Compute) -> dict[str, Any]:
    """Return the rows of all four lists, in a fixed number of queries."""
    drafts = seen.filter(state=ExperimentState.DRAFT, creator=user)
    keys = {
        "active": _keys(seen.filter(state__in=status.ACTIVE).order_by(*latest_first()), ACTIVE),
        "ended": _keys(seen.filter(state__in=OVER).order_by("-ended_at", "-pk"), ENDED),
        "pinned": _keys(seen.filter(pins__user=user).order_by("-pins__at", "-pins__pk"), PINNED),
        "drafts": _keys(drafts.order_by("-updated_at", "-pk"), DRAFTS + 1),
    }
    shown = {row.pk: row for row in load_rows([pk for pks in keys.values() for pk in pks])}
    lists = {name: [shown[pk] for pk in pks if pk in shown] for name, pks in keys.items()}
    ends = index_rows.ends_of(lists["active"], compute)
    baselines = _baselines(seen, [*lists["active"], *lists["ended"]])

    def home_row(experiment: Experiment) -> HomeRow:
        row = index_rows.row(experiment, user=user, compute=compute)
        delta, role = _delta(experiment, baselines)
        note = failures_of(experiment) or ("" if experiment.state == ExperimentState.RUNNING else row.note)
        return HomeRow(row, note, ends.get(experiment.pk, ""), delta, role)

    active, ended = ([home_row(row) for row in lists[name]] for name in ("active", "ended"))
    return {
        "active_rows": active,
        "ended_rows": ended,
        "rows": [*active, *ended],
        "pinned": [
            PinnedRow(row, sparkline(charts.best_steps(row), last=row.last_number)) for row in lists["pinned"]
        ],
        "drafts": [
            DraftRow(
                row,
                [
                    replace(button(row, verb, user), icon="", is_primary=False)
                    for verb in ("edit", "enqueue")
                    if row.offers(verb)
                ],
            )
            for row in lists["drafts"][:DRAFTS]
        ],
        "has_more_drafts": len(lists["drafts"]) > DRAFTS,
    }


def _keys(experiments: ExperimentQuerySet, most: int) -> list[int]:
    return list(experiments.values_list("pk", flat=True)[:most])


def _baselines(
    seen: ExperimentQuerySet, shown: list[Experiment]
) -> dict[tuple[int, str, str], tuple[int, float]]:
    """Return the experiment and best value of each baseline of these projects that the reader can see. One query."""
    projects = {experiment.project_id for experiment in shown}
    rows = Baseline.objects.filter(project__in=projects, experiment__in=seen.order_by())
    columns = ("project", "metric", "direction", "experiment", "experiment__best_value")
    return {(row[0], row[1], row[2]): row[3:] for row in rows.values_list(*columns) if row[4] is not None}


def _delta(
    experiment: Experiment, baselines: dict[tuple[int, str, str], tuple[int, float]]
) -> tuple[str, str]:
    """Return the difference of the best value from the baseline's, and its color role; blank if either is missing."""
    of = baselines.get((experiment.project_id, experiment.metric, experiment.direction))
    if of is None or experiment.best_value is None or of[0] == experiment.pk or experiment.front_size:
        return "", ""
    delta = experiment.best_value - of[1]
    if not delta:
        return "±0", ""
    is_better = (delta > 0) == (experiment.direction == "maximize")
    text = difference(delta, value(abs(delta), experiment.best_decimals))
    return text, "good" if is_better else "bad"
