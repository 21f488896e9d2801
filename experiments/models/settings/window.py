"""Validation of the start window: when an experiment may start trials."""

from __future__ import annotations

from experiments.timetable import start_window, zones
from experiments.timetable.zones import TimetableError

from .reader import SettingsReader


class WindowChecks(SettingsReader):
    """The part of the settings checker that reads the start window and its time zone."""

    def window(self) -> dict[str, str]:
        """Return the two settings, with the window in its normal form."""
        text = self.text("start_window", limit=1000)
        name = self.text("window_time_zone", default="UTC", limit=64, single_line=True).strip() or "UTC"
        try:
            zones.zone(name)
        except TimetableError as error:
            self.fault("window_time_zone", str(error))
        if text.strip():
            try:
                text = str(start_window.parse(text))
            except TimetableError as error:
                self.fault("start_window", str(error))
        return {"start_window": text.strip(), "window_time_zone": name}
