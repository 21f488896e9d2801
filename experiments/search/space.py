"""NNI's search space: `{"lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]}, ...}`, checked strictly.

`parse` collects every fault at once, each with its path. A `Space` draws values, counts and enumerates its
points, and tells whether values fit. What each type draws is written in `parameters`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property
from random import Random

from .nested_choice import Group, Nested, Parameter
from .parameter_types import MAX_PARAMETERS, read_parameters
from .parameters import identity
from .validation import Fault

MAX_LEAVES = 1000  # parameters of all objects of nested choices together
MAX_COLUMN = 200  # characters of layer/block/kernel_size, as tables call it


class SpaceError(ValueError):
    """A search space that cannot be used; `faults` says everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in faults))


class Space(Group):
    """A checked search space, from `parse` or `parse_text`; equal when the documents are, in any order."""

    def __init__(self, document: dict, parameters: tuple[Parameter, ...]) -> None:
        super().__init__(parameters)
        self.document = document
        self._text = identity(document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    is_counted = True  # is `size`, of a finite space, exact?

    def allows(self, shown: Mapping) -> bool:
        """Do shown values, which fit, meet the constraints? Here there are none: `constrained` has some."""
        return True

    def broken(self, shown: Mapping) -> list[str]:
        """Return the constraints that these values, full or not, do not meet whatever the others are."""
        return []

    @cached_property
    def is_nested(self) -> bool:
        return any(isinstance(parameter, Nested) for parameter in self.parameters)

    @cached_property
    def digest(self) -> str:
        """Twelve letters and digits that stand for this space, wherever they were written down."""
        return hashlib.sha256(self._text.encode()).hexdigest()[:12]

    def draws(self, count: int, *, seed: int) -> list[dict]:
        """Return shown values of the first draws from this seed: those of Random's proposals 1, 2, 3, …"""
        return [self.shown(self.draw(Random(seed_of(seed, n)))) for n in range(1, count + 1)]

    def key(self, shown: Mapping) -> str:
        """Return canonical JSON of shown values, equal exactly when they are: 1, 1.0 and true differ."""
        return identity(dict(shown))


def seed_of(seed: int, ordinal: int) -> int:
    """Return the seed, 32 bits, of one proposal of an experiment."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{ordinal}".encode()).digest()[:4])


def parse_text(text: str) -> Space:
    """Read a space from JSON text. Raises SpaceError, with line and column where it is not JSON."""
    twice: list[str] = []

    def once(pairs: list[tuple[str, object]]) -> dict:
        counted = Counter(name for name, _ in pairs)
        twice.extend(name for name, count in counted.items() if count > 1)
        return dict(pairs)

    try:
        document = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        where = f"Line {error.lineno}, column {error.colno}"
        raise SpaceError([Fault("", f"{where}: this is not valid JSON ({error.msg}).")]) from None
    except RecursionError:
        raise SpaceError([Fault("", "The JSON is nested too deeply for a search space.")]) from None
    except ValueError:
        raise SpaceError([Fault("", "The JSON holds a whole number with too many digits.")]) from None
    if twice:
        sentence = "This key stands twice in the same object; keep one."
        raise SpaceError([Fault(name[:100], sentence) for name in twice])
    return parse(document)


def parse(document: object) -> Space:
    """Check a search space. Raises SpaceError with all its faults, each with a path: `lr._value[1]`."""
    if not isinstance(document, Mapping):
        shape = 'A search space is an object of parameters: {"lr": {"_type": …, "_value": …}}.'
        raise SpaceError([Fault("", shape)])
    if not document:
        raise SpaceError([Fault("", "The search space is empty; give at least one parameter.")])
    if len(document) > MAX_PARAMETERS:
        counted = f"There are {len(document)} parameters; at most {MAX_PARAMETERS} are possible."
        raise SpaceError([Fault("", counted)])
    faults: list[Fault] = []
    parameters = read_parameters(document, "", faults)
    if faults:
        raise SpaceError(faults)
    copied = {p.name: {"_type": p.type, "_value": deepcopy(document[p.name]["_value"])} for p in parameters}
    space = Space(copied, tuple(parameters))
    if clashes := _clashes(space):
        raise SpaceError(clashes)
    return space


def _clashes(space: Space) -> list[Fault]:
    """Say what nested parameters, each fine by itself, cannot be together."""
    if not space.is_nested:
        return []
    if (count := sum(1 for _ in space.every_leaf())) > MAX_LEAVES:
        return [Fault("", f"There are {count} parameters in all; at most {MAX_LEAVES} are possible.")]
    faults = []
    for name in space.columns():
        if len(name) > MAX_COLUMN:
            sentence = f"The names down to this parameter have {len(name)} characters; at most {MAX_COLUMN}."
            faults.append(Fault(name, sentence))
    return faults + _shared_columns(space, "")


def _shared_columns(group: Group, before: str) -> list[Fault]:
    """Find two parameters of one draw that tables would give the same column."""
    faults, taken = [], set()
    for parameter in group.parameters:
        mine = set(Group((parameter,)).columns())
        for name in sorted(taken & mine):
            sentence = "Two parameters would have this name in tables and files; rename one of them."
            faults.append(Fault(f"{before}{name}", sentence))
        taken |= mine
        for branch in parameter.branches if isinstance(parameter, Nested) else ():
            faults += _shared_columns(branch, f"{before}{parameter.name}/")
    return faults
