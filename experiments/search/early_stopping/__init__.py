"""Early stopping: is a running trial so far behind that it should end? Pure, no Optuna.

A rule is a function of rows: of the trial's curve, of the step up to which it was judged before, and of the curves
of others. So a restart changes nothing. A new rule is a function and an entry in EARLY_STOPPING.
"""

from collections.abc import Callable
from dataclasses import dataclass

from experiments.search.validation import Argument, Fault, check_arguments, filled, nearest

from .curve import Case, Curve, Rival
from .curve_fitting import curve_stop
from .halving import halving_stop, hyperband_stop
from .median import median_stop, percentile_stop
from .own_curve import patience_stop, threshold_stop, wilcoxon_stop

__all__ = ["EARLY_STOPPING", "Case", "Curve", "Rival", "Rule", "canonical", "check_early_stopping", "judge"]

MOST_STEPS = 10**9


@dataclass(frozen=True)
class Rule:
    """An early-stopping rule that a user may choose, and its arguments.

    `judge(case, **arguments)` says why the trial is to end, or nothing. `rivals` says which other trials it wants
    to see: "" none, "succeeded", or "all" (running, stopping early, early-stopped and succeeded ones).
    """

    summary: str
    arguments: tuple[Argument, ...] = ()
    judge: Callable[..., str] = lambda case: ""
    rivals: str = ""
    check: Callable[[dict], list[Fault]] = lambda arguments: []


def _count(name: str, default: int, meaning: str, low: int = 0, high: int = MOST_STEPS) -> Argument:
    return Argument(name, int, default, meaning, low, high)


_WARM_UP = _count("n_warmup_steps", 0, "The step from which trials are judged.")
_INTERVAL = _count("interval_steps", 1, "Judge at every so many steps.", 1)
_BOOTSTRAP = _count("bootstrap_count", 0, "Trials that must reach a rung before anybody goes on from it.")


def _check_threshold(arguments: dict) -> list[Fault]:
    lower, upper = arguments["lower"], arguments["upper"]
    if lower is None and upper is None:
        return [Fault("arguments", "Give lower, upper, or both: results beyond them end a trial.")]
    if None not in (lower, upper) and lower > upper:
        return [Fault("lower", f"lower ({lower:g}) is greater than upper ({upper:g}); swap them.")]
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
    return [
        Fault("start_step", f"A trial with {start} results has nothing left of its {end}: judge earlier.")
    ]


EARLY_STOPPING: dict[str, Rule] = {
    "none": Rule("Let every trial run to its end."),
    "Medianstop": Rule(
        "Stop a trial whose best result so far is worse than the median of the finished trials' averages.",
        (_count("start_step", 0, "Results that a trial reports before it is judged.", 0, 9999),),
        median_stop,
        rivals="succeeded",
    ),
    "Curvefitting": Rule(
        "Predict a trial's final result from its curve; stop it when that falls short of the best.",
        (
            _count("epoch_num", 20, "Results that a trial reports in all.", 2),
            _count("start_step", 6, "Results that a trial reports before it is judged.", 3),
            Argument("threshold", float, 0.95, "Share of the best that the prediction must reach.", 0, 1),
            _count("gap", 1, "Results between two judgements.", 1),
        ),
        curve_stop,
        rivals="succeeded",
        check=_check_fitting,
    ),
    "Percentile": Rule(
        "Stop a trial whose best result so far is not in the best percents of the finished ones at that step.",
        (
            Argument("percentile", float, 25.0, "Percent of the trials that go on.", 0, 100),
            _count("n_startup_trials", 5, "Trials that must have succeeded before anybody is judged."),
            _WARM_UP,
            _INTERVAL,
            _count("n_min_trials", 1, "Trials that must have got to the step.", 1),
        ),
        percentile_stop,
        rivals="succeeded",
    ),
    "SuccessiveHalving": Rule(
        "At steps that grow by a factor, let only the best share of the trials go on (ASHA).",
        (
            _count("min_resource", 1, "The step of the first rung.", 1),
            _count(
                "reduction_factor",
                4,
                "One of so many goes on; the next rung is so many times as far.",
                2,
                1000,
            ),
            _count("min_early_stopping_rate", 0, "Rungs to leave out at the beginning.", 0, 30),
            _BOOTSTRAP,
        ),
        halving_stop,
        rivals="all",
    ),
    "Hyperband": Rule(
        "Successive halving in several brackets side by side, some of which begin later.",
        (
            _count("min_resource", 1, "The step of the first rung; NNI counts from 1.", 1),
            _count("max_resource", 60, "The last step of a trial; NNI's R.", 1),
            _count("reduction_factor", 3, "One of so many goes on; NNI's eta.", 2, 1000),
            _BOOTSTRAP,
        ),
        hyperband_stop,
        rivals="all",
        check=_check_hyperband,
    ),
    "Patience": Rule(
        "Stop a trial whose latest results are all worse than what it had reached before.",
        (
            _count("patience", 5, "Results to wait for a better one."),
            Argument("min_delta", float, 0.0, "How much worse they must be.", 0),
        ),
        patience_stop,
    ),
    "Threshold": Rule(
        "Stop a trial whose result lies beyond a bound, or is no number.",
        (
            Argument("lower", float, None, "Results below end the trial."),
            Argument("upper", float, None, "Results above end the trial."),
            _WARM_UP,
            _INTERVAL,
        ),
        threshold_stop,
        check=_check_threshold,
    ),
    "Wilcoxon": Rule(
        "Stop a trial that a signed-rank test finds worse than the best, step by step; for folds, not for epochs.",
        (
            Argument("p_threshold", float, 0.1, "The p value below which it ends.", 0, 1),
            _count("n_startup_steps", 2, "Steps in common before it is judged."),
        ),
        wilcoxon_stop,
        rivals="succeeded",
    ),
}

# Optuna's and other names for the same.
_ALIASES = {"asha": "SuccessiveHalving", "patient": "Patience", "nop": "none", "": "none"}


def canonical(name: str) -> str:
    """The rule's name as we write it, however it is spelled: `medianstop`, `ASHA`, `HyperbandPruner`."""
    folded = name.casefold().removesuffix("pruner")
    by_folded = {known.casefold(): known for known in EARLY_STOPPING}
    return by_folded.get(folded) or _ALIASES.get(folded, name)


def check_early_stopping(name: str, arguments: dict) -> list[Fault]:
    """Say what is wrong with this choice of early stopping."""
    if name not in EARLY_STOPPING:
        hint = nearest(name, EARLY_STOPPING) or f" Use one of {', '.join(EARLY_STOPPING)}."
        return [Fault("early_stopping", f"There is no early stopping called {str(name)[:40]!r}.{hint}")]
    rule = EARLY_STOPPING[name]
    return check_arguments(arguments, rule.arguments) or rule.check(filled(arguments, rule.arguments))


def judge(name: str, arguments: dict, case: Case) -> str:
    """Say why the trial is to end now; empty: it goes on."""
    rule = EARLY_STOPPING[name]
    return rule.judge(case, **filled(arguments, rule.arguments))
