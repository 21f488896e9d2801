"""Parser of constraints, the conditions on a trial's values: `batch * layers <= 256`, `dropout > 0 or layers < 3`.

The language: numbers, "texts", true, false, null, parameter names (in backticks where they contain other characters:
`layer/size`), + - * / // % **, comparisons (chained too), and, or, not, parentheses. Evaluation time is bounded. A
comparison with a parameter that a trial lacks, because another branch of a nested choice was chosen, is unknown; only a
false constraint is a violation. An expression that cannot be calculated (a text times a number, a division by 0, a
number above 1e300) is a violation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from .constraint_functions import (
    CALCULATE,
    COMPARE,
    MAX_NUMBER,
    UNKNOWN,
    Incalculable,
    number_of,
    power,
    truth_of,
)
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
_CONSTANTS: dict[str, bool | None] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "None": None,
}
_INSTEAD = {"=": "==", "&&": "and", "||": "or", "!": "not"}


class ConstraintError(ValueError):
    """A syntax or type error in a constraint, with its column, counted from 1."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"Column {column}: {message}")


@dataclass(frozen=True)
class Constraint:
    """A parsed constraint; `names` are the parameters in it."""

    text: str
    names: frozenset[str]
    calculate: Calculate

    def is_met(self, values: Values) -> bool:
        """Return whether the values (a trial's, by column name) meet the constraint. Never raises."""
        try:
            result = self.calculate(values)
        except (Incalculable, OverflowError):  # a choice may list integers of any length
            return False
        return result is True or result is UNKNOWN


def parse_constraint(text: str, parameters: Collection[str]) -> Constraint:
    """Parse a constraint on these parameters. Raise ConstraintError when it is invalid."""
    if len(text) > MAX_LENGTH:
        message = f"The constraint has {len(text):,} characters; the maximum is {MAX_LENGTH}. Split it."
        raise ConstraintError(MAX_LENGTH + 1, message)
    parser = _Parser(text, parameters)
    node = parser.truth(parser.disjunction)
    parser.end()
    if not parser.names:
        raise ConstraintError(1, "The constraint contains no parameter.")
    return Constraint(text, frozenset(parser.names), node.calculate)


@dataclass(frozen=True)
class _Node:
    kind: str  # "number", "text", "truth", or "any" (a parameter)
    calculate: Calculate
    column: int


class _Parser:
    """A recursive-descent parser with Python's precedence, loosest first. Chains of one operator are parsed in a
    loop, so that only parentheses, `not`, signs and powers recurse."""

    def __init__(self, text: str, parameters: Collection[str]) -> None:
        self.parameters = parameters
        self.names: set[str] = set()
        self.depth = 0
        self.tokens = _tokens(text)
        self.position = 0

    # --- the next token ----------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        return self.tokens[self.position][0]

    @property
    def word(self) -> str:
        return self.tokens[self.position][1]

    @property
    def column(self) -> int:
        return self.tokens[self.position][2]

    def take(self, *signs: str) -> str | None:
        """Consume and return the next token when it is one of these operators, else return None."""
        if self.kind not in ("sign", "word") or self.word not in signs:
            return None
        self.position += 1
        return self.tokens[self.position - 1][1]

    def end(self) -> None:
        if self.kind != "end":
            raise self.unexpected()

    def unexpected(self) -> ConstraintError:
        if self.kind == "end":
            return ConstraintError(self.column, "The constraint is incomplete.")
        if self.word in _INSTEAD:
            return ConstraintError(self.column, f"Write {_INSTEAD[self.word]} instead of {self.word}.")
        return ConstraintError(self.column, f"Unexpected {self.word[:40]}.")

    # --- logic -------------------------------------------------------------------------------------------

    def disjunction(self) -> _Node:
        return self.chained(self.conjunction, "or", True)

    def conjunction(self) -> _Node:
        return self.chained(self.negation, "and", False)

    def chained(self, operand: Callable[[], _Node], sign: str, decisive: bool) -> _Node:
        """Parse operands joined by `and` or `or`; an operand that evaluates to `decisive` decides the result."""
        first = operand()
        if self.word != sign or self.kind != "word":
            return first
        operands = [self.must_be(first, "truth")]
        while self.take(sign):
            operands.append(self.truth(operand))
        calculations = [node.calculate for node in operands]

        def calculate(values: Values) -> object:
            result: object = not decisive
            for calculation in calculations:
                value = truth_of(calculation(values))
                if value is decisive:
                    return decisive
                if value is UNKNOWN:
                    result = UNKNOWN
            return result

        return _Node("truth", calculate, first.column)

    def negation(self) -> _Node:
        column = self.column
        if not self.take("not"):
            return self.comparison()
        inner = self.deeper(lambda: self.truth(self.negation)).calculate

        def calculate(values: Values) -> object:
            value = truth_of(inner(values))
            return value if value is UNKNOWN else not value

        return _Node("truth", calculate, column)

    def comparison(self) -> _Node:
        first = self.sum()
        sides, comparisons = [first], []
        while sign := self.take(*COMPARE):
            sides.append(self.sum())
            if sign not in ("==", "!="):
                self.must_be(sides[-2], "number")
                self.must_be(sides[-1], "number")
            comparisons.append(COMPARE[sign])
        if not comparisons:
            return first
        calculations = [node.calculate for node in sides]

        def calculate(values: Values) -> object:
            result: object = True
            left = calculations[0](values)
            for compare, calculation in zip(comparisons, calculations[1:], strict=True):
                right = calculation(values)
                if left is UNKNOWN or right is UNKNOWN:
                    result = UNKNOWN
                elif not compare(left, right):
                    return False
                left = right
            return result

        return _Node("truth", calculate, first.column)

    # --- arithmetic --------------------------------------------------------------------------------------

    def sum(self) -> _Node:
        return self.left_associative(self.product, "+", "-")

    def product(self) -> _Node:
        return self.left_associative(self.signed, "*", "/", "//", "%")

    def left_associative(self, operand: Callable[[], _Node], *signs: str) -> _Node:
        first = operand()
        operations: list[tuple[Callable, Calculate]] = []
        while sign := self.take(*signs):
            self.must_be(first, "number")
            operations.append((CALCULATE[sign], self.must_be(operand(), "number").calculate))
        if not operations:
            return first

        def calculate(values: Values) -> object:
            result = first.calculate(values)
            for operator, calculation in operations:
                result = number_of(operator, result, calculation(values))
            return result

        return _Node("number", calculate, first.column)

    def signed(self) -> _Node:
        column = self.column
        sign = self.take("-", "+")
        if not sign:
            return self.power()
        inner = self.must_be(self.deeper(self.signed), "number").calculate
        operator = CALCULATE[sign]
        return _Node("number", lambda values: number_of(operator, 0, inner(values)), column)

    def power(self) -> _Node:
        base = self.atom()
        if not self.take("**"):
            return base
        exponent_of = self.must_be(self.deeper(self.signed), "number").calculate
        base_of = self.must_be(base, "number").calculate
        return _Node(
            "number", lambda values: number_of(power, base_of(values), exponent_of(values)), base.column
        )

    def atom(self) -> _Node:
        kind, word, column = self.tokens[self.position]
        if self.take("("):
            inner = self.deeper(self.disjunction)
            if not self.take(")"):
                raise ConstraintError(
                    self.column, f"The parenthesis opened at column {column} is not closed."
                )
            return _Node(inner.kind, inner.calculate, column)
        if kind in ("end", "sign", "word"):
            raise self.unexpected()
        self.position += 1
        if kind == "number":
            return self.constant("number", _literal(word, column), column)
        if kind == "text":
            return self.constant("text", word[1:-1], column)
        if kind == "name" and word in _CONSTANTS and word not in self.parameters:
            value = _CONSTANTS[word]
            return self.constant("text" if value is None else "truth", value, column)
        name = word[1:-1] if kind == "quoted" else word
        if name not in self.parameters:
            names = [other if other.isidentifier() else f"`{other}`" for other in self.parameters]
            hint = nearest(name, names) or f" The parameters are {', '.join(names)}."
            raise ConstraintError(column, f"Unknown parameter {name[:64]}.{hint[:300]}")
        self.names.add(name)
        return _Node("any", lambda values: values.get(name, UNKNOWN), column)

    def constant(self, kind: str, value: object, column: int) -> _Node:
        return _Node(kind, lambda values: value, column)

    # --- checks ------------------------------------------------------------------------------------------

    def deeper(self, operand: Callable[[], _Node]) -> _Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ConstraintError(
                self.column, f"The constraint is nested more than {MAX_DEPTH} levels deep. Split it."
            )
        node = operand()
        self.depth -= 1
        return node

    def truth(self, operand: Callable[[], _Node]) -> _Node:
        return self.must_be(operand(), "truth")

    def must_be(self, node: _Node, kind: str) -> _Node:
        if node.kind not in (kind, "any"):
            raise ConstraintError(node.column, _TYPE_ERRORS[kind])
        return node


_TYPE_ERRORS = {
    "truth": "Expected a condition but got a value; compare it with something, such as batch <= 64.",
    "number": "Arithmetic and ordering require numbers.",
}


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Return (kind, word, column) of each token, with a last one of kind "end"."""
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            column = position + len(text[position:]) - len(text[position:].lstrip()) + 1
            raise ConstraintError(column, _invalid_character(text[column - 1]))
        kind, word = match.lastgroup or "", match[match.lastgroup or 0]
        if kind == "name" and word in _WORDS:
            kind = "word"
        tokens.append((kind, word, match.start(kind if kind != "word" else "name") + 1))
        position = match.end()
    return [*tokens, ("end", "", end + 1)]


def _invalid_character(character: str) -> str:
    if character in "`\"'":
        return f"The closing {character} is missing."
    if character == "^":
        return "Write ** for a power."
    if character in ".[]":
        return "Put names with characters other than letters, digits and _ in backticks: `layer/size`."
    return f"Unexpected character {character}."


def _literal(word: str, column: int) -> int | float:
    value = float(word)
    if value > MAX_NUMBER:
        raise ConstraintError(column, "This number is too large.")
    return int(word) if word.isdigit() else value
