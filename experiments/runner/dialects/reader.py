"""The base class of the dialects' readers: follow a file that a trial appends to, with limits on what it may report."""

import json
import math
import os
from pathlib import Path
from typing import BinaryIO, TypeGuard

from experiments.runner.report import MAX_NAME, MAX_POINTS, MAX_SERIES, Report
from experiments.runner.safe_files import OpenFolder, OutsideFolder, Root, open_regular

MAX_STEP = 1 << 53


class Reader:
    """Follows one file of a trial. The reports do not depend on how the bytes are split into reads."""

    unit = "lines"  # what is skipped when it is invalid

    def __init__(self, path: Path | str, objective: str, *, below: Root | None = None) -> None:
        """No link in the folder `below` is followed; by default, that is the file's own folder."""
        self.path, self.objective = os.fspath(path), objective  # as text: each trial has several readers
        self.below = below or Path(path).parent
        self.position = 0
        self.dropped = 0  # points beyond MAX_POINTS of a series or MAX_SERIES
        self.faults = 0  # number of invalid lines or frames
        self.first_fault = ""  # the message for the first of them
        self._torn = b""
        self._next_step: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._first_step: dict[str, int] = {}

    def new(self, limit: int = 1 << 20) -> list[Report]:
        """Return what was reported since the last call, from at most `limit` bytes of the file."""
        return self.feed(self._read(limit))

    def unread(self) -> int:
        """Return the number of unread bytes in the file."""
        if (file := self._open()) is None:
            return 0
        with file:
            return max(0, os.fstat(file.fileno()).st_size - self.position)

    def drain(self) -> list[Report]:
        """Return all remaining reports, an unfinished last line included. Call it when the trial has ended."""
        reports: list[Report] = []
        if (file := self._open()) is None:
            return self.end()
        with file:
            # Only up to the current size: a leftover process could write forever.
            end = os.fstat(file.fileno()).st_size
            while self.position < end and (data := self._read_from(file, min(1 << 20, end - self.position))):
                reports += self.feed(data)
        return reports + self.end()

    def notes(self) -> list[str]:
        """Return warnings for the trial's page."""
        if not self.faults:
            return []
        return [f"{self.first_fault} ({self.faults:,} such {self.unit} skipped)"]

    def feed(self, data: bytes) -> list[Report]:
        """Return the reports in the next bytes of the file."""
        raise NotImplementedError

    def end(self) -> list[Report]:
        """Return the reports in the last, unfinished bytes."""
        raise NotImplementedError

    def implied(self) -> list[Report]:
        """Return implied final results, for a dialect without explicit ones; they count when the trial exits with 0."""
        return []

    def restart(self) -> None:
        """Start over, because the trial truncated its file."""
        self.position, self._torn = 0, b""

    def _read(self, limit: int) -> bytes:
        if (file := self._open()) is None:
            return b""
        with file:
            return self._read_from(file, limit)

    def _read_from(self, file: BinaryIO, limit: int) -> bytes:
        if os.fstat(file.fileno()).st_size < self.position:
            self.restart()
        data = os.pread(file.fileno(), limit, self.position)
        self.position += len(data)
        return data

    def _open(self) -> BinaryIO | None:
        """Return the open file; None while it does not exist, and for anything but a regular file."""
        try:
            if isinstance(self.below, OpenFolder) and self.below.status_of(self.path) is None:
                return None  # the common case: most trials use one dialect
            return open_regular(self.path, below=self.below)
        except (OSError, OutsideFolder):
            return None

    def _point(
        self,
        name: str,
        step: int | None,
        value: float | None,
        text: str,
        *,
        of: int | None = None,
        at: float | None = None,
    ) -> Report | None:
        """Return a point of a series, or None when the series is full. `of`: the total number of steps; `at`: when
        it was reported, in seconds since 1970."""
        count = self._counts.get(name, 0)
        if count >= MAX_POINTS or (count == 0 and len(self._counts) >= MAX_SERIES):
            self.dropped += 1
            return None
        self._counts[name] = count + 1
        step = self._next_step.get(name, 0) if step is None else step
        self._next_step[name] = step + 1
        first = self._first_step.setdefault(name, step)
        progress = None
        if of is not None and of > 0:
            # Steps are numbered from 0, unless the trial's first step is larger.
            done = step if first > 0 else step + 1
            progress = (min(max(done, 0), of), of)
        return Report(name, step, value, text, progress=progress, at=at)

    def _final(self, name: str, step: int | None, value: float | None, text: str) -> Report:
        last = max(self._next_step.get(name, 0) - 1, 0)
        return Report(name, last if step is None else step, value, text, final=True)

    def _fault(self, message: str) -> None:
        self.faults += 1
        self.first_fault = self.first_fault or message


class LineReader(Reader):
    """Follows a file of lines. `max_line`: the longest valid line in bytes; longer ones are not kept in memory."""

    max_line: int

    def __init__(self, path: Path | str, objective: str, *, below: Root | None = None) -> None:
        super().__init__(path, objective, below=below)
        self._is_skipping = False  # inside a line that is too long
        self._lines = 0

    def feed(self, data: bytes) -> list[Report]:
        """Return the reports in the next bytes of the file."""
        *lines, torn = data.split(b"\n")
        if lines:
            lines[0] = self._torn + lines[0]
            self._torn = torn
        else:
            self._torn += torn
        reports = [report for line in lines for report in self._next_line(line)]
        if len(self._torn) > self.max_line:
            self._is_skipping, self._torn = True, self._torn[:100]
        return reports

    def end(self) -> list[Report]:
        """Return the reports in a last line without a newline."""
        return self.feed(b"\n") if self._torn else []

    def restart(self) -> None:
        super().restart()
        self._is_skipping = False

    def _next_line(self, line: bytes) -> list[Report]:
        self._lines += 1
        if self._is_skipping or len(line) > self.max_line:
            self._is_skipping = False
            self._too_long(line)
            return []
        return self._line(line)

    def _too_long(self, line: bytes) -> None:
        """Count the fault of a line that is too long; `line` is its beginning."""
        raise NotImplementedError

    def _line(self, line: bytes) -> list[Report]:
        """Return the reports in a line."""
        raise NotImplementedError


def number_or_text(value: object) -> tuple[float | None, str]:
    """Return a finite number and "", or None and the text of the value. For a whole number that a float rounds, the
    text has all its digits."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            if math.isfinite(number := float(value)):
                return number, "" if number == value else str(value)
        except OverflowError:
            return None, "an integer too large for a float"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return None, "".join(char for char in text[:200] if char.isprintable())


def step_or_none(step: object) -> int | None:
    """Return the step as an int, or None when it is missing or invalid."""
    if isinstance(step, bool) or not isinstance(step, (int, float)) or not abs(step) <= MAX_STEP:
        return None
    return int(step)


def time_or_none(moment: object) -> float | None:
    """Return a time in seconds since 1970, or None when it is missing or not a number."""
    if isinstance(moment, bool) or not isinstance(moment, (int, float)) or not 0 < moment < MAX_STEP:
        return None
    return float(moment)


def is_name(name: object) -> TypeGuard[str]:
    """Return whether this is a valid metric name."""
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()
