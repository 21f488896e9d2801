"""Stored responses to requests with an idempotency key, so that a repeated request has no further effect."""

from __future__ import annotations

from datetime import timedelta

from django.db import models

from experiments.models.fields import StampField

KEPT_FOR = timedelta(hours=24)


class Answer(models.Model):
    """A stored response, written in the transaction of the change, so that neither exists without the other.

    `holder` is the token or the user that sent the request; a key belongs to its holder. `digest` identifies the
    request. `checks` are the permissions that it needed, as [kind of row, its key, verb]: they are checked again before
    the answer is repeated. None in answers of earlier versions.
    """

    holder = models.CharField(max_length=40)
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True)
    checks = models.JSONField(null=True)
    created_at = StampField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["holder", "key"], name="answer_once")]

    def __str__(self) -> str:
        return f"{self.status} to {self.holder}, {self.key}"
