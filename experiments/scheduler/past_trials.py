"""The trials of an experiment as its search sees them: done, infeasible, void, running or only suggested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Case, F, Q, TextField, Value, When
from django.db.models.functions import NullIf

from experiments.models import Experiment, Suggestion, Trial, TrialState, plain_sql, status
from experiments.models.trial.base import is_number
from experiments.models.trial.outcome import OWN_FAILURES
from experiments.models.warm_start import results as warm_results
from experiments.scheduler.experiment_cache import ExperimentCache, cache_of
from experiments.search import starting_points
from experiments.search.engine import Past, PastTrial, StoredTrial
from experiments.search.json_documents import parse_all

CHUNK = 5000  # settled trials of one query
_INFORMS = Q(state__in=status.TRIAL_INFORMS, value__isnull=False)
# The columns of `_stored`. What most trials have in common is left to the database to recognize: None for a result, for
# equal documents, and for empty ones.
_COLUMNS = (
    "number",
    "ordinal",
    "raw",
    NullIf("params", "raw", output_field=TextField()),
    "value",
    Case(
        When(_INFORMS, then=None),
        When(state=TrialState.FAILED, failure__in=OWN_FAILURES, then=Value("infeasible")),
        When(state__in=status.TRIAL_SETTLED, then=Value("void")),
        default=Value("running"),
    ),
    NullIf("sampler_attrs", Value("{}"), output_field=TextField()),
    "settled_rank",
    F("rerun_of__number"),
)
_STATE, _RANK, _RERUN_OF = 5, 7, 8
_KEY, _OTHER_KEY = -1_000_000_007, -1_000_000_009
_suggestions = plain_sql.RowStatement(
    Suggestion,
    lambda experiment, revision: Suggestion.objects.filter(experiment=experiment, revision=revision),
    experiment=_KEY,
    revision=_OTHER_KEY,
)


def _statements(*, with_metrics: bool) -> tuple[plain_sql.Statement, plain_sql.Statement]:
    """Return the statements of active trials, and of trials settled after another one."""
    columns = (*_COLUMNS, "final_metrics") if with_metrics else _COLUMNS
    active = plain_sql.Statement(
        # By number alone, SQLite would scan all trials.
        lambda experiment: (
            Trial.objects.filter(experiment=experiment, state__in=status.TRIAL_ACTIVE)
            .order_by("state", "number")
            .values_list(*columns)
        ),
        experiment=_KEY,
    )
    settled = plain_sql.Statement(
        lambda experiment, last_rank: (
            Trial.objects.filter(experiment=experiment, settled_rank__gt=last_rank)
            .order_by("settled_rank")
            .values_list(*columns)[:CHUNK]
        ),
        experiment=_KEY,
        last_rank=_OTHER_KEY,
    )
    return active, settled


_of_one_objective = _statements(with_metrics=False)
_of_several_objectives = _statements(with_metrics=True)


def past_trials(experiment: Experiment) -> list[Past]:
    """Return the past trials by number: settled, active and suggested. A process reads settled trials only once."""
    cache = cache_of(experiment)
    space = experiment.settings.space
    further = tuple(experiment.further_objectives)
    active, settled = _of_several_objectives if further else _of_one_objective
    # In lifecycle order: a trial whose state changes between two queries is seen twice, never missed.
    suggestions = _suggestions.objects(experiment=experiment.pk, revision=experiment.revision_id)
    running = _stored(active.rows(experiment=experiment.pk), further)
    _read_settled(experiment, cache, settled, further)
    tried = cache.settled.with_others(running)
    if not experiment.settings.avoid_failing_regions:
        tried = [trial._replace(state="void") if trial.state == "infeasible" else trial for trial in tried]
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


def _read_settled(
    experiment: Experiment, cache: ExperimentCache, statement: plain_sql.Statement, further: Sequence[str]
) -> None:
    """Add the trials settled since the last call to the cache."""
    while True:
        rows = statement.rows(experiment=experiment.pk, last_rank=cache.last_rank)
        cache.settled.add(_stored(rows, further))
        for row in rows:
            if row[_RERUN_OF] is not None and row[_STATE] is None:
                cache.settled.note_retried(row[_RERUN_OF])
        if rows:
            cache.last_rank = rows[-1][_RANK]
        if len(rows) < CHUNK:
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


def _stored(rows: Sequence[tuple], further: Sequence[str]) -> list[StoredTrial]:
    """Return trials of rows of `_COLUMNS`, and of the final metrics if there are `further` objectives."""
    if not further:
        return [
            StoredTrial(
                ordinal, number, raw or "{}", shown or raw, state or "done", None if state else value, attrs
            )
            for number, ordinal, raw, shown, value, state, attrs, _, _ in rows
        ]
    trials = []
    all_metrics = parse_all([row[-1] for row in rows])
    for (number, ordinal, raw, shown, value, state, attrs, *_), metrics in zip(
        rows, all_metrics, strict=True
    ):
        values = () if state else _further_values(metrics, further)
        seen = state or ("void" if values is None else "done")
        trials.append(
            StoredTrial(
                ordinal,
                number,
                raw or "{}",
                shown or raw,
                seen,
                value if seen == "done" else None,
                attrs,
                further_values=values or (),
            )
        )
    return trials


def _further_values(metrics: dict[str, Any], names: Sequence[str]) -> tuple[float, ...] | None:
    """Return the values of the further objectives; None if one is missing."""
    values: list[Any] = [metrics.get(name) for name in names]
    return tuple(map(float, values)) if all(map(is_number, values)) else None
