"""A folder of experiments within a workspace."""

from django.db import models
from django.utils import timezone

from .people import Workspace


class Project(models.Model):
    """A folder of experiments. A new workspace has one, `Default`."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="projects")
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    destination = models.CharField(
        max_length=1000, blank=True
    )  # of artifacts, where an experiment names none
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="project_name_once")]

    def __str__(self) -> str:
        return self.name
