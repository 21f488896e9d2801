"""Metrics: one row per (trial, name, step), so that a replay is harmless."""

from __future__ import annotations

from typing import Self

from django.db import models

from experiments.runner.report import MAX_NAME, MAX_POINTS

__all__ = ["MAX_POINTS", "Point"]


class Point(models.Model):
    """An intermediate result. `value` is None when the trial reported something other than a finite number, which
    `text` then holds. Steps are numbered by the trial, from 0."""

    trial = models.ForeignKey("Trial", models.CASCADE, related_name="points")
    name = models.CharField(max_length=MAX_NAME)
    step = models.BigIntegerField()
    value = models.FloatField(null=True)
    text = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name", "step"]
        constraints = [models.UniqueConstraint(fields=["trial", "name", "step"], name="point_once")]

    def __str__(self) -> str:
        return f"{self.name}[{self.step}] = {self.text if self.value is None else self.value}"

    @classmethod
    def keep(cls, points: list[Self]) -> None:
        """Store points, replacing existing ones. Of several points with the same step the last one wins."""
        latest = {(point.trial_id, point.name, point.step): point for point in points}
        cls.objects.bulk_create(
            list(latest.values()),
            batch_size=500,
            update_conflicts=True,
            unique_fields=["trial", "name", "step"],
            update_fields=["value", "text"],
        )
