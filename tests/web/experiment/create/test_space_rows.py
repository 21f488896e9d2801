"""A search space as rows of a form, and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.search.space import SpaceError, parse
from experiments.web.experiment.forms.space_rows import SHAPES, Row, items, read, rows_of, text_of, typed

pytestmark = pytest.mark.once

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(scalars | texts, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


@given(st.lists(values, min_size=1, max_size=6))
def test_values_written_out_read_back_as_they_were(wanted):
    """NNI-S1: 1, 1.0, true and "1" differ."""
    assert json.dumps(items(text_of(wanted))) == json.dumps(wanted)


@given(st.text(max_size=40))
def test_whatever_is_typed_reads_as_json_values(text):
    assert json.dumps(items(text), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("16, 32,64", [16, 32, 64]),
        ("1e-5, .1, 5., +3", [1e-5, 0.1, 5.0, 3]),
        ("sgd, adam w, true, null", ["sgd", "adam w", True, None]),
        ("True, False, None", [True, False, None]),
        ('"True", Trues', ["True", "Trues"]),
        ('"a, b", c', ["a, b", "c"]),
        ("[1, 2]", [1, 2]),
        ("[1, 2], [3]", [[1, 2], [3]]),
        ("1, 2,", [1, 2]),
        ("007, nan, Infinity, 1_000", ["007", "nan", "Infinity", "1_000"]),
        ("0,,1", [0, "", 1]),
        ('"unclosed, b', ['"unclosed', "b"]),
        ("9" * 5000, ["9" * 5000]),
        ("", []),
        ("  ", []),
    ],
)
def test_values_are_read_as_people_write_them(text, wanted):
    assert json.dumps(items(text)) == json.dumps(wanted)


def test_a_long_hostile_text_is_read_once():
    """Time that grows with its square would take minutes for a megabyte."""
    for piece in ("[,", '"a', "1,", "[[", '"\\', "  ,"):
        assert items(piece * 50_000)


def test_rows_become_a_space_and_a_space_rows():
    rows = [Row("lr", "loguniform", "1e-4, 1e-1"), Row(), Row("opt", "choice", "sgd, adam")]
    space = read(rows)
    assert space == parse(
        {
            "lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]},
            "opt": {"_type": "choice", "_value": ["sgd", "adam"]},
        }
    )
    assert read(rows_of(space.document)) == space


def test_a_step_of_whole_numbers_is_a_word_of_its_row():
    """TD-V8"""
    space = read([Row("leaves", "qloguniform", "8, 512, 8, whole"), Row("units", "lograndint", "16, 1025")])
    assert space.document["leaves"] == {"_type": "qloguniform", "_value": [8, 512, 8], "_whole": True}
    assert rows_of(space.document)[0].values == "8, 512, 8, whole"
    assert read(rows_of(space.document)) == space


def test_each_fault_stands_at_its_row():
    rows = [
        Row("lr", "uniform", "1, 0"),
        Row("lr.x", "choice", "a, a"),
        Row("", "choice", "1"),
        Row("ok", "uniform", "0, 1"),
        Row("lr", "uniform", "0, 1"),
        Row("what?", "uniform", "low, high"),
    ]
    with pytest.raises(SpaceError) as caught:
        read(rows)
    errors = [" ".join(row.errors) for row in rows]
    assert (
        "greater than the upper bound" in errors[0]
        and "already listed" in errors[1]
        and "a name" in errors[2]
    )
    assert (
        errors[3] == ""
        and "Another row has this name." in errors[4]
        and "Invalid parameter name" in errors[5]
    )
    assert len(caught.value.faults) == sum(len(row.errors) for row in rows)


def test_no_rows_are_no_space():
    with pytest.raises(SpaceError, match="at least one parameter"):
        read([Row(), Row("  ", "choice", " ")])


def test_rows_are_taken_from_a_form_in_order_and_gaps_are_no_harm():
    data = {
        "space-10-name": "b",
        "space-2-name": "a",
        "space-2-type": "choice",
        "space-2-values": "1",
        "space-x-name": "no",
        "space-3-__class__": "no",
        "space-9999-name": "no",
        "name": "no",
    }
    assert [(row.name, row.type) for row in typed(data)] == [("a", "choice"), ("b", "uniform")]
    assert [row.name for row in typed(data, without="2")] == ["b"]


def test_every_type_says_what_it_takes_and_its_example_is_valid():
    for kind, hint in SHAPES.items():
        assert read([Row("p", kind, hint.split(": ", 1)[1])]).parameters
