"""What the tests of whole lives share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.crew import Crew, processes_with
from tests.support.engine import EngineOfTests
from tests.support.valkey import Valkey

if TYPE_CHECKING:  # pytest reads this file before Django has its settings
    from experiments.models import Experiment, User


@pytest.fixture
def crew(broker: Valkey, data: Path, transactional_db: None) -> Iterator[Crew]:
    """Workers and controls of their own processes; nothing of them or of their trials is left afterwards."""
    from experiments.models import Queue

    Queue.default()
    crew = Crew(data)
    yield crew
    crew.end()
    left = processes_with(f"TRIALDECK_PARAMETERS={data}")
    assert not left, f"processes of trials are left: {left}"


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineOfTests]:
    """A container engine with `IMAGE`, for this process and all that it starts. Nothing is left in it."""
    # pytest's own folders are too long for the sockets of podman, which then waits 20 s for the end of each container.
    with tempfile.TemporaryDirectory(prefix="engine-") as folder, pytest.MonkeyPatch.context() as patch:
        engine = EngineOfTests(Path(folder))
        engine.load()
        for name, value in engine.env.items():
            patch.setenv(name, value)
        yield engine
        left = engine.containers()
        engine.end()
        assert not left, f"containers are left: {left}"


@pytest.fixture
def started(draft: Callable[..., Experiment], alice: User) -> Callable[..., Experiment]:
    """Makes experiments and enqueues them."""

    def make(name: str = "first", **changes: object) -> Experiment:
        experiment = draft(name, **changes)
        experiment.enqueue(by=alice)
        return experiment

    return make
