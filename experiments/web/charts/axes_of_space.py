"""The parameters of a search space as axes of charts, by column name."""

from __future__ import annotations

from dataclasses import replace

from experiments.charts.drawing.parameter_axis import Parameter, text_of
from experiments.search.nested_choice import Nested
from experiments.search.nested_choice import Parameter as SpaceParameter
from experiments.search.parameters import Choice, LogRandint, Randint, Uniform
from experiments.search.space import Space


def axes_of(space: Space) -> dict[str, Parameter]:
    """Return the axes in the order of the columns. Parameters of two branches with the same column share an axis."""
    axes: dict[str, Parameter] = {}
    for path, leaf in space.every_leaf():
        name = "/".join(path[::2])
        axis = _axis(name, leaf)
        axes[name] = _joined(axes[name], axis) if name in axes else axis
    return {name: axes[name] for name in space.columns() if name in axes}


def _axis(name: str, leaf: SpaceParameter) -> Parameter:
    if isinstance(leaf, Nested):
        return Parameter(name, choices=tuple(branch.name for branch in leaf.branches))
    if isinstance(leaf, Choice):
        return Parameter(name, choices=tuple(dict.fromkeys(text_of(value) for value in leaf.values)))
    if isinstance(leaf, Randint):
        return Parameter(name, leaf.low, leaf.high, is_log=isinstance(leaf, LogRandint), is_whole=True)
    if isinstance(leaf, Uniform):
        return Parameter(name, leaf.low, leaf.high, is_log=leaf.log, is_whole=leaf.is_whole)
    return Parameter(
        name, is_log=leaf.log, is_whole=leaf.is_whole
    )  # a normal distribution has no bounds, so the observed range is used


def _joined(first: Parameter, second: Parameter) -> Parameter:
    if first.choices is not None or second.choices is not None:
        return replace(first, choices=tuple(dict.fromkeys([*(first.choices or ()), *(second.choices or ())])))
    ends = [end for end in (first.low, first.high, second.low, second.high) if end is not None]
    low, high = (min(ends), max(ends)) if ends else (None, None)
    return replace(first, low=low, high=high, is_log=first.is_log and second.is_log)
