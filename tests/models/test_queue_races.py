"""Two at once on two connections: the line keeps an order, and shares hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from experiments.models import Experiment, Queue, Refused, Trial, User, Worker
from tests.people import look_at
from tests.support.threads import Thread
from tests.support.valkey import Valkey

pytestmark = pytest.mark.django_db(transaction=True)


def fresh(experiment: Experiment) -> Experiment:
    return Experiment.objects.get(pk=experiment.pk)


def test_moves_at_once_happen_one_after_the_other(
    draft: Callable[..., Experiment], alice: User, broker: Valkey
) -> None:
    """CML-Q3: all to the front, all to the back, all before the same one: no place is taken twice, nobody is lost."""
    made = [draft(name) for name in "abcdef"]
    for experiment in made:
        experiment.enqueue(by=alice)
    last = made[-1]
    for move in (
        lambda experiment: experiment.front(by=alice),
        lambda experiment: experiment.back(by=alice),
        lambda experiment: experiment.before(last, by=alice),
    ):
        threads = [Thread(partial(move, fresh(experiment))) for experiment in made[:-1]]
        for thread in threads:
            thread.outcome()
        places = list(Queue.default().active_experiments().values_list("name", "position"))
        assert sorted(name for name, _ in places) == list("abcdef")
        assert len({position for _, position in places}) == 6
    assert places[-1][0] == "f"


def test_a_place_squeezed_in_while_others_move_is_the_one_asked_for(
    draft: Callable[..., Experiment], alice: User, broker: Valkey
) -> None:
    """CML-Q3: making room between neighbours (all places are written anew) does not undo a move at that moment."""
    made = [draft(name) for name in "abcd"]
    for place, experiment in enumerate(made):
        experiment.enqueue(by=alice)
        Experiment.objects.filter(pk=experiment.pk).update(position=place)  # no room between any two
    a, b, c, d = map(fresh, made)
    squeezes = Thread(lambda: d.before(b, by=alice))
    moves = Thread(lambda: a.back(by=alice))
    updates = Thread(lambda: c.describe(by=alice, name="C"))
    for thread in (squeezes, moves, updates):
        thread.outcome()
    assert list(Queue.default().active_experiments().values_list("name", flat=True)) == ["d", "b", "C", "a"]


def test_slots_that_claim_at_once_keep_to_a_persons_share(
    draft: Callable[..., Experiment], alice: User, root: User, worker: Worker, broker: Valkey
) -> None:
    """Claims of different experiments do not share a turn; the share holds all the same."""
    Queue.default().share(by=root, per_experiment=None, per_person=3)
    for name in "abcd":
        experiment = draft(name, concurrency=2)
        experiment.enqueue(by=alice)
        look_at(experiment)
    threads = [Thread(lambda: Trial.take(worker, ["default"])) for _ in range(8)]
    taken = [trial for thread in threads if (trial := thread.outcome())]
    assert len({trial.pk for trial in taken}) == len(taken) == 3
    assert Trial.objects.filter(state="running").count() == 3


def test_who_enqueues_while_the_queue_is_deleted_is_not_lost(
    draft: Callable[..., Experiment], alice: User, root: User, broker: Valkey
) -> None:
    """CML-Q3: either the experiment is refused, or the queue is, or it was sent back; it never stands in nothing."""
    for attempt in range(6):
        gpu = Queue.create("gpu", by=root, is_open=True)
        experiments = [draft(f"{name}{attempt}") for name in "ab"]
        experiments[0].enqueue(by=alice, queue=gpu)
        deletes = Thread(partial(gpu.delete_for_good, by=root))
        enqueues = Thread(partial(fresh(experiments[1]).enqueue, by=alice, queue=gpu))
        for thread in (deletes, enqueues):
            try:
                thread.outcome()
            except Refused:
                continue
        for experiment in map(fresh, experiments):
            is_queued = (
                experiment.queue is not None
                and experiment.queue.active_experiments().filter(pk=experiment.pk).exists()
            )
            assert (experiment.state == "pending") == is_queued, (experiment.state, experiment.queue)
        if Queue.objects.filter(name="gpu").exists():
            Queue.objects.get(name="gpu").delete_for_good(by=root)
