"""Selection of a comparison from the URL: IDs in order, the baseline first, and messages about invalid ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from django.http import HttpRequest

from experiments.query_parameters import listed, quoted
from experiments.web.ui.query_checks import note_fault

COLORS = 6  # the first columns have a color of their own
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Column(Generic[Item]):
    """One column: what it shows, its color (0: gray), and the URLs that change the comparison."""

    key: str
    name: str
    item: Item
    color: int
    is_base: bool
    base_url: str
    remove_url: str


class Selection:
    """The query parameters: the repeated `name`, `base`, and all others unchanged."""

    def __init__(self, request: HttpRequest, name: str, *, noun: str, least: int, most: int) -> None:
        self.request, self.name, self.noun, self.least, self.most = request, name, noun, least, most
        requested_keys = (key.strip() for key in request.GET.getlist(name))
        self.keys = list(dict.fromkeys(key for key in requested_keys if key))
        if len(self.keys) > most:
            self._fault(
                f"{len(self.keys):,} {noun}s are selected. Select at most {most}; the first {most} are shown."
            )
            self.keys = self.keys[:most]

    def columns(self, items: Mapping[str, tuple[str, Item]], *, where: str) -> list[Column[Item]]:
        """Return the columns of those of `items` (name and item by key) that the URL selects; the baseline first.

        Report as faults what does not exist or is not visible to this user, and a selection that is too small.
        """
        missing = [key for key in self.keys if key not in items]
        if missing:
            names = listed([quoted(key) for key in missing])
            self._fault(f"No {self.noun} {names} {where}, or you can't view it. Check the URL.")
        keys = [key for key in self.keys if key in items]
        if self.keys and len(keys) < self.least and not missing:
            self._fault(f"1 {self.noun} is selected. Select {self.least} to {self.most}.")
        base = self.request.GET.get("base", "").strip()
        if base and base not in keys:
            note_fault(
                self.request,
                "base",
                f"Invalid base: {quoted(base)}. Allowed: {listed(keys) or 'none'}.",
            )
        if base in keys:
            keys = [base, *(key for key in keys if key != base)]
        return [
            Column(
                key,
                *items[key],
                color=place if place <= COLORS else 0,
                is_base=place == 1,
                base_url=self.url(base=key),
                remove_url=self.url(**{self.name: [other for other in self.keys if other != key]}),
            )
            for place, key in enumerate(keys, start=1)
        ]

    def url(self, **changes: str | Sequence[str] | None) -> str:
        """Return the URL of this comparison with some of it changed; None removes a parameter."""
        query = {name: values for name, values in self.request.GET.lists() if any(values)}
        query[self.name] = self.keys
        for name, value in changes.items():
            if value is None:
                query.pop(name, None)
            else:
                query[name] = [value] if isinstance(value, str) else list(value)
        if query.get("base") and query["base"][0] not in query[self.name]:
            query.pop("base")
        return f"?{urlencode(query, doseq=True)}"

    def _fault(self, sentence: str) -> None:
        note_fault(self.request, self.name, sentence)
