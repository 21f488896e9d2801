"""A past trial with the part of its parameters that fits the current space."""

import math
from typing import Any

from experiments.search.nested_choice import Path
from experiments.search.parameters import NOT_IN_SPACE, identity
from experiments.search.space import Space

from .problem import Past


class FittedTrial:
    """A past trial, fitted to the space.

    `is_whole`: all of its parameters fit. `index` is its point of a finite space, None if it is not one that the search
    would try. `raw` are the raw values that fit, None to compute them when they are used: those of the trial if it is
    whole.
    """

    __slots__ = ("_attrs", "_leaves", "_raw", "as_optuna", "index", "is_whole", "past", "space")

    def __init__(
        self,
        space: Space,
        past: Past,
        *,
        is_whole: bool,
        index: int | None = None,
        raw: dict[str, Any] | None = None,
    ) -> None:
        self.space = space
        self.past = past
        self.is_whole = is_whole
        self.index = index
        self._raw = raw
        self._leaves: dict[Path, Any] | None = None
        self._attrs: dict[str, Any] | None = None
        self.as_optuna: Any = None  # cache of optuna_study

    @property
    def raw(self) -> dict[str, Any]:
        """The raw values of the parameters that fit."""
        if self._raw is not None:
            return self._raw
        if self.is_whole:
            return self.past.raw
        self._raw, _ = _fitting(self.space, self.past)
        return self._raw

    @property
    def leaves(self) -> dict[Path, Any]:
        if self._leaves is None:
            self._leaves = self.space.leaves(self.raw)
        return self._leaves

    @property
    def attrs(self) -> dict[str, Any]:
        if self._attrs is None:
            self._attrs = self.past.attrs
        return self._attrs

    @property
    def is_done(self) -> bool:
        return is_result(self.past)

    @property
    def is_infeasible(self) -> bool:
        return self.past.state == "infeasible"

    @property
    def value(self) -> float:
        """The result of a trial that is done."""
        if self.past.value is None:
            raise ValueError("A trial that is not done has no value.")
        return self.past.value

    @property
    def values(self) -> list[float]:
        """The results of all objectives of a trial that is done."""
        return [float(self.value), *map(float, self.past.further_values)]

    @property
    def may_inform(self) -> bool:
        return may_inform(self.past) and (self.is_whole or bool(self.raw))


def is_result(past: Past) -> bool:
    """Return whether a trial is done, with a result that is a number."""
    return past.state == "done" and past.value is not None and math.isfinite(past.value)


def may_inform(past: Past) -> bool:
    """Return whether a trial informs the search, if any of its parameters fits."""
    state = past.state
    return is_result(past) or state == "running" or (state == "infeasible" and not past.is_retried)


def fit(space: Space, past: Past) -> FittedTrial:
    """Fit one trial to the space."""
    raw, is_whole = _fitting(space, past)
    # A trial of another experiment informs the search but is untried here; manual values may break constraints.
    index = index_of(space, raw) if is_whole and past.number >= 0 else None
    return FittedTrial(space, past, is_whole=is_whole, index=index, raw=raw)


def index_of(space: Space, raw: dict[str, Any]) -> int | None:
    """Return the index of a point of a finite space; None for an infinite one, and if a constraint is not met."""
    return space.index(raw) if space.size is not None and space.allows(space.shown(raw)) else None


def _fitting(space: Space, past: Past) -> tuple[dict[str, Any], bool]:
    """Return the raw values of the parameters that fit, and whether all of the trial's parameters do."""
    drawn = past.raw
    if space.fits(drawn) and space.key(space.shown(drawn)) == past.key:
        return drawn, True
    ran = past.ran
    fitting = {}
    for parameter in space.parameters:
        if parameter.name not in ran:
            continue
        raw, shown = drawn.get(parameter.name, NOT_IN_SPACE), ran[parameter.name]
        if not parameter.fits(raw) or identity(parameter.shown(raw)) != identity(shown):
            raw = parameter.to_raw(shown)
        if raw is not NOT_IN_SPACE:
            fitting[parameter.name] = raw
    return fitting, len(fitting) == len(space.parameters) == len(ran)
