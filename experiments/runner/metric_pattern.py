"""Read metrics from a trial's standard output with a regular expression, or from a JSON file that it writes.

RE2 guarantees matching in time linear in the output for all expressions.
"""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import re2

from experiments.runner.dialects.native import MAX_LINE
from experiments.runner.dialects.reader import number_or_text
from experiments.runner.log import plain_text
from experiments.runner.report import MAX_POINTS, Report

MAX_FILE = 16 << 20
_UNSUPPORTED = (
    (
        r"\(\?<?[=!]",
        "lookaround ((?=…), (?!…), (?<=…), (?<!…)) is not supported; match the surrounding text instead",
    ),
    (r"\\[1-9]|\(\?P=", "backreferences (\\1) are not supported"),
    (r"\(\?>|[*+?}]\+", "atomic groups and possessive quantifiers are not supported or needed"),
)


def check(pattern: str) -> str | None:
    """Return what is wrong with the expression, or None.

    It must have exactly one group, or one group named value: `accuracy: ([\\d.]+)`.
    """
    if not pattern:
        return "Enter a regular expression, for example accuracy: ([0-9.]+)"
    try:
        compiled = _compile(pattern)
    except re2.error as error:
        for unsupported, reason in _UNSUPPORTED:
            if re.search(unsupported, pattern):
                return f"Unsupported regular expression: {reason}."
        detail = error.args[0] if error.args else ""
        detail = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else detail
        return f"Invalid regular expression: {detail}."
    if "value" in compiled.groupindex or compiled.groups == 1:
        return None
    if compiled.groups == 0:
        return "Add a group around the number, for example accuracy: ([0-9.]+)"
    return "The expression has several groups. Name the one with the number (?P<value>…), or use (?:…) for the others."


class PatternReader:
    """Find the metric in the output, line by line; a carriage return ends a line too (progress bars)."""

    def __init__(self, pattern: str, objective: str) -> None:
        """Raise ValueError with the message of `check`."""
        fault = check(pattern)
        if fault:
            raise ValueError(fault)
        self.objective = objective
        self.dropped = 0  # matches beyond MAX_POINTS; the last one still counts as the final result
        self._compiled = _compile(pattern)
        self._group = self._compiled.groupindex.get("value", 1)
        self._torn = b""
        self._count = 0
        self._last: Report | None = None

    def feed(self, data: bytes) -> list[Report]:
        """Return the matches in the next bytes of the output, each a point of the objective."""
        *lines, self._torn = re.split(rb"[\r\n]", self._torn + data)
        if len(self._torn) > MAX_LINE:  # an endless line: `_matches` splits it into parts of that length too
            length = len(self._torn) // MAX_LINE * MAX_LINE
            lines.append(self._torn[:length])
            self._torn = self._torn[length:]
        return [report for line in lines for report in self._line(line)]

    def drain(self) -> list[Report]:
        """Return the matches in an unfinished last line, then the last match of all as the final result."""
        reports = self.feed(b"\n")
        if self._last:
            last = self._last
            reports.append(Report(last.name, last.step, last.value, last.text, final=True))
        return reports

    def _line(self, line: bytes) -> list[Report]:
        reports = []
        for text in self._matches(line):
            self._last = Report(self.objective, self._count, *_number(text))
            self._count += 1
            if self._count > MAX_POINTS:
                self.dropped += 1
            else:
                reports.append(self._last)
        return reports

    def _matches(self, line: bytes) -> Iterator[str]:
        for begin in range(0, len(line), MAX_LINE):
            for match in self._compiled.finditer(plain_text(line[begin : begin + MAX_LINE])):
                if match.group(self._group):
                    yield match.group(self._group)


def read_json_metric(path: Path, name: str) -> Report | str:
    """Return the final result `name` in a JSON file of the trial, or an error message.

    `name` is a key, or a path of keys with dots: val.accuracy.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
            return f"{path.name} is not a file of at most {MAX_FILE >> 20} MiB."
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return f"The trial did not write the file {path.name}."
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}."
    except (ValueError, RecursionError) as error:
        return f"{path.name} is not JSON: {error}."
    if isinstance(content, dict) and name in content:
        return Report(name, 0, *number_or_text(content[name]), final=True)
    for key in name.split("."):
        if not isinstance(content, dict) or key not in content:
            return f"{path.name} has no key {name}."
        content = content[key]
    return Report(name, 0, *number_or_text(content), final=True)


def _compile(pattern: str) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors = False  # errors are shown on the page, not on the worker's stderr
    return re2.compile(pattern, options)


def _number(text: str) -> tuple[float | None, str]:
    try:
        return number_or_text(float(text))
    except ValueError:
        return number_or_text(text)
