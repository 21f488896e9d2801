"""Query parameters of pages and of the API: their declarations, and the messages about invalid ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from django.http import QueryDict

LONGEST_QUOTE = 60  # characters of a value quoted in a sentence
MOST_NAMES = 12  # names listed in a sentence
MOST_FAULTS = 5  # sentences in one response


@dataclass(frozen=True)
class Parameter:
    """One parameter. `refuse` returns which values are allowed if a value is not, else ""."""

    refuse: Callable[[str], str]
    is_repeatable: bool = False


def text(longest: int | None = None) -> Parameter:
    """Any text, of at most `longest` characters."""

    def refuse(value: str) -> str:
        is_too_long = longest is not None and len(value) > longest
        return f"at most {longest} characters" if is_too_long else ""

    return Parameter(refuse)


def texts() -> Parameter:
    """Any texts: the parameter may occur more than once."""
    return Parameter(lambda value: "", is_repeatable=True)


def choice(*values: str) -> Parameter:
    """One of these values."""
    return Parameter(lambda value: "" if value in values else listed(values))


def sorting(*keys: str) -> Parameter:
    """One of these keys, with a leading - for descending order."""

    def refuse(value: str) -> str:
        return "" if value.removeprefix("-") in keys else f"{listed(keys)}; -{keys[0]} for descending order"

    return Parameter(refuse)


def number(least: int = 0) -> Parameter:
    """A whole number that a database can hold."""

    def refuse(value: str) -> str:
        is_whole = value.isascii() and value.isdecimal() and len(value) < 16
        return "" if is_whole and int(value) >= least else f"a whole number of {least} or more"

    return Parameter(refuse)


def faults(query: QueryDict, allowed: Mapping[str, Parameter]) -> dict[str, str]:
    """Return a sentence for each unknown parameter or invalid value in the URL; at most `MOST_FAULTS`. An empty value
    is a filter that is not set."""
    sentences: dict[str, str] = {}
    for name, values in query.lists():
        if len(sentences) == MOST_FAULTS:
            break
        parameter = allowed.get(name)
        if parameter is None:
            sentences[name] = unknown(name, allowed)
        elif len(values) > 1 and not parameter.is_repeatable:
            sentences[name] = f"{quoted(name)} occurs {len(values)} times in the URL. Allowed: once."
        else:
            for value in filter(None, map(str.strip, values)):
                if allowed_here := parameter.refuse(value):
                    sentences[name] = invalid(name, value, allowed_here)
    return sentences


def unknown(name: str, allowed: Iterable[str]) -> str:
    """Return the sentence about an unknown parameter."""
    names = sorted(allowed)
    takes = f"Allowed: {listed(names)}." if names else "Allowed: none."
    return f"Unknown parameter {quoted(name)} in the URL. {did_you_mean(name, names)}{takes}"


def invalid(name: str, value: str, allowed: str) -> str:
    """Return the sentence about an invalid value of a parameter."""
    return f"Invalid {name}: {quoted(value)}. Allowed: {allowed}."


def missing(kind: str, value: str, existing: Collection[str]) -> str:
    """Return the sentence about a filter by something that does not exist: `missing("creator", "own", ["owner"])`."""
    exist = f"Allowed: {listed(sorted(existing))}." if existing else "There are none yet."
    return f"No {kind} {quoted(value)} in this workspace. {did_you_mean(value, existing)}{exist}"


def did_you_mean(value: str, existing: Iterable[str]) -> str:
    """Return `Did you mean owner? ` for "own"; "" if no name is similar."""
    by_folded = {name.casefold(): name for name in existing}
    folded_value = value.casefold()
    begun = sorted(name for name in by_folded if len(folded_value) > 1 and name.startswith(folded_value))
    near = begun[:1] or difflib.get_close_matches(folded_value[:100], by_folded, n=1)
    return f"Did you mean {by_folded[near[0]]}? " if near else ""


def listed(values: Collection[str]) -> str:
    """`a, b, c`, or the first ones `and 3 more`."""
    shown = [value if len(value) <= LONGEST_QUOTE else f"{value[:LONGEST_QUOTE]}…" for value in values]
    more = f" and {len(shown) - MOST_NAMES} more" if len(shown) > MOST_NAMES else ""
    return ", ".join(shown[:MOST_NAMES]) + more


def quoted(text: str) -> str:
    """Return a value of the URL in quotes, truncated if long."""
    clean = "".join(letter if letter.isprintable() else "�" for letter in text[: LONGEST_QUOTE + 1])
    return f"“{clean[:LONGEST_QUOTE]}…”" if len(text) > LONGEST_QUOTE else f"“{clean}”"
