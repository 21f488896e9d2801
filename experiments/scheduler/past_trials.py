"""The trials of an experiment as its search sees them: done, infeasible, void, running or only suggested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from django.db.models import F

from experiments.models import Experiment, Suggestion, Trial, plain_sql, status
from experiments.models.warm_start import results as warm_results
from experiments.scheduler.experiment_cache import ExperimentCache, cache_of
from experiments.search import starting_points
from experiments.search.engine import PastTrial
from experiments.search.space import Space

CHUNK = 2000
# What `_past_trial` reads.
_COLUMNS = (
    "id",
    "number",
    "ordinal",
    "state",
    "failure",
    "params",
    "raw",
    "sampler_attrs",
    "value",
    "final_metrics",
    "settled_rank",
)
_KEY, _OTHER_KEY = -1_000_000_007, -1_000_000_009
_suggestions = plain_sql.RowStatement(
    Suggestion,
    lambda experiment, revision: Suggestion.objects.filter(experiment=experiment, revision=revision),
    experiment=_KEY,
    revision=_OTHER_KEY,
)
_active = plain_sql.RowStatement(
    Trial,
    # By number alone, SQLite would scan all trials.
    lambda experiment: Trial.objects.filter(experiment=experiment, state__in=status.TRIAL_ACTIVE).order_by(
        "state", "number"
    ),
    names=_COLUMNS,
    experiment=_KEY,
)
_settled = plain_sql.RowStatement(
    Trial,
    lambda experiment, last_rank: (
        Trial.objects.filter(experiment=experiment, settled_rank__gt=last_rank)
        .order_by("settled_rank")
        .annotate(again_of=F("rerun_of__number"))[:CHUNK]
    ),
    names=_COLUMNS,
    annotations=("again_of",),
    experiment=_KEY,
    last_rank=_OTHER_KEY,
)


def past_trials(experiment: Experiment) -> list[PastTrial]:
    """Return the past trials by number: settled, active and suggested. A process reads settled trials only once."""
    cache = cache_of(experiment)
    space = experiment.settings.space
    # In lifecycle order: a trial whose state changes between two queries is seen twice, never missed.
    suggestions = _suggestions.objects(experiment=experiment.pk, revision=experiment.revision_id)
    active = _active.objects(experiment=experiment.pk)
    for trial in _newly_settled(experiment, cache):
        trial.experiment = experiment
        cache.settled.add(_past_trial(trial, space))
        again_of = trial.again_of  # type: ignore[attr-defined]  # an annotation
        first = cache.settled.get(again_of) if trial.informs else None
        if first and first.state == "infeasible":
            cache.settled.add(replace(first, is_retried=True))
    for trial in active:
        trial.experiment = experiment
    running = [_past_trial(trial, space) for trial in active]
    tried = cache.settled.with_others(running)
    if not experiment.settings.avoid_failing_regions:
        tried = [_without_failure(past_trial) for past_trial in tried]
    enqueued = {trial.ordinal for trial in running}
    suggested = [
        PastTrial(
            ordinal=suggestion.ordinal,
            number=starting_points.UNNUMBERED + suggestion.ordinal,
            raw=suggestion.raw,
            key=space.key(suggestion.params),
            state="running",
            value=None,
            attrs=suggestion.attrs,
        )
        for suggestion in suggestions
        if suggestion.ordinal not in enqueued and suggestion.ordinal not in cache.settled.ordinals
    ]
    return [*_warm(experiment, cache), *tried, *suggested]


def _newly_settled(experiment: Experiment, cache: ExperimentCache) -> Iterator[Trial]:
    """Yield the trials settled since the last call, in the order in which they were settled."""
    while True:
        trials = _settled.objects(experiment=experiment.pk, last_rank=cache.last_rank)
        yield from trials
        if trials:
            cache.last_rank = trials[-1].settled_rank or cache.last_rank
        if len(trials) < CHUNK:
            return


def _warm(experiment: Experiment, cache: ExperimentCache) -> list[PastTrial]:
    """Return the results of the warm start, which come before the first trial."""
    reference, space = experiment.settings.warm_start, experiment.settings.space
    if reference and (reference, space) not in cache.warm:
        results = warm_results(experiment, reference, space)
        cache.warm[reference, space] = [
            PastTrial(ordinal=None, number=number, raw={}, key=space.key(params), state="done", value=value)
            for number, (params, value) in enumerate(results, start=-len(results))
        ]
    return cache.warm.get((reference, space), [])


def _past_trial(trial: Trial, space: Space) -> PastTrial:
    further = _further_values(trial)
    if trial.informs and further is not None:
        state = "done"
    elif trial.is_infeasible:
        state = "infeasible"
    else:
        state = "void" if trial.is_settled else "running"
    return PastTrial(
        ordinal=trial.ordinal,
        number=trial.number,
        raw=trial.raw or {},
        key=space.key(trial.params),
        state=state,
        value=trial.value if state == "done" else None,
        attrs=trial.sampler_attrs,
        further_values=further or () if state == "done" else (),
    )


def _further_values(trial: Trial) -> tuple[float, ...] | None:
    """Return the values of the further objectives; () if the experiment has none; None if one is missing."""
    if not trial.experiment.further_objectives:
        return ()
    values = trial.objective_values
    return None if values is None else tuple(values[1:])


def _without_failure(past: PastTrial) -> PastTrial:
    """Return a failed trial without its failure, for a search that does not avoid failing regions."""
    return replace(past, state="void") if past.state == "infeasible" else past
