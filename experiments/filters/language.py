"""The filter language: reads `state:failed (lr<1e-4 or opt=sgd) value>0.9` into a tree of conditions.

Terms side by side must all hold, like those joined by `and`; `or` binds less, `not` more. A term is a comparison or a
word. This module knows the grammar only: `trials` and `experiments` beside it know the fields and make queries.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from lark import (
    Lark,
    Token,
    Transformer,
    UnexpectedEOF,
    UnexpectedInput,
    UnexpectedToken,
)

MAX_LENGTH = 2_000
MAX_TERMS = 50
KEYWORDS = ("and", "or", "not", "in")

GRAMMAR = r"""
?start: disjunction
?disjunction: conjunction (_OR conjunction)*
?conjunction: negation (_AND? negation)*
?negation: _NOT negation -> negated
         | "(" disjunction ")"
         | comparison
         | word
comparison: field OPERATOR value ("," value)*
          | field IN "(" value ("," value)* ")" -> membership
field: WORD | STRING
value: VALUE | STRING
word: WORD | STRING

OPERATOR: "<=" | ">=" | "!=" | "==" | "<" | ">" | "=" | ":" | "~"
STRING: /"(\\.|[^"\\])*"/
WORD: /[^\s()",:<>=!~]+/
VALUE: /[^\s(),"]+/
_AND.2: /and(?![^\s()"])/i
_OR.2: /or(?![^\s()"])/i
_NOT.2: /not(?![^\s()"])/i
IN.2: /in(?=\s*\()/i
%ignore /\s+/
"""

_EXPECTED = {
    "WORD": "a field or a word",
    "STRING": "a quoted string",
    "VALUE": "a value",
    "OPERATOR": "an operator (= != < <= > >= ~ in)",
    "LPAR": "“(”",
    "RPAR": "“)”",
    "COMMA": "“,”",
}


class FilterError(ValueError):
    """The filter cannot be read. `message` says why, without the position; `start` and `end` are offsets into the
    text, in characters from 0; `suggestion` is what may have been meant there."""

    def __init__(self, message: str, start: int, end: int | None = None, suggestion: str = "") -> None:
        self.message = message
        self.suggestion = suggestion
        self.start = start
        self.end = start + 1 if end is None else max(end, start + 1)
        super().__init__(f"{message} (at character {start + 1})")


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the filter and its place in it. `is_quoted`: it stood in quotes, which are removed."""

    text: str
    start: int
    end: int
    is_quoted: bool = False

    def error(self, message: str, suggestion: str = "") -> FilterError:
        return FilterError(message, self.start, self.end, suggestion)

    def ends(self) -> tuple[Text, Text] | None:
        """Return the two ends of a range such as 1e-4..1e-2; None: this is no range."""
        low, dots, high = ("", "", "") if self.is_quoted else self.text.partition("..")
        if not dots or not low or not high:
            return None
        return Text(low, self.start, self.start + len(low)), Text(high, self.end - len(high), self.end)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`. The operators `:` and `==` have become `=`; with `=`, `!=` and `in`, there may be several
    values."""

    field: Text
    operator: str  # = != < <= > >= ~ in
    values: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """A word without an operator: part of a name."""

    text: Text


@dataclass(frozen=True, slots=True)
class Not:
    term: Node


@dataclass(frozen=True, slots=True)
class And:
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    terms: tuple[Node, ...]


Node = Comparison | Word | Not | And | Or


def parse(text: str) -> Node | None:
    """Return the tree of a filter; None: the filter is empty. Raises `FilterError`."""
    if len(text) > MAX_LENGTH:
        raise FilterError(
            f"A filter has at most {MAX_LENGTH:,} characters; this one has {len(text):,}", MAX_LENGTH
        )
    if control := re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text):
        raise FilterError("A filter cannot contain control characters", control.start())
    if not text.strip():
        return None
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _explained(error, text) from None
    terms = _Terms()
    node: Node = terms.transform(tree)
    if terms.fault:
        raise terms.fault
    if terms.count > MAX_TERMS:
        raise FilterError(f"A filter has at most {MAX_TERMS} terms; this one has {terms.count}", 0, len(text))
    return node


def terms(text: str) -> list[str]:
    """Return the conditions of a filter that must all hold, as they are written; a filter with `or` is a single
    condition. Raises `FilterError`."""
    tree = parse(text)
    if tree is None:
        return []
    return [_written(term, text) for term in (tree.terms if isinstance(tree, And) else (tree,))]


def _written(node: Node, text: str) -> str:
    match node:
        case Or(alternatives):
            return f"({' or '.join(_written(term, text) for term in alternatives)})"
        case And(conditions):
            return f"({' '.join(_written(term, text) for term in conditions)})"
        case Not(term):
            return f"not {_written(term, text)}"
        case Word(word):
            return text[word.start : word.end]
        case Comparison(field, operator, values):
            end = values[-1].end
            return text[field.start : text.index(")", end) + 1 if operator == "in" else end]


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that is most like `name`; None: nothing is similar."""
    folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.55)
    return folded[close[0]] if close else None


def joined(*filters: str) -> str:
    """Return the filter that selects what all of `filters` select; one with `or` gets parentheses."""
    parts = [text.strip() for text in filters if text.strip()]
    if len(parts) < 2:
        return "".join(parts)
    return " ".join(f"({text})" if _needs_parentheses(text) else text for text in parts)


def _needs_parentheses(text: str) -> bool:
    try:
        return isinstance(parse(text), Or)
    except FilterError:
        return False  # the place of its error stays easy to find


def quoted(text: str) -> str:
    """Return a value or a field as a filter must spell it: quoted if it would otherwise be parsed as something else."""
    is_plain = text and not re.search(r"[\s()\",:<>=!~\\]|\.\.", text)
    if is_plain and text.lower() not in (*KEYWORDS, "none"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@functools.cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", propagate_positions=True, maybe_placeholders=False)


def _explained(error: UnexpectedInput, text: str) -> FilterError:
    # lark declares pos_in_stream as None and sets it where the error arises.
    position: int = getattr(error, "pos_in_stream", None) or 0
    start = len(text) if isinstance(error, UnexpectedEOF) or _is_end(error) else position
    names: Collection[str] = (
        getattr(error, "accepts", None)
        or getattr(error, "expected", None)
        or getattr(error, "allowed", None)
        or ()
    )
    expected_phrases = list(dict.fromkeys(phrase for name, phrase in _EXPECTED.items() if name in names))
    if start < len(text) and text[start] == '"':
        return FilterError("Unclosed quote", start, len(text))
    expected = f"; expected {_alternatives(expected_phrases)}" if expected_phrases else ""
    if start >= len(text):
        return FilterError(f"Unexpected end of filter{expected}", len(text))
    return FilterError(f"Unexpected “{text[start]}”{expected}", start)


def _is_end(error: UnexpectedInput) -> bool:
    return isinstance(error, UnexpectedToken) and error.token.type == "$END"


def _misplaced(keyword: str) -> str:
    if keyword == "in":
        return "“in” takes a list in parentheses, such as: opt in (adam, sgd)"
    where = "after it" if keyword == "not" else "on both sides"
    return f"“{keyword}” needs a term {where}. To search for the word itself, quote it"


def _alternatives(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} or {phrases[-1]}"


class _Terms(Transformer):
    """Makes the tree of `Node`s from lark's, and counts the terms."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.fault: FilterError | None = None  # the first

    def field(self, tokens: list[Token]) -> Text:
        return _text(tokens[0])

    value = field

    def word(self, tokens: list[Token]) -> Word:
        self.count += 1
        text = _text(tokens[0])
        if not text.is_quoted and text.text.lower() in KEYWORDS:
            self.fault = self.fault or text.error(_misplaced(text.text.lower()))
        return Word(text)

    def comparison(self, children: list[Any]) -> Comparison:
        field, operator, *values = children
        self.count += len(values)
        operator = "=" if operator in (":", "==") else str(operator)
        if operator not in ("=", "!=") and len(values) > 1:
            self.fault = self.fault or values[1].error(f"“{operator}” takes one value, not a list")
        return Comparison(field, operator, tuple(values))

    def membership(self, children: list[Any]) -> Comparison:
        field, _, *values = children
        self.count += len(values)
        return Comparison(field, "in", tuple(values))

    def negated(self, terms: list[Node]) -> Node:
        return terms[0].term if isinstance(terms[0], Not) else Not(terms[0])

    def conjunction(self, terms: list[Node]) -> And:
        return And(tuple(terms))

    def disjunction(self, terms: list[Node]) -> Or:
        return Or(tuple(terms))


def _text(token: Token) -> Text:
    start, end = token.start_pos or 0, token.end_pos or 0
    if token.type != "STRING":
        return Text(str(token), start, end)
    return Text(re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL), start, end, is_quoted=True)
