"""A condition on the values of a trial, as a person writes it: `batch * layers <= 256`, `dropout > 0 or layers < 3`.

Numbers, "texts", true, false, null, names of parameters (`names/that.need-it` between backticks), + - * / // % **,
comparisons (chained, too), and, or, not, parentheses: nothing else, and nothing that could run for long. A parameter
that a draw of a nested choice does not have leaves a comparison open, and only what is false is a violation. What
cannot be calculated (a text times a number, a division by 0, a number beyond 1e300) is a violation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from .constraint_functions import CALCULATE, COMPARE, LARGEST, OPEN, Nonsense, number_of, power, truth_of
from .validation import nearest

MAX_LENGTH = 500
MAX_DEPTH = 30

Values = Mapping[str, object]
Calculate = Callable[[Values], object]

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[^\W\d]\w*)|(?P<quoted>`[^`]*`)|(?P<text>"[^"]*"|'[^']*')
    |(?P<sign>\*\*|//|<=|>=|==|!=|&&|\|\||[-+*/%<>()=!]))""",
    re.VERBOSE,
)
_WORDS = {"and", "or", "not"}
_CONSTANTS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_INSTEAD = {"=": "==", "&&": "and", "||": "or", "!": "not"}


class ConstraintError(ValueError):
    """A constraint that cannot be read: at which column, counted from 1, and what to do."""

    def __init__(self, column: int, sentence: str) -> None:
        super().__init__(f"Column {column}: {sentence}")


@dataclass(frozen=True)
class Constraint:
    """A condition that was read; `names` are the parameters that stand in it."""

    text: str
    names: frozenset[str]
    calculate: Calculate

    def is_met(self, values: Values) -> bool:
        """By these values, a trial's, by the names of tables? Never raises."""
        try:
            found = self.calculate(values)
        except (Nonsense, OverflowError):  # a choice may list whole numbers of any length
            return False
        return found is True or found is OPEN


def read(text: str, known: Collection[str]) -> Constraint:
    """Read a constraint on these parameters. Raises ConstraintError."""
    if len(text) > MAX_LENGTH:
        sentence = f"This is {len(text):,} characters long; at most {MAX_LENGTH} are possible. Make it two."
        raise ConstraintError(MAX_LENGTH + 1, sentence)
    reader = _Reader(text, known)
    node = reader.truth(reader.either)
    reader.end()
    if not reader.names:
        raise ConstraintError(1, "No parameter stands in this, so it holds always or never.")
    return Constraint(text, frozenset(reader.names), node.calculate)


@dataclass(frozen=True)
class _Node:
    kind: str  # number, text, truth, or any: whatever the parameter is
    calculate: Calculate
    column: int


class _Reader:
    """Reads by precedence, loosest first, as Python has it. What is written in a row is folded in a loop, so that
    only parentheses, `not`, signs and powers nest."""

    def __init__(self, text: str, known: Collection[str]) -> None:
        self.known = known
        self.names: set[str] = set()
        self.depth = 0
        self.tokens = _tokens(text)
        self.place = 0

    # --- what is next ------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        return self.tokens[self.place][0]

    @property
    def word(self) -> str:
        return self.tokens[self.place][1]

    @property
    def column(self) -> int:
        return self.tokens[self.place][2]

    def take(self, *signs: str) -> str | None:
        """The next word, when it is one of these."""
        if self.kind not in ("sign", "word") or self.word not in signs:
            return None
        self.place += 1
        return self.tokens[self.place - 1][1]

    def end(self) -> None:
        if self.kind != "end":
            raise self.unexpected()

    def unexpected(self) -> ConstraintError:
        if self.kind == "end":
            return ConstraintError(self.column, "Something is missing here, at the end.")
        if self.word in _INSTEAD:
            return ConstraintError(self.column, f"Write {_INSTEAD[self.word]} instead of {self.word}.")
        return ConstraintError(self.column, f"{self.word[:40]} was not expected here.")

    # --- truth -------------------------------------------------------------------------------------------

    def either(self) -> _Node:
        return self.joined(self.both, "or", True)

    def both(self) -> _Node:
        return self.joined(self.negated, "and", False)

    def joined(self, part: Callable[[], _Node], sign: str, settles: bool) -> _Node:
        first = part()
        if self.word != sign or self.kind != "word":
            return first
        parts = [self.must_be(first, "truth")]
        while self.take(sign):
            parts.append(self.truth(part))
        calculates = [one.calculate for one in parts]

        def calculate(values: Values) -> object:
            found: object = not settles
            for one in calculates:
                value = truth_of(one(values))
                if value is settles:
                    return settles
                if value is OPEN:
                    found = OPEN
            return found

        return _Node("truth", calculate, first.column)

    def negated(self) -> _Node:
        column = self.column
        if not self.take("not"):
            return self.comparison()
        inner = self.deeper(lambda: self.truth(self.negated)).calculate

        def calculate(values: Values) -> object:
            value = truth_of(inner(values))
            return value if value is OPEN else not value

        return _Node("truth", calculate, column)

    def comparison(self) -> _Node:
        first = self.sum()
        sides, steps = [first], []
        while sign := self.take(*COMPARE):
            sides.append(self.sum())
            if sign not in ("==", "!="):
                self.must_be(sides[-2], "number")
                self.must_be(sides[-1], "number")
            steps.append(COMPARE[sign])
        if not steps:
            return first
        calculates = [one.calculate for one in sides]

        def calculate(values: Values) -> object:
            found: object = True
            left = calculates[0](values)
            for step, one in zip(steps, calculates[1:], strict=True):
                right = one(values)
                if left is OPEN or right is OPEN:
                    found = OPEN
                elif not step(left, right):
                    return False
                left = right
            return found

        return _Node("truth", calculate, first.column)

    # --- numbers -----------------------------------------------------------------------------------------

    def sum(self) -> _Node:
        return self.folded(self.product, "+", "-")

    def product(self) -> _Node:
        return self.folded(self.signed, "*", "/", "//", "%")

    def folded(self, part: Callable[[], _Node], *signs: str) -> _Node:
        first = part()
        rest: list[tuple[Callable, Calculate]] = []
        while sign := self.take(*signs):
            self.must_be(first, "number")
            rest.append((CALCULATE[sign], self.must_be(part(), "number").calculate))
        if not rest:
            return first

        def calculate(values: Values) -> object:
            found = first.calculate(values)
            for step, one in rest:
                found = number_of(step, found, one(values))
            return found

        return _Node("number", calculate, first.column)

    def signed(self) -> _Node:
        column = self.column
        sign = self.take("-", "+")
        if not sign:
            return self.power()
        inner = self.must_be(self.deeper(self.signed), "number").calculate
        step = CALCULATE[sign]
        return _Node("number", lambda values: number_of(step, 0, inner(values)), column)

    def power(self) -> _Node:
        base = self.atom()
        if not self.take("**"):
            return base
        raised = self.must_be(self.deeper(self.signed), "number").calculate
        based = self.must_be(base, "number").calculate
        return _Node("number", lambda values: number_of(power, based(values), raised(values)), base.column)

    def atom(self) -> _Node:
        kind, word, column = self.tokens[self.place]
        if self.take("("):
            inner = self.deeper(self.either)
            if not self.take(")"):
                raise ConstraintError(self.column, f"The parenthesis of column {column} is not closed here.")
            return _Node(inner.kind, inner.calculate, column)
        if kind in ("end", "sign", "word"):
            raise self.unexpected()
        self.place += 1
        if kind == "number":
            return self.constant("number", _literal(word, column), column)
        if kind == "text":
            return self.constant("text", word[1:-1], column)
        if kind == "name" and word in _CONSTANTS and word not in self.known:
            value = _CONSTANTS[word]
            return self.constant("text" if value is None else "truth", value, column)
        name = word[1:-1] if kind == "quoted" else word
        if name not in self.known:
            written = [one if one.isidentifier() else f"`{one}`" for one in self.known]
            hint = nearest(name, written) or f" There are {', '.join(written)}."
            raise ConstraintError(column, f"There is no parameter {name[:64]}.{hint[:300]}")
        self.names.add(name)
        return _Node("any", lambda values: values.get(name, OPEN), column)

    def constant(self, kind: str, value: object, column: int) -> _Node:
        return _Node(kind, lambda values: value, column)

    # --- checks ------------------------------------------------------------------------------------------

    def deeper(self, part: Callable[[], _Node]) -> _Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ConstraintError(self.column, f"This is nested more than {MAX_DEPTH} deep. Make it two.")
        node = part()
        self.depth -= 1
        return node

    def truth(self, part: Callable[[], _Node]) -> _Node:
        return self.must_be(part(), "truth")

    def must_be(self, node: _Node, kind: str) -> _Node:
        if node.kind not in (kind, "any"):
            raise ConstraintError(node.column, _MISFIT[kind])
        return node


_MISFIT = {
    "truth": "This is a value, no condition: compare it with something, such as batch <= 64.",
    "number": "Only numbers can be calculated with, and have an order.",
}


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """(kind, word, column) of each, and of the end."""
    found, place, end = [], 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            column = place + len(text[place:]) - len(text[place:].lstrip()) + 1
            raise ConstraintError(column, _stranger(text[column - 1]))
        kind, word = match.lastgroup or "", match[match.lastgroup or 0]
        if kind == "name" and word in _WORDS:
            kind = "word"
        found.append((kind, word, match.start(kind if kind != "word" else "name") + 1))
        place = match.end()
    return [*found, ("end", "", end + 1)]


def _stranger(character: str) -> str:
    if character in "`\"'":
        return f"What begins with {character} here does not end."
    if character == "^":
        return "Write ** for a power."
    if character in ".[]":
        return "A name that contains more than letters, digits and _ stands between backticks: `layer/size`."
    return f"{character} has no meaning here."


def _literal(word: str, column: int) -> int | float:
    value = float(word)
    if value > LARGEST:
        raise ConstraintError(column, "This number is too large.")
    return int(word) if word.isdigit() else value
