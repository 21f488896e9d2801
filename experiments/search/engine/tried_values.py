"""The values that the trials of an experiment have run with, for a search that avoids duplicates in a space without
end.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments.search.json_documents import parse_all
from experiments.search.parameters import identity

from .follower import Follower
from .problem import StoredTrial

if TYPE_CHECKING:
    from .fitted_past import FittedPast

_BLOCK = 1024  # documents that are parsed together


class TriedValues(Follower):
    """The trials of this experiment by a hash of the values that they ran with.

    Canonical JSON of all values would take most of the first look. Equal canonical JSON means equal hashes, and only
    trials with equal hashes are compared.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hashes = array("q")  # of each trial, those of other experiments among them
        self._places: dict[int, list[int]] = {}
        self._keys: dict[int, str] = {}  # of trials that were compared, by position

    def has(self, past: FittedPast, shown: Mapping[str, Any]) -> bool:
        """Return whether a trial of this experiment ran with these values."""
        places = self._places.get(_hash(shown))
        if not places:
            return False
        key = identity(dict(shown))
        for place in places:
            if place not in self._keys:
                self._keys[place] = past.stored[place].key
            if self._keys[place] == key:
                return True
        return False

    def _read(self, past: FittedPast, start: int) -> None:
        for first in range(start, len(past), _BLOCK):
            block = past.stored[first : first + _BLOCK]
            parsed = iter(parse_all([trial.shown_text for trial in block if isinstance(trial, StoredTrial)]))
            documents = [next(parsed) if isinstance(trial, StoredTrial) else trial.ran for trial in block]
            try:
                hashes = list(map(hash, map(frozenset, map(dict.items, documents))))
            except TypeError:  # arrays and objects in some of them
                hashes = list(map(_hash, documents))
            self._hashes.extend(hashes)
            for place, (value, trial) in enumerate(zip(hashes, block, strict=True), start=first):
                if trial.number >= 0:
                    self._places.setdefault(value, []).append(place)

    def _undo(self, past: FittedPast, count: int) -> None:
        for place in range(len(self._hashes) - 1, count - 1, -1):
            value = self._hashes.pop()
            if past.stored[place].number >= 0:
                self._keys.pop(place, None)
                self._places[value].pop()
                if not self._places[value]:
                    del self._places[value]


def _hash(shown: Mapping[str, Any]) -> int:
    try:
        return hash(frozenset(shown.items()))
    except TypeError:  # arrays and objects
        return hash(identity(dict(shown)))
