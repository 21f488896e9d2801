"""A first row of the search space for each argument: a range around its default, on a scale that suits it."""

from __future__ import annotations  # for Python 3.8

import math
import re
from dataclasses import dataclass

from trialdeck.script.model import BOOLEAN, FLOAT, INTEGER, PATH, TEXT, Argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trialdeck.script.model import Script

# Words in names of arguments for paths, verbosity and the length of a run: not what the script computes.
_FIXED = {
    "seed": "random_state random_seed seed manual_seed rng",
    "path": "path dir directory folder file filename root data dataset datadir data_dir input out output outdir save "
    "logdir log_dir checkpoint checkpoints ckpt resume weights pretrained load cache url host port address",
    "output": "verbose verbosity quiet silent debug log logging log_level loglevel log_interval print_freq print_every "
    "save_every save_interval eval_every eval_interval progress tensorboard wandb mlflow plot report dry_run "
    "profile version config cfg test_only",
    "machine": "device gpu gpus cuda no_cuda cpu cpus workers num_workers nworkers n_jobs jobs threads num_threads "
    "world_size rank local_rank nodes distributed backend mps no_mps no_accel accelerator",
    "name": "name exp exp_name experiment run run_name run_id project tag tags comment user id entity",
    "length of a run": "epochs epoch num_epochs n_epochs max_epochs max_steps num_steps total_steps steps iterations "
    "iters n_iter max_iter num_iterations max_iterations timesteps total_timesteps folds cv n_splits",
}
_REASONS = {word: reason for reason, names in _FIXED.items() for word in names.split()}
# Numbers below one, and numbers of any small size.
_UNIT = frozenset(
    (
        *(
            "dropout",
            "drop",
            "droprate",
            "drop_rate",
            "dropout_rate",
            "keep_prob",
            "momentum",
            "beta",
            "beta1",
            "beta2",
        ),
        *(
            "betas",
            "subsample",
            "colsample",
            "bytree",
            "ratio",
            "fraction",
            "frac",
            "prob",
            "probability",
            "p",
            "tau",
        ),
        *(
            "rho",
            "smoothing",
            "mixup",
            "cutmix",
            "threshold",
            "decay_rate",
            "ema",
            "warmup_ratio",
            "max_features",
        ),
        *("test_size", "val_size", "split", "discount", "percent"),
    )
)
_SMALL = frozenset(
    (
        *("lr", "learning_rate", "learningrate", "eta", "step_size", "wd", "weight_decay", "l1", "l2", "reg"),
        *(
            "regularization",
            "alpha",
            "lambda",
            "lambd",
            "eps",
            "epsilon",
            "tol",
            "tolerance",
            "c",
            "gamma",
            "penalty",
        ),
        *("noise", "sigma", "temperature"),
    )
)
_RATES = {"lr", "learning_rate", "learningrate", "eta", "rate"}
_POWERS = {"batch", "batch_size", "batchsize", "bs", "bsz"}
_UNKNOWN_DEFAULTS: dict[str, tuple[str, list[Any]]] = {
    **dict.fromkeys(_RATES, ("loguniform", [1e-5, 1e-1])),
    **dict.fromkeys(("dropout", "dropout_rate", "drop_rate"), ("uniform", [0.0, 0.5])),
    **dict.fromkeys(("wd", "weight_decay", "l1", "l2", "reg"), ("loguniform", [1e-6, 1e-2])),
    "momentum": ("uniform", [0.5, 0.99]),
    **dict.fromkeys(_POWERS, ("choice", [16, 32, 64, 128])),
}
MAX_CHOICES = 50
WIDE = 100  # ratio of bounds from which a scale is logarithmic


@dataclass(frozen=True)
class Suggestion:
    """A row of the search space: `type` and `values` as in NNI's format. `is_searched`: whether to search it at once;
    otherwise `reason` says why not."""

    argument: Argument
    type: str
    values: list[Any]
    is_searched: bool
    reason: str = ""

    @property
    def name(self) -> str:
        return self.argument.name

    @property
    def spec(self) -> dict[str, Any]:
        return {"_type": self.type, "_value": self.values}


def suggestion(argument: Argument, script: Script | None = None) -> Suggestion:
    """Return a row for this argument. The `script` has the notation of booleans that all rows share."""
    kind, values, is_certain = _range(argument)
    reason = _reason(argument, script)
    if not reason and not is_certain:
        reason = "no default" if argument.default is None else "one value"
    if argument.is_required and argument.default is None and kind != "choice":
        reason = "" if not reason or reason == "no default" else reason
    return Suggestion(argument, kind, values, is_searched=not reason, reason=reason)


def _reason(argument: Argument, script: Script | None) -> str:
    """Return why an argument is not searched at first, or ""."""
    if argument.note:
        return argument.note
    if argument.kind == PATH:
        return "path"
    if argument.is_list:
        return "list"
    full, name_parts = _name_parts(argument.name)
    for word in (full, *(name_parts if argument.kind != FLOAT else name_parts[-1:])):
        if word in _REASONS and not argument.choices:
            return _REASONS[word]
    if argument.kind == BOOLEAN and script and argument.boolean != script.boolean_style:
        return "other notation of booleans"
    if argument.kind == TEXT and _looks_like_a_path(argument.default):
        return "path"
    return ""


def _name_parts(name: str) -> tuple[str, list[str]]:
    """Return `batch_size` and [batch, size] for `batch-size`, `batchSize` and `train.batch_size`."""
    last = re.split(r"[./]", name)[-1]
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last).replace("-", "_").lower()
    return snake, [word for word in snake.split("_") if word]


def _looks_like_a_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or re.search(r"\.[a-z]{1,5}[0-9]?$", value) is not None)


def _range(argument: Argument) -> tuple[str, list[Any], bool]:
    """Return (type, values), and whether they are more than a single value or a guess."""
    default = argument.default
    if argument.kind == BOOLEAN:
        return "choice", [True, False], True
    if argument.choices:
        choices = list(argument.choices[:MAX_CHOICES])
        return "choice", choices, len(choices) > 1
    if argument.kind in (INTEGER, FLOAT) and not argument.is_list:
        is_number = (
            isinstance(default, (int, float)) and not isinstance(default, bool) and math.isfinite(default)
        )
        number = default if is_number else _parsed(default)
        if argument.low is not None and argument.high is not None:
            return (*_bounded(argument), True)
        if number is None:
            return _without_default(argument)
        kind, values = (
            _integers(argument, int(number)) if argument.kind == INTEGER else _floats(argument, float(number))
        )
        return (*_clamped(argument, kind, values), not (argument.kind == INTEGER and number < 0))
    if isinstance(default, (str, int, float)):
        return "choice", [default], False
    return "choice", [default] if argument.is_list and default else [], False


def _parsed(value: Any) -> float | None:
    """A default that is a text, as in `default="1e-3"`."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _without_default(argument: Argument) -> tuple[str, list[Any], bool]:
    full, name_parts = _name_parts(argument.name)
    for word in (full, *name_parts):
        if word in _UNKNOWN_DEFAULTS:
            return (*_clamped(argument, *_UNKNOWN_DEFAULTS[word]), True)
    if argument.kind == INTEGER:
        return (*_clamped(argument, "randint", [1, 101]), False)
    return (*_clamped(argument, "uniform", [0.0, 1.0]), False)


def _bounded(argument: Argument) -> tuple[str, list[Any]]:
    low, high = argument.low or 0, argument.high or 0
    if argument.kind == INTEGER:
        is_wide = low > 0 and high / low >= WIDE
        return "lograndint" if is_wide else "randint", [int(low), int(high) + 1]
    return "loguniform" if low > 0 and high / low >= WIDE else "uniform", [float(low), float(high)]


def _clamped(argument: Argument, kind: str, values: list[Any]) -> tuple[str, list[Any]]:
    """Return the row within the bounds that the script declares."""
    low, high = argument.low, argument.high
    if kind == "choice":
        within_bounds = [
            value for value in values if (low is None or value >= low) and (high is None or value <= high)
        ]
        return kind, within_bounds or values
    if low is not None and low > values[0] and not (kind.startswith("log") and low <= 0):
        values = [int(low) if argument.kind == INTEGER else float(low), values[1]]
    if high is not None:
        end = int(high) + 1 if argument.kind == INTEGER else float(high)
        values = [values[0], min(values[1], end)]
    if values[0] >= values[1]:
        values = [values[0], values[0] + (2 if argument.kind == INTEGER else 1.0)]
    return kind, values


def _floats(argument: Argument, default: float) -> tuple[str, list[Any]]:
    full, name_parts = _name_parts(argument.name)
    names = {full, *name_parts}
    if default < 0:
        return "uniform", [_round(2 * default), 0.0]
    if names & _UNIT and default <= 1:
        return "uniform", _unit_range(default)
    if default == 0:
        return ("loguniform", [1e-6, 1e-2]) if names & _SMALL or "decay" in names else ("uniform", [0.0, 1.0])
    if default <= 0.1 or names & _SMALL:
        high = default * 100
        if names & _RATES:
            high = min(high, max(1.0, default * 10))
        return "loguniform", [_round(default / 100), _round(high)]
    if default >= WIDE:
        return "loguniform", [_round(default / 10), _round(default * 10)]
    if default == 1:
        return "uniform", [0.5, 2.0]
    return "uniform", [_round(default / 2), _round(default * 2)]


def _unit_range(default: float) -> list[float]:
    """A range within 0 to 1: around a small share from 0, around a large one up to 1."""
    if default == 1:
        return [0.5, 1.0]
    if default >= 0.5:
        rest = 1 - default
        return [_round(max(0.0, 1 - 5 * rest)), _round(1 - rest / 10)]
    return [0.0, _round(min(1.0, max(0.5, 2 * default)))]


def _integers(argument: Argument, default: int) -> tuple[str, list[Any]]:
    """The upper bound of randint and lograndint is exclusive."""
    full, name_parts = _name_parts(argument.name)
    if {full, *name_parts} & _POWERS and default > 0:
        return "choice", sorted(
            {max(1, default // 4), max(1, default // 2), default, default * 2, default * 4}
        )
    if default == 0:
        return "randint", [0, 11]
    if default < 0:
        return "randint", [1, 11]
    if default >= 32:
        return "lograndint", [max(1, default // 4), default * 4 + 1]
    if default <= 2:
        return "randint", [1, 5 + default]
    return "randint", [max(1, default // 2), default * 2 + 1]


def _round(value: float) -> float:
    return float(f"{value:.3g}")
