"""Helpers for trials, importable as from `nni.utils`."""

from __future__ import annotations  # for Python 3.8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    Parameters = TypeVar("Parameters")


def merge_parameter(base_params: Parameters, override_params: Mapping[str, Any] | None) -> Parameters:
    """Set the values of `base_params`, a dict or a namespace such as argparse's, to those of `override_params`.

    `base_params` is changed in place and returned. As in NNI, a whole number becomes a float where the base value is
    one. Raise ValueError for a name that it does not have, and for a value whose type differs from that of the base
    value, unless the latter is None.
    """
    base: Any = base_params
    is_dict = isinstance(base, dict)
    for name, value in (override_params or {}).items():
        if not (name in base if is_dict else hasattr(base, name)):
            raise ValueError(f"The base parameters have no {name!r}.")
        current = base[name] if is_dict else getattr(base, name)
        is_whole = isinstance(current, float) and isinstance(value, int)
        if current is not None and not is_whole and not isinstance(value, type(current)):
            raise ValueError(
                f"The parameter {name!r} must have the type {type(current).__name__}, not {type(value).__name__}."
            )
        replaced = float(value) if is_whole else value
        if is_dict:
            base[name] = replaced
        else:
            setattr(base, name, replaced)
    return base_params
