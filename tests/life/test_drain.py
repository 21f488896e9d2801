"""SIGTERM of a worker: it drains until a deadline, and nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.models import Experiment, Worker
from tests.life.test_kill import SPACE, check_whole, ended, running
from tests.support.crew import Crew
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def waiting_search(started: Callable[..., Experiment], tmp_path: Path) -> Experiment:
    """A search of four trials, two at a time, that end once the file `go` exists."""
    command = (
        f"echo $TRIALDECK_TRIAL_ID $$ >> {tmp_path}/diary\n"
        f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done\n"
        'echo "{\\"value\\": "${x}", \\"final\\": true}" >> "$TRIALDECK_METRICS"'
    )
    return started(command=command, space_document=SPACE, max_trials=4, concurrency=2, stop_grace_s=1)


def test_a_draining_worker_finishes_its_trials_and_takes_no_more(
    crew: Crew, waiting_search: Experiment, tmp_path: Path
) -> None:
    """TD-S1 TD-S2: the row says until when; an idle worker ends long before."""
    crew.control()
    worker = crew.worker("--drain", "600")
    held = running(waiting_search, 2)
    worker.send_signal(signal.SIGTERM)
    row = Worker.objects.get()
    eventually(lambda: row.refresh_from_db() or row.draining_until, what="the row to say so")
    assert row.takes_no_trials and not row.is_draining and not Worker.objects.serving()
    assert worker.poll() is None
    (tmp_path / "go").touch()
    assert worker.wait(30) == 0
    for trial in held:
        trial.refresh_from_db()
        assert trial.state == "succeeded"
    assert waiting_search.trials.exclude(state="waiting").count() == 2
    crew.worker()
    ended(waiting_search)
    check_whole(waiting_search, tmp_path / "diary", trials=4)
    row.refresh_from_db()
    assert row.draining_until is None and not row.takes_no_trials
    assert not waiting_search.trials.filter(state="failed")


@pytest.mark.parametrize(
    ("drain_s", "second"), [("1", None), ("600", signal.SIGTERM), ("600", signal.SIGINT)]
)
def test_what_still_runs_at_the_deadline_or_at_a_second_signal_is_retried(
    crew: Crew, waiting_search: Experiment, tmp_path: Path, drain_s: str, second: int | None
) -> None:
    """TD-S1 TD-S2: stopped gracefully, back to the queue at no cost, and counted once."""
    crew.control()
    worker = crew.worker("--drain", drain_s)
    held = running(waiting_search, 2)
    worker.send_signal(signal.SIGTERM)
    if second:
        eventually(lambda: Worker.objects.get().draining_until, what="draining")
        worker.send_signal(second)
    assert worker.wait(30) == 0
    for trial in held:
        trial.refresh_from_db()
        assert (trial.failure, trial.detail) == ("worker_lost", "Its worker was shut down.")
    (tmp_path / "go").touch()
    crew.worker()
    ended(waiting_search)
    check_whole(waiting_search, tmp_path / "diary", trials=4)
