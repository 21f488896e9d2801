"""Attempts after a first one, as real processes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.models import Experiment, User
from experiments.worker.worker import LocalWorker
from tests.life.test_without_celery import live, local  # noqa: F401  the fixture

pytestmark = pytest.mark.django_db(transaction=True)

GOES_ON = """
import os, pathlib, sys, trialdeck
before = os.environ.get("TRIALDECK_PREVIOUS_OUTPUT_DIR")
number = int(trialdeck.get_sequence_id()) + 1
if number == 1:
    assert before is None, before
    pathlib.Path(os.environ["TRIALDECK_OUTPUT_DIR"], "epoch").write_text("3")
    sys.exit("ended after epoch 3")
if number == 2:
    pathlib.Path(os.environ["NNI_OUTPUT_DIR"], "trial.log").touch()  # as `import nni` does
    sys.exit(f"ended before it saved anything, after {pathlib.Path(before, 'epoch').read_text()}")
trialdeck.report_final_result(int(pathlib.Path(before, "epoch").read_text()) + 1)
"""


def test_a_rerun_goes_on_from_the_checkpoint_of_the_attempt_before(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    tmp_path: Path,
) -> None:
    """TD-X2: the output folder of the nearest attempt that left something is handed to the next."""
    script = tmp_path / "trial.py"
    script.write_text(GOES_ON)
    experiment = draft(command=f"{sys.executable} {script}", max_trials=1, concurrency=1)
    experiment.enqueue(by=alice)
    for attempt in (1, 2, 3):
        assert live(experiment, local).state == ("failed" if attempt < 3 else "completed")
        trial = experiment.trials.get(attempt=attempt)
        if attempt < 3:
            assert trial.failure == "exit_code", trial.detail
            experiment.resume(by=alice, rerun_failed=True)
    assert experiment.trials.get(number=2).detail == "ended before it saved anything, after 3"
    assert (trial.state, trial.value, trial.rerun_of.number) == ("succeeded", 4, 2)
    assert experiment.proposed_count == 1
