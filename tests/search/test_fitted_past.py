"""A past that is kept between proposals equals what a new process would make of the same trials."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.search.engine import clear_caches
from experiments.search.engine.fitted_past import FittedPast, fitted_past
from experiments.search.space import parse

from .test_engine import choice, nested, past_of, uniform
from .test_optuna_study import random_trial

FINITE = parse({"kind": choice("a", "b", "c"), "layers": {"_type": "randint", "_value": [1, 4]}})
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
@given(seed=st.integers(1, 10_000), count=st.integers(0, 700), with_parts=st.booleans())
def test_what_is_kept_is_what_a_new_process_makes(space, seed, count, with_parts):
    """Trials change their state, vanish, join at the end, in the middle and at the beginning, and come in any order."""
    rng = Random(seed)
    other = FINITE if space is NESTED else NESTED

    def some(number):
        drawn_from = space if rng.random() < 0.9 else other
        return random_trial(drawn_from, number, drawn_from.draw(rng), rng)

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
                    past[place] = replace(past[place])
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
