"""Links from rows of the administrators' site to the pages of the console that show them."""

from __future__ import annotations

from django.db import models
from django.urls import reverse

from experiments.models import (
    Experiment,
    Member,
    Model,
    Project,
    Queue,
    Trial,
    WarmResults,
    Worker,
    Workspace,
)

# What an address needs besides the row itself, to be read with it.
NEEDED: dict[type[models.Model], tuple[str, ...]] = {
    Experiment: ("workspace",),
    Trial: ("experiment__workspace",),
    Model: ("workspace",),
    WarmResults: ("workspace",),
    Project: ("workspace",),
    Member: ("workspace",),
    Queue: (),
    Worker: (),
    Workspace: (),
}


def target_of(row: models.Model, path: str) -> models.Model | None:
    """Return the object at `path` (fields joined by __; "self" is the row), or None if a part is empty."""
    target: models.Model | None = row
    for name in path.split("__") if path != "self" else ():
        target = getattr(target, name) if target is not None else None
    return target


def joins_of(model: type[models.Model], path: str) -> list[str]:
    """Return the joins of a list with which links need no further query."""
    if path == "self":
        return list(NEEDED[model])
    target = model
    for name in path.split("__"):
        related = target._meta.get_field(name).related_model
        assert isinstance(related, type), f"{path} of {model.__name__} is no relation"
        target = related
    return [path, *(f"{path}__{needed}" for needed in NEEDED[target])]


def console_url(target: models.Model) -> str:
    """Return the URL of its page in the console; "" for rows in the trash and deleted ones."""
    match target:
        case Experiment():
            where = [target.workspace.slug, target.public_id]
            return (
                reverse("trash", args=where[:1]) if target.trashed_at else reverse("experiment", args=where)
            )
        case Trial():
            if target.trashed_at or target.experiment.trashed_at:
                return ""
            experiment = target.experiment
            return reverse("trial", args=[experiment.workspace.slug, experiment.public_id, target.number])
        case Model():
            return reverse("model", args=[target.workspace.slug, target.public_id])
        case WarmResults():
            return reverse("results", args=[target.workspace.slug, target.public_id])
        case Project():
            return reverse("project-edit", args=[target.workspace.slug, target.pk])
        case Member():
            return reverse("members", args=[target.workspace.slug])
        case Queue():
            return reverse("queue", args=[target.name])
        case Worker():
            return reverse("worker", args=[target.name])
        case Workspace():
            return reverse("workspace", args=[target.slug])
    raise TypeError(f"The console has no page for {type(target).__name__}.")
