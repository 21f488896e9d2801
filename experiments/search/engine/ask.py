"""Propose values for new trials; count what informs the proposals."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from experiments.search.space import seed_of
from experiments.search.validation import filled

from . import cma, history
from .algorithms import ALGORITHMS, Algorithm
from .history import Kept, Seen, kept_of, shuffled
from .problem import Exhausted, Past, Problem, Proposal


def propose(
    problem: Problem, past: Sequence[Past], ordinals: Sequence[int], *, cache_key: str | None = None
) -> list[Proposal]:
    """Propose values for one new trial per ordinal, in order; the same inputs give the same proposals.

    All meet the constraints, and no point of a finite space that a past trial has tried is proposed again. Returns
    fewer proposals when the points run out, and raises Exhausted when not even one is left. `cache_key` (experiment
    and revision) lets a process keep what it made of the past; it never changes what is proposed. Safe in threads.
    """
    algorithm = ALGORITHMS[problem.algorithm]
    arguments = filled(problem.arguments, algorithm.arguments)
    space = problem.space
    view = _seen(problem, kept_of(space, past, cache_key))
    proposals = []
    for ordinal in ordinals:
        if view.is_exhausted:
            break
        raw, attrs = _allowed(algorithm, problem, view, ordinal, arguments)
        if view.has_tried(raw):
            try:
                raw = space.point(view.next_untried(shuffled(space.size, problem.seed)))
            except Exhausted:
                break
        shown = space.shown(raw)
        view.add(Past(ordinal, 0, raw, space.key(shown), "running", None, attrs))
        proposals.append(Proposal(ordinal, raw, shown, attrs))
    if ordinals and not proposals:
        said = f"All {space.size} points of the search space have been tried."
        raise Exhausted(said if view.is_exhausted else "Nothing new was found that meets the constraints.")
    return proposals


def _allowed(
    algorithm: Algorithm, problem: Problem, view: Seen, ordinal: int, arguments: dict
) -> tuple[dict, dict]:
    """Return what the algorithm suggests: asked with another seed each time until that meets the constraints, then
    drawn at random. Its own part of the last suggestion stays with it: there it would have gone."""
    space, attrs = problem.space, {}
    for attempt in range(algorithm.redraws):
        asked = (
            replace(problem, seed=seed_of(seed_of(problem.seed, ordinal), attempt)) if attempt else problem
        )
        try:
            raw, attrs = algorithm.suggest(asked, view, ordinal, arguments)
        except Exhausted:  # a grid that looked far without an end
            break
        if space.allows(space.shown(raw)):
            return raw, attrs
    return space.draw(Random(seed_of(problem.seed, ordinal))), attrs


def learns(algorithm: str) -> bool:
    """Does this algorithm look at results? An unknown one does not: `propose` refuses it."""
    return algorithm in ALGORITHMS and ALGORITHMS[algorithm].start_up is not None


def informs(problem: Problem, past: Sequence[Past]) -> int:
    """Count the finished trials that inform the next proposal: none for an algorithm that does not learn."""
    return len(_seen(problem, kept_of(problem.space, past, None)).best_first())


def outside(problem: Problem, past: Sequence[Past]) -> int:
    """Count the finished trials that do not fit the search space whole."""
    return sum(kept.is_done and not kept.is_whole for kept in kept_of(problem.space, past, None))


def forget() -> None:
    """Forget what this process made of the past of any experiment, as a new one would begin."""
    history.forget()
    cma.forget()


def _seen(problem: Problem, kept: list[Kept]) -> Seen:
    algorithm = ALGORITHMS[problem.algorithm]
    start_up = None
    if algorithm.start_up is not None:
        start_up = algorithm.start_up(filled(problem.arguments, algorithm.arguments))
    return Seen(problem, kept, start_up=start_up, takes_parts=algorithm.takes_parts)
