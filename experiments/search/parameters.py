"""The kinds of parameter in NNI's search space, with NNI's exact sampling meaning.

Each kind knows two forms of a value. *Raw* is what the search works on: the number before any rounding, or
the chosen value itself; it means the same in another space, so that a space may change under way. *Shown* is
what the trial gets. Meaning as in NNI 3.0's `nni/common/hpo_utils/formatting.py`.

`quantile(u)` is the raw value below which a share u of the draws lies (0 <= u <= 1), `share(raw)` undoes it; for
values that are counted it is the middle of their step.
"""

import json
import math
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from random import Random
from statistics import NormalDist

# Normals are drawn between these two quantiles (mu ± 4.75 sigma). What lies further out is never proposed,
# and would only pile up at the edge of the search's scale.
EDGE = 1e-6


def identity(value: object) -> str:
    """Return the canonical JSON of a value: 1, 1.0 and true differ, and it survives a database's JSON.

    PostgreSQL stores JSON numbers as decimals: it gives 1e16 back as an integer and -0.0 as 0.0.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Choice:
    """One of a list of JSON values, each as likely; raw is the value, so that choices may come and go."""

    name: str
    type: str
    values: tuple

    @property
    def count(self) -> int:
        return len(self.values)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {identity(value): position for position, value in enumerate(self.values)}

    def index(self, raw: object) -> int:
        return self._positions[identity(raw)]

    def at(self, index: int) -> object:
        return deepcopy(self.values[index])

    def draw(self, rng: Random) -> object:
        return self.at(rng.randrange(self.count))

    def quantile(self, u: float) -> object:
        return self.at(_step(u, self.count))

    def share(self, raw: object) -> float:
        return (self.index(raw) + 0.5) / self.count

    def fits(self, raw: object) -> bool:
        return self.to_raw(raw) is not NOTHING

    def shown(self, raw: object) -> object:
        return self.at(self.index(raw))

    def to_raw(self, shown: object) -> object:
        try:
            return self.at(self.index(shown))
        except (KeyError, TypeError, ValueError, RecursionError):
            return NOTHING


@dataclass(frozen=True)
class Randint:
    """A whole number from low to high, each as likely. Both are included: NNI's high is high + 1 here."""

    name: str
    type: str
    low: int
    high: int

    @property
    def count(self) -> int:
        return self.high - self.low + 1

    def index(self, raw: object) -> int:
        return int(raw) - self.low

    def at(self, index: int) -> int:
        return self.low + index

    def draw(self, rng: Random) -> int:
        return rng.randint(self.low, self.high)

    def quantile(self, u: float) -> int:
        return self.at(_step(u, self.count))

    def share(self, raw: object) -> float:
        return (self.index(raw) + 0.5) / self.count

    def fits(self, raw: object) -> bool:
        return self.to_raw(raw) is not NOTHING

    def shown(self, raw: object) -> int:
        return int(raw)

    def to_raw(self, shown: object) -> object:
        if not _is_number(shown) or not self.low <= shown <= self.high or shown != int(shown):
            return NOTHING
        return int(shown)


@dataclass(frozen=True)
class Uniform:
    """A float between low and high, even or (`log`) even in its logarithm.

    With q it is shown as round(x / q) * q, halves to even, clipped to the bounds, which need not be
    multiples of q.
    """

    name: str
    type: str
    low: float
    high: float
    q: float | None
    log: bool

    @property
    def count(self) -> int | None:
        if self.q is not None:
            return round(self.high / self.q) - round(self.low / self.q) + 1
        return 1 if self.low == self.high else None

    def index(self, raw: object) -> int:
        return 0 if self.q is None else round(raw / self.q) - round(self.low / self.q)

    def at(self, index: int) -> float:
        return self.low if self.q is None else self.clip((round(self.low / self.q) + index) * self.q)

    def draw(self, rng: Random) -> float:
        return self.quantile(rng.random())

    def quantile(self, u: float) -> float:
        low, high = self._ends
        x = low + (high - low) * u
        return self.clip(math.exp(x) if self.log else x)

    def share(self, raw: float) -> float:
        low, high = self._ends
        x = math.log(raw) if self.log else raw
        return min(max((x - low) / (high - low), 0.0), 1.0) if high > low else 0.5

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)

    def fits(self, raw: object) -> bool:
        return _is_number(raw) and self.low <= raw <= self.high

    def shown(self, raw: object) -> float:
        return float(raw) if self.q is None else self.clip(round(raw / self.q) * self.q)

    def to_raw(self, shown: object) -> object:
        if self.q is None:
            return float(shown) if self.fits(shown) else NOTHING
        return _unrounded(self, shown, self.q)

    def clip(self, x: float) -> float:
        return min(max(x, self.low), self.high)


@dataclass(frozen=True)
class Normal:
    """A normal draw, or (`log`) its exponential; with q shown as round(x / q) * q, never clipped."""

    name: str
    type: str
    mu: float
    sigma: float
    q: float | None
    log: bool
    count = None

    @cached_property
    def low(self) -> float:
        return self.quantile(EDGE)

    @cached_property
    def high(self) -> float:
        return self.quantile(1 - EDGE)

    @cached_property
    def _normal(self) -> NormalDist:
        return NormalDist(self.mu, self.sigma)

    def quantile(self, u: float) -> float:
        x = self._normal.inv_cdf(min(max(u, EDGE), 1 - EDGE))
        return math.exp(x) if self.log else x

    def share(self, raw: float) -> float:
        u = self._normal.cdf(math.log(raw) if self.log else raw)
        return min(max(u, EDGE), 1 - EDGE)

    def draw(self, rng: Random) -> float:
        return self.clip(self.quantile(rng.uniform(EDGE, 1 - EDGE)))

    def fits(self, raw: object) -> bool:
        return _is_number(raw) and self.low <= raw <= self.high

    def shown(self, raw: object) -> float:
        return float(raw) if self.q is None else round(raw / self.q) * self.q

    def to_raw(self, shown: object) -> object:
        if self.q is None:
            return float(shown) if self.fits(shown) else NOTHING
        return _unrounded(self, shown, self.q)

    def clip(self, x: float) -> float:
        return min(max(x, self.low), self.high)


# None is a value that a choice may have, so "does not fit" needs a mark of its own.
NOTHING = object()


def _unrounded(parameter: Uniform | Normal, shown: object, q: float) -> object:
    """Return a raw value that is shown as this one; a person may write 0.30000000000000004 as 0.3."""
    if not _is_number(shown) or abs(shown) > 2 * max(abs(parameter.low), abs(parameter.high), q):
        return NOTHING
    raw = parameter.clip(float(shown))
    tolerance = min(q / 4, 1e-9 * max(q, abs(raw)))
    return raw if abs(parameter.shown(raw) - shown) <= tolerance else NOTHING


def _step(u: float, count: int) -> int:
    """Return which of `count` equal steps of 0 to 1 this is in."""
    return min(int(u * count), count - 1)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _canonical(value: object) -> object:
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if abs(value) >= 1e16 else value + 0.0  # -0.0 + 0.0 is 0.0
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    return value
