"""A past that is kept between proposals equals what a new process would make of the same trials."""

import cProfile
import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.search.constrained_space import constrain
from experiments.search.engine import StoredTrial, clear_caches
from experiments.search.engine.bulk_fit import BLOCK, fit_block
from experiments.search.engine.fitted_past import FittedPast, fitted_past
from experiments.search.engine.fitted_trial import fit
from experiments.search.space import parse

from .spaces import documents
from .test_engine import choice, nested, past_of, stored, uniform
from .test_optuna_study import random_trial

FINITE = parse({"kind": choice("a", "b", "c"), "layers": {"_type": "randint", "_value": [1, 4]}})
ENDLESS = parse(
    {"x": uniform(), "kind": choice("a", "b"), "q": {"_type": "quniform", "_value": [0, 1, 0.01]}}
)
NESTED = parse({"x": uniform(), "net": nested("none", conv={"k": choice(1, 2)}, dense={"units": uniform()})})


def state_of(fitted, *, with_parts=False):
    """All that algorithms read of it."""
    columns = fitted.columns(with_parts=with_parts, objectives=1)
    return (
        [trial.past for trial in fitted.trials],
        fitted.tried,
        len(fitted.tried),
        fitted.whole_results,
        columns.states,
        columns.results,
        columns.finished_count,
        {paths: (shape.members, shape.values) for paths, shape in columns.shapes.items()},
    )


@pytest.mark.parametrize("space", [FINITE, NESTED], ids=["finite", "nested"])
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(1, 10_000),
    count=st.integers(0, 700),
    with_parts=st.booleans(),
    of_database=st.booleans(),
)
def test_what_is_kept_is_what_a_new_process_makes(space, seed, count, with_parts, of_database):
    """Trials change their state, vanish, join at the end, in the middle and at the beginning, and come in any order."""
    rng = Random(seed)
    other = FINITE if space is NESTED else NESTED

    def some(number):
        drawn_from = space if rng.random() < 0.9 else other
        trial = random_trial(drawn_from, number, drawn_from.draw(rng), rng)
        return stored(trial) if of_database else trial

    past = [some(number) for number in range(1, 2 * count, 2)]
    kept = FittedPast(space)
    for _ in range(6):
        kept.update(past)
        new = FittedPast(space)
        new.update(past)
        assert state_of(kept, with_parts=with_parts) == state_of(new, with_parts=with_parts)
        assert [trial.past.number for trial in kept.trials] == sorted(trial.number for trial in past)
        for _ in range(rng.randrange(4)):
            match rng.choice(["change", "drop", "last", "middle", "first", "equal"]):
                case "change" if past:
                    place = rng.randrange(len(past))
                    past[place] = some(past[place].number)
                case "equal" if past:
                    place = rng.randrange(len(past))
                    past[place] = replaced(past[place])
                case "drop" if past:
                    del past[rng.randrange(len(past))]
                case "last":
                    past.append(some(max((trial.number for trial in past), default=0) + 1))
                case "middle":
                    number = 2 * rng.randrange(count + 1)
                    if number not in {trial.number for trial in past}:
                        past.insert(rng.randrange(len(past) + 1), some(number))
                case "first":
                    past.append(some(min((trial.number for trial in past), default=0) - 1))


def replaced(trial):
    """An equal trial."""
    return trial._replace() if isinstance(trial, StoredTrial) else replace(trial)


def seen_of(trial):
    return (
        trial.raw,
        [type(value) for value in trial.raw.values()],
        trial.is_whole,
        trial.index,
        trial.is_done,
        trial.may_inform,
        trial.attrs,
    )


def other_than(value, rng):
    """A value that people or an earlier version of the space may have left in place of this one."""
    if isinstance(value, dict) and "_name" in value:
        name = rng.choice([name for name in value if name != "_name"] or ["_name"])
        return {**value, name: other_than(value[name], rng)}
    number = value if isinstance(value, int | float) else 1
    others = [int(number), float(number), number + 1, -number, 1e17, -0.0, True, None, "a", [1], {"a": 1}]
    return rng.choice([*others, {"_name": "none"}, {"_name": 7}])


@settings(max_examples=300, deadline=None)
@given(
    spaces=st.tuples(documents, documents), seed=st.integers(1, 10_000), share=st.sampled_from([0, 0.1, 0.7])
)
def test_trials_that_are_fitted_together_are_fitted_like_each_alone(spaces, seed, share):
    """Of spaces of all types: trials of this space and of an edited one, values that were typed or changed, missing and
    further ones, and such as were never drawn."""
    rng = Random(seed)
    space, other = map(parse, spaces)
    trials = []
    for number in range(1, 30):
        drawn_from = other if rng.random() < share / 2 else space
        raw = drawn_from.draw(rng)
        shown = drawn_from.shown(raw)
        for values in (raw, shown):
            if rng.random() < share:
                name = rng.choice([*values])
                values[name] = other_than(values[name], rng)
            if rng.random() < share / 4:
                del values[rng.choice([*values])]
            if rng.random() < share / 4:
                values["further"] = 1
        if rng.random() < share / 4:
            raw = {}
        state = rng.choice(["done", "running", "infeasible", "void"])
        texts = json.dumps(raw), json.dumps(shown)
        trials.append(
            StoredTrial(
                number, rng.choice([number, -number]), texts[0], texts[texts[0] != texts[1]], state, 0.5
            )
        )
    block = fit_block(space, trials)
    fitted = FittedPast(space)
    fitted.update(sorted(trials, key=lambda trial: trial.number))
    assert [bool(whole) for whole in block.is_whole] == [fit(space, trial).is_whole for trial in trials]
    assert [seen_of(trial) for trial in fitted.trials] == [
        seen_of(fit(space, trial)) for trial in sorted(trials, key=lambda trial: trial.number)
    ]
    for with_parts in (True, False):
        alone = FittedPast(space)
        alone.update([])
        for trial in sorted(trials, key=lambda trial: trial.number):
            alone.append(fit(space, trial), trial)
        together = FittedPast(space)
        together.update(sorted(trials, key=lambda trial: trial.number))
        assert state_of(together, with_parts=with_parts) == state_of(alone, with_parts=with_parts)


EXTENDED = parse({**ENDLESS.document, "new": uniform()})
CONSTRAINED = constrain(FINITE, ["layers > 1"])


@pytest.mark.parametrize(
    ("space", "drawn_from", "most"),
    [
        (FINITE, FINITE, 3),
        (CONSTRAINED, FINITE, 5),
        (NESTED, NESTED, 40),
        (ENDLESS, ENDLESS, 2),
        (EXTENDED, ENDLESS, 18),
    ],
    ids=["finite", "constrained", "nested", "endless", "a parameter was added"],
)
def test_the_first_look_makes_few_calls_per_trial(space, drawn_from, most):
    """Trials that fit as they are, or but for some parameters, are checked together; only branches one by one."""

    def calls(count):
        trials = [
            stored(past_of(drawn_from, drawn_from.draw(Random(number)), number, value=0.5))
            for number in range(count)
        ]
        fitted, profile = FittedPast(space), cProfile.Profile()
        with profile:
            fitted.update(trials)
            fitted.columns(with_parts=True, objectives=1)
        return sum(entry.callcount for entry in profile.getstats())

    assert (calls(4 * BLOCK) - calls(2 * BLOCK)) / (2 * BLOCK) < most


def test_proposals_in_between_leave_no_trace():
    """An algorithm adds its proposals to the past, one after the other, until all of them are made."""
    space, rng = FINITE, Random(1)
    past = [past_of(space, space.draw(rng), number) for number in range(1, 9)]
    clear_caches()
    with fitted_past(space, past, "kept") as fitted:
        before = state_of(fitted)
        fitted.append(fitted.trials[0], past[0])
        assert state_of(fitted) != before
    assert state_of(fitted) == before
    with fitted_past(space, past, "kept") as again:
        assert again is fitted
        assert state_of(again) == before


def test_two_users_of_one_past_at_once_get_one_each():
    past = [past_of(FINITE, FINITE.draw(Random(1)), 1)]
    clear_caches()
    with fitted_past(FINITE, past, "kept") as kept:
        pass
    with fitted_past(FINITE, past, "kept") as first, fitted_past(FINITE, past, "kept") as second:
        assert first is kept
        assert second is not kept
    with fitted_past(FINITE, past, "kept") as third:
        assert third in (first, second)
