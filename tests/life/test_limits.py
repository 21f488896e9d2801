"""Cores and memory of a trial's own, as real processes see them."""

from __future__ import annotations

import os
import sys

import pytest

from experiments.models import LogPiece, Queue, Worker
from experiments.scheduler.conductor import schedule
from experiments.worker.worker import LocalWorker
from tests.life.test_without_celery import live
from tests.support.threads import Thread

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

CORES = sorted(os.sched_getaffinity(0))

# The first uses more than its memory while the second is there, which goes on when the first has gone.
SCRIPT = """\
import os, pathlib, sys, time, trialdeck
number, room, together = trialdeck.get_sequence_id() + 1, pathlib.Path({folder!r}), {together}
print("cores", sorted(os.sched_getaffinity(0)), flush=True)
def there(name):
    while together and not (room / name).exists():
        time.sleep(0.01)
(room / f"draft-{{number}}").write_text(str(os.getpid()))
(room / f"draft-{{number}}").rename(room / str(number))
there(str(3 - number))
if number == 1:
    hoard = b"x" * (300 << 20)
elif together:
    while pathlib.Path("/proc", (room / "1").read_text()).exists():
        time.sleep(0.01)
trialdeck.report_final_result(1)
"""


def test_each_has_its_cores_and_one_that_uses_more_than_its_memory_fails(
    draft, broker, data, alice, tmp_path
):
    """TD-F8 PAI-S1: distinct cores, seen by the process; the kernel's word is evidence; the neighbour goes on. Where
    the worker may not make control groups, memory is only reserved, and that is said."""
    Queue.default()
    worker = LocalWorker(name="small", queues=["default"], slots=3, data=data, memory_mib=300)
    worker.start()
    together = min(2, len(CORES))
    script = tmp_path / "uses.py"
    script.write_text(SCRIPT.format(folder=str(tmp_path), together=together == 2))
    experiment = draft(
        command=f"{sys.executable} {script}", cores=1, memory_mib=128, concurrency=3, max_trials=2, retries=0
    )
    experiment.enqueue(by=alice)
    schedule(experiment.pk)
    for slot in [Thread(worker.work) for _ in range(together)]:
        slot.outcome()
    live(experiment, worker)
    worker.end()
    first, second = experiment.trials.all()
    assert [trial.memory_mib for trial in (first, second)] == [128, 128]
    for trial in (first, second):
        assert len(trial.cores) == 1 and f"cores {trial.cores}" in LogPiece.tail(trial.pk).decode()
    assert together == 1 or first.cores != second.cores
    assert second.state == "succeeded", second.detail
    limited_by = Worker.objects.get().limits_memory_by
    assert first.memory_limited_by == second.memory_limited_by == limited_by
    assert limited_by == ("" if worker.home is None else f"cgroup v{worker.home.group.version}")
    if worker.home is None:
        assert first.state == "succeeded"
    else:
        assert (first.state, first.failure) == ("failed", "out_of_memory")
        assert first.detail == "Memory use exceeded its limit of 128 MiB."
        assert not list(worker.home.group.path.glob(f"{worker.home.mark}*"))
