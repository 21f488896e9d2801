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
    """The context of `filters/_line.html`. `noun` is what it filters; `hidden_fields` are the other parameters of the
    URL; `applied` is the filter of the table while `text` is invalid."""

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
        """The text before, at and after the error, on one line."""
        error = self.error
        if error is None:
            return "", "", ""
        text = "".join(letter if letter.isprintable() else "·" for letter in self.text)
        return text[: error.start], text[error.start : error.end], text[error.end :]

    @property
    def caret(self) -> str:
        """A line of text with a caret below the error."""
        error = self.error
        return "" if error is None else " " * error.start + "^" * max(1, len(self.fault[1]))

    @property
    def corrected(self) -> str:
        """The text with the error's suggestion applied; empty without a suggestion."""
        error = self.error
        if error is None or not error.suggestion:
            return ""
        return self.text[: error.start] + quoted(error.suggestion) + self.text[error.end :]


def hidden_fields_of(query: QueryDict, without: Collection[str]) -> list[tuple[str, str]]:
    """Return the query parameters that a form on the page must send again."""
    return [
        (name, value) for name, values in query.lists() for value in values if name not in without and value
    ]


def completions(request: SignedInRequest, candidates: Candidates) -> HttpResponse:
    """Return the completions for `?filter=…&at=…`, by default at the end of the filter."""
    text = request.GET.get("filter", "")
    at = request.GET.get("at", "")
    place = int(at) if at.isdecimal() and len(at) < 10 else len(text)
    return render(request, "filters/_completions.html", {"groups": complete(text, place, candidates)})
