"""Answers of a worker to questions about its Python, before an experiment starts."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import Error as DatabaseError
from django.db import close_old_connections

from experiments.models import PythonCheck, Worker
from experiments.runner.boundary import BoundaryError
from experiments.runner.shell_variables import inherited
from experiments.worker.boundary import Boundary
from experiments.worker.db_connection import give_back_connection
from trialdeck.script.interpreters import check
from trialdeck.script.model import ImportedModule

if TYPE_CHECKING:
    from experiments.worker.worker import LocalWorker

logger = logging.getLogger(__name__)

LOOK_S = 0.5  # between two queries for questions


def run(worker: LocalWorker) -> None:
    """Answer questions until the worker ends, in a thread of its own, because an interpreter may hang. Inside a
    container another one runs, about which nothing is known here."""
    while not worker.shelf.engine and not worker.ending.wait(LOOK_S):
        try:
            answer_next(worker.row, worker.queues, worker.boundary)
        except DatabaseError as error:
            logger.warning("Questions about Python wait for the database: %s", error)
            close_old_connections()
        except Exception:  # a question that cannot be answered must not affect trials
            logger.exception("A question about Python could not be answered")
        give_back_connection()


def answer_next(worker: Worker, queues: Collection[str], boundary: Boundary) -> bool:
    """Answer the next question for a worker of these queues. Return whether there was one. A person
    chooses the interpreter, so it runs within the boundary."""
    question = PythonCheck.take(worker, queues)
    if question is None:
        return False
    question.settle(_answer(question, boundary))
    return True


def _answer(question: PythonCheck, boundary: Boundary) -> dict[str, Any]:
    """Check the interpreter that a trial would get, in the environment of a trial."""
    folder = Path(question.folder).expanduser()
    if not folder.is_dir():
        return {"problem": f"The folder {folder} does not exist."}
    modules = [ImportedModule(str(name), int(line)) for name, line in question.modules]
    try:
        prefix, base = boundary.for_a_check(folder)
    except BoundaryError as error:
        return {"problem": str(error)}
    env = {**inherited(base), **question.variables}
    interpreter = check(question.python, modules, folder=folder, env=env, prefix=prefix)
    return {**asdict(interpreter), "missing": [module.name for module in interpreter.missing]}
