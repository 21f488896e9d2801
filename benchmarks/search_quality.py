"""Search quality: the same number of trials in Trialdeck, in an Optuna study, and at random, over many seeds.

    python -m benchmarks.search_quality [--quick] [--seeds 40] [--trials 60] [--only Branin TPE "8 at a time"] [--pg]
                                        [--json]

Ours take the real path, but for processes: rows in a database, scheduled, enqueued, claimed and settled; now and then
everything is forgotten, as by a restart. Optuna's study is one object that lives from the first trial to the last,
with the same sampler and Optuna's own defaults. The ways:

- 1 at a time;
- 8 at a time: suggestions are made ahead, and whichever running trial ends next, by the seed, has the next result;
- edited: after half of the trials the space is changed; with Optuna, a new study of the new space replaces the old one
  and adds the trials that still fit.

In the lines with failing regions a part of the trials fails, and the share of failures is compared as well. Optuna's
study is told that they were pruned, as its documentation recommends; a third study, that they failed, for information.

What to optimize is the best value found, as its distance from the minimum (with two objectives the hypervolume, as its
distance from that of the whole front): median and quartiles over the seeds, of which Optuna and chance, which cost next
to nothing, have three times as many. Ours is "worse" when a one-sided Mann-Whitney
test says so at p < 0.01, of the value or of the share: of a hundred lines one is expected to, by chance alone, and is
to be repeated with other seeds. The status is 1 when a line is worse.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from random import Random
from typing import Any

import numpy
import optuna
from optuna._hypervolume import compute_hypervolume
from optuna.trial import TrialState
from scipy.stats import mannwhitneyu

from benchmarks.functions import FAILING, FUNCTIONS, TWO_VALUES, Function
from benchmarks.stage import machine, stage
from tests.support.valkey import Valkey

WORSE_P = 0.01
RIVALS = 3  # factor for the number of seeds of cheap searches
FORGETS_EVERY = 7  # results
WAYS = {"1 at a time": (1, False), "8 at a time": (8, False), "edited": (1, True)}  # concurrency, is edited

Value = float | tuple[float, float] | None  # None: failed; two of a function with two objectives
Values = list[Value]  # of all trials, in the order of their ends
Sampler = Callable[..., optuna.samplers.BaseSampler]
SAMPLERS: dict[str, Sampler] = {
    "TPE": optuna.samplers.TPESampler,
    "QMC": partial(optuna.samplers.QMCSampler, scramble=True, warn_independent_sampling=False),
    "Random": optuna.samplers.RandomSampler,
    "CMA-ES": partial(optuna.samplers.CmaEsSampler, warn_independent_sampling=False),
    "NSGA-II": optuna.samplers.NSGAIISampler,
    "GP": optuna.samplers.GPSampler,
    "Evolution": optuna.samplers.RandomSampler,  # NNI's, and the next one too: Optuna has nothing like them
    "Anneal": optuna.samplers.RandomSampler,
}
FLAT_ONLY = ("CMA-ES",)
NOT_NESTED = ("NSGA-II", "GP")
LEARNING = ("TPE", "CMA-ES", "NSGA-II", "GP", "Evolution", "Anneal")  # algorithms that learn from failures
SEVERAL = ("TPE", "NSGA-II")  # algorithms for several objectives
NO_RESULT = 1e9  # the distance of a search without a result
TIMES = {
    "CMA-ES": 3,
    "NSGA-II": 5,
    "Evolution": 5,
    "Anneal": 3,
}  # factors for the number of trials: these algorithms need more to start


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    function: Function
    way: str
    algorithm: str
    trials: int

    @property
    def concurrency(self) -> int:
        return WAYS[self.way][0]

    @property
    def is_edited(self) -> bool:
        return WAYS[self.way][1]

    @property
    def first_space(self) -> dict:
        return self.function.before if self.is_edited else self.function.space

    def __str__(self) -> str:
        return f"{self.function.name}, {self.algorithm}, {self.way}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="TPE on three functions, about a minute")
    parser.add_argument("--seeds", type=int, help="how often each line is repeated (default: 40; quick: 8)")
    parser.add_argument("--first-seed", type=int, default=1, help="to repeat a line with other seeds")
    parser.add_argument("--trials", type=int, help="of each search (default: 60; quick: 30)")
    parser.add_argument("--only", nargs="+", default=[], help="lines with these words, all of them")
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of the table")
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + (options.seeds or (8 if options.quick else 40)))
    trials = options.trials or (30 if options.quick else 60)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # of experimental samplers, and of trials that do not fit a changed space
    with stage(uses_postgres=options.pg) as data:
        prepare()
        if not options.json:
            print(
                machine(uses_postgres=options.pg),
                f"Optuna {optuna.__version__}",
                f"{len(seeds)} seeds",
                sep=", ",
            )
            print(HEAD, flush=True)
        began, worse = time.monotonic(), 0
        for case in cases(trials, is_quick=options.quick):
            if all(word.casefold() in str(case).casefold() for word in options.only):
                worse += report(case, seeds, as_json=options.json)
                Valkey(data).wipe()  # nothing reads the messages
        if not options.json:
            print(f"\n{worse} worse; {time.monotonic() - began:.0f} s")
    return 1 if worse else 0


def cases(trials: int, *, is_quick: bool) -> list[Case]:
    if is_quick:
        some = [function for function in FUNCTIONS if function.name not in ("Hartmann 6", "Rosenbrock 4")]
        return [Case(function, way, "TPE", trials) for function in some for way in WAYS] + [
            Case(function, "1 at a time", "TPE", trials) for function in FAILING[:2]
        ]
    return (
        [
            Case(function, way, algorithm, trials * TIMES.get(algorithm, 1))
            for algorithm in SAMPLERS
            if algorithm != "GP" or find_spec("torch")
            for function in FUNCTIONS
            if function.is_flat or algorithm not in FLAT_ONLY
            if not function.is_nested or algorithm not in NOT_NESTED
            for way in WAYS
        ]
        + [
            Case(function, way, algorithm, trials * TIMES.get(algorithm, 1))
            for algorithm in LEARNING
            if algorithm != "GP" or find_spec("torch")
            for function in FAILING
            if function.is_flat or algorithm not in FLAT_ONLY
            for way in ("1 at a time", "8 at a time")
        ]
        + [
            Case(function, way, algorithm, trials * TIMES.get(algorithm, 1))
            for algorithm in SEVERAL
            for function in TWO_VALUES
            for way in ("1 at a time", "8 at a time")
        ]
    )


# --- results -----------------------------------------------------------------------------------------

HEAD = """
| function | trials | way | algorithm | Trialdeck | Optuna | Optuna (FAIL) | at random | ratio to Optuna | p | failed: Trialdeck | Optuna | Optuna (FAIL) | at random | p | |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501


def report(case: Case, seeds: range, *, as_json: bool) -> bool:
    """Print one line; return whether Trialdeck is worse."""
    ours = [ours_of(case, seed) for seed in seeds]
    sampler = SAMPLERS[case.algorithm]
    theirs = [theirs_of(case, seed, sampler) for seed in more_than(seeds)]
    told_fail = (
        [theirs_of(case, seed, sampler, failure=TrialState.FAIL) for seed in more_than(seeds)]
        if case.function.fails
        else theirs
    )
    chance = [theirs_of(case, seed, SAMPLERS["Random"]) for seed in more_than(seeds)]
    everyone = (ours, theirs, told_fail, chance)
    distances = [[distance(case, values) for values in runs] for runs in everyone]
    shares = [[failure_share(values) for values in runs] for runs in everyone]
    p = p_of(*distances[:2])
    p_failed = p_of(*shares[:2]) if case.function.fails else None
    is_worse = min(p, 1.0 if p_failed is None else p_failed) < WORSE_P
    their_median = statistics.median(distances[1])
    ratio = statistics.median(distances[0]) / their_median if their_median else float("nan")
    verdict = "worse" if is_worse else "not worse"
    if as_json:
        names = ("trialdeck", "optuna", "optuna_fail", "random")
        line = {
            "function": case.function.name,
            "trials": case.trials,
            "way": case.way,
            "algorithm": case.algorithm,
            "seeds": len(seeds),
            "distance": dict(zip(names, map(quartiles, distances), strict=True)),
            "p": p,
            "failed": dict(zip(names, map(quartiles, shares), strict=True)) if case.function.fails else None,
            "p_failed": p_failed,
            "is_worse": is_worse,
        }
        print(json.dumps(line), flush=True)
        return is_worse
    words = (
        case.function.name,
        str(case.trials),
        case.way,
        case.algorithm,
        *map(spread, distances),
        f"{ratio:.2f}",
        p_text(p),
        *(map(spread, shares) if case.function.fails else [""] * len(everyone)),
        "" if p_failed is None else p_text(p_failed),
        verdict,
    )
    print("| " + " | ".join(words) + " |", flush=True)
    return is_worse


def p_of(ours: list[float], theirs: list[float]) -> float:
    """Return the probability that chance alone would make ours this much greater."""
    if len({*ours, *theirs}) == 1:
        return 1.0
    return float(mannwhitneyu(ours, theirs, alternative="greater").pvalue)


def p_text(p: float) -> str:
    return f"{p:.2f}" if p >= WORSE_P else f"{p:.4f}"


def more_than(seeds: range) -> range:
    return range(seeds.start, seeds.start + RIVALS * len(seeds))


def distance(case: Case, values: Values) -> float:
    """Return the distance of the best value from the minimum."""
    assert len(values) == case.trials
    if case.function.second:
        return max(-hypervolume(values, case.function.reference) - case.function.least, 0.0)
    distances_found = [value for value in values if isinstance(value, float)]
    return max(min(distances_found) - case.function.least, 0.0) if distances_found else NO_RESULT


def hypervolume(values: Values, reference: tuple[float, float]) -> float:
    """Return the hypervolume that these points dominate up to the reference point."""
    points = [value for value in values if isinstance(value, tuple)]
    inside = [point for point in points if point[0] <= reference[0] and point[1] <= reference[1]]
    return float(compute_hypervolume(numpy.array(inside), numpy.array(reference))) if inside else 0.0


def failure_share(values: Values) -> float:
    return sum(value is None for value in values) / len(values)


def quartiles(distances_found: list[float]) -> list[float]:
    """Return [lower quartile, median, upper quartile]."""
    return statistics.quantiles(distances_found, n=4, method="inclusive")


def spread(distances_found: list[float]) -> str:
    low, middle, high = quartiles(distances_found)
    return f"{middle:.2g} ({low:.2g} to {high:.2g})"


def value_of(function: Function, params: Mapping) -> Value:
    """Return the value or both values; None if the trial fails."""
    if function.fails and function.fails(params):
        return None
    value = function.of(params)
    return (value, function.second(params)) if function.second else value


# --- ours --------------------------------------------------------------------------------------------------


def prepare() -> None:
    from experiments.models import Queue, User, Worker, Workspace

    Queue.default()
    Workspace.open("bench", owner=User.objects.create_superuser("bench"))
    Worker.register("bench", host="here", pid=1, queues=["default"], slots=8, lease_s=15)


def ours_of(case: Case, seed: int) -> Values:
    """Return the values of all trials of Trialdeck, in the order of their ends."""
    from experiments.models import Experiment, Failure, Outcome, Settings, Trial, User, Worker, Workspace
    from experiments.scheduler.conductor import schedule

    user, worker = User.objects.get(), Worker.objects.get()
    document = {
        "command": "true",
        "space_document": case.first_space,
        "metric": "value",
        "direction": "minimize",
        "algorithm": case.algorithm,
        "seed": seed,
        "max_trials": case.trials,
        "concurrency": case.concurrency,
        "breaker": 0,
        "further_objectives": {"second": "minimize"} if case.function.second else {},
    }
    workspace, chance = Workspace.objects.get(), Random(seed)
    experiment = Experiment.draft(workspace, by=user, name=str(case), settings=Settings.checked(document))
    experiment.enqueue(by=user)
    values: Values = []
    running: list[Trial] = []
    while len(values) < case.trials:
        if len(values) % FORGETS_EVERY == 0:
            forget()
        schedule(experiment.pk)
        while trial := Trial.take(worker, ["default"]):
            running.append(trial)
        trial = running.pop(chance.randrange(len(running)))
        values.append(value_of(case.function, trial.params))
        first, *further = values[-1] if isinstance(values[-1], tuple) else (values[-1],)
        finals = dict(zip(["second"], further, strict=False))
        outcome = Outcome(value=first, final_metrics=finals, exit_code=0)
        if first is None:
            outcome = Outcome(failure=Failure.EXIT_CODE, exit_code=1, detail="ValueError: no")
        assert trial.settle(outcome)
        if case.is_edited and len(values) == case.trials // 2:
            experiment.refresh_from_db()
            changed = Settings.checked({**document, "space_document": case.function.space})
            experiment.update(changed, by=user, seen=experiment.revision.number)
    schedule(experiment.pk)
    experiment.refresh_from_db()
    has_result = any(value is not None for value in values)
    assert experiment.state == ("completed" if has_result else "failed")
    return values


def forget() -> None:
    """Clear all caches, like a restarted control worker."""
    from experiments.scheduler import experiment_cache
    from experiments.search import engine

    experiment_cache.caches.clear()
    engine.clear_caches()


# --- Optuna's ----------------------------------------------------------------------------------------------


def theirs_of(case: Case, seed: int, sampler: Sampler, *, failure: TrialState = TrialState.PRUNED) -> Values:
    """Return the same from an Optuna study with the same concurrency; failed trials are told with the state
    `failure`."""
    directions = ["minimize"] * (2 if case.function.second else 1)
    study = optuna.create_study(sampler=sampler(seed=seed), directions=directions)
    document, chance = case.first_space, Random(seed)
    running: list[tuple[optuna.Trial, dict]] = []
    values: Values = []
    started = 0
    while len(values) < case.trials:
        while len(running) < case.concurrency and started < case.trials:
            trial = study.ask()
            running.append((trial, suggested(trial, document)))
            started += 1
        trial, params = running.pop(chance.randrange(len(running)))
        value = value_of(case.function, params)
        values.append(value)
        if value is None:
            study.tell(trial, state=failure)
        else:
            study.tell(trial, value)
        if case.is_edited and len(values) == case.trials // 2:
            document = case.function.space
            study = moved(study, document, sampler(seed=seed + 1_000_000))
    return values


def moved(study: optuna.Study, document: dict, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """Return a new study of another space, with the trials that fit it."""
    new = optuna.create_study(sampler=sampler)
    for trial in study.trials:
        fixed = optuna.trial.FixedTrial(trial.params)
        try:
            suggested(fixed, document)
            fitting = optuna.trial.create_trial(
                params=fixed.params, distributions=fixed.distributions, value=trial.value
            )
        except ValueError:
            continue
        new.add_trial(fitting)
    return new


def suggested(trial: Any, document: Mapping, before: str = "") -> dict:
    """Return parameters as a user of Optuna would ask for them, in the shape of NNI."""
    values: dict = {}
    for name, parameter in document.items():
        if name == "_name":
            continue
        kind, choices, called = parameter["_type"], parameter["_value"], f"{before}{name}"
        if kind == "choice" and isinstance(choices[0], dict):
            objects = {choice["_name"]: choice for choice in choices}
            taken = trial.suggest_categorical(called, list(objects))
            values[name] = {"_name": taken, **suggested(trial, objects[taken], f"{called}.{taken}.")}
        elif kind == "choice":
            values[name] = trial.suggest_categorical(called, choices)
        elif kind == "randint":
            values[name] = trial.suggest_int(called, choices[0], choices[1] - 1)
        elif kind == "quniform":
            values[name] = trial.suggest_float(called, choices[0], choices[1], step=choices[2])
        else:
            values[name] = trial.suggest_float(called, *choices, log=kind == "loguniform")
    return values


if __name__ == "__main__":
    sys.exit(main())
