"""Trialdeck's native dialect: JSON lines that the trial appends to the file TRIALDECK_METRICS.

`{"name": "loss", "step": 3, "value": 0.25}` is a point, `{"name": "loss", "final": true, "value": 0.2}` a final result.
`name` defaults to "default" (the objective), `step` to the next step. A point may have the total number of steps as
`of`, for the trial's progress, and the time of the report as `time`, in seconds since 1970.
"""

import json
import re
from pathlib import Path

from experiments.runner.dialects.reader import LineReader, is_name, number_or_text, step_or_none, time_or_none
from experiments.runner.dialects.run_context import RunContext
from experiments.runner.report import MAX_NAME, MAX_SERIES, Report
from experiments.runner.safe_files import Root

MAX_LINE = 64 << 10
_BEGIN = re.compile(rb'\{"name": "[^"\\,]+", ')  # as json.dumps writes it


def prepare(context: RunContext) -> dict[str, str]:
    """Write the parameters; `trial_folder.environment` sets the variables with the file names."""
    text = json.dumps(context.params, ensure_ascii=False)
    context.folder.add_file(context.folder.parameters, text)
    return {}


def listen(context: RunContext) -> "MetricsReader":
    return MetricsReader(context.folder.metrics, context.objective, below=context.folder.below)


class MetricsReader(LineReader):
    """Follow the metrics file of a trial."""

    max_line = MAX_LINE

    def __init__(self, path: Path | str, objective: str, *, below: Root | None = None) -> None:
        super().__init__(path, objective, below=below)
        self._full: set[bytes] = set()  # prefixes of lines of full series, so that they need no parsing

    def _too_long(self, line: bytes) -> None:
        self._invalid(line, f"is longer than {MAX_LINE >> 10} KiB")

    def _line(self, line: bytes) -> list[Report]:
        report = self._report(line)
        return [report] if report else []

    def _report(self, line: bytes) -> Report | None:
        if self._full and line[: line.find(b", ") + 2] in self._full and b'"final"' not in line:
            self.dropped += 1
            return None
        if not line.strip():
            return None
        try:
            record = json.loads(line.decode())
        except (ValueError, RecursionError):
            self._invalid(line, "is not JSON")
            return None
        if not isinstance(record, dict) or "value" not in record:
            self._invalid(line, 'has no "value"')
            return None
        name = record.get("name", "default")
        if not is_name(name):
            self._invalid(line, f'has no valid "name" (text of at most {MAX_NAME} characters)')
            return None
        name = self.objective if name == "default" else name
        value, text = number_or_text(record["value"])
        step = step_or_none(record.get("step"))
        if record.get("final") is True:
            return self._final(name, step, value, text)
        of, at = step_or_none(record.get("of")), time_or_none(record.get("time"))
        point = self._point(name, step, value, text, of=of, at=at)
        if point is None and (begin := _BEGIN.match(line)) and len(self._full) < MAX_SERIES:
            self._full.add(begin[0])
        return point

    def _invalid(self, line: bytes, problem: str) -> None:
        quoted = line[:100].decode("utf-8", "replace")
        self._fault(f"Line {self._lines} of the metrics file {problem}: {quoted!r}")
