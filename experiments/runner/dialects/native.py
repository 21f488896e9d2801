"""Trialdeck's own channel: JSON lines that the trial appends to the file TRIALDECK_METRICS.

`{"name": "loss", "step": 3, "value": 0.25}` is a point, `{"name": "loss", "final": true, "value": 0.2}` a final
result. `name` may be left out or "default" (the objective), `step` may be left out (the next one).
"""

import json
import re
from pathlib import Path

from experiments.runner.dialects.reader import Reader, is_name, number_or_text, step_or_none
from experiments.runner.dialects.told import Told
from experiments.runner.report import MAX_NAME, MAX_SERIES, Report

MAX_LINE = 64 << 10
_BEGIN = re.compile(rb'\{"name": "[^"\\,]+", ')  # as json.dumps writes it


def prepare(told: Told) -> dict[str, str]:
    """Writes the parameters; `folder.environment` names the files."""
    told.folder.parameters.write_text(json.dumps(told.params, ensure_ascii=False), "utf-8")
    return {}


def listen(told: Told) -> "MetricsReader":
    return MetricsReader(told.folder.metrics, told.objective)


class MetricsReader(Reader):
    """Follows one trial's metrics file."""

    def __init__(self, path: Path, objective: str) -> None:
        super().__init__(path, objective)
        self._is_skipping = False  # within a line that is too long
        self._lines = 0
        self._full: set[bytes] = set()  # how lines of full series begin: these need no parsing

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

    def end(self) -> list[Report]:
        """A last line without its newline."""
        return self.feed(b"\n") if self._torn else []

    def begin_anew(self) -> None:
        super().begin_anew()
        self._is_skipping = False

    def _line(self, line: bytes) -> Report | None:
        self._lines += 1
        if self._is_skipping or len(line) > MAX_LINE:
            self._is_skipping = False
            return self._bad(line, f"is longer than {MAX_LINE >> 10} KiB")
        if self._full and line[: line.find(b", ") + 2] in self._full and b'"final"' not in line:
            self.dropped += 1
            return None
        if not line.strip():
            return None
        try:
            said = json.loads(line.decode())
        except (ValueError, RecursionError):
            return self._bad(line, "is not JSON")
        if not isinstance(said, dict) or "value" not in said:
            return self._bad(line, 'has no "value"')
        name = said.get("name", "default")
        if not is_name(name):
            return self._bad(line, f'has no good "name" (text of at most {MAX_NAME} characters)')
        name = self.objective if name == "default" else name
        value, text = number_or_text(said["value"])
        step = step_or_none(said.get("step"))
        if said.get("final") is True:
            return self._final(name, step, value, text)
        point = self._point(name, step, value, text)
        if point is None and (begin := _BEGIN.match(line)) and len(self._full) < MAX_SERIES:
            self._full.add(begin[0])
        return point

    def _bad(self, line: bytes, what: str) -> None:
        quoted = line[:100].decode("utf-8", "replace")
        self._fault(f"Line {self._lines} of the metrics file {what}: {quoted!r}")
