"""Propose values for new trials; count the trials that inform the proposals."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from experiments.search.space import seed_of
from experiments.search.validation import with_defaults

from . import cma, tried_keys
from . import fitted_past as fitted_past_cache
from .algorithms import ALGORITHMS, Algorithm
from .fitted_past import FittedPast, fitted_past
from .fitted_trial import is_result
from .history import History, permutation
from .problem import Exhausted, Past, PastTrial, Problem, Proposal, Suggestion


def propose(
    problem: Problem, past: Sequence[Past], ordinals: Sequence[int], *, cache_key: str | None = None
) -> list[Proposal]:
    """Return proposals for one new trial per ordinal, in order; the same inputs give the same proposals.

    All proposals meet the constraints, and no point of a finite space that a past trial has tried is proposed again.
    Return fewer proposals when the points run out; raise Exhausted when none is left. `cache_key` (experiment and
    revision) lets the process cache the fitted past; it never changes the proposals. Thread-safe.
    """
    if not needs_past(problem):
        past, cache_key = [], None
    with fitted_past(problem.space, past, cache_key) as fitted:
        history = _history(problem, fitted)
        proposals = list(_proposals(problem, history, ordinals))
        if ordinals and not proposals:
            all_tried = f"All {problem.space.size:,} points in the search space have been tried."
            raise Exhausted(
                all_tried if history.is_exhausted else "Found no untried point that meets the constraints."
            )
        return proposals


def _proposals(problem: Problem, history: History, ordinals: Sequence[int]) -> Iterator[Proposal]:
    """Yield a proposal for each ordinal, and add it to the history, until the points run out."""
    algorithm = ALGORITHMS[problem.algorithm]
    arguments = with_defaults(problem.arguments, algorithm.arguments)
    space = problem.space
    for ordinal in ordinals:
        if history.is_exhausted:
            return
        raw, attrs = _allowed_suggestion(algorithm, problem, history, ordinal, arguments)
        if space.size is not None and history.has_tried(raw):
            try:
                raw = space.point(history.next_untried(permutation(space.size, problem.seed)))
            except Exhausted:
                return
        shown = space.shown(raw)
        history.add(PastTrial(ordinal, 0, raw, space.key(shown), "running", None, attrs))
        yield Proposal(ordinal, raw, shown, attrs)


def _allowed_suggestion(
    algorithm: Algorithm, problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]
) -> Suggestion:
    """Return the algorithm's suggestion (raw values, attrs) that meets the constraints.

    Retry with another seed each time; after the last attempt draw the values at random, but keep the attrs of the
    last suggestion, so that the algorithm still counts it.
    """
    space = problem.space
    attrs: dict[str, Any] = {}
    for attempt in range(algorithm.redraws):
        retry = (
            replace(problem, seed=seed_of(seed_of(problem.seed, ordinal), attempt)) if attempt else problem
        )
        try:
            raw, attrs = algorithm.suggest(retry, history, ordinal, arguments)
        except Exhausted:  # a grid that gave up after many points that break the constraints
            break
        if space.allows(space.shown(raw)):
            return raw, attrs
    return space.draw(Random(seed_of(problem.seed, ordinal))), attrs


def needs_past(problem: Problem) -> bool:
    """Return whether proposals depend on past trials. In a finite space all do: no point is proposed twice."""
    return problem.space.size is not None or ALGORITHMS[problem.algorithm].uses_past(problem.space)


def is_exhausted(problem: Problem, past: Sequence[Past], *, cache_key: str | None = None) -> bool:
    """Return whether past trials have tried every point of a finite space. False where its points are not counted."""
    if problem.space.size is None:
        return False
    with fitted_past(problem.space, past, cache_key) as fitted:
        return _history(problem, fitted).is_exhausted


def learns_from_results(algorithm: str) -> bool:
    """Return whether this algorithm uses results. False for unknown algorithms, which `propose` refuses."""
    return algorithm in ALGORITHMS and ALGORITHMS[algorithm].start_up is not None


def count_informing(problem: Problem, past: Sequence[Past]) -> int:
    """Return how many finished trials inform the next proposal: 0 for an algorithm that does not learn."""
    with fitted_past(problem.space, past, None) as fitted:
        return _history(problem, fitted).results_count


def count_outside(problem: Problem, past: Sequence[Past]) -> int:
    """Return how many finished trials do not fit the search space completely."""
    with fitted_past(problem.space, past, None) as fitted:
        return sum(map(is_result, fitted.stored)) - fitted.whole_results


def clear_caches() -> None:
    """Drop the caches of this process, so that it is in the state of a new one."""
    fitted_past_cache.clear_cache()
    cma.clear_cache()
    tried_keys.clear_cache()


def _history(problem: Problem, fitted: FittedPast) -> History:
    algorithm = ALGORITHMS[problem.algorithm]
    start_up = None
    if algorithm.start_up is not None:
        start_up = algorithm.start_up(with_defaults(problem.arguments, algorithm.arguments))
    return History(problem, fitted, start_up=start_up, takes_parts=algorithm.takes_parts)
