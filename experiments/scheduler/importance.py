"""Compute the importance of parameters in the background: one experiment at a time, in a process of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from django.db import close_old_connections
from django.db.models import F, Q

from experiments import database_clock
from experiments.models import Experiment, Importance, TrialState, status
from experiments.models.trial.base import is_number
from experiments.search import importance
from experiments.search.nested_choice import Nested, flat
from experiments.search.parameters import Choice, Randint, Uniform

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]  # the folder that contains the package `experiments`
MOST_READ = 4_000  # rows of trials, of which some have not succeeded or lack a further objective
GROWTH = 1.2  # growth of the number of results after which a running experiment's importance is recomputed
LIMIT_S = 120.0
POLL_S = 0.5
NICENESS = 10
FAILED = "The computation failed. See the log of the control process."


def due() -> Experiment | None:
    """Return the next experiment whose importance is missing or outdated, the latest change first."""
    has_grown = Q(succeeded_count__gte=F("importance__succeeded_count") * GROWTH)
    has_changed = ~Q(succeeded_count=F("importance__succeeded_count"))
    is_over = ~Q(state__in=status.ACTIVE)
    is_outdated = Q(importance=None) | ~Q(importance__epoch=F("epoch")) | has_grown | (is_over & has_changed)
    candidates = Experiment.objects.filter(is_outdated, succeeded_count__gte=importance.FEWEST)
    return candidates.select_related("revision").order_by("-updated_at").first()


def inputs(experiment: Experiment) -> dict[str, Any]:
    """Return the document for `experiments.search.importance`: at most 1,000 evenly spaced succeeded trials."""
    succeeded = experiment.trials.filter(state=TrialState.SUCCEEDED, value__isnull=False)
    numbers = _spaced(experiment)
    if numbers:
        succeeded = succeeded.filter(number__in=numbers)
    further = tuple(experiment.further_objectives)
    fields = ["params", "value", *(["final_metrics"] if further else [])]
    rows = list(succeeded.order_by("number").values_list(*fields)[:MOST_READ])
    if further:  # imported trials may lack some
        rows = [row for row in rows if all(is_number(row[2].get(name)) for name in further)]
    if len(rows) > importance.MOST:
        step = (len(rows) - 1) / (importance.MOST - 1)
        rows = [rows[round(step * place)] for place in range(importance.MOST)]
    cells = [flat(row[0]) for row in rows]
    leaves = {"/".join(path[::2]): leaf for path, leaf in experiment.settings.space.every_leaf()}
    return {
        "columns": {
            name: [row.get(name) for row in cells]
            for name in leaves
            if cells and all(name in row for row in cells)
        },
        "bounds": {
            name: [leaf.low, leaf.high]
            for name, leaf in leaves.items()
            if isinstance(leaf, Randint | Uniform)
        },
        "choices": [name for name, leaf in leaves.items() if isinstance(leaf, Choice | Nested)],
        "values": [row[1] for row in rows],
        "further": {name: [row[2][name] for row in rows] for name in further},
    }


def store(experiment: Experiment, document: dict[str, Any], answer: dict[str, Any]) -> Importance:
    """Store the output of `experiments.search.importance`, replacing the previous one."""
    row, _ = Importance.objects.update_or_create(
        experiment=experiment,
        defaults={
            "epoch": experiment.epoch,
            "computed_at": database_clock.now(),
            "succeeded_count": experiment.succeeded_count,
            "trial_count": len(document["values"]),
            "shares": answer.get("shares", {}),
            "problem": answer.get("problem", "")[:200],
            "further": answer.get("further", {}),
        },
    )
    return row


def compute(
    document: dict[str, Any], ending: threading.Event, *, module: str = "experiments.search.importance"
) -> dict[str, Any] | None:
    """Run the computation in a process with low priority; None when `ending` was set before it ended."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
    until, text = time.monotonic() + LIMIT_S, json.dumps(document)
    try:
        while True:
            try:
                output, errors = process.communicate(text, timeout=POLL_S)
                break
            except subprocess.TimeoutExpired:
                text = ""  # communicate() keeps the input that is not sent yet
                if ending.is_set():
                    return None
                if time.monotonic() > until:
                    return {"problem": f"The computation took longer than {LIMIT_S:.0f} s."}
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        logger.warning("%s failed: %s", module, errors.strip()[-500:])
        return {"problem": FAILED}
    return json.loads(output)


class Background:
    """Computes one importance at a time, in a thread next to the beat."""

    name = "importance"

    def __init__(self) -> None:
        self.ending = threading.Event()
        self._thread: threading.Thread | None = None

    def tick(self) -> bool:
        """Start the next computation, unless one is running. Return whether one was started."""
        if self._thread and self._thread.is_alive():
            return False
        experiment = self.due()
        if experiment is None:
            return False
        self._thread = threading.Thread(target=self._run, args=[experiment], name=self.name, daemon=True)
        self._thread.start()
        return True

    def join(self) -> None:
        """Wait until the running computation has ended."""
        if self._thread:
            self._thread.join()

    def due(self) -> Experiment | None:
        """Return the next experiment to compute."""
        return due()

    def work(self, experiment: Experiment) -> None:
        """Compute and store."""
        document = inputs(experiment)
        answer = compute(document, self.ending)
        if answer is not None:
            store(experiment, document, answer)

    def give_up(self, experiment: Experiment) -> None:
        """Store the failure as the result. Otherwise this experiment would stay first in order, and block all
        others."""
        store(experiment, {"values": []}, {"problem": FAILED})

    def _run(self, experiment: Experiment) -> None:
        try:
            self.work(experiment)
        except Exception:  # a bug here must not end the process that schedules experiments
            logger.exception("The %s of %s could not be computed", self.name, experiment)
            self.give_up(experiment)
        finally:
            close_old_connections()


def _spaced(experiment: Experiment) -> list[int]:
    """Return evenly spaced trial numbers, of which about 1,000 have succeeded; [] means all trials."""
    settled = max(experiment.last_number, 1)
    sample_size = min(MOST_READ, int(1.5 * importance.MOST * settled / max(experiment.succeeded_count, 1)))
    if settled <= sample_size:
        return []
    step = settled / sample_size
    return sorted({round(step * (place + 1)) for place in range(sample_size)})
