"""What a process keeps between proposals changes none of them: whatever becomes of the trials, a new process proposes
the same, and for NSGA-II so does Optuna, on a study of its own."""

import cProfile
from dataclasses import replace
from itertools import product
from random import Random

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.search.constrained_space import constrain
from experiments.search.engine import ALGORITHMS, Exhausted, clear_caches, optuna_study, propose
from experiments.search.space import parse, seed_of

from .test_engine import choice, nested, past_of, problem, stored, uniform
from .test_optuna_study import Plain

pytestmark = pytest.mark.once

MIXED = {
    "x": uniform(),
    "rate": {"_type": "loguniform", "_value": [1e-3, 1]},
    "kind": choice("a", 1, 1.0, True),
    "layers": {"_type": "randint", "_value": [-2, 3]},
}
ROUNDED = {"n": {"_type": "qnormal", "_value": [0, 1, 0.5]}, "m": {"_type": "randint", "_value": [0, 2]}}
NESTED = {"x": uniform(), "net": nested("none", conv={"k": choice(1, [2])}, dense={"units": uniform()})}
FINITE = {
    "kind": choice(*"abc", [1], {"a": 1}),
    "layers": {"_type": "randint", "_value": [1, 30]},
    "q": {"_type": "quniform", "_value": [0, 1, 0.3]},
}
SPACES = {
    "mixed": parse(MIXED),
    "rounded": parse(ROUNDED),
    "nested": parse(NESTED),
    "constrained": constrain(parse(MIXED), ["x < rate", "layers != 0"]),
    "finite": parse(FINITE),
    "finite, constrained": constrain(parse(FINITE), ["layers > 12", "kind != 'a'"]),
}
# Small populations and generations, of which a short life has many.
ARGUMENTS = {
    "NSGA-II": {"population_size": 3},
    "CMA-ES": {"population_size": 4},
    "Evolution": {"population_size": 5},
}


class Life:
    """The trials of a search that takes its own proposals, and others."""

    def __init__(self, search, rng, *, of_database):
        self.search = search
        self.rng = rng
        self.past = []
        self.number = 0
        self._of_database = of_database

    @property
    def seen(self):
        return [stored(trial) for trial in self.past] if self._of_database else self.past

    def keep(self, proposals):
        for proposal in proposals:
            self.number += 1
            trial = past_of(
                self.search.space, proposal.raw, self.number, state="running", attrs=proposal.attrs
            )
            self.past.append(replace(trial, ordinal=proposal.ordinal))

    def end(self, trial):
        state = self.rng.choice(["done", "done", "done", "done", "infeasible", "void"])
        values = [self.rng.choice([self.rng.random(), 0.5]) for _ in self.search.directions]
        is_done = state == "done"
        return replace(
            trial,
            state=state,
            value=values[0] if is_done else None,
            further_values=tuple(values[1:]) if is_done else (),
            is_retried=state == "infeasible" and self.rng.random() < 0.2,
        )

    def pass_time(self):
        """Most trials end; some are deleted, change, or were never proposed here."""
        rng = self.rng
        ended = [
            self.end(trial) if rng.random() < (0.7 if trial.state == "running" else 0.03) else trial
            for trial in self.past
        ]
        self.past = [trial for trial in ended if rng.random() > 0.02]
        if rng.random() < 0.3:
            self.number += 1
            self.past.append(self.end(past_of(self.search.space, self.search.space.draw(rng), self.number)))
        if rng.random() < 0.2:
            warm = past_of(self.search.space, self.search.space.draw(rng), -self.number)
            further = tuple(0.5 for _ in self.search.further_directions)
            self.past.append(replace(warm, value=rng.random(), further_values=further))
        if rng.random() < 0.2:
            rng.shuffle(self.past)


def proposed(search, past, ordinals, **options):
    try:
        return propose(search, past, ordinals, **options)
    except Exhausted:
        return []


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    "algorithm", ["NSGA-II", "CMA-ES", "Evolution", "Anneal", "GridSearch", "QMC", "Random"]
)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(1, 10_000), of_database=st.booleans(), ahead=st.integers(1, 4))
def test_what_is_kept_changes_no_proposal(algorithm, space, seed, of_database, ahead):
    """The same proposals as those of a new process, at each step of a life, also if they are not stored."""
    if algorithm == "CMA-ES" and space == "nested":
        return
    search = replace(
        problem(MIXED, algorithm, seed=seed, **ARGUMENTS.get(algorithm, {})), space=SPACES[space]
    )
    life = Life(search, Random(seed), of_database=of_database)
    clear_caches()
    for step in range(12):
        ordinals = range(10 * step + 1, 10 * step + 1 + ahead)
        kept = proposed(search, life.seen, ordinals, cache_key="kept")
        assert kept == proposed(search, life.seen, ordinals)
        if step % 5 != 3:
            life.keep(kept)
        life.pass_time()


def plain_nsga(search, history, ordinal, arguments):
    """NSGA-II as a user of Optuna would call it: on a study of all informing trials."""
    sampler = optuna.samplers.NSGAIISampler(**arguments, seed=seed_of(search.seed, ordinal))
    raw, attrs = optuna_study._ask(search, history, sampler)
    return raw, {"nsga": attrs["NSGAIISampler:generation"]}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(1, 10_000),
    size=st.integers(2, 5),
    probabilities=st.tuples(*[st.sampled_from([0.1, 0.5, 0.9])] * 2, st.sampled_from([None, 0.3])),
    directions=st.lists(st.sampled_from(["minimize", "maximize"]), min_size=1, max_size=3),
    of_database=st.booleans(),
)
def test_nsga_proposes_what_optuna_does_while_generations_pass(
    seed, size, probabilities, directions, of_database
):
    """Over many generations, with late results of earlier ones, infeasible trials, deleted trials, trials without a
    generation; a space that is edited and edited back; equal values, several objectives."""
    names = ("crossover_prob", "swapping_prob", "mutation_prob")
    arguments = {"population_size": size, **dict(zip(names, probabilities, strict=True))}
    search = replace(
        problem(MIXED, "NSGA-II", seed=seed, direction=directions[0], **arguments),
        further_directions=tuple(directions[1:]),
    )
    edited = replace(search, space=parse({**MIXED, "x": uniform(0.2, 0.8)}))
    life = Life(search, Random(seed), of_database=of_database)
    clear_caches()
    generations = set()
    for step in range(14):
        ordinals = range(10 * step + 1, 10 * step + 1 + size)
        current = edited if step in (6, 7) else search
        kept = propose(current, life.seen, ordinals, cache_key="kept")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(optuna_study, "_storage_class", lambda: Plain)
            patch.setitem(ALGORITHMS, "NSGA-II", replace(ALGORITHMS["NSGA-II"], suggest=plain_nsga))
            try:
                assert kept == propose(current, life.past, ordinals)
            except ValueError:  # of a single parent, Optuna cannot select two
                assert len(kept) == len(ordinals)
        generations |= {proposal.attrs["nsga"] for proposal in kept}
        life.keep(kept)
        life.pass_time()
    assert max(generations) > 2


def test_nsga_goes_on_after_thousands_of_generations():
    """Optuna's own sampler looks for the parents of parents recursively, until Python stops it."""
    search = problem(MIXED, "NSGA-II", population_size=2)
    rng, space = Random(1), search.space
    past = [
        stored(past_of(space, space.draw(rng), number, value=rng.random(), attrs={"nsga": (number - 1) // 2}))
        for number in range(1, 6001)
    ]
    (proposal,) = propose(search, past, [6001])
    assert proposal.attrs == {"nsga": 3000}


@pytest.mark.parametrize("generation", ["a", -1, True, 1.0, None, [1], 10**9])
def test_nsga_ignores_a_generation_that_no_proposal_has(generation):
    """An imported file may contain anything."""
    search = problem(MIXED, "NSGA-II", population_size=2)
    rng, space = Random(1), search.space
    past = [
        past_of(space, space.draw(rng), number, value=rng.random(), attrs={"nsga": generation})
        for number in range(1, 9)
    ]
    (proposal,) = propose(search, past, [9])
    assert proposal.attrs == {"nsga": 0}


@pytest.mark.parametrize(
    ("algorithm", "space"),
    [
        *product(["NSGA-II", "CMA-ES", "Evolution", "Anneal", "GridSearch", "Random"], ["mixed", "finite"]),
        ("GridSearch", "constrained"),
        ("QMC", "constrained"),
    ],
)
def test_a_further_proposal_looks_at_no_trial_again(algorithm, space):
    """Three times as many trials take hardly more function calls."""
    search = replace(problem(MIXED, algorithm), space=SPACES[space])
    rng, space = Random(1), search.space
    attrs = [
        {"nsga": number // 50, "grid": [space.digest, number], "qmc": [space.digest, number]}
        for number in range(3000)
    ]
    past = [
        stored(past_of(space, space.draw(rng), number, value=rng.random(), attrs=attrs[number]))
        for number in range(3000)
    ]

    def calls(count):
        clear_caches()
        seen, profile = past[:count], cProfile.Profile()
        proposed(search, seen, [9000], cache_key="kept")
        with profile:
            proposed(search, seen, [9001], cache_key="kept")
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(3000) - calls(1000) < 500
