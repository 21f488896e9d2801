"""Which algorithm somebody means, whether it can do what is asked, and why some are not there."""

import re
from collections.abc import Mapping
from importlib.util import find_spec

from experiments.search.space import Space
from experiments.search.validation import Fault, check_arguments, nearest

from . import cma
from .algorithms import ALGORITHMS, Algorithm


def canonical(name: str, arguments: Mapping) -> tuple[str, dict]:
    """Return our name for an algorithm, and its arguments by our names; what is not known stays as it is.

    Names are read as NNI, PAI and Optuna write them (tpe, TPESampler, Grid_Search, NSGAII).
    """
    known = _KNOWN.get(_folded(name))
    if known is None:
        return name, dict(arguments)
    renamed, given = ALGORITHMS[known].renamed, dict(arguments)
    if isinstance(given.get("tpe_args"), Mapping):
        given |= given.pop("tpe_args")
    if known in ("TPE", "BOHB") and given.get("constant_liar_type", "") in ("worst", None):
        given["constant_liar"] = given.pop("constant_liar_type") == "worst"
    # Who gives both names gets to hear that one of them is unknown.
    return known, {key if renamed.get(key, key) in given else renamed[key]: one for key, one in given.items()}


def check_algorithm(name: str, arguments: dict, space: Space, *, early_stopping: str = "none") -> list[Fault]:
    """Say what is wrong with this choice of algorithm for this space. Names and arguments are `canonical`."""
    if name not in ALGORITHMS:
        return [Fault("algorithm", _unknown(name))]
    algorithm = ALGORITHMS[name]
    faults = _argument_faults(algorithm, arguments)
    if (
        not faults
        and name in ("TPE", "BOHB")
        and arguments.get("group")
        and arguments.get("multivariate") is False
    ):
        faults.append(Fault("group", "group works only with multivariate; switch multivariate on."))
    if space.is_nested and not algorithm.for_nested:
        able = ", ".join(one for one in ALGORITHMS if ALGORITHMS[one].for_nested)
        sentence = f"{name} cannot search nested choices. These can: {able}."
        faults.append(Fault("algorithm", sentence))
    elif sentence := _unsuited(name, space):
        faults.append(Fault("algorithm", sentence))
    if algorithm.early_stopping and early_stopping != algorithm.early_stopping:
        base, rule = "TPE" if name == "BOHB" else "Random", algorithm.early_stopping
        sentence = f"{name} is {base} with the early stopping {rule}: choose that rule as well."
        faults.append(Fault("algorithm", sentence))
    return faults


def _argument_faults(algorithm: Algorithm, arguments: dict) -> list[Fault]:
    faults = check_arguments(arguments, algorithm.arguments)
    refused = {**_REFUSED_ANYWHERE, **algorithm.refused}
    return [
        Fault(fault.path, refused[fault.path])
        if fault.path in refused and fault.path not in {argument.name for argument in algorithm.arguments}
        else fault
        for fault in faults
    ]


def _unsuited(name: str, space: Space) -> str | None:
    if name == "CMA-ES" and not cma.axes_of(space):
        return "CMA-ES searches numbers, and there are none in this space. Choose TPE or Random."
    if name == "GP" and find_spec("torch") is None:
        return "GP needs PyTorch, which is not installed here. Install torch beside it, or choose TPE."
    if name == "Batch" and not (
        len(space.parameters) == 1 and space.parameters[0].type == "choice" and space.size
    ):
        return (
            "Batch tries the values of one choice in their order: the space must have a single parameter, "
            "a choice with an end of values. For several, choose GridSearch."
        )
    return None


def _unknown(name: str) -> str:
    folded = _folded(name)
    if folded in _REFUSED:
        return _REFUSED[folded]
    hint = nearest(name, ALGORITHMS) or f" Use one of {', '.join(ALGORITHMS)}."
    return f"There is no algorithm called {str(name)[:40]!r}.{hint}"


def _folded(name: object) -> str:
    """Spelled as anybody would: no case, no - _ or space, no Tuner or Sampler at the end."""
    plain_name = re.sub(r"[^a-z0-9]", "", str(name)[:100].casefold())
    return re.sub(r"(tuner|sampler|advisor|search)+$", "", plain_name) or plain_name


_REFUSED_ANYWHERE = {
    "optimize_mode": "Minimize or maximize is the objective's direction: set it there, and leave this out.",
    "seed": "The seed is a setting of its own: set it there, and leave this out.",
}
_NAS = (
    "searches the architecture of a network, which Trialdeck does not; describe the layers as nested choices."
)
_FORESTS = "is not built in: TPE is the nearest, and like it learns from the results."
_REFUSED: dict[str, str] = {
    "pbt": "PBT changes the values of running trials, and here a trial keeps its values. Choose Evolution, or TPE "
    "with early stopping.",
    "smac": f"SMAC {_FORESTS}",
    "metis": f"Metis {_FORESTS}",
    "dngo": f"DNGO {_FORESTS}",
    **{
        _folded(name): f"{name} {_NAS}"
        for name in ("NetworkMorphism", "RegularizedEvolution", "PPO", "ENAS", "DARTS")
    },
}
_KNOWN: dict[str, str] = {
    _folded(name): ours for ours, algorithm in ALGORITHMS.items() for name in (ours, *algorithm.aliases)
}
