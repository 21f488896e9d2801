"""CMA-ES with the package `cmaes`, which Optuna's sampler uses too.

The state of the optimizer is not stored; it is replayed from the rows. The attrs of each proposal hold its generation
and, from the second generation on, the numbers of the trials that updated the distribution before it ("judged");
those of the first generation hold the start point. Trials that end late therefore change no earlier decision, and the
database holds no pickles. CMA-ES compares ranks only, so an infeasible trial counts as infinitely bad.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from threading import Lock
from typing import Any

from experiments.search.nested_choice import Parameter, Path
from experiments.search.parameters import Choice
from experiments.search.space import Space, seed_of

from .fitted_past import FittedPast
from .fitted_trial import is_result, may_inform
from .follower import AttrsFollower
from .history import History
from .problem import Past, Problem, Suggestion

Axes = dict[Path, Parameter]

# Optimizers after a generation, by a hash of everything that led there; least recently used are evicted first.
_MAX_STATES = 128
_states: OrderedDict[bytes, Any] = OrderedDict()
_states_lock = Lock()


def axes_of(space: Space) -> Axes:
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
    search = history.follower(Search, stamp, size, arguments["sigma0"], history.sign)
    start, updates = search.updates(history.past, axes)
    if start is None:
        start = _best_shares(history, axes)
    done = search.ended.get(len(updates), [])
    if len(done) >= size:
        updates = [*updates, search.next_update(history.past, axes, start, updates, done[:size])]
    attrs: dict[str, Any] = {"search": stamp, "generation": len(updates)}
    if updates:
        attrs["judged"] = [history.past.stored[place].number for place in updates[-1].places]
    else:
        attrs["start"] = start
    optimizer = search.optimizer(history.past, axes, start, updates)
    optimizer.reseed_rng(seed_of(problem.seed, ordinal))
    shares = dict(zip(axes, (round(u, 12) for u in optimizer.ask().tolist()), strict=True))
    rng = Random(seed_of(problem.seed, ordinal))

    def pick(path: Path, parameter: Parameter) -> object:
        return parameter.quantile(shares[path]) if path in shares else parameter.draw(rng)

    return space.assemble(pick), {"cma": attrs}


def clear_cache() -> None:
    with _states_lock:
        _states.clear()


@dataclass(frozen=True)
class Update:
    """The trials that update the distribution after a generation, by position among the past trials. `key` is a hash of
    everything that led to the distribution."""

    places: list[int]
    key: bytes


class Search(AttrsFollower):
    """The generations of one search. An infeasible trial with a successful rerun stays in the one that it was judged
    in.

    `ended` are the positions of the trials of each generation that are done or infeasible.
    """

    def __init__(self, stamp: str, size: int, sigma: float, sign: int) -> None:
        super().__init__("cma")
        self.ended: dict[int, list[int]] = {}
        self._stamp = stamp
        self._size = size
        self._sigma = sigma
        self._sign = sign
        self._first: dict[int, tuple[int, dict[str, Any]]] = {}  # the first proposal of each generation
        self._places: dict[int, int] = {}  # of the trials in `ended`, by number
        self._start: list[float] | None = None
        self._updates: list[Update] = []
        self._used: dict[int, int] = {}  # the first update with the trial at this position

    def updates(self, past: FittedPast, axes: Axes) -> tuple[list[float] | None, list[Update]]:
        """Return the start point of the search (None before the first proposal), and the updates so far."""
        start = next((attrs["start"] for _, attrs in self._first.values() if "start" in attrs), None)
        if start != self._start:
            self._cut(0)
            self._start = start
        while start is not None and (first := self._first.get(len(self._updates) + 1)):
            places = [self._places[number] for number in first[1]["judged"] if number in self._places]
            if len(places) < self._size:  # some of them were deleted, or fit the space no more
                break
            for place in places:
                self._used.setdefault(place, len(self._updates))
            self._updates.append(self.next_update(past, axes, start, self._updates, places))
        return start, self._updates

    def next_update(
        self, past: FittedPast, axes: Axes, start: list[float], updates: Sequence[Update], places: list[int]
    ) -> Update:
        """Return the next update, by these trials."""
        before = updates[-1].key if updates else self._first_key(start)
        text = repr(self._solutions(past, axes, places))
        return Update(places, hashlib.sha256(before + text.encode()).digest())

    def optimizer(self, past: FittedPast, axes: Axes, start: list[float], updates: Sequence[Update]) -> Any:
        """Return a copy of the optimizer after these updates, for one call of `ask`."""
        import numpy as np
        from cmaes import CMA

        keys = [self._first_key(start), *(update.key for update in updates[-_MAX_STATES:])]
        if len(updates) > _MAX_STATES:
            keys[0] = updates[-_MAX_STATES - 1].key
        with _states_lock:
            cached = next((n for n in range(len(keys) - 1, -1, -1) if keys[n] in _states), None)
            optimizer: Any = _states[keys[cached]] if cached is not None else None
        rest = updates
        if cached is not None:
            rest = updates[len(updates) - (len(keys) - 1 - cached) :]
        else:
            bounds = np.array([[0.0, 1.0]] * len(start))
            optimizer = CMA(
                mean=np.array(start), sigma=self._sigma, bounds=bounds, population_size=self._size, seed=0
            )
        for update in rest:
            # A copy keeps half of the symmetric matrix; copying at every step gives the same state with or without
            # cache.
            optimizer = deepcopy(optimizer)
            solutions = self._solutions(past, axes, update.places)
            optimizer.tell([(np.array(shares), value) for shares, value in solutions])
        optimizer = deepcopy(optimizer)
        with _states_lock:
            _states[keys[-1]] = optimizer
            _states.move_to_end(keys[-1])
            while len(_states) > _MAX_STATES:
                _states.popitem(last=False)
        return deepcopy(optimizer)

    def _first_key(self, start: list[float]) -> bytes:
        return hashlib.sha256(repr((start, self._sigma, self._size)).encode()).digest()

    def _solutions(
        self, past: FittedPast, axes: Axes, places: Sequence[int]
    ) -> list[tuple[list[float], float]]:
        solutions = []
        for place in places:
            trial, loss = past.stored[place], math.inf
            if trial.value is not None and is_result(trial):
                loss = self._sign * trial.value
            solutions.append((_shares(past.leaves_at(place), axes), loss))
        return solutions

    def _add(self, past: FittedPast, place: int, entry: Any) -> None:
        if not self._is_own(past, place, entry):
            return
        generation = entry["generation"]
        self._first.setdefault(generation, (place, entry))
        if _has_ended(past.stored[place]):
            self.ended.setdefault(generation, []).append(place)
            self._places[past.stored[place].number] = place

    def _remove(self, past: FittedPast, place: int, entry: Any) -> None:
        if not self._is_own(past, place, entry):
            return
        generation = entry["generation"]
        if self._first[generation][0] == place:
            del self._first[generation]
            self._cut(max(generation - 1, 0))
        if _has_ended(past.stored[place]):
            self.ended[generation].pop()
            self._places.pop(past.stored[place].number, None)
            if place in self._used:
                self._cut(self._used[place])

    def _is_own(self, past: FittedPast, place: int, entry: Any) -> bool:
        trial = past.stored[place]
        informs = may_inform(trial) or trial.state == "infeasible"
        return informs and past.is_whole(place) and entry.get("search") == self._stamp

    def _cut(self, count: int) -> None:
        """Forget all updates but the first `count`."""
        for update in self._updates[count:]:
            for place in update.places:
                if self._used.get(place, -1) >= count:
                    del self._used[place]
        del self._updates[count:]


def _has_ended(trial: Past) -> bool:
    return is_result(trial) or trial.state == "infeasible"


def _best_shares(history: History, axes: Axes) -> list[float]:
    """Return the start point: the best result so far, of whatever origin, else the middle."""
    best = history.best_first()
    return (
        [min(max(share, 0.01), 0.99) for share in _shares(best[0].leaves, axes)]
        if best
        else [0.5] * len(axes)
    )


def _shares(leaves: Mapping[Path, Any], axes: Axes) -> list[float]:
    return [parameter.share(leaves[path]) for path, parameter in axes.items()]
