"""What is derived from the past trials one by one, and kept between proposals: a proposal reads only new ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.search.json_documents import parse_all

from .problem import Past, StoredTrial

if TYPE_CHECKING:
    from .fitted_past import FittedPast

_BLOCK = 1024  # documents that are parsed together


class Follower:
    """Reads each past trial once, in number order. When trials are dropped, what comes from them is undone."""

    def __init__(self) -> None:
        self._seen = 0

    def update(self, past: FittedPast) -> None:
        """Read the trials that were added since the last call."""
        start, self._seen = self._seen, len(past)
        if start < self._seen:
            self._read(past, start)

    def truncate(self, past: FittedPast, count: int) -> None:
        """Undo all trials but the first `count`, before the past drops them."""
        if count < self._seen:
            self._undo(past, count)
            self._seen = count

    def _read(self, past: FittedPast, start: int) -> None:
        raise NotImplementedError

    def _undo(self, past: FittedPast, count: int) -> None:
        raise NotImplementedError


class AttrsFollower(Follower):
    """Reads the attrs of one algorithm. `_remove` undoes what `_add` did, the latest first."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._entries: list[tuple[int, Any]] = []  # by position among the past trials

    def _read(self, past: FittedPast, start: int) -> None:
        for place, attrs in _attrs_of(past.stored, start):
            if self._name in attrs:
                self._entries.append((place, attrs[self._name]))
                self._add(past, place, attrs[self._name])

    def _undo(self, past: FittedPast, count: int) -> None:
        while self._entries and self._entries[-1][0] >= count:
            place, entry = self._entries.pop()
            self._remove(past, place, entry)

    def _add(self, past: FittedPast, place: int, entry: Any) -> None:
        raise NotImplementedError

    def _remove(self, past: FittedPast, place: int, entry: Any) -> None:
        raise NotImplementedError


def _attrs_of(past: Sequence[Past], start: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the position and the attrs of each trial from this position on that has some."""
    for first in range(start, len(past), _BLOCK):
        block = past[first : first + _BLOCK]
        texts = [trial.attrs_text for trial in block if isinstance(trial, StoredTrial) and trial.attrs_text]
        parsed = iter(parse_all(texts) if texts else ())
        for place, trial in enumerate(block, start=first):
            if isinstance(trial, StoredTrial):
                if trial.attrs_text:
                    yield place, next(parsed)
            elif trial.attrs:
                yield place, trial.attrs
