"""Objects whose fields have NNI's names in both spellings: trial_command and trialCommand are one field."""

from __future__ import annotations  # for Python 3.8

import difflib

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Fields:
    """Fields are those of FIELDS, with their defaults; an unknown one is an error that names the nearest."""

    FIELDS: dict[str, Any] = {}
    ALIASES: dict[str, str] = {}  # other names, folded, of some fields
    WHAT = "configuration"

    def __init__(self, **given: Any) -> None:
        for name, default in self.FIELDS.items():
            object.__setattr__(self, name, default.copy() if isinstance(default, (dict, list)) else default)
        self.update(given)

    def update(self, given: Mapping[str, Any]) -> None:
        for name, value in given.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        known = self._known(name)
        object.__setattr__(self, known, self.converted(known, value))

    def __getattr__(self, name: str) -> Any:  # only for names that are not spelt as in FIELDS
        if name.startswith("__"):
            raise AttributeError(name)
        return object.__getattribute__(self, self._known(name))

    def __repr__(self) -> str:
        told = {name: getattr(self, name) for name in self.FIELDS}
        said = [
            f"{name}={value!r}"
            for name, value in told.items()
            if value != (type(value)() if isinstance(value, Fields) else self.FIELDS[name])
        ]
        return f"{type(self).__name__}({', '.join(said)})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it can change

    def converted(self, name: str, value: Any) -> Any:
        """What is kept when `name` is set to `value`."""
        return value

    def json(self) -> dict[str, Any]:
        """NNI's JSON: camelCase, without what is None."""
        told = {camel(name): getattr(self, name) for name in self.FIELDS}
        plain = {name: value.json() if isinstance(value, Fields) else value for name, value in told.items()}
        return {name: value for name, value in plain.items() if value is not None}

    @classmethod
    def _known(cls, name: str) -> str:
        by_fold = {fold(known): known for known in cls.FIELDS}
        by_fold.update(cls.ALIASES)
        found = by_fold.get(fold(str(name)))
        if found is None:
            near = difflib.get_close_matches(fold(str(name)), by_fold, n=1)
            hint = f" Did you mean {by_fold[near[0]]}?" if near else f" There are: {', '.join(cls.FIELDS)}."
            raise errors.UnknownField(f"The {cls.WHAT} has no field {str(name)!r}.{hint}")
        return found


def fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
