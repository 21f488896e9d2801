"""Registered models: named weights, from a trial's output or from elsewhere, that experiments can start from."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import models, transaction
from django.db.models import Q

from experiments import database_clock
from experiments.models.account.user import User
from experiments.models.event import Event
from experiments.models.experiment.model import Experiment
from experiments.models.fields import ExactJSONField, StampField, fold, new_public_id
from experiments.models.references import drafts_only
from experiments.models.settings import Invalid
from experiments.models.status import Refused
from experiments.models.trial.artifact import Artifact
from experiments.runner import safe_files
from experiments.runner.destination import DestinationError, Store, StoreError

from .project import Project
from .workspace import Workspace

logger = logging.getLogger(__name__)

MOST_LABELS = 10_000
LOCAL = "file://"
MAX_NETWORK = 1_000_000
HEAVY = (
    "trial__params",
    "trial__raw",
    "trial__sampler_attrs",
    "experiment__description",
    "experiment__properties",
    "experiment__trace",
)


class ModelQuerySet(models.QuerySet["Model"]):
    def visible_to(self, user: User) -> ModelQuerySet:
        """Models of workspaces that this user can see."""
        return self.filter(workspace__in=Workspace.objects.visible_to(user))

    def among(self, *, q: str = "", project: str = "", is_published: bool | None = None) -> ModelQuerySet:
        """Filter by `q` in the name or as the ID, by project name, and by published or not."""
        rows = self
        if q:
            rows = rows.filter(Q(folded_name__contains=fold(q)) | Q(public_id=q.lower()))
        if project:
            rows = rows.filter(project__name=project)
        return rows if is_published is None else rows.filter(is_published=is_published)

    def light(self) -> ModelQuerySet:
        """Return the rows for lists: without long texts, with the related rows that a list shows."""
        related = ("project", "creator", "artifact__trial", "artifact__experiment")
        heavy = [f"artifact__{column}" for column in HEAVY]
        return self.select_related(*related).defer("network", "labels", "description", *heavy)


class Model(models.Model):
    """`network` is its configuration as text, `labels` the meaning of its outputs, {label: number}.

    The file is an `artifact`, or an object at `address` that belongs to no existing trial: in a destination, at a URL,
    or a file on the workers' machines (LOCAL and its path), which the console never serves.
    """

    public_id = models.CharField("ID", max_length=8, unique=True, default=new_public_id, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="models")
    project = models.ForeignKey(Project, models.PROTECT, related_name="models")
    name = models.CharField(max_length=200)
    folded_name = models.CharField(max_length=600, editable=False)
    description = models.TextField(blank=True)
    framework = models.CharField(max_length=64, blank=True)
    network = models.TextField(blank=True)
    labels = ExactJSONField(default=dict)
    artifact = models.ForeignKey(Artifact, models.SET_NULL, null=True, related_name="models")
    address = models.CharField(max_length=1500, blank=True)
    is_published = models.BooleanField(default=False)
    creator = models.ForeignKey(User, models.PROTECT, related_name="models")
    created_at = StampField()
    updated_at = StampField()

    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["workspace", "-created_at"], name="model_by_created")]

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: Any) -> None:
        self.folded_name = fold(self.name)[:600]
        if kwargs.get("update_fields") and "name" in kwargs["update_fields"]:
            kwargs["update_fields"] = {*kwargs["update_fields"], "folded_name"}
        super().save(**kwargs)

    @classmethod
    def register(
        cls,
        project: Project,
        *,
        by: User,
        name: str,
        artifact: Artifact | None = None,
        address: str = "",
        public_id: str | None = None,
        **described: Any,
    ) -> Model:
        """Create a model from a file of a trial or from an address. Raise `Invalid`."""
        columns = checked({"name": name, **described})
        if (artifact is None) == (not address):
            raise Invalid({"address": ["Specify either a file of a trial or an address."]})
        if artifact is not None and artifact.experiment.workspace_id != project.workspace_id:
            raise Invalid({"artifact": ["This file belongs to another workspace."]})
        with transaction.atomic():
            project.hold()
            model = cls.objects.create(
                workspace=project.workspace,
                project=project,
                creator=by,
                artifact=artifact,
                address=address,
                public_id=public_id or new_public_id(),
                **columns,
            )
            if artifact is not None:
                Event.note("register", artifact.experiment, by=by, why=model.summary)
        return model

    @property
    def summary(self) -> str:
        """Name, ID and file: `Good weights (k2m9p3qr), #7 model.pt`."""
        of = f", #{self.artifact.trial.number} {self.artifact.name}" if self.artifact else ""
        return f"{self} ({self.public_id}){of}"

    def change(self, *, seen: datetime | None = None, project: Project | None = None, **changes: Any) -> bool:
        """Name, description, framework, network, labels, project of its workspace.

        `seen` is the `updated_at` that the person saw. Raise `Invalid`, or `Refused` if it is published, or was changed
        since.
        """
        with transaction.atomic():
            row = self._open()
            if seen is not None and row.updated_at != seen:
                raise Refused("Someone else changed this model. Reload the page and try again.")
            columns = checked({name: getattr(row, name) for name in FIELDS} | changes)
            differing = [name for name in FIELDS if columns[name] != getattr(row, name)]
            for name in differing:
                setattr(row, name, columns[name])
            if project is not None and project.pk != row.project_id:
                if project.workspace_id != row.workspace_id:
                    raise Invalid({"project": ["This project belongs to another workspace."]})
                project.hold()
                row.project = project
                differing.append("project")
            if differing:
                row.updated_at = database_clock.now()
                row.save(update_fields=[*differing, "updated_at"])
        for name in (*FIELDS, "project", "updated_at"):
            setattr(self, name, getattr(row, name))
        return bool(differing)

    def label(self, label: str, number: int, *, was: str | None = None) -> bool:
        """Add a label with its number, or change name and number of the label `was`. Raise `Invalid`, `Refused`."""
        with transaction.atomic():
            labels = self._open().labels
            if was is not None and was not in labels:
                raise Refused(f"The label “{was[:64]}” no longer exists.")
            if label != was and label in labels:
                raise Invalid({"label": [f"The label “{label[:64]}” already exists: {labels[label]}."]})
            labels.pop(was, None)
            return self.change(labels={**labels, label: number})

    def unlabel(self, label: str) -> bool:
        """Delete a label. Return False if it does not exist."""
        with transaction.atomic():
            labels = self._open().labels
            if label not in labels:
                return False
            return self.change(labels={name: number for name, number in labels.items() if name != label})

    def _open(self) -> Model:
        """Return a fresh, locked row. Raise `Refused` if it is published, or gone."""
        row = Model.objects.select_for_update(no_key=True).filter(pk=self.pk).first()
        if row is None:
            raise Refused(f"The model {self} was just deleted.")
        if row.is_published:
            raise Refused("This model is published and can no longer be changed.")
        return row

    def drafts(self, *, by: User) -> list[Experiment]:
        """Return the drafts that start from it. Raise `Refused` while other experiments outside the trash do."""
        subject = f"The model {self} is the input model of"
        return drafts_only(self.workspace, "input_model", self.public_id, by=by, subject=subject)

    def delete_unused(self, *, by: User) -> bool:
        """Delete it permanently, and its file if that was uploaded for it; other files stay where they are. Return
        False if it is already gone. Raise `Refused` while experiments other than drafts start from it."""
        with transaction.atomic():
            row = Model.objects.select_for_update().filter(pk=self.pk).first()
            if row is None:
                return False
            concerned = row.drafts(by=by)
            if row.artifact:
                concerned.append(row.artifact.experiment)
            for experiment in concerned:
                Event.note("delete_model", experiment, by=by, why=row.summary)
            if row.is_upload:
                transaction.on_commit(row._delete_upload)
            row.delete()
        logger.info("%s deleted the model %s in %s", by, row.summary, row.workspace)
        return True

    @property
    def is_upload(self) -> bool:
        """Whether its file was uploaded for it, into a folder named by the model's ID, and no other model uses it."""
        is_own = f"/models/{self.public_id}/" in self.address
        return is_own and not Model.objects.filter(address=self.address).exclude(pk=self.pk).exists()

    def _delete_upload(self) -> None:
        destination, _, key = self.address.rpartition("/models/")
        try:
            Store(destination).delete(f"models/{key}")
            if destination.startswith("/"):
                safe_files.remove_tree(f"models/{self.public_id}", below=Path(destination))
        except (StoreError, DestinationError, OSError, safe_files.OutsideFolder) as error:
            logger.error("The file of the deleted model %s stays at %s: %s", self, self.address, error)

    def publish(self) -> bool:
        """Make it permanently read-only. Return False if it already is. Raise `Refused` if it is gone."""
        changed = Model.objects.filter(pk=self.pk, is_published=False).update(
            is_published=True, updated_at=database_clock.now()
        )
        if not changed and not Model.objects.filter(pk=self.pk).exists():
            raise Refused(f"The model {self} was just deleted.")
        self.is_published = True
        return bool(changed)


FIELDS = ("name", "description", "framework", "network", "labels")


def checked(document: dict[str, Any]) -> dict[str, Any]:
    """Return the checked columns that describe a model. Raise `Invalid`."""
    errors: dict[str, list[str]] = {}
    columns = {name: document.get(name, {} if name == "labels" else "") for name in FIELDS}
    for name, most in (("name", 200), ("description", 100_000), ("framework", 64), ("network", MAX_NETWORK)):
        text = columns[name]
        if not isinstance(text, str) or "\0" in text:
            errors[name] = ["This must be text without NUL characters."]
        elif len(text) > most:
            errors[name] = [f"This is {len(text):,} characters long; the maximum is {most:,}."]
    if "name" not in errors:
        columns["name"] = " ".join(columns["name"].split())
        if not columns["name"]:
            errors["name"] = ["Enter a name."]
    if label_faults := _label_faults(columns["labels"]):
        errors["labels"] = label_faults
    if errors:
        raise Invalid(errors)
    return columns


def _label_faults(labels: object) -> list[str]:
    if not isinstance(labels, dict) or len(labels) > MOST_LABELS:
        return [f"Labels are pairs of a name and a number, at most {MOST_LABELS:,}."]
    for label, number in labels.items():
        if not isinstance(label, str) or not label.strip() or len(label) > 200 or "\0" in label:
            return ["Every label needs a name of at most 200 characters."]
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**53:
            return [f"“{label[:64]}”: enter a whole number of 0 or more."]
    return []
