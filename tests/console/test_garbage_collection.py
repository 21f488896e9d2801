"""Long-running processes exempt their code from garbage collection, once it is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from console.garbage_collection import THRESHOLD

COUNTED = "import gc; print(gc.get_freeze_count(), gc.get_threshold()[0])"
READY = """
import console.celery, django
from celery.signals import worker_ready
django.setup()
import experiments.tasks
worker_ready.send(sender=None)
"""


@pytest.mark.parametrize(
    "process", [READY, "import granian; import console.wsgi"], ids=["worker and control", "web"]
)
def test_a_collection_does_not_visit_loaded_code(process: str, migrated: dict[str, str]) -> None:
    """Otherwise, it would take 0.1 s in the middle of a request, or of the claim of a trial."""
    run = [sys.executable, "-c", f"{process}\n{COUNTED}"]
    printed = subprocess.run(run, env=migrated, capture_output=True, text=True, check=True, timeout=60).stdout
    exempt, threshold = map(int, printed.split())
    assert exempt > 50_000
    assert threshold == THRESHOLD
