"""A running installation that is broken at random, for a minute of each kind, or as long as `make soak MINUTES=5
SEED=3` says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.crew import ROOT

MINUTES, SEED = os.environ.get("CHAOS_MINUTES", "1"), os.environ.get("CHAOS_SEED", "1")
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
@pytest.mark.timeout(400 + 60 * float(MINUTES))
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_wrong_twice_stuck_or_left(kind: str) -> None:
    """TD-S2."""
    options = ["--minutes", MINUTES, "--seed", SEED, "--json", *KINDS[kind]]
    chaos = [sys.executable, "-m", "benchmarks.chaos", *options]
    done = subprocess.run(chaos, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["trials"] > 0 and report["faults"]
    assert "ended by itself" not in report["faults"], "a service ended"
