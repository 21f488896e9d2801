"""A metric value that a trial reported, in any dialect."""

from dataclasses import dataclass, field

MAX_POINTS = 100_000  # of one series; later points are counted, not stored
MAX_SERIES = 1_000  # of one trial
MAX_NAME = 200  # characters


@dataclass(frozen=True, slots=True)
class Report:
    """One value of one metric.

    `value` is a finite number, or None when the reported value is not; then `text` is that value (at most 200
    characters). With a number, `text` is the whole number that `value` had to round. `final`: the result of the trial,
    otherwise a point of the series at `step`. `progress`: (steps done, steps in total), if the trial reported the
    total. `at`: when the trial reported it, in seconds since 1970 by the clock of its machine, if the report has a
    time.
    """

    name: str
    step: int
    value: float | None
    text: str = ""
    final: bool = False
    progress: tuple[int, int] | None = None
    at: float | None = field(default=None, compare=False)
