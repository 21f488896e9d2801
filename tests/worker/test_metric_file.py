"""Which trial a file with the metric counts for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.models import Experiment, Trial, Worker
from experiments.runner.output.json_metric import NoMetric
from experiments.worker.output.metric_file import MetricFile, SharedFiles
from experiments.worker.output.objective import neighbors


@pytest.fixture
def shared() -> SharedFiles:
    return SharedFiles()


def begin(path: Path, trial: str, shared: SharedFiles) -> MetricFile:
    return MetricFile(path, below=path.parent, names=["acc"], trial=trial, shared=shared)


def write(path: Path, value: float) -> None:
    path.write_text(f'{{"acc": {value}}}' + " " * int(value * 100))  # another size each time


def value_of(file: MetricFile) -> float | None:
    (report,) = file.results()
    return report.value


def test_one_after_the_other_share_a_file(tmp_path: Path, shared: SharedFiles) -> None:
    """TD-V4"""
    path = tmp_path / "result.json"
    for number in (1, 2):
        file = begin(path, f"e-{number}", shared)
        write(path, number)
        file.close()
        assert value_of(file) == number
    with pytest.raises(NoMetric, match="older than the trial"):
        begin(path, "e-3", shared).results()


def test_what_was_written_before_the_other_began_counts(tmp_path: Path, shared: SharedFiles) -> None:
    """TD-V4: #1 writes alone, then #2 runs beside it and writes after the end of #1."""
    path = tmp_path / "result.json"
    first = begin(path, "e-1", shared)
    write(path, 1)
    second = begin(path, "e-2", shared)
    first.close()
    write(path, 2)
    second.close()
    assert (value_of(first), value_of(second)) == (1, 2), "each is read at the end of its trial"


@pytest.mark.parametrize("through_a_link", [False, True])
def test_what_was_written_while_both_ran_counts_for_neither(
    tmp_path: Path, shared: SharedFiles, through_a_link: bool
) -> None:
    """TD-V4: also when the two reach the folder in different ways."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    path = tmp_path / "real" / "result.json"
    first = begin(path, "e-1", shared)
    second = begin(tmp_path / ("link" if through_a_link else "real") / "result.json", "e-2", shared)
    write(path, 1)
    first.close()
    second.close()
    for file, other in ((first, "e-2"), (second, "e-1")):
        with pytest.raises(NoMetric, match=f"may be the result of {other}, which ran"):
            file.results()


def test_a_trial_that_never_ran_stands_in_nobodys_way(tmp_path: Path, shared: SharedFiles) -> None:
    """TD-V4: its launch failed, and it was closed."""
    path = tmp_path / "result.json"
    begin(path, "e-1", shared).close()
    second = begin(path, "e-2", shared)
    write(path, 2)
    assert value_of(second) == 2


def test_on_a_network_filesystem_trials_of_other_machines_count(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-V4: they may have written the file, too."""
    experiment = running(taken=1, concurrency=2)
    there = Worker.register("w2", host="there", pid=2, queues=["default"], slots=1, lease_s=15)
    assert Trial.take(there, ["default"])
    first = experiment.trials.get(worker=worker)
    other = experiment.trials.get(worker=there)
    assert neighbors(first, everywhere=False) == []
    assert neighbors(first, everywhere=True) == [f"{experiment.public_id}-{other.number}"]
