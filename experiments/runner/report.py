"""What a trial said about itself, whatever the dialect it said it in."""

from dataclasses import dataclass

MAX_POINTS = 100_000  # of one series; what comes after is counted, not kept
MAX_SERIES = 1_000  # of one trial
MAX_NAME = 200  # characters


@dataclass(frozen=True, slots=True)
class Report:
    """One value of one metric.

    `value` is a finite number, or None when what was reported is not one; then `text` is what it was (at most
    200 characters). `final`: the result of the trial, else a point of the series at `step`.
    """

    name: str
    step: int
    value: float | None
    text: str = ""
    final: bool = False
