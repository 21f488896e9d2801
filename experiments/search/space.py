"""NNI's search space: `{"lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]}, ...}`, checked strictly.

`parse` collects all faults at once, each with its path. A `Space` draws values, counts and enumerates its points, and
checks whether values fit. See `parameters` for the distribution of each type.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property
from random import Random
from typing import Any

from .nested_choice import Group, Nested, Parameter
from .parameter_parser import MAX_PARAMETERS, WHOLE_KEY, parse_parameters, with_composed_names
from .parameters import identity
from .validation import Fault

MAX_LEAVES = 1000  # parameters of all branches of nested choices together
MAX_COLUMN = 200  # characters of a column name, such as layer/block/kernel_size


class SpaceError(ValueError):
    """An invalid search space, with all its `faults`."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in faults))


class Space(Group):
    """A valid search space, made by `parse` or `parse_text`. Spaces are equal when their documents are, in any key
    order."""

    def __init__(self, document: dict, parameters: tuple[Parameter, ...]) -> None:
        super().__init__(parameters)
        self.document = document
        self._text = identity(document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @property
    def is_counted(self) -> bool:
        """Whether the size of a finite space is exact. With constraints it may be an upper bound."""
        return True

    def allows(self, shown: Mapping) -> bool:
        """Return whether shown values that fit meet the constraints. A plain space has none; see `constrain`."""
        return True

    def allowed_indexes(self, columns: Mapping[str, list[Any]]) -> list[int | None]:
        """Return the index of each of many points of a finite space that fit, whose raw values are in a column for each
        parameter; None for a point that does not meet the constraints."""
        return [*self.indexes(columns)]

    def violated(self, shown: Mapping) -> list[str]:
        """Return the constraints that these values, which may be incomplete, violate whatever the missing values
        are."""
        return []

    @cached_property
    def is_nested(self) -> bool:
        return any(isinstance(parameter, Nested) for parameter in self.parameters)

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that identify this space in stored attrs."""
        return hashlib.sha256(self._text.encode()).hexdigest()[:12]

    def draws(self, count: int, *, seed: int) -> list[dict]:
        """Return the shown values of the first draws with this seed: those of Random's proposals 1, 2, 3, …"""
        return [self.shown(self.draw(Random(seed_of(seed, n)))) for n in range(1, count + 1)]

    def key(self, shown: Mapping) -> str:
        """Return the canonical JSON of shown values, equal exactly when the values are: 1, 1.0 and true differ."""
        return identity(dict(shown))


def seed_of(seed: int, ordinal: int) -> int:
    """Return the 32-bit seed of one proposal of an experiment."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{ordinal}".encode()).digest()[:4])


def parse_text(text: str) -> Space:
    """Parse a space from JSON text. Raise SpaceError, with line and column when the text is not JSON."""
    duplicates: list[str] = []

    def collect_duplicates(pairs: list[tuple[str, object]]) -> dict:
        counts = Counter(name for name, _ in pairs)
        duplicates.extend(name for name, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        document = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=collect_duplicates)
    except json.JSONDecodeError as error:
        message = f"Line {error.lineno}, column {error.colno}: invalid JSON ({error.msg})."
        raise SpaceError([Fault("", message)]) from None
    except RecursionError:
        raise SpaceError([Fault("", "The JSON is nested too deeply for a search space.")]) from None
    except ValueError:
        raise SpaceError([Fault("", "The JSON contains a whole number with too many digits.")]) from None
    if duplicates:
        message = "This key occurs twice in the same object; remove one."
        raise SpaceError([Fault(name[:100], message) for name in duplicates])
    return parse(document)


def parse(document: object) -> Space:
    """Check a search-space document. Raise SpaceError with all its faults, each with a path such as `lr._value[1]`."""
    if not isinstance(document, Mapping):
        shape = 'The search space must be an object of parameters: {"lr": {"_type": …, "_value": …}}.'
        raise SpaceError([Fault("", shape)])
    if not document:
        raise SpaceError([Fault("", "The search space is empty; add at least one parameter.")])
    if len(document) > MAX_PARAMETERS:
        message = f"{len(document)} parameters exceed the maximum of {MAX_PARAMETERS}."
        raise SpaceError([Fault("", message)])
    faults: list[Fault] = []
    composed: Mapping[str, Any] = with_composed_names(document)
    parameters = parse_parameters(composed, "", faults)
    if faults:
        raise SpaceError(faults)
    copied = {
        p.name: {
            "_type": p.type,
            "_value": deepcopy(composed[p.name]["_value"]),
            **({WHOLE_KEY: True} if composed[p.name].get(WHOLE_KEY) else {}),
        }
        for p in parameters
    }
    space = Space(copied, tuple(parameters))
    if clashes := _clashes(space):
        raise SpaceError(clashes)
    return space


def _clashes(space: Space) -> list[Fault]:
    """Return the faults of nested parameters that are valid on their own but not together."""
    if not space.is_nested:
        return []
    if (count := sum(1 for _ in space.every_leaf())) > MAX_LEAVES:
        return [Fault("", f"{count} parameters in all branches exceed the maximum of {MAX_LEAVES}.")]
    faults = []
    for name in space.columns():
        if len(name) > MAX_COLUMN:
            message = (
                f"The full name of this parameter has {len(name)} characters; the maximum is {MAX_COLUMN}."
            )
            faults.append(Fault(name, message))
    return faults + _shared_columns(space, "")


def _shared_columns(group: Group, before: str) -> list[Fault]:
    """Return a fault for each pair of parameters of one draw that would get the same column in tables."""
    faults: list[Fault] = []
    taken: set[str] = set()
    for parameter in group.parameters:
        names = set(Group((parameter,)).columns())
        for name in sorted(taken & names):
            message = "Two parameters would have this name in tables and files; rename one of them."
            faults.append(Fault(f"{before}{name}", message))
        taken |= names
        for branch in parameter.branches if isinstance(parameter, Nested) else ():
            faults += _shared_columns(branch, f"{before}{parameter.name}/")
    return faults
