"""Repeat an experiment: its schedule on the console."""

from __future__ import annotations  # for Python 3.8

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trialdeck.console import Console


class ScheduleControls:
    """The schedule methods of `Experiment`. A schedule is a dict: cron, time_zone, next_times, note, …
    (docs/api.md)."""

    if TYPE_CHECKING:

        @property
        def _path(self) -> str: ...
        def _connected(self) -> Console: ...
        def _require_writable(self) -> None: ...

    def schedule(self, cron: str, time_zone: str = "UTC", overlap: str = "skip") -> dict[str, Any]:
        """Clone and enqueue this experiment at each due time, for example `schedule("0 2 * * 1-5", "Europe/Berlin")`.
        `overlap`: skip or start, while the last clone is active. Return the schedule. Raise Invalid, Forbidden."""
        self._require_writable()
        body = {"cron": cron, "time_zone": time_zone, "overlap": overlap}
        row: dict[str, Any] = self._connected().post(f"{self._path}/schedule", body)
        return row

    def get_schedule(self) -> dict[str, Any] | None:
        """Return the schedule, or None if the experiment is not repeated."""
        try:
            row: dict[str, Any] = self._connected().get(f"{self._path}/schedule")
        except errors.NotFound:
            self._connected().get(self._path)  # raises, if it is the experiment that does not exist
            return None
        return row

    def pause_schedule(self) -> dict[str, Any]:
        """Start no clones until `unpause_schedule`. Return the schedule."""
        self._require_writable()
        row: dict[str, Any] = self._connected().post(f"{self._path}/schedule/pause")
        return row

    def unpause_schedule(self) -> dict[str, Any]:
        """Continue with the next due time. Return the schedule."""
        self._require_writable()
        row: dict[str, Any] = self._connected().post(f"{self._path}/schedule/unpause")
        return row

    def unschedule(self) -> None:
        """Remove the schedule. Its clones are kept."""
        self._require_writable()
        self._connected().delete(f"{self._path}/schedule")
