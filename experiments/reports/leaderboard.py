"""The leaderboard: experiments ranked by their best value, with the spread over replicates of their best trials."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from statistics import mean, stdev

from django.db.models import Count, F, Q, Sum, Value

from experiments.filters.experiment_lists import HasTag
from experiments.models import Baseline, Experiment, Project, Trial, TrialState, Workspace, status
from experiments.models.experiment.creation import TRY
from experiments.models.experiment.queryset import ExperimentQuerySet

SINCE = {"7d": 7, "30d": 30, "90d": 90}  # days
MOST = 100  # experiments that are ranked
MOST_METRICS = 50
MOST_REPLICATES = 5000  # of all of them together

Metric = tuple[str, str]  # name and direction


@dataclass(frozen=True)
class Spread:
    """The succeeded trials with the values of the best one: their number, mean, and standard deviation (of a sample).
    One trial has no deviation."""

    count: int
    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Entry:
    """One experiment of the leaderboard. `delta`: the difference of its best value from the baseline's."""

    experiment: Experiment
    rank: int | None  # None: the baseline
    spread: Spread | None
    delta: float | None
    is_baseline: bool = False

    @property
    def best(self) -> float:
        """The best value of a succeeded trial."""
        return self.experiment.best_value or 0.0

    @property
    def trials(self) -> int:
        """Number of trials that have ended or run."""
        return sum(self.experiment.count(state) for state in (*status.TRIAL_SETTLED, *status.TRIAL_ALIVE))

    @property
    def is_better(self) -> bool | None:
        """Whether it is better than the baseline; None if they cannot be compared."""
        if not self.delta:
            return None
        return (self.delta > 0) == (self.experiment.direction == "maximize")


@dataclass(frozen=True)
class Leaderboard:
    """The entries in their order, the baseline first. The totals are of all experiments, ranked or not."""

    metric: Metric | None
    metrics: list[Metric]  # the most used first
    entries: list[Entry]
    baseline: Entry | None
    experiment_count: int = 0
    trial_count: int = 0
    compute_s: float = 0.0


def candidates(
    visible: ExperimentQuerySet,
    workspace: Workspace,
    *,
    project: Project | None = None,
    tag: str = "",
    since: datetime | None = None,
) -> ExperimentQuerySet:
    """Return the experiments with a result that match, tries of drafts left out. `visible`: those that the reader may
    see. `since`: changed since then."""
    rows = visible.filter(~Q(HasTag("tags", Value(TRY))), workspace=workspace, best_value__isnull=False)
    rows = rows.filter(project=project) if project else rows
    rows = rows.filter(HasTag("tags", Value(tag))) if tag else rows
    return rows.filter(updated_at__gte=since) if since else rows


def rank(
    rows: ExperimentQuerySet,
    visible: ExperimentQuerySet,
    *,
    project: Project | None,
    metric: str = "",
    direction: str = "",
    by_mean: bool = False,
) -> Leaderboard:
    """Rank `rows` (see `candidates`) by one metric: by default the most used one. At most six queries, whatever there
    is. `by_mean`: the `MOST` best ones by the mean of their replicates."""
    groups = rows.order_by().values_list("metric", "direction").annotate(n=Count("pk"))
    metrics = [(name, way) for name, way, _ in groups.order_by("-n", "metric", "direction")[:MOST_METRICS]]
    chosen = next(
        ((name, way) for name, way in metrics if metric in ("", name) and direction in ("", way)), None
    )
    if chosen is None:
        return Leaderboard(None, metrics, [], None)
    rows = rows.filter(metric=chosen[0], direction=chosen[1])
    counts = sum(F(f"{state}_count") for state in (*status.TRIAL_SETTLED, *status.TRIAL_ALIVE))
    totals = rows.order_by().aggregate(n=Count("pk"), trials=Sum(counts), compute=Sum("compute_s"))
    order = F("best_value").asc() if chosen[1] == "minimize" else F("best_value").desc()
    leaders = list(_with_related(rows).order_by(order, "pk")[:MOST])
    pinned = _pinned(visible, project, chosen, leaders)
    spreads = _spreads([*leaders, *([pinned] if pinned else [])])
    if by_mean:
        sign = 1 if chosen[1] == "minimize" else -1
        leaders.sort(
            key=lambda row: sign * (spreads[row.pk].mean if row.pk in spreads else row.best_value or 0)
        )
    base = pinned.best_value if pinned else None
    baseline = Entry(pinned, None, spreads.get(pinned.pk), None, is_baseline=True) if pinned else None
    unpinned_leaders = [row for row in leaders if pinned is None or row.pk != pinned.pk]
    entries = [
        Entry(row, place, spreads.get(row.pk), None if base is None else (row.best_value or 0.0) - base)
        for place, row in enumerate(unpinned_leaders, start=1)
    ]
    return Leaderboard(
        chosen,
        metrics,
        [*([baseline] if baseline else []), *entries],
        baseline,
        totals["n"],
        totals["trials"] or 0,
        totals["compute"] or 0.0,
    )


def _with_related(rows: ExperimentQuerySet) -> ExperimentQuerySet:
    return rows.select_related("project", "creator").defer("description", "properties")


def _pinned(
    visible: ExperimentQuerySet, project: Project | None, metric: Metric, leaders: list[Experiment]
) -> Experiment | None:
    """Return the baseline of the project, if the reader may see it. Without a project there is none: values of
    different projects are of different things."""
    if project is None:
        return None
    pins = Baseline.objects.filter(project=project, metric=metric[0], direction=metric[1])
    rows = visible.filter(
        pk__in=pins.values("experiment"),
        project=project,
        metric=metric[0],
        direction=metric[1],
        best_value__isnull=False,
    )
    return _with_related(rows).first()


def _spreads(experiments: list[Experiment]) -> dict[int, Spread]:
    """Return the spread of each experiment's best trial. Two queries, at most `MOST_REPLICATES` rows."""
    succeeded = Trial.objects.filter(
        experiment__in=[experiment.pk for experiment in experiments], state=TrialState.SUCCEEDED
    ).order_by()
    best = succeeded.filter(number=F("experiment__best_number")).values_list("experiment", "values_digest")
    digests = dict(best)
    if not digests:
        return {}
    alike = succeeded.filter(values_digest__in={*digests.values()}).order_by("pk")
    values: dict[int, list[float]] = {}
    columns = alike.values_list("experiment", "values_digest", "value")
    for experiment, digest, value in columns[:MOST_REPLICATES]:
        if digests.get(experiment) == digest and value is not None:
            values.setdefault(experiment, []).append(value)
    return {experiment: _spread(results) for experiment, results in values.items()}


def _spread(results: list[float]) -> Spread:
    return Spread(len(results), mean(results), stdev(results) if len(results) > 1 else None)
