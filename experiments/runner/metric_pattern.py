"""Metrics from a trial's standard output, by regular expression, and from a JSON file that it leaves.

RE2: matching takes time linear in the output, whatever the expression.
"""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import re2

from experiments.runner.dialects.native import MAX_LINE
from experiments.runner.dialects.reader import number_or_text
from experiments.runner.log import plain
from experiments.runner.report import MAX_POINTS, Report

MAX_FILE = 16 << 20
_UNSUPPORTED = (
    (
        r"\(\?<?[=!]",
        "look-around ((?=…), (?!…), (?<=…), (?<!…)) is not available: match the text around it instead",
    ),
    (r"\\[1-9]|\(\?P=", "references back to a group (\\1) are not available"),
    (r"\(\?>|[*+?}]\+", "atomic groups and possessive repetition are not available, nor needed"),
)


def check(pattern: str) -> str | None:
    """What is wrong with the expression, as a sentence; None when nothing is.

    It must have exactly one group, or one named value: `accuracy: ([\\d.]+)`.
    """
    if not pattern:
        return "The expression is empty: write for example accuracy: ([0-9.]+)"
    try:
        compiled = _compile(pattern)
    except re2.error as error:
        for unsupported, sentence in _UNSUPPORTED:
            if re.search(unsupported, pattern):
                return f"This expression cannot be used: {sentence}."
        why = error.args[0] if error.args else ""
        why = why.decode("utf-8", "replace") if isinstance(why, bytes) else why
        return f"This is not a regular expression: {why}."
    if "value" in compiled.groupindex or compiled.groups == 1:
        return None
    if compiled.groups == 0:
        return "The expression needs a group around the number: for example accuracy: ([0-9.]+)"
    return "The expression has several groups: name the one with the number, (?P<value>…), or use (?:…) for the others."


class PatternReader:
    """Finds the metric in the output, line by line; a carriage return ends a line too (progress bars)."""

    def __init__(self, pattern: str, objective: str) -> None:
        """Raises ValueError with `check`'s sentence."""
        fault = check(pattern)
        if fault:
            raise ValueError(fault)
        self.objective = objective
        self.dropped = 0  # matches beyond MAX_POINTS; the last one is seen all the same
        self._compiled = _compile(pattern)
        self._group = self._compiled.groupindex.get("value", 1)
        self._torn = b""
        self._count = 0
        self._last: Report | None = None

    def feed(self, data: bytes) -> list[Report]:
        """The matches in these bytes, the next ones of the output: each is a point of the objective."""
        *lines, self._torn = re.split(rb"[\r\n]", self._torn + data)
        if len(self._torn) > MAX_LINE:  # without end: `_matches` looks at it in parts of that length as well
            whole = len(self._torn) // MAX_LINE * MAX_LINE
            lines.append(self._torn[:whole])
            self._torn = self._torn[whole:]
        return [report for line in lines for report in self._line(line)]

    def drain(self) -> list[Report]:
        """What is left: a last line without its end, then the last match of all as the final result."""
        reports = self.feed(b"\n")
        if self._last:
            last = self._last
            reports.append(Report(last.name, last.step, last.value, last.text, final=True))
        return reports

    def _line(self, line: bytes) -> list[Report]:
        reports = []
        for found in self._matches(line):
            self._last = Report(self.objective, self._count, *_number(found))
            self._count += 1
            if self._count > MAX_POINTS:
                self.dropped += 1
            else:
                reports.append(self._last)
        return reports

    def _matches(self, line: bytes) -> Iterator[str]:
        for begin in range(0, len(line), MAX_LINE):
            for found in self._compiled.finditer(plain(line[begin : begin + MAX_LINE])):
                if found.group(self._group):
                    yield found.group(self._group)


def read_json_metric(path: Path, name: str) -> Report | str:
    """The final result `name` in a JSON file of the trial, or a sentence why there is none.

    `name` is a key, or a path of keys with dots: val.accuracy.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
            return f"{path.name} is not a file of at most {MAX_FILE >> 20} MiB."
        found = json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return f"The trial left no file {path.name}."
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}."
    except (ValueError, RecursionError) as error:
        return f"{path.name} is not JSON: {error}."
    if isinstance(found, dict) and name in found:
        return Report(name, 0, *number_or_text(found[name]), final=True)
    for key in name.split("."):
        if not isinstance(found, dict) or key not in found:
            return f"{path.name} has no {name}."
        found = found[key]
    return Report(name, 0, *number_or_text(found), final=True)


def _compile(pattern: str) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors = False  # they go to the page, not to the worker's stderr
    return re2.compile(pattern, options)


def _number(text: str) -> tuple[float | None, str]:
    try:
        return number_or_text(float(text))
    except ValueError:
        return number_or_text(text)
