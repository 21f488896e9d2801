"""Read metrics from a trial's standard output with a regular expression.

RE2 guarantees matching in time linear in the output for all expressions. `{number}` in an expression stands for a
number of any notation.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import re2

from experiments.runner.dialects.native import MAX_LINE
from experiments.runner.dialects.reader import number_or_text
from experiments.runner.output.log import plain_text
from experiments.runner.output.number_text import (
    RE2_LEAD,
    RE2_NUMBER,
    NumbersOfLine,
    joint,
    lead_length,
    parse_number,
)
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
# What a group such as ([0-9.]+) does not match. After a label, any number is the metric in another notation.
_UNREAD = rf"[-+−]?(?:(?i:nan|inf(?:inity)?|none|null|nil|undefined|n/?a)\b|∞)|<NA>|[-+−]{RE2_NUMBER}"
_BOUND = r"(?:[<>]=?|[≤≥≪≫])[ \t]*"  # <0.001 is no value, but an older line must not count in its place
_OTHER_DIGITS = "[-+−]?[٠-٩۰-۹०-९０-９¼-¾⅐-⅞]"
_UNREAD_OF_LABEL = rf"{_UNREAD}|{_BOUND}{RE2_NUMBER}|{_OTHER_DIGITS}[^ \t]*"
_UNREAD_OF_LABELED_GROUP = rf"{_UNREAD_OF_LABEL}|{RE2_NUMBER}"
LOOK_BACK = 1000  # bytes at the end of a part of an endless line, within which it may be split
_BLANKS = r"[ \t]*"
_LABEL = re.compile(r"[^\W\d_]{2}")
_NO_LABEL = re.compile(r"\\.|\[[^\]]*\]|\(\?[^)>:]*[)>:]")
_SPECIAL = re.compile(r"[.^$*+?{}\[\]\\|()]")
_SAMPLES = ("7.539e-05", "1234.5", "1E+20", "0.123456789")


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
    """Return a warning about numbers that a valid expression would misread, or None."""
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
                f"Reads only {match.group()} of {sample}, which would fail the trial. "
                "Use {number} in place of the group to read numbers in any notation."
            )
    return None


class PatternReader:
    """Finds the metric in the output, line by line. A carriage return ends a line, too (progress bars)."""

    def __init__(self, pattern: str, objective: str) -> None:
        """Raise ValueError with the message of `check`."""
        self.objective = objective
        self.dropped = 0  # matches beyond MAX_POINTS; the last one still counts as the final result
        self.fault = ""  # a message about the first match that was a part of a longer number
        self._expression = _expression_of(pattern)
        self._group = self._expression.compiled.groupindex.get("value", 1)
        self._torn = b""
        self._count = 0
        self._last: Report | None = None

    def feed(self, data: bytes) -> list[Report]:
        """Return the matches in the next bytes of the output, each a point of the objective."""
        *lines, self._torn = re.split(rb"[\r\n]", self._torn + data)
        while (
            len(self._torn) > MAX_LINE
        ):  # an endless line: `_matches` splits a whole one into the same parts
            length = _part_length(self._torn)
            lines.append(self._torn[:length])
            self._torn = self._torn[length:]
        return [report for line in lines for report in self._line(line)]

    def drain(self) -> list[Report]:
        """Return the matches in an unfinished last line, then the very last match as the final result."""
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
        while line:
            length = _part_length(line)
            text, line = plain_text(line[:length]), line[length:]
            expression = self._expression
            matches = list(expression.compiled.finditer(text))
            if not matches and expression.any_number:
                matches = list(expression.any_number.finditer(text))
            numbers = NumbersOfLine(text, named=expression.behind) if matches else None
            for match in matches:
                if numbers and match.group(self._group):
                    start, end = match.span(self._group)
                    yield self._number(numbers, start, end, match.span())

    def _number(
        self, numbers: NumbersOfLine, start: int, end: int, match: tuple[int, int]
    ) -> tuple[float | None, str]:
        lead = lead_length(numbers.line[start:end])
        part = numbers.line[start + lead : end]
        number = parse_number(part)
        if number is None:
            return number_or_text(numbers.line[start:end].strip())
        start, end = start + lead, start + lead + len(part.rstrip())
        expression = self._expression
        number_span = numbers.cut(start, end, match=match, has_label=expression.has_label)
        if not number_span and lead:
            number_span = numbers.list_of(start, end)
        if not number_span:
            return number_or_text(number)
        self.fault = self.fault or self._fault(part, number_span)
        return None, number_span[:200]

    def _fault(self, part: str, number_span: str) -> str:
        if joined_by := joint(number_span):
            following = re.sub(r"\s+", r"\\s", _SPECIAL.sub(r"\\\g<0>", joined_by.rstrip() or joined_by))
            return (
                f"“{number_span[:60]}” is not a single number. "
                f"If {part} is the metric, name what follows in the pattern: "
                f"{{number}}{following}"
            )
        hint = "" if self._expression.has_number else "; use {number} in the pattern"
        return f"the pattern read only {part} of {number_span[:60]}{hint}"


def _part_length(line: bytes) -> int:
    """Return how many bytes of a line to read at once: the whole line, or about MAX_LINE bytes, without splitting a
    number."""
    if len(line) <= MAX_LINE:
        return len(line)
    window = line[MAX_LINE - LOOK_BACK : MAX_LINE]
    # Split between a label and its number only if there is no other place.
    for end in (rb".*[\d%)\]][,;]?[ \t]+", rb".*[ \t,;|]"):
        if match := re.match(end, window, re.DOTALL):
            return MAX_LINE - LOOK_BACK + match.end()
    return MAX_LINE


def _compile(pattern: str) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors = False  # errors are shown on the page, not on the worker's stderr
    return re2.compile(pattern, options)


@dataclass(frozen=True)
class _Expression:
    """What reads the lines; `any_number` reads any number behind the label, where `compiled` might not. `behind` is the
    pattern's text behind its number."""

    compiled: "re2._Regexp"
    any_number: "re2._Regexp | None"
    has_number: bool
    has_label: bool
    behind: str


@lru_cache(64)
def _expression_of(pattern: str) -> _Expression:
    """Return the parts of an expression. Raise ValueError with the message of `check`."""
    if fault := check(pattern):
        raise ValueError(fault)
    has_number, has_label = _numbers(pattern) > 0, _has_label(pattern)
    expanded = _expanded(pattern)
    bounds = _value_group(expanded)
    return _Expression(
        compiled=_widened(pattern, _UNREAD_OF_LABEL if has_label else _UNREAD),
        any_number=_widened(pattern, _UNREAD_OF_LABELED_GROUP) if has_label and not has_number else None,
        has_number=has_number,
        has_label=has_label,
        behind=expanded[bounds[1] :] if bounds else "",
    )


def _numbers(pattern: str) -> int:
    """Return how often `{number}` occurs, except escaped and in character classes."""
    return sum(part[0] == "{number}" for part in _PARTS.finditer(pattern))


def _expanded(pattern: str) -> str:
    """Return the expression with `{number}` written out; a single one becomes the group `value`."""
    is_value = _numbers(pattern) == 1 and "(?P<value>" not in pattern and "(?<value>" not in pattern
    number = f"(?P<value>{RE2_NUMBER})" if is_value else f"(?:{_BLANKS}{RE2_NUMBER})"
    return _PARTS.sub(lambda part: number if part[0] == "{number}" else part[0], pattern)


def _widened(pattern: str, unread: str) -> "re2._Regexp":
    """Compile the expression so that its group also matches `unread`, such as nan and signed numbers: a line with the
    metric's label counts, whatever its number is and whatever type name Python prints around it."""
    expanded = _expanded(pattern)
    bounds = _value_group(expanded)
    if bounds is None:
        return _compile(expanded)
    start, end = bounds
    lead = RE2_LEAD if _has_label(pattern) else _BLANKS if _numbers(pattern) else ""
    try:
        return _compile(f"{expanded[:start]}{lead}(?:(?:{expanded[start:end]})|{unread}){expanded[end:]}")
    except re2.error:  # flags within the group, or too large
        return _compile(expanded)


def _has_label(pattern: str) -> bool:
    """Return whether the expression has a label before the group."""
    expanded = _expanded(pattern)
    bounds = _value_group(expanded)
    return bounds is not None and bool(_LABEL.search(_NO_LABEL.sub("", expanded[: bounds[0]])))


def _value_group(pattern: str) -> tuple[int, int] | None:
    """Return the start and end of the content of the group with the number."""
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
