"""The menu of a cell in the trials table: conditions on its value, to add to the filter."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import render
from django_htmx.http import reswap, retarget

from experiments.web.ui.requests import SignedInRequest

EQUAL = ("=", "filter", "Only this value")
BOUNDS = (("<=", "arrow-down", "At most this value"), (">=", "arrow-up", "At least this value"))
UNEQUAL = ("!=", "x", "Exclude this value")

_TERM = re.compile(r'(?P<field>"(?:\\.|[^"\\])*"|[^=]*)=(?P<value>.*)', re.DOTALL)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition that selects the value of a cell: `lr=0.001`."""

    term: str
    field: str
    value: str

    @property
    def choices(self) -> list[tuple[str, str, str]]:
        """The operators that the menu offers, each with its icon and label; bounds for numbers only."""
        return [EQUAL, *(BOUNDS if _NUMBER.fullmatch(self.value) else ()), UNEQUAL]


def condition_of(term: str) -> Condition | None:
    """Parse a cell's condition; None if it is not one."""
    match = _TERM.fullmatch(term)
    return Condition(term, match["field"], match["value"]) if match else None


def draw(request: SignedInRequest, condition: Condition) -> HttpResponse:
    """Return the menu with the response headers that make htmx swap it into the menu's element, whatever target the
    filter form has."""
    response = render(request, "experiment/trials/_cell_menu.html", {"condition": condition})
    return reswap(retarget(response, "#cell-menu"), "innerHTML")
