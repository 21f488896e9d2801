"""NNI-S1: nested choices: what they draw, how their values are counted, shown, typed in, and called in tables."""

import json
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.runner.arguments import arguments
from experiments.runner.command import render
from experiments.search.manual_values import check_manual_values
from experiments.search.nested_choice import flat
from experiments.search.space import parse

from .spaces import documents

pytestmark = pytest.mark.once

DOCUMENT = {
    "layer": {
        "_type": "choice",
        "_value": [
            {"_name": "Empty"},
            {
                "_name": "Conv",
                "kernel_size": {"_type": "choice", "_value": [1, 2, 3]},
                "after": {
                    "_type": "choice",
                    "_value": [
                        {"_name": "relu"},
                        {"_name": "leaky", "slope": {"_type": "quniform", "_value": [0, 1, 0.5]}},
                    ],
                },
            },
        ],
    },
    "batch": {"_type": "randint", "_value": [0, 2]},
}


def test_each_object_is_drawn_as_often_and_only_its_own_parameters():
    """NNI-S1: even over the objects, then over what the chosen one holds; the rest is not drawn at all."""
    draws = [shown["layer"] for shown in parse(DOCUMENT).draws(8000, seed=7)]
    assert Counter(item["_name"] for item in draws)["Empty"] / 8000 == pytest.approx(0.5, abs=0.025)
    conv = [item for item in draws if item["_name"] == "Conv"]
    assert Counter(item["kernel_size"] for item in conv)[3] / len(conv) == pytest.approx(1 / 3, abs=0.035)
    leaky = [item["after"] for item in conv if item["after"]["_name"] == "leaky"]
    assert len(leaky) / len(conv) == pytest.approx(0.5, abs=0.035)
    assert Counter(item["slope"] for item in leaky)[0.5] / len(leaky) == pytest.approx(0.5, abs=0.05)
    assert {tuple(item) for item in draws} == {("_name",), ("_name", "kernel_size", "after")}


def test_it_shows_what_nni_shows():
    """NNI-S1: {"_name": "Conv", "kernel_size": 3}, and the numbers in it rounded."""
    space = parse(DOCUMENT)
    raw = {
        "batch": 1,
        "layer": {"_name": "Conv", "kernel_size": 3, "after": {"_name": "leaky", "slope": 0.4}},
    }
    assert space.fits(raw)
    assert space.shown(raw) == {
        "layer": {"_name": "Conv", "kernel_size": 3, "after": {"_name": "leaky", "slope": 0.5}},
        "batch": 1,
    }


def test_a_finite_nested_space_is_counted():
    """NNI-S2: sums over objects, products within them: (1 + 3 * (1 + 3)) * 2."""
    assert parse(DOCUMENT).size == 26


def test_one_endless_object_makes_the_space_endless():
    """NNI-S2: then it is never exhausted."""
    endless = {"_name": "x", "lr": {"_type": "uniform", "_value": [0, 1]}}
    assert parse({"a": {"_type": "choice", "_value": [{"_name": "y"}, endless]}}).size is None


def test_ten_levels_are_possible():
    """NNI-S1: to any depth that somebody needs."""
    inner = {"_name": "end", "x": {"_type": "choice", "_value": [1, 2]}}
    for _ in range(9):
        inner = {"_name": "more", "x": {"_type": "choice", "_value": [inner, {"_name": "stop"}]}}
    space = parse({"x": {"_type": "choice", "_value": [inner]}})
    assert space.size == 11
    assert [space.index(space.point(n)) for n in range(11)] == list(range(11))


@pytest.mark.parametrize(
    "layer",
    [
        "Conv",
        {"_name": "Pool"},
        {"_name": ["Conv"]},
        {"kernel_size": 3},
        {"_name": "Empty", "kernel_size": 3},
        {"_name": "Conv", "kernel_size": 3},
        {"_name": "Conv", "kernel_size": 3, "after": "relu"},
        {"_name": "Conv", "kernel_size": 3, "after": {"_name": "leaky"}},
        {"_name": "Conv", "kernel_size": 3, "after": {"_name": "leaky", "slope": 0.3}},
        {"_name": "Conv", "kernel_size": 4, "after": {"_name": "relu"}},
    ],
)
def test_values_that_do_not_fit_are_told_apart(layer):
    """TD-A16: at every level: a wrong name, something missing, something too much, a wrong value."""
    space = parse(DOCUMENT)
    assert space.to_raw({"layer": layer, "batch": 1}) is None
    assert not space.fits({"layer": layer, "batch": 1}) or layer.get("after", {}).get("slope") == 0.3


@given(documents, st.integers(0, 2**63))
@settings(max_examples=50, deadline=None)
def test_leaves_put_a_draw_together_again(document, seed):
    """NNI-S1: what the search picks one by one is the whole, whatever is nested; names in tables are known ones."""
    space = parse(document)
    raw = space.draw(Random(seed))
    leaves = space.leaves(raw)
    assert space.assemble(lambda path, parameter: leaves[path]) == raw
    assert leaves.keys() <= {path for path, _ in space.every_leaf()}
    assert set(flat(space.shown(raw))) <= set(space.columns())
    assert check_manual_values(space.shown(raw), space) == []
    for path, parameter in space.every_leaf():
        for u in (0.0, 0.3, 1.0):
            leaf = parameter.quantile(u)
            assert 0 <= parameter.share(leaf) <= 1
            assert parameter.quantile(parameter.share(leaf)) == pytest.approx(leaf) or path


def test_tables_call_nested_values_by_their_path():
    """TD-X6: layer is the name of the chosen object, layer/kernel_size its value."""
    space = parse(DOCUMENT)
    assert space.columns() == ["layer", "layer/kernel_size", "layer/after", "layer/after/slope", "batch"]
    shown = {"layer": {"_name": "Conv", "kernel_size": 3, "after": {"_name": "relu"}}, "batch": 0}
    assert flat(shown) == {"layer": "Conv", "layer/kernel_size": 3, "layer/after": "relu", "batch": 0}


def test_objects_may_share_a_column():
    """NNI-S1: two objects with a kernel_size each are the same column; they are never drawn together."""
    size = {"_type": "choice", "_value": [1, 2]}
    both = [{"_name": "a", "size": size}, {"_name": "b", "size": size}]
    assert parse({"x": {"_type": "choice", "_value": both}}).columns() == ["x", "x/size"]


def test_a_command_gets_the_value_as_json():
    """TD-F2: ${layer} is one word, as are the arguments."""
    value = {"_name": "Conv", "kernel_size": 3}
    assert render("run ${layer}", {"layer": value}) == """run '{"_name": "Conv", "kernel_size": 3}'"""
    assert json.loads(arguments({"layer": value})[1]) == value


def test_what_is_missing_or_unknown_is_said_with_its_path():
    """TD-A16: values by hand need the right names; numbers may lie outside."""
    space = parse(DOCUMENT)
    layer = {"_name": "Conv", "kernel": 3, "after": {"_name": "leaky", "slope": 7}}
    assert check_manual_values({"layer": layer, "batch": 9}, space) == [
        "Parameter layer/kernel_size is missing.",
        "Unknown parameter layer/kernel.",
    ]
    assert check_manual_values({"layer": "Conv"}, space) == [
        "Parameter batch is missing.",
        'layer must be an object whose "_name" is one of "Empty", "Conv".',
    ]
