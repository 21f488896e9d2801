"""What is kept of past trials gives the proposals that Optuna gives for a study made anew."""

from copy import copy
from random import Random

import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.search.engine import clear_caches, optuna_study, propose
from experiments.search.space import parse

from .spaces import documents
from .test_engine import past_of, problem

pytestmark = pytest.mark.once


class Plain(optuna.storages.InMemoryStorage):
    """Takes past trials as anybody would add them."""

    def fill(self, study_id, trials):
        for trial in trials:
            plain = copy(trial)
            plain.__class__ = optuna.trial.FrozenTrial
            self.create_new_trial(study_id, template_trial=plain)


@pytest.mark.parametrize("algorithm", ["TPE", "NSGA-II"])
@settings(max_examples=40, deadline=None)
@given(document=documents, seed=st.integers(1, 9), count=st.integers(0, 40))
def test_proposals_are_optunas_own(algorithm, document, seed, count):
    """Whole trials and parts, running, infeasible and void ones, equal values, nested choices."""
    space, rng = parse(document), Random(seed)
    assume(space.size is None or space.size > count + 2)
    past = []
    for number, raw in enumerate(space.draws(count, seed=seed), start=1):
        state = rng.choice(["done"] * 6 + ["running", "infeasible", "void"])
        value = rng.choice([rng.random(), 0.5]) if state == "done" else None
        past.append(past_of(space, raw, number, state=state, value=value))
    ours = problem(document, algorithm, seed=seed)
    kept = [propose(ours, past, [count + 1, count + 2], cache_key="kept") for _ in range(2)]
    clear_caches()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna_study, "_storage_class", lambda: Plain)
        patch.setattr(optuna_study, "_tpe_class", lambda: optuna.samplers.TPESampler)
        plain = propose(ours, past, [count + 1, count + 2])
    assert kept == [plain, plain]
