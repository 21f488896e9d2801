"""Read metrics from a trial's standard output with a regular expression.

RE2 guarantees matching in time linear in the output for all expressions. `{number}` in an expression stands for a
number of any notation.
"""

import re
from collections.abc import Iterator

import re2

from experiments.runner.dialects.native import MAX_LINE
from experiments.runner.dialects.reader import number_or_text
from experiments.runner.output.log import plain_text
from experiments.runner.output.number_text import RE2_NUMBER, cut_number, parse_number
from experiments.runner.report import MAX_POINTS, Report

EXAMPLE = "accuracy: {number}"
_UNSUPPORTED = (
    (
        r"\(\?<?[=!]",
        "lookaround ((?=…), (?!…), (?<=…), (?<!…)) is not supported; match the surrounding text instead",
    ),
    (r"\\[1-9]|\(\?P=", "backreferences (\\1) are not supported"),
    (r"\(\?>|[*+?}]\+", "atomic groups and possessive quantifiers are not supported"),
)
_PARTS = re.compile(
    r"\\Q.*?\\E|\\.|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]|\{number\}|\(\?P?<|\(\?|\(|\)", re.DOTALL
)
_UNREAD = rf"[-+−]?(?i:nan|inf(?:inity)?|none|null)\b|[-+−]{RE2_NUMBER}"  # what a group such as ([0-9.]+) passes over
_SAMPLES = ("7.539e-05", "1234.5", "1E+20")


def check(pattern: str) -> str | None:
    """Return what is wrong with the expression, or None.

    It must have exactly one `{number}`, one group, or one group named value: `accuracy: ([\\d.]+)`.
    """
    if not pattern:
        return f"Enter a regular expression, for example {EXAMPLE}"
    try:
        compiled = _compile(_expanded(pattern))
    except re2.error as error:
        for unsupported, reason in _UNSUPPORTED:
            if re.search(unsupported, pattern):
                return f"Unsupported regular expression: {reason}."
        detail = error.args[0] if error.args else ""
        detail = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else detail
        return f"Invalid regular expression: {detail}."
    if "value" in compiled.groupindex or compiled.groups == 1:
        return None
    if _numbers(pattern) > 1:
        return "{number} occurs more than once. Write (?P<value>{number}) for the metric."
    if compiled.groups == 0:
        return f"Mark the number with {{number}}, for example {EXAMPLE}"
    return "The expression has several groups. Name the one with the number (?P<value>…), or use (?:…) for the others."


def warning(pattern: str) -> str | None:
    """Return what a valid expression reads wrong, or None."""
    if check(pattern):
        return None
    bounds = _value_group(_expanded(pattern))
    if bounds is None:
        return None
    try:
        group = _compile(_expanded(pattern)[bounds[0] : bounds[1]])
    except re2.error:  # it needs flags from outside the group
        return None
    for sample in _SAMPLES:
        match = group.match(sample)
        if match and match.group() and match.end() < len(sample):
            return (
                f"Reads only {match.group()} of {sample}, which fails the trial. "
                "Use {number} in place of the group to read numbers of any notation."
            )
    return None


class PatternReader:
    """Find the metric in the output, line by line; a carriage return ends a line too (progress bars)."""

    def __init__(self, pattern: str, objective: str) -> None:
        """Raise ValueError with the message of `check`."""
        fault = check(pattern)
        if fault:
            raise ValueError(fault)
        self.objective = objective
        self.dropped = 0  # matches beyond MAX_POINTS; the last one still counts as the final result
        self.fault = ""  # the first match that was a part of a longer number, as a sentence
        self._compiled = _widened(pattern)
        self._group = self._compiled.groupindex.get("value", 1)
        self._is_number = _numbers(pattern) > 0
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
        for value, text in self._matches(line):
            self._last = Report(self.objective, self._count, value, text)
            self._count += 1
            if self._count > MAX_POINTS:
                self.dropped += 1
            else:
                reports.append(self._last)
        return reports

    def _matches(self, line: bytes) -> Iterator[tuple[float | None, str]]:
        for begin in range(0, len(line), MAX_LINE):
            text = plain_text(line[begin : begin + MAX_LINE])
            for match in self._compiled.finditer(text):
                if match.group(self._group):
                    start, end = match.span(self._group)
                    yield self._number(text, start, end, match.end())

    def _number(self, line: str, start: int, end: int, match_end: int) -> tuple[float | None, str]:
        part = line[start:end]
        number = parse_number(part)
        if number is None:
            return number_or_text(part)
        whole = cut_number(line, start, start + len(part.rstrip()), match_end=match_end)
        if not whole:
            return number_or_text(number)
        hint = "" if self._is_number else "; use {number} in the pattern"
        self.fault = self.fault or f"the pattern read only {part} of {whole[:60]}{hint}"
        return None, whole[:200]


def _compile(pattern: str) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors = False  # errors are shown on the page, not on the worker's stderr
    return re2.compile(pattern, options)


def _numbers(pattern: str) -> int:
    """Return how often `{number}` occurs, escaped ones and those in character classes apart."""
    return sum(part[0] == "{number}" for part in _PARTS.finditer(pattern))


def _expanded(pattern: str) -> str:
    """Return the expression with `{number}` written out; a single one becomes the group `value`."""
    is_value = _numbers(pattern) == 1 and "(?P<value>" not in pattern and "(?<value>" not in pattern
    number = f"(?P<value>{RE2_NUMBER})" if is_value else f"(?:{RE2_NUMBER})"
    return _PARTS.sub(lambda part: number if part[0] == "{number}" else part[0], pattern)


def _widened(pattern: str) -> "re2._Regexp":
    """Compile the expression so that its group also matches nan, inf and numbers with a sign: a line with the metric's
    label counts, whatever its number is."""
    expanded = _expanded(pattern)
    bounds = _value_group(expanded)
    if bounds is None:
        return _compile(expanded)
    start, end = bounds
    try:
        return _compile(f"{expanded[:start]}(?:{expanded[start:end]})|{_UNREAD}{expanded[end:]}")
    except re2.error:  # flags within the group, or too large
        return _compile(expanded)


def _value_group(pattern: str) -> tuple[int, int] | None:
    """Return where the content of the group with the number begins and ends."""
    opened: list[int | None] = []
    for part in _PARTS.finditer(pattern):
        text = part[0]
        if text in ("(?P<", "(?<"):
            name_end = pattern.find(">", part.end())
            is_value = pattern[part.end() : name_end] == "value" or "<value>" not in pattern
            opened.append(name_end + 1 if is_value else None)
        elif text == "(":
            opened.append(None if "<value>" in pattern else part.end())
        elif text == "(?":
            opened.append(None)
        elif text == ")" and opened and (start := opened.pop()) is not None:
            return start, part.start()
    return None
