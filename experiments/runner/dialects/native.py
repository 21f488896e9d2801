"""Trialdeck's own channel: JSON lines that the trial appends to the file TRIALDECK_METRICS.

`{"name": "loss", "step": 3, "value": 0.25}` is a point, `{"name": "loss", "final": true, "value": 0.2}` a final
result. `name` may be left out or "default" (the objective), `step` may be left out (the next one).
"""

import json
import math
import os
import re
import stat
from pathlib import Path

from experiments.runner.report import MAX_NAME, MAX_POINTS, MAX_SERIES, Report

MAX_LINE = 64 << 10
MAX_STEP = 1 << 53
_BEGIN = re.compile(rb'\{"name": "[^"\\,]+", ')  # as json.dumps writes it


class MetricsReader:
    """Follows one trial's metrics file. How the bytes arrive makes no difference to the reports."""

    def __init__(self, path: Path, objective: str) -> None:
        self.path, self.objective = Path(path), objective
        self.position = 0
        self.dropped = 0  # points beyond MAX_POINTS of a series or MAX_SERIES
        self.faults = 0  # lines that are not reports
        self.first_fault = ""  # a sentence that quotes the first of them
        self._torn = b""
        self._is_skipping = False  # within a line that is too long
        self._lines = 0
        self._next_step: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._full: set[bytes] = set()  # how lines of full series begin: these need no parsing

    def new(self, limit: int = 1 << 20) -> list[Report]:
        """What was reported since the last call, from at most `limit` bytes of the file."""
        return self.feed(self._read(limit))

    def drain(self) -> list[Report]:
        """Everything that is left, a last line without its newline included. For when the trial has ended."""
        reports: list[Report] = []
        # As far as the file goes now: somebody could write for ever.
        end = self.path.stat().st_size if self.path.is_file() else 0
        while self.position < end and (data := self._read(min(1 << 20, end - self.position))):
            reports += self.feed(data)
        return reports + self.feed(b"\n") if self._torn else reports

    def feed(self, data: bytes) -> list[Report]:
        """What these bytes report, the next ones of the file."""
        *lines, torn = data.split(b"\n")
        if lines:
            lines[0] = self._torn + lines[0]
            self._torn = torn
        else:
            self._torn += torn
        reports = [report for line in lines if (report := self._line(line))]
        if len(self._torn) > MAX_LINE:
            self._is_skipping, self._torn = True, self._torn[:100]
        return reports

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
                self.position, self._torn, self._is_skipping = 0, b"", False  # begun anew by the trial
            data = os.pread(fd, limit, self.position)
        finally:
            os.close(fd)
        self.position += len(data)
        return data

    def _line(self, line: bytes) -> Report | None:
        self._lines += 1
        if self._is_skipping or len(line) > MAX_LINE:
            self._is_skipping = False
            return self._fault(line, f"is longer than {MAX_LINE >> 10} KiB")
        if self._full and line[: line.find(b", ") + 2] in self._full and b'"final"' not in line:
            self.dropped += 1
            return None
        if not line.strip():
            return None
        try:
            said = json.loads(line.decode())
        except (ValueError, RecursionError):
            return self._fault(line, "is not JSON")
        if not isinstance(said, dict) or "value" not in said:
            return self._fault(line, 'has no "value"')
        name = said.get("name", "default")
        if not isinstance(name, str) or not name or len(name) > MAX_NAME or not name.isprintable():
            return self._fault(line, f'has no good "name" (text of at most {MAX_NAME} characters)')
        name = self.objective if name == "default" else name
        value, text = number_or_text(said["value"])
        if said.get("final") is True:
            step = _step(said) if _step(said) is not None else max(self._next_step.get(name, 0) - 1, 0)
            return Report(name, step, value, text, final=True)
        return self._point(name, _step(said), value, text, line)

    def _point(
        self, name: str, step: int | None, value: float | None, text: str, line: bytes
    ) -> Report | None:
        count = self._counts.get(name, 0)
        if count >= MAX_POINTS or (count == 0 and len(self._counts) >= MAX_SERIES):
            self.dropped += 1
            begin = _BEGIN.match(line)
            if begin and len(self._full) < MAX_SERIES:
                self._full.add(begin[0])
            return None
        self._counts[name] = count + 1
        step = self._next_step.get(name, 0) if step is None else step
        self._next_step[name] = step + 1
        return Report(name, step, value, text)

    def _fault(self, line: bytes, what: str) -> None:
        self.faults += 1
        if self.faults == 1:
            quoted = line[:100].decode("utf-8", "replace")
            self.first_fault = f"Line {self._lines} of the metrics file {what}: {quoted!r}"


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


def _step(said: dict) -> int | None:
    """None when there is none, or none that could be one."""
    step = said.get("step")
    if isinstance(step, bool) or not isinstance(step, (int, float)) or not abs(step) <= MAX_STEP:
        return None
    return int(step)
