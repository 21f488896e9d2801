"""Early-stopping rules: decide whether a running trial should stop before its end. No Optuna, no I/O.

A rule is a pure function of stored rows: the trial's learning curve, the step up to which it was checked before, and
the curves of other trials. A restart therefore changes no decision. To add a rule, write a function and add an entry
to EARLY_STOPPING.
"""

from collections.abc import Callable
from dataclasses import dataclass

from experiments.search.validation import Argument, Fault, check_arguments, nearest, with_defaults

from .curve_fitting import curve_stop
from .halving import halving_stop, hyperband_stop
from .learning_curve import Curve, Peer, RunningTrial
from .median import median_stop, percentile_stop
from .single_curve import patience_stop, threshold_stop, wilcoxon_stop

__all__ = [
    "EARLY_STOPPING",
    "Curve",
    "Peer",
    "Rule",
    "RunningTrial",
    "canonical",
    "check_early_stopping",
    "reason_to_stop",
]

MAX_STEPS = 10**9


@dataclass(frozen=True)
class Rule:
    """An early-stopping rule that users can choose, with its arguments.

    `reason_to_stop(trial, **arguments)` returns why the trial should stop, or "" to let it continue. `peers` names the
    other trials that the rule compares with: "" (none), "succeeded", or "all" (running, stopping early, early-stopped
    and succeeded ones).
    """

    summary: str
    arguments: tuple[Argument, ...] = ()
    reason_to_stop: Callable[..., str] = lambda trial: ""
    peers: str = ""
    check: Callable[[dict], list[Fault]] = lambda arguments: []


def _count(name: str, default: int, meaning: str, low: int = 0, high: int = MAX_STEPS) -> Argument:
    return Argument(name, int, default, meaning, low, high)


_WARM_UP = _count("n_warmup_steps", 0, "First step at which trials are checked.")
_INTERVAL = _count("interval_steps", 1, "Steps between checks.", 1)
_BOOTSTRAP = _count("bootstrap_count", 0, "Trials that must reach a rung before any trial passes it.")


def _check_threshold(arguments: dict) -> list[Fault]:
    lower, upper = arguments["lower"], arguments["upper"]
    if lower is None and upper is None:
        return [Fault("arguments", "Set lower, upper, or both; results outside of them stop a trial.")]
    if None not in (lower, upper) and lower > upper:
        return [Fault("lower", f"lower ({lower:g}) must not be greater than upper ({upper:g}).")]
    return []


def _check_hyperband(arguments: dict) -> list[Fault]:
    low, high = arguments["min_resource"], arguments["max_resource"]
    if low <= high:
        return []
    return [Fault("max_resource", f"max_resource ({high}) must be at least min_resource ({low}).")]


def _check_fitting(arguments: dict) -> list[Fault]:
    start, end = arguments["start_step"], arguments["epoch_num"]
    if start < end:
        return []
    return [Fault("start_step", f"start_step ({start}) must be less than epoch_num ({end}).")]


EARLY_STOPPING: dict[str, Rule] = {
    "none": Rule("Every trial runs to completion."),
    "Medianstop": Rule(
        "Stop a trial whose best result so far is worse than the median of the finished trials' averages.",
        (_count("start_step", 0, "Results that a trial reports before the first check.", 0, 9999),),
        median_stop,
        peers="succeeded",
    ),
    "Curvefitting": Rule(
        "Predict a trial's final result from its learning curve; stop it when the prediction falls short of the best.",
        (
            _count("epoch_num", 20, "Total number of results that a trial reports.", 2),
            _count("start_step", 6, "Results that a trial reports before the first check.", 3),
            Argument(
                "threshold", float, 0.95, "Share of the best result that the prediction must reach.", 0, 1
            ),
            _count("gap", 1, "Results between checks.", 1),
        ),
        curve_stop,
        peers="succeeded",
        check=_check_fitting,
    ),
    "Percentile": Rule(
        "Stop a trial whose best result so far is not in the top percentile of the finished trials at that step.",
        (
            Argument("percentile", float, 25.0, "Percentage of trials that continue.", 0, 100),
            _count("n_startup_trials", 5, "Trials that must succeed before the first check."),
            _WARM_UP,
            _INTERVAL,
            _count("n_min_trials", 1, "Trials that must have reached the step.", 1),
        ),
        percentile_stop,
        peers="succeeded",
    ),
    "SuccessiveHalving": Rule(
        "At rungs that grow by a factor, let only the best share of the trials continue (ASHA).",
        (
            _count("min_resource", 1, "Step of the first rung.", 1),
            _count(
                "reduction_factor", 4, "One in this many continues; also the ratio between rungs.", 2, 1000
            ),
            _count("min_early_stopping_rate", 0, "Rungs to skip at the beginning.", 0, 30),
            _BOOTSTRAP,
        ),
        halving_stop,
        peers="all",
    ),
    "Hyperband": Rule(
        "Successive halving in several parallel brackets, some of which start stopping later.",
        (
            _count("min_resource", 1, "Step of the first rung; NNI counts from 1.", 1),
            _count("max_resource", 60, "Last step of a trial; R in NNI.", 1),
            _count("reduction_factor", 3, "One in this many continues; eta in NNI.", 2, 1000),
            _BOOTSTRAP,
        ),
        hyperband_stop,
        peers="all",
        check=_check_hyperband,
    ),
    "Patience": Rule(
        "Stop a trial whose latest results are all worse than its earlier best.",
        (
            _count("patience", 5, "Results without improvement to allow."),
            Argument("min_delta", float, 0.0, "Minimum difference that counts as worse.", 0),
        ),
        patience_stop,
    ),
    "Threshold": Rule(
        "Stop a trial whose result is out of bounds or not a number.",
        (
            Argument("lower", float, None, "Results below this stop the trial."),
            Argument("upper", float, None, "Results above this stop the trial."),
            _WARM_UP,
            _INTERVAL,
        ),
        threshold_stop,
        check=_check_threshold,
    ),
    "Wilcoxon": Rule(
        "Stop a trial that a signed-rank test finds worse than the best trial. For cross-validation folds, not epochs.",
        (
            Argument("p_threshold", float, 0.1, "Trials with a p value below this are stopped.", 0, 1),
            _count("n_startup_steps", 2, "Common steps before the first check."),
        ),
        wilcoxon_stop,
        peers="succeeded",
    ),
}

# Other names, Optuna's among them, for the same rules.
_ALIASES = {"asha": "SuccessiveHalving", "patient": "Patience", "nop": "none", "": "none"}


def canonical(name: str) -> str:
    """Return the canonical name of a rule for any spelling: `medianstop`, `ASHA`, `HyperbandPruner`."""
    folded = name.casefold().removesuffix("pruner")
    by_folded = {rule_name.casefold(): rule_name for rule_name in EARLY_STOPPING}
    return by_folded.get(folded) or _ALIASES.get(folded, name)


def check_early_stopping(name: str, arguments: dict) -> list[Fault]:
    """Return the faults of this choice of early stopping."""
    if name not in EARLY_STOPPING:
        hint = nearest(name, EARLY_STOPPING) or f" Use one of {', '.join(EARLY_STOPPING)}."
        return [Fault("early_stopping", f"Unknown early-stopping rule {str(name)[:40]!r}.{hint}")]
    rule = EARLY_STOPPING[name]
    return check_arguments(arguments, rule.arguments) or rule.check(with_defaults(arguments, rule.arguments))


def reason_to_stop(name: str, arguments: dict, trial: RunningTrial) -> str:
    """Return why the trial should stop now, or "" to let it continue."""
    rule = EARLY_STOPPING[name]
    return rule.reason_to_stop(trial, **with_defaults(arguments, rule.arguments))
