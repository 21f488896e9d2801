"""The CPU time of a proposal after many past trials.

    python -m benchmarks.proposals [--trials 100 1000 10000] [--algorithms TPE Random] [--json]
    python -m benchmarks.proposals --first-look 1000 10000 100000 [--algorithms TPE CMA-ES] [--pg] [--json]

Eight parameters of all types. The past is known to the process, as control knows it after its first look at an
experiment; each proposal is for one new trial. Beside it Optuna's own `study.ask()` on an in-memory study that is kept,
which never has to fit what the search space of the past was.

`--first-look`: a new process reads so many finished trials from a database of its own, and makes its first proposal,
for which all trials must be fitted to the search space, and then the next one, when they are known. Processor times of
these steps, memory that is kept without the pages of files, and the peak of the process. The last column is what early
stopping (Medianstop) reads in addition, with five results per trial.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

import optuna

from benchmarks import first_look
from benchmarks.rows import settle_in
from benchmarks.stage import machine, stage
from experiments.search.engine import PastTrial, Problem, propose
from experiments.search.space import Space, parse

SPACE = {
    "learning_rate": {"_type": "loguniform", "_value": [1e-5, 1e-1]},
    "dropout": {"_type": "uniform", "_value": [0, 0.5]},
    "layers": {"_type": "randint", "_value": [1, 9]},
    "optimizer": {"_type": "choice", "_value": ["adam", "sgd", "lamb"]},
    **{f"weight_{n}": {"_type": "uniform", "_value": [0, 1]} for n in range(4)},
}
REPEATS = 15


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--algorithms", nargs="+", default=["TPE", "Random"])
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--first-look", type=int, nargs="+", help="numbers of finished trials in a database")
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) for the first look")
    options = parser.parse_args()
    if options.first_look:
        first_looks(options.first_look, options.algorithms, uses_postgres=options.pg, as_json=options.json)
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = parse(SPACE)
    if not options.json:
        print(f"{'algorithm':12}{'trials':>8}{'ours':>10}{'Optuna':>10}{'ratio':>8}")
    for algorithm in options.algorithms:
        for count in options.trials:
            past = past_of(space, count)
            problem = Problem(space, algorithm, {}, seed=1, direction="maximize")
            ours = cpu_ms(
                lambda n, k=count, p=problem, t=past: propose(p, t, [k + 1 + n], cache_key="benchmark")
            )
            theirs = cpu_ms(asking(algorithm, past))
            if options.json:
                print(
                    json.dumps(
                        {"algorithm": algorithm, "trials": count, "cpu_ms": ours, "optuna_cpu_ms": theirs}
                    )
                )
            else:
                print(
                    f"{algorithm:12}{count:8,}{ours:7.1f} ms{theirs:7.1f} ms{ours / theirs:8.2f}", flush=True
                )


def first_looks(counts: list[int], algorithms: list[str], *, uses_postgres: bool, as_json: bool) -> None:
    with stage(uses_postgres=uses_postgres):
        if not as_json:
            print(machine(uses_postgres=uses_postgres))
            print(
                f"{'algorithm':12}{'trials':>9}{'read':>10}{'first':>10}{'next':>10}{'kept':>10}{'peak':>10}{'peers':>11}"
            )
        for count in counts:
            experiment = first_look.seed(SPACE, count)
            settle_in()
            for algorithm in algorithms:
                figures = first_look.measure(experiment, algorithm)
                if as_json:
                    print(json.dumps(figures), flush=True)
                    continue
                print(
                    f"{algorithm:12}{count:9,}{figures['read_cpu_ms']:7,.0f} ms{figures['first_cpu_ms']:7,.0f} ms"
                    f"{figures['next_cpu_ms']:7,.0f} ms{figures['kept_mib']:6,} MiB{figures['peak_mib']:6,} MiB"
                    f"{figures['early_stopping_cpu_ms']:8,.0f} ms",
                    flush=True,
                )


def past_of(space: Space, count: int) -> list[PastTrial]:
    rng = random.Random(3)
    return [
        PastTrial(number, number, raw, space.key(space.shown(raw)), "done", rng.random())
        for number, raw in enumerate(space.draws(count, seed=1), start=1)
    ]


def asking(algorithm: str, past: list[PastTrial]) -> Callable[[int], object]:
    """Return a function that asks Optuna itself for the next proposal."""
    samplers = optuna.samplers
    sampler = samplers.TPESampler(seed=1) if algorithm == "TPE" else samplers.RandomSampler(seed=1)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    of = optuna.distributions
    distributions: dict[str, of.BaseDistribution] = {
        "learning_rate": of.FloatDistribution(1e-5, 1e-1, log=True),
        "dropout": of.FloatDistribution(0, 0.5),
        "layers": of.IntDistribution(1, 8),
        "optimizer": of.CategoricalDistribution(["adam", "sgd", "lamb"]),
        **{f"weight_{n}": of.FloatDistribution(0, 1) for n in range(4)},
    }
    study.add_trials(
        optuna.trial.create_trial(params=trial.raw, distributions=distributions, value=trial.value)
        for trial in past
    )

    def ask(number: int) -> object:
        trial = study.ask(distributions)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return trial

    return ask


def cpu_ms(step: Callable[[int], object]) -> float:
    """Return the median of the processor time, in milliseconds; the first call warms up."""
    step(0)
    times = []
    for number in range(1, REPEATS + 1):
        began = time.process_time()
        step(number)
        times.append(1000 * (time.process_time() - began))
    return round(statistics.median(times), 2)


if __name__ == "__main__":
    main()
