"""CMA-ES, by the package `cmaes`, which Optuna's sampler uses too.

The state of the search is not stored: it is replayed from the rows. Each proposal notes its generation and, from the
second generation on, the numbers of the trials that the generation before was judged by; those of the first note
where it starts. So trials that end late change nothing that was decided, and no pickle lies in the database.
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

from .history import Kept, Seen
from .problem import Problem

# Searches as they stood after a generation, by all that led there; the longest unused go first.
_MOST_STATES = 128
_states: OrderedDict[bytes, Any] = OrderedDict()
_states_lock = Lock()


def axes_of(space: Space) -> dict[Path, Parameter]:
    """Return the numbers of a space that has any to search: CMA-ES knows no order among choices."""
    return {
        path: parameter
        for path, parameter in space.every_leaf()
        if not isinstance(parameter, Choice) and parameter.count != 1
    }


def by_cma_es(problem: Problem, seen: Seen, ordinal: int, arguments: dict) -> tuple[dict, dict]:
    """Draw from the current generation's distribution; choices are drawn at random.

    Hansen, "The CMA Evolution Strategy: A Tutorial" (arXiv:1604.00772). It works on shares of the draws, so that
    logarithms and normals are searched on their own scale.
    """
    space = problem.space
    axes = axes_of(space)
    if not axes:  # refused when it is chosen; an edit that lost a race with the check may still lead here
        return space.draw(Random(seed_of(problem.seed, ordinal))), {}
    size = arguments["population_size"] or 4 + int(3 * math.log(len(axes)))
    stamp = f"{space.digest}-{size}-{arguments['sigma0']:g}"
    mine = [one for one in seen.informing if one.past.attrs.get("cma", {}).get("search") == stamp]
    start, judged = _history(mine, size)
    if start is None:
        start = _best_shares(seen, axes)
    generation = len(judged)
    done = [one for one in mine if one.is_done and one.past.attrs["cma"]["generation"] == generation]
    attrs = {"search": stamp, "generation": generation}
    if len(done) >= size:
        judged.append(done[:size])
        attrs["generation"] += 1
    if judged:
        attrs["judged"] = [one.past.number for one in judged[-1]]
    else:
        attrs["start"] = start
    solutions = [[(_shares(one, axes), seen.sign * one.past.value) for one in some] for some in judged]
    optimizer = _replayed(start, arguments["sigma0"], size, solutions)
    optimizer.reseed_rng(seed_of(problem.seed, ordinal))
    shares = dict(zip(axes, (round(u, 12) for u in optimizer.ask().tolist()), strict=True))
    rng = Random(seed_of(problem.seed, ordinal))

    def pick(path: Path, parameter: Parameter) -> object:
        return parameter.quantile(shares[path]) if path in shares else parameter.draw(rng)

    return space.assemble(pick), {"cma": attrs}


def forget() -> None:
    """Forget how any search stood."""
    with _states_lock:
        _states.clear()


def _history(mine: list[Kept], size: int) -> tuple[list[float] | None, list[list[Kept]]]:
    """Return where the search started (None: not yet), and by which trials each generation was judged."""
    by_number = {one.past.number: one for one in mine if one.is_done}
    first: dict[int, dict] = {}  # the first proposal of each generation
    for one in mine:
        first.setdefault(one.past.attrs["cma"]["generation"], one.past.attrs["cma"])
    start = next((attrs["start"] for attrs in first.values() if "start" in attrs), None)
    judged: list[list[Kept]] = []
    while start is not None and (attrs := first.get(len(judged) + 1)):
        by = [by_number[number] for number in attrs["judged"] if number in by_number]
        if len(by) < size:  # not all of them are there any more
            break
        judged.append(by)
    return start, judged


def _best_shares(seen: Seen, axes: dict[Path, Parameter]) -> list[float]:
    """Start at the best result so far, of whatever origin, else in the middle."""
    best = seen.best_first()[:1]
    return [min(max(share, 0.01), 0.99) for share in _shares(best[0], axes)] if best else [0.5] * len(axes)


def _shares(one: Kept, axes: dict[Path, Parameter]) -> list[float]:
    return [parameter.share(one.leaves[path]) for path, parameter in axes.items()]


def _replayed(
    start: list[float], sigma: float, size: int, solutions: list[list[tuple[list[float], float]]]
) -> Any:
    """Return the search as it stands after these generations, to be asked and thrown away."""
    import numpy as np
    from cmaes import CMA

    keys = [hashlib.sha256(repr((start, sigma, size)).encode()).digest()]
    for generation in solutions:
        keys.append(hashlib.sha256(keys[-1] + repr(generation).encode()).digest())
    with _states_lock:
        known = next((n for n in range(len(solutions), -1, -1) if keys[n] in _states), None)
        optimizer = _states[keys[known]] if known is not None else None
    if optimizer is None:
        known, bounds = 0, np.array([[0.0, 1.0]] * len(start))
        optimizer = CMA(mean=np.array(start), sigma=sigma, bounds=bounds, population_size=size, seed=0)
    for generation in solutions[known:]:
        # A copy keeps half of the symmetric matrix: copied at every step, it is the same whoever remembers what.
        optimizer = deepcopy(optimizer)
        optimizer.tell([(np.array(shares), value) for shares, value in generation])
    optimizer = deepcopy(optimizer)
    with _states_lock:
        _states[keys[-1]] = optimizer
        _states.move_to_end(keys[-1])
        while len(_states) > _MOST_STATES:
            _states.popitem(last=False)
    return deepcopy(optimizer)
