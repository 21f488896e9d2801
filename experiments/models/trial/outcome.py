"""How a trial's process ended, as its worker saw it."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import models


class Failure(models.TextChoices):
    """Why a trial failed."""

    EXIT_CODE = "exit_code", "Exit code"
    SIGNAL = "signal", "Ended by a signal"
    TIMEOUT = "timeout", "Time limit"
    OUT_OF_MEMORY = "out_of_memory", "Out of memory"
    NO_METRIC = "no_metric", "No metric"
    BAD_METRIC = "bad_metric", "Metric is not a number"
    WORKER_LOST = "worker_lost", "Worker lost"
    SETUP = "setup", "Setup"


@dataclass(frozen=True)
class Outcome:
    """How a trial's process ended, as its worker saw it.

    `value` is the objective, if it could be computed, `so_far` what an early-stopped trial is worth; `final_metrics`
    the other numbers of its final result, by name, those that are not finite as text; `failure` one of `Failure`,
    with one line of `detail`.
    `cpu_s`, `gone_after_s` are seconds (the latter from the stop's signal until the whole tree was gone),
    `peak_memory` bytes; `survivors` the pids of what could not be killed.
    """

    value: float | None = None
    final_metrics: dict[str, float | str] = field(default_factory=dict)
    so_far: float | None = None
    failure: str = ""
    detail: str = ""
    exit_code: int | None = None
    signal: int | None = None
    gone_after_s: float | None = None
    peak_memory: int | None = None
    cpu_s: float | None = None
    survivors: tuple[int, ...] = field(default=())

    @classmethod
    def lost(cls, detail: str) -> Outcome:
        return cls(failure=Failure.WORKER_LOST, detail=detail)
