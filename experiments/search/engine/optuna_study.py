"""The algorithms that use Optuna's samplers. This is the only file that imports Optuna.

For every proposal an in-memory study is rebuilt from the informing trials in number order, running ones included.
Infeasible trials are pruned ones without a value for TPE, which ranks them behind all results; samplers that look at
complete trials only see them with the worst value so far.
Each proposal gets a sampler with its own seed; otherwise the new sampler would draw the same numbers again. Parameters
are suggested one by one, those of a nested choice only when their branch was chosen.
"""

import warnings
from copy import deepcopy
from functools import cache, lru_cache
from typing import Any

from experiments.search.nested_choice import Nested, Parameter, Path
from experiments.search.parameters import EDGE, Choice, LogRandint, Normal, Randint
from experiments.search.space import Space, seed_of

from .history import FittedTrial, History
from .problem import Problem, Suggestion

_GENERATION = "NSGAIISampler:generation"  # the key in Optuna's system attributes


def by_tpe(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    sampler = _optuna().samplers.TPESampler(**arguments, seed=seed_of(problem.seed, ordinal))
    raw, _ = _ask(problem, history, sampler, ranks_pruned=True)
    return raw, {}


def by_nsga(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    sampler = _optuna().samplers.NSGAIISampler(**arguments, seed=seed_of(problem.seed, ordinal))
    raw, system_attrs = _ask(problem, history, sampler)
    return raw, {"nsga": system_attrs[_GENERATION]} if _GENERATION in system_attrs else {}


def by_gp(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    sampler = _optuna().samplers.GPSampler(**arguments, seed=seed_of(problem.seed, ordinal))
    raw, _ = _ask(problem, history, sampler)
    return raw, {}


def _ask(problem: Problem, history: History, sampler: Any, *, ranks_pruned: bool = False) -> Suggestion:
    """Return raw values for a new trial, and Optuna's system attributes of it. `ranks_pruned`: the sampler learns from
    pruned trials, so that infeasible ones need no value."""
    optuna = _optuna()
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=sampler, direction=problem.direction)
    study_id = storage.get_study_id_from_name(study.study_name)
    worst = None if ranks_pruned else history.infeasible_value()
    for informing in history.informing:
        frozen = _frozen_trial(informing)
        if informing.is_infeasible and worst is not None:
            frozen = _with_value(frozen, worst)
        storage.create_new_trial(study_id, template_trial=frozen)
    trial = study.ask()

    def pick(path: Path, parameter: Parameter) -> Any:
        return _suggest(trial, _name(path), parameter)

    raw = problem.space.assemble(pick)
    return raw, storage.get_trial(trial._trial_id).system_attrs


def _suggest(trial: Any, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Nested):
        return trial.suggest_categorical(name, range(len(parameter.branches)))
    if isinstance(parameter, Choice):  # by position, because 1, 1.0 and True would collide
        return parameter.at(trial.suggest_categorical(name, range(parameter.count)))
    if isinstance(parameter, Randint):
        return trial.suggest_int(name, parameter.low, parameter.high, log=isinstance(parameter, LogRandint))
    if isinstance(parameter, Normal):  # Optuna has no normal distribution: suggest the cumulative probability
        return parameter.clip(parameter.quantile(trial.suggest_float(name, EDGE, 1 - EDGE)))
    # Optuna's step moves the upper bound, NNI's q does not: suggest the value before rounding.
    return parameter.clip(trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log))


def _frozen_trial(trial: FittedTrial) -> Any:
    """Return a past trial as an Optuna trial, with the leaves that fit."""
    if trial.as_optuna is None:
        states = _optuna().trial.TrialState
        leaves = _distributions(trial.space)
        generation = trial.past.attrs.get("nsga")
        trial.as_optuna = _frozen_trial_class()(
            number=0,
            trial_id=0,
            state=states.COMPLETE
            if trial.is_done
            else states.PRUNED
            if trial.is_infeasible
            else states.RUNNING,
            value=float(trial.value) if trial.is_done else None,
            datetime_start=None,
            datetime_complete=None,
            params={_name(path): _to_optuna(leaves[path][0], leaf) for path, leaf in trial.leaves.items()},
            distributions={_name(path): leaves[path][1] for path in trial.leaves},
            user_attrs={},
            system_attrs={} if generation is None else {_GENERATION: generation},
            intermediate_values={},
        )
    return trial.as_optuna


def _with_value(trial: Any, value: float) -> Any:
    """Return a copy of a trial, complete with this value."""
    copied = deepcopy(trial)
    copied.state, copied.value = _optuna().trial.TrialState.COMPLETE, value
    return copied


def _name(path: Path) -> str:
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
        return of.IntDistribution(parameter.low, parameter.high, log=isinstance(parameter, LogRandint))
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


def fanova(
    rows: list[list[float]],
    values: list[float],
    choices: list[int | None],
    *,
    seed: int = 0,
) -> list[float]:
    """Return the share of the variance of `values` that each column of `rows` explains alone (fANOVA, Hutter et al.
    2014).

    `choices` is the number of choices of a column that holds their positions, else None: a number between 0 and 1.
    """
    optuna = _optuna()
    of = optuna.distributions
    distributions = {
        f"{place:04}": of.FloatDistribution(0.0, 1.0)
        if count is None
        else of.CategoricalDistribution(range(count))
        for place, count in enumerate(choices)
    }
    study = optuna.create_study(direction="minimize")
    study.add_trials(
        optuna.trial.create_trial(
            params={f"{place:04}": cell for place, cell in enumerate(row)},
            distributions=distributions,
            value=value,
        )
        for row, value in zip(rows, values, strict=True)
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return [float(shares[f"{place:04}"]) for place in range(len(choices))]


@cache
def _optuna() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


@cache
def _frozen_trial_class() -> type:
    """Return a subclass of Optuna's FrozenTrial that is cheap to add to a storage.

    A storage copies its template trials deeply, although it never changes their attributes; a shallow copy will do.
    """
    from optuna.trial import FrozenTrial

    class CheapFrozenTrial(FrozenTrial):
        def __deepcopy__(self, memo: dict[int, Any]) -> "CheapFrozenTrial":
            copied = object.__new__(type(self))
            copied.__dict__.update(self.__dict__)
            return copied

    return CheapFrozenTrial
