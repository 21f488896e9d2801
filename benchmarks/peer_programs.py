"""The two other programs of benchmarks.peers, each in a separate process. They print the trials' output lines as one
line of JSON.

    python -m benchmarks.peer_programs optuna FOLDER SCRIPT COUNT SLOTS
    python -m benchmarks.peer_programs celery FOLDER SCRIPT COUNT SLOTS      # FOLDER: that of the embedded broker
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from celery import Celery

from experiments import broker


def main() -> None:
    name, folder, script, count, slots = sys.argv[1:]
    program = {"optuna": through_optuna, "celery": through_celery}[name]
    print(json.dumps(program(Path(folder), script, int(count), int(slots))))


def run(script: str) -> str:
    """Run a trial and return its output."""
    return subprocess.run(["bash", "-e", "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout


def through_optuna(folder: Path, script: str, count: int, slots: int) -> list[str]:
    """Run trials by an Optuna study in an SQLite file with random search, with one thread per slot."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    outputs: list[str] = []

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        trial.suggest_int("n", 1, 8)
        output = run(script)
        outputs.append(output)
        match = re.search(r"value=([\d.]+)", output)
        assert match, output
        return float(match[1])

    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'optuna.sqlite3'}", sampler=optuna.samplers.RandomSampler(seed=1)
    )
    study.optimize(objective, n_trials=count, n_jobs=slots)
    return outputs


def through_celery(folder: Path, script: str, count: int, slots: int) -> list[str]:
    """Run trials by a Celery worker with one thread per slot and one message per trial. Nothing is stored."""
    app = Celery("peers", broker=broker.url(folder).replace("virtual_host=0", "virtual_host=9"))
    app.conf.update(worker_prefetch_multiplier=1, task_ignore_result=True, worker_hijack_root_logger=False)
    outputs: list[str] = []
    done = threading.Event()

    @app.task(name="peers.trial")
    def trial() -> None:
        outputs.append(run(script))
        if len(outputs) == count:
            done.set()

    for _ in range(count):
        trial.delay()
    worker: Any = app.Worker(
        pool="threads", concurrency=slots, loglevel="ERROR", without_gossip=True, without_mingle=True
    )
    threading.Thread(target=worker.start, daemon=True).start()
    done.wait()
    worker.stop()
    return outputs


if __name__ == "__main__":
    main()
