"""New proposals are stored by plain SQL as the ordinary verbs store them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Experiment, Outcome, Overtaken, User, Worker
from experiments.scheduler import proposal_rows
from experiments.search.engine import Proposal
from tests.people import look_at
from tests.worker.test_settle import after, rows


@pytest.mark.parametrize("algorithm", ["Random", "TPE"])
@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("budget", [3, 5, 60])
def test_it_writes_what_the_ordinary_verbs_write(
    running: Callable[..., Experiment],
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
    concurrency: int,
    budget: int,
) -> None:
    """TD-X5 TD-X8: every table, after a result: with suggestions that were ready, and without any."""
    experiment = running(
        max_trials=budget, concurrency=concurrency, taken=min(concurrency, 2), algorithm=algorithm
    )
    stored: list[bool] = []
    store = proposal_rows.store

    def plain(*args: object) -> bool:
        stored.append(store(*args))
        return stored[-1]

    def a_result(store: Callable[..., bool], *, has_suggestions: bool) -> Callable[[], None]:
        def steps() -> None:
            monkeypatch.setattr(proposal_rows, "store", store)
            if not has_suggestions:
                experiment.suggestions.all().delete()
            Experiment.objects.get(pk=experiment.pk).trials.filter(state="running").first().settle(
                Outcome(value=0.5, exit_code=0)
            )
            look_at(experiment)

        return steps

    for has_suggestions in (True, False):
        _, by_verbs = after(a_result(lambda *_: False, has_suggestions=has_suggestions))
        _, by_statements = after(a_result(plain, has_suggestions=has_suggestions))
        for table, contents in by_verbs.items():
            assert by_statements[table] == contents, table
    assert all(stored) and (stored or budget == 3 or concurrency == 1), "the common case"


def proposal(ordinal: int) -> Proposal:
    return Proposal(ordinal, {"x": 0.5}, {"x": 0.5}, {})


def test_who_was_overtaken_writes_nothing(running: Callable[..., Experiment], worker: Worker) -> None:
    """TD-X8: two processes proposed at once."""
    experiment = Experiment.objects.select_related("queue", "revision").get(pk=running(taken=1).pk)
    Experiment.objects.filter(pk=experiment.pk).update(last_ordinal=experiment.last_ordinal + 1)
    before = rows()
    with pytest.raises(Overtaken):
        proposal_rows.store(experiment, [proposal(experiment.last_ordinal + 1)])
    assert rows() == before


@pytest.mark.parametrize("end", ["stop", "pause"])
def test_nothing_is_proposed_after_a_stop_or_a_pause(
    running: Callable[..., Experiment], worker: Worker, alice: User, end: str
) -> None:
    """TD-X8: the ordinary verbs refuse it."""
    experiment = Experiment.objects.select_related("queue", "revision").get(pk=running(taken=1).pk)
    getattr(Experiment.objects.get(pk=experiment.pk), end)(by=alice)
    before = rows()
    assert not proposal_rows.store(experiment, [proposal(experiment.last_ordinal + 1)])
    assert rows() == before
