"""Another queue under way, with a worker of its own on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from experiments.models import Experiment, Queue, User
from tests.life.test_kill import ended, running
from tests.support.crew import Crew
from tests.support.waiting import eventually

WAITS = (
    'echo "{\\"value\\": 1, \\"final\\": true}" >> "$TRIALDECK_METRICS"\n'
    "if [ ${trial_id} = $TRIALDECK_EXPERIMENT_ID-1 ]; then until [ -e GATE ]; do sleep 0.1; done; fi"
)


def test_what_runs_ends_where_it_is_and_the_rest_starts_there(
    crew: Crew, started: Callable[..., Experiment], alice: User, tmp_path: Path
) -> None:
    """TD-U8: the first trial outlives the move on its worker; all the others are run by the other queue's."""
    gate = tmp_path / "gate"
    gpu = Queue.objects.create(name="gpu", is_open=True)
    crew.control()
    crew.worker(name="w1", slots=1)
    experiment = started(command=WAITS.replace("GATE", str(gate)), max_trials=4, concurrency=2)
    first = running(experiment)[0]
    experiment.move_to(gpu, by=alice)
    crew.worker(name="w2", slots=1, queue="gpu")
    eventually(lambda: experiment.trials.filter(state="succeeded").count() == 3, within=60, what="the others")
    first.refresh_from_db()
    assert first.state == "running"
    gate.touch()
    ended(experiment)
    workers = dict(experiment.trials.values_list("number", "worker__name"))
    assert workers == {1: "w1", 2: "w2", 3: "w2", 4: "w2"}
    assert set(experiment.trials.values_list("state", flat=True)) == {"succeeded"}
