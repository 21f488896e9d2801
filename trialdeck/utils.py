"""Helpers for trials, importable as from `nni.utils`."""

from __future__ import annotations  # for Python 3.8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    Parameters = TypeVar("Parameters")


def merge_parameter(base_params: Parameters, override_params: Mapping[str, Any] | None) -> Parameters:
    """Set the values of `base_params`, a dict or a namespace such as argparse's, to those of `override_params`.

    `base_params` is changed in place and returned. Raise ValueError for a name that it does not have, and TypeError for
    a value whose type differs from that of the base value, unless the latter is None.
    """
    values = base_params if isinstance(base_params, dict) else vars(base_params)
    for name, value in (override_params or {}).items():
        if name not in values:
            raise ValueError(f"The base parameters have no {name!r}.")
        current = values[name]
        if current is not None and type(current) is not type(value):
            raise TypeError(
                f"The parameter {name!r} must have the type {type(current).__name__}, not {type(value).__name__}."
            )
        values[name] = value
    return base_params
