"""Drawings that all readers share. Each is drawn once for a version of the data, by the first reader who needs it.

An experiment whose data change faster than its charts can be drawn must not keep the web process busy: once its
drawings have taken `BUDGET_S` of processor time within a second, the last version is shown for a moment longer.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from django.core.cache import caches
from django.utils.timezone import get_current_timezone_name

from experiments.models import Experiment

Version = tuple[object, ...]  # changes whenever a chart of the experiment changes
Drawn = TypeVar("Drawn")

BUDGET_S = 0.25
WITHIN_S = 1.0
MOST_EXPERIMENTS = 1000


def drawn_once(
    experiment: Experiment, draw: Callable[[], Drawn], *key_parts: object, version: Version
) -> Drawn:
    """Return the result of `draw`, cached for all readers until the data of the experiment change. `key_parts`:
    everything else that it depends on. Others who need the same wait for it."""
    key = (experiment.public_id, experiment.epoch, version, get_current_timezone_name(), *key_parts)
    name, cache = hashlib.sha256(repr(key).encode()).hexdigest(), caches["charts"]
    drawn: Drawn | None = cache.get(name)
    if drawn is None:
        with _alone(name):
            drawn = cache.get(name)
            if drawn is None:
                began = time.thread_time()
                drawn = draw()
                cache.set(name, drawn)
                pace, spent = _pace_of(experiment), (time.monotonic(), time.thread_time() - began)
                with _guard:
                    pace.spent.append(spent)
    return drawn


def is_late(experiment: Experiment) -> bool:
    """Return whether an earlier version of the experiment is shown for now. It is part of a fragment's version: when
    it changes, the fragment is drawn again."""
    pace = _pace_of(experiment)
    since = time.monotonic() - WITHIN_S
    with _guard:
        while pace.spent and pace.spent[0][0] < since:
            pace.spent.popleft()
        spent_s = sum(seconds for _, seconds in pace.spent)
    return pace.shown is not None and spent_s >= BUDGET_S


def shown_version(experiment: Experiment, current: Callable[[], Version], *, late: bool) -> Version:
    """Return the version of the experiment to show: the `current` one, or the last one if it is `late`."""
    pace = _pace_of(experiment)
    if not late or pace.shown is None:
        pace.shown = current()
    return pace.shown


@dataclass
class _Pace:
    """When an experiment was drawn, with the seconds of processor time that it took, and the version shown last."""

    spent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=1000))
    shown: Version | None = None


_paces: OrderedDict[tuple[str, int], _Pace] = OrderedDict()
_drawing: dict[str, tuple[threading.Lock, int]] = {}  # how many threads hold it or wait for it
_guard = threading.Lock()  # of all three


def _pace_of(experiment: Experiment) -> _Pace:
    key = experiment.public_id, experiment.epoch
    with _guard:
        pace = _paces.setdefault(key, _Pace())
        _paces.move_to_end(key)
        while len(_paces) > MOST_EXPERIMENTS:
            _paces.popitem(last=False)
    return pace


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Hold the lock of this drawing."""
    with _guard:
        lock, count = _drawing.get(name, (threading.Lock(), 0))
        _drawing[name] = lock, count + 1
    try:
        with lock:
            yield
    finally:
        with _guard:
            lock, count = _drawing[name]
            if count == 1:
                del _drawing[name]
            else:
                _drawing[name] = lock, count - 1
