"""Trials that report and print without measure: a clear failure or a kept point, never a stuck experiment."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError

from experiments.models import Experiment, LogPiece, Trial, User
from experiments.models.trial.log import HEAD_BYTES, PIECE_BYTES, TAIL_BYTES
from experiments.models.trial.metric import MAX_POINTS
from experiments.worker.output import reports
from experiments.worker.worker import LocalWorker
from tests.life.test_without_celery import live, local  # noqa: F401  the fixture

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]

FINAL = """
import os
with open(os.environ["TRIALDECK_METRICS"], "a") as file:
    file.write('{"final": true, "value": 0.5}' + chr(10))
"""


@pytest.fixture
def run(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    alice: User,
    tmp_path: Path,
) -> Callable[[str], Trial]:
    """Runs one trial of this Python code to its end."""

    def run(code: str, **changes: object) -> Trial:
        script = tmp_path / "trial.py"
        script.write_text(code)
        experiment = draft(command=f"{sys.executable} {script}", max_trials=1, concurrency=1, **changes)
        experiment.enqueue(by=alice)
        state, trial = live(experiment, local).state, experiment.trials.get()
        assert state == ("completed" if trial.state == "succeeded" else "failed")
        return trial

    return run


@pytest.mark.parametrize("megabytes", [40, pytest.param(1024, marks=pytest.mark.soak)])
def test_a_flood_of_output_keeps_its_beginning_and_its_end(megabytes: int, run: Callable[..., Trial]) -> None:
    """PAI-S1: the first and the last 8 MiB are kept; where something was cut, the offsets say so."""
    trial = run(
        "import sys\nline = 'x' * 1023 + chr(10)\nprint('the beginning')\n"
        f"for n in range({megabytes}): sys.stdout.write(line * 1024)\n"
        "print('the end')" + FINAL
    )
    assert (trial.state, trial.value) == ("succeeded", 0.5)
    total = megabytes * 1024 * 1024 + len("the beginning\nthe end\n")
    assert trial.log_bytes == total
    sizes = list(LogPiece.objects.filter(trial=trial).values_list("offset", "size"))
    kept = sum(size for _, size in sizes)
    assert HEAD_BYTES + TAIL_BYTES <= kept <= HEAD_BYTES + 2 * TAIL_BYTES + 2 * PIECE_BYTES
    first = LogPiece.objects.filter(trial=trial).first()
    assert bytes(first.data).startswith(b"the beginning\n")
    assert LogPiece.tail(trial.pk).endswith(b"x\nthe end\n")
    gaps = [b[0] - sum(a) for a, b in zip(sizes, sizes[1:], strict=False) if b[0] != sum(a)]
    assert len(gaps) == 1 and gaps[0] + kept == total


def test_output_that_waited_for_the_database_keeps_its_end(
    run: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-S2: nothing was stored while the trial ran; its slot stores all of it, and the reason of the failure."""
    store, slot, refused = reports._store, threading.current_thread(), tmp_path / "refused"

    def store_in_the_slot(*arguments: Any) -> None:
        if threading.current_thread() is not slot:
            refused.touch()
            raise DatabaseError("away")
        store(*arguments)

    monkeypatch.setattr(reports, "_store", store_in_the_slot)
    trial = run(
        "import os, time\nprint('x' * 3_000_000, flush=True)\n"
        f"while not os.path.exists({str(refused)!r}): time.sleep(0.01)\nraise SystemExit('the reason')"
    )
    assert (trial.state, trial.log_bytes) == ("failed", 3_000_000 + len("\nthe reason\n"))
    assert LogPiece.tail(trial.pk).endswith(b"x\nthe reason\n")


@pytest.mark.parametrize("and_then", ["", "; os.symlink('/etc', folder)"])
def test_a_trial_that_deletes_its_folder_gets_a_note(and_then: str, run: Callable[..., Trial]) -> None:
    """TD-S2: otherwise nobody would know why its output is missing."""
    trial = run(
        "import os, shutil; folder = os.path.dirname(os.environ['TRIALDECK_PARAMETERS']); "
        f"print('text'); shutil.rmtree(folder){and_then}"
    )
    assert (trial.state, trial.failure) == ("failed", "no_metric")
    (note,) = trial.notes
    assert "was deleted while the trial ran. Its output, metrics and files are lost." in note


@pytest.mark.parametrize("points", [150_000, pytest.param(10_000_000, marks=pytest.mark.soak)])
def test_a_flood_of_points_is_cut_and_its_result_counts(points: int, run: Callable[..., Trial]) -> None:
    """PAI-S1: at most 100,000 points a series; the note says how many were not kept."""
    trial = run(
        "import os\n"
        "with open(os.environ['TRIALDECK_METRICS'], 'a') as file:\n"
        f"    for n in range({points}):\n"
        '        file.write(\'{"name": "default", "value": %d}\\n\' % n)' + FINAL
    )
    assert (trial.state, trial.value) == ("succeeded", 0.5)
    assert trial.points.count() == MAX_POINTS
    assert trial.notes == [f"{points - MAX_POINTS:,} points were dropped: a series has at most 100,000."]


def test_noise_in_the_output_and_in_the_metrics_is_survived(run: Callable[..., Trial]) -> None:
    """PAI-S1: control characters, NUL bytes, invalid UTF-8, lines without end, lines that are no reports."""
    trial = run(
        "import os, sys\n"
        "sys.stdout.buffer.write(bytes(range(256)) * 1000 + b'\\x1b[2J' + b'y' * 10_000_000)\n"
        "with open(os.environ['TRIALDECK_METRICS'], 'ab') as file:\n"
        '    file.write(bytes(range(256)) + b\'\\n{"value": NaN}\\n{"value": "text"}\\n\' + b\'z\' * 1_000_000)\n'
        '    file.write(b\'\\n[1]\\n{"name": "\\\\u0000", "value": 1}\\n\')\n' + FINAL
    )
    assert (trial.state, trial.value) == ("succeeded", 0.5)
    assert list(trial.points.values_list("value", "text")) == [(None, "NaN"), (None, "text")]
    assert "such lines skipped" in trial.notes[0]


@pytest.mark.parametrize(
    ("value", "detail"),
    [("NaN", "NaN"), ("Infinity", "Infinity"), ('"good"', "good"), ("null", "null"), ("[1]", "[1]")],
)
def test_a_final_result_that_is_no_number_fails_the_trial(
    value: str, detail: str, run: Callable[..., Trial]
) -> None:
    """PAI-S1: bad_metric, with what was reported."""
    trial = run(FINAL.replace("0.5", value.replace('"', '\\"')))
    assert (trial.state, trial.failure) == ("failed", "bad_metric")
    assert detail in trial.detail


def test_a_pattern_that_explodes_elsewhere_is_harmless(run: Callable[..., Trial]) -> None:
    """TD-F3: matched in linear time."""
    trial = run(
        "print('a' * 1_000_000 + '!')\nprint('aaa 0.25')",
        source="stdout",
        pattern=r"^(?:a+)+ (?P<value>\S+)$",
    )
    assert (trial.state, trial.value) == ("succeeded", 0.25)
