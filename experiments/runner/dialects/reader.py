"""What the readers of all dialects share: a file that a trial appends to, and bounds on what it may say."""

import json
import math
import os
import stat
from pathlib import Path

from experiments.runner.report import MAX_NAME, MAX_POINTS, MAX_SERIES, Report

MAX_STEP = 1 << 53


class Reader:
    """Follows one file of a trial. How the bytes arrive makes no difference to the reports."""

    unit = "lines"  # what is left out when it cannot be understood

    def __init__(self, path: Path, objective: str) -> None:
        self.path, self.objective = Path(path), objective
        self.position = 0
        self.dropped = 0  # points beyond MAX_POINTS of a series or MAX_SERIES
        self.faults = 0  # what could not be understood
        self.first_fault = ""  # a sentence that tells the first of them
        self._torn = b""
        self._next_step: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def new(self, limit: int = 1 << 20) -> list[Report]:
        """What was reported since the last call, from at most `limit` bytes of the file."""
        return self.feed(self._read(limit))

    def drain(self) -> list[Report]:
        """Everything that is left, a torn end included. For when the trial has ended."""
        reports: list[Report] = []
        # As far as the file goes now: somebody could write for ever.
        end = self.path.stat().st_size if self.path.is_file() else 0
        while self.position < end and (data := self._read(min(1 << 20, end - self.position))):
            reports += self.feed(data)
        return reports + self.end()

    def notes(self) -> list[str]:
        """What was odd, as sentences for the trial's page."""
        if not self.faults:
            return []
        return [f"{self.first_fault} ({self.faults:,} such {self.unit} were left out)"]

    def feed(self, data: bytes) -> list[Report]:
        """What these bytes report, the next ones of the file."""
        raise NotImplementedError

    def end(self) -> list[Report]:
        """What the last bytes report, when nothing more comes."""
        raise NotImplementedError

    def implied(self) -> list[Report]:
        """Final results that nobody reported, for a dialect that knows none: they count where the trial ended well."""
        return []

    def begin_anew(self) -> None:
        """The trial has truncated its file."""
        self.position, self._torn = 0, b""

    def _read(self, limit: int) -> bytes:
        try:
            # Not to hang on a pipe, nor to read a device for ever: a trial may put anything there.
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b""  # not there yet
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return b""
            if status.st_size < self.position:
                self.begin_anew()
            data = os.pread(fd, limit, self.position)
        finally:
            os.close(fd)
        self.position += len(data)
        return data

    def _point(self, name: str, step: int | None, value: float | None, text: str) -> Report | None:
        """None when the series is full."""
        count = self._counts.get(name, 0)
        if count >= MAX_POINTS or (count == 0 and len(self._counts) >= MAX_SERIES):
            self.dropped += 1
            return None
        self._counts[name] = count + 1
        step = self._next_step.get(name, 0) if step is None else step
        self._next_step[name] = step + 1
        return Report(name, step, value, text)

    def _final(self, name: str, step: int | None, value: float | None, text: str) -> Report:
        last = max(self._next_step.get(name, 0) - 1, 0)
        return Report(name, last if step is None else step, value, text, final=True)

    def _fault(self, sentence: str) -> None:
        self.faults += 1
        self.first_fault = self.first_fault or sentence


def number_or_text(value: object) -> tuple[float | None, str]:
    """A finite number and "", or None and what was there instead."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            if math.isfinite(number := float(value)):
                return number, ""
        except OverflowError:
            return None, "an integer beyond all floating-point numbers"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return None, "".join(char for char in text[:200] if char.isprintable())


def step_or_none(step: object) -> int | None:
    """None when there is none, or none that could be one."""
    if isinstance(step, bool) or not isinstance(step, (int, float)) or not abs(step) <= MAX_STEP:
        return None
    return int(step)


def is_name(name: object) -> bool:
    """Can a metric be called so?"""
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()
