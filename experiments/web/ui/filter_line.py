"""The filter line above a table: its text, the position of an error, and its parts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.http import HttpResponse, QueryDict
from django.shortcuts import render

from experiments.filters.autocomplete import Candidates, complete
from experiments.filters.conditions import Field
from experiments.filters.language import FilterError, quoted

from .requests import SignedInRequest

SYNTAX = (
    ("lr<1e-3", "Compare: < <= = != > >="),
    ("lr:1e-4..1e-2", "Range, ends included"),
    ("opt:sgd,adamw", "One of these"),
    ("name~text", "Contains"),
    ("created<2d", "Within the last two days; also a date or a time"),
    ("a b · a or b · not a", "All of · any of · none of; parentheses group"),
)


@dataclass(frozen=True)
class FilterLine:
    """What `filters/_line.html` draws. `noun` is what it filters; `hidden_fields` are the other parameters of the
    address; `applied` is the filter that the table shows while `text` cannot be read."""

    noun: str
    text: str
    applied: str
    error: FilterError | None
    hidden_fields: Sequence[tuple[str, str]]
    complete_url: str
    placeholder: str
    fields: Sequence[Field]
    syntax: Sequence[tuple[str, str]] = SYNTAX

    @property
    def fault(self) -> tuple[str, str, str]:
        """The text before the error, at it, and after it, on one line."""
        error = self.error
        if error is None:
            return "", "", ""
        text = "".join(letter if letter.isprintable() else "·" for letter in self.text)
        return text[: error.start], text[error.start : error.end], text[error.end :]

    @property
    def caret(self) -> str:
        """The line below it, which points at the error."""
        error = self.error
        return "" if error is None else " " * error.start + "^" * max(1, len(self.fault[1]))

    @property
    def corrected(self) -> str:
        """The text with the suggestion of the error; empty: there is none."""
        error = self.error
        if error is None or not error.suggestion:
            return ""
        return self.text[: error.start] + quoted(error.suggestion) + self.text[error.end :]


def hidden_fields_of(query: QueryDict, without: Collection[str]) -> list[tuple[str, str]]:
    """Return the parameters of an address that a form on its page sends again."""
    return [
        (name, value) for name, values in query.lists() for value in values if name not in without and value
    ]


def completions(request: SignedInRequest, candidates: Candidates) -> HttpResponse:
    """Return the completions for `?filter=…&at=…`, by default at the end of the filter."""
    text = request.GET.get("filter", "")
    at = request.GET.get("at", "")
    place = int(at) if at.isdecimal() and len(at) < 10 else len(text)
    return render(request, "filters/_completions.html", {"groups": complete(text, place, candidates)})
