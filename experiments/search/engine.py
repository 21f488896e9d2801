"""Ask for the next trials: the only file that imports Optuna.

The rows of an experiment are the truth; an in-memory Optuna study is rebuilt from them for every proposal,
under the current search space, in number order, running trials included. So the same rows give the same
proposals, whoever asks. A new algorithm is a function and an entry in ALGORITHMS.

Which trials inform: finished ones that fit the current space whole. While fewer of those exist than the
sampler needs to start, a trial that fits in part informs too, with the parameters that fit; it leaves when
there are enough, because Optuna samples jointly only the parameters that all its trials share. What counts as
fitting is what the trial ran with: when rounding has changed since, the shown value replaces the raw one.
"""

import json
import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from itertools import count
from random import Random
from threading import Lock
from typing import Any

from .checks import Argument, Fault, check_arguments, filled, nearest
from .parameters import EDGE, NOTHING, Choice, Normal, Parameter, Randint, identity
from .space import Space, seed_of


@dataclass(frozen=True)
class Problem:
    """What is searched and how. `direction` is "minimize" or "maximize"; `arguments` are the algorithm's."""

    space: Space
    algorithm: str
    arguments: dict
    seed: int
    direction: str


@dataclass(frozen=True)
class Past:
    """A trial, or a proposal that is to become one, as the search sees it.

    `state` is "running" (proposed, waiting or running), "done" (its value informs) or "void" (tried, but does
    not inform). `number` gives the order, below zero for results of other experiments, which inform and count as
    tried for no point; `key` is `Space.key` of what was shown, by the space of that time.
    Trials that no algorithm proposed (reruns, values by hand) have no ordinal.
    """

    ordinal: int | None
    number: int
    raw: dict
    key: str
    state: str
    value: float | None
    attrs: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """Values for one new trial: raw to keep, shown to run with, attrs for what a sampler must remember."""

    ordinal: int
    raw: dict
    shown: dict
    attrs: dict


class Exhausted(Exception):
    """Every point of a finite search space has been tried."""


@dataclass(frozen=True)
class Algorithm:
    """How to suggest raw values. `start_up` gives the results it needs to start; None: it looks at none."""

    summary: str
    suggest: "Callable[[Problem, _Seen, int], dict]"
    arguments: tuple[Argument, ...] = ()
    start_up: Callable[[dict], int] | None = None
    is_for_finite: bool = False


def check_algorithm(name: str, arguments: dict, space: Space) -> list[Fault]:
    """Say what is wrong with this choice of algorithm for this space."""
    if name not in ALGORITHMS:
        hint = nearest(name, ALGORITHMS) or f" Use one of {', '.join(ALGORITHMS)}."
        return [Fault("algorithm", f"There is no algorithm called {str(name)[:40]!r}.{hint}")]
    algorithm = ALGORITHMS[name]
    faults = check_arguments(arguments, algorithm.arguments)
    if not faults and name == "TPE" and arguments.get("group") and arguments.get("multivariate") is False:
        faults.append(Fault("group", "group works only with multivariate; switch multivariate on."))
    endless = [f"{p.name} ({p.type})" for p in space.parameters if p.count is None]
    if algorithm.is_for_finite and endless:
        sentence = (
            f"{name} tries every combination, and there is no end of values for {', '.join(endless)}. "
            "Use choice, randint or quniform there, or choose TPE or Random."
        )
        faults.append(Fault("algorithm", sentence))
    return faults


def propose(
    problem: Problem, past: Sequence[Past], ordinals: Sequence[int], *, cache_key: str | None = None
) -> list[Proposal]:
    """Propose values for one new trial per ordinal, in order; the same inputs give the same proposals.

    No point of a finite space that a past trial has tried is proposed again. Returns fewer proposals when
    the points run out, and raises Exhausted when not even one is left. `cache_key` (experiment and revision)
    lets a process keep what it made of the past; it never changes what is proposed. Safe in threads.
    """
    algorithm = ALGORITHMS[problem.algorithm]
    space = problem.space
    seen = _Seen(problem, _kept(space, past, cache_key))
    proposals = []
    for ordinal in ordinals:
        if seen.is_exhausted:
            break
        raw = algorithm.suggest(problem, seen, ordinal)
        if seen.has_tried(raw):
            raw = space.point(seen.next_untried(_shuffled(space.size, problem.seed)))
        shown = space.shown(raw)
        seen.add(Past(ordinal, 0, raw, space.key(shown), "running", None))
        proposals.append(Proposal(ordinal, raw, shown, {}))
    if ordinals and not proposals:
        raise Exhausted(f"All {space.size} points of the search space have been tried.")
    return proposals


def informs(problem: Problem, past: Sequence[Past]) -> int:
    """Count the finished trials that inform the next proposal: none for an algorithm that does not learn."""
    if ALGORITHMS[problem.algorithm].start_up is None:
        return 0
    seen = _Seen(problem, _kept(problem.space, past, None))
    return sum(kept.is_done for kept in seen.informing)


def outside(problem: Problem, past: Sequence[Past]) -> int:
    """Count the finished trials that do not fit the search space whole."""
    return sum(kept.is_done and not kept.is_whole for kept in _kept(problem.space, past, None))


def _suggest_by_tpe(problem: Problem, seen: "_Seen", ordinal: int) -> dict:
    arguments = filled(problem.arguments, ALGORITHMS["TPE"].arguments)
    # One seed per proposal: the sampler is new each time and would else draw the same numbers again.
    sampler = _optuna().samplers.TPESampler(**arguments, seed=seed_of(problem.seed, ordinal))
    return _ask(problem, seen, sampler)


def _suggest_at_random(problem: Problem, seen: "_Seen", ordinal: int) -> dict:
    return problem.space.draw(Random(seed_of(problem.seed, ordinal)))


def _suggest_next_of_grid(problem: Problem, seen: "_Seen", ordinal: int) -> dict:
    return problem.space.point(seen.next_untried(lambda step: step))


ALGORITHMS: dict[str, Algorithm] = {
    "TPE": Algorithm(
        "Learns from the results where good values lie; a sound choice for most experiments.",
        _suggest_by_tpe,
        (
            Argument(
                "n_startup_trials", int, 10, "Results to collect at random before it learns.", 0, 100000
            ),
            Argument("n_ei_candidates", int, 24, "Candidates weighed for each proposal.", 1, 10000),
            Argument("multivariate", bool, True, "Look at the parameters together, not one by one."),
            Argument("group", bool, False, "Look together at those parameters that trials have in common."),
            Argument("constant_liar", bool, True, "Keep away from the values of running trials."),
        ),
        start_up=lambda arguments: arguments["n_startup_trials"],
    ),
    "Random": Algorithm("Draws every trial at random, whatever the results.", _suggest_at_random),
    "GridSearch": Algorithm(
        "Tries every combination in order; every parameter must have a finite list of values.",
        _suggest_next_of_grid,
        is_for_finite=True,
    ),
}


class _Kept:
    """A past trial as it looks in the current space: what of it fits, and its Optuna form."""

    def __init__(self, space: Space, past: Past) -> None:
        self.space = space
        self.past = past
        self.raw, self.is_whole = _fitting(space, past)
        self.index = space.index(self.raw) if self.is_whole and space.size is not None else None
        if past.number < 0:  # of another experiment: it informs, and has not been tried here
            self.index = None
        self.is_done = past.state == "done" and past.value is not None and math.isfinite(past.value)

    @property
    def may_inform(self) -> bool:
        return bool(self.raw) and (self.is_done or self.past.state == "running")

    @cached_property
    def trial(self) -> Any:
        """The trial as Optuna's, with the parameters that fit."""
        states = _optuna().trial.TrialState
        distributions = _distributions(self.space)
        fitting = [p for p in self.space.parameters if p.name in self.raw]
        return _template()(
            number=0,
            trial_id=0,
            state=states.COMPLETE if self.is_done else states.RUNNING,
            value=float(self.past.value) if self.is_done else None,
            datetime_start=None,
            datetime_complete=None,
            params={p.name: _to_optuna(p, self.raw[p.name]) for p in fitting},
            distributions={p.name: distributions[p.name] for p in fitting},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )


class _Seen:
    """What an algorithm may look at: the trials that inform it, and which points have been tried."""

    def __init__(self, problem: Problem, kept: list[_Kept]) -> None:
        algorithm = ALGORITHMS[problem.algorithm]
        self.space = problem.space
        self.informing: list[_Kept] = []
        self.tried = {one.index for one in kept if one.index is not None}
        if algorithm.start_up is None:
            return
        start_up = algorithm.start_up(filled(problem.arguments, algorithm.arguments))
        has_enough = sum(one.is_done and one.is_whole for one in kept) >= start_up
        self.informing = [one for one in kept if one.may_inform and (one.is_whole or not has_enough)]

    @property
    def is_exhausted(self) -> bool:
        return self.space.size is not None and len(self.tried) >= self.space.size

    def has_tried(self, raw: dict) -> bool:
        return self.space.size is not None and self.space.index(raw) in self.tried

    def next_untried(self, order: Callable[[int], int]) -> int:
        return next(index for step in count() if (index := order(step)) not in self.tried)

    def add(self, proposed: Past) -> None:
        one = _Kept(self.space, proposed)
        self.informing.append(one)
        if one.index is not None:
            self.tried.add(one.index)


def _fitting(space: Space, past: Past) -> tuple[dict, bool]:
    """Return the raw values of the parameters that fit, and whether that is the whole trial."""
    if space.fits(past.raw) and space.key(space.shown(past.raw)) == past.key:
        return past.raw, True
    ran = json.loads(past.key)
    fitting = {}
    for parameter in space.parameters:
        if parameter.name not in ran:
            continue
        raw, shown = past.raw.get(parameter.name, NOTHING), ran[parameter.name]
        if not parameter.fits(raw) or identity(parameter.shown(raw)) != identity(shown):
            raw = parameter.to_raw(shown)
        if raw is not NOTHING:
            fitting[parameter.name] = raw
    return fitting, len(fitting) == len(space.parameters) == len(ran)


def _shuffled(size: int, seed: int) -> Callable[[int], int]:
    """Return an order of 0 … size - 1 that depends on the seed and needs no memory: step -> a * step + b."""
    rng = Random(seed_of(seed, 0))
    start = rng.randrange(size)
    stride = next(s for _ in count() if math.gcd(s := rng.randrange(1, size + 1), size) == 1)
    return lambda step: (stride * step + start) % size


# What each experiment's past was made into, by cache key; the longest unused go first.
_MOST_KEPT = 50_000
_cache: OrderedDict[str, tuple[Space, list[_Kept]]] = OrderedDict()
_cache_lock = Lock()


def _kept(space: Space, past: Sequence[Past], cache_key: str | None) -> list[_Kept]:
    ordered = sorted(past, key=lambda one: (one.number, one.ordinal or 0))
    if cache_key is None:
        return [_Kept(space, one) for one in ordered]
    with _cache_lock:
        of_space, known = _cache.get(cache_key, (space, []))
    by_number = {one.past.number: one for one in known} if of_space == space else {}
    kept = [_unchanged(by_number.get(one.number), one) or _Kept(space, one) for one in ordered]
    with _cache_lock:
        _cache[cache_key] = (space, kept)
        _cache.move_to_end(cache_key)
        while len(_cache) > 1 and sum(len(one) for _, one in _cache.values()) > _MOST_KEPT:
            _cache.popitem(last=False)
    return kept


def _unchanged(known: _Kept | None, past: Past) -> _Kept | None:
    return known if known is not None and known.past == past else None


@cache
def _optuna() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


@cache
def _template() -> type:
    class Template(_optuna().trial.FrozenTrial):
        """A trial that is cheap to add: a storage copies it deeply, though it never changes the parts."""

        def __deepcopy__(self, memo: dict) -> "Template":
            copied = object.__new__(type(self))
            copied.__dict__.update(self.__dict__)
            return copied

    return Template


def _ask(problem: Problem, seen: _Seen, sampler: Any) -> dict:
    optuna = _optuna()
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=sampler, direction=problem.direction)
    study_id = storage.get_study_id_from_name(study.study_name)
    for one in seen.informing:
        storage.create_new_trial(study_id, template_trial=one.trial)
    asked = study.ask(_distributions(problem.space)).params
    return {p.name: _from_optuna(p, asked[p.name]) for p in problem.space.parameters}


@lru_cache(maxsize=32)
def _distributions(space: Space) -> dict:
    # By name: the order in which parameters are asked for decides which random number each gets.
    by_name = sorted(space.parameters, key=lambda parameter: parameter.name)
    return {parameter.name: _distribution(parameter) for parameter in by_name}


def _distribution(parameter: Parameter) -> Any:
    of = _optuna().distributions
    if isinstance(parameter, Choice):
        return of.CategoricalDistribution(range(parameter.count))  # of indices: 1, 1.0 and True would collide
    if isinstance(parameter, Randint):
        return of.IntDistribution(parameter.low, parameter.high)
    if isinstance(parameter, Normal):
        return of.FloatDistribution(
            EDGE, 1 - EDGE
        )  # no normals in Optuna: the share of draws below the value
    # Optuna's step is not NNI's q (it moves the upper bound): it sees the value before rounding.
    return of.FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _to_optuna(parameter: Parameter, raw: Any) -> float | int:
    if isinstance(parameter, Choice):
        return parameter.index(raw)
    if isinstance(parameter, Randint):
        return int(raw)
    return parameter.share(raw) if isinstance(parameter, Normal) else float(raw)


def _from_optuna(parameter: Parameter, asked: float | int) -> Any:
    if isinstance(parameter, Choice):
        return parameter.at(asked)
    if isinstance(parameter, Randint):
        return int(asked)
    return parameter.clip(parameter.quantile(asked) if isinstance(parameter, Normal) else float(asked))
