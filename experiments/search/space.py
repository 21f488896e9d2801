"""NNI's search space: `{"lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]}, ...}`, checked strictly.

`parse` collects every fault at once, each with its path. A `Space` draws values, counts and enumerates its
points, and tells whether values fit. What each type draws is written in `parameters`.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property
from random import Random

from .checks import Fault, nearest
from .parameters import NOTHING, Choice, Normal, Parameter, Randint, Uniform, identity

MAX_PARAMETERS = 100
MAX_CHOICES = 1000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]{0,63}")
# Beyond, differences and quotients of two bounds would overflow a float.
_LARGEST = 1e300
# A float counts whole numbers exactly up to here; round(x / q) means nothing beyond.
_MOST_STEPS = 2**50

_SHAPES = {
    "choice": ("value", "another value"),
    "randint": ("low", "high"),
    "uniform": ("low", "high"),
    "quniform": ("low", "high", "q"),
    "loguniform": ("low", "high"),
    "qloguniform": ("low", "high", "q"),
    "normal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "lognormal": ("mu", "sigma"),
    "qlognormal": ("mu", "sigma", "q"),
}


class SpaceError(ValueError):
    """A search space that cannot be used; `faults` says everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in faults))


class Space:
    """A checked search space, from `parse` or `parse_text`; equal when the documents are, in any order."""

    def __init__(self, document: dict, parameters: tuple[Parameter, ...]) -> None:
        self.document = document
        self.parameters = parameters
        # A database may give the document's keys back in another order: what is drawn must not depend on it.
        self._in_order = sorted(parameters, key=lambda parameter: parameter.name)
        self._text = identity(document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @cached_property
    def size(self) -> int | None:
        """The number of distinct points (shown values), or None when there is no end of them."""
        counts = [parameter.count for parameter in self.parameters]
        return None if None in counts else math.prod(counts)

    def shown(self, raw: Mapping) -> dict:
        """Return what a trial gets for raw values that fit."""
        return {parameter.name: parameter.shown(raw[parameter.name]) for parameter in self.parameters}

    def fits(self, raw: object) -> bool:
        """Tell whether these raw values are of this space's parameters, all of them, and each valid here."""
        if not isinstance(raw, Mapping) or len(raw) != len(self.parameters):
            return False
        return all(p.name in raw and p.fits(raw[p.name]) for p in self.parameters)

    def to_raw(self, shown: object) -> dict | None:
        """Return raw values for a full set of shown ones, or None when they do not fit. Never raises."""
        if not isinstance(shown, Mapping) or len(shown) != len(self.parameters):
            return None
        raw = {p.name: p.to_raw(shown[p.name]) for p in self.parameters if p.name in shown}
        if len(raw) != len(self.parameters) or any(value is NOTHING for value in raw.values()):
            return None
        return raw

    def draw(self, rng: Random) -> dict:
        """Draw raw values at random, each parameter by its own distribution."""
        drawn = {parameter.name: parameter.draw(rng) for parameter in self._in_order}
        return {parameter.name: drawn[parameter.name] for parameter in self.parameters}

    def draws(self, count: int, *, seed: int) -> list[dict]:
        """Return shown values of the first draws from this seed: those of Random's proposals 1, 2, 3, …"""
        return [self.shown(self.draw(Random(seed_of(seed, n)))) for n in range(1, count + 1)]

    def point(self, index: int) -> dict:
        """Return raw values of one point of a finite space, 0 <= index < size; no two points are alike."""
        digits = {}
        for parameter in reversed(self._in_order):
            index, digit = divmod(index, parameter.count)
            digits[parameter.name] = digit
        return {p.name: p.at(digits[p.name]) for p in self.parameters}

    def index(self, raw: Mapping) -> int:
        """Return which point of a finite space these raw values, which fit, are shown as: undoes `point`."""
        index = 0
        for parameter in self._in_order:
            index = index * parameter.count + parameter.index(raw[parameter.name])
        return index

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
    parameters = [_parameter(name, given, faults) for name, given in document.items()]
    if faults:
        raise SpaceError(faults)
    copied = {p.name: {"_type": p.type, "_value": deepcopy(document[p.name]["_value"])} for p in parameters}
    return Space(copied, tuple(parameters))


def _parameter(name: object, given: object, faults: list[Fault]) -> Parameter | None:
    path = str(name)[:100]
    found = len(faults)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        rule = "a letter or _, then letters, digits or _ . - /, at most 64 in all"
        faults.append(Fault(path, f"This is not a name for a parameter: {rule}."))
    if not isinstance(given, Mapping):
        faults.append(Fault(path, 'Describe the parameter as {"_type": …, "_value": …}.'))
        return None
    for key in given:
        if key not in ("_type", "_value"):
            hint = nearest(key, ("_type", "_value"))
            sentence = f"This key is unknown; a parameter has _type and _value.{hint}"
            faults.append(Fault(f"{path}.{str(key)[:100]}", sentence))
    kind = given.get("_type")
    if not isinstance(kind, str) or kind not in _SHAPES:
        hint = nearest(kind, _SHAPES) if isinstance(kind, str) else ""
        what = "There is no type here." if kind is None else f"There is no type {str(kind)[:40]!r}."
        faults.append(Fault(f"{path}._type", f"{what}{hint or ' Use one of ' + ', '.join(_SHAPES) + '.'}"))
        return None
    value = given.get("_value")
    if not isinstance(value, list):
        faults.append(Fault(f"{path}._value", f"Give {kind} its list: [{', '.join(_SHAPES[kind])}]."))
        return None
    if kind == "choice":
        made = _choice(path, value, faults)
    else:
        made = _numeric(path, kind, value, faults)
    return made if len(faults) == found else None


def _choice(path: str, values: list, faults: list[Fault]) -> Choice | None:
    if not values:
        faults.append(Fault(f"{path}._value", "There is nothing to choose from; list at least one value."))
        return None
    if len(values) > MAX_CHOICES:
        counted = f"There are {len(values)} values to choose from; at most {MAX_CHOICES} are possible."
        faults.append(Fault(f"{path}._value", counted))
        return None
    found = len(faults)
    first: dict[str, int] = {}
    for position, value in enumerate(values):
        where = f"{path}._value[{position}]"
        if sentence := _no_choice(value):
            faults.append(Fault(where, sentence))
        elif (earlier := first.setdefault(identity(value), position)) != position:
            faults.append(Fault(where, f"This value is already listed, at _value[{earlier}]."))
    if len(faults) > found:
        return None
    return Choice(name=path, type="choice", values=tuple(deepcopy(values)))


def _no_choice(value: object, depth: int = 0) -> str | None:
    """Say why this cannot be one of the values to choose from, or nothing."""
    if depth > 10:
        return "This list is nested too deeply; at most 10 levels are possible."
    if isinstance(value, Mapping):
        if "_name" in value:
            return "Nested choices (objects with _name) are not supported yet; list plain values instead."
        return "An object cannot be chosen; use text, numbers, true, false, null, or lists of these."
    if isinstance(value, list):
        return next((sentence for item in value if (sentence := _no_choice(item, depth + 1))), None)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN and Infinity cannot be chosen; use finite numbers."
    if isinstance(value, int) and abs(value) > 10**1000:
        return "This whole number has too many digits; at most 1000 are possible."
    if isinstance(value, str) and re.search("[\x00\ud800-\udfff]", value):
        return "This text has a NUL or half a character in it, which cannot be stored or passed on."
    if value is None or isinstance(value, str | int | float):
        return None
    return "This is not a JSON value; use text, numbers, true, false, null, or lists of these."


def _numeric(path: str, kind: str, given: list, faults: list[Fault]) -> Parameter | None:
    shape = _SHAPES[kind]
    where = f"{path}._value"
    if len(given) != len(shape):
        expected = f"{kind} takes {len(shape)} numbers, [{', '.join(shape)}]; here are {len(given)}."
        faults.append(Fault(where, expected))
        return None
    wrong = [Fault(f"{where}[{i}]", s) for i, v in enumerate(given) if (s := _no_number(v, shape[i]))]
    if wrong:
        faults.extend(wrong)
        return None
    if kind == "randint":
        return _randint(path, given[0], given[1], faults)
    numbers = [float(number) for number in given]
    q = numbers[2] if kind.startswith("q") else None
    if q is not None and q <= 0:
        faults.append(Fault(f"{where}[2]", "q, the width of a step, must be greater than 0."))
    if "normal" in kind:
        return _normal(path, kind, numbers, faults)
    return _uniform(path, kind, numbers, faults)


def _no_number(value: object, what: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{what} must be a number, without quotes."
    if not abs(value) <= _LARGEST:
        return f"{what} must be a finite number, between -1e300 and 1e300."
    return None


def _randint(path: str, low: float, high: float, faults: list[Fault]) -> Randint | None:
    where = f"{path}._value"
    if low > high:
        faults.append(Fault(where, f"low ({low}) is greater than high ({high}); swap them."))
        return None
    if max(abs(low), abs(high)) > 2**53:
        faults.append(Fault(where, "randint counts exactly only between -2**53 and 2**53."))
        return None
    first, last = math.ceil(low), math.ceil(high) - 1
    if first > last:
        nothing = f"There is no whole number from {low} up to {high}; high itself is never drawn."
        faults.append(Fault(where, nothing))
        return None
    return Randint(name=path, type="randint", low=first, high=last)


def _uniform(path: str, kind: str, numbers: list[float], faults: list[Fault]) -> Uniform | None:
    low, high, *steps = numbers
    where = f"{path}._value"
    found = len(faults)
    if low > high:
        faults.append(Fault(where, f"low ({low:g}) is greater than high ({high:g}); swap them."))
    if "log" in kind:
        for position, bound in enumerate((low, high)):
            if bound <= 0:
                name = _SHAPES[kind][position]
                faults.append(Fault(f"{where}[{position}]", f"{name} must be greater than 0 on a log scale."))
    if len(faults) == found and steps:
        faults.extend(_too_fine(where, max(abs(low), abs(high)), steps[0]))
    return Uniform(name=path, type=kind, low=low, high=high, q=steps[0] if steps else None, log="log" in kind)


def _normal(path: str, kind: str, numbers: list[float], faults: list[Fault]) -> Normal | None:
    mu, sigma, *steps = numbers
    where = f"{path}._value"
    if sigma <= 0:
        faults.append(Fault(f"{where}[1]", "sigma, the standard deviation, must be greater than 0."))
        return None
    made = Normal(name=path, type=kind, mu=mu, sigma=sigma, q=steps[0] if steps else None, log="log" in kind)
    # On the log scale the values are e to the power of the draws: a float ends near 690, both ways.
    furthest = abs(mu) + 5 * sigma
    if furthest > (690 if made.log else _LARGEST):
        faults.append(Fault(where, "mu and sigma reach further than a number can; make them smaller."))
    elif steps:
        faults.extend(_too_fine(where, max(abs(made.low), abs(made.high)), steps[0]))
    return made


def _too_fine(where: str, furthest: float, q: float) -> list[Fault]:
    if q <= 0 or furthest <= q * _MOST_STEPS:
        return []
    return [Fault(f"{where}[2]", "q is so small against the values that rounding to it has no meaning.")]
