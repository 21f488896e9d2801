"""Resolve and check the choice of an algorithm: aliases, arguments, suitability, and why some are not supported."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from experiments.search.parameters import Choice
from experiments.search.space import Space
from experiments.search.validation import Fault, check_arguments, nearest

from . import cma, nni_arguments
from .algorithms import ALGORITHMS


def canonical(name: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the canonical names of an algorithm and its arguments; unknown names are returned unchanged.

    Accepts the spellings of NNI, PAI and Optuna (tpe, TPESampler, Grid_Search, NSGAII).
    """
    algorithm = _CANONICAL_NAMES.get(_folded(name))
    values = dict(arguments)
    if algorithm is None:
        return name, values
    renamed = ALGORITHMS[algorithm].renamed
    values = nni_arguments.translate(algorithm, values)
    # When both names are used, NNI's stays, so that the check reports it as unknown.
    return algorithm, {
        key if renamed.get(key, key) in values else renamed[key]: value for key, value in values.items()
    }


def written_names(name: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return how the arguments of `canonical` were written before, where it renames them: `tpe_args.n_startup_jobs` of
    n_startup_trials."""
    algorithm = _CANONICAL_NAMES.get(_folded(name))
    if algorithm is None:
        return {}
    paths = nni_arguments.paths(algorithm, arguments)
    renamed = ALGORITHMS[algorithm].renamed
    return {renamed[key]: path for key, path in paths.items() if renamed.get(key, key) not in paths} | {
        key: path for key, path in paths.items() if key != path
    }


def check_algorithm(
    name: str, arguments: dict, space: Space, *, early_stopping: str = "none", objectives: int = 1
) -> list[Fault]:
    """Return the faults of this choice of algorithm for this space and this number of objectives. Names and arguments
    are `canonical`."""
    if name not in ALGORITHMS:
        return [Fault("algorithm", _unknown(name))]
    algorithm = ALGORITHMS[name]
    faults = _argument_faults(name, arguments)
    if (
        not faults
        and name in ("TPE", "BOHB")
        and arguments.get("group")
        and arguments.get("multivariate") is False
    ):
        faults.append(Fault("group", "group requires multivariate; set multivariate to true."))
    if space.is_nested and not algorithm.for_nested:
        supported = ", ".join(other for other in ALGORITHMS if ALGORITHMS[other].for_nested)
        faults.append(Fault("algorithm", f"{name} does not support nested choices. These do: {supported}."))
    elif reason := _why_unsuitable(name, space):
        faults.append(Fault("algorithm", reason))
    if objectives > 1 and not algorithm.for_several_objectives:
        possible = ", ".join(other for other in ALGORITHMS if ALGORITHMS[other].for_several_objectives)
        faults.append(
            Fault("algorithm", f"{name} optimizes one objective. These optimize several: {possible}.")
        )
    elif algorithm.early_stopping and early_stopping != algorithm.early_stopping:
        base, rule = "TPE" if name == "BOHB" else "Random", algorithm.early_stopping
        message = f"{name} is {base} with early stopping {rule}; select that rule as well."
        faults.append(Fault("algorithm", message))
    return faults


def received(algorithm: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as a trial receives them. As in NNI, Batch over objects hands over the object's values,
    without the name of the choice."""
    objects = [value for value in params.values() if isinstance(value, Mapping) and "_name" not in value]
    return dict(objects[0]) if algorithm == "Batch" and len(params) == len(objects) == 1 else dict(params)


def received_names(algorithm: str, space: Space) -> list[str]:
    """Return the names of all parameters that trials may receive."""
    names: dict[str, None] = {}
    for parameter in space.parameters:
        values = parameter.values if isinstance(parameter, Choice) else (None,)
        for value in values:
            names |= dict.fromkeys(received(algorithm, {parameter.name: value}))
    return list(names)


def _argument_faults(name: str, arguments: dict) -> list[Fault]:
    accepted = ALGORITHMS[name].arguments
    refused = {**_REFUSED_ANYWHERE, **nni_arguments.REFUSED.get(name, {})}
    for argument in accepted:
        refused.pop(argument.name, None)
    faults = check_arguments(arguments, accepted)
    return [Fault(fault.path, refused.get(fault.path, fault.message)) for fault in faults]


def _why_unsuitable(name: str, space: Space) -> str | None:
    if name == "CMA-ES" and not cma.axes_of(space):
        return "CMA-ES searches numbers, but the search space has none. Select TPE or Random."
    if name == "GP" and any(find_spec(module) is None for module in ("torch", "scipy")):
        return (
            "GP requires PyTorch and SciPy, which are not installed. Install torch and scipy, or choose TPE."
        )
    if name == "Batch" and not (
        len(space.parameters) == 1 and space.parameters[0].type == "choice" and space.size
    ):
        return (
            "Batch tries the values of one choice in order: the search space must have a single parameter, "
            "a finite choice. For several parameters, choose GridSearch."
        )
    return None


def _unknown(name: str) -> str:
    folded = _folded(name)
    if folded in _REFUSED:
        return _REFUSED[folded]
    hint = nearest(name, ALGORITHMS) or f" Use one of {', '.join(ALGORITHMS)}."
    return f"Unknown algorithm {str(name)[:40]!r}.{hint}"


def _folded(name: object) -> str:
    """Return a name without case, - _ and spaces, and without Tuner, Sampler, Advisor or Search at the end."""
    plain_name = re.sub(r"[^a-z0-9]", "", str(name)[:100].casefold())
    return re.sub(r"(tuner|sampler|advisor|search)+$", "", plain_name) or plain_name


_REFUSED_ANYWHERE = {
    "optimize_mode": "Set the direction in the objective instead, and remove this argument.",
    "seed": "Set the seed in the experiment's settings instead, and remove this argument.",
}
_NAS = "searches network architectures, which is not supported; describe the layers as nested choices."
_FORESTS = "is not supported. TPE is the closest alternative: it learns from the results too."
_REFUSED: dict[str, str] = {
    "pbt": "PBT changes the values of running trials, which is not supported. Select Evolution, or TPE "
    "with early stopping.",
    "smac": f"SMAC {_FORESTS}",
    "metis": f"Metis {_FORESTS}",
    "dngo": f"DNGO {_FORESTS}",
    **{
        _folded(name): f"{name} {_NAS}"
        for name in ("NetworkMorphism", "RegularizedEvolution", "PPO", "ENAS", "DARTS")
    },
}
_CANONICAL_NAMES: dict[str, str] = {
    _folded(alias): name for name, algorithm in ALGORITHMS.items() for alias in (name, *algorithm.aliases)
}
