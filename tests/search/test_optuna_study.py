"""The proposals of algorithms that use Optuna's samplers equal those of Optuna for a new study."""

from copy import copy
from dataclasses import replace
from random import Random

import numpy
import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

from experiments.search.engine import ALGORITHMS, clear_caches, optuna_study, propose, truncated_normal
from experiments.search.engine.parzen import PastParzenEstimator
from experiments.search.space import parse, seed_of

from .spaces import documents
from .test_engine import choice, past_of, problem, stored, uniform

pytestmark = pytest.mark.once


class Plain(optuna.storages.InMemoryStorage):
    """Takes past trials as anybody would add them."""

    def fill(self, study_id, trials):
        for trial in trials:
            self.create_new_trial(study_id, template_trial=copy(trial))


def plain_tpe(search, history, ordinal, arguments):
    """TPE as a user of Optuna would call it: Optuna's sampler, on a study of all informing trials."""
    storage, seed = Plain(), seed_of(search.seed, ordinal)
    study = optuna.create_study(
        storage=storage,
        directions=search.directions,
        sampler=optuna.samplers.TPESampler(**arguments, seed=seed),
    )
    study_id = storage.get_study_id_from_name(study.study_name)
    storage.fill(study_id, [optuna_study._frozen_trial(trial) for trial in history.informing])
    return optuna_study._assemble(search.space, study.ask()), {}


def proposals_of_optuna(search, past, ordinals):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna_study, "_storage_class", lambda: Plain)
        patch.setitem(ALGORITHMS, "TPE", replace(ALGORITHMS["TPE"], suggest=plain_tpe))
        return propose(search, past, ordinals)


def random_trial(
    space, number, raw, rng, *, objectives=1, states="done done done done running infeasible void"
):
    """A trial in any state; values that many trials have are frequent."""
    trial = past_of(
        space, raw, number, state=rng.choice(states.split()), value=rng.choice([rng.random(), 0.5])
    )
    if trial.state == "infeasible":
        return replace(trial, is_retried=rng.random() < 0.2)
    further = tuple(rng.choice([rng.random(), -1.0]) for _ in range(1, objectives))
    return replace(trial, further_values=further if trial.state == "done" else ())


@pytest.mark.parametrize("algorithm", ["TPE", "NSGA-II"])
@settings(max_examples=40, deadline=None)
@given(document=documents, seed=st.integers(1, 9), count=st.integers(0, 40), of_database=st.booleans())
def test_proposals_are_optunas_own(algorithm, document, seed, count, of_database):
    """Whole trials and parts, running, infeasible and void ones, equal values, nested choices."""
    space, rng = parse(document), Random(seed)
    assume(space.size is None or space.size > count + 2)
    past = [
        random_trial(space, number, raw, rng)
        for number, raw in enumerate(space.draws(count, seed=seed), start=1)
    ]
    search = problem(document, algorithm, seed=seed)
    seen = [stored(trial) for trial in past] if of_database else past
    kept = [propose(search, seen, [count + 1, count + 2], cache_key="kept") for _ in range(2)]
    clear_caches()
    plain = proposals_of_optuna(search, past, [count + 1, count + 2])
    assert kept == [plain, plain]


TPE_ARGUMENTS = st.fixed_dictionaries(
    {
        "n_startup_trials": st.sampled_from([0, 1, 5, 10]),
        "n_ei_candidates": st.sampled_from([1, 24, 40]),
        "constant_liar": st.booleans(),
    }
).flatmap(
    lambda arguments: st.sampled_from([(True, False), (True, True), (False, False)]).map(
        lambda joint: {**arguments, "multivariate": joint[0], "group": joint[1]}
    )
)


@settings(max_examples=60, deadline=None)
@given(
    spaces=st.tuples(documents, documents),
    arguments=TPE_ARGUMENTS,
    directions=st.lists(st.sampled_from(["minimize", "maximize"]), min_size=1, max_size=2),
    count=st.integers(0, 60),
    seed=st.integers(1, 10_000),
    of_database=st.booleans(),
)
def test_tpe_proposes_the_same_while_trials_change(spaces, arguments, directions, count, seed, of_database):
    """Trials end, fail, are rerun, vanish and join in between, the space is edited and edited back: after each change,
    the proposals of a process that kept the past are those of a new process, and of Optuna."""
    rng = Random(seed)
    parsed = [parse(document) for document in spaces]
    assume(all(space.size is None or space.size > 200 for space in parsed))
    of_spaces = [
        replace(
            problem(document, "TPE", seed=seed, direction=directions[0], **arguments),
            further_directions=tuple(directions[1:]),
        )
        for document in spaces
    ]

    def some(numbers, **options):
        return [
            random_trial(space, number, space.draw(rng), rng, objectives=len(directions), **options)
            for number in numbers
            for space in [rng.choice([parsed[0], parsed[0], parsed[1]])]
        ]

    past = some(range(10, 10 + count))
    for step in range(4):
        ordinal = 1000 + 10 * step
        search = of_spaces[0 if step != 2 else 1]
        seen = [stored(trial) for trial in past] if of_database else past
        kept = propose(search, seen, [ordinal, ordinal + 1], cache_key="kept")
        if step % 2:
            clear_caches()
            assert propose(search, seen, [ordinal, ordinal + 1], cache_key="kept") == kept
        assert proposals_of_optuna(search, past, [ordinal, ordinal + 1]) == kept
        ended = [
            random_trial(parsed[0], trial.number, trial.raw, rng, objectives=len(directions))
            if parsed[0].fits(trial.raw) and (trial.state == "running" or rng.random() < 0.05)
            else trial
            for trial in past
        ]
        past = [trial for trial in ended if rng.random() > 0.02]
        past += some(range(200 + 20 * step, 200 + 20 * step + rng.randrange(8)))
        if rng.random() < 0.3:  # a trial before all others, as the results of a warm start are
            past += some([-1 - step], states="done")
        if rng.random() < 0.3:
            rng.shuffle(past)


def test_tpe_with_thousands_of_trials_and_many_candidates():
    document = {
        **{f"x{n}": uniform(-1, 1) for n in range(9)},
        "rate": {"_type": "loguniform", "_value": [1e-5, 1]},
        "layers": {"_type": "randint", "_value": [1, 40]},
        "kind": choice("a", "b", "c"),
    }
    space, rng = parse(document), Random(2)
    past = [
        random_trial(space, number, raw, rng) for number, raw in enumerate(space.draws(3000, seed=1), start=1)
    ]
    search = problem(document, "TPE", direction="maximize", n_ei_candidates=70)
    kept = propose(search, past[:-9], [3001, 3002], cache_key="kept")
    assert kept == proposals_of_optuna(search, past[:-9], [3001, 3002])
    kept = propose(search, past, [3003], cache_key="kept")
    assert kept == proposals_of_optuna(search, past, [3003])
    clear_caches()
    assert kept == propose(search, past, [3003], cache_key="kept")


DISTRIBUTIONS = (
    optuna.distributions.FloatDistribution(-3, 7.5),
    optuna.distributions.FloatDistribution(1e-6, 0.1, log=True),
    optuna.distributions.FloatDistribution(1e9, 1e9 + 1e-3),
    optuna.distributions.IntDistribution(-2, 300),
    optuna.distributions.IntDistribution(1, 50, log=True),
    optuna.distributions.CategoricalDistribution(range(4)),
)


@pytest.mark.parametrize("kernels", [0, 1, 40, 3000])
@pytest.mark.parametrize("parameters", [1, 6, 7, 9, 13, 24, 200, 280])
def test_the_densities_are_optunas_to_the_last_bit(kernels, parameters):
    """All sums have the same order, so ties are decided in the same way; also at and outside the bounds."""
    kernels = min(kernels, 120_000 // parameters)
    rng = numpy.random.default_rng(kernels + parameters)
    kinds = DISTRIBUTIONS if parameters < 200 else DISTRIBUTIONS[:2]
    space = {f"p{n:03}": kinds[n % len(kinds)] for n in range(parameters)}

    def drawn(distribution, count):
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            return rng.integers(0, 4, count).astype(float)
        if isinstance(distribution, optuna.distributions.IntDistribution):
            return rng.integers(distribution.low, distribution.high + 1, count).astype(float)
        low, high = distribution.low, distribution.high
        values = (
            low * (high / low) ** rng.random(count) if distribution.log else rng.uniform(low, high, count)
        )
        values[rng.random(count) < 0.1], values[rng.random(count) < 0.1] = low, high
        return values.clip(low, high)

    past = {name: drawn(distribution, kernels) for name, distribution in space.items()}
    of_sampler = optuna.samplers.TPESampler()._parzen_estimator_parameters
    ours = PastParzenEstimator(past, space, of_sampler)
    optunas = _ParzenEstimator(past, space, of_sampler)
    outside = {name: drawn(distribution, 3) for name, distribution in space.items()}
    outside["p000"][1] = -4
    for samples in (
        {name: drawn(distribution, 40) for name, distribution in space.items()},
        optunas.sample(numpy.random.RandomState(1), 24),
        outside,
    ):
        numpy.testing.assert_array_equal(ours.log_pdf(samples), optunas.log_pdf(samples))
    for seed in range(5):
        candidates = optunas.sample(numpy.random.RandomState(seed), 24)
        numpy.testing.assert_array_equal(
            ours.sample(numpy.random.RandomState(seed), 24), [candidates[name] for name in space]
        )


@numpy.errstate(all="ignore")
@pytest.mark.parametrize("case", ["usual", "at a bound", "right of it", "at both ends", "far away", "many"])
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-9, 0.1, 1, 10, 100]))
def test_the_truncated_normal_is_optunas_to_the_last_bit(case, seed, scale):
    """Points in both tails and between, bounds on both sides of the mean, and more values than Optuna computes one by
    one."""
    rng = numpy.random.default_rng(seed)
    shape = (2, 1100) if case == "many" else (rng.integers(1, 4), rng.integers(1, 40))
    low, high, shares = -scale * rng.random(shape), scale * rng.random(shape), rng.random(shape)
    if case == "at a bound":
        low[0, 0] = high[-1, -1] = 0
    elif case == "right of it":
        low += scale * rng.normal(size=shape)
        high = low + scale * rng.random(shape)
    elif case == "at both ends":
        shares[0, 0], shares[-1, -1] = 0, 1
    elif case == "far away":
        shares **= rng.choice([20, 0.01])
    pairs = [
        (truncated_normal.quantiles, _truncnorm.ppf, (shares, low, high)),
        (truncated_normal.log_gauss_mass, _truncnorm._log_gauss_mass, (low, high)),
        (truncated_normal.log_ndtr, _truncnorm._log_ndtr, (low.ravel(),)),
        (truncated_normal.log_ndtr, _truncnorm._log_ndtr, (high.ravel(),)),
    ]
    for ours, optunas, arguments in pairs:
        numpy.testing.assert_array_equal(ours(*arguments), optunas(*arguments))
