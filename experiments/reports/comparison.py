"""Trials, and experiments, side by side: what pages and API share. The first of them is the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from django.db.models import Max

from experiments.models import Experiment, Point, Settings, Trial, TrialState

MOST_METRICS = 30
MOST_REPLICATES = 5_000  # of all trials together
FOR_DEVIATION = 3  # replicates at least
# Settings that may differ between replicates, because they affect neither the proposals nor the results.
OF_NO_EFFECT = ("seed", "concurrency", "breaker", "retries", "stop_grace_s", "keeps_best", "destination")
PARTIAL, SO_FAR = "partial", "so far"


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of replicates: their number, mean, lowest and highest; the standard deviation of at least three."""

    count: int
    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(
            len(values),
            mean=fmean(values) if values else None,
            deviation=stdev(values) if len(values) >= FOR_DEVIATION else None,
            low=min(values, default=None),
            high=max(values, default=None),
        )


@dataclass(frozen=True, slots=True)
class NumberRow:
    """A number of each column. `direction`: maximize, minimize, or "" where neither is better; `is_ratio`: compared by
    factors, as on a logarithmic scale; `notes`: a word beside a number that is no result."""

    name: str
    values: Sequence[float | None]
    direction: str = ""
    is_ratio: bool = False
    notes: Sequence[str] = ()

    @property
    def differences(self) -> list[float | None]:
        """Each value minus that of the baseline; None where one of them is missing."""
        base = self.values[0]
        return [None if value is None or base is None else value - base for value in self.values]

    @property
    def factors(self) -> list[float | None] | None:
        """Each value divided by that of the baseline; None for a row that is not compared by factors."""
        if not self.is_ratio:
            return None
        base = self.values[0]
        return [None if not value or not base or base < 0 else value / base for value in self.values]


# --- trials ------------------------------------------------------------------------------------------------------


def place_of(key: str, public_id: str) -> tuple[str, int] | None:
    """Return (experiment's ID, number) of `12`, a trial of the experiment `public_id`, or `7f3k2m9q-12`; None for
    anything else."""
    own_id, hyphen, number = key.rpartition("-")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        return None
    if hyphen and not (own_id.isascii() and own_id.isalnum()):
        return None
    return own_id or public_id, int(number)


def metric_names(trials: Sequence[Trial], *, at_most: int = MOST_METRICS) -> list[str]:
    """Return the metrics that the baseline and the longest trial have reported, sorted. Two queries at most."""
    reporting = [trial for trial in trials if trial.last_step is not None]
    longest = max(reporting, key=lambda trial: trial.last_step or 0, default=trials[-1])
    names = {name for trial in {trials[0], longest} for name in Point.names_of(trial.pk, at_most=at_most)}
    return sorted(names)


def last_values(trials: Sequence[Trial], metrics: Sequence[str]) -> dict[tuple[str, int], float | None]:
    """Return the last value of each metric by (name, primary key of the trial). Two queries."""
    rows = Point.objects.filter(trial__in=[trial.pk for trial in trials], name__in=metrics).order_by()
    last_steps = {
        (name, pk): step for pk, name, step in rows.values_list("trial", "name").annotate(last=Max("step"))
    }
    at_ends = rows.filter(step__in=sorted(set(last_steps.values())))
    return {
        (name, pk): value
        for pk, name, step, value in at_ends.values_list("trial", "name", "step", "value")
        if last_steps.get((name, pk)) == step
    }


def result_of(
    trial: Trial, metric: str, last_reported: Mapping[tuple[str, int], float | None]
) -> float | None:
    """Return the final value of a metric, or else the last one that the trial reported."""
    if metric == trial.experiment.metric:
        return trial.last_value if trial.value is None else trial.value
    final = trial.final_metrics.get(metric)
    if isinstance(final, int | float) and not isinstance(final, bool):
        return final
    return last_reported.get((metric, trial.pk))


def result_rows(
    trials: Sequence[Trial], metrics: Sequence[str], last_reported: Mapping[tuple[str, int], float | None]
) -> list[NumberRow]:
    """Return a row per metric: those of `metrics`, and those of the final results."""
    directions: dict[str, set[str]] = {}
    for trial in trials:
        for name, direction in trial.experiment.objectives.items():
            directions.setdefault(name, set()).add(direction)
    finals = list(dict.fromkeys(name for trial in trials for name in trial.final_metrics))[:MOST_METRICS]
    rows = []
    for name in dict.fromkeys([*metrics, *finals]):
        of_name = directions.get(name, set())
        rows.append(
            NumberRow(
                name,
                [result_of(trial, name, last_reported) for trial in trials],
                direction=next(iter(of_name)) if len(of_name) == 1 else "",
                notes=[note_of(trial, name) for trial in trials],
            )
        )
    return rows


def note_of(trial: Trial, metric: str) -> str:
    """Return the word beside the value of an objective of a trial that has no result, or ""."""
    if metric not in trial.experiment.objectives or trial.state == TrialState.SUCCEEDED:
        return ""
    return PARTIAL if trial.is_settled else SO_FAR


def spreads(trials: Sequence[Trial]) -> list[Spread]:
    """Return the spread over the succeeded trials with the same values and command, for each trial. One query."""
    keys = [(trial.experiment_id, trial.values_digest) for trial in trials]
    same = Trial.objects.filter(
        experiment__in={pk for pk, _ in keys},
        values_digest__in={digest for _, digest in keys},
        state=TrialState.SUCCEEDED,
    )
    values: dict[tuple[int, str], list[float]] = {}
    rows = same.order_by().values_list("experiment", "values_digest", "value")
    for pk, digest, result in rows[:MOST_REPLICATES]:
        if result is not None:
            values.setdefault((pk, digest), []).append(result)
    return [Spread.of(values.get(key, [])) for key in keys]


def parameter_types(trials: Iterable[Trial]) -> dict[str, str]:
    """Return the types of the parameters in the search spaces of these trials, by name."""
    types: dict[str, str] = {}
    for trial in trials:
        space = trial.revision.settings.space_document
        types |= {name: str(spec.get("_type")) for name, spec in space.items()}
    return types


def compares_by_factor(type_name: str, values: Iterable[object]) -> bool:
    """Return whether values of a parameter are compared by factors: on a logarithmic scale, or all powers of two."""
    return "log" in type_name or _are_powers_of_two([value for value in values if value is not None])


def _are_powers_of_two(numbers: Iterable[object]) -> bool:
    return all(
        isinstance(number, int)
        and not isinstance(number, bool)
        and number >= 8
        and number & (number - 1) == 0
        for number in numbers
    )


# --- experiments ---------------------------------------------------------------------------------------------------


def replicate_key(settings: Settings) -> str:
    """Return a text that is equal for experiments that are replicates: the settings without those of no effect."""
    document = settings.document()
    for name in OF_NO_EFFECT:
        document.pop(name, None)
    return repr(sorted(document.items()))


def best_steps(experiment: Experiment) -> list[tuple[int, float]]:
    """Return where the best value improved, by trial number. The trace is in the order in which trials ended."""
    steps: list[tuple[int, float]] = []
    for number, value in sorted(experiment.trace):
        if experiment.is_better(value, steps[-1][1] if steps else None):
            steps.append((number, value))
    return steps


def target_of(bests: Iterable[float], base: Experiment) -> float | None:
    """Return the value that every experiment with a result has reached: the weakest of their best values."""
    return (min if base.direction == "maximize" else max)(bests, default=None)


def trials_until(experiment: Experiment, target: float | None) -> int | None:
    """Return the number of the first trial that is at least as good as the target."""
    if target is None:
        return None
    for number, best in best_steps(experiment):
        if not experiment.is_better(target, best):
            return number
    return None
