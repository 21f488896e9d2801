"""The horizontal axis of curves: the reported step, or the time since the trial's start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.http import HttpRequest

from experiments.charts.drawing.time_unit import time_unit
from experiments.query_parameters import choice

CurvePoint = tuple[int, float | None, float | None]  # step, seconds since the start of the trial, value
Points = list[tuple[float, float | None]]

BY = choice("step", "time")  # the query parameter `by`


@dataclass(frozen=True, slots=True)
class CurveAxis:
    """The chosen axis. `without_times`: the names of curves without times, of `count` curves in total; `unit` and
    `unit_s`: the unit of time."""

    is_time: bool
    without_times: tuple[str, ...] = ()
    count: int = 0
    unit: str = "seconds"
    unit_s: int = 1

    @classmethod
    def of(cls, request: HttpRequest, curves: Mapping[str, Iterable[CurvePoint]]) -> CurveAxis:
        """Return the axis in `?by=` for curves by name; by step if no curve has times."""
        ends = {
            name: max((elapsed for _, elapsed, _ in rows if elapsed is not None), default=None)
            for name, rows in curves.items()
        }
        timed = [end for end in ends.values() if end is not None]
        unit, unit_s = time_unit(max(timed, default=0.0))
        return cls(
            is_time=request.GET.get("by") == "time" and bool(timed),
            without_times=tuple(name for name, end in ends.items() if end is None),
            count=len(ends),
            unit=unit,
            unit_s=unit_s,
        )

    @property
    def has_times(self) -> bool:
        """Whether a curve can be drawn by time."""
        return len(self.without_times) < self.count

    @property
    def name(self) -> str:
        """`step` or `time`, for titles."""
        return "time" if self.is_time else "step"

    @property
    def label(self) -> str:
        """`step`, or `time in minutes`."""
        return f"time in {self.unit}" if self.is_time else "step"

    @property
    def x_name(self) -> str:
        """The axis label in descriptions."""
        return self.unit if self.is_time else "step"

    def points(self, rows: Iterable[CurvePoint]) -> Points:
        """Return (x, value) in rising order of x; by time, without points that have no time."""
        if not self.is_time:
            return [(float(step), value) for step, _, value in rows]
        timed = ((elapsed, value) for _, elapsed, value in rows if elapsed is not None)
        in_order = sorted(timed, key=lambda point: point[0])
        return [(round(elapsed / self.unit_s, 6), value) for elapsed, value in in_order]
