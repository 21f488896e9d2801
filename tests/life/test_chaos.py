"""A running installation that is broken at random, for a minute of each kind."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.crew import ROOT

KINDS = {
    "answers to COMMITs are lost": ["--pg", "--only", "answers lost"],
    "the broker answers with errors": [
        "--only",
        "broker hung",
        "broker full",
        "broker read-only",
        "broker stale",
    ],
    "everything, on one machine": [],
    "everything, on PostgreSQL": ["--pg"],
}


@pytest.mark.soak
@pytest.mark.once
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_wrong_twice_stuck_or_left(kind: str) -> None:
    """TD-S2."""
    chaos = [sys.executable, "-m", "benchmarks.chaos", "--minutes", "1", "--json", *KINDS[kind]]
    done = subprocess.run(chaos, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["trials"] > 0 and report["faults"]
    assert "ended by itself" not in report["faults"], "a service ended"
