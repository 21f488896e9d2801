"""Two workers with different queues side by side, as real processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Experiment, Queue, User, Worker
from tests.support.crew import Crew
from tests.support.waiting import eventually

pytestmark = [pytest.mark.timeout(150), pytest.mark.django_db(transaction=True)]

COMMAND = 'sleep 0.2\necho "{\\"value\\": 1, \\"final\\": true}" >> "$TRIALDECK_METRICS"'


def has_completed(experiment: Experiment) -> bool:
    experiment.refresh_from_db()
    return experiment.state == "completed"


def workers_of(experiment: Experiment) -> set[str]:
    return set(experiment.trials.values_list("worker__name", flat=True))


def test_each_worker_takes_only_from_its_own_queue_and_a_renamed_one_is_served_on(
    draft: Callable[..., Experiment], crew: Crew, alice: User
) -> None:
    """CML-Q2 CML-Q3: another queue's worker never takes it; after a rename the running worker goes on; each tells how
    its machine does."""
    root = User.objects.create_superuser("root", password="root-knows")
    gpu = Queue.create("gpu", by=root, is_open=True)
    crew.control()
    crew.worker(name="w1", slots=2, queue="default")
    crew.worker(name="w2", slots=2, queue="gpu")
    mine, theirs = (draft(name, command=COMMAND, max_trials=4) for name in ("mine", "theirs"))
    mine.enqueue(by=alice)
    theirs.enqueue(by=alice, queue=gpu)
    eventually(lambda: has_completed(mine) and has_completed(theirs), within=60, what="both searches")
    assert (workers_of(mine), workers_of(theirs)) == ({"w1"}, {"w2"})
    gpu.rename("accelerators", by=root)
    again = draft("again", command=COMMAND, max_trials=2)
    again.enqueue(by=alice, queue=gpu)
    eventually(lambda: has_completed(again), within=60, what="the search in the renamed queue")
    assert workers_of(again) == {"w2"}
    machine = Worker.objects.get(name="w2").machine
    assert machine["cores"] >= 1 and 0 < machine["memory_used"] < machine["memory"]
