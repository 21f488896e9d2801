"""The outcome of a trial's process, as its worker saw it."""

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
    BAD_METRIC = "bad_metric", "Invalid metric"
    WORKER_LOST = "worker_lost", "Worker lost"
    SETUP = "setup", "Setup"


# Failures caused by the trial itself, so that its values are to blame; not by its worker, its setup or a person.
OWN_FAILURES = (
    Failure.EXIT_CODE,
    Failure.SIGNAL,
    Failure.TIMEOUT,
    Failure.OUT_OF_MEMORY,
    Failure.NO_METRIC,
    Failure.BAD_METRIC,
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial's process, as its worker saw it.

    `value` is the objective, if there is one, `so_far` the value of an early-stopped trial; `final_metrics` are the
    other numbers of its final result by name, nan and infinities as text; `failure` is one of `Failure`, with one line
    of `detail`. `cpu_s` and `gone_after_s` are seconds (the latter from the signal until the whole process tree was
    gone), `peak_memory` is in bytes; `survivors` are the pids that could not be killed.
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
