"""The algorithms that use Optuna's samplers. Only this file, `tpe_sampler`, `parzen`, `truncated_normal` and `nsga`
import Optuna.

TPE reads columns of the past trials, and NSGA-II the generations that are kept of them; neither needs a study
(`tpe_sampler`, `nsga`). For GP, an in-memory study is built for every proposal from the informing trials in number
order, including running ones; what Optuna derives from each past trial is cached with it. For TPE, infeasible trials
are pruned trials without a value, which it ranks after all results. For samplers that read only complete trials, they
have the worst value so far. Each proposal gets a sampler with its own seed; otherwise the new sampler would draw the
same numbers again. Parameters are suggested one by one, those of a nested choice only when their branch was chosen.
"""

import math
import warnings
from collections.abc import Sequence
from copy import copy
from functools import cache, lru_cache
from typing import Any

from experiments.search.nested_choice import Nested, Parameter, Path
from experiments.search.parameters import EDGE, Choice, LogRandint, Normal, Randint
from experiments.search.space import Space, seed_of

from .columns import to_internal
from .fitted_trial import FittedTrial
from .history import History
from .problem import Problem, Suggestion

_GENERATION = "NSGAIISampler:generation"  # the key in Optuna's system attributes


def by_tpe(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    _optuna()
    from .tpe_sampler import PastTPE

    space = problem.space
    sampler = PastTPE(
        history.columns(),
        lambda paths: _distributions_of(space, paths),
        problem.directions,
        seed=seed_of(problem.seed, ordinal),
        **arguments,
    )
    distributions = _distributions(space)

    def pick(path: Path, parameter: Parameter) -> Any:
        return _to_raw(parameter, sampler.suggest(_name(path), distributions[path][1]))

    return space.assemble(pick), {}


def by_nsga(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    sampler = _optuna().samplers.NSGAIISampler(**arguments, seed=seed_of(problem.seed, ordinal))
    space = problem.space
    if space.is_nested:  # check_algorithm refuses this
        raw, system_attrs = _ask(problem, history, sampler)
        return raw, {"nsga": system_attrs[_GENERATION]} if _GENERATION in system_attrs else {}
    from .nsga import Generations

    generations = history.follower(Generations, arguments["population_size"], problem.directions)
    generation, parents = generations.next(history.past)
    distributions = _distributions(space)
    inherited: dict[str, Any] = {}
    searched = {path[0]: each for path, (_, each) in distributions.items() if not each.single()}
    searched = dict(sorted(searched.items()))
    try:
        if parents:
            inherited = sampler._child_generation_strategy(generations.study, searched, parents)
    except ValueError:  # a single parent cannot be crossed: the others were deleted, or fit the space no more
        if len(parents) > 1:
            raise

    def pick(path: Path, parameter: Parameter) -> Any:
        name, distribution = path[0], distributions[path][1]
        if distribution.single():
            return _to_raw(parameter, _optuna().distributions._get_single_value(distribution))
        if name in inherited:
            value = inherited[name]
            if distribution._contains(distribution.to_internal_repr(value)):
                return _to_raw(parameter, value)
        value = sampler.sample_independent(None, None, name, distribution)
        distribution.to_internal_repr(value)  # raises for values that are no numbers
        return _to_raw(parameter, value)

    return space.assemble(pick), {"nsga": generation}


def by_gp(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    sampler = _optuna().samplers.GPSampler(**arguments, seed=seed_of(problem.seed, ordinal))
    raw, _ = _ask(problem, history, sampler)
    return raw, {}


def _ask(problem: Problem, history: History, sampler: Any) -> Suggestion:
    """Return raw values for a new trial, and its system attributes in Optuna."""
    optuna = _optuna()
    storage = _storage_class()()
    study = optuna.create_study(storage=storage, sampler=sampler, directions=problem.directions)
    study_id = storage.get_study_id_from_name(study.study_name)
    worst = history.infeasible_values()
    trials = []
    for informing in history.informing:
        frozen = _frozen_trial(informing)
        if informing.is_infeasible and worst is not None:
            frozen = _with_values(frozen, worst)
        trials.append(frozen)
    storage.fill(study_id, trials)
    trial = study.ask()
    raw = _assemble(problem.space, trial)
    return raw, storage.get_trial(trial._trial_id).system_attrs


def _assemble(space: Space, trial: Any) -> dict[str, Any]:
    return space.assemble(lambda path, parameter: _suggest(trial, _name(path), parameter))


def _suggest(trial: Any, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Nested):
        value = trial.suggest_categorical(name, range(len(parameter.branches)))
    elif isinstance(parameter, Choice):  # by position, because 1, 1.0 and True would collide
        value = trial.suggest_categorical(name, range(parameter.count))
    elif isinstance(parameter, Randint):
        value = trial.suggest_int(name, parameter.low, parameter.high, log=isinstance(parameter, LogRandint))
    elif isinstance(
        parameter, Normal
    ):  # Optuna has no normal distribution: suggest the cumulative probability
        value = trial.suggest_float(name, EDGE, 1 - EDGE)
    else:  # Optuna's step moves the upper bound, NNI's q does not: suggest the value before rounding.
        value = trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
    return _to_raw(parameter, value)


def _to_raw(parameter: Parameter, value: Any) -> Any:
    """Return the leaf for a value that Optuna suggests."""
    if isinstance(parameter, Nested):
        return value
    if isinstance(parameter, Choice):
        return parameter.at(value)
    if isinstance(parameter, Randint):
        return int(value)
    return parameter.clip(parameter.quantile(value) if isinstance(parameter, Normal) else value)


def _frozen_trial(trial: FittedTrial) -> Any:
    """Return a past trial as an Optuna trial, with the leaves that fit."""
    if trial.as_optuna is None:
        states = _optuna().trial.TrialState
        leaves = _distributions(trial.space)
        params = {_name(path): to_internal(leaves[path][0])(leaf) for path, leaf in trial.leaves.items()}
        generation = trial.attrs.get("nsga")
        trial.as_optuna = _optuna().trial.FrozenTrial(
            number=0,
            trial_id=0,
            state=states.COMPLETE
            if trial.is_done
            else states.PRUNED
            if trial.is_infeasible
            else states.RUNNING,
            value=None,
            values=trial.values if trial.is_done else None,
            datetime_start=None,
            datetime_complete=None,
            params=params,
            distributions=_distributions_of(trial.space, tuple(trial.leaves)),
            user_attrs={},
            system_attrs={} if generation is None else {_GENERATION: generation},
            intermediate_values={},
        )
    return trial.as_optuna


def _with_values(trial: Any, values: list[float]) -> Any:
    """Return a copy of a trial, complete with these values."""
    copied = copy(trial)
    copied.state, copied.values = _optuna().trial.TrialState.COMPLETE, values
    return copied


def _name(path: Path) -> str:
    return "\0".join(path)


@lru_cache(maxsize=32)
def _distributions(space: Space) -> dict[Path, tuple[Parameter, Any]]:
    return {path: (parameter, _distribution(parameter)) for path, parameter in space.every_leaf()}


@lru_cache(maxsize=1024)
def _distributions_of(space: Space, paths: tuple[Path, ...]) -> dict[str, Any]:
    """Return the distributions of these parameters: the same object for all trials that have them."""
    return {_name(path): _distributions(space)[path][1] for path in paths}


def _distribution(parameter: Parameter) -> Any:
    of = _optuna().distributions
    if isinstance(parameter, Nested):
        return of.CategoricalDistribution(range(len(parameter.branches)))
    if isinstance(parameter, Choice):
        return of.CategoricalDistribution(range(parameter.count))
    if isinstance(parameter, Randint):
        return of.IntDistribution(parameter.low, parameter.high, log=isinstance(parameter, LogRandint))
    if isinstance(parameter, Normal):
        return of.FloatDistribution(EDGE, 1 - EDGE)
    # Between bounds whose logarithms are equal, Optuna would propose NaN.
    is_log = parameter.log and math.log(parameter.low) < math.log(parameter.high)
    return of.FloatDistribution(parameter.low, parameter.high, log=is_log)


def hypervolume(losses: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume that the points dominate up to the reference point; lower losses are better, none is above the
    reference. The points must not dominate one another."""
    import numpy
    from optuna._hypervolume import compute_hypervolume

    return float(compute_hypervolume(numpy.array(losses), numpy.array(reference), assume_pareto=True))


@cache
def _optuna() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


@cache
def _storage_class() -> type:
    """Return an in-memory storage class that adds all past trials at once: `create_new_trial` would copy each of them,
    and compare it with the best."""
    from optuna.storages import InMemoryStorage

    class PastStorage(InMemoryStorage):
        def fill(self, study_id: int, trials: list[Any]) -> None:
            """Add trials to an empty study. They are renumbered, but otherwise unchanged."""
            for number, trial in enumerate(trials):
                trial.number = trial._trial_id = number
                self._trial_id_to_study_id_and_number[number] = (study_id, number)
            self._studies[study_id].trials.extend(trials)
            self._max_trial_id = len(trials) - 1

    return PastStorage
