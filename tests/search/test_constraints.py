"""Constraints: what may be written, what it means, and that every proposal of every algorithm obeys."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.search import constrained_space as module
from experiments.search.constrained_space import check_constraints, complete_point, constrain
from experiments.search.constraint import ConstraintError, parse_constraint
from experiments.search.engine import ALGORITHMS, Exhausted, PastTrial, Problem, clear_caches, propose
from experiments.search.space import parse
from experiments.search.starting_points import propose as propose_points

pytestmark = pytest.mark.once

ENDLESS = parse(
    {
        "x": {"_type": "uniform", "_value": [0, 1]},
        "y": {"_type": "loguniform", "_value": [0.01, 1]},
        "layers": {"_type": "randint", "_value": [1, 6]},
        "mode": {"_type": "choice", "_value": ["a", "b"]},
    }
)
FINITE = parse(
    {
        "batch": {"_type": "choice", "_value": [16, 32, 64]},
        "accumulate": {"_type": "randint", "_value": [1, 5]},
        "mode": {"_type": "choice", "_value": ["a", "b"]},
    }
)
NESTED = parse(
    {
        "n": {"_type": "randint", "_value": [1, 4]},
        "layer": {
            "_type": "choice",
            "_value": [{"_name": "none"}, {"_name": "conv", "k": {"_type": "choice", "_value": [1, 3, 5]}}],
        },
    }
)
VALUES = {"a": 2, "b": 0, "f": 0.1, "t": "adam", "on": True, "nil": None, "huge": 10**400, "l/k.x-y": 7}
NAMES = [*VALUES, "gone"]


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ("a + 2 * 3 == 8 and (a + 2) * 3 == 12 and a - 1 - 1 == 0", True),
        ("-a ** 2 == -4 and 2 ** -a == 0.25 and 2 ** 3 ** a == 512", True),
        ("7 // a == 3 and 7 % a == 1 and 7 / a == 3.5 and -7 // a == -4", True),
        ("0 <= b < a <= 2 != 3", True),
        ("0 < b < a", False),
        ("a > 5 or b == 0 and a == 2", True),
        ("not a > 5 and not (a == 2 and b == 1)", True),
        ("t == 'adam' and t != \"sgd\" and t != a", True),
        ("on and on == true and on != 1 and nil == null and nil != false", True),
        ("`l/k.x-y` == 7 and `a` == 2", True),
        ("f * 3 <= 0.3 and f * 3 >= 0.3 and f * 3 == 0.3 and not f * 3 < 0.3", True),  # in floats it is more
        ("b == 0 or a / b > 1", True),
        # What cannot be calculated is a violation, negated or not.
        ("a / b > 1", False),
        ("not a / b > 1", False),
        ("t * 2 > 1", False),
        ("t < 1", False),
        ("on + 1 == 2", False),
        ("a or on", False),
        ("9 ** 9 ** 9 > a", False),
        ("a < 1e300 * 10", False),
        ("(0 - a) ** 0.5 > 0", False),
        # What is not there leaves a comparison open; what is there still counts.
        ("gone > 3", True),
        ("not gone > 3", True),
        ("gone > 3 and a > 5", False),
        ("gone > 3 or a > 5", True),
        ("a < gone < b", True),
        ("gone ** 2 * 0 == 1", True),
        ("huge > 0.5", False),
    ],
)
def test_a_constraint_means_what_it_says(text, is_met):
    """NNI-S2: Python's precedence; numbers, texts, truth; open where a nested parameter is not there."""
    assert parse_constraint(text, NAMES).is_met(VALUES) is is_met


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Column 1: The constraint is incomplete."),
        ("a <", "Column 4: The constraint is incomplete."),
        ("a = 1", "Column 3: Write == instead of =."),
        ("a < 1 && b < 1", "Column 7: Write and instead of &&."),
        ("(a < 1", "Column 7: The parenthesis opened at column 1"),
        ("a ^ 2 < 1", "Column 3: Write ** for a power."),
        ("a < 1 a", "Column 7: Unexpected a."),
        ("aa < 1 or adn < 1", "Column 1: Unknown parameter aa."),
        ("k.x < 1", "Column 2: Put names with characters other"),
        ("a + 1", "Column 1: Expected a condition but got a value"),
        ("a < 1 or 3", "Column 10: Expected a condition"),
        ("a < 'x'", "Column 5: Arithmetic and ordering require numbers"),
        ("true + a < 1", "Column 1: Arithmetic and ordering require numbers"),
        ("1 < 2", "Column 1: The constraint contains no parameter"),
        ("a < 1e999", "Column 5: This number is too large."),
        ("t == 'adam", "Column 6: The closing ' is missing."),
        ("abs(a) < 1", "Unknown parameter abs"),
        ("a(1) < 1", "Column 2: Unexpected (."),
        ("a[0] < 1", "Column 2: Put names"),
        ("(" * 200 + "a", "nested more than 30 levels deep"),
        ("not " * 100 + "a", "nested more than 30 levels deep"),
        ("2 ** " * 90 + "a < 1", "nested more than 30 levels deep"),
        ("a < 1 or " * 100 + "a", "901 characters; the maximum is 500"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text, sentence):
    with pytest.raises(ConstraintError) as refused:
        parse_constraint(text, NAMES)
    assert sentence in str(refused.value)


@settings(max_examples=150, deadline=None)
@given(st.text("ab12.`'\"()<>=!+-*/% \teort\0é", max_size=40) | st.text(max_size=20))
def test_no_text_breaks_the_reader(text):
    try:
        results = parse_constraint(text, NAMES)
    except ConstraintError:
        return
    assert results.is_met(VALUES) in (True, False)


@settings(max_examples=100, deadline=None)
@given(st.recursive(
    st.sampled_from(["a", "b", "3", "0.5"]),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner),
    max_leaves=8,
))  # fmt: skip
def test_it_calculates_as_python_does(text):
    try:
        expected = eval(text, {"a": 7, "b": -2})  # noqa: S307
    except ArithmeticError:
        expected = None
    results = parse_constraint(f"{text} - v == 0 or v == a - 8", ["a", "b", "v"])
    assert results.is_met({"a": 7, "b": -2, "v": math.inf if expected is None else expected}) is (
        expected is not None
    )


def search(space, algorithm, *, rounds, at_once=1, points=()):
    """What is proposed in so many rounds, and the past that it leaves."""
    problem = Problem(space, algorithm, {}, 3, "maximize")
    past = []
    for start in range(1, rounds * at_once + 1, at_once):
        try:
            made = propose_points(problem, past, range(start, start + at_once), points=points)
        except Exhausted:
            break
        for proposal in made:
            value = proposal.shown.get("x", proposal.shown.get("batch", 0))
            past.append(
                PastTrial(
                    proposal.ordinal,
                    proposal.ordinal,
                    proposal.raw,
                    space.key(proposal.shown),
                    "done",
                    value,
                    proposal.attrs,
                )
            )
            assert space.allows(proposal.shown) and space.shown(proposal.raw) == proposal.shown
    return past


ABLE = [name for name in ALGORITHMS if name not in ("GP", "Batch", "BOHB", "Hyperband")]


@pytest.mark.parametrize("algorithm", ABLE)
def test_every_proposal_obeys_and_is_the_same_after_a_restart(algorithm):
    """NNI-S2: though the best values lie beyond; the same rows give the same proposal, whatever a process remembers."""
    space = constrain(ENDLESS, ["x + y <= 0.6", "mode == 'a' or layers > 2"])
    past = search(space, algorithm, rounds=7, at_once=2)
    assert len({proposal.key for proposal in past}) == len(past) == 14
    clear_caches()
    problem = Problem(space, algorithm, {}, 3, "maximize")
    assert propose(problem, past[:12], [13])[0].raw == past[12].raw


@pytest.mark.parametrize("algorithm", ABLE)
def test_a_finite_space_ends_when_all_that_is_allowed_was_tried(algorithm):
    """NNI-S2: each once; what was tried by hand beyond the constraints does not count."""
    space = constrain(FINITE, ["batch * accumulate <= 64", "mode == 'a' or accumulate == 1"])
    past = search(space, algorithm, rounds=60)
    assert space.size == len(past) == len({proposal.key for proposal in past}) == 10
    by_hand = {"batch": 64, "accumulate": 4, "mode": "b"}
    beyond = PastTrial(None, 99, FINITE.to_raw(by_hand), FINITE.key(by_hand), "done", 1.0)
    problem = Problem(space, algorithm, {}, 3, "maximize")
    last = propose(problem, [*past[:-1], beyond], [100, 101])
    assert [space.key(proposal.shown) for proposal in last] == [past[-1].key]


def test_points_of_a_constrained_space_are_numbered_without_gaps():
    for space in (
        constrain(FINITE, ["batch * accumulate <= 64"]),
        constrain(NESTED, ["`layer/k` > n or layer == 'none'"]),
    ):
        points = [space.point(index) for index in range(space.size)]
        assert [space.index(raw) for raw in points] == list(range(space.size))
        assert len({space.key(space.shown(raw)) for raw in points}) == space.size
        assert all(space.allows(space.shown(raw)) for raw in points)
    assert space.size == 3 + 2 + 2 + 1  # none with each n; 3 and 5 with n = 1, 2; 5 with n = 3


@pytest.mark.parametrize("algorithm", ["Random", "GridSearch", "TPE"])
def test_a_space_too_large_to_count_is_looked_through(algorithm, monkeypatch):
    """NNI-S2: each allowed point once, then the end."""
    monkeypatch.setattr(module, "MAX_COUNTED", 5)
    space = constrain(FINITE, ["batch * accumulate <= 32"])
    assert not space.is_counted and space.size == 24
    assert len({proposal.key for proposal in search(space, algorithm, rounds=30)}) == 6


def test_constraints_make_another_space():
    """TD-U5: what was counted and learnt under the ones is not under the others; none are as if there was nothing."""
    first, same, other = (constrain(FINITE, [text]) for text in ("batch < 64", "batch < 64", "batch < 32"))
    assert first == same and first.digest == same.digest and first != other and first != FINITE
    assert constrain(FINITE, []) is FINITE and FINITE.allows({})


def test_what_nothing_meets_is_refused_with_the_one_that_is_to_blame():
    assert check_constraints(ENDLESS, ["x < 0.5", "x + y < 0.0001"]) == [
        "None of 2,000 random draws meets x + y < 0.0001; relax this constraint."
    ]
    assert "meets all constraints" in check_constraints(ENDLESS, ["x < 0.5", "x > 0.5"])[0]
    assert check_constraints(FINITE, ["batch == 17"])[0].startswith("No combination")
    assert check_constraints(FINITE, ["batch == 16"] * 51)[0].endswith("exceed the maximum of 50.")
    assert check_constraints(FINITE, ["batch == 16", "bach == 16"])[0].startswith(
        "Constraint 2, column 1: Unknown parameter bach."
    )


def test_partial_starting_points_are_completed_within_the_constraints():
    """NNI-S2: what a point leaves open is drawn until it is allowed."""
    space = constrain(ENDLESS, ["x + y <= 0.3", "x > 0.25 or layers == 1"])
    points = [{"x": 0.28}, {"x": 0.1}, {"x": 0.9}, {"mode": "b", "layers": 2}]
    past = search(space, "TPE", rounds=3, points=points)
    assert [proposal.raw["x"] for proposal in past[:2]] == [0.28, 0.1]
    assert ("b", 2) in [(proposal.raw["mode"], proposal.raw["layers"]) for proposal in past]
    assert complete_point(space, {"x": 0.9}, seed=1) is None
