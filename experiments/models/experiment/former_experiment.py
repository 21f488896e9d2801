"""The IDs of permanently deleted experiments, so that they are never reused."""

from __future__ import annotations

from django.db import models


class FormerExperiment(models.Model):
    """The ID of a permanently deleted experiment. External links and files may still name it, so it is never reused."""

    public_id = models.CharField("ID", max_length=8, primary_key=True)

    def __str__(self) -> str:
        return self.public_id
