"""TD-C3: the grammar: what binds how, what is quoted, and what an error says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.filters.language import (
    MAX_LENGTH,
    MAX_TERMS,
    And,
    Comparison,
    FilterError,
    Node,
    Not,
    Or,
    Word,
    joined,
    nearest,
    parse,
    quoted,
    terms,
)

pytestmark = pytest.mark.once


def shape(node: Node | None) -> object:
    """The tree without positions."""
    match node:
        case None:
            return None
        case And(terms):
            return ("and", *map(shape, terms))
        case Or(terms):
            return ("or", *map(shape, terms))
        case Not(term):
            return ("not", shape(term))
        case Word(text):
            return text.text
        case Comparison(field, operator, values):
            return (field.text, operator, *(value.text for value in values))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("   ", None),
        ("resnet", "resnet"),
        ("a b or c", ("or", ("and", "a", "b"), "c")),
        ("a and (b OR c)", ("and", "a", ("or", "b", "c"))),
        ("not a b", ("and", ("not", "a"), "b")),
        ("not (a or b)", ("not", ("or", "a", "b"))),
        ("not not a", "a"),
        ("lr<1e-4", ("lr", "<", "1e-4")),
        ("lr <= -1e-4", ("lr", "<=", "-1e-4")),
        ("opt:sgd", ("opt", "=", "sgd")),
        ("opt == sgd", ("opt", "=", "sgd")),
        ("opt!=sgd", ("opt", "!=", "sgd")),
        ("opt:sgd,adam lr<1", ("and", ("opt", "=", "sgd", "adam"), ("lr", "<", "1"))),
        ("opt != sgd , adam", ("opt", "!=", "sgd", "adam")),
        ("opt in (sgd, adam,\t'x)", ("opt", "in", "sgd", "adam", "'x")),
        ("created>2026-11-01T18:30:00+01:00", ("created", ">", "2026-11-01T18:30:00+01:00")),
        ('"layer/kernel size">3', ("layer/kernel size", ">", "3")),
        ('name~"a \\"b\\" (c)"', ("name", "~", 'a "b" (c)')),
        ("test.f1.macro>=.5", ("test.f1.macro", ">=", ".5")),
        ("android or orange", ("or", "android", "orange")),
        ("or=5 in=3", ("and", ("or", "=", "5"), ("in", "=", "3"))),
        ("état:é", ("état", "=", "é")),
    ],
)
def test_what_is_read(text: str, tree: object) -> None:
    assert shape(parse(text)) == tree


@pytest.mark.parametrize(
    ("text", "start", "words"),
    [
        ("lr<", 3, "Unexpected end of filter; expected a quoted string or a value"),
        ("a or", 4, "Unexpected end of filter; expected a field or a word"),
        ("(a", 2, "“)”"),
        ("x=1)", 3, "Unexpected “)”"),
        ('a "b', 2, "Unclosed quote"),
        ("a and and b", 6, "“and” needs a term on both sides"),
        ("opt in sgd", 4, "in parentheses"),
        ("x in ()", 6, "a value"),
        ("x<1,2", 4, "“<” takes one value, not a list"),
        ("x=1,", 4, "Unexpected end of filter; expected a quoted string or a value"),
        ("a ! b", 2, "Unexpected “!”"),
        ("a\0b", 1, "control characters"),
        ("x" * (MAX_LENGTH + 1), MAX_LENGTH, f"at most {MAX_LENGTH:,} characters"),
        ("a " * (MAX_TERMS + 1), 0, f"at most {MAX_TERMS} terms; this one has {MAX_TERMS + 1}"),
        (f"a in ({','.join('b' * 60)})", 0, "this one has 60"),
    ],
)
def test_what_an_error_says_and_where(text: str, start: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert caught.value.start == start
    assert words in caught.value.message
    assert str(caught.value).endswith(f"(at character {start + 1})")


@given(
    st.lists(
        st.sampled_from(
            ["a", "lr", "<", ">=", "=", ":", "~", '"', "(", ")", " ", "and ", "or ", "not ", ",", "in ("]
        )
        | st.characters(codec="utf-8"),
        max_size=30,
    ).map("".join)
)
def test_any_text_is_read_or_refused_with_a_place_in_it(text: str) -> None:
    try:
        parse(text)
    except FilterError as error:
        assert 0 <= error.start <= len(text) < error.end + len(text)


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30), st.sampled_from(["=", "<", "!="])
)
def test_what_is_quoted_is_read_back(text: str, operator: str) -> None:
    assert shape(parse(f"{quoted(text)}{operator}{quoted(text)}")) == (text, operator, text)


def test_the_conditions_of_a_filter_are_as_they_were_written() -> None:
    text = 'lr<1e-4 and opt IN (adam, "s g d" ) not (a or b) (c or d and e=1..2) "odd name":x,y'
    expected = ["lr<1e-4", 'opt IN (adam, "s g d" )', "not (a or b)", "(c or (d e=1..2))", '"odd name":x,y']
    assert terms(text) == expected
    assert terms("a or b") == ["(a or b)"] and terms(" ") == []


@given(
    st.lists(
        st.sampled_from(
            ["a", "lr<1", "x in (1, 2)", "not b", "(a or not b)", "and", "or", "not (a b)", '"q r"']
        ),
        max_size=8,
    ).map(" ".join)
)
def test_the_conditions_of_a_filter_mean_what_it_means(text: str) -> None:
    try:
        tree = parse(text)
    except FilterError:
        return
    written = [shape(parse(term)) for term in terms(text)]
    expected = tree.terms if isinstance(tree, And) else [tree] if tree else []
    assert written == [shape(term) for term in expected]


def test_many_parentheses_and_negations_are_no_burden() -> None:
    assert shape(parse("(" * 900 + "a" + ")" * 900)) == "a"
    assert shape(parse("not " * 450 + "a")) == "a"


def test_the_nearest_name() -> None:
    assert nearest("sate", ["state", "value"]) == "state"
    assert nearest("Learning_rate", ["learning-rate", "value"]) == "learning-rate"
    assert nearest("zzz", ["state", "value"]) is None


def test_filters_are_joined_by_and() -> None:
    assert joined("", " ") == "" and joined("a", "") == "a"
    assert shape(parse(joined("a or b", "c", "not d"))) == ("and", ("or", "a", "b"), "c", ("not", "d"))
    assert joined("(a", "b") == "(a b"
