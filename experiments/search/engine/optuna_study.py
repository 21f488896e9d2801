"""Algorithms that are Optuna's: the only file that imports it.

An in-memory study is rebuilt from the trials that inform, in number order, running ones included, for every
proposal. Each sampler gets a seed of its own for each proposal: it is new each time, and would else draw the same
numbers again. Parameters are asked for one by one, those of a nested choice only when their object was taken.
"""

import warnings
from functools import cache, lru_cache
from typing import Any

from experiments.search.nested_choice import Nested, Parameter, Path
from experiments.search.parameters import EDGE, Choice, Normal, Randint
from experiments.search.space import Space, seed_of

from .history import Kept, Seen
from .problem import Problem

_GENERATION = "NSGAIISampler:generation"  # Optuna's name for it among a trial's system attributes


def by_tpe(problem: Problem, seen: Seen, ordinal: int, arguments: dict) -> tuple[dict, dict]:
    sampler = _optuna().samplers.TPESampler(**arguments, seed=seed_of(problem.seed, ordinal))
    raw, _ = _ask(problem, seen, sampler)
    return raw, {}


def by_nsga(problem: Problem, seen: Seen, ordinal: int, arguments: dict) -> tuple[dict, dict]:
    sampler = _optuna().samplers.NSGAIISampler(**arguments, seed=seed_of(problem.seed, ordinal))
    raw, system = _ask(problem, seen, sampler)
    return raw, {"nsga": system[_GENERATION]} if _GENERATION in system else {}


def by_gp(problem: Problem, seen: Seen, ordinal: int, arguments: dict) -> tuple[dict, dict]:
    sampler = _optuna().samplers.GPSampler(**arguments, seed=seed_of(problem.seed, ordinal))
    raw, _ = _ask(problem, seen, sampler)
    return raw, {}


def _ask(problem: Problem, seen: Seen, sampler: Any) -> tuple[dict, dict]:
    """Return raw values for a new trial, and what Optuna noted with it."""
    optuna = _optuna()
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=sampler, direction=problem.direction)
    study_id = storage.get_study_id_from_name(study.study_name)
    for one in seen.informing:
        storage.create_new_trial(study_id, template_trial=_trial_of(one))
    trial = study.ask()

    def pick(path: Path, parameter: Parameter) -> Any:
        return _suggested(trial, _called(path), parameter)

    raw = problem.space.assemble(pick)
    return raw, storage.get_trial(trial._trial_id).system_attrs


def _suggested(trial: Any, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Nested):
        return trial.suggest_categorical(name, range(len(parameter.branches)))
    if isinstance(parameter, Choice):  # of positions: 1, 1.0 and True would collide
        return parameter.at(trial.suggest_categorical(name, range(parameter.count)))
    if isinstance(parameter, Randint):
        return trial.suggest_int(name, parameter.low, parameter.high)
    if isinstance(parameter, Normal):  # no normals in Optuna: the share of draws below the value
        return parameter.clip(parameter.quantile(trial.suggest_float(name, EDGE, 1 - EDGE)))
    # Optuna's step is not NNI's q (it moves the upper bound): it sees the value before rounding.
    return parameter.clip(trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log))


def _trial_of(kept: Kept) -> Any:
    """A past trial as Optuna's, with the leaves that fit."""
    if kept.as_optuna is None:
        states = _optuna().trial.TrialState
        known = _distributions(kept.space)
        generation = kept.past.attrs.get("nsga")
        kept.as_optuna = _template()(
            number=0,
            trial_id=0,
            state=states.COMPLETE if kept.is_done else states.RUNNING,
            value=float(kept.past.value) if kept.is_done else None,
            datetime_start=None,
            datetime_complete=None,
            params={_called(path): _to_optuna(known[path][0], leaf) for path, leaf in kept.leaves.items()},
            distributions={_called(path): known[path][1] for path in kept.leaves},
            user_attrs={},
            system_attrs={} if generation is None else {_GENERATION: generation},
            intermediate_values={},
        )
    return kept.as_optuna


def _called(path: Path) -> str:
    return "\0".join(path)


@lru_cache(maxsize=32)
def _distributions(space: Space) -> dict[Path, tuple[Parameter, Any]]:
    return {path: (parameter, _distribution(parameter)) for path, parameter in space.every_leaf()}


def _distribution(parameter: Parameter) -> Any:
    of = _optuna().distributions
    if isinstance(parameter, Nested):
        return of.CategoricalDistribution(range(len(parameter.branches)))
    if isinstance(parameter, Choice):
        return of.CategoricalDistribution(range(parameter.count))
    if isinstance(parameter, Randint):
        return of.IntDistribution(parameter.low, parameter.high)
    if isinstance(parameter, Normal):
        return of.FloatDistribution(EDGE, 1 - EDGE)
    return of.FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _to_optuna(parameter: Parameter, leaf: Any) -> float | int:
    if isinstance(parameter, Nested):
        return leaf
    if isinstance(parameter, Choice):
        return parameter.index(leaf)
    if isinstance(parameter, Randint):
        return int(leaf)
    return parameter.share(leaf) if isinstance(parameter, Normal) else float(leaf)


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
