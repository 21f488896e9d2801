"""Arguments of NNI's tuners that Trialdeck's algorithms name differently, or do not have.

`translate` renames arguments that have an equivalent, and drops those with a default value that changes nothing; the
others remain, and `REFUSED` has an error message for each. Source: the constructors of NNI 3.0's tuners.
"""

from collections.abc import Mapping
from typing import Any

_OWN_KERNEL = "Optuna's GP fits its kernel and acquisition function itself"
_OWN_BOHB = "BOHB proposes with Optuna's TPE"
_BRACKETS = "The brackets belong to early stopping; set {} in the arguments of the rule Hyperband."

# NNI's defaults, where Trialdeck's algorithm does the same or nearly so: no need to refuse them.
_SAME: dict[str, dict[str, tuple[object, ...]]] = {
    "TPE": {"linear_forgetting": (25,), "prior_weight": (1,), "gamma": (0.25,)},
    "GP": {
        "utility": ("ei",),
        "kappa": (5,),
        "xi": (0,),
        "nu": (2.5,),
        "alpha": (1e-6,),
        "selection_num_warm_up": (100_000,),
        "selection_num_starting_points": (250,),
    },
    "Hyperband": {"exec_mode": ("parallelism",)},
    "BOHB": {
        "min_points_in_model": (None,),
        "config_space": (None,),
        "top_n_percent": (15,),
        "random_fraction": (1 / 3, 0.33, 0.333, 0.3333),
        "bandwidth_factor": (3,),
        "min_bandwidth": (1e-3,),
    },
}

REFUSED: dict[str, dict[str, str]] = {
    "TPE": {
        "linear_forgetting": "Optuna's TPE gives the 25 latest results full weight; omit this or set it to 25.",
        "prior_weight": "Optuna's TPE gives the prior the weight of one result; omit this argument or set it to 1.",
        "gamma": "Optuna's TPE takes the best tenth of the results, at most 25, as good; omit this argument.",
        "constant_liar_type": "Must be best, worst, mean, or null (running trials are ignored).",
        "parallel_optimize": "Must be true or false.",
        "tpe_args": "Must be an object such as {'n_startup_jobs': 20}, of arguments that are not set separately.",
    },
    "GP": {
        "utility": f"{_OWN_KERNEL}: expected improvement. Omit this argument or set it to 'ei'.",
        "kappa": "kappa is for the acquisition function 'ucb', which Optuna's GP does not use; omit it.",
        "xi": f"{_OWN_KERNEL}, without an exploration margin; omit this argument or set it to 0.",
        "nu": f"{_OWN_KERNEL}: a Matern kernel with nu 2.5. Omit this argument.",
        "alpha": f"{_OWN_KERNEL}, and estimates the noise of the results; omit this argument.",
        "selection_num_warm_up": f"{_OWN_KERNEL} and how many candidates it samples; omit this argument.",
        "selection_num_starting_points": f"{_OWN_KERNEL} and where its optimizer starts; omit this argument.",
    },
    "Anneal": {
        "parallel_optimize": "Anneal learns from finished trials only; omit this argument or set it to false.",
        "constant_liar_type": "Anneal learns from finished trials only; omit this argument.",
    },
    "Hyperband": {
        "R": _BRACKETS.format("max_resource"),
        "eta": _BRACKETS.format("reduction_factor"),
        "exec_mode": "Brackets always run in parallel; omit this argument or set it to 'parallelism'.",
    },
    "BOHB": {
        "min_budget": _BRACKETS.format("min_resource"),
        "max_budget": _BRACKETS.format("max_resource"),
        "eta": _BRACKETS.format("reduction_factor"),
        "top_n_percent": f"{_OWN_BOHB}, which takes the best tenth as good; omit this argument.",
        "random_fraction": f"{_OWN_BOHB}, which samples at random only at the start; set n_startup_trials.",
        "bandwidth_factor": f"{_OWN_BOHB}, which computes its bandwidths itself; omit this argument.",
        "min_bandwidth": f"{_OWN_BOHB}, which computes its bandwidths itself; omit this argument.",
    },
}
REFUSED["BOHB"] |= REFUSED["TPE"]
_SAME["BOHB"] |= _SAME["TPE"]


def translate(algorithm: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without NNI's arguments for default behavior, and with `constant_liar` for NNI's ways of
    counting running trials. `algorithm` is the canonical name."""
    values = dict(arguments)
    if algorithm in ("TPE", "BOHB"):
        _spread(values)
        _translate_liar(values)
    elif algorithm == "Anneal" and values.get("parallel_optimize", False) is False:
        values.pop("parallel_optimize", None)
        values.pop("constant_liar_type", None)
    for name, same in _SAME.get(algorithm, {}).items():
        if name in values and not isinstance(values[name], bool) and values[name] in same:
            del values[name]
    return values


def paths(algorithm: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the paths of the arguments by their names: of those in an object, such as tpe_args, the object too."""
    inner = _spread_object(arguments) if algorithm in ("TPE", "BOHB") else {}
    return {**{name: name for name in arguments}, **{name: f"tpe_args.{name}" for name in inner}}


def _spread(values: dict[str, Any]) -> None:
    """Replace an object of arguments by the arguments. An argument that is set twice stays, so that it is refused."""
    inner = _spread_object(values)
    if inner or values.get("tpe_args", "") in (None, {}):  # None: the defaults, as in NNI
        del values["tpe_args"]
        values |= inner


def _spread_object(values: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = values.get("tpe_args")
    return inner if isinstance(inner, Mapping) and not inner.keys() & values.keys() else {}


def _translate_liar(values: dict[str, Any]) -> None:
    """Translate NNI's assumed result of a running trial: the best, mean or worst so far. Optuna uses the worst."""
    kind = values.get("constant_liar_type", "best")
    is_known = kind in (None, "best", "worst", "mean", "min", "max")
    if (
        "constant_liar" in values
        or not is_known
        or not isinstance(values.get("parallel_optimize", True), bool)
    ):
        return
    if "constant_liar_type" in values or "parallel_optimize" in values:
        values.pop("constant_liar_type", None)
        values["constant_liar"] = values.pop("parallel_optimize", True) and kind is not None
