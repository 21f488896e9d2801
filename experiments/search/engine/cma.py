"""CMA-ES with the package `cmaes`, which Optuna's sampler uses too.

The state of the optimizer is not stored; it is replayed from the rows. The attrs of each proposal hold its generation
and, from the second generation on, the numbers of the trials that updated the distribution before it ("judged");
those of the first generation hold the start point. Trials that end late therefore change no earlier decision, and the
database holds no pickles. CMA-ES compares ranks only, so an infeasible trial counts as infinitely bad.
"""

import hashlib
import math
from collections import OrderedDict
from copy import deepcopy
from random import Random
from threading import Lock
from typing import Any

from experiments.search.nested_choice import Parameter, Path
from experiments.search.parameters import Choice
from experiments.search.space import Space, seed_of

from .fitted_trial import FittedTrial
from .history import History
from .problem import Problem, Suggestion

# Optimizers after a generation, by a hash of everything that led there; least recently used are evicted first.
_MAX_STATES = 128
_states: OrderedDict[bytes, Any] = OrderedDict()
_states_lock = Lock()


def axes_of(space: Space) -> dict[Path, Parameter]:
    """Return the numeric parameters with more than one value: CMA-ES cannot order choices."""
    return {
        path: parameter
        for path, parameter in space.every_leaf()
        if not isinstance(parameter, Choice) and parameter.count != 1
    }


def by_cma_es(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    """Draw from the current generation's distribution; choices are drawn at random.

    The search works on the cumulative probabilities of the parameters' distributions, so that logarithmic and normal
    parameters are searched on their own scale.

    Source: Hansen, "The CMA Evolution Strategy: A Tutorial" (arXiv:1604.00772).
    """
    space = problem.space
    axes = axes_of(space)
    if not axes:  # check_algorithm refuses this; an edit that raced with the check may still get here
        return space.draw(Random(seed_of(problem.seed, ordinal))), {}
    size = arguments["population_size"] or 4 + int(3 * math.log(len(axes)))
    stamp = f"{space.digest}-{size}-{arguments['sigma0']:g}"
    # An infeasible trial with a successful rerun stays in the generation that it was judged in.
    own_trials = [
        trial
        for trial in history.with_attrs()
        if trial.is_whole
        and (trial.may_inform or trial.is_infeasible)
        and trial.attrs.get("cma", {}).get("search") == stamp
    ]
    start, generations = _generations(own_trials, size)
    if start is None:
        start = _best_shares(history, axes)
    generation = len(generations)
    done = [
        trial
        for trial in own_trials
        if (trial.is_done or trial.is_infeasible) and trial.attrs["cma"]["generation"] == generation
    ]
    if len(done) >= size:
        generations.append(done[:size])
        generation += 1
    attrs: dict[str, Any] = {"search": stamp, "generation": generation}
    if generations:
        attrs["judged"] = [trial.past.number for trial in generations[-1]]
    else:
        attrs["start"] = start
    solutions = [
        [
            (_shares(trial, axes), history.sign * trial.value if trial.is_done else math.inf)
            for trial in trials
        ]
        for trials in generations
    ]
    optimizer = _replayed(start, arguments["sigma0"], size, solutions)
    optimizer.reseed_rng(seed_of(problem.seed, ordinal))
    shares = dict(zip(axes, (round(u, 12) for u in optimizer.ask().tolist()), strict=True))
    rng = Random(seed_of(problem.seed, ordinal))

    def pick(path: Path, parameter: Parameter) -> object:
        return parameter.quantile(shares[path]) if path in shares else parameter.draw(rng)

    return space.assemble(pick), {"cma": attrs}


def clear_cache() -> None:
    with _states_lock:
        _states.clear()


def _generations(
    own_trials: list[FittedTrial], size: int
) -> tuple[list[float] | None, list[list[FittedTrial]]]:
    """Return the start point of the search (None before the first proposal), and the trials that updated the
    distribution after each generation."""
    by_number = {trial.past.number: trial for trial in own_trials if trial.is_done or trial.is_infeasible}
    first: dict[int, dict[str, Any]] = {}  # the attrs of the first proposal of each generation
    for trial in own_trials:
        first.setdefault(trial.attrs["cma"]["generation"], trial.attrs["cma"])
    start = next((attrs["start"] for attrs in first.values() if "start" in attrs), None)
    generations: list[list[FittedTrial]] = []
    while start is not None and (attrs := first.get(len(generations) + 1)):
        trials = [by_number[number] for number in attrs["judged"] if number in by_number]
        if len(trials) < size:  # some of them were deleted, or fit the space no more
            break
        generations.append(trials)
    return start, generations


def _best_shares(history: History, axes: dict[Path, Parameter]) -> list[float]:
    """Return the start point: the best result so far, of whatever origin, else the middle."""
    best = history.best_first()[:1]
    return [min(max(share, 0.01), 0.99) for share in _shares(best[0], axes)] if best else [0.5] * len(axes)


def _shares(trial: FittedTrial, axes: dict[Path, Parameter]) -> list[float]:
    return [parameter.share(trial.leaves[path]) for path, parameter in axes.items()]


def _replayed(
    start: list[float], sigma: float, size: int, solutions: list[list[tuple[list[float], float]]]
) -> Any:
    """Return a copy of the optimizer after these generations, for one call of `ask`."""
    import numpy as np
    from cmaes import CMA

    keys = [hashlib.sha256(repr((start, sigma, size)).encode()).digest()]
    for generation in solutions:
        keys.append(hashlib.sha256(keys[-1] + repr(generation).encode()).digest())
    with _states_lock:
        cached = next((n for n in range(len(solutions), -1, -1) if keys[n] in _states), None)
        optimizer = _states[keys[cached]] if cached is not None else None
    if optimizer is None:
        bounds = np.array([[0.0, 1.0]] * len(start))
        optimizer = CMA(mean=np.array(start), sigma=sigma, bounds=bounds, population_size=size, seed=0)
    for generation in solutions[cached or 0 :]:
        # A copy keeps half of the symmetric matrix; copying at every step gives the same state with or without cache.
        optimizer = deepcopy(optimizer)
        optimizer.tell([(np.array(shares), value) for shares, value in generation])
    optimizer = deepcopy(optimizer)
    with _states_lock:
        _states[keys[-1]] = optimizer
        _states.move_to_end(keys[-1])
        while len(_states) > _MAX_STATES:
            _states.popitem(last=False)
    return deepcopy(optimizer)
