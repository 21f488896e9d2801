"""Two workers of one name: the second leaves the first alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.models import Experiment, Queue, User, Worker
from experiments.scheduler.conductor import schedule
from experiments.worker.errors import CannotRun
from experiments.worker.recovery.boot_ids import Boots
from experiments.worker.worker import LocalWorker
from tests.life.conftest import crew  # noqa: F401  the fixture
from tests.support.crew import Crew
from tests.support.threads import Thread
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def make(broker: Valkey, tmp_path: Path) -> Callable[[str], LocalWorker]:
    Queue.default()
    return lambda folder: LocalWorker(name="twin", queues=["default"], slots=1, data=tmp_path / folder)


def test_a_second_worker_with_another_folder_ends_with_one_sentence(
    make: Callable[[str], LocalWorker],
) -> None:
    """TD-S2: on the same host; the first one's row, boot and trials stay as they are."""
    first = make("a")
    first.start()
    try:
        with pytest.raises(CannotRun, match="with another data folder: choose another --name") as taken:
            make("b").start()
        assert len(str(taken.value).splitlines()) == 1
        with pytest.raises(CannotRun):
            make("b").start()  # again, now that its folder exists
        assert Worker.objects.get().boot == first.row.boot and first.row.heartbeat()
    finally:
        first.end()
    second = make("b")
    second.start()
    second.end()


def test_a_killed_worker_takes_its_own_name_back_at_once(make: Callable[[str], LocalWorker]) -> None:
    """TD-X5 TD-S2: by the boots in its folder."""
    first = make("a")
    first.start()
    first.ending.set()  # as if killed: it does not sign off
    first._file.close()
    again = make("a")
    again.start()
    assert again.row.boot != first.row.boot and again.row.pk == first.row.pk
    again.end()


def test_who_was_replaced_ends_its_trials_and_itself_and_leaves_the_row_alone(
    make: Callable[[str], LocalWorker], draft: Callable[..., Experiment], alice: User
) -> None:
    """TD-S2: it hung for longer than its lease, and another one took the name."""
    first = make("a")
    first.start()
    ends: list[str] = []
    first.end_process = lambda: ends.append(first.why_ended)
    experiment = draft(command="sleep 60", max_trials=1, retries=0)
    experiment.enqueue(by=alice)
    schedule(experiment.pk)
    slot = Thread(first.work)
    eventually(lambda: experiment.trials.filter(state="running").exclude(pid=None).exists())
    other = Worker.register("twin", host="there", pid=7, queues=["default"], slots=1, lease_s=15)
    slot.outcome()
    eventually(lambda: ends)
    first.end()
    assert len(ends) == 1
    assert ends[0].startswith("Another worker named twin runs on there (process 7)")
    row = Worker.objects.get()
    assert (row.boot, row.host, row.gone_at) == (other.boot, "there", None)


def test_boots_are_noted_and_a_disk_without_room_is_survived(tmp_path: Path) -> None:
    """TD-S2"""
    boots = Boots(tmp_path)
    noted = [boots.new() for _ in range(7)]
    assert Boots(tmp_path).earlier == noted[-5:]
    (tmp_path / "boots.draft").symlink_to("/dev/full")
    assert boots.new() not in Boots(tmp_path).earlier
    (tmp_path / "boots").write_text("damaged")
    assert Boots(tmp_path).earlier == []


@pytest.mark.soak
def test_the_process_of_a_replaced_worker_ends_with_one_sentence(crew: Crew) -> None:  # noqa: F811
    """TD-S2: as a whole process."""
    process = crew.worker(name="twin")
    Worker.register("twin", host="there", pid=7, queues=["default"], slots=1, lease_s=15)
    assert process.wait(15) == 1
    assert crew.log.read_text().strip().splitlines()[-1] == (
        "Another worker named twin runs on there (process 7) with another data folder: choose another --name."
    )
