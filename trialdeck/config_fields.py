"""Base of configuration classes: each field can be spelled both ways, trial_command and trialCommand."""

from __future__ import annotations  # for Python 3.8

import difflib
import re

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
        object.__setattr__(self, "_spelling", {})  # fields as the caller spelled them
        for name, default in self.FIELDS.items():
            object.__setattr__(self, name, default.copy() if isinstance(default, (dict, list)) else default)
        self.update(values)

    def update(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        field = self._field(name)
        object.__setattr__(self, field, self.converted(field, value))
        self._spelling[field] = name

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
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in self.FIELDS
        )

    __hash__ = None  # type: ignore[assignment]  # instances are mutable

    def converted(self, name: str, value: Any) -> Any:
        """Return the value to store when `name` is set to `value`."""
        return value

    def resolve(self, field: str, value: Any) -> None:
        """Replace the value of a field. Its spelling remains the caller's."""
        object.__setattr__(self, field, value)

    def spelled(self, path: str) -> str:
        """Return a field, or a path of fields such as tuner.class_args, as the caller spelled it; else in the style of
        the others."""
        for prefix in (path[: dot.start()] for dot in reversed([*re.finditer(r"\.|$", path)])):
            if "." in prefix and prefix in self._spelling:
                return self._spelling[prefix] + path[len(prefix) :]
        name, dot, rest = path.partition(".")
        is_camel = any(camel(field) == spelling != field for field, spelling in self._spelling.items())
        spelling = self._spelling.get(name) or (camel(name) if is_camel else name)
        value = getattr(self, name, None)
        inner = value.spelled(rest) if isinstance(value, ConfigFields) else rest
        return spelling + dot + inner

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
            near = by_fold[close[0]] if close else ""
            near = camel(near) if any(letter.isupper() for letter in str(name)) else near
            hint = f" Did you mean {near}?" if near else f" Fields: {', '.join(cls.FIELDS)}."
            raise errors.UnknownField(f"The {cls.KIND} has no field {str(name)!r}.{hint}")
        return field


def fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
