"""NNI-S1: the search-space dialect: what is refused and where, what is drawn, counted, and fits."""

import json
import math
from collections import Counter
from statistics import fmean, median, stdev

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.search.space import SpaceError, parse, parse_text

from .spaces import documents, small_documents


def space_of(kind, *value):
    return parse({"x": {"_type": kind, "_value": list(value)}})


def drawn(kind, *value, count=8000):
    return [shown["x"] for shown in space_of(kind, *value).draws(count, seed=7)]


def shares(values):
    return {value: times / len(values) for value, times in Counter(values).items()}


def about(expected, count=8000):
    """A share, give or take four and a half standard deviations of a draw of this size."""
    return {
        value: pytest.approx(share, abs=4.5 * math.sqrt(share * (1 - share) / count))
        for value, share in expected.items()
    }


def faults_of(document):
    with pytest.raises(SpaceError) as caught:
        parse(document)
    return {fault.path: fault.message for fault in caught.value.faults}


def numeric(kind, *value):
    return {"x": {"_type": kind, "_value": list(value)}}


def tower(levels, name="deeper", last=None):
    """Objects within objects: nested choices, so many levels deep."""
    inner = {"_name": "top"} if last is None else {"_name": "top", **last}
    for _ in range(levels):
        inner = {"_name": "more", name: {"_type": "choice", "_value": [inner]}}
    return inner


UNIT = {"_type": "uniform", "_value": [0, 1]}
TOWER = tower(10)
LONG = {"_type": "choice", "_value": [tower(2, "y" * 60, {"z" * 60: UNIT})]}
DEEP = json.loads("[" * 12 + "]" * 12)


@pytest.mark.parametrize(
    ("document", "path", "word"),
    [
        (None, "", "object of parameters"),
        ([1], "", "object of parameters"),
        ({}, "", "empty"),
        ({f"p{n}": {"_type": "uniform", "_value": [0, 1]} for n in range(101)}, "", "the maximum of 100"),
        ({"lr": 3}, "lr", "_type"),
        ({"lr": {"_value": [0, 1]}}, "lr._type", "The type is missing"),
        ({"lr": {"_type": "loguniformm", "_value": [0, 1]}}, "lr._type", "Did you mean loguniform?"),
        ({"lr": {"_type": ["choice"], "_value": [0, 1]}}, "lr._type", "Use one of choice"),
        ({"lr": {"_type": "uniform"}}, "lr._value", "[low, high]"),
        ({"lr": {"_type": "uniform", "_value": {"low": 0}}}, "lr._value", "[low, high]"),
        ({"lr": {"_type": "uniform", "_value": [0, 1], "_values": 1}}, "lr._values", "Did you mean _value?"),
        ({"a b": {"_type": "uniform", "_value": [0, 1]}}, "a b", "Invalid parameter name"),
        ({"$HOME": {"_type": "uniform", "_value": [0, 1]}}, "$HOME", "Invalid parameter name"),
        ({"lr\n": {"_type": "uniform", "_value": [0, 1]}}, "lr\n", "Invalid parameter name"),
        ({"x" * 65: {"_type": "uniform", "_value": [0, 1]}}, "x" * 65, "Invalid parameter name"),
        ({7: {"_type": "uniform", "_value": [0, 1]}}, "7", "Invalid parameter name"),
        (numeric("uniform", 0), "x._value", "requires 2 numbers, [low, high]; the list has 1"),
        (numeric("quniform", 0, 1), "x._value", "requires 3 numbers"),
        (numeric("normal", 0, 1, 1), "x._value", "requires 2 numbers"),
        (numeric("uniform", True, 1), "x._value[0]", "without quotes"),
        (numeric("uniform", 0, "1"), "x._value[1]", "without quotes"),
        (numeric("uniform", 0, None), "x._value[1]", "number"),
        (numeric("uniform", 0, math.nan), "x._value[1]", "finite"),
        (numeric("uniform", 0, math.inf), "x._value[1]", "finite"),
        (numeric("uniform", 0, 10**400), "x._value[1]", "finite"),
        (numeric("uniform", 2, 1), "x._value", "The lower bound 2 is greater than the upper bound 1."),
        (numeric("quniform", 2, 1, 1), "x._value", "The lower bound 2 is greater than the upper bound 1."),
        (numeric("randint", 2, 1), "x._value", "The lower bound 2 is greater than the upper bound 1."),
        (numeric("randint", 0.2, 0.9), "x._value", "no whole number"),
        (numeric("randint", 3, 3), "x._value", "the upper bound is exclusive"),
        (numeric("randint", 0, 2**60), "x._value", "2**53"),
        (numeric("loguniform", 0, 1), "x._value[0]", "greater than 0"),
        (numeric("qloguniform", -2, 1, 1), "x._value[0]", "greater than 0"),
        (numeric("quniform", 0, 1, 0), "x._value[2]", "greater than 0"),
        (numeric("quniform", 0, 1, -1), "x._value[2]", "greater than 0"),
        (numeric("qnormal", 0, 1, 0), "x._value[2]", "greater than 0"),
        (numeric("quniform", 0, 1, 1e-20), "x._value[2]", "too small"),
        (numeric("qnormal", 0, 1, 1e-20), "x._value[2]", "too small"),
        (numeric("normal", 0, 0), "x._value[1]", "sigma"),
        (numeric("qlognormal", 0, -1, 1), "x._value[1]", "sigma"),
        (numeric("lognormal", 0, 200), "x._value", "can overflow"),
        (numeric("choice"), "x._value", "list of choices is empty"),
        (numeric("choice", *range(1001)), "x._value", "the maximum of 1000"),
        (numeric("choice", "a", "b", "a"), "x._value[2]", "already listed at _value[0]"),
        (numeric("choice", 0.0, -0.0), "x._value[1]", "already listed"),
        (numeric("choice", [1, 2], [1, 2]), "x._value[1]", "already listed"),
        (numeric("choice", [{"_name": "conv"}]), "x._value[0]", "only at the top level"),
        (numeric("choice", {"k": {"_name": "conv"}}), "x._value[0]", "only at the top level"),
        (numeric("choice", {"k": UNIT}), "x._value[0]", 'add a "_name" to make it a nested choice'),
        (numeric("choice", {7: 1}), "x._value[0]", "keys of an object must be strings"),
        (numeric("choice", {"k\x00": 1}), "x._value[0]", "NUL"),
        (numeric("choice", {"a": 1, "b": 2}, {"b": 2, "a": 1}), "x._value[1]", "already listed"),
        (numeric("choice", {"_name": "conv"}, "dense"), "x._value[1]", "named objects only"),
        (numeric("choice", {"_name": "conv"}, {"k": 1}), "x._value[1]", "named objects only"),
        (numeric("choice", {"_name": 7}), "x._value[0]._name", "a string of 1 to 100"),
        (numeric("choice", {"_name": " "}), "x._value[0]._name", "a string of 1 to 100"),
        (numeric("choice", {"_name": "a\x00"}), "x._value[0]._name", "NUL"),
        (numeric("choice", {"_name": "a"}, {"_name": "a"}), "x._value[1]._name", "already used by _value[0]"),
        (numeric("choice", {"_name": "a", "k": 3}), "x._value[0].k", "_type"),
        (
            numeric("choice", {"_name": "a", "k": {"_type": "kind"}}),
            "x._value[0].k._type",
            "Unknown type 'kind'",
        ),
        (
            numeric("choice", {"_name": "a", "a b": {"_type": "uniform", "_value": [0, 1]}}),
            "x._value[0].a b",
            "name",
        ),
        (
            numeric("choice", {"_name": "a", "k": {"_type": "choice", "_value": [{"_name": "b", "z": 0}]}}),
            "x._value[0].k._value[0].z",
            "_type",
        ),
        (
            {**numeric("choice", {"_name": "a", "k": UNIT}), "x/k": UNIT},
            "x/k",
            "Two parameters would have this name",
        ),
        (numeric("choice", TOWER), "x" + 10 * "._value[0].deeper" + "._value", "at most 10 levels"),
        ({"x" * 60: LONG}, "x" * 60 + 2 * ("/" + "y" * 60) + "/" + "z" * 60, "the maximum is 200"),
        ({"_name": UNIT}, "_name", "reserved for nested choices"),
        (numeric("choice", math.nan), "x._value[0]", "NaN"),
        (numeric("choice", [math.inf]), "x._value[0]", "NaN"),
        (numeric("choice", (1, 2)), "x._value[0]", "not a JSON value"),
        (numeric("choice", "a\x00"), "x._value[0]", "NUL"),
        (numeric("choice", "\ud800"), "x._value[0]", "an unpaired surrogate"),
        (numeric("choice", DEEP), "x._value[0]", "at most 10 levels"),
        (numeric("choice", 10**2000), "x._value[0]", "too many digits"),
    ],
)
def test_a_fault_is_named_with_its_path(document, path, word):
    """NNI-S1: a wrong space is refused with the path of the fault."""
    faults = faults_of(document)
    assert list(faults) == [path]
    assert word in faults[path]


def test_names_may_begin_with_a_digit():
    """NNI-S1: as of scripts that number their layers."""
    assert parse({"1st_layer": UNIT, "2": UNIT}).columns() == ["1st_layer", "2"]


def test_plain_objects_are_choices_as_they_are():
    """NNI-S1: without a _name they are values like any other."""
    pairs = [{"optimizer": "adam", "lr": 1e-3}, {"optimizer": "sgd", "sizes": [8, {"k": None}]}]
    space = parse(numeric("choice", *pairs))
    assert not space.is_nested and space.size == 2
    assert [space.shown(space.point(index))["x"] for index in range(2)] == pairs
    assert space.to_raw({"x": {"lr": 1e-3, "optimizer": "adam"}}) == {"x": pairs[0]}
    assert space.to_raw({"x": {"lr": 1e-3}}) is None


def test_all_faults_come_at_once():
    """NNI-S1: nobody mends a search space one error message at a time."""
    document = {
        "a b": {"_type": "uniform", "_value": [2, 1], "more": 1},
        "lr": {"_type": "loguniform", "_value": [0, -1]},
        "c": {"_type": "choice", "_value": [1, {"_name": "x"}, 1]},
        "ok": {"_type": "randint", "_value": [0, 3]},
    }
    assert set(faults_of(document)) == {
        *("a b", "a b.more", "a b._value"),
        *("lr._value", "lr._value[0]", "lr._value[1]"),
        *("c._value[0]", "c._value[2]"),
    }


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | inner)
)
def test_anything_at_all_is_read_or_refused_with_faults(value):
    """NNI-S1: bad input never gives a traceback."""
    for document in (
        value,
        {"x": value},
        {"x": {"_type": "choice", "_value": value}},
        numeric("qnormal", value, 1, 1),
    ):
        try:
            parse(document)
        except SpaceError as error:
            assert error.faults and all(fault.message in str(error) for fault in error.faults)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{\n  "lr": {"_type": "uniform",\n  "_value": [0 1]}}', "Line 3, column 16"),
        ("", "Line 1, column 1"),
        ("[" * 100_000, "too deeply"),
        ('{"x": {"_type": "choice", "_value": [' + "1" * 5000 + "]}}", "too many digits"),
    ],
)
def test_broken_text_is_refused_where_it_breaks(text, word):
    """NNI-S1: JSON faults come with line and column."""
    with pytest.raises(SpaceError) as caught:
        parse_text(text)
    assert [word in fault.message for fault in caught.value.faults] == [True]


def test_a_key_that_stands_twice_is_refused():
    """NNI-S1: which of two would count?"""
    with pytest.raises(SpaceError) as caught:
        parse_text('{"x": {"_type": "choice", "_type": "uniform", "_value": [0, 1]}, "y": 1, "y": 2}')
    assert [fault.path for fault in caught.value.faults] == ["_type", "y"]


def test_nan_in_text_is_refused_at_its_path():
    """NNI-S1: what JSON does not know, a space does not take."""
    with pytest.raises(SpaceError) as caught:
        parse_text('{"x": {"_type": "uniform", "_value": [0, NaN]}}')
    assert [fault.path for fault in caught.value.faults] == ["x._value[1]"]


def test_text_is_read_as_it_stands():
    """NNI-S1: the document is kept, types of numbers and order included."""
    text = '{"b": {"_type": "choice", "_value": [1, 1.0, true, [null]]}, "a": {"_type": "randint", "_value": [0, 3]}}'
    space = parse_text("\ufeff" + text)
    assert json.dumps(space.document) == text
    assert [parameter.name for parameter in space.parameters] == ["b", "a"]
    assert space.size == 12


def test_choice_draws_each_value_as_often_and_as_given():
    """NNI-S1: choice is even over the list and converts nothing."""
    values = drawn("choice", 1, 1.0, True, None, "1")
    assert shares([f"{type(value)}{value}" for value in values]) == about(
        {f"{type(value)}{value}": 0.2 for value in (1, 1.0, True, None, "1")}
    )


def test_choice_gives_lists_that_nobody_shares():
    """NNI-S1: a list that one trial changes does not change the space."""
    space = space_of("choice", [1, [2]])
    space.draws(1, seed=1)[0]["x"][1].append(3)
    space.document["x"]["_value"].append(4)
    assert space.draws(1, seed=1) == [{"x": [1, [2]]}]


def test_randint_draws_whole_numbers_below_its_upper_bound():
    """NNI-S1: ceil(low) … ceil(high) - 1."""
    values = drawn("randint", 0.5, 3.2)
    assert shares(values) == about({1: 1 / 3, 2: 1 / 3, 3: 1 / 3})
    assert {type(value) for value in values} == {int}
    assert set(drawn("randint", -2, 2)) == {-2, -1, 0, 1}


def test_uniform_draws_evenly_between_its_bounds():
    """NNI-S1: U(low, high)."""
    values = drawn("uniform", -1, 3)
    assert -1 <= min(values) < -0.99 and 2.99 < max(values) <= 3
    assert fmean(values) == pytest.approx(1, abs=0.06)
    assert stdev(values) == pytest.approx(4 / math.sqrt(12), rel=0.03)
    assert set(drawn("uniform", 2, 2, count=3)) == {2.0}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([2, 10, 5], {2.0: 0.0625, 5.0: 0.625, 10.0: 0.3125}),
        ([-5.5, -0.5, 6], {-5.5: 0.5, -0.5: 0.5}),
        ([0.5, 7.3, 2], {0.5: 0.5 / 6.8, 2.0: 2 / 6.8, 4.0: 2 / 6.8, 6.0: 2 / 6.8, 7.3: 0.3 / 6.8}),
        ([0, 3, 1], {0.0: 1 / 6, 1.0: 1 / 3, 2.0: 1 / 3, 3.0: 1 / 6}),
    ],
)
def test_quniform_rounds_then_clips(value, expected):
    """NNI-S1: clip(round(U / q) * q, low, high), a float even for whole q."""
    values = drawn("quniform", *value)
    assert shares(values) == about(expected)
    assert {type(number) for number in values} == {float}
    assert space_of("quniform", *value).size == len(expected)


def test_quniform_rounds_halves_to_even():
    """NNI-S1: banker's rounding, as numpy does."""
    space = space_of("quniform", 0, 10, 1)
    assert [space.shown({"x": x})["x"] for x in (0.5, 1.5, 2.5, 3.5)] == [0.0, 2.0, 2.0, 4.0]


def test_loguniform_draws_evenly_in_the_logarithm():
    """NNI-S1: exp(U(ln low, ln high))."""
    values = drawn("loguniform", 1e-4, 1)
    assert 1e-4 <= min(values) < 1.1e-4 and 0.9 < max(values) <= 1
    assert median(values) == pytest.approx(1e-2, rel=0.2)
    assert shares([math.ceil(math.log10(value)) for value in values]) == about(
        {power: 0.25 for power in (-3, -2, -1, 0)}
    )


def test_qloguniform_mostly_gives_its_lower_bound_when_that_is_far_below_q():
    """NNI-S1: [0.001, 100, 1] rounds all below 0.5 to 0, and clips that to 0.001."""
    values = shares(drawn("qloguniform", 0.001, 100, 1))
    below_half = math.log(0.5 / 0.001) / math.log(100 / 0.001)
    assert values[0.001] == pytest.approx(below_half, abs=0.03)
    assert set(values) <= {0.001, *map(float, range(1, 101))}
    assert space_of("qloguniform", 0.001, 100, 1).size == 101


def test_normals_draw_their_mean_and_deviation():
    """NNI-S1: N(mu, sigma), and its exponential."""
    values = drawn("normal", 5, 2)
    assert (fmean(values), stdev(values)) == (pytest.approx(5, abs=0.1), pytest.approx(2, rel=0.04))
    logs = [math.log(value) for value in drawn("lognormal", 1, 0.5)]
    assert (fmean(logs), stdev(logs)) == (pytest.approx(1, abs=0.03), pytest.approx(0.5, rel=0.04))
    assert shares([abs(value - 5) < 2 for value in values]) == about({True: 0.6827, False: 0.3173})


def test_quantised_normals_round_and_are_not_clipped():
    """NNI-S1: round(N / q) * q; a lognormal may round to 0.0."""
    values = drawn("qnormal", 0, 1, 1)
    assert shares(values)[0.0] == pytest.approx(0.3829, abs=0.025)
    assert {-3.0, 3.0} <= set(values) and all(value == round(value) for value in values)
    assert math.copysign(1, next(value for value in values if value == 0)) == 1
    assert shares(drawn("qlognormal", 0, 1, 2))[0.0] == pytest.approx(0.5, abs=0.03)
    assert space_of("qnormal", 0, 1, 1).size is None


@given(documents, st.integers(0, 2**63))
@settings(deadline=None)
def test_draws_fit_and_their_shown_values_round_trip(document, seed):
    """NNI-S1: what is drawn is valid, as raw values and as values that somebody types in."""
    space = parse(document)
    assert parse(json.loads(json.dumps(space.document))) == space
    for shown in space.draws(5, seed=seed):
        raw = space.to_raw(shown)
        assert space.fits(raw)
        assert space.key(space.shown(raw)) == space.key(shown)
        for name, definition in document.items():
            if definition["_type"] in ("uniform", "quniform", "loguniform", "qloguniform"):
                assert definition["_value"][0] <= shown[name] <= definition["_value"][1]


@given(documents, st.integers(0, 2**63))
@settings(deadline=None)
def test_draws_do_not_depend_on_the_order_of_the_document(document, seed):
    """NNI-S1: PostgreSQL gives the keys of a JSON object back in another order."""
    turned = dict(reversed(document.items()))
    assert parse(document).draws(3, seed=seed) == parse(turned).draws(3, seed=seed)
    assert parse(document) == parse(turned)


@given(small_documents)
@settings(deadline=None)
def test_the_size_is_the_number_of_distinct_points(document):
    """NNI-S2: a finite space is counted, and each of its points has one index."""
    space = parse(document)
    assume(space.size <= 300)
    points = [space.point(index) for index in range(space.size)]
    assert len({space.key(space.shown(raw)) for raw in points}) == space.size
    assert [space.index(raw) for raw in points] == list(range(space.size))
    assert all(space.fits(raw) for raw in points)
    keys = {space.key(space.shown(raw)) for raw in points}
    assert {space.key(shown) for shown in space.draws(20, seed=3)} <= keys


def test_a_huge_space_is_counted_without_walking_through_it():
    """NNI-S2: the size is arithmetic."""
    space = parse({f"p{n}": {"_type": "choice", "_value": list(range(1000))} for n in range(100)})
    assert space.size == 1000**100
    assert space.index(space.point(space.size - 1)) == space.size - 1


@pytest.mark.parametrize(
    "shown",
    [
        None,
        {},
        {"lr": 0.5},
        {"lr": 0.5, "c": 1, "more": 1},
        {"lr": 0.5, "x": 1},
        {"lr": 2, "c": 1},
        {"lr": "0.5", "c": 1},
        {"lr": math.nan, "c": 1},
        {"lr": 10**400, "c": 1},
        {"lr": True, "c": 1},
        {"lr": 0.5, "c": 1.0},
        {"lr": 0.5, "c": True},
        {"lr": 0.5, "c": {1, 2}},
        {"lr": 0.5, "c": {1: 2, "a": 3}},
        {"lr": 0.5, "c": math.nan},
    ],
)
def test_values_that_do_not_fit_give_none(shown):
    """TD-A16: values by hand that are not of the space are told apart, whatever they are."""
    space = parse(
        {"lr": {"_type": "uniform", "_value": [0, 1]}, "c": {"_type": "choice", "_value": [1, "1", [1]]}}
    )
    assert space.to_raw(shown) is None
    assert not space.fits(shown)


def test_values_by_hand_may_leave_off_the_noise_of_floats():
    """TD-A16: a person writes 0.3 where the space says 0.30000000000000004, and 1 where it says 1.0."""
    space = space_of("quniform", 0, 1, 0.1)
    assert space.shown(space.to_raw({"x": 0.3})) == {"x": 0.30000000000000004}
    assert space.to_raw({"x": 0.34}) is None
    assert space.to_raw({"x": 10**400}) is None
    assert space_of("uniform", 0, 1).to_raw({"x": 1}) == {"x": 1.0}
    assert space_of("quniform", 2, 10, 5).to_raw({"x": 3}) is None
    assert space_of("qnormal", 0, 1, 0.5).to_raw({"x": 0.6}) is None
    assert space_of("normal", 0, 1).to_raw({"x": 6}) is None


def test_keys_tell_numbers_of_different_types_apart():
    """NNI-S2: 1, 1.0 and true are three values; the order of parameters is none of the key's business."""
    space = space_of("choice", 1)
    assert len({space.key({"x": value}) for value in (1, 1.0, True, "1", [1], None)}) == 6
    assert space.key({"a": 1, "b": 2}) == space.key({"b": 2, "a": 1})


def test_keys_survive_how_a_database_keeps_numbers():
    """NNI-S2: PostgreSQL's jsonb gives 1e16 back as a whole number and -0.0 as 0.0."""
    space = space_of("choice", 1)
    assert space.key({"x": [1e16]}) == space.key({"x": [10**16]})
    assert space.key({"x": -0.0}) == space.key({"x": 0.0}) != space.key({"x": 0})


def test_lograndint_draws_whole_numbers_on_a_log_scale():
    """TD-V8: each octave as often as the others."""
    values = drawn("lograndint", 16, 1025)
    assert all(type(value) is int for value in values) and (min(values), max(values)) == (16, 1024)
    assert median(values) == pytest.approx(126, rel=0.1)
    assert drawn("lograndint", 7, 8, count=5) == [7] * 5
    space = space_of("lograndint", 16, 1025)
    assert space.size == 1009 and space.parameters[0].to_raw(64.0) == 64


@pytest.mark.parametrize("kind", ["quniform", "qloguniform"])
def test_whole_steps_draw_whole_numbers(kind):
    """TD-V8: LightGBM takes --num_leaves 43, not 43.0."""
    document = {"x": {"_type": kind, "_value": [8, 512, 8], "_whole": True}}
    space = parse(document)
    assert space.document == document
    values = [shown["x"] for shown in space.draws(200, seed=7)]
    assert all(type(value) is int and value % 8 == 0 and 8 <= value <= 512 for value in values)
    assert all(type(value) is float for value in drawn(kind, 8, 512, 8, count=20)), "NNI's meaning without it"
    parameter = space.parameters[0]
    assert parameter.shown(parameter.to_raw(48)) == 48 and type(parameter.shown(47.9)) is int


@pytest.mark.parametrize(
    ("definition", "path", "message"),
    [
        ({"_type": "lograndint", "_value": [0, 5]}, "x._value[0]", "at least 1"),
        ({"_type": "lograndint", "_value": [5, 5]}, "x._value", "no whole number"),
        ({"_type": "quniform", "_value": [0, 1, 0.5], "_whole": True}, "x._value", "whole step"),
        ({"_type": "quniform", "_value": [0.5, 9, 1], "_whole": True}, "x._value", "whole bounds"),
        ({"_type": "uniform", "_value": [0, 1], "_whole": True}, "x._whole", "with a step"),
        ({"_type": "quniform", "_value": [0, 9, 1], "_whole": "yes"}, "x._whole", "true or false"),
    ],
)
def test_what_cannot_be_whole_is_refused(definition, path, message):
    """TD-V8"""
    with pytest.raises(SpaceError) as error:
        parse({"x": definition})
    (fault,) = error.value.faults
    assert fault.path == path and message in fault.message
