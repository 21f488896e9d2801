"""Base of configuration classes: each field can be spelled both ways, trial_command and trialCommand."""

from __future__ import annotations  # for Python 3.8

import difflib

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class ConfigFields:
    """Fields and their defaults are in FIELDS. An unknown field is an error that suggests the closest name."""

    FIELDS: dict[str, Any] = {}
    ALIASES: dict[str, str] = {}  # folded alternative names of some fields
    KIND = "configuration"

    def __init__(self, **values: Any) -> None:
        for name, default in self.FIELDS.items():
            object.__setattr__(self, name, default.copy() if isinstance(default, (dict, list)) else default)
        self.update(values)

    def update(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        field = self._field(name)
        object.__setattr__(self, field, self.converted(field, value))

    def __getattr__(self, name: str) -> Any:  # only for names that are not spelled as in FIELDS
        if name.startswith("__"):
            raise AttributeError(name)
        return object.__getattribute__(self, self._field(name))

    def __repr__(self) -> str:
        values = {name: getattr(self, name) for name in self.FIELDS}
        changed = [
            f"{name}={value!r}"
            for name, value in values.items()
            if value != (type(value)() if isinstance(value, ConfigFields) else self.FIELDS[name])
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # instances are mutable

    def converted(self, name: str, value: Any) -> Any:
        """Return the value to store when `name` is set to `value`."""
        return value

    def json(self) -> dict[str, Any]:
        """Return NNI's JSON: camelCase, without None."""
        values = {camel(name): getattr(self, name) for name in self.FIELDS}
        return {
            name: value.json() if isinstance(value, ConfigFields) else value
            for name, value in values.items()
            if value is not None
        }

    @classmethod
    def _field(cls, name: str) -> str:
        by_fold = {fold(field): field for field in cls.FIELDS}
        by_fold.update(cls.ALIASES)
        field = by_fold.get(fold(str(name)))
        if field is None:
            close = difflib.get_close_matches(fold(str(name)), by_fold, n=1)
            hint = f" Did you mean {by_fold[close[0]]}?" if close else f" Fields: {', '.join(cls.FIELDS)}."
            raise errors.UnknownField(f"The {cls.KIND} has no field {str(name)!r}.{hint}")
        return field


def fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
