"""The parameter types of NNI's search space, with NNI's exact sampling semantics.

Each value has two forms. The *raw* value is what the search works on: the number before any rounding, or the chosen
value itself; it keeps its meaning in another space, so that a space may be edited during an experiment. The *shown*
value is what the trial gets. Semantics as in NNI 3.0's `nni/common/hpo_utils/formatting.py`.

`quantile(u)` is the inverse of the cumulative distribution function (0 <= u <= 1), and `share(raw)` is that function;
for discrete values it is the middle of their step.
"""

import json
import math
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from random import Random
from statistics import NormalDist
from typing import Any

# Normals are drawn between the quantiles EDGE and 1 - EDGE (mu ± 4.75 sigma). Values further out would only pile up
# at the edges of the scale on which the algorithms work.
EDGE = 1e-6


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def identity(value: Any) -> str:
    """Return the canonical JSON of a value. 1, 1.0 and true differ; a round trip through a database changes nothing.

    PostgreSQL stores JSON numbers as decimals: it returns 1e16 as an integer and -0.0 as 0.0.
    """
    return _encode(canonical(value))


@dataclass(frozen=True)
class Choice:
    """One of a list of JSON values with equal probability. The raw value is the value itself, not its position, so
    that choices can be added and removed."""

    name: str
    type: str
    values: tuple

    @property
    def count(self) -> int:
        return len(self.values)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {identity(value): position for position, value in enumerate(self.values)}

    @cached_property
    def _positions_of_texts(self) -> dict[str, int]:
        return {value: position for position, value in enumerate(self.values) if isinstance(value, str)}

    def index(self, raw: Any) -> int:
        return self._positions_of_texts[raw] if isinstance(raw, str) else self._positions[identity(raw)]

    def indexes(self, raws: list[Any]) -> list[int]:
        """Return the index of each of many values, each distinct one looked up once."""
        if set(map(type, raws)) == {str}:
            return list(map(self._positions_of_texts.__getitem__, raws))
        keys: list[Any] = list(zip(map(type, raws), raws, strict=True))
        try:
            positions = {key: self.index(key[1]) for key in set(keys)}
        except TypeError:  # arrays and objects
            keys = list(map(repr, raws))
            positions = {key: self.index(raw) for key, raw in dict(zip(keys, raws, strict=True)).items()}
        return [positions[key] for key in keys]

    def at(self, index: int) -> Any:
        return deepcopy(self.values[index])

    def draw(self, rng: Random) -> Any:
        return self.at(rng.randrange(self.count))

    def quantile(self, u: float) -> Any:
        return self.at(_step(u, self.count))

    def share(self, raw: Any) -> float:
        return (self.index(raw) + 0.5) / self.count

    def fits(self, raw: Any) -> bool:
        return self.to_raw(raw) is not NOT_IN_SPACE

    def shown(self, raw: Any) -> Any:
        return self.at(self.index(raw))

    def to_raw(self, shown: Any) -> Any:
        try:
            return self.at(self.index(shown))
        except (KeyError, TypeError, ValueError, RecursionError):
            return NOT_IN_SPACE


@dataclass(frozen=True)
class Randint:
    """An integer from low to high, both inclusive (NNI's upper bound is high + 1), with equal probability."""

    name: str
    type: str
    low: int
    high: int

    @property
    def count(self) -> int:
        return self.high - self.low + 1

    def index(self, raw: Any) -> int:
        return int(raw) - self.low

    def indexes(self, raws: list[Any]) -> list[int]:
        """Return the index of each of many values, like `index`, in fewer calls."""
        low = self.low
        return [raw - low for raw in map(int, raws)]

    def at(self, index: int) -> int:
        return self.low + index

    def draw(self, rng: Random) -> int:
        return rng.randint(self.low, self.high)

    def quantile(self, u: float) -> int:
        return self.at(_step(u, self.count))

    def share(self, raw: Any) -> float:
        return (self.index(raw) + 0.5) / self.count

    def fits(self, raw: Any) -> bool:
        return self.to_raw(raw) is not NOT_IN_SPACE

    def shown(self, raw: Any) -> int:
        return int(raw)

    def to_raw(self, shown: Any) -> Any:
        if not _is_number(shown) or not self.low <= shown <= self.high or shown != int(shown):
            return NOT_IN_SPACE
        return int(shown)


@dataclass(frozen=True)
class LogRandint(Randint):
    """An integer from low to high, both inclusive, whose logarithm is uniform: a draw from low - 0.5 to high + 0.5 is
    rounded, as by Optuna."""

    log: bool = True

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return math.log(self.low - 0.5), math.log(self.high + 0.5)

    def draw(self, rng: Random) -> int:
        return self.quantile(rng.random())

    def quantile(self, u: float) -> int:
        first, last = self._ends
        return min(max(round(math.exp(first + (last - first) * u)), self.low), self.high)

    def share(self, raw: Any) -> float:
        first, last = self._ends
        return min(max((math.log(raw) - first) / (last - first), 0.0), 1.0)


@dataclass(frozen=True)
class Uniform:
    """A float between low and high, uniform or (`log`) log-uniform.

    With q, the shown value is round(x / q) * q, halves to even, clipped to the bounds, which need not be multiples
    of q. `is_whole`: it is shown as an integer; q and the bounds are integers then.
    """

    name: str
    type: str
    low: float
    high: float
    q: float | None
    log: bool
    is_whole: bool = False

    @property
    def count(self) -> int | None:
        if self.q is not None:
            return round(self.high / self.q) - round(self.low / self.q) + 1
        return 1 if self.low == self.high else None

    def index(self, raw: Any) -> int:
        return 0 if self.q is None else round(raw / self.q) - round(self.low / self.q)

    def indexes(self, raws: list[Any]) -> list[int]:
        """Return the index of each of many values, like `index`, in fewer calls."""
        if (q := self.q) is None:
            return [0] * len(raws)
        first = round(self.low / q)
        return [round(raw / q) - first for raw in raws]

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

    def fits(self, raw: Any) -> bool:
        return _is_number(raw) and self.low <= raw <= self.high

    def shown(self, raw: Any) -> float:
        if self.q is None:
            return float(raw)
        value = self.clip(round(raw / self.q) * self.q)
        return int(value) if self.is_whole else value

    def all_shown(self, raws: list[float]) -> list[float]:
        """Return the shown values of many raw values of a parameter with q, like `shown`, in fewer calls."""
        low, high = self.low, self.high
        rounded = _rounded(raws, self.q)
        values = [value if low <= value <= high else self.clip(value) for value in rounded]
        return list(map(int, values)) if self.is_whole else values

    def to_raw(self, shown: Any) -> Any:
        if self.q is None:
            return float(shown) if self.fits(shown) else NOT_IN_SPACE
        return _unrounded(self, shown, self.q)

    def clip(self, x: float) -> float:
        return min(max(x, self.low), self.high)


@dataclass(frozen=True)
class Normal:
    """A normal or (`log`) log-normal draw. With q, the shown value is round(x / q) * q, never clipped, and with
    `is_whole` an integer."""

    name: str
    type: str
    mu: float
    sigma: float
    q: float | None
    log: bool
    is_whole: bool = False

    @property
    def count(self) -> None:
        """None: a normal distribution is infinite, even with q."""
        return None

    def index(self, raw: Any) -> int:
        raise ValueError("The values of a normal distribution cannot be enumerated.")

    def indexes(self, raws: list[Any]) -> list[int]:
        raise ValueError("The values of a normal distribution cannot be enumerated.")

    def at(self, index: int) -> float:
        raise ValueError("The values of a normal distribution cannot be enumerated.")

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

    def fits(self, raw: Any) -> bool:
        return _is_number(raw) and self.low <= raw <= self.high

    def shown(self, raw: Any) -> float:
        if self.q is None:
            return float(raw)
        value = round(raw / self.q) * self.q
        return int(value) if self.is_whole else value

    def all_shown(self, raws: list[float]) -> list[float]:
        """Return the shown values of many raw values of a parameter with q, like `shown`, in fewer calls."""
        values = _rounded(raws, self.q)
        return list(map(int, values)) if self.is_whole else values

    def to_raw(self, shown: Any) -> Any:
        if self.q is None:
            return float(shown) if self.fits(shown) else NOT_IN_SPACE
        return _unrounded(self, shown, self.q)

    def clip(self, x: float) -> float:
        return min(max(x, self.low), self.high)


# The result of `to_raw` for a value that does not fit; None is a valid value of a choice.
NOT_IN_SPACE = object()


def _unrounded(parameter: Uniform | Normal, shown: Any, q: float) -> Any:
    """Return a raw value for this shown value. Users write 0.30000000000000004 as 0.3, so allow a tolerance."""
    if not _is_number(shown) or abs(shown) > 2 * max(abs(parameter.low), abs(parameter.high), q):
        return NOT_IN_SPACE
    raw = parameter.clip(float(shown))
    tolerance = min(q / 4, 1e-9 * max(q, abs(raw)))
    return raw if abs(parameter.shown(raw) - shown) <= tolerance else NOT_IN_SPACE


def _rounded(raws: list[float], q: float | None) -> list[float]:
    return raws if q is None else [round(raw / q) * q for raw in raws]


def _step(u: float, count: int) -> int:
    """Return the index of the step that contains `u`, of `count` equal steps of the interval from 0 to 1."""
    return min(int(u * count), count - 1)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def canonical(value: Any) -> Any:
    """Return the value whose JSON `identity` returns."""
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if abs(value) >= 1e16 else value + 0.0  # -0.0 + 0.0 is 0.0
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {name: canonical(item) for name, item in value.items()}
    return value
