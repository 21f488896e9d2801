"""A question to a worker, before an experiment starts: does the Python of a command have what the script imports?"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db import models

from experiments import database_clock

from . import plain_sql
from .compute.queue import Queue
from .compute.worker import Worker
from .fields import StampField

KEPT_FOR = timedelta(minutes=10)


class PythonCheck(models.Model):
    """The row is the message: a worker of the queue takes and answers it, and it is deleted soon afterwards.

    `modules` are [name, line] pairs; `variables` are what of the experiment's environment selects a Python. `answer` is
    {"path", "version", "missing": [name, …], "problem"}; None until there is one.
    """

    queue = models.ForeignKey(Queue, models.CASCADE, related_name="python_checks")
    python = models.CharField(max_length=1000)
    folder = models.CharField(max_length=2000)
    modules = models.JSONField(default=list)
    variables = models.JSONField(default=dict)
    created_at = StampField()
    worker = models.ForeignKey(Worker, models.CASCADE, null=True, related_name="python_checks")
    answer = models.JSONField(null=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.python} in {self.folder}"

    @classmethod
    def ask(
        cls, queue: Queue, *, python: str, folder: str, modules: list[list[Any]], variables: dict[str, str]
    ) -> PythonCheck:
        """Return a new question. Old ones, answered or not, are deleted."""
        now = database_clock.now()
        cls.objects.filter(created_at__lt=now - KEPT_FOR).delete()
        return cls.objects.create(
            queue=queue, python=python, folder=folder, modules=modules, variables=variables, created_at=now
        )

    @classmethod
    def take(cls, worker: Worker, queues: Collection[str]) -> PythonCheck | None:
        """Return the next question for a worker of these queues, which no other worker gets then."""
        if not _waiting.rows():  # nearly always: each worker asks twice a second
            return None
        waiting = cls.objects.filter(worker=None, queue__name__in=queues)
        for check in waiting[:5]:
            if waiting.filter(pk=check.pk).update(worker=worker):
                return check
        return None

    def settle(self, answer: dict[str, Any]) -> None:
        PythonCheck.objects.filter(pk=self.pk).update(answer=answer)


_waiting = plain_sql.Statement(
    lambda: PythonCheck.objects.filter(worker=None).order_by().values_list("pk")[:1]
)
