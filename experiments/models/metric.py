"""Metrics: one row per (trial, name, step), so that a replay is harmless."""

from __future__ import annotations

from typing import Self

from django.db import models

from experiments.runner.report import MAX_NAME, MAX_POINTS

__all__ = ["MAX_POINTS", "Point"]


class Point(models.Model):
    """One intermediate result. `value` is None where the trial reported something that is no finite number;
    `text` then says what it was. Steps count from 0, as the trial counts them."""

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
        """Stores points; one that is there already is overwritten. The last of equal steps wins."""
        latest = {(point.trial_id, point.name, point.step): point for point in points}
        cls.objects.bulk_create(
            list(latest.values()),
            batch_size=500,
            update_conflicts=True,
            unique_fields=["trial", "name", "step"],
            update_fields=["value", "text"],
        )
