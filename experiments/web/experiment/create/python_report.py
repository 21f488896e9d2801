"""Report, before an experiment starts, on the Python that its command runs on a worker and the imports that it
lacks."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.models import PythonCheck, Queue
from trialdeck.script import Script, ScriptCall

WITHIN_S = 4.0  # a worker checks for requests twice a second
POLL_S = 0.1
SELECTING = ("PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")


@dataclass(frozen=True)
class PythonReport:
    """A worker's answer as messages for users: `fault` says why trials would fail, `note` why nothing is known."""

    worker: str = ""
    path: str = ""
    version: str = ""
    fault: str = ""
    note: str = ""


def python_report(
    script: Script, call: ScriptCall, *, queue: Queue, directory: str, environment: Mapping[str, str]
) -> PythonReport | None:
    """Ask a worker of the queue, and wait for a few seconds. None if the command has no interpreter or the queue no
    worker."""
    if not call.python or not queue.is_served():
        return None
    folder = os.path.join(directory, Path(call.script).parent)  # noqa: PTH118 (the worker expands ~)
    question = PythonCheck.ask(
        queue,
        python=call.python if "/" not in call.python else os.path.join(directory, call.python),  # noqa: PTH118
        folder=folder,
        modules=[[module.name, module.line] for module in script.imports],
        variables={name: value for name, value in environment.items() if name in SELECTING},
    )
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        question.refresh_from_db()
        if question.answer is not None:
            return _report(question, script)
    return PythonReport(note=f"No worker of the queue {queue} reported which Python it runs.")


def _report(question: PythonCheck, script: Script) -> PythonReport:
    answer, worker = question.answer or {}, question.worker
    path, missing = answer.get("path", question.python), set(answer.get("missing", ()))
    faults = [
        f"No module named '{module.name}' in {path} on worker {worker} ({script.name}, line {module.line})."
        for module in script.imports
        if module.name in missing
    ]
    problem = answer.get("problem", "")
    fault = f"{problem} (worker {worker})" if problem else " ".join(faults)
    return PythonReport(str(worker), path, answer.get("version", ""), fault)
