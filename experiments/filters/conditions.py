"""Conditions on a single column, shared by the filters of trials and of experiments: text, numbers, times."""

from __future__ import annotations

import math
import operator as operators
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import reduce

from django.db.models import Q
from django.utils import timezone

from experiments import database_clock

from .language import And, Comparison, FilterError, Node, Not, Or, Text, Word, nearest

LOOKUPS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
NONE = "none"
YES, NO = ("yes", "true"), ("no", "false")
LARGEST = 2**63 - 1  # bytes: what a column can hold

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|min|m|h|d|w))+", re.I)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)", re.I)
_SIZE = re.compile(r"(\d{1,18}(?:\.\d+)?)(?:([KMGT])(i)?)?B?", re.I)

Build = Callable[[Comparison], Q]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the language. `build` makes the condition of a comparison with it; `values` are the
    possible values for completion, if it is a closed list; `help` is its line in the help."""

    name: str
    build: Build
    help: str
    values: tuple[str, ...] = ()


def compile_tree(node: Node, field: Callable[[Text], Field], word: Callable[[Word], Q]) -> Q:
    """Return the condition that a tree represents. `field` finds the field that a text names, or raises; `word` makes
    the condition of a word without an operator."""
    match node:
        case And(terms):
            return reduce(operators.and_, (compile_tree(term, field, word) for term in terms))
        case Or(terms):
            return reduce(operators.or_, (compile_tree(term, field, word) for term in terms))
        case Not(term):
            return ~compile_tree(term, field, word)
        case Word():
            return word(node)
        case _:
            return field(node.field).build(node)


def unknown_field(name: Text, fields: Iterable[str], *, of: str) -> FilterError:
    """Return the error of a field that `of` (such as "Trials") do not have, with the nearest that they have."""
    names = list(fields)
    close = nearest(name.text, names)
    hint = f"; did you mean “{close}”?" if close else f". Fields: {', '.join(names[:20])}"
    return name.error(f"{of} have no field “{name.text}”{hint}", close or "")


# --- columns ------------------------------------------------------------------------------------------------------


def text(column: str, *, is_nullable: bool = False) -> Build:
    """Whole values, ignoring case; `~` matches a substring."""

    def build(comparison: Comparison) -> Q:
        if comparison.operator == "~":
            return containing(column, comparison.values[0].text)
        return equal(comparison, lambda value: Q(**{f"{column}__iexact": value.text}), column, is_nullable)

    return build


def containing(column: str, substring: str) -> Q:
    """Return the condition that a column contains a text, ignoring case."""
    contains = Q(**{f"{column}__icontains": substring})
    # PostgreSQL converts each text to upper case, but most are empty.
    return ~Q(**{column: ""}) & contains if substring else contains


def choice(column: str, choices: Mapping[str, str]) -> Build:
    """One of a closed list. `choices` maps what the column holds to its label; either may be written."""
    by_name = {name.casefold(): value for value, label in choices.items() for name in (value, label)}

    def chosen(value: Text) -> Q:
        key = value.text.casefold()
        if key not in by_name:
            close = nearest(key, by_name)
            hint = f"Did you mean “{close}”?" if close else f"Possible values: {', '.join(choices)}"
            raise value.error(f"“{value.text}” is not a valid value. {hint}", close or "")
        return Q(**{column: by_name[key]})

    return lambda comparison: equal(comparison, chosen)


def number(column: str, *, is_whole: bool = False, is_share: bool = False) -> Build:
    """A number. `is_whole`: the column holds whole numbers only; `is_share`: 10% may be written for 0.1."""
    # Django adds this to a negated condition by itself, except for generated columns.
    has_value = {f"{column}__isnull": False}

    def read(value: Text) -> float | int:
        return read_number(value, is_share=is_share)

    def same(value: Text) -> Q:
        number_value = read(value)
        if is_whole and not (math.isfinite(number_value) and number_value == int(number_value)):
            return Q(pk__in=[])
        return Q(**{column: int(number_value) if is_whole else number_value}, **has_value)

    def build(comparison: Comparison) -> Q:
        if comparison.operator in LOOKUPS:
            bound = read(comparison.values[0])
            if is_whole and not math.isfinite(bound):  # all whole numbers lie on one side of it
                is_met = math.isinf(bound) and (bound > 0) == comparison.operator.startswith("<")
                return Q(**has_value) if is_met else Q(pk__in=[])
            return Q(**{f"{column}__{LOOKUPS[comparison.operator]}": bound}, **has_value)
        return equal(comparison, same, column, is_nullable=True)

    return ranged(build)


def duration(column: str) -> Build:
    """A length of time, kept in seconds: 90, 90s, 10m, 1h30m, 2d."""

    def build(comparison: Comparison) -> Q:
        if comparison.operator in LOOKUPS:
            return Q(**{f"{column}__{LOOKUPS[comparison.operator]}": read_duration(comparison.values[0])})
        return equal(comparison, lambda value: Q(**{column: read_duration(value)}), column, is_nullable=True)

    return ranged(build)


def size(column: str) -> Build:
    """A number of bytes: 1048576, 512KiB, 1.5GiB, 2GB."""

    def build(comparison: Comparison) -> Q:
        if comparison.operator in LOOKUPS:
            return Q(**{f"{column}__{LOOKUPS[comparison.operator]}": read_size(comparison.values[0])})
        return equal(comparison, lambda value: Q(**{column: read_size(value)}), column, is_nullable=True)

    return ranged(build)


def flag(name: str, is_so: Callable[[], Q]) -> Build:
    """Yes or no. `is_so` returns the condition of yes."""

    def flag_condition(value: Text) -> Q:
        word = value.text.casefold()
        if word not in (*YES, *NO):
            raise value.error(f"“{name}” takes yes or no")
        return is_so() if word in YES else ~is_so()

    return lambda comparison: equal(comparison, flag_condition)


def instant(column: str) -> Build:
    """A point in time: a date, a date with a time, or an age such as 2d (`<2d`: less than two days ago)."""

    def within(value: Text) -> Q:
        start, end = read_period(value)
        return Q(**{f"{column}__gte": start, f"{column}__lt": end})

    def build(comparison: Comparison) -> Q:
        operator, value = comparison.operator, comparison.values[0]
        if operator not in LOOKUPS:
            return equal(comparison, within, column, is_nullable=True)
        if _DURATION.fullmatch(value.text):
            return Q(**{f"{column}__{LOOKUPS[FLIPPED[operator]]}": _ago(value)})
        start, end = read_period(value)
        if operator in ("<", ">="):
            return Q(**{f"{column}__{LOOKUPS[operator]}": start})
        return Q(**{f"{column}__{'lt' if operator == '<=' else 'gte'}": end})

    return ranged(build)


def ranged(build: Build, between: Callable[[Text, Text], Q] | None = None) -> Build:
    """Make `1e-4..1e-2`, with both ends, a possible value: of `=`, `!=` and `in`. `between` makes the condition of the
    two ends, where reading what lies between them is faster than what lies on either side of each."""

    def build_ranges(comparison: Comparison) -> Q:
        pairs = [(value, value.ends()) for value in comparison.values]
        ends = [pair for _, pair in pairs if pair]
        if not ends:
            return build(comparison)
        if comparison.operator not in ("=", "!=", "in"):
            raise comparison.values[0].error(f"A range takes “:” or “!=”, not “{comparison.operator}”")
        conditions = [
            between(low, high)
            if between
            else build(Comparison(comparison.field, ">=", (low,)))
            & build(Comparison(comparison.field, "<=", (high,)))
            for low, high in ends
        ]
        if single_values := tuple(value for value, pair in pairs if not pair):
            conditions.append(build(Comparison(comparison.field, "=", single_values)))
        any_of = reduce(operators.or_, conditions)
        return ~any_of if comparison.operator == "!=" else any_of

    return build_ranges


def equal(
    comparison: Comparison, one_of: Callable[[Text], Q], column: str = "", is_nullable: bool = False
) -> Q:
    """The condition of `=`, `!=` and `in`; other operators do not suit such a field."""
    if comparison.operator not in ("=", "!=", "in"):
        raise comparison.field.error(
            f"“{comparison.field.text}” cannot be compared with “{comparison.operator}”"
        )

    def condition(value: Text) -> Q:
        is_none = is_nullable and not value.is_quoted and value.text.casefold() == NONE
        return Q(**{f"{column}__isnull": True}) if is_none else one_of(value)

    any_of = reduce(operators.or_, (condition(value) for value in comparison.values))
    if comparison.operator == "!=" and any_of.children == [(f"{column}__isnull", True)]:
        return Q(**{f"{column}__isnull": False})  # unlike its negation, an index contains them in a range
    return ~any_of if comparison.operator == "!=" else any_of


# --- values -------------------------------------------------------------------------------------------------------


def read_number(value: Text, *, is_share: bool = False) -> float | int:
    """Parse a number; whole numbers become ints."""
    written = value.text
    divisor = 1
    if is_share and written.endswith("%"):
        written, divisor = written[:-1], 100
    try:
        if divisor == 1 and re.fullmatch(r"[+-]?\d{1,18}", written):
            return int(written)
        read = float(written) / divisor
    except ValueError:
        raise value.error(f"“{value.text}” is not a number") from None
    if "_" in written:
        raise value.error(f"“{value.text}” is not a number")
    if math.isnan(read):
        raise value.error(f"“{value.text}” cannot be compared; use a number or none")
    return read


def read_duration(value: Text) -> float:
    """Parse a duration; return seconds."""
    if re.fullmatch(r"\d{1,12}(\.\d+)?", value.text):
        return float(value.text)
    if not _DURATION.fullmatch(value.text):
        raise value.error(f"“{value.text}” is not a duration. Write it as 90s, 10m, 1h30m or 2d")
    return sum(float(amount) * UNITS_S[unit.lower()] for amount, unit in _PART.findall(value.text))


def read_size(value: Text) -> int:
    """Parse a size; return bytes."""
    match = _SIZE.fullmatch(value.text)
    if not match:
        raise value.error(f"“{value.text}” is not a size. Write it as 1048576, 512KiB, 1.5GiB or 2GB")
    amount, prefix, is_binary = match.groups()
    factor = (1024 if is_binary else 1000) ** (" KMGT".index(prefix.upper()) if prefix else 0)
    return min(int(float(amount) * factor), LARGEST)


def read_period(value: Text) -> tuple[datetime, datetime]:
    """Return the first instant of the day, minute or second that a text names, and the first one after it. Times
    without a zone are in the reader's."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value.text):
            day = date.fromisoformat(value.text)
            return _midnight(day), _midnight(day + timedelta(days=1))
        if value.text.casefold() in ("today", "yesterday"):
            day = timezone.localdate() - timedelta(days=value.text.casefold() == "yesterday")
            return _midnight(day), _midnight(day + timedelta(days=1))
        start = datetime.fromisoformat(value.text)
        step = timedelta(seconds=1) if re.search(r"\d:\d\d:\d\d", value.text) else timedelta(minutes=1)
        start = timezone.make_aware(start) if timezone.is_naive(start) else start
        return start, start + step
    except (ValueError, OverflowError):
        raise value.error(
            f"“{value.text}” is not a time. Write a date (2026-11-01), a time (2026-11-01T18:30) or an age (2d)"
        ) from None


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


def _ago(value: Text) -> datetime:
    try:
        return database_clock.now() - timedelta(seconds=read_duration(value))
    except OverflowError:
        raise value.error(f"“{value.text}” is too long ago") from None
