import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], *, within: float = 30.0, every: float = 0.02, what: str = "") -> T:
    """What `predicate()` returns once it is true; fails after `within` seconds and says what it was then."""
    deadline = time.monotonic() + within
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or 'it'} did not happen within {within:g} s; at the end: {result!r}")
        time.sleep(every)
